//! Many players who show that they are there, and some of whom join rooms, in time that is said: how much of a core that is,
//! and how long an answer would wait for those before it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lobby_server::{MemoryRegistry, Server};
use test_support::crowd::{self, Member, SOCKET};
use traversal_core::id::MatchId;
use traversal_core::wire::message::{MatchOutcome, Request, RoomOptions, RoomTarget, ToPlayer, ToServer};

const KEEPALIVE: Duration = Duration::from_secs(15);
/// Players stay in a room for so long.
const STAY: Duration = Duration::from_secs(5);
/// A room takes so many.
const CAPACITY: u16 = 64;
/// So many guests are in a room at a time.
const GUESTS: u32 = 8;
const MEASURED: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Keepalive(usize),
    Join,
    /// The match plays: both sides say so.
    Report(usize, MatchId),
    Leave(usize),
}

struct World {
    server: Server,
    registry: MemoryRegistry,
    members: Vec<Member>,
    /// The server is busy until then, if it is one core that does one thing after the other.
    free_at: Instant,
    busy: Duration,
    /// This is how long each datagram took with the wait before it.
    answers: Vec<f32>,
    datagrams: u64,
}

impl World {
    /// Gives the server this, times it, and hands out what comes of it; what players answer goes back at once.
    fn give(&mut self, now: Instant, index: usize, datagram: Vec<u8>) {
        let mut inputs = VecDeque::from([(index, datagram)]);
        while let Some((index, datagram)) = inputs.pop_front() {
            let began = Instant::now();
            self.server.handle_datagram(now, SOCKET, self.members[index].address, &datagram);
            self.server.turn_registry(now, &mut self.registry);
            let out: Vec<_> = std::iter::from_fn(|| self.server.poll_transmit()).collect();
            self.count(now, began.elapsed());
            self.datagrams += 1;
            for transmit in out {
                let Some(index) = self.index(transmit.to) else { continue };
                self.members[index].take(now, &transmit);
                while let Some(datagram) = self.members[index].next_sealed() {
                    inputs.push_back((index, datagram));
                }
            }
        }
    }

    fn count(&mut self, now: Instant, took: Duration) {
        self.busy += took;
        self.free_at = self.free_at.max(now) + took;
        self.answers.push(self.free_at.saturating_duration_since(now).as_secs_f32());
    }

    fn index(&self, address: SocketAddr) -> Option<usize> {
        Member::number_at(address).map(|number| number as usize).filter(|index| *index < self.members.len())
    }

    /// Has a player say all that it has in line.
    fn speak(&mut self, now: Instant, index: usize) {
        while let Some(datagram) = self.members[index].next_sealed() {
            self.give(now, index, datagram);
        }
    }

    fn timers(&mut self, now: Instant) {
        while let Some(due) = self.server.poll_timeout().filter(|due| *due <= now) {
            let began = Instant::now();
            self.server.handle_timeout(due);
            self.server.turn_registry(due, &mut self.registry);
            let out: Vec<_> = std::iter::from_fn(|| self.server.poll_transmit()).collect();
            self.count(due, began.elapsed());
            for transmit in out {
                let Some(index) = self.index(transmit.to) else { continue };
                self.members[index].take(due, &transmit);
                self.speak(due, index);
            }
        }
    }
}

pub(crate) fn run(players: u32, joins: u32) {
    let start = Instant::now();
    let rooms = (joins * STAY.as_secs() as u32 / GUESTS).max(1);
    assert!(players > rooms * 2, "more players than rooms are needed");
    let mut world = World {
        server: crowd::server(players as usize, start),
        registry: MemoryRegistry::new(),
        members: (0..players).map(Member::new).collect(),
        free_at: start,
        busy: Duration::ZERO,
        answers: Vec::new(),
        datagrams: 0,
    };
    println!("{players} players log in, {rooms} of them with a room ...");
    let mut acts = BinaryHeap::new();
    for index in 0..players as usize {
        // One after the other over the time of a keepalive, so that those are spread.
        let now = start + KEEPALIVE.mul_f64(index as f64 / f64::from(players));
        let World { server, members, .. } = &mut world;
        members[index].log_in(server, now);
        if index < rooms as usize {
            let name = format!("room {index}");
            let options = RoomOptions { name, capacity: CAPACITY, ..RoomOptions::default() };
            world.members[index].ask(now, Request::CreateRoom { options });
            world.speak(now, index);
        }
        acts.push(Reverse((now + KEEPALIVE, Act::Keepalive(index))));
    }
    let (begin, end) = (start + KEEPALIVE, start + KEEPALIVE + MEASURED);
    for number in 0..joins * MEASURED.as_secs() as u32 {
        acts.push(Reverse((
            begin + Duration::from_secs_f64(f64::from(number) / f64::from(joins)),
            Act::Join,
        )));
    }
    (world.busy, world.free_at, world.datagrams) = (Duration::ZERO, begin, 0);
    world.answers.clear();
    world.members.iter_mut().for_each(|member| member.told.clear());
    let (mut next, mut joined, mut keepalives) = (rooms as usize, 0, 0);
    let mut idle: VecDeque<usize> = (rooms as usize..players as usize).collect();
    while let Some(Reverse((at, act))) = acts.pop() {
        if at >= end {
            break;
        }
        let now = at;
        world.timers(now);
        match act {
            Act::Keepalive(index) => {
                keepalives += 1;
                let ping = world.members[index].ping(now);
                world.give(now, index, ping);
                // Members of rooms say it more often.
                let wait = if index < rooms as usize { KEEPALIVE / 4 } else { KEEPALIVE };
                acts.push(Reverse((now + wait, Act::Keepalive(index))));
            }
            Act::Join => {
                let Some(index) = idle.pop_front() else { continue };
                next = next.wrapping_add(1);
                let target = RoomTarget::Name(format!("room {}", next % rooms as usize));
                world.members[index].ask(now, Request::JoinRoom { target, password: None });
                world.speak(now, index);
                let plan = world.members[index].told.drain(..).find_map(|told| match told {
                    ToPlayer::Plan(plan) => Some(plan.match_id),
                    _ => None,
                });
                if let Some(id) = plan {
                    joined += 1;
                    let host = next % rooms as usize;
                    world.members[host].told.clear();
                    acts.push(Reverse((now + Duration::from_millis(300), Act::Report(index, id))));
                    acts.push(Reverse((now + Duration::from_millis(300), Act::Report(host, id))));
                }
                acts.push(Reverse((now + STAY, Act::Leave(index))));
            }
            Act::Report(index, match_id) => {
                let outcome = MatchOutcome::Direct;
                world.members[index].say(now, ToServer::MatchReport { match_id, outcome, cause: None });
                world.speak(now, index);
            }
            Act::Leave(index) => {
                world.members[index].ask(now, Request::LeaveRoom);
                world.speak(now, index);
                world.members[index].told.clear();
                idle.push_back(index);
            }
        }
    }
    let share = world.busy.as_secs_f64() / MEASURED.as_secs_f64();
    world.answers.sort_by(f32::total_cmp);
    let quantile = |share: f64| {
        let last = world.answers.len() - 1;
        f64::from(world.answers[(last as f64 * share) as usize]) * 1e6
    };
    let seconds = MEASURED.as_secs_f64();
    println!(
        "{seconds} s: {:.0} keepalives and {:.0} joins a second, {:.0} datagrams a second in",
        f64::from(keepalives) / seconds,
        f64::from(joined) / seconds,
        world.datagrams as f64 / seconds
    );
    println!(
        "the core needs {:.1} % of a processor; an answer takes {:.0} us (median), {:.0} us (99 %), {:.0} us (longest), sockets \
         and network aside",
        share * 100.0,
        quantile(0.5),
        quantile(0.99),
        quantile(1.0)
    );
    assert!(joined > 0, "somebody joined");
}
