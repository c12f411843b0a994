//! The guest's thread: it looks for rooms in the local network, by mDNS and by asking all.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use mdns_sd::{ResolvedService, ServiceDaemon, ServiceEvent};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};

use super::announce::{FAREWELL, TURN, is_near, next};
use super::found::Found;
use super::words::{Announcement, LAN_PORT, SERVICE, Word, question, read};
use super::{LanRoom, MAX_LAN_ROOMS};
use crate::identity;
use crate::interfaces::{Interfaces, OwnNetwork, networks_of_any_kind};

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);
const BUFFER: usize = 1500;
/// All are asked so often: a list that is looked at is not older.
const ASK: Duration = Duration::from_secs(3);
/// What mDNS alone knows is asked after so often: its records live for more than an hour, and a host may be killed.
const VERIFY: Duration = Duration::from_secs(9);
/// A host has so long to answer that (RFC 6762 section 10.4 has ten seconds for all).
const VERIFY_WAIT: Duration = Duration::from_secs(3);
/// So many services may be found by mDNS. Whoever makes up more fills the memory of the library that listens: then it is
/// ended, and only who answers is heard.
const MOST_SERVICES: usize = 2048;

/// These are the players whose rooms are looked for, and by which interfaces.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) game: String,
    pub(super) protocol: u32,
    pub(super) interfaces: Interfaces,
}

/// This is the thread; dropping it ends it.
#[derive(Debug)]
pub(super) struct Watcher {
    /// The newest list of rooms comes here.
    pub(super) rooms: Receiver<Vec<LanRoom>>,
    stop: Option<Sender<()>>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(super) fn start(wanted: Wanted) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let mut socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
        socket2::SockRef::from(&socket).set_broadcast(true)?;
        poll.registry().register(&mut socket, SOCKET, Interest::READABLE)?;
        // One list may wait; the next one takes its place as soon as it is taken.
        let (tell, rooms) = bounded(1);
        let (stop, stopped) = bounded(0);
        let run = Watching {
            mdns: Mdns::start(waker.clone()),
            wanted,
            socket,
            found: Found::default(),
            near: Vec::new(),
            nonce: 0,
            ask_at: Instant::now(),
            verify_at: Instant::now() + VERIFY,
            more: false,
        };
        let thread = std::thread::Builder::new()
            .name("traversal-watch".into())
            .spawn(move || run.run(poll, &tell, &stopped))?;
        Ok(Self { rooms, stop: Some(stop), waker, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop = None;
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Watching {
    mdns: Option<Mdns>,
    wanted: Wanted,
    socket: UdpSocket,
    found: Found,
    near: Vec<OwnNetwork>,
    nonce: u64,
    ask_at: Instant,
    verify_at: Instant,
    /// More may have come in than was read in this turn.
    more: bool,
}

impl Watching {
    fn run(mut self, mut poll: Poll, tell: &Sender<Vec<LanRoom>>, stopped: &Receiver<()>) {
        let mut events = Events::with_capacity(16);
        let mut changed = true;
        loop {
            // The app has not taken the last list yet: it is looked again with the next event, which comes soon.
            if changed && tell.try_send(self.found.rooms()).is_ok() {
                changed = false;
            }
            let now = Instant::now();
            let due = self.found.next().map_or(self.ask_at, |next| next.min(self.ask_at));
            let wait = if self.more { Duration::ZERO } else { due.saturating_duration_since(now) };
            if let Err(error) = poll.poll(&mut events, Some(wait))
                && error.kind() != io::ErrorKind::Interrupted
            {
                bevy_log::warn!("rooms in the local network are not looked for any more: {error}");
                break;
            }
            if stopped.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected) {
                break;
            }
            let now = Instant::now();
            if self.ask_at <= now {
                self.ask_at = now + ASK;
                self.ask();
                changed |= self.note_mdns(now);
            }
            changed |= self.hear(now) | self.hear_mdns(now) | self.found.forget_old(now);
            self.verify(now);
        }
        if let Some(mdns) = self.mdns {
            mdns.end();
        }
    }

    /// Asks all in each network that this machine is in.
    fn ask(&mut self) {
        self.near = networks_of_any_kind(&self.wanted.interfaces);
        let Ok(entropy) = identity::entropy() else { return };
        self.nonce = entropy.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let Some(question) = question(self.nonce, &self.wanted.game, self.wanted.protocol) else { return };
        let loopback = Ipv4Addr::new(127, 255, 255, 255);
        let all = self.near.iter().map(|own| own.net.broadcast()).chain([Ipv4Addr::BROADCAST, loopback]);
        for to in all {
            // A network that takes none has mDNS at the best.
            #[expect(
                clippy::disallowed_methods,
                reason = "mio's own calls re-arm its selector by themselves, and questions need nothing of what traversal_udp adds"
            )]
            let _ = self.socket.send_to(&question, SocketAddr::from((to, LAN_PORT)));
        }
    }

    /// Takes the answers.
    fn hear(&mut self, now: Instant) -> bool {
        let (mut buffer, mut changed) = ([0; BUFFER], false);
        self.more = true;
        for _ in 0..TURN {
            let Some((length, from)) = next(&self.socket, &mut buffer) else {
                self.more = false;
                break;
            };
            if let Some(Word::Answer { nonce, room }) = read(&buffer[..length])
                && nonce == self.nonce
            {
                changed |= self.note(now, from.ip(), &room);
            }
        }
        changed
    }

    fn note(&mut self, now: Instant, at: IpAddr, room: &Announcement) -> bool {
        let wanted = room.game == self.wanted.game && room.protocol == self.wanted.protocol;
        let near = wanted && is_near(at, &self.near);
        near && room.room(at).is_some_and(|room| self.found.note(now, at, room))
    }

    /// Takes what mDNS has heard.
    fn hear_mdns(&mut self, now: Instant) -> bool {
        let Some(mdns) = &mut self.mdns else { return false };
        let news = mdns.take();
        if mdns.seen > MOST_SERVICES {
            bevy_log::info!("somebody floods the local network with rooms: mDNS is not listened to any more");
            if let Some(mdns) = self.mdns.take() {
                mdns.end();
            }
            return false;
        }
        news && self.note_mdns(now)
    }

    /// What mDNS knows is there.
    fn note_mdns(&mut self, now: Instant) -> bool {
        let Some(mdns) = &self.mdns else { return false };
        let known: Vec<_> = mdns.services.values().cloned().collect();
        let mut changed = false;
        for (room, addresses) in known {
            let near = addresses.iter().copied().find(|at| is_near(*at, &self.near));
            changed |= near.is_some_and(|at| self.note(now, at, &room));
        }
        changed
    }

    fn verify(&mut self, now: Instant) {
        if self.verify_at > now {
            return;
        }
        self.verify_at = now + VERIFY;
        let Some(mdns) = &self.mdns else { return };
        for name in mdns.services.keys() {
            let _ = mdns.daemon.verify(name.clone(), VERIFY_WAIT);
        }
    }
}

/// This is what mDNS knows.
struct Mdns {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
    services: BTreeMap<String, (Announcement, Vec<IpAddr>)>,
    /// So many services were found.
    seen: usize,
    thread: Option<JoinHandle<()>>,
}

impl Mdns {
    /// Starts to listen; none: the system does not allow it.
    fn start(waker: Arc<Waker>) -> Option<Self> {
        let started = ServiceDaemon::new().and_then(|daemon| {
            let heard = daemon.browse(SERVICE)?;
            Ok((daemon, heard))
        });
        let (daemon, heard) = match started {
            Ok(started) => started,
            Err(error) => {
                bevy_log::info!("rooms are not looked for by mDNS: {error}");
                return None;
            }
        };
        let (tell, events) = bounded(256);
        // The library has a queue of its own kind, which no poller waits for.
        let thread = std::thread::Builder::new().name("traversal-mdns".into()).spawn(move || {
            while let Ok(event) = heard.recv() {
                if tell.send(event).is_err() || waker.wake().is_err() {
                    return;
                }
            }
        });
        Some(Self { daemon, events, services: BTreeMap::new(), seen: 0, thread: thread.ok() })
    }

    /// Takes what was heard. True if there is anything new.
    fn take(&mut self) -> bool {
        let mut news = false;
        while let Ok(event) = self.events.try_recv() {
            match event {
                ServiceEvent::ServiceFound(..) => self.seen += 1,
                ServiceEvent::ServiceResolved(service) => news |= self.resolved(&service),
                ServiceEvent::ServiceRemoved(_, name) => _ = self.services.remove(&name),
                _ => {}
            }
        }
        news
    }

    fn resolved(&mut self, service: &ResolvedService) -> bool {
        let full = self.services.len() >= MAX_LAN_ROOMS && !self.services.contains_key(&service.fullname);
        let field = |key: &str| service.get_property_val_str(key);
        let Some(room) = Announcement::of_fields(service.port, field).filter(|_| !full) else { return false };
        let mut addresses: Vec<IpAddr> = service.addresses.iter().map(|at| at.to_ip_addr()).collect();
        addresses.sort_unstable();
        self.services.insert(service.fullname.clone(), (room, addresses));
        true
    }

    fn end(mut self) {
        drop(std::mem::replace(&mut self.events, crossbeam_channel::never()));
        let ended = self.daemon.shutdown().ok().is_some_and(|ended| ended.recv_timeout(FAREWELL).is_ok());
        // Its end hangs up on the thread that waits for it. Without it nobody waits for that thread.
        if let Some(thread) = self.thread.take().filter(|_| ended) {
            let _ = thread.join();
        }
    }
}
