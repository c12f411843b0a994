//! What the server makes of errors that the system answers: it goes on serving, does not spin, and tells each fault once.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use lobby_server::{LobbyServer, RunningServer, Settings};
use test_support::login::log_in;
use traversal_udp::faults::{self, Call, log};

/// This is the longest wait for a server that is alive.
const PATIENCE: Duration = Duration::from_secs(20);
/// So much time passes between two attempts of a player, as a client repeats a hello.
const AGAIN: Duration = Duration::from_millis(250);

/// Returns the error number that means the same on this system: one is for Windows, one for all others (Linux).
fn code(windows: i32, linux: i32) -> i32 {
    if cfg!(windows) { windows } else { linux }
}

/// Returns the levels of the lines of the server that name this address, which no other test has.
fn lines_about(address: SocketAddr) -> Vec<&'static str> {
    log::levels_about("lobby_server", address)
}

fn server(at: &str) -> (RunningServer, SocketAddr) {
    log::listen();
    let bind = vec![at.parse().unwrap()];
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
    let (_server, address) = server("127.0.0.1:0");
    // WSAECONNRESET, WSAENETRESET; ECONNREFUSED, EHOSTUNREACH.
    for (seed, code) in [(1, code(10054, 111)), (2, code(10052, 113))] {
        faults::fail(address, Call::Receive, code, 200);
        assert!(can_log_in(address, seed));
        assert_eq!(faults::heal(address, Call::Receive), 200, "all were read through");
    }
    assert_eq!(lines_about(address), ["DEBUG"], "400 errors, with datagrams between them");
}

#[test]
fn a_socket_that_fails_for_ever_is_opened_anew_at_its_port_and_nothing_spins() {
    let (_server, address) = server("127.0.0.1:0");
    assert!(can_log_in(address, 1));
    // WSAENOTCONN; ENOTCONN.
    faults::fail_forever(address, Call::Receive, code(10057, 107));
    assert!(can_log_in(address, 2));
    let calls = faults::heal(address, Call::Receive);
    assert!((17..200).contains(&calls), "{calls} calls failed until the socket was opened anew");
    assert_eq!(lines_about(address), ["DEBUG", "WARN"], "the first error, and that it is open again");
}

#[test]
fn answers_that_the_system_refuses_end_nothing() {
    let (server, address) = server("127.0.0.1:0");
    // WSAENOBUFS, WSAEHOSTUNREACH; ENOBUFS, EHOSTUNREACH.
    for (seed, code) in [(1, code(10055, 105)), (2, code(10065, 113))] {
        faults::fail(address, Call::Send, code, 2);
        assert!(can_log_in(address, seed));
    }
    assert_eq!(server.handle().status().unwrap().send_errors, 4);
    assert_eq!(lines_about(address), ["DEBUG"]);
}

/// Opening fails with EMFILE. The address is one of this test's own, since the fault is that of opening any port
/// there.
#[cfg(target_os = "linux")]
#[test]
fn a_socket_that_cannot_be_had_again_is_told_once_and_so_is_its_end() {
    let (_server, address) = server("127.0.0.78:0");
    let any: SocketAddr = "127.0.0.78:0".parse().unwrap();
    faults::fail_forever(any, Call::Open, 24);
    faults::fail_forever(address, Call::Receive, 107);
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while faults::taken(any, Call::Open) < 2 {
        assert!(Instant::now() < deadline, "it was not tried twice");
        // Without anything to read nobody looks at a socket that was read dry before the fault began.
        stranger.send_to(b"?", address).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(lines_about(address), ["DEBUG", "ERROR"]);
    faults::heal(any, Call::Open);
    assert!(can_log_in(address, 1));
    assert_eq!(lines_about(address), ["DEBUG", "ERROR", "WARN"]);
}
