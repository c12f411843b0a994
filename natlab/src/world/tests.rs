//! The world with toy nodes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::*;
use crate::link::{Link, Way};
use crate::nat::{DropReason, NatSpec};

/// Echoes what it gets, or counts and keeps it.
#[derive(Default)]
struct Toy {
    echo: bool,
    got: Vec<(Duration, u32, SocketAddr, Vec<u8>)>,
    out: VecDeque<NodeOutput>,
    refused: Vec<usize>,
    opened: Vec<SocketAddr>,
    beat: Option<(Instant, Duration)>,
    beats: u32,
    start: Option<Instant>,
}

impl Node for Toy {
    fn handle_datagram(&mut self, now: Instant, socket: u32, from: SocketAddr, datagram: &[u8]) {
        let start = *self.start.get_or_insert(now);
        self.got.push((now - start, socket, from, datagram.to_vec()));
        if self.echo {
            self.send(socket, from, format!("you are {from}").as_bytes(), None);
        }
    }

    fn handle_socket(&mut self, _: Instant, _: u32, local: io::Result<SocketAddr>) {
        self.opened.push(local.unwrap());
    }

    fn handle_too_long(&mut self, _: Instant, _: u32, _: SocketAddr, length: usize) {
        self.refused.push(length);
    }

    fn handle_timeout(&mut self, _: Instant) {
        if let Some((at, period)) = &mut self.beat {
            *at += *period;
            self.beats += 1;
        }
    }

    fn poll_output(&mut self) -> Option<NodeOutput> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.beat.map(|(at, _)| at)
    }
}

impl Toy {
    fn send(&mut self, socket: u32, to: SocketAddr, payload: &[u8], ttl: Option<u8>) {
        self.out.push_back(NodeOutput::Transmit { socket, to, ttl, payload: payload.to_vec() });
    }

    fn texts(&self) -> Vec<String> {
        self.got.iter().map(|(.., payload)| String::from_utf8_lossy(payload).into_owned()).collect()
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const SERVER: &str = "198.18.0.10:3478";

fn world(seed: u64) -> (World<Toy>, HostId) {
    let mut world = World::new(seed);
    let node = Toy { echo: true, ..Toy::default() };
    let server = world.add_host(
        World::<Toy>::INTERNET,
        vec![ip("198.18.0.10"), ip("198.18.0.11")],
        &[addr(SERVER), addr("198.18.0.11:3479")],
        Link::delay(ms(10)),
        node,
    );
    (world, server)
}

fn lan(world: &mut World<Toy>, outer: SegmentId, spec: &str, external: &str) -> (NatId, SegmentId) {
    let spec: NatSpec = spec.parse().unwrap();
    world.add_nat(outer, spec.chain[0].clone(), vec![ip(external)], Link::delay(ms(15)))
}

fn player(world: &mut World<Toy>, segment: SegmentId, local: &str) -> HostId {
    let local = addr(local);
    world.add_host(segment, vec![local.ip()], &[local], Link::default(), Toy::default())
}

#[test]
fn an_echo_through_two_nats_takes_the_sum_of_delays() {
    let (mut world, server) = world(1);
    let (_, carrier) = lan(&mut world, World::<Toy>::INTERNET, "ps", "198.18.1.1");
    let (_, home) = lan(&mut world, carrier, "portrestricted", "100.64.0.2");
    let host = player(&mut world, home, "192.168.1.2:40000");
    world.act(host, |node, _| node.send(0, addr(SERVER), b"hi", None));
    world.run_until(ms(39));
    let seen = &world.node(server).got;
    assert_eq!(seen.len(), 0);
    world.run_until(ms(41));
    let from = world.node(server).got[0].2;
    assert_eq!(from.ip(), ip("198.18.1.1"), "the outer NAT's address");
    world.run_until(ms(81));
    assert_eq!(world.node(host).texts(), [format!("you are {from}")]);
    assert_eq!(world.node(host).got[0].2, addr(SERVER));
}

#[test]
fn two_hosts_of_a_lan_meet_without_their_nat() {
    let (mut world, _) = world(1);
    let (nat, home) = lan(&mut world, World::<Toy>::INTERNET, "ps", "198.18.1.1");
    let a = player(&mut world, home, "192.168.1.2:40000");
    let b = player(&mut world, home, "192.168.1.3:40000");
    world.act(a, |node, _| node.send(0, addr("192.168.1.3:40000"), b"lan", None));
    world.run_until(ms(5));
    assert_eq!(world.node(b).texts(), ["lan"]);
    assert_eq!(world.node(b).got[0].2, addr("192.168.1.2:40000"));
    assert_eq!(world.nat(nat).counters().mappings, 0);
}

#[test]
fn cone_to_cone_punching_works_and_one_sided_does_not() {
    let (mut world, server) = world(1);
    let (_, left) = lan(&mut world, World::<Toy>::INTERNET, "portrestricted", "198.18.1.1");
    let (_, right) = lan(&mut world, World::<Toy>::INTERNET, "portrestricted", "198.18.2.1");
    let a = player(&mut world, left, "192.168.1.2:40000");
    let b = player(&mut world, right, "192.168.1.2:40001");
    for host in [a, b] {
        world.act(host, |node, _| node.send(0, addr(SERVER), b"hi", None));
    }
    world.run_until(ms(100));
    let (a_seen, b_seen) = (world.node(server).got[0].2, world.node(server).got[1].2);
    world.act(a, |node, _| node.send(0, b_seen, b"bubble", None));
    world.run_until(ms(200));
    assert_eq!(world.node(b).texts().len(), 1, "only the server's answer");
    world.act(b, |node, _| node.send(0, a_seen, b"reply", None));
    world.run_until(ms(300));
    assert_eq!(world.node(a).texts().last().unwrap(), "reply");
    assert_eq!(world.drops()[&DropReason::Filtered], 1);
}

#[test]
fn hairpin_brings_a_packet_back_inside() {
    for (spec, works) in [("fullcone,hairpin=yes", true), ("fullcone", false)] {
        let (mut world, server) = world(1);
        let (_, home) = lan(&mut world, World::<Toy>::INTERNET, spec, "198.18.1.1");
        let a = player(&mut world, home, "192.168.1.2:40000");
        let b = player(&mut world, home, "192.168.1.3:50000");
        world.act(b, |node, _| node.send(0, addr(SERVER), b"hi", None));
        world.run_until(ms(100));
        let b_seen = world.node(server).got[0].2;
        world.act(a, |node, _| node.send(0, b_seen, b"over the NAT", None));
        world.run_until(ms(200));
        assert_eq!(world.node(b).got.len() == 2, works, "{spec}");
        if works {
            assert_eq!(world.node(b).got[1].2, addr("198.18.1.1:40000"), "external source");
        }
    }
}

#[test]
fn a_low_ttl_opens_the_own_nat_and_dies_in_the_core() {
    let (mut world, _) = world(1);
    let (nat, home) = lan(&mut world, World::<Toy>::INTERNET, "portrestricted", "198.18.1.1");
    let host = player(&mut world, home, "192.168.1.2:40000");
    let other = world.add_host(
        World::<Toy>::INTERNET,
        vec![ip("198.18.2.1")],
        &[addr("198.18.2.1:9")],
        Link::default(),
        Toy::default(),
    );
    world.act(host, |node, _| node.send(0, addr("198.18.2.1:9"), b"bubble", Some(5)));
    world.run_until(ms(50));
    assert_eq!(world.nat(nat).counters().mappings, 1);
    assert!(world.node(other).got.is_empty());
    world.act(other, |node, _| node.send(0, addr("198.18.1.1:40000"), b"reply", None));
    world.run_until(ms(100));
    assert_eq!(world.node(host).texts(), ["reply"]);
}

#[test]
fn a_firewall_keeps_addresses_and_drops_strangers() {
    let (mut world, server) = world(1);
    let spec: NatSpec = "firewall".parse().unwrap();
    let (_, inside) =
        world.add_nat(World::<Toy>::INTERNET, spec.chain[0].clone(), Vec::new(), Link::delay(ms(5)));
    let host = player(&mut world, inside, "198.18.1.1:40000");
    world.act(server, |node, _| node.send(0, addr("198.18.1.1:40000"), b"stranger", None));
    world.run_until(ms(50));
    assert!(world.node(host).got.is_empty());
    world.act(host, |node, _| node.send(0, addr(SERVER), b"hi", None));
    world.run_until(ms(100));
    assert_eq!(world.node(host).texts(), ["you are 198.18.1.1:40000"]);
}

#[test]
fn sockets_open_close_and_time_goes_on() {
    let (mut world, _) = world(1);
    let host = world.add_host(
        World::<Toy>::INTERNET,
        vec![ip("198.18.5.5")],
        &[addr("198.18.5.5:1000")],
        Link::default(),
        Toy::default(),
    );
    world.act(host, |node, now| {
        node.beat = Some((now + ms(100), ms(100)));
        node.out.push_back(NodeOutput::Open { socket: 7, v6: false });
    });
    let local = world.node(host).opened[0];
    assert_eq!(world.local(host, 7), Some(local));
    world.act(host, |node, _| node.send(7, addr(SERVER), b"x", None));
    world.run_until(ms(1050));
    assert_eq!(world.node(host).beats, 10);
    assert_eq!(world.node(host).got[0].1, 7);
    world.act(host, |node, _| {
        node.send(7, addr(SERVER), b"y", None);
        node.out.push_back(NodeOutput::Close { socket: 7 });
    });
    world.run_until(ms(2000));
    assert_eq!(world.node(host).got.len(), 1, "the answer came to a closed port");
    assert_eq!(world.stats(host).closed, 1);
    assert_eq!(world.stats(host).targets[&addr(SERVER)], 2);
}

#[test]
fn long_packets_pass_no_narrow_link_and_their_sender_hears_of_it_or_not() {
    let send = |world: &mut World<Toy>, host, to, length: usize| {
        world.act(host, |node: &mut Toy, _| node.send(0, to, &vec![1; length], None));
        world.run_until(world.now() + ms(50));
    };
    for (mtu, told) in [("1280", true), ("1280:silent", false)] {
        let (mut world, server) = world(1);
        let (nat, home) = lan(&mut world, World::<Toy>::INTERNET, "ps", "198.18.1.1");
        let host = player(&mut world, home, "192.168.1.2:40000");
        let (other_nat, other_home) = lan(&mut world, World::<Toy>::INTERNET, "fullcone", "198.18.2.1");
        let other = player(&mut world, other_home, "192.168.1.3:40000");
        let mut link = Link::default();
        link.up.mtu = mtu.parse().unwrap();
        world.set_nat_link(nat, link);
        send(&mut world, host, addr(SERVER), 1252);
        send(&mut world, host, addr(SERVER), 1253);
        assert_eq!(
            [server, host].map(|node| world.node(node).got.len()),
            [1, 1],
            "the shorter one and its echo"
        );
        // What ICMP told is known with the next one.
        send(&mut world, host, addr(SERVER), 1253);
        assert_eq!(world.node(host).refused.len(), usize::from(told), "{mtu}");
        // The other way, into the other's home, past both NATs.
        let mut link = Link::default();
        link.down.mtu = mtu.parse().unwrap();
        world.set_nat_link(nat, Link::default());
        world.set_nat_link(other_nat, link);
        send(&mut world, other, addr(SERVER), 10);
        let outside = addr("198.18.2.1:40000");
        send(&mut world, host, outside, 1252);
        send(&mut world, host, outside, 1300);
        send(&mut world, host, outside, 1300);
        assert_eq!(world.node(other).got.iter().filter(|(.., bytes)| bytes.len() > 1000).count(), 1);
        assert_eq!(world.node(host).refused.len(), 2 * usize::from(told), "{mtu}");
    }
    // The own interface tells at once, whatever routers do.
    let (mut world, _) = world(1);
    let mut link = Link::default();
    link.up.mtu = "1000:silent".parse().unwrap();
    let local = addr("198.18.5.5:1000");
    let host = world.add_host(World::<Toy>::INTERNET, vec![local.ip()], &[local], link, Toy::default());
    send(&mut world, host, addr(SERVER), 973);
    assert_eq!(world.node(host).refused, [973]);
}

/// Two players shout at the server over bad links; everything that a tap sees goes into one text.
fn noisy(seed: u64) -> (u64, String) {
    let (mut world, _) = world(seed);
    let log = Rc::new(RefCell::new(String::new()));
    let sink = Rc::clone(&log);
    world.add_tap(Box::new(move |fate: Fate, packet: &Packet<'_>| {
        sink.borrow_mut().push_str(&format!("{:?} {fate:?} {:?}\n", packet.at, packet.header));
    }));
    let (nat, home) = lan(&mut world, World::<Toy>::INTERNET, "psrandom,cross=100", "198.18.1.1");
    let way = Way { loss: 0.3, duplicate: 0.2, reorder: 0.2, jitter: ms(20), ..Way::default() };
    world.set_nat_link(nat, Link::both(way));
    let hosts =
        [player(&mut world, home, "192.168.1.2:40000"), player(&mut world, home, "192.168.1.3:40000")];
    for n in 0..50 {
        for host in hosts {
            world.act(host, |node, _| node.send(0, addr(SERVER), format!("number {n}").as_bytes(), None));
        }
        world.run_until(ms(7 * n));
    }
    world.run_until(ms(2000));
    let text = log.borrow().clone();
    (world.trace_hash(), text)
}

#[test]
fn the_same_seed_is_the_same_run() {
    let (first, again, other) = (noisy(11), noisy(11), noisy(12));
    assert_eq!(first.1, again.1);
    assert_eq!(first.0, again.0);
    assert_ne!(first.0, other.0, "another seed is another run");
}
