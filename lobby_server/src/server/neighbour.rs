//! Another lobby server, whose address is the second one of this one (RFC 5780's A2), and this one's is its.
//!
//! Its two sockets stand behind our own in the list of sockets while it answers, and classification, checks of forwarded
//! ports and STUN use them like ours. What is sent by them goes to it over the link, and it sends it on (*emit*); what comes
//! to it of a session that it does not know it hands over to us (*arrived*). While it is silent the list ends with our own
//! sockets, and we are a server with one address.
//!
//! The link trusts nobody without the key, and the other server no more than it must: what it has us send is a probe's
//! answer or one of STUN, goes to addresses that players have, and within rates.

mod carried;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use traversal_core::wire::Kind;
use traversal_core::wire::replay::ReplayWindow;

use super::Server;
use super::context::Context;
use super::sockets::{Route, ServerSocket};
use super::timers::Timer;
use crate::limits::{Bucket, PrefixLimiter};
use crate::link::NeighbourPlaces;
use crate::link::datagram::{Head, LinkKey, LinkMessage, NotOfLink, SecondPorts};
use crate::link::heard::Heard;
use crate::surroundings::{Finding, NeighbourTrouble};
pub(super) use carried::Emission;
use carried::{Carried, EMIT_RATE, FORWARD_RATE, LINK_RATE, own_ports};

/// It is asked so often whether it is there.
const PING: Duration = Duration::from_secs(1);
/// After so many pings without an answer it is not: players who log in then are better off with one address.
const LOST: u32 = 3;
/// So many pings may be answered yet: those of a second and a half, at the most that there can be.
const PINGS: usize = 16;
/// One that has just started is asked at once, but no more often than that.
const LEAST_GAP: Duration = Duration::from_millis(100);

/// This is a datagram for the other server's end of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTransmit {
    /// The datagram goes to this address.
    pub to: SocketAddr,
    /// These bytes are to be sent.
    pub payload: Vec<u8>,
}

/// This is how it stands with the other server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NeighbourState {
    /// It answers, and players get its address as the second one.
    Linked,
    /// It does not, so that they get none.
    Apart(NeighbourTrouble),
}

/// The other server's process, as it has answered last.
#[derive(Debug)]
struct Peer {
    incarnation: u64,
    window: ReplayWindow,
    at: SocketAddr,
    ports: SecondPorts,
}

/// This owner has the link to the other server.
pub(super) struct Neighbour {
    key: LinkKey,
    /// This names our process on the link: nothing that was said to an earlier one counts.
    incarnation: u64,
    next: u64,
    places: NeighbourPlaces,
    peer: Option<Peer>,
    linked: bool,
    trouble: NeighbourTrouble,
    /// These pings were not answered yet, the newest last.
    unanswered: VecDeque<u64>,
    pinged: Option<Instant>,
    /// The last second began then.
    second: Option<Instant>,
    /// So many seconds have passed without an answer.
    missed: u32,
    heard: Heard,
    emit_limit: PrefixLimiter,
    forward_limit: PrefixLimiter,
    totals: [Bucket; 2],
    out: VecDeque<LinkTransmit>,
}

impl Server {
    /// Says where another lobby server with the same key is, whose address is to be this one's second. It is pinged from
    /// now on, and offered to players while it answers. Datagrams of the link come in by
    /// [`handle_link_datagram`](Self::handle_link_datagram) and go out by
    /// [`poll_link_transmit`](Self::poll_link_transmit), over a socket of their own.
    pub fn set_neighbour(&mut self, now: Instant, places: NeighbourPlaces) {
        self.cx.now = now;
        if self.neighbour.is_none() {
            let Some(key) = LinkKey::new(self.roster.identity()) else { return };
            self.neighbour = Some(Box::new(Neighbour::new(&mut self.cx, key)));
        }
        if let Some(neighbour) = &mut self.neighbour {
            neighbour.set_places(&mut self.cx, places);
        }
    }

    /// Returns how it stands with the other server; none: there is to be none.
    pub fn neighbour(&self) -> Option<NeighbourState> {
        self.neighbour.as_ref().map(|neighbour| neighbour.state())
    }

    /// A datagram came in at this server's end of the link.
    pub fn handle_link_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.cx.now = now;
        self.cx.counters.datagrams_in += 1;
        self.cx.counters.bytes_in += datagram.len() as u64;
        let Some(neighbour) = &mut self.neighbour else {
            self.cx.counters.dropped += 1;
            return;
        };
        let before = neighbour.state();
        let carried = neighbour.take(&mut self.cx, from, datagram);
        if neighbour.state() != before {
            self.place.log_findings(&self.cx);
        }
        match carried {
            None => {}
            Some(Carried::Arrived(route, probe)) => self.take(route, probe),
            Some(Carried::Emit(route, payload)) => {
                self.cx.counters.neighbour_sent += 1;
                self.cx.hand_out(route, payload.to_vec());
            }
        }
    }

    /// Returns the next datagram for the other server.
    pub fn poll_link_transmit(&mut self) -> Option<LinkTransmit> {
        let neighbour = self.neighbour.as_mut()?;
        while let Some(emission) = self.cx.emissions.pop_front() {
            neighbour.emit(&mut self.cx, &emission);
        }
        let transmit = neighbour.out.pop_front()?;
        self.cx.counters.datagrams_out += 1;
        self.cx.counters.bytes_out += transmit.payload.len() as u64;
        Some(transmit)
    }

    pub(super) fn neighbour_timeout(&mut self) {
        let Some(neighbour) = &mut self.neighbour else { return };
        neighbour.tick(&mut self.cx);
        if self.cx.neighbour_trouble.is_some() {
            self.place.log_findings(&self.cx);
        }
    }

    /// Notes that something came from there to one of our own sockets.
    pub(super) fn note_heard(&mut self, from: SocketAddr) {
        if let Some(neighbour) = &mut self.neighbour {
            neighbour.heard.note(self.cx.now, from);
        }
    }

    /// Hands a probe of a session that is not known here to the other server, whose it may be. False: there is none that it
    /// could be handed to.
    pub(super) fn forward(&mut self, route: Route, kind: Kind, datagram: &[u8]) -> bool {
        let neighbour = self.neighbour.as_mut().filter(|_| kind == Kind::Probe);
        neighbour.is_some_and(|neighbour| neighbour.forward(&mut self.cx, route, datagram))
    }
}

impl Neighbour {
    fn new(cx: &mut Context, key: LinkKey) -> Self {
        let mut limiter = [0; 16];
        cx.rng.fill_bytes(&mut limiter);
        let now = cx.now;
        Self {
            key,
            // 0 stands for "not known".
            incarnation: cx.rng.next_u64().max(1),
            next: 1,
            places: NeighbourPlaces::default(),
            peer: None,
            linked: false,
            trouble: NeighbourTrouble::Silent,
            unanswered: VecDeque::new(),
            pinged: None,
            second: None,
            missed: 0,
            heard: Heard::new(),
            emit_limit: PrefixLimiter::new(EMIT_RATE, limiter, now),
            forward_limit: PrefixLimiter::new(FORWARD_RATE, limiter, now),
            totals: [Bucket::full(LINK_RATE, now); 2],
            out: VecDeque::new(),
        }
    }

    fn state(&self) -> NeighbourState {
        if self.linked { NeighbourState::Linked } else { NeighbourState::Apart(self.trouble) }
    }

    fn set_places(&mut self, cx: &mut Context, places: NeighbourPlaces) {
        if self.places == places {
            return;
        }
        self.places = places;
        let moved = self.peer.take_if(|peer| !self.places.links.contains(&peer.at)).is_some();
        if moved && self.linked {
            self.part(cx);
        }
        self.offer(cx);
        self.tick(cx);
    }

    /// A second is over: it is asked again, and lost where it has not answered for long.
    fn tick(&mut self, cx: &mut Context) {
        // One that has just started is asked between two seconds.
        if self.second.is_none_or(|at| cx.now.saturating_duration_since(at) >= PING) {
            self.second = Some(cx.now);
            if self.missed >= LOST {
                if self.linked {
                    self.part(cx);
                }
                self.complain(cx);
            }
            self.missed = self.missed.saturating_add(1);
        }
        self.ping(cx);
        cx.timers.set(Timer::Neighbour, Some(cx.now + PING));
    }

    fn ping(&mut self, cx: &Context) {
        self.pinged = Some(cx.now);
        if self.unanswered.len() >= PINGS {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back(self.next);
        let ports = own_ports(cx);
        let targets = match &self.peer {
            Some(peer) if self.linked => vec![peer.at],
            _ => self.places.links.clone(),
        };
        let counter = self.count();
        for to in targets {
            let known = self.peer.as_ref().map_or(0, |peer| peer.incarnation);
            let head = Head { from: self.incarnation, to: known, counter };
            self.send(to, head, &LinkMessage::Ping { ports });
        }
    }

    fn count(&mut self) -> u64 {
        let counter = self.next;
        self.next += 1;
        counter
    }

    fn send(&mut self, to: SocketAddr, head: Head, message: &LinkMessage<'_>) {
        if let Some(payload) = self.key.seal(head, message) {
            self.out.push_back(LinkTransmit { to, payload });
        }
    }

    /// Sends what only the process that has answered may take.
    fn tell(&mut self, message: &LinkMessage<'_>) {
        let Some((to, known)) = self.peer.as_ref().map(|peer| (peer.at, peer.incarnation)) else { return };
        let head = Head { from: self.incarnation, to: known, counter: self.count() };
        self.send(to, head, message);
    }

    /// Takes a datagram of the other server.
    fn take<'a>(&mut self, cx: &mut Context, from: SocketAddr, datagram: &'a [u8]) -> Option<Carried<'a>> {
        let opened =
            if self.places.links.contains(&from) { self.key.open(datagram) } else { Err(NotOfLink::Foreign) };
        let (head, message) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                cx.counters.dropped += 1;
                self.refuse(cx, why);
                return None;
            }
        };
        match message {
            // What we said ourselves comes back.
            _ if head.from == self.incarnation => {}
            LinkMessage::Ping { .. } => {
                self.answer(cx, from, head);
                return None;
            }
            // No answer to a ping is older than the ping, so a process that is gone does not come back by what it said.
            LinkMessage::Pong { ping, ports }
                if head.to == self.incarnation && self.unanswered.contains(&ping) =>
            {
                self.link(cx, from, head.from, ports);
                return None;
            }
            LinkMessage::Arrived { second_port, from, datagram } if self.is_news(head) => {
                return self.arrived(cx, (second_port, from), datagram);
            }
            LinkMessage::Emit { second_port, proof, to, datagram } if self.is_news(head) => {
                return self.asked_to_emit(cx, (second_port, proof, to), datagram);
            }
            LinkMessage::Pong { .. } | LinkMessage::Arrived { .. } | LinkMessage::Emit { .. } => {}
        }
        cx.counters.dropped += 1;
        None
    }

    /// Returns whether this was said to us by the process that is there now, and not before.
    fn is_news(&mut self, head: Head) -> bool {
        let Some(peer) = self.peer.as_mut() else { return false };
        let news =
            peer.incarnation == head.from && self.incarnation == head.to && peer.window.check(head.counter);
        if news {
            peer.window.accept(head.counter);
        }
        news
    }

    fn answer(&mut self, cx: &mut Context, from: SocketAddr, head: Head) {
        let pong = LinkMessage::Pong { ping: head.counter, ports: own_ports(cx) };
        let answer = Head { from: self.incarnation, to: head.from, counter: self.count() };
        self.send(from, answer, &pong);
        let stranger = self.peer.as_ref().is_none_or(|peer| peer.incarnation != head.from);
        // It has just started, or is back: it need not wait for our next second.
        if stranger || !self.linked {
            let rested = self.pinged.map_or(cx.now, |at| at + LEAST_GAP);
            if rested <= cx.now {
                self.ping(cx);
            } else {
                cx.timers.set(Timer::Neighbour, Some(rested));
            }
        }
    }

    fn link(&mut self, cx: &mut Context, at: SocketAddr, incarnation: u64, ports: SecondPorts) {
        self.unanswered.clear();
        self.missed = 0;
        let same = self.peer.as_mut().filter(|peer| peer.incarnation == incarnation);
        match same {
            Some(peer) if self.linked && (peer.at, peer.ports) == (at, ports) => return,
            Some(peer) => (peer.at, peer.ports) = (at, ports),
            None => {
                self.peer = Some(Peer { incarnation, window: ReplayWindow::default(), at, ports });
            }
        }
        if !std::mem::replace(&mut self.linked, true) {
            tracing::info!(neighbour = %at, "linked: its address is this server's second one");
        }
        self.trouble = NeighbourTrouble::Silent;
        cx.neighbour_trouble = None;
        self.offer(cx);
    }

    fn part(&mut self, cx: &mut Context) {
        self.linked = false;
        self.offer(cx);
    }

    /// Puts the other server's sockets behind our own, where it is there.
    fn offer(&mut self, cx: &mut Context) {
        cx.sockets.truncate(cx.own_sockets);
        let Some(peer) = self.peer.as_ref().filter(|_| self.linked) else { return };
        for first in &self.places.players {
            let second = if first.is_ipv4() { peer.ports.v4 } else { peer.ports.v6 };
            if second == 0 {
                // Its name has an address of this family, and it does not serve it.
                continue;
            }
            let socket = |local, second_port| ServerSocket {
                second_address: true,
                second_port,
                ..ServerSocket::first(local)
            };
            cx.sockets.push(socket(*first, false));
            cx.sockets.push(socket(SocketAddr::new(first.ip(), second), true));
        }
    }

    /// Somebody at the other server's address, who need not be the other server, cannot be linked with.
    fn refuse(&mut self, cx: &mut Context, why: NotOfLink) {
        let trouble = match why {
            NotOfLink::Foreign => return,
            NotOfLink::OtherKey => NeighbourTrouble::OtherKey,
            NotOfLink::OtherVersion(_) => NeighbourTrouble::OtherVersion,
        };
        if !self.linked {
            self.trouble = trouble;
            self.complain(cx);
        }
    }

    /// Has the status page, the metrics and the log say what is wrong.
    fn complain(&self, cx: &mut Context) {
        let named = self.places.players.iter().chain(&self.places.links).next();
        cx.neighbour_trouble = named
            .filter(|_| !self.linked)
            .map(|address| Finding::Neighbour { address: *address, trouble: self.trouble });
    }
}
