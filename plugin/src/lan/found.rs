//! What was heard of rooms in the local network: bounded, and forgotten in time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{LanRoom, MAX_LAN_ROOMS};

/// A room of which nothing is heard for so long is gone: three answers may be lost, at a question every three seconds.
pub(super) const GONE: Duration = Duration::from_secs(12);
/// So many rooms may be at one address: a machine that makes rooms up takes a part of the list, and not all of it.
const PER_ADDRESS: usize = 8;

/// A room is known by its server's key and by its code.
type Id = ([u8; 32], String);

#[derive(Debug)]
struct Entry {
    room: LanRoom,
    at: IpAddr,
    heard: Instant,
}

/// These are the rooms that were heard of.
#[derive(Debug, Default)]
pub(super) struct Found(BTreeMap<Id, Entry>);

impl Found {
    /// Notes a room that somebody at this address has announced. True if the list has changed.
    pub(super) fn note(&mut self, now: Instant, at: IpAddr, room: LanRoom) -> bool {
        let id = (room.invite.key(), room.invite.code().unwrap_or_default().to_owned());
        if let Some(entry) = self.0.get_mut(&id) {
            // By another way to the same machine it is the same room: the first way stays while it is heard of.
            if entry.at != at {
                return false;
            }
            entry.heard = now;
            let changed = entry.room != room;
            entry.room = room;
            return changed;
        }
        let of_address = self.0.values().filter(|entry| entry.at == at).count();
        if self.0.len() >= MAX_LAN_ROOMS || of_address >= PER_ADDRESS {
            return false;
        }
        self.0.insert(id, Entry { room, at, heard: now });
        true
    }

    /// Forgets the rooms of which nothing was heard for long. True if there were any.
    pub(super) fn forget_old(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|_, entry| now.saturating_duration_since(entry.heard) < GONE);
        self.0.len() != before
    }

    /// Returns when the next room is forgotten.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|entry| entry.heard + GONE).min()
    }

    /// Returns the rooms in the order of their names.
    pub(super) fn rooms(&self) -> Vec<LanRoom> {
        let mut rooms: Vec<LanRoom> = self.0.values().map(|entry| entry.room.clone()).collect();
        rooms.sort_by(|a, b| (&a.name, a.invite.server()).cmp(&(&b.name, b.invite.server())));
        rooms
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::Announcement;
    use super::*;

    fn room(n: u16, name: &str) -> LanRoom {
        let announcement = Announcement {
            game: "g".into(),
            protocol: 0,
            name: name.into(),
            code: format!("C{n}"),
            host_name: "h".into(),
            members: 1,
            capacity: 4,
            password: false,
            port: 3478,
            key: [7; 32],
        };
        announcement.room([192, 168, 1, 5].into()).unwrap()
    }

    fn at(n: usize) -> IpAddr {
        [192, 168, (n / 250) as u8, (n % 250) as u8].into()
    }

    #[test]
    fn a_flood_of_announcements_fills_no_more_than_the_list_and_one_address_a_part_of_it() {
        let (mut found, now) = (Found::default(), Instant::now());
        let of_one = (0..100).filter(|n| found.note(now, at(1), room(*n, "made up"))).count();
        assert_eq!(of_one, PER_ADDRESS);
        assert!(found.note(now, at(2), room(500, "real")), "another machine has its place");
        for n in 0..10_000 {
            found.note(now, at(n), room(1000 + n as u16, "made up"));
        }
        assert_eq!(found.rooms().len(), MAX_LAN_ROOMS);
        assert!(found.rooms().iter().any(|room| room.name == "real"));
    }

    #[test]
    fn a_room_is_forgotten_when_nothing_is_heard_of_it_and_told_when_it_changes() {
        let (mut found, now) = (Found::default(), Instant::now());
        assert!(found.note(now, at(1), room(1, "b")));
        assert!(found.note(now, at(2), room(2, "a")));
        assert_eq!(found.rooms().iter().map(|room| room.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let later = now + GONE / 2;
        assert!(!found.note(later, at(1), room(1, "b")));
        assert!(!found.note(later, at(9), room(2, "somebody else's word for it")));
        assert!(found.note(later, at(1), LanRoom { members: 2, ..room(1, "b") }));
        assert_eq!(found.next(), Some(now + GONE));
        assert!(found.forget_old(now + GONE) && !found.forget_old(now + GONE));
        assert_eq!(found.rooms().len(), 1);
        assert!(found.forget_old(later + GONE));
        assert_eq!(found.next(), None);
    }
}
