//! What is said in the local network: a question to all, and the answer of each host. `docs/protocol.md` has the format.
//!
//! Hosts say the same by mDNS (RFC 6762, RFC 6763), where the fields stand in the TXT record. The question to all is for
//! networks that pass no multicast on.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use traversal_core::invite::Invite;
use traversal_core::text;
use traversal_core::wire::{VERSION, codec};

use super::LanRoom;

/// Hosts hear questions at this UDP port, which no service is registered for (IANA leaves 47101 to 47556 free).
pub(super) const LAN_PORT: u16 = 47_113;
/// Rooms are announced by mDNS under this type of service.
pub(super) const SERVICE: &str = "_bevy-trav._udp.local.";
/// Each message begins with this.
const MAGIC: &[u8; 8] = b"bevylan1";
/// A question is as long as this, so that no answer is longer: nobody sends more to a forged address than comes in.
pub(super) const QUESTION: usize = 512;

/// This is a message in the local network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// Which rooms of this game are here?
    Question {
        /// The wire has this version.
        version: u16,
        /// It comes back in the answer, so that nobody who has not heard the question answers it.
        nonce: u64,
        /// The rooms are to be of this game.
        game: String,
        /// The game's own protocol has this number.
        protocol: u32,
    },
    /// This room is here.
    Answer {
        /// It comes from the question.
        nonce: u64,
        /// This is the room.
        room: Announcement,
    },
}

/// This is what a host says of its room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Announcement {
    /// The room belongs to this game.
    pub(super) game: String,
    /// The game's own protocol has this number.
    pub(super) protocol: u32,
    /// The room has this name.
    pub(super) name: String,
    /// The room has this short code.
    pub(super) code: String,
    /// The host has this display name.
    pub(super) host_name: String,
    /// So many players are inside.
    pub(super) members: u16,
    /// It takes so many players.
    pub(super) capacity: u16,
    /// It asks for a password.
    pub(super) password: bool,
    /// The server has this port.
    pub(super) port: u16,
    /// The server has this public key.
    pub(super) key: [u8; 32],
}

/// Returns a message as it is sent; none: it does not fit.
pub(super) fn written(word: &Word) -> Option<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(codec::encode(word).ok()?);
    if matches!(word, Word::Question { .. }) && bytes.len() < QUESTION {
        bytes.resize(QUESTION, 0);
    }
    (bytes.len() <= QUESTION).then_some(bytes)
}

/// Reads a message; none: it is none.
pub(super) fn read(datagram: &[u8]) -> Option<Word> {
    codec::decode(datagram.strip_prefix(MAGIC)?).ok()
}

/// Returns the question for rooms of this game.
pub(super) fn question(nonce: u64, game: &str, protocol: u32) -> Option<Vec<u8>> {
    written(&Word::Question { version: VERSION, nonce, game: game.to_owned(), protocol })
}

/// Returns the answer to a datagram of somebody who may be answered; none: it is no question, or one for another game.
pub(super) fn answer(datagram: &[u8], room: &Announcement) -> Option<Vec<u8>> {
    if datagram.len() < QUESTION {
        return None;
    }
    let Word::Question { version: VERSION, nonce, game, protocol } = read(datagram)? else { return None };
    if game != room.game || protocol != room.protocol {
        return None;
    }
    written(&Word::Answer { nonce, room: room.clone() })
}

impl Announcement {
    /// Returns the fields for mDNS. Each has room in a string of the TXT record: 255 bytes with its key.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("v", VERSION.to_string()),
            ("game", self.game.clone()),
            ("proto", self.protocol.to_string()),
            ("room", self.name.clone()),
            ("code", self.code.clone()),
            ("host", self.host_name.clone()),
            ("players", self.members.to_string()),
            ("of", self.capacity.to_string()),
            ("pw", u8::from(self.password).to_string()),
            ("key", URL_SAFE_NO_PAD.encode(self.key)),
        ]
    }

    /// Reads the fields of mDNS; none: they are not of this version, or damaged.
    pub(super) fn of_fields<'a>(port: u16, field: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let number = |key: &str| field(key)?.parse().ok();
        if number("v")? != u32::from(VERSION) {
            return None;
        }
        let small = |key: &str| u16::try_from(number(key)?).ok();
        let key = URL_SAFE_NO_PAD.decode(field("key")?).ok()?;
        Some(Self {
            game: field("game")?.to_owned(),
            protocol: number("proto")?,
            name: field("room")?.to_owned(),
            code: field("code")?.to_owned(),
            host_name: field("host")?.to_owned(),
            members: small("players")?,
            capacity: small("of")?,
            password: number("pw")? != 0,
            port,
            key: key.try_into().ok()?,
        })
    }

    /// Returns the room that somebody at this address has announced, with all texts as they are kept; none: there cannot be
    /// such a room.
    pub(super) fn room(&self, at: IpAddr) -> Option<LanRoom> {
        let server = SocketAddr::new(at, self.port).to_string();
        let invite = Invite::new(&server, self.key).ok()?.with_code(&self.code).ok()?;
        let name = text::ROOM_NAME.clean(&self.name);
        // A host without a seat may have a room for one.
        if name.is_empty() || !(1..=64).contains(&self.capacity) {
            return None;
        }
        Some(LanRoom {
            name,
            host_name: text::NAME.clean(&self.host_name),
            members: self.members.min(self.capacity),
            capacity: self.capacity,
            password: self.password,
            invite,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub(in crate::lan) fn announcement() -> Announcement {
        Announcement {
            game: "g".repeat(64),
            protocol: u32::MAX,
            name: "n".repeat(64),
            code: "K7PX2M".into(),
            host_name: "h".repeat(48),
            members: 64,
            capacity: 64,
            password: true,
            port: 65_535,
            key: [0xff; 32],
        }
    }

    #[test]
    fn the_longest_room_is_told_in_fewer_bytes_than_the_question_has() {
        let room = announcement();
        let asked = question(u64::MAX, &room.game, room.protocol).unwrap();
        let told = answer(&asked, &room).unwrap();
        assert!(told.len() <= asked.len(), "{} bytes", told.len());
        assert_eq!(read(&told), Some(Word::Answer { nonce: u64::MAX, room }));
    }

    #[test]
    fn nobody_is_answered_but_who_asks_for_this_game_with_a_whole_question() {
        let room = announcement();
        let asked = question(7, &room.game, room.protocol).unwrap();
        assert_eq!(answer(&asked[..asked.len() - 1], &room), None, "too short for the answer");
        assert_eq!(answer(&question(7, "other", room.protocol).unwrap(), &room), None);
        assert_eq!(answer(&question(7, &room.game, 1).unwrap(), &room), None);
        let told = answer(&asked, &room).unwrap();
        let padded: Vec<u8> = told.into_iter().chain([0; 400]).collect();
        assert_eq!(answer(&padded, &room), None, "an answer is no question");
        for length in 0..asked.len() {
            let _ = answer(&asked[..length], &room);
        }
        let mut damaged = asked;
        for at in 0..60 {
            damaged[at] ^= 0x81;
            let _ = answer(&damaged, &room);
            damaged[at] ^= 0x81;
        }
    }

    #[test]
    fn mdns_has_the_same_fields_and_damaged_ones_are_no_room() {
        let room = announcement();
        let fields: BTreeMap<&str, String> = room.fields().into_iter().collect();
        assert!(fields.iter().all(|(key, value)| key.len() + value.len() < 255));
        let field = |key: &str| fields.get(key).map(String::as_str);
        assert_eq!(Announcement::of_fields(65_535, field), Some(room));
        for key in fields.keys() {
            let without = |asked: &str| field(asked).filter(|_| asked != *key);
            assert_eq!(Announcement::of_fields(9, without), None, "without {key}");
        }
        let lies = [("v", "9999"), ("key", "AAAA"), ("players", "70000"), ("of", "-1"), ("proto", "x")];
        for (key, lie) in lies {
            let lying = |asked: &str| if asked == key { Some(lie) } else { field(asked) };
            assert_eq!(Announcement::of_fields(9, lying), None, "{key}={lie}");
        }
    }

    #[test]
    fn texts_are_cleaned_and_impossible_rooms_left_out() {
        let at = "192.168.1.5".parse().unwrap();
        let room = announcement();
        let shown = |change: &dyn Fn(&mut Announcement)| {
            let mut room = room.clone();
            change(&mut room);
            room.room(at)
        };
        let evil = shown(&|room| room.name = "a\u{1b}[2J\u{202e}b\n".into()).unwrap();
        assert_eq!(evil.name, "a[2Jb");
        assert_eq!(shown(&|room| room.members = 9999).unwrap().members, 64);
        assert_eq!(shown(&|_| ()).unwrap().invite.server(), "192.168.1.5:65535");
        assert_eq!(shown(&|room| room.code = "K7/..#".into()), None);
        assert_eq!(shown(&|room| room.port = 0), None);
        assert_eq!(shown(&|room| room.name = "\u{200b}".into()), None);
        assert_eq!(
            shown(&|room| room.capacity = 1).unwrap().capacity,
            1,
            "a host without a seat, and one player"
        );
        assert_eq!(shown(&|room| room.capacity = 0), None);
        assert_eq!(shown(&|room| room.capacity = 65), None);
        assert_eq!(room.room("224.0.0.1".parse().unwrap()), None);
    }
}
