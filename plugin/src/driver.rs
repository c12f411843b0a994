//! The driver: one thread per app, the sole reader of its sockets and of the clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::{Poll, Token, Waker};
use traversal_core::id::PlayerId;
use traversal_core::{Command, Event, LobbyState, SocketId};

use crate::config::TraversalConfig;
use crate::error::{SocketError, TraversalError};
use crate::handoff::PunchedSocket;
use crate::identity;
use crate::interfaces;
use crate::kept_profiles::{self, Keeper};
use crate::known_servers::{self, Known};
use crate::own_networks::{self, OwnNetwork};
use crate::port_mapping::{PortMapper, Settings};
use crate::sockets::Socket;
use crate::state::{Counters, count};
use crate::turn::{Router, Turn};

/// The waker's token; sockets have the numbers of their [`SocketId`]s.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// Requests and events on their way. A frame has a handful; what is beyond waits on its own side.
const CHANNEL: usize = 1024;

/// From the app to the driver.
pub(crate) enum Request {
    Agent(Command),
    Connect(Vec<String>),
    IntoSocket { player: PlayerId, reply: Sender<Result<PunchedSocket, SocketError>> },
}

/// From the driver to the app.
#[derive(Debug)]
pub(crate) enum Report {
    Agent(Event),
    /// An [`Event::PeerConnected`], with the number of this connection.
    Connected {
        event: Event,
        generation: u32,
    },
    /// The player's socket was given away.
    Released(PlayerId),
    Local(Vec<SocketAddr>),
    /// The lobby server's key is not the one in this file, so the link has this state.
    KeyChanged {
        state: LobbyState,
        server: String,
        file: PathBuf,
    },
}

/// A game datagram on its way, with the connection it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GameDatagram {
    pub(crate) player: PlayerId,
    pub(crate) generation: u32,
    pub(crate) channel: u8,
    pub(crate) payload: Vec<u8>,
}

/// A bounded queue of game datagrams that travel in batches: the bound counts datagrams.
#[derive(Clone)]
pub(crate) struct Batches {
    sender: Sender<Vec<GameDatagram>>,
    receiver: Receiver<Vec<GameDatagram>>,
    queued: Arc<AtomicUsize>,
    limit: usize,
}

impl Batches {
    fn new(limit: usize) -> Self {
        let (sender, receiver) = bounded(limit.max(1));
        Self { sender, receiver, queued: Arc::default(), limit: limit.max(1) }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Hands a batch over; the newest datagrams that do not fit are dropped and counted.
    pub(crate) fn push(&self, mut batch: Vec<GameDatagram>, dropped: &AtomicU64) {
        let room = self.limit.saturating_sub(self.queued.load(Ordering::Acquire));
        if batch.len() > room {
            count(dropped, (batch.len() - room) as u64);
            batch.truncate(room);
        }
        let length = batch.len();
        if length == 0 {
            return;
        }
        self.queued.fetch_add(length, Ordering::AcqRel);
        if self.sender.try_send(batch).is_err() {
            self.queued.fetch_sub(length, Ordering::AcqRel);
            count(dropped, length as u64);
        }
    }

    /// The oldest batch.
    pub(crate) fn pop(&self) -> Option<Vec<GameDatagram>> {
        let batch = self.receiver.try_recv().ok()?;
        self.queued.fetch_sub(batch.len(), Ordering::AcqRel);
        Some(batch)
    }
}

/// What both sides share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) waker: Arc<Waker>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) incoming: Batches,
    pub(crate) outgoing: Batches,
    /// Frames of the app.
    pub(crate) ticks: Arc<AtomicU64>,
    pub(crate) stop: Arc<AtomicBool>,
}

/// The app's end of a running driver. Dropping it says goodbye to everybody and joins the thread.
pub(crate) struct Driver {
    pub(crate) requests: Sender<Request>,
    pub(crate) reports: Receiver<Report>,
    pub(crate) shared: Shared,
    threads: Vec<JoinHandle<()>>,
    stop_watching: Option<Sender<()>>,
}

impl Driver {
    /// Opens the sockets and starts the thread.
    pub(crate) fn start(config: &TraversalConfig, counters: Arc<Counters>) -> Result<Self, TraversalError> {
        let failed = |error: std::io::Error| TraversalError::Driver { reason: error.to_string() };
        config.agent.manual.check()?;
        let identity = identity::load(&config.identity)?;
        let seed = identity::entropy()?;
        let kept_file = kept_profiles::path(config);
        let kept = kept_file.as_deref().map(kept_profiles::load).unwrap_or_default();
        let (main, main_v6) = open_main(config)?;
        let poll = Poll::new().map_err(failed)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).map_err(failed)?);
        let shared = Shared {
            waker,
            counters,
            incoming: Batches::new(config.incoming_datagrams),
            outgoing: Batches::new(config.outgoing_datagrams),
            ticks: Arc::default(),
            stop: Arc::default(),
        };
        let (requests, request_receiver) = bounded(CHANNEL);
        let (report_sender, reports) = bounded(CHANNEL);
        let (local_sender, local) = bounded(1);
        let (stop_watching, stopped) = bounded(0);
        let fixed = fixed_addresses(main.local(), config.bind);
        let has_v6 = main_v6.is_some();
        let mut turn = Turn::new(
            config,
            (identity, seed, kept),
            (main, main_v6),
            poll,
            shared.clone(),
            (request_receiver, report_sender, local),
        )
        .map_err(failed)?;
        let mut driver =
            Self { requests, reports, shared, threads: Vec::new(), stop_watching: Some(stop_watching) };
        let router_local = fixed.clone().unwrap_or_default();
        match fixed {
            // By an interface that the game has chosen everything leaves.
            Some(addresses) => turn.set_local(Local { addresses, networks: Vec::new() }),
            None => {
                let (waker, period) = (driver.shared.waker.clone(), config.local_address_period);
                driver.spawn("traversal-interfaces", move || {
                    watch_interfaces(has_v6, period, &local_sender, &stopped, &waker);
                })?;
            }
        }
        if config.asks_router() {
            let (sender, news) = bounded(CHANNEL);
            let waker = driver.shared.waker.clone();
            let tell = move |what| {
                // A driver that takes none of so many has ended.
                let _ = sender.try_send(what);
                let _ = waker.wake();
            };
            let (name_sender, names) = bounded(1);
            let waker = driver.shared.waker.clone();
            let named = Arc::new(move |name| {
                // One that is not taken yet is as good.
                let _ = name_sender.try_send(name);
                let _ = waker.wake();
            });
            let settings = Settings { named, ..Settings::new(config.port_mapping.clone()) };
            let (mapper, thread) = PortMapper::new(settings, tell);
            let bind = config.bind.and_then(|bind| match bind.ip() {
                IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
                _ => None,
            });
            turn.set_router(Router { mapper, news, names, bind, local: router_local, known: None });
            driver.spawn("traversal-router", thread)?;
        }
        let (known, thread) = Known::new(known_servers::path(config));
        turn.set_known(known);
        if let Some(thread) = thread {
            driver.spawn("traversal-known", thread)?;
        }
        if let Some(path) = kept_file {
            let (keeper, thread) = Keeper::new(path);
            turn.set_keeper(keeper);
            driver.spawn("traversal-kept", thread)?;
        }
        driver.spawn("traversal", move || turn.run())?;
        Ok(driver)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), TraversalError> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        let thread = thread.map_err(|error| TraversalError::Driver { reason: error.to_string() })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Is the thread still there?
    pub(crate) fn running(&self) -> bool {
        self.threads.last().is_some_and(|thread| !thread.is_finished())
    }

    /// Makes the driver look at its queues.
    pub(crate) fn wake(&self) {
        if let Err(error) = self.shared.waker.wake() {
            bevy_log::debug!("cannot wake the network thread: {error}");
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        drop(self.stop_watching.take());
        self.wake();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                bevy_log::error!("the network thread panicked");
            }
        }
    }
}

fn open_main(config: &TraversalConfig) -> Result<(Socket, Option<Socket>), TraversalError> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let open = |address: SocketAddr| {
        Socket::open(address, Some(config.socket_buffer)).map_err(|error| TraversalError::Bind {
            address,
            kind: error.kind(),
            reason: error.to_string(),
        })
    };
    match config.bind {
        Some(address) if address.is_ipv6() => Ok((open(any)?, Some(open(address)?))),
        Some(address) if !address.ip().is_unspecified() => Ok((open(address)?, None)),
        bind => {
            let main = open(bind.unwrap_or(any))?;
            // The same port where it is free; a machine without IPv6 has none of this.
            let same = SocketAddr::from((Ipv6Addr::UNSPECIFIED, main.local().port()));
            let other = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
            let v6 = config.ipv6.then(|| open(same).or_else(|_| open(other)).ok()).flatten();
            Ok((main, v6))
        }
    }
}

/// The addresses of a driver that is bound to one interface; none: they are to be looked up.
fn fixed_addresses(main: SocketAddr, bind: Option<SocketAddr>) -> Option<Vec<IpAddr>> {
    let ip = bind.map_or(main.ip(), |bind| bind.ip());
    (!ip.is_unspecified()).then(|| vec![ip])
}

/// What the machine's interfaces have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Local {
    /// Addresses that another player may reach, the likeliest first.
    pub(crate) addresses: Vec<IpAddr>,
    /// The networks in which other players may sit.
    pub(crate) networks: Vec<OwnNetwork>,
}

/// Looks at the machine's interfaces until told to stop.
fn watch_interfaces(
    v6: bool,
    period: Duration,
    local: &Sender<Local>,
    stopped: &Receiver<()>,
    waker: &Waker,
) {
    let mut last = None;
    loop {
        match local_ip_address::list_afinet_netifas() {
            Ok(all) => {
                let up = all.into_iter().filter(|(name, _)| !interfaces::is_down(name));
                let addresses = interfaces::usable(up, &interfaces::of_default_routes(), v6);
                let now = Local { addresses, networks: own_networks::look() };
                // A full channel means that the driver is behind: the next look tells it.
                if last.as_ref() != Some(&now) && local.try_send(now.clone()).is_ok() {
                    last = Some(now);
                    let _ = waker.wake();
                }
            }
            Err(error) => bevy_log::debug!("cannot list the network interfaces: {error}"),
        }
        if !matches!(stopped.recv_timeout(period), Err(crossbeam_channel::RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

/// The token of a socket.
pub(crate) fn token(socket: SocketId) -> Token {
    Token(socket.0 as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_the_newest() {
        let batches = Batches::new(3);
        let dropped = AtomicU64::new(0);
        let datagram =
            |n: u8| GameDatagram { player: PlayerId([0; 16]), generation: 0, channel: 0, payload: vec![n] };
        batches.push(vec![datagram(1), datagram(2)], &dropped);
        batches.push(vec![datagram(3), datagram(4)], &dropped);
        batches.push(vec![datagram(5)], &dropped);
        let got: Vec<u8> = std::iter::from_fn(|| batches.pop()).flatten().map(|d| d.payload[0]).collect();
        assert_eq!(got, [1, 2, 3]);
        assert_eq!(dropped.into_inner(), 2);
    }
}
