//! What the server makes of errors that the system answers: it goes on serving, and does not spin.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod login;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use lobby_server::{LobbyServer, RunningServer, Settings};
use login::log_in;
use traversal_udp::faults::{self, Call};

/// Longest wait for a server that is alive.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts of a player, as a client repeats a hello.
const AGAIN: Duration = Duration::from_millis(250);

/// Error numbers of one meaning: on Windows, elsewhere (Linux).
fn code(windows: i32, linux: i32) -> i32 {
    if cfg!(windows) { windows } else { linux }
}

fn server() -> (RunningServer, SocketAddr) {
    let bind = vec!["127.0.0.1:0".parse().unwrap()];
    let server =
        LobbyServer::new(Settings { bind, no_http: true, no_tcp: true, ..Settings::default() }).spawn();
    let server = server.unwrap();
    let address = server.addresses().first[0];
    (server, address)
}

/// Logs a player in, sending again until there is an answer.
fn can_log_in(server: SocketAddr, seed: u8) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(AGAIN)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    log_in(seed, &[], |datagram| {
        let mut buffer = [0; 2048];
        while Instant::now() < deadline {
            socket.send_to(datagram, server).unwrap();
            if let Ok((length, _)) = socket.recv_from(&mut buffer) {
                return Ok(buffer[..length].to_vec());
            }
        }
        Err("no answer".into())
    })
    .is_ok()
}

#[test]
fn errors_of_earlier_sends_hide_no_player() {
    let (_server, address) = server();
    // WSAECONNRESET, WSAENETRESET; ECONNREFUSED, EHOSTUNREACH.
    for (seed, code) in [(1, code(10054, 111)), (2, code(10052, 113))] {
        faults::fail(address, Call::Receive, code, 200);
        assert!(can_log_in(address, seed));
        assert_eq!(faults::heal(address, Call::Receive), 200, "all were read through");
    }
}

#[test]
fn a_socket_that_fails_for_ever_is_opened_anew_at_its_port_and_nothing_spins() {
    let (_server, address) = server();
    assert!(can_log_in(address, 1));
    // WSAENOTCONN; ENOTCONN.
    faults::fail_forever(address, Call::Receive, code(10057, 107));
    assert!(can_log_in(address, 2));
    let calls = faults::heal(address, Call::Receive);
    assert!((17..200).contains(&calls), "{calls} calls failed until the socket was opened anew");
}

#[test]
fn answers_that_the_system_refuses_end_nothing() {
    let (server, address) = server();
    // WSAENOBUFS; ENOBUFS.
    faults::fail(address, Call::Send, code(10055, 105), 2);
    assert!(can_log_in(address, 1));
    assert_eq!(server.handle().status().unwrap().send_errors, 2);
}
