//! A login: hello, cookie, init, answer.

use std::hint::black_box;
use std::time::Instant;

use test_support::crowd::{self, Member, SOCKET};
use traversal_core::wire::curve::{Implementation, shared_secret};

use crate::processor::microseconds;

const ROUNDS: u32 = 9;
const LOGINS: u32 = 2000;
/// Noise IK takes the server so many multiplications (es, ss, ee, se).
const MULTIPLICATIONS: u32 = 4;

pub(crate) fn run() {
    println!(
        "X25519: {}; {ROUNDS} rounds of {LOGINS} logins, microseconds of processor each",
        Implementation::here()
    );
    println!("round   bound  portable   login  ratio");
    let mut rounds = Vec::new();
    let point = *shared_secret(&[7; 32], &{
        let mut base = [0; 32];
        base[0] = 9;
        base
    })
    .unwrap();
    for round in 1..=ROUNDS {
        let [bound, portable] = [Implementation::here(), Implementation::Portable].map(|curve| {
            microseconds(LOGINS, || {
                for _ in 0..LOGINS * MULTIPLICATIONS {
                    black_box(curve.shared_secret(black_box(&[8; 32]), black_box(&point)));
                }
            })
        });
        let now = Instant::now();
        let mut server = crowd::server(LOGINS as usize * 2, now);
        let prepared: Vec<_> = (0..LOGINS)
            .map(|number| {
                let mut member = Member::new(number);
                let init = member.init(&mut server, now);
                (member.address, member.hello(), init)
            })
            .collect();
        let mut answers = 0;
        let login = microseconds(LOGINS, || {
            for (address, hello, init) in &prepared {
                server.handle_datagram(now, SOCKET, *address, hello);
                server.handle_datagram(now, SOCKET, *address, init);
                while black_box(server.poll_transmit()).is_some() {
                    answers += 1;
                }
            }
        });
        assert_eq!(answers, LOGINS * 2, "a cookie and a welcome for each");
        println!("{round:5} {bound:7.1} {portable:9.1} {login:7.1} {:6.2}", login / bound);
        rounds.push((bound, login));
    }
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (bound, login) = (median(|round| round.0), median(|round| round.1));
    println!(
        "median: a login takes {login:.1} us (goal: at most 200), {:.2} times the bound of {bound:.1} us",
        login / bound
    );
}
