//! Bytes that go out per byte that comes in, to addresses that nobody has proven to be theirs: for every kind of
//! datagram, whatever is in it and wherever it is cut. `cargo test -p lobby_server amplification -- --nocapture` prints
//! the table.

use super::*;
use crate::server::tests::probes::four_sockets;
use crate::server::tests::victim::signed_report;
use traversal_core::id::MatchId;
use traversal_core::wire::codec;
use traversal_core::wire::message::{Probe, ProbePurpose};

/// Somebody else, whose address the evil player writes on its datagrams.
const FORGED: &str = "192.0.2.99:53";
const FORGED_V6: &str = "[2001:db8::99]:53";
const EVIL: &str = "198.51.100.66:5000";

/// This is the worst that one kind of datagram does.
#[derive(Default)]
struct Table(BTreeMap<String, (usize, usize)>);

impl Table {
    fn note(&mut self, name: &str, sent: usize, got: usize) {
        let worst = self.0.entry(name.to_owned()).or_insert((sent, got));
        if got * worst.0 > worst.1 * sent {
            *worst = (sent, got);
        }
    }

    fn print(&self) {
        println!("{:<44} {:>5} {:>5} {:>6}", "datagram (its worst case)", "in", "out", "factor");
        for (name, (sent, got)) in &self.0 {
            println!("{name:<44} {sent:>5} {got:>5} {:>6.2}", *got as f64 / *sent as f64);
        }
    }

    fn assert_at_most(&self, most: f64) {
        for (name, (sent, got)) in &self.0 {
            assert!(*got as f64 <= most * *sent as f64, "{name}: {got} bytes for {sent}");
        }
    }
}

struct Scene {
    world: World,
    evil: usize,
    match_id: MatchId,
}

impl Scene {
    fn new() -> Self {
        let mut sockets = four_sockets();
        sockets.push(ServerSocket::first(at("[2001:db8:1::10]:3478")));
        let far = ServerSocket::first(at("[2001:db8:1::11]:3479"));
        sockets.push(ServerSocket { second_address: true, second_port: true, ..far });
        // Rates are no excuse: here there are none.
        let free = crate::Rate::new(1e9, 1e9);
        let config = ServerConfig {
            hello_rate: free,
            login_rate: free,
            stun_rate: free,
            probe_rate: free,
            mapped_port_rate: free,
            knock_rate: free,
            frame_rate: free,
            ..ServerConfig::default()
        };
        let mut world = World::with(config, sockets);
        let host = world.player(1, "203.0.113.1:4000");
        world.host(host, named("r"));
        let evil = world.player(66, EVIL);
        assert!(world.answer(evil, by_name("r")).is_ok());
        let match_id = world.fakes[evil].plans()[0].match_id;
        Self { world, evil, match_id }
    }

    /// Returns how many bytes go to whoever is not proven to be there, for this datagram from there.
    fn cost(&mut self, from: &str, datagram: &[u8]) -> usize {
        let proven = [at(EVIL), at("203.0.113.1:4000")];
        let socket = if at(from).is_ipv6() { 4 } else { 0 };
        self.world.sent.clear();
        self.world.send_from(ServerSocketId(socket), at(from), datagram);
        let stranger = |(_, to, _): &&(ServerSocketId, SocketAddr, Vec<u8>)| !proven.contains(to);
        self.world.sent.iter().filter(stranger).map(|(.., sent)| sent.len()).sum()
    }

    fn frames(&mut self) -> Vec<(String, Vec<u8>)> {
        let report = signed_report(&mut self.world, self.evil, 7);
        let match_id = self.match_id;
        let purposes = [
            ProbePurpose::Report,
            ProbePurpose::ReplyFromOtherPort,
            ProbePurpose::ReplyFromOtherAddress,
            ProbePurpose::Range { match_id, round: 1, second: false },
            ProbePurpose::Range { match_id, round: 1, second: true },
            ProbePurpose::Newest { match_id, round: 2, ahead: [4, 0, 0, 0] },
            ProbePurpose::MappedPort { port: 4444 },
            ProbePurpose::Register,
            ProbePurpose::SignedReport,
            ProbePurpose::Knock { report },
        ];
        let list = Request::ListRooms { query: Default::default() };
        let mut frames: Vec<Frame<ToServer>> =
            purposes.map(|purpose| Frame::Probe(Probe { tag: 3, purpose })).to_vec();
        frames.extend([
            Frame::Ping { id: 1 },
            Frame::Pong { id: 1, observed: at(FORGED) },
            Frame::Ack { seq: 0, counter: 0 },
            Frame::PathChallenge { token: [1; 16] },
            Frame::PathResponse { token: [1; 16] },
            Frame::Reliable {
                seq: 92,
                body: ToServer::KeptPorts { match_id, round: 4, ports: vec![50_001, 50_002] },
            },
            Frame::Reliable { seq: 90, body: ToServer::Request { id: RequestId(9), request: list } },
            Frame::Reliable { seq: 91, body: ToServer::MappedPort(None) },
        ]);
        frames
            .into_iter()
            .map(|frame| {
                let name =
                    format!("{frame:?}").chars().take_while(|c| !"{(".contains(*c)).collect::<String>();
                let name = match &frame {
                    Frame::Probe(Probe { purpose, .. }) => {
                        let purpose: String =
                            format!("{purpose:?}").chars().take_while(|c| c.is_alphanumeric()).collect();
                        format!("Probe {purpose}")
                    }
                    _ => name.trim().to_owned(),
                };
                (name, codec::encode(&frame).unwrap())
            })
            .collect()
    }
}

#[test]
fn before_an_address_is_proven_no_more_bytes_go_out_than_came_in() {
    let mut table = Table::default();
    let mut scene = Scene::new();

    // Handshake: whole, cut, and with a cookie of another address.
    let stranger = scene.world.add(67, "198.51.100.67:5000");
    let hello = scene.world.fakes[stranger].handshake.datagram().to_vec();
    let mut other_version = hello.clone();
    other_version[4] = 9;
    scene.world.send_raw(stranger, &hello);
    let init = scene.world.fakes[stranger].handshake.datagram().to_vec();
    assert_ne!(hello, init);
    for (name, datagram) in [("Hello", &hello), ("Hello of another version", &other_version), ("Init", &init)]
    {
        for end in 1..=datagram.len() {
            let got = scene.cost(FORGED, &datagram[..end]);
            table.note(name, end, got);
        }
    }
    // The proven address is the one that the init came from; its answer is bounded, too.
    let got = scene.cost("198.51.100.67:5000", &init);
    table.note("Init from its own address", init.len(), got);
    assert!(got > 0, "answered");

    // Everything that a session may say, sealed as either kind, cut short before it is sealed, from somewhere else, from
    // the other family and from the session's own address.
    for (name, frame) in scene.frames() {
        for kind in [Kind::Probe, Kind::Control] {
            for end in (1..=frame.len()).chain([52, 200]) {
                for from in [FORGED, FORGED_V6, EVIL] {
                    let mut bytes = frame[..end.min(frame.len())].to_vec();
                    bytes.resize(end, 0);
                    let session = scene.world.fakes[scene.evil].session.as_mut().unwrap();
                    let datagram = session.seal_bare(kind, &bytes).unwrap();
                    let got = scene.cost(from, &datagram);
                    table.note(&format!("{name} as {kind:?}"), datagram.len(), got);
                }
            }
        }
    }

    // Of no session, and cut after the seal.
    for kind in [Kind::Control, Kind::Probe, Kind::Cookie, Kind::Accept, Kind::Refuse, Kind::Pair] {
        for length in 1..200 {
            let got = scene.cost(FORGED, &vec![kind as u8; length]);
            table.note(&format!("junk as {kind:?}"), length, got);
        }
    }
    let now = scene.world.now;
    let session = scene.world.fakes[scene.evil].session.as_mut().unwrap();
    let sealed = session.seal(now, Kind::Control, &Frame::Ping { id: 1 }).unwrap();
    for end in 1..=sealed.len() {
        let got = scene.cost(FORGED, &sealed[..end]);
        table.note("sealed Control, cut", end, got);
    }

    // The relay, with the evil player's own token.
    let grant = scene.world.fakes[scene.evil].plans()[0].relay.unwrap();
    let mut relayed = vec![Kind::Relay as u8];
    relayed.extend_from_slice(&grant.token);
    relayed.push(Kind::Pair as u8);
    relayed.extend_from_slice(&scene.match_id.0.to_le_bytes());
    relayed.resize(300, 1);
    for end in 1..=relayed.len() {
        let got = scene.cost(FORGED, &relayed[..end]);
        table.note("Relay", end, got);
    }
    table.print();
    assert!(scene.world.server.counters().withheld > 0, "the check had something to do");
    table.assert_at_most(1.0);
}

#[test]
fn amplification_of_stun_is_what_the_documentation_says() {
    let mut table = Table::default();
    let mut scene = Scene::new();
    let bare = |attributes: &[u8]| {
        let mut out = vec![0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
        out.extend_from_slice(&[7; 12]);
        out.extend_from_slice(attributes);
        out
    };
    let unknown: Vec<u8> = (0..8u8).flat_map(|n| [0x7f, n, 0, 0]).collect();
    let padding = [&b"\0\x26\x00\xc8"[..], &[b'x'; 200]].concat();
    let cases = [
        ("STUN Binding, PADDING of 200", bare(&padding)),
        ("STUN Binding, RESPONSE-PORT of one that has not asked", bare(b"\0\x27\0\x04\x12\x34\0\0")),
        ("STUN Binding, RESPONSE-PORT of its own", bare(b"\0\x27\0\x04\0\x35\0\0")),
        ("STUN Binding, no attributes", bare(b"")),
        ("STUN Binding, CHANGE-REQUEST 0", bare(b"\0\x03\0\x04\0\0\0\0")),
        ("STUN Binding, other address and port", bare(b"\0\x03\0\x04\0\0\0\x06")),
        ("STUN Binding, one unknown attribute", bare(&unknown[..4])),
        ("STUN Binding, eight unknown attributes", bare(&unknown)),
    ];
    for from in [FORGED, FORGED_V6] {
        for (name, request) in &cases {
            let family = if at(from).is_ipv4() { "IPv4" } else { "IPv6" };
            let got = scene.cost(from, request);
            assert!(got > 0, "{name} is answered");
            table.note(&format!("{name}, {family}"), request.len(), got);
        }
    }
    // Without the cookie, as in RFC 3489, which knows IPv4 alone.
    for (name, attributes) in [
        ("STUN of RFC 3489, no attributes", &b""[..]),
        ("STUN of RFC 3489, CHANGE-REQUEST", b"\0\x03\0\x04\0\0\0\x06"),
        ("STUN of RFC 3489, RESPONSE-ADDRESS", b"\0\x02\0\x08\0\x01\0\x35\xc0\0\x02\x01"),
        ("STUN of RFC 3489, PADDING", b"\0\x26\0\0"),
    ] {
        let mut request = bare(attributes);
        request[4] = 0;
        let got = scene.cost(FORGED, &request);
        assert!(got > 0, "{name} is answered");
        table.note(&format!("{name}, IPv4"), request.len(), got);
        assert_eq!(scene.cost(FORGED_V6, &request), 0, "{name}");
    }
    table.print();
    // What RFC 5780 adds buys nobody more bytes than it costs.
    for (name, (sent, got)) in &table.0 {
        if name.contains("PADDING of") || name.contains("has not asked") {
            assert!(got <= sent, "{name}: {got} bytes for {sent}");
        }
    }
    // The header of 20 bytes that the request has, too, and two addresses: 12 bytes each, of IPv6 24.
    table.assert_at_most(3.4);
    table.0.retain(|name, _| name.ends_with("IPv4"));
    table.assert_at_most(2.2);
    // With one address, as most servers have.
    let mut world = World::new();
    world.send_from(ServerSocketId(0), at(FORGED), &bare(b""));
    assert_eq!(world.sent[0].2.len(), 32, "1.6 times the request");
}
