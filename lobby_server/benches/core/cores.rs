//! What a second core gives: nodes share nothing while they log players in and relay, so each has a core of its own.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use lobby_server::{MemoryRegistry, Rate, Server, ServerConfig};
use test_support::crowd::{self, Member, SOCKET};
use traversal_core::wire::Kind;
use traversal_core::wire::message::{Request, RoomOptions, RoomTarget, ToPlayer};

const ROUNDS: usize = 7;
const LOGINS: u32 = 6000;
const RELAYED: u32 = 400_000;
/// A datagram has as many bytes as a full renet slice with everything around it.
const SIZE: usize = 1280;

/// This is a node with what comes to it, made beforehand.
struct Node {
    server: Server,
    now: Instant,
    logins: Vec<(SocketAddr, Vec<u8>, Vec<u8>)>,
    relay: (SocketAddr, Vec<u8>),
}

impl Node {
    fn new() -> Self {
        let now = Instant::now();
        let mut config = ServerConfig { max_sessions: 100_000, ..ServerConfig::default() };
        // What is measured is what it can do, not what it is allowed.
        (config.relay_rate, config.relay_total_rate) = (Rate::new(1e12, 1e12), Rate::new(1e12, 1e12));
        let mut server = crowd::server_with(config, now);
        let mut registry = MemoryRegistry::new();
        let [mut host, mut joiner] = [1, 2].map(Member::new);
        host.log_in(&mut server, now);
        joiner.log_in(&mut server, now);
        let options = RoomOptions { name: "r".into(), ..RoomOptions::default() };
        host.ask(now, Request::CreateRoom { options });
        joiner.ask(now, Request::JoinRoom { target: RoomTarget::Name("r".into()), password: None });
        for member in [&mut host, &mut joiner] {
            while let Some(datagram) = member.next_sealed() {
                server.handle_datagram(now, SOCKET, member.address, &datagram);
                server.turn_registry(now, &mut registry);
                while let Some(transmit) = server.poll_transmit() {
                    member.take(now, &transmit);
                }
            }
        }
        let plan = joiner.told.into_iter().find_map(|told| match told {
            ToPlayer::Plan(plan) => Some(plan),
            _ => None,
        });
        let plan = plan.expect("a plan");
        let mut datagram = vec![Kind::Relay as u8];
        datagram.extend_from_slice(&plan.relay.expect("a relay").token);
        datagram.push(Kind::Pair as u8);
        datagram.extend_from_slice(&plan.match_id.0.to_le_bytes());
        datagram.resize(SIZE, 7);
        let logins = (10..LOGINS + 10).map(|number| {
            let mut member = Member::new(number);
            let init = member.init(&mut server, now);
            (member.address, member.hello(), init)
        });
        let logins = logins.collect();
        Self { server, now, logins, relay: (joiner.address, datagram) }
    }

    fn log_in(&mut self) {
        let mut answers = 0;
        for (address, hello, init) in &self.logins {
            self.server.handle_datagram(self.now, SOCKET, *address, hello);
            self.server.handle_datagram(self.now, SOCKET, *address, init);
            while self.server.poll_transmit().is_some() {
                answers += 1;
            }
        }
        assert_eq!(answers, LOGINS * 2, "a cookie and a welcome for each");
    }

    fn relay(&mut self) {
        let (from, datagram) = &self.relay;
        let mut out = 0;
        for _ in 0..RELAYED {
            self.server.handle_datagram(self.now, SOCKET, *from, datagram);
            while self.server.poll_transmit().is_some() {
                out += 1;
            }
        }
        assert_eq!(out, RELAYED, "all were relayed");
    }
}

/// Has so many nodes do this, each in a thread of its own, and returns how long that takes.
fn time(nodes: &mut [Node], work: fn(&mut Node)) -> Duration {
    let barrier = Barrier::new(nodes.len() + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = nodes
            .iter_mut()
            .map(|node| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    work(node);
                })
            })
            .collect();
        barrier.wait();
        let began = Instant::now();
        threads.into_iter().for_each(|thread| thread.join().expect("a node"));
        began.elapsed()
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn run() {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
    println!("{processors} processors; {ROUNDS} rounds, a second, of one node and of two");
    println!("round  logins: one     two  ratio   relayed: one       two  ratio");
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 1..=ROUNDS {
        print!("{round:5}");
        let mut one = [Node::new()];
        let mut two = [Node::new(), Node::new()];
        for ((work, count), ratios) in
            [(Node::log_in as fn(&mut Node), LOGINS), (Node::relay, RELAYED)].into_iter().zip(&mut ratios)
        {
            let single = f64::from(count) / time(&mut one, work).as_secs_f64();
            let double = f64::from(2 * count) / time(&mut two, work).as_secs_f64();
            ratios.push(double / single);
            print!(" {single:12.0} {double:9.0} {:6.2}", double / single);
        }
        println!();
    }
    let [logins, relayed] = ratios.map(median);
    println!(
        "median: two nodes do {logins:.2} times the logins and {relayed:.2} times the relaying of one (goal: at least 1.7)"
    );
}
