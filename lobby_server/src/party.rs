//! Parties: who is in one, who leads it, and what they wait for together. Pure: what follows from it is the dispatcher's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use traversal_core::id::{PartyId, PlayerId};
use traversal_core::wire::message::{
    MAX_PARTY, PartyInfo, PartyMember, PartyTicket, PlayerInfo, QuickMatch, RequestError,
};

use crate::limits::{Bucket, Rate};
use crate::registry::{RoomLocation, RoomRecord, Shown};
use crate::room::draw_letters;

/// The place of a member that is not there is kept for so long: as long as a seat by default.
pub(crate) const KEPT: Duration = Duration::from_secs(60);
/// The line is entered when all members are there, who are waited for so long: they may be on their way to this node.
pub(crate) const GATHERS: Duration = Duration::from_secs(15);
/// A party's code has so many characters: 30^10 are 590 billion, each of which is a guess at a few parties.
const CODE_LENGTH: usize = 10;
/// Members are told what changes at this rate; what comes faster is told together.
pub(crate) const PARTY_NEWS: Rate = Rate::new(2.0, 16.0);

/// This is a member.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) info: PlayerInfo,
    /// It is not there; its place is kept until then.
    pub(crate) away: Option<Instant>,
    /// These are its own numbers.
    pub(crate) numbers: BTreeMap<String, i32>,
}

impl Member {
    fn new(info: PlayerInfo) -> Self {
        Self { info, away: None, numbers: BTreeMap::new() }
    }
}

/// The party wants this quick match.
#[derive(Clone, Debug)]
pub(crate) struct PartyWish {
    pub(crate) wanted: QuickMatch,
    /// It is not in line yet: members are missing, and waited for until then.
    pub(crate) until: Option<Instant>,
}

/// This is a party that this node holds.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) id: PartyId,
    pub(crate) game: String,
    pub(crate) game_protocol: u32,
    pub(crate) code: String,
    pub(crate) most: u16,
    /// The leader is the first one; the others stand as they came.
    pub(crate) members: Vec<Member>,
    /// The members have changed so often.
    pub(crate) edition: u32,
    /// Anything has changed so often.
    pub(crate) revision: u32,
    pub(crate) wish: Option<PartyWish>,
    /// It was made of a ticket: one of a later edition says better who belongs to it.
    pub(crate) restored: bool,
    pub(crate) news: Bucket,
    /// The members have not been told of the last changes.
    pub(crate) untold: bool,
    /// The registry is to be told of it again then.
    pub(crate) claim_at: Option<Instant>,
}

impl Party {
    /// Makes a party that this player leads.
    pub(crate) fn new(
        (id, code, most): (PartyId, String, u16),
        (game, game_protocol): (String, u32),
        leader: PlayerInfo,
        now: Instant,
    ) -> Self {
        Self {
            id,
            game,
            game_protocol,
            code,
            most,
            members: vec![Member::new(leader)],
            edition: 1,
            revision: 0,
            wish: None,
            restored: false,
            news: Bucket::full(PARTY_NEWS, now),
            untold: false,
            claim_at: None,
        }
    }

    /// Takes the members and the size from a ticket; those who were known stay as they are, the others have yet to come.
    pub(crate) fn restore(&mut self, ticket: &PartyTicket, now: Instant) {
        let former = std::mem::take(&mut self.members);
        let member = |player: &PlayerId| {
            let known = former.iter().find(|member| member.info.id == *player).cloned();
            let unknown = || Member {
                away: Some(now + KEPT),
                ..Member::new(PlayerInfo { id: *player, name: String::new() })
            };
            known.unwrap_or_else(unknown)
        };
        self.members = ticket.members.iter().take(MAX_PARTY.into()).map(member).collect();
        (self.edition, self.most, self.restored) = (ticket.edition, ticket.most, true);
    }

    pub(crate) fn leader(&self) -> Option<PlayerId> {
        self.members.first().map(|member| member.info.id)
    }

    pub(crate) fn member(&mut self, player: PlayerId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.info.id == player)
    }

    pub(crate) fn has(&self, player: PlayerId) -> bool {
        self.members.iter().any(|member| member.info.id == player)
    }

    /// Gives the members who are there.
    pub(crate) fn present(&self) -> impl Iterator<Item = PlayerId> + '_ {
        self.members.iter().filter(|member| member.away.is_none()).map(|member| member.info.id)
    }

    /// Returns how many members there are.
    pub(crate) fn size(&self) -> u16 {
        self.members.len() as u16
    }

    /// Lets a player in.
    ///
    /// # Errors
    /// The party is full, or waits for a match.
    pub(crate) fn add(&mut self, info: PlayerInfo) -> Result<(), RequestError> {
        if self.size() >= self.most {
            return Err(RequestError::PartyFull { most: self.most });
        }
        if self.wish.is_some() {
            return Err(RequestError::PartyQueued);
        }
        self.members.push(Member::new(info));
        self.edition += 1;
        Ok(())
    }

    /// Takes a member out. Where it led, the first one leads who is there.
    pub(crate) fn remove(&mut self, player: PlayerId) -> bool {
        let led = self.leader() == Some(player);
        let before = self.members.len();
        self.members.retain(|member| member.info.id != player);
        if self.members.len() == before {
            return false;
        }
        self.edition += 1;
        if led && let Some(first) = self.members.iter().position(|member| member.away.is_none()) {
            self.members[..=first].rotate_right(1);
        }
        true
    }

    /// Has a member lead. False: it is none.
    pub(crate) fn lead(&mut self, player: PlayerId) -> bool {
        let found = self.members.iter().position(|member| member.info.id == player);
        if let Some(at) = found {
            self.members[..=at].rotate_right(1);
            self.edition += 1;
        }
        found.is_some()
    }

    /// Returns when the first place of a member that is away is free, or it is not waited for any more.
    pub(crate) fn next(&self) -> Option<Instant> {
        let away = self.members.iter().filter_map(|member| member.away);
        away.chain(self.wish.as_ref().and_then(|wish| wish.until)).chain(self.claim_at).min()
    }

    /// Returns what members are told.
    pub(crate) fn info(&self) -> PartyInfo {
        let member = |member: &Member| PartyMember { info: member.info.clone(), away: member.away.is_some() };
        PartyInfo {
            id: self.id,
            code: self.code.clone(),
            most: self.most,
            revision: self.revision,
            members: self.members.iter().map(member).collect(),
            queued: self.wish.is_some(),
        }
    }

    /// Returns what the registry knows of it: by its code other nodes find it.
    pub(crate) fn record(&self, node: u64) -> RoomRecord {
        let (name, code) = (self.id.0.to_string(), self.code.clone());
        let shown = Shown {
            summary: traversal_core::wire::message::RoomSummary { name, code, ..Default::default() },
            ..Shown::default()
        };
        RoomRecord {
            location: self.location(node),
            epoch: 0,
            game: registered(&self.game),
            public: false,
            shown,
        }
    }

    pub(crate) fn location(&self, node: u64) -> RoomLocation {
        RoomLocation { node, room: traversal_core::id::RoomId(self.id.0) }
    }
}

/// Returns the name under which the registry has a game's parties, which no game can have: parties and rooms have codes of their own.
pub(crate) fn registered(game: &str) -> String {
    format!("{game}\nparties")
}

/// Draws a code.
pub(crate) fn draw_code(rng: &mut ChaCha20Rng) -> String {
    draw_letters(rng, CODE_LENGTH)
}

/// Returns a code that a party had before, if it can have been one of ours.
pub(crate) fn former_code(code: &str) -> Option<String> {
    crate::room::former_letters(code, CODE_LENGTH)
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn info(n: u8) -> PlayerInfo {
        PlayerInfo { id: PlayerId([n; 16]), name: format!("P{n}") }
    }

    fn party(most: u16) -> Party {
        let code = draw_code(&mut ChaCha20Rng::from_seed([1; 32]));
        Party::new((PartyId(7), code, most), ("game".into(), 1), info(1), Instant::now())
    }

    fn ids(party: &Party) -> Vec<u8> {
        party.members.iter().map(|member| member.info.id.0[0]).collect()
    }

    #[test]
    fn the_first_who_is_there_leads_after_the_leader() {
        let mut party = party(4);
        for n in 2..=4 {
            assert_eq!(party.add(info(n)), Ok(()));
        }
        assert_eq!(party.add(info(5)), Err(RequestError::PartyFull { most: 4 }));
        party.member(info(2).id).unwrap().away = Some(Instant::now());
        assert!(party.remove(info(1).id) && !party.remove(info(1).id));
        assert_eq!(ids(&party), [3, 2, 4]);
        assert!(party.lead(info(4).id) && !party.lead(info(9).id));
        assert_eq!(ids(&party), [4, 3, 2]);
        party.wish = Some(PartyWish { wanted: QuickMatch::default(), until: None });
        assert_eq!(party.add(info(5)), Err(RequestError::PartyQueued));
    }

    #[test]
    fn a_ticket_says_who_belongs_to_it_and_who_is_there_stays() {
        let (mut party, now) = (party(4), Instant::now());
        let members = vec![info(2).id, info(1).id];
        let ticket =
            PartyTicket { party: PartyId(7), members, edition: 9, most: 3, until_s: 0, seal: [0; 16] };
        party.restore(&ticket, now);
        assert_eq!((ids(&party), party.edition, party.most), (vec![2, 1], 9, 3));
        assert_eq!(party.present().collect::<Vec<_>>(), [info(1).id]);
        assert_eq!(party.next(), Some(now + KEPT));
    }

    #[test]
    fn codes_are_long_and_written_as_they_come() {
        let code = draw_code(&mut ChaCha20Rng::from_seed([3; 32]));
        assert_eq!(code.len(), 10);
        let split = format!("{} - {}", &code[..5], &code[5..]).to_lowercase();
        assert_eq!(former_code(&split), Some(code));
        assert_eq!(former_code("K7PX2M"), None);
        assert_ne!(registered("a"), registered("a\nparties"));
    }
}
