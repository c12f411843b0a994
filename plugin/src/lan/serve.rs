//! The lobby server of a room that is hosted here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use lobby_server::{LobbyServer, RunningServer, Settings, StartError};
use traversal_udp::in_use;

use traversal_core::{MappingProtocol, NoPortMapping, PortMapping};

use super::HostHere;
#[cfg(feature = "port_mapping")]
use crate::port_mapping::{PortMapper, Settings as RouterSettings};

/// The server stays for so long when its room is over: those who were in it hear why.
const LINGER: Duration = Duration::from_secs(2);
/// A server that was ended has let go of its port after so long: [`LINGER`], and a second for the slowness of the machine.
const LEFT: Duration = Duration::from_secs(3);
/// A port that the former server still has is tried again so often.
const AGAIN: Duration = Duration::from_millis(100);
/// So many words of the router may wait to be taken: it says one with each renewal.
const ROUTER_NEWS: usize = 16;

/// This is the thread that has the server. Dropping it ends the server, after a moment.
#[derive(Debug)]
pub(super) struct Serving {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// What came of the start, until it was taken.
    pub(super) started: Receiver<Result<Started, StartError>>,
    /// This is what the router said of the server's port.
    pub(super) router: Receiver<RouterNews>,
    /// This is what was asked for.
    pub(super) wish: HostHere,
}

/// A router forwards a port, or does not.
pub(super) type RouterNews = Result<PortMapping, NoPortMapping>;

/// This is a server that has started.
#[derive(Clone, Debug)]
pub(super) struct Started {
    pub(super) port: u16,
    /// This game reaches it there.
    pub(super) here: SocketAddr,
    pub(super) key: [u8; 32],
}

impl Serving {
    /// Starts a server, in a thread: reading the key and opening sockets takes longer than a frame may. Where a former one was
    /// ended then, which may have the port still, it is waited for.
    pub(super) fn start(
        wish: HostHere,
        protocols: &[MappingProtocol],
        former_ended: Option<Instant>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let (tell, started) = bounded(1);
        let (say, router) = bounded(ROUTER_NEWS);
        let bind = wish.bind;
        let held = move || former_ended.is_some_and(|at| at.elapsed() < LEFT);
        let protocols = wish.ask_router.then(|| protocols.to_vec());
        let thread = std::thread::Builder::new().name("traversal-serve".into()).spawn(move || {
            let opened = loop {
                match open(bind) {
                    Err(StartError::Bind(error)) if in_use(&error.source) && held() => {
                        if stopped.recv_timeout(AGAIN) == Err(RecvTimeoutError::Disconnected) {
                            return;
                        }
                    }
                    opened => break opened,
                }
            };
            match opened {
                Ok((server, started)) => {
                    let port = started.port;
                    let _ = tell.send(Ok(started));
                    let _asked = protocols.map(|protocols| Asked::ask(protocols, bind.ip(), port, say));
                    // Nothing is ever sent: the other end is dropped.
                    let _ = stopped.recv();
                    server.stop();
                }
                Err(error) => _ = tell.send(Err(error)),
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), started, router, wish })
    }

    /// Ends the server in a moment, without waiting for it.
    pub(super) fn end_soon(mut self) {
        let (stop, thread) = (self.stop.take(), self.thread.take());
        let ending = std::thread::Builder::new().name("traversal-serve-end".into()).spawn(move || {
            std::thread::sleep(LINGER);
            drop(stop);
            if let Some(thread) = thread {
                let _ = thread.join();
            }
        });
        if let Err(error) = ending {
            bevy_log::debug!("the server within this game ended at once: {error}");
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The router is asked for the server's port. Dropping this gives the port back, which takes less than a second.
#[cfg(feature = "port_mapping")]
struct Asked {
    mapper: Option<PortMapper>,
    thread: Option<JoinHandle<()>>,
}

#[cfg(feature = "port_mapping")]
impl Asked {
    fn ask(protocols: Vec<MappingProtocol>, bind: IpAddr, port: u16, say: Sender<RouterNews>) -> Self {
        let bound = match bind {
            IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
            _ => None,
        };
        if bind.is_ipv6() || protocols.is_empty() {
            let _ = say.try_send(Err(NoPortMapping::NotAsked));
            return Self { mapper: None, thread: None };
        }
        let tell = move |news| _ = say.try_send(news);
        let (mapper, run) = PortMapper::new(RouterSettings::new(protocols), tell);
        mapper.want(port, bound);
        let thread = std::thread::Builder::new().name("traversal-serve-router".into()).spawn(run);
        Self { mapper: Some(mapper), thread: thread.ok() }
    }
}

#[cfg(feature = "port_mapping")]
impl Drop for Asked {
    fn drop(&mut self) {
        self.mapper = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Without the feature `port_mapping` no router is asked.
#[cfg(not(feature = "port_mapping"))]
struct Asked;

#[cfg(not(feature = "port_mapping"))]
impl Asked {
    fn ask(_: Vec<MappingProtocol>, _: IpAddr, _: u16, say: Sender<RouterNews>) -> Self {
        let _ = say.try_send(Err(NoPortMapping::NotAsked));
        Self
    }
}

fn open(bind: SocketAddr) -> Result<(RunningServer, Started), StartError> {
    // Any free port serves as the second one, so that several of these run on one machine.
    let settings = Settings { bind: vec![bind], second_port: Some(0), no_http: true, ..Settings::default() };
    let server = LobbyServer::new(settings).kept_identity().spawn()?;
    let port = server.addresses().first.first().map_or(bind.port(), SocketAddr::port);
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let started = Started { port, here: SocketAddr::new(ip, port), key: server.public_key() };
    Ok((server, started))
}
