//! Real programs in networks that let out nothing but TLS to port 443, and those who stand in the way there.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))] // of which TLS's ciphers are here
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use test_support::certificates::{ONE, Pem, RSA, TWO};
use test_support::namespaces::Net;
use test_support::programs::{Lobby, Program, assert_played, lobby_path, peer};
use test_support::{scratch, until};

/// This is a lobby server with TLS, on free ports.
struct Served {
    lobby: Lobby,
    tls: SocketAddr,
}

impl Served {
    fn start(pem: Pem) -> Self {
        let (certificate, key) = pem.write(&scratch("tls"));
        let lobby = Lobby::start_with(&[
            ("LOBBY_TLS_CERT", certificate.to_str().unwrap()),
            ("LOBBY_TLS_KEY", key.to_str().unwrap()),
            ("LOBBY_TLS_PORT", "0"),
        ]);
        let log = lobby.program.log();
        let (_, rest) = log.split_once(", tls ").unwrap();
        let tls = rest.split(',').next().unwrap().trim().parse().unwrap();
        Self { lobby, tls }
    }
}

/// Returns an address of this machine at which nobody listens, neither by UDP nor by TCP.
fn nobody() -> String {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address.to_string();
        }
    }
}

/// Two players meet in a room whose server they reach by TLS at this port alone, and play over the relay.
fn play(lobby: &str, port: u16, key: &str) {
    let port = port.to_string();
    let args = ["--tls-port", &port, "--server-key", key, "--relay", "only", "--for", "2"];
    let start = |name: &str, kind: &str| {
        peer(name, lobby, kind, &[&args[..], &["--room", "backroom", "--name", name]].concat())
    };
    let mut host = start("Secretive", "host");
    host.event("room", 15.0);
    let mut guest = start("Curious", "join");
    guest.success(30.0);
    host.success(30.0);
    assert_played(&host, "Curious");
    assert_played(&guest, "Secretive");
}

#[test]
fn players_whom_neither_udp_nor_tcp_takes_to_the_server_play_over_tls() {
    // The certificate's kind is the hoster's choice.
    for pem in [ONE, RSA] {
        let served = Served::start(pem);
        play(&nobody(), served.tls.port(), &served.lobby.key);
    }
}

/// Somebody who ends players' TLS with a certificate of its own, as company networks do, and passes on what is inside.
/// Returns its port, and what it has seen.
fn middle(to: String) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let chain = CertificateDer::pem_slice_iter(TWO.certificate.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(TWO.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&seen);
    std::thread::spawn(move || {
        for player in listener.incoming().map_while(Result::ok) {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let (server, all) = (TcpStream::connect(&to).unwrap(), Arc::clone(&all));
            std::thread::spawn(move || {
                for socket in [&player, &server] {
                    socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
                }
                let _ = pass_on(StreamOwned::new(tls, player), server, &all);
            });
        }
    });
    (port, seen)
}

fn pass_on(
    mut player: StreamOwned<ServerConnection, TcpStream>,
    mut server: TcpStream,
    seen: &Mutex<Vec<u8>>,
) -> std::io::Result<()> {
    fn some(from: &mut impl Read, bytes: &mut [u8]) -> std::io::Result<usize> {
        match from.read(bytes) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(0),
            result => result,
        }
    }
    let mut bytes = [0; 16 * 1024];
    loop {
        let length = some(&mut player, &mut bytes)?;
        seen.lock().unwrap().extend_from_slice(&bytes[..length]);
        server.write_all(&bytes[..length])?;
        let length = some(&mut server, &mut bytes)?;
        seen.lock().unwrap().extend_from_slice(&bytes[..length]);
        player.write_all(&bytes[..length])?;
    }
}

#[test]
fn who_ends_the_tls_in_the_middle_sees_sealed_datagrams_alone() {
    let served = Served::start(ONE);
    let (port, seen) = middle(served.lobby.address.clone());
    play(&nobody(), port, &served.lobby.key);
    let seen = seen.lock().unwrap();
    assert!(seen.len() > 10_000, "the game went through it: {} bytes", seen.len());
    for word in ["Secretive", "Curious", "backroom", "game_message", "hello"] {
        let found = seen.windows(word.len()).any(|window| window == word.as_bytes());
        assert!(!found, "\"{word}\" was to be seen");
    }
    // No plain text at all: each byte comes about as often as every other one.
    let mut counts = [0usize; 256];
    seen.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let letters: usize = (b'a'..=b'z').map(|letter| counts[usize::from(letter)]).sum();
    let share = letters as f64 / seen.len() as f64;
    assert!(share < 0.2, "a tenth would be chance: {share}");
}

#[test]
fn a_server_with_another_key_than_the_pinned_one_is_refused_whatever_its_certificate() {
    let (served, other) = (Served::start(ONE), Served::start(ONE));
    let lobby = nobody();
    let port = |served: &Served| served.tls.port().to_string();
    let args =
        ["--tls-port", &port(&other), "--server-key", &served.lobby.key, "--room", "r1", "--deadline", "10"];
    let mut player = peer("A", &lobby, "host", &args);
    player.failure(20.0, "key");
    assert!(player.events("logged_in").is_empty(), "{}", player.log());
}

/// A firewall lets out TCP to port 443, and drops the rest without a word.
const ONLY_443: &str = "table ip only {
  chain pass {
    type filter hook forward priority 0; policy drop;
    tcp dport 443 accept
    tcp sport 443 accept
  }
}
";

#[test]
fn behind_a_firewall_that_lets_out_443_alone_players_meet_within_seconds() {
    if let Err(reason) = Net::possible() {
        return test_support::skipped(format_args!("no namespaces, iproute2 or nftables: {reason}"));
    }
    let net = Net::new("tls", &["router", "server", "left", "right"]).unwrap();
    net.sysctl("router", "net.ipv4.ip_forward=1").unwrap();
    for (name, n) in [("server", 1), ("left", 2), ("right", 3)] {
        net.cable("router", &format!("to-{name}"), name, "eth0").unwrap();
        net.ip("router", &format!("addr add 198.18.{n}.1/24 dev to-{name}")).unwrap();
        net.ip(name, &format!("addr add 198.18.{n}.2/24 dev eth0")).unwrap();
        net.ip(name, &format!("route add default via 198.18.{n}.1")).unwrap();
    }
    net.nft("router", ONLY_443).unwrap();
    let (certificate, key) = ONE.write(&scratch("tls"));
    // Each has a key of its own.
    let serve = || {
        let mut server = net.inside("server", lobby_path().to_str().unwrap());
        server.args(["--bind", "0.0.0.0:3478", "--http", "0.0.0.0:9600", "--key-file"]);
        server
            .arg(scratch("lobby").join("key"))
            .arg("--tls-cert")
            .arg(&certificate)
            .arg("--tls-key")
            .arg(&key);
        let mut server = Program::start("lobby_server", &mut server);
        server.line("ready line", 10.0, |line| {
            line.starts_with("lobby_server ready on ") && line.contains("tls 0.0.0.0:443")
        });
        server
    };
    let mut server = serve();
    let start = |name: &str, kind: &str, more: &[&str]| {
        let mut command = net.inside(name, env!("CARGO_BIN_EXE_peer"));
        command.args([
            kind,
            "--lobby",
            "198.18.1.2",
            "--json",
            "--room",
            "r1",
            "--name",
            name,
            "--no-port-mapping",
        ]);
        Program::start(name, command.args(["--for", "3"]).args(more))
    };
    let begun = Instant::now();
    let mut host = start("left", "host", &[]);
    host.event("room", 10.0);
    // UDP's second, half a second for TCP, and some milliseconds; a slow machine starts slowly.
    let took = begun.elapsed();
    eprintln!("a room is open {took:?} after the start");
    assert!(took < Duration::from_secs(4), "{took:?}");
    let mut guest = start("right", "join", &[]);
    guest.event("game_message", 15.0);
    let mut curl = net.inside("server", "curl");
    if let Ok(output) = curl.args(["-s", "http://127.0.0.1:9600/metrics"]).output()
        && output.status.success()
    {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("\nlobby_tls_connections 2\n"), "{text}");
    }
    guest.success(30.0);
    host.success(30.0);
    for (program, with) in [(&guest, "left"), (&host, "right")] {
        assert_played(program, with);
        let path = program.events("summary").pop().unwrap()["path"].clone();
        assert_eq!(path, "relay", "{}", program.log());
    }
    // Without TLS nobody gets in from there.
    let mut without = start("left", "host", &["--no-tcp", "--deadline", "6"]);
    without.failure(20.0, "");
    assert!(without.events("room").is_empty(), "{}", without.log());
    // The server's key is known from the first time, and another server in its place is refused.
    let identity = scratch("identity").join("player");
    let known = ["--identity", identity.to_str().unwrap(), "--deadline", "10"];
    let mut first = start("left", "host", &known);
    first.event("room", 10.0);
    let keys = identity.with_extension("known_servers");
    until("the key is kept", 5.0, || {
        std::fs::read_to_string(&keys).is_ok_and(|keys| keys.contains("198.18.1.2:3478 "))
    });
    first.kill();
    server.kill();
    let _other = serve();
    let mut second = start("left", "host", &known);
    second.failure(20.0, "has another key than before");
    assert!(second.events("logged_in").is_empty(), "{}", second.log());
}
