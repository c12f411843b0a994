use super::*;
use crate::faults::{self, Call};
use crate::health::TOO_LONG;
use std::time::Duration;

/// Tests wait at most this long for what loopback delivers at once.
const PATIENCE: Duration = Duration::from_secs(5);

fn open() -> Socket {
    Socket::open("127.0.0.1:0".parse().unwrap(), Some(1 << 20)).unwrap()
}

fn one<'a>(to: &Socket, payload: &'a [u8]) -> Outgoing<'a> {
    Outgoing { to: to.local(), origin: Origin::System, ttl: None, payload, segment: None }
}

/// Receives `count` datagrams, waiting by the poll as a program does.
fn receive(socket: &mut Socket, count: usize) -> Vec<Vec<u8>> {
    let (mut poll, mut events) = (mio::Poll::new().unwrap(), mio::Events::with_capacity(4));
    poll.registry().register(socket, Token(1), Interest::READABLE).unwrap();
    let (mut buffer, mut got) = (Buffer::new(8), Vec::new());
    let deadline = Instant::now() + PATIENCE;
    while got.len() < count && Instant::now() < deadline {
        let now = Instant::now();
        if socket.is_readable(now) {
            if let Received::Datagrams = socket.receive(now, &mut buffer) {
                got.extend(buffer.datagrams().map(|datagram| datagram.payload.to_vec()));
            }
            continue;
        }
        let wait = socket.poll_timeout(now).map_or(PATIENCE, |at| at.saturating_duration_since(now));
        poll.poll(&mut events, Some(wait)).unwrap();
        if !events.is_empty() {
            socket.set_readable();
        }
    }
    poll.registry().deregister(socket).unwrap();
    got
}

#[test]
fn batches_keep_boundaries_and_order() {
    let (mut left, mut right) = (open(), open());
    let payload: Vec<u8> = (0..10u8).flat_map(|n| [n; 100]).chain([10; 7]).collect();
    let sent = left.send(&Outgoing { segment: Some(100), ..one(&right, &payload) });
    assert_eq!((sent.sent, sent.lost, sent.blocked), (11, 0, false));
    let expected: Vec<Vec<u8>> = payload.chunks(100).map(<[u8]>::to_vec).collect();
    assert_eq!(receive(&mut right, 11), expected);
}

#[test]
fn empty_datagrams_arrive() {
    let (mut left, mut right) = (open(), open());
    assert_eq!(left.send(&one(&right, &[])).sent, 1);
    assert_eq!(receive(&mut right, 1), [Vec::<u8>::new()]);
}

#[test]
fn a_refused_batch_goes_out_one_by_one_and_no_other_batch_is_tried() {
    let (mut left, mut right) = (open(), open());
    // WSAEINVAL on Windows, EINVAL elsewhere: what a driver without segmentation answers.
    let code = if cfg!(windows) { 10022 } else { 22 };
    let batches = left.max_segments() > 1;
    faults::fail(left.local(), Call::SendBatch, code, 1);
    let payload = [7u8; 300];
    let batch = Outgoing { segment: Some(100), ..one(&right, &payload) };
    let sent = left.send(&batch);
    // Wine has none to begin with.
    assert_eq!((sent.sent, sent.lost, sent.batch_refused), (3, 0, batches));
    assert_eq!(left.max_segments(), 1);
    assert_eq!(receive(&mut right, 3).len(), 3);
}

#[test]
fn a_destination_without_a_route_says_nothing_about_batches() {
    let (mut left, right) = (open(), open());
    // WSAENETUNREACH, ENETUNREACH.
    let code = if cfg!(windows) { 10051 } else { 101 };
    let before = left.max_segments();
    faults::fail_forever(left.local(), Call::SendBatch, code);
    faults::fail_forever(left.local(), Call::Send, code);
    let payload = [7u8; 300];
    let sent = left.send(&Outgoing { segment: Some(100), ..one(&right, &payload) });
    faults::heal(left.local(), Call::SendBatch);
    faults::heal(left.local(), Call::Send);
    assert_eq!((sent.sent, sent.lost, sent.batch_refused), (0, 3, false));
    assert_eq!(left.max_segments(), before);
}

#[test]
fn what_waits_behind_errors_of_earlier_sends_is_read() {
    let (mut left, mut right) = (open(), open());
    // WSAECONNRESET and WSAENETRESET on Windows; ECONNREFUSED, EHOSTUNREACH.
    for code in if cfg!(windows) { [10054, 10052] } else { [111, 113] } {
        assert_eq!(left.send(&one(&right, b"after the errors")).sent, 1);
        faults::fail(right.local(), Call::Receive, code, 40);
        assert_eq!(receive(&mut right, 1), [b"after the errors"]);
    }
}

/// This is ENOTCONN, which iOS answers for ever after a suspension.
const TAKEN_AWAY: i32 = if cfg!(windows) { 10057 } else { 107 };

/// Lets receiving fail until the socket counts as broken, and mends it once. The clock is the caller's: nobody waits for it.
fn break_and_mend(socket: &mut Socket, poll: &mio::Poll) -> (Instant, Mended) {
    faults::fail_forever(socket.local(), Call::Receive, TAKEN_AWAY);
    let (mut now, mut buffer, mut calls) = (Instant::now(), Buffer::new(1), 0);
    loop {
        if let Some(mended) = socket.mend(now, poll.registry(), Token(1)) {
            return (now, mended);
        }
        assert!(matches!(socket.receive(now, &mut buffer), Received::Failed { .. }));
        calls += 1;
        now = socket.poll_timeout(now).expect("it is read again");
        assert!(calls < 100, "it does not spin");
    }
}

/// Returns a socket that a poll watches.
fn watched(address: &str) -> (Socket, mio::Poll) {
    let (mut socket, poll) =
        (Socket::open(address.parse().unwrap(), None).unwrap(), mio::Poll::new().unwrap());
    poll.registry().register(&mut socket, Token(1), Interest::READABLE).unwrap();
    (socket, poll)
}

#[test]
fn a_socket_that_the_system_took_away_is_opened_anew_at_its_port() {
    let mut left = open();
    let (mut right, mut poll) = watched("127.0.0.1:0");
    let local = right.local();
    let mended = break_and_mend(&mut right, &poll).1;
    assert!(mended.result.is_ok() && mended.first);
    assert_eq!(right.local(), local);
    // It is watched again: first it is read dry, then the poll tells.
    let (now, mut buffer) = (Instant::now(), Buffer::new(1));
    assert!(matches!(right.receive(now, &mut buffer), Received::Nothing));
    assert_eq!(left.send(&one(&right, b"here")).sent, 1);
    let mut events = mio::Events::with_capacity(4);
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    assert!(events.iter().any(|event| event.token() == Token(1)));
    right.set_readable();
    assert!(matches!(right.receive(now, &mut buffer), Received::Datagrams));
}

#[test]
fn a_socket_whose_port_was_taken_meanwhile_is_opened_at_another_one() {
    let (mut socket, poll) = watched("127.0.0.1:0");
    let local = socket.local();
    // EADDRINUSE.
    faults::fail(local, Call::Open, if cfg!(windows) { 10048 } else { 98 }, 1);
    break_and_mend(&mut socket, &poll).1.result.unwrap();
    assert_ne!(socket.local(), local);
    assert_eq!(socket.local().ip(), local.ip());
}

/// An address of its own, since the fault is that of opening any port there; other systems have one loopback address only.
#[test]
#[cfg(target_os = "linux")]
fn where_no_other_socket_can_be_had_it_is_tried_again() {
    let (mut socket, poll) = watched("127.0.0.77:0");
    let local = socket.local();
    // EMFILE: the process has too many files open.
    faults::fail("127.0.0.77:0".parse().unwrap(), Call::Open, 24, 2);
    let (now, mended) = break_and_mend(&mut socket, &poll);
    assert!(mended.result.is_err() && mended.first);
    assert_eq!(socket.local(), local, "it stays");
    assert!(socket.mend(now, poll.registry(), Token(1)).is_none(), "not at once");
    let mut mend = |tries| {
        let mended = socket.mend(now + tries * MEND_PERIOD, poll.registry(), Token(1));
        mended.map(|mended| (mended.result.is_ok(), mended.first))
    };
    assert_eq!(mend(1), Some((false, false)), "it was told");
    assert_eq!(mend(2), Some((true, true)), "that it is over is told too");
    assert!(matches!(socket.receive(now, &mut Buffer::new(1)), Received::Nothing));
}

#[test]
fn a_socket_given_away_receives_each_datagram_apart() {
    let (mut left, right) = (open(), open());
    let to = right.local();
    let std = right.into_std();
    std.set_nonblocking(false).unwrap();
    std.set_read_timeout(Some(PATIENCE)).unwrap();
    let payload = [7u8; 400];
    let sent =
        left.send(&Outgoing { to, origin: Origin::System, ttl: None, payload: &payload, segment: Some(100) });
    assert_eq!(sent.sent, 4);
    let mut bytes = [0; 2000];
    for _ in 0..4 {
        assert_eq!(std.recv_from(&mut bytes).unwrap().0, 100, "not merged");
    }
}

#[test]
fn a_ttl_holds_for_one_datagram() {
    let (mut left, mut right) = (open(), open());
    assert_eq!(left.send(&Outgoing { ttl: Some(3), ..one(&right, b"low") }).sent, 1);
    assert_eq!(SockRef::from(&left.io).ttl_v4().unwrap(), left.ttl);
    assert_eq!(receive(&mut right, 1), [b"low"]);
}

#[test]
fn a_taken_port_is_in_use() {
    let left = open();
    assert!(in_use(&Socket::open(left.local(), None).unwrap_err()));
}

#[test]
fn a_datagram_that_is_too_long_is_told_with_its_length() {
    let (mut left, right) = (open(), open());
    let sent = left.send(&one(&right, &[1; 1400]));
    assert_eq!((sent.sent, sent.too_long), (1, None), "loopback takes it");
    faults::fail(left.local(), Call::Send, TOO_LONG, 1);
    let sent = left.send(&one(&right, &[1; 1400]));
    assert_eq!((sent.sent, sent.lost, sent.too_long), (0, 1, Some(1400)));
    // A UDP datagram has 65,507 bytes at the most: this is the system's own word.
    let sent = left.send(&one(&right, &[1; 65_535]));
    assert_eq!((sent.sent, sent.lost, sent.too_long), (0, 1, Some(65_535)));
}

#[test]
fn a_batch_that_is_too_long_says_nothing_about_batches() {
    let (mut left, right) = (open(), open());
    let before = left.max_segments();
    faults::fail(left.local(), Call::SendBatch, TOO_LONG, 1);
    faults::fail(left.local(), Call::Send, TOO_LONG, 2);
    let payload = [7u8; 250];
    let sent = left.send(&Outgoing { segment: Some(100), ..one(&right, &payload) });
    assert_eq!((sent.sent, sent.lost, sent.too_long, sent.batch_refused), (1, 2, Some(100), false));
    assert_eq!(left.max_segments(), before);
}

/// Loopback is interface 1 on Linux; an address of another interface would be needed to see the routes overruled, which the
/// programs' test in namespaces has.
#[test]
#[cfg(target_os = "linux")]
fn datagrams_leave_by_the_interface_and_with_the_address_that_they_are_told() {
    use std::net::{IpAddr, Ipv4Addr};
    let (mut left, mut right) = (Socket::open("0.0.0.0:0".parse().unwrap(), None).unwrap(), open());
    let by = |index| Origin::Interface { address: Ipv4Addr::new(127, 0, 0, 9), index };
    let payload = [7u8; 250];
    let outgoing = Outgoing { origin: by(1), segment: Some(100), ..one(&right, &payload) };
    assert_eq!(left.send(&outgoing), Sent { sent: 3, ..Sent::default() });
    let (mut buffer, mut got) = (Buffer::new(4), Vec::new());
    let deadline = Instant::now() + PATIENCE;
    while got.len() < 3 && Instant::now() < deadline {
        if let Received::Datagrams = right.receive(Instant::now(), &mut buffer) {
            got.extend(buffer.datagrams().map(|datagram| (datagram.from.ip(), datagram.payload.len())));
        }
    }
    let from: IpAddr = "127.0.0.9".parse().unwrap();
    assert_eq!(got, [(from, 100), (from, 100), (from, 50)]);
    // ENODEV: nothing goes out by another one instead.
    let sent = left.send(&Outgoing { origin: by(4_000_000), ..one(&right, b"lost") });
    assert_eq!((sent.sent, sent.lost), (0, 1));
}
