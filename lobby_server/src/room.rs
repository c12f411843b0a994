//! Rooms: names, codes, passwords, capacity, and what is said about them. Pure: who may enter, and when, is
//! decided by the dispatcher.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::RngCore;
use sha2::{Digest, Sha256};
use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{
    AwaySeat, MEMBERS_PER_PART, PlayerInfo, RoomInfo, RoomOptions, RoomSummary, RoomTerms, SeatTerms,
    ToPlayer,
};
use traversal_core::wire::secret::same;

use crate::guesses::Guesses;
use crate::kicked::Kicked;
use crate::limits::{Bucket, Rate};
use crate::registry::{RoomLocation, code_key};
use crate::shared::Shared;

/// A room's code is made of these characters: digits and letters without 0 O 1 I L, which people mix up, and without U,
/// so that fewer words come out.
const CODE_ALPHABET: &[u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";
/// A room's code has so many characters: 30^6 are 729 million.
const CODE_LENGTH: usize = 6;

/// A room's members get lists of members at this rate: a full room that fills in a moment costs each of them some
/// twenty lists, of up to 5 kB, and a player who comes and goes without end four a second.
pub(crate) const ROOM_NEWS: Rate = Rate::new(4.0, 16.0);

/// This is what a room is, to whoever looks for it. Its host may change the options later.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) id: RoomId,
    /// This is the game that is played in it; players of others do not see it.
    pub(crate) game: String,
    /// The game's own protocol has this number; players of others may not enter.
    pub(crate) game_protocol: u32,
    /// The room has this code, of [`CODE_LENGTH`] characters.
    pub(crate) code: String,
    /// These are the options that the host has set, with the room's name. The password in them is none, see
    /// `password`.
    pub(crate) options: RoomOptions,
    /// This is the hash of the password, if the room has one.
    pub(crate) password: Option<PasswordHash>,
}

/// This says where a room comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A player has opened it.
    New,
    /// It was made of a member's ticket, after a restart of the server: whoever has a ticket belongs in.
    Ticket { epoch: u32, generation: u32 },
}

/// This says how far a room has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The registry has not taken the room yet; nobody can find it.
    Claimed,
    /// The registry has taken the room.
    Open,
}

/// This is a room that this node holds.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) setup: Setup,
    /// These players are in the room; the host is the first one.
    pub(crate) members: Vec<PlayerInfo>,
    /// These players watch.
    pub(crate) spectators: Vec<PlayerInfo>,
    /// Somebody was away or watched: all are told of the seats from now on.
    pub(crate) seat_news: bool,
    /// The list of members has changed so often.
    pub(crate) revision: u32,
    /// This is the bucket that limits how often the members are told who is inside, see [`ROOM_NEWS`].
    pub(crate) news: Bucket,
    /// This is the bucket that limits what is written in the room.
    pub(crate) texts: Bucket,
    /// The player that opened the room was at this address, which counts for the limit of rooms per address.
    pub(crate) opened_from: IpAddr,
    /// The room was opened then, or taken up after a restart.
    pub(crate) opened_at: Instant,
    stage: Stage,
    /// The room has changed its host so often.
    pub(crate) epoch: u32,
    origin: Origin,
    /// Its host has put somebody out for good, or ended all invites, so often: tickets of an earlier generation let nobody
    /// back in after a restart, and invites of one nobody at all.
    pub(crate) generation: u32,
    /// These are the players that may not come back.
    pub(crate) kicked: Kicked,
    /// These are wrong passwords that were tried, from the first one on.
    pub(crate) guesses: Option<Guesses>,
    /// This is what the members share.
    pub(crate) shared: Shared,
    /// The host has said yes to these players in a call: they come in without being asked about until then.
    pub(crate) invited: BTreeMap<PlayerId, Instant>,
    /// These invites serve once, by their numbers: until when each is good, in seconds since 1970, and whom it has let in.
    pub(crate) invites: BTreeMap<u32, (u32, Option<PlayerId>)>,
}

impl Room {
    /// Makes a room that the registry has not taken yet. The first of the `members` hosts it; it is opened from the
    /// address `from`.
    pub(crate) fn new(
        setup: Setup,
        members: Vec<PlayerInfo>,
        from: IpAddr,
        origin: Origin,
        now: Instant,
    ) -> Self {
        let (epoch, generation) = match origin {
            Origin::New => (0, 0),
            Origin::Ticket { epoch, generation } => (epoch, generation),
        };
        let options = RoomOptions { password: None, ..setup.options };
        Self {
            setup: Setup { options, ..setup },
            members,
            spectators: Vec::new(),
            // Members may know of somebody who was away before the restart.
            seat_news: origin != Origin::New,
            revision: 0,
            news: Bucket::full(ROOM_NEWS, now),
            texts: Bucket::of_any_rate(now),
            opened_from: from,
            opened_at: now,
            stage: Stage::Claimed,
            epoch,
            origin,
            generation,
            kicked: Kicked::default(),
            guesses: None,
            shared: Shared::new(origin == Origin::New, now),
            invited: BTreeMap::new(),
            invites: BTreeMap::new(),
        }
    }

    /// The registry has taken the room: players can find it from now on.
    pub(crate) fn open(&mut self) {
        self.stage = Stage::Open;
    }

    /// Returns whether the registry has taken the room.
    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Returns whether the room was made of a member's ticket after a restart of the server: whoever has a ticket
    /// belongs in.
    pub(crate) fn is_restored(&self) -> bool {
        self.origin != Origin::New
    }

    /// The host says anew how the room is; its name stays.
    pub(crate) fn set_options(&mut self, options: RoomOptions, password: Option<PasswordHash>) {
        let name = std::mem::take(&mut self.setup.options.name);
        self.shared.teams_are(&options.teams, &self.members);
        self.setup.options = RoomOptions { name, password: None, ..options };
        self.setup.password = password;
    }

    pub(crate) fn host(&self) -> PlayerId {
        self.members.first().map_or(PlayerId([0; 16]), |host| host.id)
    }

    pub(crate) fn has(&self, player: PlayerId) -> bool {
        self.members.iter().any(|member| member.id == player)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.players() >= usize::from(self.setup.options.capacity)
    }

    /// Counts the members that have a seat.
    pub(crate) fn players(&self) -> usize {
        self.members.len() - usize::from(!self.setup.options.seat).min(self.members.len())
    }

    /// Returns whether this player watches.
    pub(crate) fn is_watched_by(&self, player: PlayerId) -> bool {
        self.spectators.iter().any(|spectator| spectator.id == player)
    }

    /// Gives all who are inside: the members, the host first, and who watches.
    pub(crate) fn inside(&self) -> impl Iterator<Item = PlayerId> + '_ {
        self.members.iter().chain(&self.spectators).map(|player| player.id)
    }

    /// Returns the name of somebody who is inside.
    pub(crate) fn name_of(&self, player: PlayerId) -> Option<String> {
        let inside = self.members.iter().chain(&self.spectators);
        inside.filter(|other| other.id == player).map(|other| other.name.clone()).next()
    }

    /// Takes a player off the list that it is on.
    pub(crate) fn remove(&mut self, player: PlayerId) {
        self.members.retain(|member| member.id != player);
        self.spectators.retain(|spectator| spectator.id != player);
    }

    pub(crate) fn info(&self) -> RoomInfo {
        RoomInfo {
            id: self.setup.id,
            name: self.setup.options.name.clone(),
            code: self.setup.code.clone(),
            host: self.host(),
            capacity: self.setup.options.capacity,
            metadata: self.setup.options.metadata.clone(),
            public: self.setup.options.public,
            auto_allow: self.setup.options.auto_allow,
            migrate: self.setup.options.migrate,
            epoch: self.epoch,
            topology: self.setup.options.topology,
            locked: self.setup.options.locked,
            teams: self.setup.options.teams.clone(),
            seats: SeatTerms::of(&self.setup.options),
        }
    }

    /// Returns what a ticket says of it, besides who hosts it when.
    pub(crate) fn terms(&self) -> RoomTerms {
        RoomTerms {
            capacity: self.setup.options.capacity,
            public: self.setup.options.public,
            auto_allow: self.setup.options.auto_allow,
            migrate: self.setup.options.migrate,
            topology: self.setup.options.topology,
            password: self.setup.password.is_some(),
            seats: SeatTerms::of(&self.setup.options),
        }
    }

    pub(crate) fn location(&self, node: u64) -> RoomLocation {
        RoomLocation { node, room: self.setup.id }
    }

    /// Returns what listings show of it, as far as it is the room's own.
    pub(crate) fn summary(&self) -> RoomSummary {
        RoomSummary {
            name: self.setup.options.name.clone(),
            code: self.setup.code.clone(),
            host_name: self.members.first().map(|host| host.name.clone()).unwrap_or_default(),
            members: self.players() as u16,
            capacity: self.setup.options.capacity,
            password: self.setup.password.is_some(),
            metadata: self.setup.options.metadata.clone(),
            locked: self.setup.options.locked,
            protocol: self.setup.game_protocol,
            spectators: self.spectators.len() as u16,
            spectator_limit: self.setup.options.spectators,
            dedicated: !self.setup.options.seat,
            ..RoomSummary::default()
        }
    }

    /// Returns the parts of a snapshot of the members, and of the seats where there is anything to say of them.
    pub(crate) fn snapshot(&self, away: &[AwaySeat]) -> Vec<ToPlayer> {
        let parts = self.members.chunks(MEMBERS_PER_PART);
        let count = parts.len() as u8;
        let members = parts.enumerate().map(|(part, members)| ToPlayer::Members {
            room: self.setup.id,
            revision: self.revision,
            part: part as u8,
            parts: count,
            members: members.to_vec(),
        });
        members.chain(self.seats(away).into_iter().flatten()).collect()
    }

    fn seats(&self, away: &[AwaySeat]) -> Option<Vec<ToPlayer>> {
        if !self.seat_news {
            return None;
        }
        let longest = away.len().max(self.spectators.len());
        let parts = longest.div_ceil(MEMBERS_PER_PART).max(1);
        let part = |part: usize| ToPlayer::Seats {
            room: self.setup.id,
            revision: self.revision,
            part: part as u8,
            parts: parts as u8,
            away: away.chunks(MEMBERS_PER_PART).nth(part).unwrap_or_default().to_vec(),
            spectators: self.spectators.chunks(MEMBERS_PER_PART).nth(part).unwrap_or_default().to_vec(),
        };
        Some((0..parts).map(part).collect())
    }

    /// Returns whether this password opens the room.
    pub(crate) fn opens(&self, password: Option<&str>) -> bool {
        match (&self.setup.password, password) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(hash), Some(password)) => hash.matches(password),
        }
    }
}

/// This is a salted hash of a password; it is compared without an early exit.
#[derive(Clone)]
pub(crate) struct PasswordHash {
    salt: [u8; 16],
    hash: [u8; 32],
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl PasswordHash {
    pub(crate) fn new(password: &str, rng: &mut ChaCha20Rng) -> Self {
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        Self { salt, hash: Self::hash(&salt, password) }
    }

    /// Makes the hash of a password that nobody knows.
    pub(crate) fn unknown(rng: &mut ChaCha20Rng) -> Self {
        let (mut salt, mut hash) = ([0; 16], [0; 32]);
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut hash);
        Self { salt, hash }
    }

    fn hash(salt: &[u8; 16], password: &str) -> [u8; 32] {
        Sha256::new().chain_update(salt).chain_update(password).finalize().into()
    }

    fn matches(&self, password: &str) -> bool {
        same(&self.hash, &Self::hash(&self.salt, password))
    }
}

/// Draws a fresh code.
pub(crate) fn draw_code(rng: &mut ChaCha20Rng) -> String {
    draw_letters(rng, CODE_LENGTH)
}

/// Draws so many characters of those that codes are made of.
pub(crate) fn draw_letters(rng: &mut ChaCha20Rng, length: usize) -> String {
    (0..length).map(|_| char::from(CODE_ALPHABET[rng.next_u32() as usize % CODE_ALPHABET.len()])).collect()
}

/// Returns a code that a room had before, if it can have been one of ours.
pub(crate) fn former_code(code: &str) -> Option<String> {
    former_letters(code, CODE_LENGTH)
}

/// Returns a text as codes are compared, if it is a code of so many characters.
pub(crate) fn former_letters(code: &str, length: usize) -> Option<String> {
    let code = code_key(code);
    (code.len() == length && code.bytes().all(|byte| CODE_ALPHABET.contains(&byte))).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn codes_have_no_look_alikes_and_survive_a_restart() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        for _ in 0..500 {
            let code = draw_code(&mut rng);
            assert_eq!(code.len(), 6);
            assert!(!code.contains(['0', 'O', '1', 'I', 'L']));
            assert_eq!(former_code(&code.to_lowercase()).as_deref(), Some(code.as_str()));
        }
        assert_eq!(former_code("AAAAA"), None);
        assert_eq!(former_code("AAAA\0A"), None);
        assert_eq!(former_code("AAAAAAA"), None);
    }

    #[test]
    fn a_password_is_kept_as_a_salted_hash() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let one = PasswordHash::new("secret", &mut rng);
        let two = PasswordHash::new("secret", &mut rng);
        assert!(one.matches("secret") && two.matches("secret"));
        assert!(!one.matches("Secret") && !one.matches(""));
        assert_ne!(one.hash, two.hash);
        assert!(!format!("{one:?}").contains("secret"));
    }
}
