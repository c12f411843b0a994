//! Many players in one thread. `events` has what becomes of them.

mod events;

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use traversal_core::Command;
use traversal_core::wire::message::{ChatTo, QuickMatch};
use traversal_udp::{Buffer, Origin, Outgoing, Received, Socket};

use super::order::Order;
use super::seat::{Chatter, Doing, Relayed, Role, Seat, join};
use super::tally::{Act, Tally};
use crate::world::{Node, NodeOutput};

/// A thread looks up so often, if nothing wakes it.
const LOOK: Duration = Duration::from_millis(20);
/// Players of a crowd begin in one turn.
const STARTS: usize = 256;
/// Players are asked so often at random whether they have time for something.
const DRAWS: usize = 32;
/// A socket is read so often in one turn.
const READS: usize = 64;
/// The main sockets, as agents call them.
const MAIN: u32 = 0;
const MAIN_V6: u32 = 1;

/// The players log in.
pub(super) const GATHERING: u8 = 0;
/// It is measured.
pub(super) const MEASURING: u8 = 1;
/// They go home.
pub(super) const OVER: u8 = 2;

/// What all threads of a load share.
pub(super) struct Shared {
    pub(super) phase: AtomicU8,
    /// So many players are logged in.
    pub(super) online: AtomicI64,
}

/// Something that happens at random, so often a second on average.
struct Pace {
    act: Act,
    per_second: f64,
    next: Option<Instant>,
}

struct Slot {
    socket: Socket,
    seat: usize,
    id: u32,
}

/// This is one thread's players.
pub(super) struct Crew<'a> {
    order: &'a Order,
    shared: &'a Shared,
    poll: Poll,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    seats: Vec<Seat>,
    timetable: BTreeSet<(Instant, usize)>,
    /// The numbers of those who begin before the measurement, and at its beginning.
    waiting: VecDeque<usize>,
    crowd: VecDeque<usize>,
    paces: Vec<Pace>,
    measuring: bool,
    relayed: Rc<RefCell<Relayed>>,
    start: Instant,
    rng: ChaCha20Rng,
    tally: Tally,
}

impl<'a> Crew<'a> {
    pub(super) fn new(
        order: &'a Order,
        shared: &'a Shared,
        thread: usize,
        start: Instant,
    ) -> io::Result<Self> {
        let part = |from: usize, to: usize| (from..to).filter(|number| number % order.threads == thread);
        let share = |rate: f64| rate / order.threads as f64;
        let pace = |act, rate| Pace { act, per_second: share(rate), next: None };
        let mut paces = vec![
            pace(Act::Login, order.logins),
            pace(Act::List, order.lists),
            pace(Act::Match, order.matches),
            pace(Act::Chat, order.chat),
        ];
        if order.rooms > 0 {
            paces.push(pace(Act::Join, order.joins));
        }
        Ok(Self {
            poll: Poll::new()?,
            slots: Vec::new(),
            free: Vec::new(),
            seats: Vec::new(),
            timetable: BTreeSet::new(),
            waiting: part(0, order.players).collect(),
            crowd: part(order.players, order.players + order.crowd).collect(),
            paces,
            measuring: false,
            relayed: Rc::default(),
            start,
            rng: ChaCha20Rng::seed_from_u64(order.seed ^ (thread as u64) << 48),
            tally: Tally::default(),
            order,
            shared,
        })
    }

    /// Plays until told to stop.
    pub(super) fn run(mut self) -> io::Result<Tally> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = Buffer::new(8);
        let gap = Duration::from_secs_f64(self.order.threads as f64 / self.order.login_rate.max(0.01));
        let mut next_start = self.start;
        loop {
            let now = Instant::now();
            match self.shared.phase.load(Ordering::Acquire) {
                OVER => break,
                MEASURING if !self.measuring => self.measure(now),
                _ => {}
            }
            while next_start <= now
                && let Some(number) = self.waiting.pop_front()
            {
                next_start += gap;
                self.seat(now, number, Act::FirstLogin)?;
            }
            if self.measuring {
                for _ in 0..STARTS {
                    let Some(number) = self.crowd.pop_front() else { break };
                    self.seat(now, number, Act::CrowdLogin)?;
                }
                self.keep_pace(now);
            }
            self.keep_times(Instant::now());
            let next = self.timetable.first().map(|(at, _)| *at);
            let next = next.into_iter().chain(self.paces.iter().filter_map(|pace| pace.next));
            let next = next.chain((!self.waiting.is_empty()).then_some(next_start)).min();
            let wait = next.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()).min(LOOK));
            let wait = if self.measuring && !self.crowd.is_empty() { Duration::ZERO } else { wait };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                self.receive(event.token().0, &mut buffer);
            }
            self.count_relayed();
        }
        self.go_home();
        Ok(self.tally)
    }

    /// From now on it counts.
    fn measure(&mut self, now: Instant) {
        self.measuring = true;
        self.tally.start_measuring();
        *self.relayed.borrow_mut() = Relayed::default();
        for pace in &mut self.paces {
            pace.next = (pace.per_second > 0.0).then_some(now);
        }
    }

    fn go_home(&mut self) {
        let now = Instant::now();
        for seat in 0..self.seats.len() {
            self.seats[seat].player.command(now, Command::Disconnect);
            while let Some(output) = self.seats[seat].player.poll_output() {
                if let NodeOutput::Transmit { socket, to, ttl, payload } = output {
                    self.send(seat, socket, (to, ttl), &payload);
                }
            }
        }
    }

    /// Opens a socket for a player. Returns its address, and where it is kept.
    fn open(&mut self, seat: usize, id: u32, ip: IpAddr) -> io::Result<(SocketAddr, usize)> {
        let mut socket = Socket::open(SocketAddr::new(ip, 0), None)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.poll.registry().register(&mut socket, Token(slot), Interest::READABLE)?;
        let local = socket.local();
        self.slots[slot] = Some(Slot { socket, seat, id });
        Ok((local, slot))
    }

    fn close(&mut self, seat: usize, id: u32) {
        let sockets = &mut self.seats[seat].sockets;
        if let Some(place) = sockets.iter().position(|(name, _)| *name == id) {
            let (_, slot) = sockets.swap_remove(place);
            self.slots[slot] = None;
            self.free.push(slot);
        }
    }

    /// Gives the player of this number a seat, and has it log in.
    fn seat(&mut self, now: Instant, number: usize, act: Act) -> io::Result<()> {
        let ((ip, server), role) = (self.order.place(number), self.order.role(number));
        let secret = self.order.secret(number);
        let index = self.seats.len();
        // An agent has a main socket for IPv4 in any case.
        let v4 = if ip.is_ipv4() { ip } else { Ipv4Addr::LOCALHOST.into() };
        let (main, slot) = self.open(index, MAIN, v4)?;
        let mut sockets = vec![(MAIN, slot)];
        let mut main_v6 = None;
        if ip.is_ipv6() {
            let (local, slot) = self.open(index, MAIN_V6, ip)?;
            sockets.push((MAIN_V6, slot));
            main_v6 = Some(local);
        }
        let about = (self.order.game.as_str(), self.order.keepalive);
        let relayed = matches!(role, Role::RelayHost(_) | Role::RelayGuest(_));
        let mut seat = Seat::new(about, secret, role, (ip, server), (main, main_v6), now);
        seat.sockets = sockets;
        seat.contact = self.order.contact(number);
        if relayed {
            seat.player.play(Box::new(Chatter {
                start: self.start,
                period: Duration::from_secs_f64(1.0 / self.order.relay_rate.max(0.01)),
                length: self.order.relay_bytes,
                relayed: Rc::clone(&self.relayed),
                to: None,
                next: None,
                outgoing: VecDeque::new(),
            }));
        }
        self.tally.begin(act);
        seat.log_in(now, act);
        self.seats.push(seat);
        self.settle(now, index);
        Ok(())
    }

    fn send(&mut self, seat: usize, id: u32, (to, ttl): (SocketAddr, Option<u8>), payload: &[u8]) {
        let about = &self.seats[seat];
        let slot = about.sockets.iter().find(|(name, _)| *name == id).map(|(_, slot)| *slot);
        let server = about.server;
        let Some(slot) = slot.and_then(|slot| self.slots[slot].as_mut()) else { return };
        let sent = slot.socket.send(&Outgoing { to, origin: Origin::System, ttl, payload, segment: None });
        if sent.sent == 0 {
            self.tally.refused += 1;
        } else if to == server || (to.is_ipv4() && to.ip() == server.ip()) {
            self.tally.sent += 1;
            self.tally.sent_bytes += payload.len() as u64;
        }
    }

    fn receive(&mut self, slot: usize, buffer: &mut Buffer) {
        let Some(Some(Slot { socket, seat, .. })) = self.slots.get_mut(slot) else { return };
        let seat = *seat;
        socket.set_readable();
        for _ in 0..READS {
            let now = Instant::now();
            let Some(Some(Slot { socket, id, .. })) = self.slots.get_mut(slot) else { break };
            if !socket.is_readable(now) {
                break;
            }
            match socket.receive(now, buffer) {
                Received::Datagrams => {}
                Received::Nothing => break,
                Received::Failed { .. } => continue,
            }
            let (id, seat) = (*id, &mut self.seats[seat]);
            for datagram in buffer.datagrams() {
                self.tally.received += u64::from(datagram.from == seat.server);
                seat.player.handle_datagram(now, id, datagram.from, datagram.payload);
            }
        }
        self.settle(Instant::now(), seat);
    }

    /// Does what is due.
    fn keep_times(&mut self, now: Instant) {
        while let Some((at, seat)) = self.timetable.first().copied().filter(|(at, _)| *at <= now) {
            if self.measuring {
                self.tally.late.note(&mut self.rng, now - at);
            }
            self.timetable.pop_first();
            let it = &mut self.seats[seat];
            it.due = None;
            if it.leave_at.take_if(|at| *at <= now).is_some() {
                it.doing = Doing::Leaving;
                self.tally.begin(Act::Leave);
                it.player.command(now, Command::LeaveRoom);
            }
            it.player.handle_timeout(now);
            self.settle(now, seat);
        }
    }

    /// Sends what a player has to say, takes note of what it has found out, and of when it is to be woken.
    fn settle(&mut self, now: Instant, seat: usize) {
        loop {
            while let Some(output) = self.seats[seat].player.poll_output() {
                match output {
                    NodeOutput::Transmit { socket, to, ttl, payload } => {
                        self.send(seat, socket, (to, ttl), &payload);
                    }
                    NodeOutput::Open { socket, v6 } => {
                        let given = self.seats[seat].ip.is_ipv6() == v6 && !self.order.lean;
                        let ip = if v6 { Ipv6Addr::LOCALHOST.into() } else { self.seats[seat].ip };
                        let opened = if given {
                            self.open(seat, socket, ip)
                        } else {
                            Err(io::ErrorKind::Unsupported.into())
                        };
                        let opened = opened.map(|(local, slot)| {
                            self.seats[seat].sockets.push((socket, slot));
                            local
                        });
                        if let Err(error) = &opened
                            && given
                        {
                            self.tally.error(format!("a further socket: {error}"));
                        }
                        self.seats[seat].player.handle_socket(now, socket, opened);
                    }
                    NodeOutput::Close { socket } => self.close(seat, socket),
                    NodeOutput::Connect { .. } => self.seats[seat].player.handle_stream(now, false),
                    NodeOutput::Disconnect => {}
                }
            }
            if !self.take_events(now, seat) {
                break;
            }
        }
        let it = &mut self.seats[seat];
        let due = it.poll_timeout();
        if due != it.due {
            if let Some(old) = it.due {
                self.timetable.remove(&(old, seat));
            }
            self.timetable.extend(due.map(|due| (due, seat)));
            it.due = due;
        }
    }

    /// Begins what the rates say.
    fn keep_pace(&mut self, now: Instant) {
        for index in 0..self.paces.len() {
            while let Pace { act, per_second, next: Some(next) } = self.paces[index]
                && next <= now
            {
                let gap = -(1.0 - self.rng.random::<f64>()).ln() / per_second;
                self.paces[index].next = Some(next + Duration::from_secs_f64(gap));
                match self.idle_seat(act) {
                    Some(seat) => self.begin(now, seat, act),
                    None => self.tally.skipped += 1,
                }
            }
        }
    }

    fn idle_seat(&mut self, act: Act) -> Option<usize> {
        (0..DRAWS).find_map(|_| {
            let count = self.seats.len();
            let index = (count > 0).then(|| self.rng.random_range(0..count))?;
            let seat = &self.seats[index];
            let may = act != Act::Chat || seat.contact.is_some();
            (seat.online && seat.doing == Doing::Idle && seat.role == Role::Wanderer && may).then_some(index)
        })
    }

    fn begin(&mut self, now: Instant, index: usize, act: Act) {
        self.tally.begin(act);
        let room = self.rng.random_range(0..self.order.rooms.max(1));
        let seat = &mut self.seats[index];
        seat.doing = Doing::Waiting(act, now);
        match act {
            Act::List => seat.player.command(now, Command::ListRooms(Default::default())),
            Act::Join => {
                seat.path_since = Some(now);
                seat.player.command(now, join(self.order.room(room), Duration::ZERO));
            }
            Act::Match => {
                let wanted = QuickMatch { mode: "load".into(), players: 2, ..QuickMatch::default() };
                seat.player.command(now, Command::QuickMatch(wanted));
            }
            Act::Chat => {
                if let Some(player) = seat.contact {
                    let (to, text) = (ChatTo::Player(player), "shall we play a round?".into());
                    seat.player.command(now, Command::Say { to, text });
                }
            }
            _ => {
                seat.player.command(now, Command::Disconnect);
                self.settle(now, index);
                self.seats[index].log_in(now, act);
            }
        }
        self.settle(now, index);
    }

    fn count_relayed(&mut self) {
        let Relayed { sent, times } = std::mem::take(&mut *self.relayed.borrow_mut());
        if self.measuring {
            *self.tally.begun.entry(Act::Relay).or_default() += sent;
            times.into_iter().for_each(|time| self.tally.time(&mut self.rng, Act::Relay, time));
        }
    }
}
