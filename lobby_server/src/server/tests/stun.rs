//! Plain STUN through the server's four sockets: who gets an answer, from which socket, and at which port.

use super::*;
use crate::server::Refusal;
use crate::server::tests::probes::four_sockets;

const CLIENT: &str = "203.0.113.1:4000";
/// This is another port of the client's address: its own, or another customer's behind the same NAT.
const BESIDE: &str = "203.0.113.1:4001";

fn request(attributes: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
    out.extend_from_slice(&[7; 12]);
    out.extend_from_slice(attributes);
    out
}

fn to_port(address: &str) -> Vec<u8> {
    let port = at(address).port().to_be_bytes();
    request(&[&b"\0\x27\0\x04"[..], &port, &[0, 0]].concat())
}

impl World {
    /// Returns what comes of a request: the socket, the address and the kind of each answer.
    fn asked(&mut self, from: &str, request: &[u8]) -> Vec<(u16, String, u16)> {
        self.sent.clear();
        self.send_from(ServerSocketId(0), at(from), request);
        let sent = self.sent.iter();
        sent.map(|(socket, to, bytes)| (socket.0, to.to_string(), u16::from_be_bytes([bytes[0], bytes[1]])))
            .collect()
    }
}

fn world() -> World {
    World::with(ServerConfig::default(), four_sockets())
}

#[test]
fn answers_come_from_the_socket_that_was_asked_for_of_both_kinds_of_client() {
    let mut world = world();
    for classic in [false, true] {
        for (flags, socket) in [(0, 0), (2, 1), (4, 2), (6, 3)] {
            let mut request = request(&[0, 3, 0, 4, 0, 0, 0, flags]);
            if classic {
                request[5] ^= 1;
            }
            assert_eq!(world.asked(CLIENT, &request), [(socket, CLIENT.into(), 0x0101)], "{flags} {classic}");
        }
    }
}

#[test]
fn a_port_that_has_asked_gets_as_many_answers_by_another_port_as_it_has_asked_for() {
    let mut world = world();
    assert_eq!(world.asked(CLIENT, &to_port(BESIDE)), [(0, CLIENT.into(), 0x0111)], "32 bytes for 28");
    assert_eq!(world.server.counters().refusals.of(Refusal::StunPort), 1);
    world.asked(BESIDE, &request(b""));
    assert_eq!(world.asked(CLIENT, &to_port(BESIDE)), [(0, BESIDE.into(), 0x0101)]);
    assert_eq!(world.asked(CLIENT, &to_port(BESIDE)), [(0, CLIENT.into(), 0x0111)], "and no more");
    // Of another address nobody can say anything, and its port is another one.
    world.asked(BESIDE, &request(b""));
    let other = "203.0.113.2:4000";
    assert_eq!(world.asked(other, &to_port(BESIDE)), [(0, other.into(), 0x0111)]);
    // To itself is as plain a request as any.
    assert_eq!(world.asked(CLIENT, &to_port(CLIENT)), [(0, CLIENT.into(), 0x0101)]);
    assert_eq!(world.server.counters().refusals.of(Refusal::StunPort), 3);
}

#[test]
fn a_port_that_has_not_asked_gets_no_more_bytes_than_came_seldom_and_no_servers_port_does() {
    let mut world = world();
    // As `turnutils_stunclient` asks: from the other address and port, to a socket beside.
    let change = b"\0\x03\0\x04\0\0\0\x06";
    let asks = |beside: &str| request(&[&to_port(beside)[20..], change].concat());
    assert_eq!(world.asked(CLIENT, &asks(BESIDE)), [(3, BESIDE.into(), 0x0101)]);
    assert!(world.sent[0].2.len() <= asks(BESIDE).len());
    for port in [53, 123, 443, 1023] {
        let server = format!("203.0.113.1:{port}");
        assert_eq!(world.asked(CLIENT, &asks(&server)), [(0, CLIENT.into(), 0x0111)], "{server}");
    }
    // Somebody beside a player, behind one NAT, with whatever attributes: a few small datagrams, and less than it sends.
    let player = world.player(1, BESIDE);
    let told = world.fakes[player].frames.len();
    let (mut got, mut sent, mut datagrams) = (0, 0, 0);
    for turn in 0..100 {
        let more = [&b""[..], change, b"\0\x26\0\x08abcdefgh", b"\x80\x22\0\x04abcd"][turn % 4];
        let request = request(&[&to_port(BESIDE)[20..], more].concat());
        sent += request.len();
        world.asked(CLIENT, &request);
        let at_player = world.sent.iter().filter(|(_, to, _)| *to == at(BESIDE));
        for (.., bytes) in at_player {
            (got, datagrams) = (got + bytes.len(), datagrams + 1);
        }
    }
    assert!(datagrams <= 10 && got <= sent, "{datagrams} datagrams, {got} bytes for {sent}");
    assert_eq!(world.fakes[player].frames.len(), told, "and they say nothing to a player");
}

#[test]
fn the_rate_holds_for_an_address_whatever_is_asked() {
    let mut world = world();
    let burst = world.server.config().stun_rate.burst as usize;
    let mut answers = 0;
    for turn in 0..2 * burst {
        answers += world.asked(BESIDE, &request(b"")).len() * (turn % 2);
        answers += world.asked(CLIENT, &to_port(BESIDE)).len() * ((turn + 1) % 2);
    }
    assert!(answers <= burst, "{answers}");
    assert!(world.server.counters().refusals.of(Refusal::StunRate) > 0);
}

#[test]
fn a_padded_request_longer_than_a_frame_is_answered_within_one() {
    let mut world = world();
    let mut long = request(b"");
    long.extend_from_slice(&[0, 0x26, 0x05, 0xdc]);
    long.resize(20 + 4 + 1500, 0);
    long[2..4].copy_from_slice(&1504u16.to_be_bytes());
    assert_eq!(world.asked(CLIENT, &long), [(0, CLIENT.into(), 0x0101)]);
    assert_eq!(world.sent[0].2.len(), 1472);
    long.resize(3000, 0);
    let length = (long.len() - 20) as u16;
    long[2..4].copy_from_slice(&length.to_be_bytes());
    assert_eq!(world.asked(CLIENT, &long), []);
}
