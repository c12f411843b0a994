//! Two servers with one address each, of which each is the other's second one.

use super::probes::probe;
use super::*;
use crate::link::NeighbourPlaces;
use crate::link::datagram::{Head, LinkKey, LinkMessage};
use crate::server::neighbour::{LinkTransmit, NeighbourState};
use crate::surroundings::NeighbourTrouble;
use traversal_core::wire::message::{Probe, ProbePurpose};

const FIRST: &str = "198.18.0.10:3478";
const SECOND: &str = "198.18.0.11:3478";
const LINKS: [&str; 2] = ["198.18.0.10:3480", "198.18.0.11:3480"];

fn sockets(first: &str) -> Vec<ServerSocket> {
    let first = ServerSocket::first(at(first));
    let beside = SocketAddr::new(first.local.ip(), 3479);
    vec![first, ServerSocket { second_port: true, ..ServerSocket::first(beside) }]
}

fn places(player: &str, link: &str) -> NeighbourPlaces {
    NeighbourPlaces { players: vec![at(player)], links: vec![at(link)] }
}

/// The first server with its players, and the second one beside it.
struct Two {
    world: World,
    other: Server,
    /// These datagrams left the second server's sockets.
    sent: Vec<(u16, SocketAddr, Vec<u8>)>,
    /// These went over the link, with the number of the server that sent them.
    said: Vec<(usize, LinkTransmit)>,
    /// The link loses everything.
    cut: bool,
}

impl Two {
    fn new() -> Self {
        let mut two = Self::with_key(9);
        two.exchange();
        two
    }

    fn with_key(secret: u8) -> Self {
        let mut world = World::with(ServerConfig::default(), sockets(FIRST));
        let now = world.now;
        world.server.set_neighbour(now, places(SECOND, LINKS[1]));
        let other = Self::second(now, secret, 3);
        Self { world, other, sent: Vec::new(), said: Vec::new(), cut: false }
    }

    fn second(now: Instant, secret: u8, seed: u8) -> Server {
        let identity = Identity::from_secret([secret; 32]);
        let mut other = Server::new(ServerConfig::default(), identity, [seed; 32], sockets(SECOND), now);
        other.set_neighbour(now, places(FIRST, LINKS[0]));
        other
    }

    /// Carries what both say over the link, until all is quiet.
    fn exchange(&mut self) {
        let now = self.world.now;
        loop {
            self.world.turn();
            let mut quiet = true;
            while let Some(transmit) = self.world.server.poll_link_transmit() {
                assert_eq!(transmit.to, at(LINKS[1]));
                quiet = false;
                if !self.cut {
                    self.other.handle_link_datagram(now, at(LINKS[0]), &transmit.payload);
                }
                self.said.push((0, transmit));
            }
            while let Some(transmit) = self.other.poll_link_transmit() {
                assert_eq!(transmit.to, at(LINKS[0]));
                quiet = false;
                if !self.cut {
                    self.world.server.handle_link_datagram(now, at(LINKS[1]), &transmit.payload);
                }
                self.said.push((1, transmit));
            }
            while let Some(transmit) = self.other.poll_transmit() {
                self.sent.push((transmit.socket.0, transmit.to, transmit.payload));
            }
            if quiet {
                return;
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.world.pass(Duration::from_millis(100));
            let now = self.world.now;
            if self.other.poll_timeout().is_some_and(|due| due <= now) {
                self.other.handle_timeout(now);
            }
            self.exchange();
        }
    }

    /// Sends a player's probe to a socket of the second server.
    fn probe_second(&mut self, index: usize, socket: u16, from: &str, purpose: ProbePurpose) -> usize {
        let now = self.world.now;
        let session = self.world.fakes[index].session.as_mut().unwrap();
        let probe = session.seal(now, Kind::Probe, &Frame::Probe(Probe { tag: 7, purpose })).unwrap();
        self.other.handle_datagram(now, ServerSocketId(socket), at(from), &probe);
        self.exchange();
        probe.len()
    }

    fn states(&self) -> [Option<NeighbourState>; 2] {
        [self.world.server.neighbour(), self.other.neighbour()]
    }

    /// Returns the newest datagram that a server said with this content's number (3: arrived, 4: emit).
    fn newest(&self, server: usize, what: u8) -> Vec<u8> {
        let said =
            self.said.iter().rev().find(|(from, transmit)| *from == server && transmit.payload[2] == what);
        said.expect("something of it was said").1.payload.clone()
    }
}

const LINKED: [Option<NeighbourState>; 2] = [Some(NeighbourState::Linked); 2];
const SILENT: Option<NeighbourState> = Some(NeighbourState::Apart(NeighbourTrouble::Silent));

#[test]
fn the_neighbours_sockets_are_the_second_address_while_it_answers() {
    let mut two = Two::new();
    assert_eq!(two.states(), LINKED, "without waiting for a second");
    let player = two.world.player(1, "203.0.113.1:4000");
    let targets = two.world.fakes[player].welcome.as_ref().unwrap().probe_targets.clone();
    assert_eq!(targets, [FIRST, "198.18.0.10:3479", SECOND, "198.18.0.11:3479"].map(at));
    two.cut = true;
    two.pass(2);
    assert_eq!(two.states(), LINKED, "two pings may be lost");
    two.pass(3);
    assert_eq!(two.states(), [SILENT; 2]);
    let now = two.world.now;
    let finding = two.world.server.findings(now).pop().expect("it is told");
    assert_eq!(finding.name(), "neighbour-silent");
    assert!(finding.is_serious() && finding.to_string().contains(SECOND), "{finding}");
    let late = two.world.player(2, "203.0.113.2:4000");
    let targets = two.world.fakes[late].welcome.as_ref().unwrap().probe_targets.clone();
    assert_eq!(targets, [FIRST, "198.18.0.10:3479"].map(at), "as with one address");
    two.cut = false;
    two.pass(2);
    assert_eq!(two.states(), LINKED, "it comes back by itself");
    assert!(two.world.server.findings(two.world.now).is_empty());
}

#[test]
fn probes_at_the_neighbour_are_answered_as_at_a_second_address_of_our_own() {
    let mut two = Two::new();
    let player = two.world.player(1, "203.0.113.1:4000");
    let from = "203.0.113.1:4055";
    // Asked at a socket of the second server: its own two are 0 and 1, and the answer leaves from the first server's where
    // `home` says so.
    for (asked, purpose, home, answered) in [
        (0, ProbePurpose::Report, false, 0),
        (1, ProbePurpose::Report, false, 1),
        (0, ProbePurpose::ReplyFromOtherPort, false, 1),
        (1, ProbePurpose::ReplyFromOtherAddress, true, 1),
    ] {
        two.sent.clear();
        two.world.sent.clear();
        let length = two.probe_second(player, asked, from, purpose);
        let answers: Vec<_> = if home {
            two.world.sent.iter().map(|(socket, to, bytes)| (socket.0, *to, bytes.len())).collect()
        } else {
            two.sent.iter().map(|(socket, to, bytes)| (*socket, *to, bytes.len())).collect()
        };
        let [(socket, to, answer)] = answers[..] else { panic!("one answer, not {answers:?}") };
        assert_eq!((socket, to), (answered, at(from)), "{purpose:?} at {asked}");
        assert!(answer <= length, "no answer is longer than its question");
    }
    // The filter test: the neighbour sends what nobody asked it for.
    two.sent.clear();
    probe(&mut two.world, player, 0, "203.0.113.1:4056", 8, ProbePurpose::ReplyFromOtherAddress);
    two.exchange();
    let [(0, to, answer)] = &two.sent[..] else { panic!("{:?}", two.sent) };
    assert_eq!(*to, at("203.0.113.1:4056"));
    let session = two.world.fakes[player].session.as_mut().unwrap();
    let seen = session.handle(two.world.now, answer);
    assert!(matches!(seen, Ok(Some(Frame::ProbeSeen { tag: 8, .. }))), "{seen:?}");
    let counted = (two.world.server.counters(), two.other.counters());
    assert_eq!((counted.1.neighbour_probes, counted.1.neighbour_sent), (4, 4));
    assert_eq!((counted.0.neighbour_probes, counted.0.neighbour_sent), (0, 0));
}

#[test]
fn stun_changes_the_address_by_the_neighbour() {
    let mut two = Two::new();
    let mut request = vec![0, 1, 0, 8];
    request.extend_from_slice(&0x2112_A442_u32.to_be_bytes());
    request.extend_from_slice(&[5; 12]);
    request.extend_from_slice(b"\0\x03\0\x04\0\0\0\x04");
    two.world.send_from(ServerSocketId(0), at("203.0.113.5:700"), &request);
    two.exchange();
    let [(0, to, answer)] = &two.sent[..] else { panic!("{:?}", two.sent) };
    assert_eq!(*to, at("203.0.113.5:700"));
    // OTHER-ADDRESS: 198.18.0.11:3479.
    let other = b"\x80\x2c\0\x08\0\x01\x0d\x97\xc6\x12\0\x0b";
    assert!(answer.windows(other.len()).any(|part| part == other), "{answer:?}");
}

#[test]
fn what_was_said_on_the_link_before_does_nothing_again() {
    let mut two = Two::new();
    let player = two.world.player(1, "203.0.113.1:4000");
    two.probe_second(player, 0, "203.0.113.1:4055", ProbePurpose::Report);
    let (arrived, emit) = (two.newest(1, 3), two.newest(0, 4));
    let now = two.world.now;
    let sent = two.sent.len();
    two.world.server.handle_link_datagram(now, at(LINKS[1]), &arrived);
    two.other.handle_link_datagram(now, at(LINKS[0]), &emit);
    two.exchange();
    assert_eq!(two.sent.len(), sent, "a replay");
    // From another address, though it is genuine.
    two.world.probe_as_new(&mut two.other, player);
    let fresh = two.other.poll_link_transmit().unwrap().payload;
    two.world.server.handle_link_datagram(now, at("203.0.113.66:3480"), &fresh);
    assert!(two.world.server.poll_link_transmit().is_none());
    two.world.server.handle_link_datagram(now, at(LINKS[1]), &fresh);
    assert!(two.world.server.poll_link_transmit().is_some(), "the same from where the neighbour is");

    // The second server starts anew: nothing that its former process said or heard counts.
    let old_pong = two.newest(1, 2);
    two.other = Two::second(now, 9, 77);
    two.pass(1);
    assert_eq!(two.states(), LINKED);
    two.probe_second(player, 0, "203.0.113.1:4056", ProbePurpose::Report);
    let now = two.world.now;
    assert_eq!(two.sent.len(), sent + 1, "the new process is linked");
    let sent = two.sent.len();
    for old in [&old_pong, &arrived] {
        two.world.server.handle_link_datagram(now, at(LINKS[1]), old);
    }
    two.other.handle_link_datagram(now, at(LINKS[0]), &emit);
    two.exchange();
    assert_eq!(two.sent.len(), sent);
    two.probe_second(player, 0, "203.0.113.1:4057", ProbePurpose::Report);
    assert_eq!(two.sent.len(), sent + 1, "and it is still the new process that is linked");
}

impl World {
    /// Sends a probe to the second server without carrying the link's datagrams.
    fn probe_as_new(&mut self, other: &mut Server, player: usize) {
        let session = self.fakes[player].session.as_mut().unwrap();
        let probe = Frame::Probe(Probe { tag: 9, purpose: ProbePurpose::Report });
        let probe = session.seal(self.now, Kind::Probe, &probe).unwrap();
        other.handle_datagram(self.now, ServerSocketId(0), at("203.0.113.1:4058"), &probe);
    }
}

#[test]
fn a_server_with_another_key_is_not_linked_and_said_to_have_one() {
    let mut two = Two::with_key(10);
    two.exchange();
    two.pass(1);
    let other_key = Some(NeighbourState::Apart(NeighbourTrouble::OtherKey));
    assert_eq!(two.states(), [other_key; 2]);
    let finding = two.world.server.findings(two.world.now).pop().unwrap();
    assert_eq!(finding.name(), "neighbour-key");
    assert!(finding.to_string().contains("Copy this server's key file"), "{finding}");
    // With the right one it links by itself.
    two.other = Two::second(two.world.now, 9, 5);
    two.exchange();
    two.pass(2);
    assert_eq!(two.states(), LINKED);
}

#[test]
fn a_forged_probe_costs_one_datagram_of_the_link_at_the_most() {
    let mut two = Two::new();
    let mut forged = vec![Kind::Probe as u8];
    forged.resize(300, 7);
    let before = two.said.len();
    two.other.handle_datagram(two.world.now, ServerSocketId(0), at("203.0.113.9:1"), &forged);
    two.exchange();
    let said: Vec<_> =
        two.said[before..].iter().map(|(from, transmit)| (*from, transmit.payload.len())).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].0 == 1 && said[0].1 <= forged.len() + 70 && two.sent.is_empty());
    // Nothing that came over the link goes back, and nothing but probes goes there.
    forged[0] = Kind::Control as u8;
    two.other.handle_datagram(two.world.now, ServerSocketId(0), at("203.0.113.9:1"), &forged);
    two.exchange();
    assert_eq!(two.said.len(), before + 1);
    forged[0] = Kind::Probe as u8;
    for _ in 0..3000 {
        two.other.handle_datagram(two.world.now, ServerSocketId(0), at("203.0.113.9:1"), &forged);
    }
    two.exchange();
    let bytes = (two.said.len() - before) * forged.len();
    assert!((300_000..=400_000).contains(&bytes), "{bytes}: what one address may at once");
    assert!(two.other.counters().refusals.of(crate::server::Refusal::NeighbourProbeRate) > 0);
}

/// What somebody could do who has stolen the link's key and sits where the neighbour is.
#[test]
fn a_stolen_link_sends_nobody_a_flood_and_nothing_but_answers() {
    let mut two = Two::new();
    let now = two.world.now;
    let key = LinkKey::new(&Identity::from_secret([9; 32])).unwrap();
    let ping = two.newest(0, 1);
    let number = |at: usize| u64::from_le_bytes(two.newest(0, 2)[at..at + 8].try_into().unwrap());
    let (from, to) = (number(11), number(19));
    assert!(key.open(&ping).is_ok());
    let mut counter = 1_000_000;
    let mut emit = |two: &mut Two, target: &str, datagram: &[u8]| {
        counter += 1;
        let message = LinkMessage::Emit { second_port: false, proof: false, to: at(target), datagram };
        let Some(sealed) = key.seal(Head { from, to, counter }, &message) else { return 0 };
        let before = two.sent.len();
        two.other.handle_link_datagram(now, at(LINKS[0]), &sealed);
        two.exchange();
        two.sent.len() - before
    };
    let mut answer = vec![Kind::Probe as u8];
    answer.resize(1200, 7);
    assert_eq!(emit(&mut two, "203.0.113.7:53", &answer), 1, "the thief has what it takes");
    for target in [
        "10.0.0.1:53",
        "127.0.0.1:53",
        "192.168.1.1:1900",
        "224.0.0.251:5353",
        "255.255.255.255:9",
        "0.0.0.0:9",
    ] {
        assert_eq!(emit(&mut two, target, &answer), 0, "{target}");
    }
    let junk = [
        &b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0"[..],
        b"M-SEARCH * HTTP/1.1",
        b"",
        &[Kind::Hello as u8; 1200],
    ];
    for junk in junk {
        assert_eq!(emit(&mut two, "203.0.113.7:53", junk), 0);
    }
    assert_eq!(emit(&mut two, "203.0.113.7:53", &vec![Kind::Probe as u8; 1201]), 0, "too long");
    let sent: usize = (0..1000).map(|_| emit(&mut two, "203.0.113.7:53", &answer)).sum();
    assert!(sent * 1200 <= 400_000, "{sent} of 1,000");
    let wide: usize =
        (0..20_000).map(|n| emit(&mut two, &format!("203.1.{}.{}:9", n / 250, n % 250), &answer)).sum();
    assert!(wide * 1200 <= 8_000_000, "{wide} of 20,000");
}

/// The trap of a neighbour: who knows both servers by name may have opened its NAT towards the second one.
#[test]
fn the_neighbour_proves_no_forwarded_port_to_who_has_sent_to_it_from_there() {
    let mut two = Two::new();
    let player = two.world.player(1, "203.0.113.1:4000");
    let ask = |two: &mut Two, index, port| {
        let before = two.sent.len();
        probe(&mut two.world, index, 0, "203.0.113.1:4000", 5, ProbePurpose::MappedPort { port });
        two.exchange();
        two.sent[before..].iter().map(|(socket, to, _)| (*socket, *to)).collect::<Vec<_>>()
    };
    assert_eq!(ask(&mut two, player, 4000), [(1, at("203.0.113.1:4000"))], "from its second port");
    // A hello from the game's socket, as by a client that tries one name after the other.
    let hello = two.world.fakes[player].handshake.datagram().to_vec();
    two.other.handle_datagram(two.world.now, ServerSocketId(0), at("203.0.113.1:4000"), &hello);
    two.exchange();
    two.sent.clear();
    assert_eq!(ask(&mut two, player, 4000), [], "the answer's way in would be taken for a forwarded port");
    assert_eq!(
        ask(&mut two, player, 5000),
        [(1, at("203.0.113.1:5000"))],
        "another port of the same address"
    );
    assert_eq!(two.other.counters().refusals.of(crate::server::Refusal::NeighbourHeard), 1);
    two.world.kill(player);
    two.pass(301);
    let player = two.world.player(2, "203.0.113.1:4000");
    assert_eq!(ask(&mut two, player, 4000), [(1, at("203.0.113.1:4000"))], "no NAT keeps a mapping so long");
}
