//! Very many players who are registered, and what the process holds for them.

use std::time::{Duration, Instant};

use test_support::crowd::{self, Member, SOCKET};
use traversal_core::NatFacts;
use traversal_core::nat::NatProfile;
use traversal_core::wire::message::ToServer;

/// So many players are there on their side at a time; the server keeps all.
const AT_ONCE: u32 = 10_000;

/// Returns the resident memory of this process in bytes, where the system says it.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()? * 1024)
}

/// Times what the server does.
pub(crate) struct Server {
    pub(crate) core: lobby_server::Server,
    pub(crate) busy: Duration,
}

impl Server {
    pub(crate) fn new(core: lobby_server::Server) -> Self {
        Self { core, busy: Duration::ZERO }
    }

    fn take(&mut self, now: Instant, member: &mut Member, datagram: &[u8]) {
        let began = Instant::now();
        self.core.handle_datagram(now, SOCKET, member.address, datagram);
        let out: Vec<_> = std::iter::from_fn(|| self.core.poll_transmit()).collect();
        self.busy += began.elapsed();
        out.iter().for_each(|transmit| member.take(now, transmit));
    }
}

pub(crate) fn run(players: u32) {
    let mut now = Instant::now();
    let mut server = Server::new(crowd::server(players as usize + AT_ONCE as usize, now));
    // What the players themselves need, and what has one size whoever comes, is there before it is counted.
    group(&mut server, &mut now, 0..AT_ONCE);
    let (before, began) = (resident(), Instant::now());
    server.busy = Duration::ZERO;
    let mut first = AT_ONCE;
    while first < AT_ONCE + players {
        let end = (first + AT_ONCE).min(AT_ONCE + players);
        group(&mut server, &mut now, first..end);
        first = end;
    }
    assert_eq!(server.core.gauges().sessions, (players + AT_ONCE) as usize);
    let each = server.busy.as_secs_f64() * 1e6 / f64::from(players);
    println!(
        "{players} players logged in, told their NATs and kept alive: {:.1} s of the server, {each:.0} us each ({:.1} s with \
         the players' own part)",
        server.busy.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    match (before, resident()) {
        (Some(before), Some(after)) => println!(
            "resident memory grew by {:.1} MB: {} bytes for each (goal: at most 1024)",
            (after - before) as f64 / 1e6,
            (after - before) / u64::from(players)
        ),
        _ => println!("this system does not say what the process holds"),
    }
}

fn group(server: &mut Server, now: &mut Instant, numbers: std::ops::Range<u32>) {
    let mut members: Vec<Member> = numbers.map(Member::new).collect();
    for member in &mut members {
        *now += Duration::from_millis(1);
        let hello = member.hello();
        server.take(*now, member, &hello);
        let init = member.next();
        server.take(*now, member, &init);
        let ping = member.ping(*now);
        server.take(*now, member, &ping);
        let profile =
            ToServer::Profile { profile: NatProfile::default(), check: true, manual: NatFacts::NONE };
        member.say(*now, profile);
        while let Some(datagram) = member.next_sealed() {
            server.take(*now, member, &datagram);
        }
    }
    *now += Duration::from_secs(15);
    for member in &mut members {
        let ping = member.ping(*now);
        server.take(*now, member, &ping);
    }
}
