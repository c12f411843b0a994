//! The host's thread: it tells the local network of the room, by mDNS, and answers those who ask all.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use mdns_sd::{ServiceDaemon, ServiceInfo};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, Socket, Type};

use super::words::{Announcement, LAN_PORT, SERVICE, answer};
use crate::interfaces::{Interfaces, OwnNetwork, networks_of_any_kind};

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);
/// The longest question is shorter.
const BUFFER: usize = 1500;
/// So many datagrams are read before the other things have their turn, so that a flood holds up nobody who waits for the
/// thread's end.
pub(super) const TURN: usize = 64;
/// So many questions are answered within [`RATE_WINDOW`]: thirty players who look for rooms ask ten times in that time.
const RATE: usize = 300;
const RATE_WINDOW: Duration = Duration::from_secs(30);
/// So long is waited for the word that the room is gone to be said; mDNS says it three times within a second.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// This is the thread; dropping it has it say that the room is gone.
#[derive(Debug)]
pub(super) struct Announcer {
    said: Option<Sender<Announcement>>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Announcer {
    pub(super) fn start(interfaces: Interfaces) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (said, heard) = bounded(16);
        let thread = std::thread::Builder::new()
            .name("traversal-announce".into())
            .spawn(move || announce(poll, &heard, &interfaces))?;
        Ok(Self { said: Some(said), waker, thread: Some(thread) })
    }

    /// Tells this of the room from now on.
    pub(super) fn say(&self, room: Announcement) {
        // A full queue means that the thread is behind: the next change tells it all.
        if self.said.as_ref().is_some_and(|said| said.try_send(room).is_ok()) {
            let _ = self.waker.wake();
        }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.said = None;
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns the socket on which questions to all are heard. Several games on one machine share the port.
fn listen() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(any(target_os = "macos", target_os = "ios"))]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, LAN_PORT)).into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// Returns the next datagram of a socket: its length and sender. None: there is no further one at present. What a system
/// says of datagrams that were sent before (Windows does) is passed over.
pub(super) fn next(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    for _ in 0..TURN {
        #[expect(
            clippy::disallowed_methods,
            reason = "mio's own calls re-arm its selector by themselves, and questions need nothing of what traversal_udp adds"
        )]
        let received = socket.recv_from(buffer);
        match received {
            Ok(received) => return Some(received),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(_) => {}
        }
    }
    None
}

/// Returns whether this is somebody in the same network, or on this machine.
pub(super) fn is_near(from: IpAddr, networks: &[OwnNetwork]) -> bool {
    match from.to_canonical() {
        IpAddr::V4(from) => from.is_loopback() || networks.iter().any(|own| own.net.contains(&from)),
        IpAddr::V6(from) => from.is_loopback(),
    }
}

fn announce(mut poll: Poll, heard: &Receiver<Announcement>, interfaces: &Interfaces) {
    let socket = match listen() {
        Ok(mut socket) => {
            let registered = poll.registry().register(&mut socket, SOCKET, Interest::READABLE);
            registered.is_ok().then_some(socket)
        }
        Err(error) => {
            bevy_log::info!(
                "this machine answers nobody who looks for rooms on UDP port {LAN_PORT}: {error}"
            );
            None
        }
    };
    let mut mdns = Mdns::start();
    let mut room = None;
    let mut answered = VecDeque::new();
    let mut events = Events::with_capacity(16);
    let mut more = false;
    loop {
        if let Err(error) = poll.poll(&mut events, more.then_some(Duration::ZERO))
            && error.kind() != io::ErrorKind::Interrupted
        {
            bevy_log::warn!("the local network is not told of the room any more: {error}");
            break;
        }
        loop {
            match heard.try_recv() {
                Ok(news) => room = Some(news),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return mdns.end(),
            }
        }
        let Some(room) = &room else { continue };
        mdns.tell(room);
        more = socket.as_ref().is_some_and(|socket| answer_some(socket, room, interfaces, &mut answered));
    }
    mdns.end();
}

/// Answers those who ask. True if there may be more of them.
fn answer_some(
    socket: &UdpSocket,
    room: &Announcement,
    interfaces: &Interfaces,
    answered: &mut VecDeque<Instant>,
) -> bool {
    let mut buffer = [0; BUFFER];
    let mut near = None;
    for _ in 0..TURN {
        let Some((length, from)) = next(socket, &mut buffer) else { return false };
        let now = Instant::now();
        while answered.front().is_some_and(|at| now.saturating_duration_since(*at) >= RATE_WINDOW) {
            answered.pop_front();
        }
        if answered.len() >= RATE {
            continue;
        }
        let Some(answer) = answer(&buffer[..length], room) else { continue };
        // Asked of the system once for all that came in together.
        let near = near.get_or_insert_with(|| networks_of_any_kind(interfaces));
        #[expect(
            clippy::disallowed_methods,
            reason = "mio's own calls re-arm its selector by themselves, and questions need nothing of what traversal_udp adds"
        )]
        let sent = is_near(from.ip(), near) && socket.send_to(&answer, from).is_ok();
        if sent {
            answered.push_back(now);
        }
    }
    true
}

/// This is what mDNS says.
struct Mdns {
    daemon: Option<ServiceDaemon>,
    told: Option<(Announcement, String)>,
}

impl Mdns {
    fn start() -> Self {
        let daemon = ServiceDaemon::new();
        if let Err(error) = &daemon {
            bevy_log::info!("the room is not announced by mDNS: {error}");
        }
        Self { daemon: daemon.ok(), told: None }
    }

    /// Announces the room, or what has changed of it.
    fn tell(&mut self, room: &Announcement) {
        let Some(daemon) = &self.daemon else { return };
        if self.told.as_ref().is_some_and(|(told, _)| told == room) {
            return;
        }
        // One name for each server and room: two hosts never share one.
        let own: String = room.key[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{}-{own}-{}", room.code, room.port);
        let host = format!("bevy-{own}-{}.local.", room.port);
        let service = ServiceInfo::new(SERVICE, &name, &host, "", room.port, room.fields().as_slice());
        let told = service.map(ServiceInfo::enable_addr_auto).and_then(|mut service| {
            service.set_requires_probe(false);
            let full = service.get_fullname().to_owned();
            daemon.register(service).map(|()| full)
        });
        match told {
            Ok(full) => self.told = Some((room.clone(), full)),
            Err(error) => bevy_log::debug!("mDNS does not take the room: {error}"),
        }
    }

    /// Says that the room is gone.
    fn end(self) {
        let Some(daemon) = self.daemon else { return };
        if let Some((_, full)) = self.told
            && let Ok(gone) = daemon.unregister(&full)
        {
            let _ = gone.recv_timeout(FAREWELL);
        }
        if let Ok(ended) = daemon.shutdown() {
            let _ = ended.recv_timeout(FAREWELL);
        }
    }
}
