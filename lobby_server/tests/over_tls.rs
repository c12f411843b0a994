//! The built program with TLS: what it says of certificates, when it takes another one, and what those get who misuse it.
#![cfg(all(feature = "tls", unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};
use test_support::certificates::{OLD, ONE, Pem, RSA, TWO};
use test_support::server::{Running, get, program};
use test_support::until;

const LOOPBACK: [&str; 6] = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--tls-port", "0"];

/// Takes any certificate, and checks that the server has its key.
#[derive(Debug)]
struct Any(CryptoProvider);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn connect(server: SocketAddr) -> std::io::Result<Tls> {
    let provider = Arc::new(rustls_graviola::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(rustls_graviola::default_provider())))
        .with_no_client_auth();
    let name = ServerName::try_from("lobby.example.org").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut tls = StreamOwned::new(connection, socket);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

/// Returns the certificate that is shown there.
fn shown(server: SocketAddr) -> CertificateDer<'static> {
    connect(server).unwrap().conn.peer_certificates().unwrap()[0].clone().into_owned()
}

fn certificate(pem: Pem) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.certificate.as_bytes()).unwrap()
}

/// Starts the server with this certificate in files of this folder.
fn start(folder: &Path, pem: Pem, more: &[&str]) -> (Running, SocketAddr) {
    let (file, key) = pem.write(folder);
    let flags = ["--tls-cert", file.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = Running::start(folder, &[&LOOPBACK[..], &flags, more].concat());
    let (_, rest) = server.ready.split_once(", tls ").unwrap();
    let tls = rest.split(',').next().unwrap().parse().unwrap();
    (server, tls)
}

fn http(server: &Running) -> SocketAddr {
    server.ready.split_once(", http ").unwrap().1.split(',').next().unwrap().parse().unwrap()
}

fn metric(server: &Running, name: &str) -> u64 {
    let text = get(http(server), "/metrics");
    let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    line.split(' ').nth(1).unwrap().parse::<f64>().unwrap() as u64
}

/// Hears of nothing any more.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    loop {
        match stream.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn a_certificate_that_was_renewed_counts_after_sighup_and_a_bad_one_never() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, tls) = start(folder.path(), ONE, &[]);
    let (log, id) = (server.log(), server.child.id().to_string());
    assert_eq!(shown(tls), certificate(ONE));
    let mut stays = connect(tls).unwrap();
    let hang_up = || {
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    };
    TWO.write(folder.path());
    hang_up();
    until("the new certificate", 10.0, || shown(tls) == certificate(TWO));
    // Half of a renewal: the key is the old one's.
    std::fs::write(folder.path().join("privkey.pem"), ONE.key).unwrap();
    hang_up();
    log.wait_for(1, "the configuration stays as it is: tls_key");
    assert_eq!(shown(tls), certificate(TWO));
    RSA.write(folder.path());
    hang_up();
    until("one of another kind", 10.0, || shown(tls) == certificate(RSA));
    // Who is connected stays so: a byte of the stream is taken, and more is waited for.
    stays.write_all(&[0]).unwrap();
    stays.sock.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let error = stays.read(&mut [0; 10]).unwrap_err();
    assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
}

#[test]
fn check_and_start_say_what_is_wrong_with_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = ONE.write(folder.path());
    let (file, key) = (file.to_str().unwrap(), key.to_str().unwrap());
    let other = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (two, none) = (other("two", TWO.key), folder.path().join("none").to_str().unwrap().to_owned());
    let (empty, damaged) = (other("empty", ""), other("damaged", &ONE.certificate.replace("MIIB", "MIIC")));
    let long = other("long", &"x".repeat(300_000));
    let key_file = folder.path().join("server.key");
    let cases: [(&[&str], &str); 9] = [
        (&["--tls-cert", &none, "--tls-key", key], "tls_cert"),
        (&["--tls-cert", &none, "--tls-key", key], "cannot be read"),
        (&["--tls-cert", file, "--tls-key", &none], "tls_key"),
        (&["--tls-cert", &empty, "--tls-key", key], "no certificate"),
        (&["--tls-cert", file, "--tls-key", file], "no secret key"),
        (&["--tls-cert", file, "--tls-key", &two], "is not the key of the certificate"),
        (&["--tls-cert", &damaged, "--tls-key", key], "cannot be used"),
        (&["--tls-cert", &long, "--tls-key", key], "longer"),
        (&["--tls-cert", file, "--tls-key", key, "--no-tcp"], "no_tcp"),
    ];
    for (flags, said) in cases {
        for command in [&["check"][..], &[]] {
            let mut program = program();
            program.args(command).args(LOOPBACK).arg("--key-file").arg(&key_file).args(flags);
            let output = program.output().unwrap();
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!(output.status.code(), Some(1), "{flags:?}: {text}");
            assert!(text.contains(said), "{said}: {text}");
        }
    }
    let check = |pem: Pem| {
        let (file, key) = pem.write(folder.path());
        let mut program = program();
        program.arg("check").args(LOOPBACK).arg("--key-file").arg(&key_file);
        let output = program.arg("--tls-cert").arg(file).arg("--tls-key").arg(key).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        text
    };
    let text = check(ONE);
    assert!(text.contains("tls: ok, 127.0.0.1:") && text.contains("good until 2126-11-03"), "{text}");
    let text = check(OLD);
    assert!(text.contains("WARNING: the certificate has expired on 2020-04-01"), "{text}");
    // It serves, and says so.
    let (mut server, tls) = start(folder.path(), OLD, &[]);
    assert_eq!(shown(tls), certificate(OLD));
    server.child.kill().unwrap();
    let mut log = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("WARN") && log.contains("expired on 2020-04-01"), "{log}");
}

#[test]
fn who_speaks_no_tls_or_says_nothing_is_closed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lobby.toml");
    std::fs::write(&file, "tcp_login_timeout_s = 2\n").unwrap();
    let (server, tls) = start(folder.path(), ONE, &["--config", file.to_str().unwrap()]);
    for text in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\0\u{5}hello"] {
        let mut plain = TcpStream::connect(tls).unwrap();
        plain.write_all(text.as_bytes()).unwrap();
        assert!(is_closed(&mut plain), "{text}");
    }
    // Half of a record, and then no more.
    let mut half = TcpStream::connect(tls).unwrap();
    half.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).unwrap();
    let mut silent = TcpStream::connect(tls).unwrap();
    assert!(is_closed(&mut half) && is_closed(&mut silent), "after the time for a login");
    // A web browser's words within TLS are none of ours.
    let mut browser = connect(tls).unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: lobby.example.org\r\n\r\n").unwrap();
    assert!(matches!(browser.read(&mut [0; 100]), Ok(0) | Err(_)));
    // What is no datagram of ours is dropped, and who does not log in is closed.
    let mut stranger = connect(tls).unwrap();
    stranger.write_all(&[0, 5, 1, 2, 3, 4, 5]).unwrap();
    assert!(matches!(stranger.read(&mut [0; 100]), Ok(0) | Err(_)));
    assert_eq!(metric(&server, "lobby_tls_handshakes_total"), 2);
    assert_eq!(metric(&server, "lobby_tls_failed_total"), 5);
    until("no connection is left", 10.0, || metric(&server, "lobby_tls_connections") == 0);
}

#[test]
fn a_probe_of_openssl_gets_a_clean_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, tls) = start(folder.path(), RSA, &[]);
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-connect", &tls.to_string(), "-servername", "lobby.example.org", "-brief"]);
    let Ok(output) = openssl.stdin(Stdio::null()).output() else {
        return test_support::skipped("no openssl");
    };
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(text.contains("CONNECTION ESTABLISHED") && text.contains("TLSv1.3"), "{text}");
}

/// A handshake costs the server a key exchange and a signature, and its asker next to nothing.
#[test]
fn one_address_that_shakes_hands_without_end_is_bounded_and_others_are_served_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (server, tls) = start(folder.path(), ONE, &[]);
    let end = Instant::now() + Duration::from_secs(2);
    let mut done = 0u64;
    while Instant::now() < end {
        done += u64::from(connect(tls).is_ok());
    }
    let refused = get(http(&server), "/metrics");
    let refused =
        refused.lines().find(|line| line.starts_with("lobby_refused_total{what=\"tls\",reason=\"rate\"}"));
    let refused: u64 = refused.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    eprintln!("{done} handshakes and {refused} refusals in 2 s");
    // 128 at once and 8 a second; one more second for the machine's slowness.
    assert!(done <= 128 + 8 * 3, "{done}");
    assert!(refused > 0);
    assert!(get(http(&server), "/health").starts_with("HTTP/1.1 200"));
}

/// Every address of 127.0.0.0/8 is this machine's on Linux alone.
#[cfg(target_os = "linux")]
#[test]
fn one_address_that_shakes_hands_too_often_costs_nobody_else_its_place() {
    use socket2::{Domain, Socket, Type};

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lobby.toml");
    std::fs::write(&file, "max_tcp = 3\ntcp_login_timeout_s = 60\n").unwrap();
    let (server, tls) = start(folder.path(), ONE, &["--config", file.to_str().unwrap()]);
    // Somebody else has connected, and not logged in yet.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 9, 0, 1], 0)).into()).unwrap();
    socket.connect(&tls.into()).unwrap();
    let mut other = TcpStream::from(socket);
    // The address takes all other places, and goes on until it is over its rate: each newcomer stands in its own way.
    let refused = || {
        let metrics = get(http(&server), "/metrics");
        let name = "lobby_refused_total{what=\"tls\",reason=\"rate\"}";
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let mut held = Vec::new();
    until("fifty are refused", 10.0, || {
        held.extend((0..50).filter_map(|_| TcpStream::connect(tls).ok()));
        refused() >= 50
    });
    other.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let error = other.read(&mut [0; 10]).expect_err("it has its place");
    assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
}
