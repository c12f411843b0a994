//! Logins beside floods, with the built program on this machine's loopback. `natlab flood` prints the numbers.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use test_support::login::log_in;
use test_support::server::{Running, receive};
use traversal_core::wire::handshake::ClientHandshake;

/// A login may take so long, in all its tries.
const DEADLINE: Duration = Duration::from_secs(10);
/// A player that is not answered asks again after so long.
const AGAIN: Duration = Duration::from_millis(500);

#[test]
fn a_login_gets_through_beside_a_flood_of_hellos_from_its_own_address() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &["--bind", "127.0.0.1:0", "--no-http"]);
    let address = server.address();
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = ChaCha20Rng::seed_from_u64(1);
            let sockets: Vec<UdpSocket> = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
            let hellos: Vec<Vec<u8>> =
                (0..64).map(|_| ClientHandshake::new(&mut rng).hello().to_vec()).collect();
            for (n, hello) in hellos.iter().cycle().enumerate() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                // What the system does not take is not sent.
                let taken = sockets[n % sockets.len()].send_to(hello, address).is_ok();
                sent.fetch_add(u64::from(taken), Ordering::Relaxed);
            }
        });
        // The flood has used up what the address may ask for.
        while sent.load(Ordering::Relaxed) < 20_000 {
            std::thread::yield_now();
        }
        let (before, start) = (sent.load(Ordering::Relaxed), Instant::now());
        let logins: Vec<Result<Duration, String>> = (1..=5)
            .map(|seed| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.connect(address).unwrap();
                socket.set_read_timeout(Some(AGAIN)).unwrap();
                let begun = Instant::now();
                log_in(seed, b"", |datagram| {
                    while begun.elapsed() < DEADLINE {
                        socket.send(datagram).unwrap();
                        if let Ok(answer) = receive(&socket) {
                            return Ok(answer);
                        }
                    }
                    Err(format!("no answer within {DEADLINE:?}"))
                })
                .map(|_| begun.elapsed())
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        let rate = (sent.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
        println!("beside {rate:.0} hellos a second: {logins:?}");
        assert!(logins.iter().all(Result::is_ok), "{logins:?}");
    });
}
