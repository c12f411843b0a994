//! A bare echo by UDP, with the same batches as the lobby server: the least that answering so many datagrams costs here.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use traversal_udp::{Buffer, Origin, Outgoing, Received, Socket};

use super::process::own_time;

/// The lobby server takes so many entries with one call, in so many batches before it looks elsewhere, and asks for so many
/// bytes of buffer.
const BATCH: usize = 16;
const BATCHES_IN_A_ROW: usize = 32;
const SOCKET_BUFFER: usize = 2 << 20;
/// Datagrams come from so many sockets at the most.
const SENDERS: usize = 256;

/// Answers what comes in until told to stop. Returns its processor time and how many datagrams it answered.
fn serve(mut socket: Socket, stop: &AtomicBool) -> std::io::Result<(Duration, u64)> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
    let (mut events, mut buffer) = (Events::with_capacity(64), Buffer::new(BATCH));
    let (before, mut answered) = (own_time(), 0);
    let mut replies: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(20)))?;
        socket.set_readable();
        for _ in 0..BATCHES_IN_A_ROW {
            let now = Instant::now();
            if !socket.is_readable(now) || !matches!(socket.receive(now, &mut buffer), Received::Datagrams) {
                break;
            }
            replies.extend(buffer.datagrams().map(|datagram| (datagram.from, datagram.payload.to_vec())));
            answered += replies.len() as u64;
            for (to, payload) in replies.drain(..) {
                let origin = Origin::System;
                socket.send(&Outgoing { to, origin, ttl: None, payload: &payload, segment: None });
            }
        }
    }
    Ok((own_time().saturating_sub(before), answered))
}

/// Returns the processor time that the echo takes for a datagram of this length at this rate; none where nothing came.
pub(super) fn measure(per_second: f64, length: usize, time: Duration) -> std::io::Result<Option<Duration>> {
    let socket = Socket::open((Ipv4Addr::LOCALHOST, 0).into(), Some(SOCKET_BUFFER))?;
    let (address, stop) = (socket.local(), AtomicBool::new(false));
    let senders = (0..SENDERS)
        .map(|_| {
            let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            sender.set_nonblocking(true)?;
            Ok(sender)
        })
        .collect::<std::io::Result<Vec<_>>>()?;
    let payload = vec![0; length];
    std::thread::scope(|scope| {
        let echo = scope.spawn(|| serve(socket, &stop));
        let (start, mut sent, mut heap) = (Instant::now(), 0usize, [0; 2048]);
        while start.elapsed() < time {
            let due = (start.elapsed().as_secs_f64() * per_second) as usize;
            while sent < due {
                let sender = &senders[sent % SENDERS];
                let _ = sender.send_to(&payload, address);
                // What came back is taken, so that no buffer fills.
                let _ = sender.recv(&mut heap);
                sent += 1;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        stop.store(true, Ordering::Relaxed);
        let (time, answered) = echo.join().map_err(|_| std::io::Error::other("the echo panicked"))??;
        Ok((answered > 0).then(|| time / u32::try_from(answered).unwrap_or(u32::MAX)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_costs_something() {
        let cost = measure(5000.0, 100, Duration::from_millis(200)).unwrap().unwrap();
        assert!(cost > Duration::ZERO && cost < Duration::from_millis(1), "{cost:?}");
        assert_eq!(measure(0.0, 100, Duration::from_millis(50)).unwrap(), None);
    }
}
