//! A stream against a socket of the test's.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::*;

fn until<T>(mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match done() {
            Some(value) => return value,
            None => assert!(Instant::now() < deadline, "in time"),
        }
    }
}

fn connected() -> (Stream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let mut stream = Stream::connect(to, Some("127.0.0.1".parse().unwrap()), None).unwrap();
    let (server, _) = listener.accept().unwrap();
    until(|| stream.finish_connect().unwrap().then_some(()));
    (stream, server)
}

#[test]
fn datagrams_go_both_ways() {
    let (mut stream, mut server) = connected();
    let counters = Counters::default();
    stream.writable = true;
    stream.push(&[7; 300], &counters);
    stream.flush(&counters).unwrap();
    let mut got = [0; 302];
    server.read_exact(&mut got).unwrap();
    assert_eq!((&got[..2], &got[2..]), ([1u8, 44].as_slice(), [7u8; 300].as_slice()));
    server.write_all(&[0, 2, 8, 9, 0, 1]).unwrap();
    server.write_all(&[5]).unwrap();
    let mut datagrams = Vec::new();
    until(|| {
        stream.receive(&mut datagrams, &counters).unwrap();
        (datagrams.len() == 2).then_some(())
    });
    assert_eq!(datagrams, [vec![8, 9], vec![5]]);
    drop(server);
    let error = until(|| stream.receive(&mut datagrams, &counters).err());
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_server_that_takes_nothing_costs_bounded_memory() {
    let (mut stream, server) = connected();
    let counters = Counters::default();
    stream.writable = true;
    for _ in 0..20_000 {
        stream.push(&[7; 1200], &counters);
        stream.flush(&counters).unwrap();
        // As if the poller had said so.
        stream.writable = true;
    }
    assert!(counters.outgoing_dropped.into_inner() > 0);
    drop(server);
}

#[test]
fn garbage_and_refusal_are_errors() {
    let (mut stream, mut server) = connected();
    server.write_all(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
    let (counters, mut datagrams) = (Counters::default(), Vec::new());
    until(|| stream.receive(&mut datagrams, &counters).err());
    assert!(datagrams.is_empty());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    drop(listener);
    if let Ok(mut refused) = Stream::connect(to, None, None) {
        until(|| refused.finish_connect().err());
    }
}
