//! Attacks on the status page's port and on descriptors, against the built program: the pages and the players go on.
#![allow(clippy::unwrap_used)] // helpers of tests are tests
#![cfg(target_os = "linux")] // the numbers come from /proc, and all of 127/8 is this machine

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use test_support::server::{Player, Running, get, program_after};

const FLAGS: [&str; 4] = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"];

/// Opens a request that is not ended.
fn open_request(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Returns what comes until the other end closes, or breaks off.
fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the connection stays open: {error}"),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn is_healthy(server: &Running) -> bool {
    get(server.http(), "/health").starts_with("HTTP/1.1 200")
}

/// Lets this test have more sockets than a shell's limit.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

#[test]
fn a_body_of_any_length_is_neither_read_nor_reserved() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &FLAGS);
    let mut player = Player::log_in(server.address(), 1, b"").unwrap();
    // 2^46 is what a process cannot reserve; the others are the ends of the number's range, and beyond.
    let lengths = ["70368744177664", "18446744073709551615", "18446744073709551616", "-1", "5, 6"];
    let bodies = lengths.map(|length| format!("Content-Length: {length}"));
    let bodies = bodies.into_iter().chain(["Transfer-Encoding: chunked".into()]);
    for body in bodies {
        for method in ["POST", "GET", "PUT", "BREW"] {
            let head =
                format!("{method} /health HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{body}\r\n\r\n");
            let answer = rest(&mut open_request(server.http(), &head));
            assert!(answer.starts_with("HTTP/1.1 4"), "{method} with {body}: {answer}");
        }
        assert!(is_healthy(&server) && player.ping(), "{body}");
    }
    assert!(server.proc_status("VmHWM") < 200_000, "kB of memory at the most");
    assert_eq!(server.stop("-TERM").status.code(), Some(0));
}

#[test]
fn an_open_request_holds_up_neither_the_others_nor_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &FLAGS);
    let open: Vec<TcpStream> =
        ["", "G", "GET /health HTTP/1.1\r\nHost: x", "POST / HTTP/1.1\r\nContent-Length: 9\r\n"]
            .map(|head| open_request(server.http(), head))
            .into();
    for _ in 0..20 {
        assert!(is_healthy(&server));
    }
    let stop = Instant::now();
    assert_eq!(server.stop("-TERM").status.code(), Some(0));
    assert!(stop.elapsed() < Duration::from_secs(2), "it took {:?}", stop.elapsed());
    drop(open);
}

#[test]
fn who_does_not_end_a_request_is_put_out() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &FLAGS);
    let mut slow = open_request(server.http(), "GET /health HTTP/1.1\r\n");
    let begin = Instant::now();
    // A byte now and then buys no time.
    let mut trickle = slow.try_clone().unwrap();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let trickling = std::thread::spawn(move || {
        let goes_on = || ended.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout);
        while trickle.write_all(b"x").is_ok() && goes_on() {}
    });
    rest(&mut slow);
    assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
    drop(end);
    trickling.join().unwrap();
    assert!(is_healthy(&server));
}

#[test]
fn many_connections_make_no_threads_and_the_newest_is_served() {
    allow_many_files();
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &FLAGS);
    let mut player = Player::log_in(server.address(), 1, b"").unwrap();
    let threads = server.proc_status("Threads");
    let mut open = Vec::new();
    for n in 0..1500 {
        open.push(open_request(server.http(), "GET / HTTP/1.1\r\n"));
        if n % 100 == 0 {
            assert!(is_healthy(&server) && player.ping(), "after {n}");
        }
    }
    assert!(is_healthy(&server) && player.ping());
    assert_eq!(server.proc_status("Threads"), threads);
    let sockets = std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count();
    assert!(sockets < 128, "{sockets} descriptors");
    assert!(server.proc_status("VmHWM") < 200_000, "kB of memory at the most");
}

#[test]
fn requests_in_a_row_and_endless_heads_take_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &FLAGS);
    assert!(is_healthy(&server));
    let before = server.proc_status("VmHWM");
    let many = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(4000);
    let endless = format!("GET / HTTP/1.1\r\n{}", "X-A: b\r\n".repeat(20_000));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000));
    for text in [&many, &endless, &long].into_iter().cycle().take(60) {
        let mut stream = TcpStream::connect(server.http()).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(15))).unwrap();
        // The other end need not take it all.
        let _ = stream.write_all(text.as_bytes());
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let answer = rest(&mut stream);
        assert!(answer.matches("HTTP/1.1").count() <= 1, "one answer, and the end");
    }
    assert!(is_healthy(&server));
    let grown = server.proc_status("VmHWM") - before;
    assert!(grown < 16_000, "{grown} kB more");
}

#[test]
fn a_reader_that_takes_nothing_is_put_out() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &FLAGS);
    let lazy: Vec<TcpStream> =
        (0..200).map(|_| open_request(server.http(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    for _ in 0..20 {
        assert!(is_healthy(&server));
    }
    drop(lazy);
}

/// Connects from an address of its own: each has only so many places.
fn connect_from(from: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
    Ok(socket.into())
}

#[test]
fn players_connections_leave_descriptors_for_the_pages() {
    allow_many_files();
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start_as(program_after("ulimit -n 1024"), directory.path(), &FLAGS);
    let mut player = Player::log_in(server.address(), 1, b"").unwrap();
    let mut open = Vec::new();
    for n in 0..1100u32 {
        let from = [127, 0, 1, (n / 100) as u8 + 1];
        open.push(connect_from(from, server.address()).unwrap());
    }
    // All are accepted by now, or closed again: the pages count them.
    let begin = Instant::now();
    loop {
        let metrics = get(server.http(), "/metrics");
        assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
        let count: u32 = metrics
            .lines()
            .find_map(|line| line.strip_prefix("lobby_tcp_connections "))
            .and_then(|count| count.parse().ok())
            .unwrap();
        assert!(count < 1024 - 64);
        if count > 800 {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "{count} connections");
    }
    assert!(player.ping() && is_healthy(&server));
    let output = server.stop("-TERM");
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("ulimit -n"), "the operator is told: {log}");
}

/// Returns the processor time that the program has used, in clock ticks (of which Linux shows 100 a second).
fn processor_ticks(server: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.child.id())).unwrap();
    let after_name: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    after_name[11].parse::<u64>().unwrap() + after_name[12].parse::<u64>().unwrap()
}

#[test]
fn without_any_descriptor_left_the_server_waits_instead_of_spinning_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &FLAGS);
    let mut player = Player::log_in(server.address(), 1, b"").unwrap();
    // From outside, below what is open already: every accept fails with EMFILE.
    let pid = rustix::process::Pid::from_raw(server.child.id() as i32).unwrap();
    let old = rustix::process::prlimit(
        Some(pid),
        Resource::Nofile,
        Rlimit { current: Some(3), maximum: getrlimit(Resource::Nofile).maximum },
    )
    .unwrap();
    let waiting: Vec<TcpStream> = (0..20)
        .flat_map(|_| [server.address(), server.http()])
        .map(|address| open_request(address, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"))
        .collect();
    let before = processor_ticks(&server);
    std::thread::sleep(Duration::from_secs(2)); // the span that is measured
    let used = processor_ticks(&server) - before;
    assert!(used < 20, "{used} of 200 ticks: it spins");
    assert!(player.ping());
    rustix::process::prlimit(Some(pid), Resource::Nofile, old).unwrap();
    assert!(is_healthy(&server), "it accepts again");
    drop(waiting);
}
