//! A party waits for a quick match: its leader asks, all of it stand in line as one, and all of it play or nobody.

use traversal_core::id::{PartyId, PlayerId};
use traversal_core::wire::message::{QuickMatch, RequestError, Response, ToPlayer};

use super::{Others, Rooms};
use crate::party::{GATHERS, PartyWish};
use crate::queue::{Comer, QueueKey, Unit};
use crate::server::refusals::Refusal;

impl Rooms {
    /// Returns the party that a player is in with others, or alone.
    pub(in crate::server::rooms) fn party_id(&self, player: PlayerId) -> Option<PartyId> {
        self.parties.of.get(&player).copied()
    }

    /// The leader of a party wants a quick match for all.
    pub(in crate::server::rooms) fn quick_match_of_party(
        &mut self,
        others: &mut Others<'_>,
        leader: PlayerId,
        wanted: QuickMatch,
    ) -> Result<Response, RequestError> {
        let id = self.led_party(leader)?;
        let Some(party) = self.parties.all.get(&id) else { return Err(RequestError::NotInParty) };
        if let Some(wish) = &party.wish {
            // It asks again after a new login.
            if wish.wanted == wanted {
                self.tell_place(others, leader);
                return Ok(Response::Done);
            }
            return Err(RequestError::AlreadyQueued);
        }
        if party.size() > wanted.players {
            return Err(RequestError::PartyTooLarge { size: party.size(), players: wanted.players });
        }
        let in_rooms = |player: &PlayerId| others.roster.may_seek_room(*player).is_err();
        let missing = party.present().filter(in_rooms).count() as u16;
        if missing > 0 {
            return Err(RequestError::PartyIncomplete { missing });
        }
        let limit = others.cx.config.max_queued_per_address;
        let full = |player| {
            others.roster.client_of(player).is_some_and(|client| {
                self.queues.is_full(client.ip(), limit)
                    || !self.leave_limit.would_allow(client.ip(), others.cx.now)
            })
        };
        if party.present().any(full) {
            others.cx.counters.limit(Refusal::QueueOfAddress);
            return Err(RequestError::Limited { retry_after_s: 30 });
        }
        let until = Some(others.cx.now + GATHERS);
        if let Some(party) = self.parties.all.get_mut(&id) {
            party.wish = Some(PartyWish { wanted, until });
        }
        self.tell_party(others, id);
        self.party_is_there(others, id);
        Ok(Response::Done)
    }

    /// Puts a party in line that wants a match, if all of it are there.
    pub(super) fn party_is_there(&mut self, others: &mut Others<'_>, id: PartyId) {
        let Some(party) = self.parties.all.get_mut(&id) else { return };
        let ready = party.members.iter().all(|member| {
            let player = member.info.id;
            member.away.is_none() && others.roster.may_seek_room(player).is_ok() && !self.queues.has(player)
        });
        let Some(wish) = party.wish.as_mut().filter(|wish| ready && wish.until.is_some()) else { return };
        wish.until = None;
        let wanted = wish.wanted.clone();
        let key = QueueKey::of(&party.game, party.game_protocol, &wanted);
        let numbers = |player: PlayerId, party: &crate::party::Party| -> Vec<i32> {
            let own = party.members.iter().find(|member| member.info.id == player);
            let own = own.map(|member| &member.numbers);
            // Who says nothing of itself counts as the leader says.
            let number = |rule: &traversal_core::wire::message::NumberRule| {
                own.and_then(|own| own.get(&rule.name)).copied().unwrap_or(rule.value)
            };
            wanted.rules.numbers.iter().map(number).collect()
        };
        let players: Vec<PlayerId> = party.members.iter().map(|member| member.info.id).collect();
        let mut comers = players.iter().filter_map(|player| {
            Some(Comer {
                player: *player,
                from: others.roster.client_of(*player)?.ip(),
                nat: others.roster.host_candidate(others.cx, *player),
                numbers: numbers(*player, party),
            })
        });
        let Some(first) = comers.next() else { return };
        let unit = Unit { first, mates: comers.collect() };
        for player in &players {
            if others.roster.room_of(*player).is_some() {
                // Of an earlier session, and not wanted any more.
                self.leave_former(others, *player);
            }
        }
        self.stand_in_line(others, unit, (&key, &wanted));
        self.set_party_timer(others, id);
    }

    /// What a party waits for is over: all but `but` are told why.
    pub(in crate::server::rooms) fn call_off(
        &mut self,
        others: &mut Others<'_>,
        id: PartyId,
        why: RequestError,
        but: Option<PlayerId>,
    ) {
        let Some(party) = self.parties.all.get_mut(&id) else { return };
        if party.wish.take().is_none() {
            return;
        }
        let present: Vec<PlayerId> = party.present().collect();
        let waits = present.iter().copied().find(|player| self.queues.has(*player));
        for player in present.into_iter().filter(|player| Some(*player) != but) {
            others.tell(player, ToPlayer::QueueClosed(why.clone()));
        }
        if let Some(player) = waits {
            self.out_of_line(others, player);
        }
        self.tell_party(others, id);
    }

    /// A player has left the line, or refuses a match, and its party with it: the others are told why.
    pub(in crate::server::rooms) fn party_leaves_line(
        &mut self,
        others: &mut Others<'_>,
        player: PlayerId,
        why: RequestError,
    ) {
        if let Some(id) = self.party_id(player) {
            self.call_off(others, id, why, Some(player));
        }
    }

    /// Returns whether a player's party wants a match, be it in line or not.
    pub(in crate::server::rooms) fn party_wants(&self, player: PlayerId) -> bool {
        let party = self.party_id(player).and_then(|id| self.parties.all.get(&id));
        party.is_some_and(|party| party.wish.is_some())
    }

    /// A party is in a room of its match: it waits no longer.
    pub(in crate::server::rooms) fn party_is_matched(&mut self, others: &mut Others<'_>, player: PlayerId) {
        let Some(id) = self.party_id(player) else { return };
        let Some(party) = self.parties.all.get_mut(&id) else { return };
        if party.wish.take().is_some() {
            self.tell_party(others, id);
        }
    }

    /// A member has a new session: it left the line with the old one, and comes back into it with its party.
    pub(super) fn party_waits_on(&mut self, others: &mut Others<'_>, player: PlayerId) {
        let Some(id) = self.party_id(player) else { return };
        let until = others.cx.now + GATHERS;
        let Some(wish) = self.parties.all.get_mut(&id).and_then(|party| party.wish.as_mut()) else { return };
        wish.until = Some(until);
        self.out_of_line(others, player);
        self.party_is_there(others, id);
    }

    /// A party goes to the node at which those meet who want the same. Returns false where the player is in none.
    pub(in crate::server::rooms) fn party_goes(
        &mut self,
        others: &mut Others<'_>,
        player: PlayerId,
        to: &[std::net::SocketAddr],
    ) -> bool {
        let Some(id) = self.party_id(player) else { return false };
        if let Some(party) = self.parties.all.get_mut(&id) {
            party.wish = None;
        }
        self.out_of_line(others, player);
        self.move_party(others, id, to);
        true
    }
}
