//! Ten thousand players log in at one moment, each with a hundred contacts: what leaves the server for it, counted.

use std::collections::HashMap;

use super::*;

const PLAYERS: u16 = 10_000;
/// Each player allows so many of those before it and behind it in a ring, and they allow it.
const NEIGHBOURS: u16 = 50;

/// The server, its players, and what they were told.
struct Storm {
    world: World,
    by_address: HashMap<SocketAddr, usize>,
    /// Each player was told so many times, of so many contacts who came on line.
    told: Vec<(usize, usize)>,
    /// The server took so long for all.
    took: Duration,
}

impl Storm {
    fn new() -> Self {
        let mut world = World::new();
        let mut by_address = HashMap::new();
        for n in 0..PLAYERS {
            let [high, low] = n.to_be_bytes();
            let index = world.add(1, &format!("198.51.{high}.{low}:4000"));
            world.fakes[index].identity = storm::identity(n);
            world.fakes[index].login.name = format!("player {n}");
            world.fakes[index].login.local = Vec::new();
            by_address.insert(world.fakes[index].address, index);
        }
        let told = vec![(0, 0); usize::from(PLAYERS)];
        Self { world, by_address, told, took: Duration::ZERO }
    }

    fn serve(&mut self, index: usize, datagram: &[u8]) {
        let (now, from) = (self.world.now, self.world.fakes[index].address);
        let begun = Instant::now();
        self.world.server.handle_datagram(now, ServerSocketId(0), from, datagram);
        self.took += begun.elapsed();
    }

    /// Delivers everything until all is quiet.
    fn turn(&mut self) {
        loop {
            let mut reached = Vec::new();
            let begun = Instant::now();
            while let Some(transmit) = self.world.server.poll_transmit() {
                reached.push((transmit.to, transmit.payload));
            }
            self.took += begun.elapsed();
            let now = self.world.now;
            let mut spoken = Vec::new();
            for (to, payload) in reached {
                let Some(index) = self.by_address.get(&to) else { continue };
                let fake = &mut self.world.fakes[*index];
                fake.take(now, &payload, &mut self.world.rng);
                for told in std::mem::take(&mut fake.told) {
                    if let ToPlayer::Contacts(news) = told {
                        self.told[*index].0 += 1;
                        self.told[*index].1 += news.iter().filter(|one| one.presence.is_some()).count();
                    }
                }
                while let Some(datagram) = fake.session.as_mut().and_then(ClientSession::poll_datagram) {
                    spoken.push((*index, datagram));
                }
            }
            if spoken.is_empty() {
                return;
            }
            for (index, datagram) in spoken {
                self.serve(index, &datagram);
            }
        }
    }

    /// A player logs in, and says whom it allows.
    fn log_in(&mut self, n: u16) {
        let index = usize::from(n);
        for _ in 0..2 {
            let datagram = self.world.fakes[index].handshake.datagram().to_vec();
            self.serve(index, &datagram);
            self.turn();
        }
        let near = (1..=NEIGHBOURS).flat_map(|far| [n + far, n + PLAYERS - far]);
        let allow: Vec<PlayerId> =
            near.map(|other| self.world.fakes[usize::from(other % PLAYERS)].id()).collect();
        let parts: Vec<&[PlayerId]> = allow.chunks(60).collect();
        for (part, allow) in parts.iter().enumerate() {
            let (first, last, allow) = (part == 0, part + 1 == parts.len(), allow.to_vec());
            let request = Request::Contacts(ContactsRequest::Part { first, last, allow });
            let (id, now) = (RequestId(part as u32), self.world.now);
            let session = self.world.fakes[index].session.as_mut().expect("logged in");
            session.send(now, ToServer::Request { id, request }).unwrap();
            while let Some(datagram) =
                self.world.fakes[index].session.as_mut().and_then(ClientSession::poll_datagram)
            {
                self.serve(index, &datagram);
            }
            self.turn();
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.world.now < end {
            self.world.now += Duration::from_millis(100);
            let (now, begun) = (self.world.now, Instant::now());
            self.world.server.handle_timeout(now);
            self.took += begun.elapsed();
            for index in 0..self.world.fakes.len() {
                let Some(session) = &mut self.world.fakes[index].session else { continue };
                session.handle_timeout(now);
                while let Some(datagram) =
                    self.world.fakes[index].session.as_mut().and_then(ClientSession::poll_datagram)
                {
                    self.serve(index, &datagram);
                }
            }
            self.turn();
        }
    }
}

#[test]
fn ten_thousand_logins_at_one_moment_with_a_hundred_contacts_each_are_told_in_batches() {
    let mut storm = Storm::new();
    for n in 0..PLAYERS {
        storm.log_in(n);
    }
    let (at_once, all) = (storm.world.server.counters(), usize::from(2 * NEIGHBOURS));
    let late = storm.told.iter().filter(|(_, contacts)| *contacts < all).count();
    storm.pass(Duration::from_secs(5));
    let in_all = storm.world.server.counters();
    let players = u64::from(PLAYERS);
    println!(
        "{players} logins with {all} contacts each in one moment: for each of them {} datagrams and {} bytes leave the server at once, \
         {} and {} within 5 s, in {} messages of contacts; {late} players hear of some contacts later; {:?} of a processor for each \
         in this build",
        at_once.datagrams_out / players,
        at_once.bytes_out / players,
        in_all.datagrams_out / players,
        in_all.bytes_out / players,
        in_all.contacts_told / players,
        storm.took / u32::from(PLAYERS),
    );
    assert_eq!(in_all.logins, players);
    assert_eq!(storm.told.iter().filter(|(_, contacts)| *contacts != all).count(), 0, "all hear of all");
    assert_eq!(storm.world.server.gauges().contacts, all * usize::from(PLAYERS));
    // What one by one would have been 100 messages for each.
    let most = storm.told.iter().map(|(messages, _)| *messages).max().unwrap();
    assert!(most <= 30, "{most}");
    assert!(in_all.contacts_told <= 25 * players, "{}", in_all.contacts_told);
    assert!(in_all.datagrams_out <= 40 * players, "{}", in_all.datagrams_out);
    assert!(in_all.bytes_out <= 7_000 * players, "{}", in_all.bytes_out);
    let refused = in_all.refusals.iter().filter(|(_, count)| *count > 0).count();
    assert_eq!(refused, 0);
}
