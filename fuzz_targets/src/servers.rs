//! Server cores for the targets: which sockets they have, and what strangers may get out of them.

use std::net::SocketAddr;
use std::time::Instant;

use lobby_server::{Rate, Server, ServerConfig, ServerSocket, ServerSocketId};
use traversal_core::Identity;

/// The server's identity is made of this secret.
pub(crate) const SECRET: [u8; 32] = [9; 32];

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Returns one address of each family, or two of each with two ports, and a listener for streams.
pub(crate) fn sockets(two_addresses: bool) -> Vec<ServerSocket> {
    let first = |text: &str| ServerSocket::first(at(text));
    let mut sockets = vec![first("198.18.0.10:3478"), first("[2001:db8:1::10]:3478")];
    sockets.push(ServerSocket { stream: true, ..sockets[0] });
    if two_addresses {
        for (first_ip, second_ip) in
            [("198.18.0.10", "198.18.0.11"), ("[2001:db8:1::10]", "[2001:db8:1::11]")]
        {
            let second_port = ServerSocket { second_port: true, ..first(&format!("{first_ip}:3479")) };
            let second = ServerSocket { second_address: true, ..first(&format!("{second_ip}:3478")) };
            let both = ServerSocket { second_port: true, ..second };
            sockets.extend([
                second_port,
                second,
                ServerSocket { local: at(&format!("{second_ip}:3479")), ..both },
            ]);
        }
    }
    sockets
}

/// Returns a server whose rates never withhold anything from strangers, so that every input is dealt with.
pub(crate) fn generous(two_addresses: bool) -> Server {
    let free = Rate::new(1e9, 1e9);
    let config =
        ServerConfig { hello_rate: free, login_rate: free, stun_rate: free, ..ServerConfig::default() };
    Server::new(config, Identity::from_secret(SECRET), [8; 32], sockets(two_addresses), Instant::now())
}

/// Returns a socket of such a server for this family, and a stranger of it.
pub(crate) fn stranger_at(two_addresses: bool, v6: bool, which: usize) -> (ServerSocketId, SocketAddr) {
    let of_family =
        sockets(two_addresses).into_iter().enumerate().filter(|(_, socket)| socket.local.is_ipv6() == v6);
    let ids: Vec<u16> = of_family.map(|(index, _)| index as u16).collect();
    (ServerSocketId(ids[which % ids.len()]), at(if v6 { "[2001:db8::99]:5353" } else { "192.0.2.99:5353" }))
}

/// Returns the bytes that answer one datagram of a stranger, and checks that they go to the stranger's address alone. A plain
/// STUN request is answered with at most so many times its bytes as docs/threat-model.md says; anything else with at
/// most as many.
pub(crate) fn answer(
    server: &mut Server,
    two_addresses: bool,
    socket: ServerSocketId,
    from: SocketAddr,
    datagram: &[u8],
) -> Option<Vec<u8>> {
    let now = Instant::now();
    server.handle_datagram(now, socket, from, datagram);
    let sent: Vec<_> = std::iter::from_fn(|| server.poll_transmit()).collect();
    assert!(sent.len() <= 1, "at most one datagram answers one");
    let answer = sent.into_iter().next()?;
    assert_eq!(answer.to.ip(), from.ip(), "an answer goes to whoever asked");
    let stun = datagram.first().is_some_and(|first| *first < 4);
    if answer.to.port() != from.port() {
        // RESPONSE-PORT, to one that has asked nothing here.
        assert!(stun && answer.to.port() >= 1024, "{} is the port of a server", answer.to);
        assert!(answer.payload.len() <= datagram.len(), "another port gets no more than came in");
    }
    let tenths = match (stun, two_addresses, from.is_ipv6()) {
        (false, ..) => 10,
        (true, false, false) => 16,
        (true, true, false) => 22,
        (true, false, true) => 25,
        (true, true, true) => 34,
    };
    let (asked, got) = (datagram.len(), answer.payload.len());
    assert!(10 * got <= tenths * asked, "{got} bytes for {asked}");
    Some(answer.payload)
}
