//! Parties: who comes into one and goes out of it. `searching` finds the one that a player wants to enter, `tickets` has the way
//! back after a new login, `queueing` what their leaders wait for with all of them.
//!
//! A party lives at one node, as a room does, and its members are logged in there: who asks another node for it is sent there. It
//! is there as long as one of its members is; after that its members' tickets make it anew, wherever they meet.

mod queueing;
mod searching;
mod tickets;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use traversal_core::id::{PartyId, PlayerId};
use traversal_core::wire::message::{
    MAX_ATTRIBUTES, MAX_PARTY, PartyEnd, PartyNews, PartyRequest, PlayerInfo, RequestError, Response,
    ToPlayer,
};

use super::wishes::Pending;
use super::{Others, Rooms};
use crate::ids::{Asker, SessionId};
use crate::party::{self, KEPT, PARTY_NEWS, Party};
use crate::registry::RegistryOperation;
use crate::server::timers::Timer;
pub(super) use searching::PartySearch;

/// This has the parties of this node.
#[derive(Debug, Default)]
pub(super) struct Parties {
    all: BTreeMap<PartyId, Party>,
    /// These players are in these parties, there or away; of those whom a ticket names only who has come.
    of: BTreeMap<PlayerId, PartyId>,
    /// These look for a party again then, whose node is perhaps gone.
    again: Vec<(Instant, PartySearch)>,
}

impl Parties {
    /// Returns the party that a player is in.
    fn of_player(&self, player: PlayerId) -> Option<&Party> {
        self.all.get(self.of.get(&player)?)
    }

    /// Returns the other members' and the player's own ids, if it is in a party: those who are there.
    pub(super) fn members(&self, player: PlayerId) -> Vec<PlayerId> {
        self.of_player(player).map(|party| party.present().collect()).unwrap_or_default()
    }

    /// Returns the code of the party that a player is in.
    pub(super) fn code(&self, player: PlayerId) -> Option<String> {
        self.of_player(player).map(|party| party.code.clone())
    }
}

impl Rooms {
    /// Returns who is there of the party that a player is in, the player among them; empty: it is in none.
    pub(crate) fn party_members(&self, player: PlayerId) -> Vec<PlayerId> {
        self.parties.members(player)
    }

    /// Returns the code of the party that a player is in, and that may be told to those whom it invites.
    pub(crate) fn party_code(&self, player: PlayerId) -> Option<String> {
        self.parties.code(player)
    }

    /// Answers what a player asks about its party.
    pub(super) fn party_request(
        &mut self,
        others: &mut Others<'_>,
        asker: Asker,
        request: PartyRequest,
    ) -> Result<Option<Response>, RequestError> {
        let player = asker.player;
        if others.roster.session_of(player) != Some(asker.session) {
            return Err(RequestError::NoSuchPlayer);
        }
        match request {
            PartyRequest::Create { most } => self.create_party(others, asker, most)?,
            PartyRequest::Join { code } => return self.join_party(others, asker, code).map(|()| None),
            PartyRequest::Resume { ticket, code } => {
                return self.resume_party(others, asker, ticket, &code);
            }
            PartyRequest::Leave => {
                let id = self.party_of(player)?;
                self.take_out_of_party(others, id, player, Some(PartyEnd::Left));
            }
            PartyRequest::Kick { player: member } => {
                let id = self.led_party(player)?;
                if member == player || !self.parties.all.get(&id).is_some_and(|party| party.has(member)) {
                    return Err(RequestError::NoSuchPlayer);
                }
                self.take_out_of_party(others, id, member, Some(PartyEnd::Kicked));
                self.recode(others, id);
            }
            PartyRequest::Lead { player: member } => {
                let id = self.led_party(player)?;
                self.call_off(others, id, RequestError::PartyRefused, Some(player));
                let party = self.parties.all.get_mut(&id).filter(|party| party.has(member));
                party.ok_or(RequestError::NoSuchPlayer)?.lead(member);
                self.party_changed(others, id);
            }
            PartyRequest::Disband => {
                let id = self.led_party(player)?;
                self.call_off(others, id, RequestError::PartyRefused, Some(player));
                self.end_party(others, id, PartyEnd::Disbanded);
            }
            PartyRequest::Numbers(numbers) => {
                if numbers.len() > MAX_ATTRIBUTES || numbers.keys().any(|name| name.len() > 24) {
                    let what = "numbers (at most 8, with names of at most 24 bytes)".into();
                    return Err(RequestError::Malformed { what });
                }
                let id = self.party_of(player)?;
                if let Some(member) = self.parties.all.get_mut(&id).and_then(|party| party.member(player)) {
                    member.numbers = numbers;
                }
            }
            _ => return Err(RequestError::Malformed { what: "request".into() }),
        }
        Ok(Some(Response::Done))
    }

    /// Returns how many messages to others a request about a party may cause at the most.
    pub(super) fn effects_of_party(&self, player: PlayerId, request: &PartyRequest) -> f64 {
        let own = 2.0 * self.parties.members(player).len() as f64;
        match request {
            // The party is not known yet.
            PartyRequest::Join { .. } | PartyRequest::Resume { .. } => 2.0 * f64::from(MAX_PARTY),
            PartyRequest::Numbers(_) => 0.0,
            _ => 4.0 + own,
        }
    }

    fn party_of(&self, player: PlayerId) -> Result<PartyId, RequestError> {
        self.parties.of.get(&player).copied().ok_or(RequestError::NotInParty)
    }

    /// Returns the party that a player leads.
    fn led_party(&self, player: PlayerId) -> Result<PartyId, RequestError> {
        let party = self.parties.of_player(player).ok_or(RequestError::NotInParty)?;
        (party.leader() == Some(player)).then_some(party.id).ok_or(RequestError::NotPartyLeader)
    }

    /// Checks whether a player may come into a party now.
    fn may_seek_party(&self, player: PlayerId) -> Result<(), RequestError> {
        if self.parties.of.contains_key(&player) {
            return Err(RequestError::AlreadyInParty);
        }
        if self.queues.has(player) {
            return Err(RequestError::AlreadyQueued);
        }
        Ok(())
    }

    fn create_party(&mut self, others: &mut Others<'_>, asker: Asker, most: u16) -> Result<(), RequestError> {
        self.may_seek_party(asker.player)?;
        if !(2..=MAX_PARTY).contains(&most) {
            return Err(RequestError::Malformed { what: "size of a party (2 to 16)".into() });
        }
        let client = others.roster.client(asker.session).ok_or(RequestError::NoSuchPlayer)?;
        let login = client.login();
        let game = (String::from(login.game()), login.game_protocol);
        let leader = PlayerInfo { id: asker.player, name: String::from(login.name()) };
        let mut id = PartyId(others.cx.rng.next_u64());
        while self.parties.all.contains_key(&id) {
            id = PartyId(others.cx.rng.next_u64());
        }
        let code = party::draw_code(&mut others.cx.rng);
        self.parties.all.insert(id, Party::new((id, code, most), game, leader, others.cx.now));
        self.parties.of.insert(asker.player, id);
        self.claim_party(others, id);
        self.party_changed(others, id);
        Ok(())
    }

    fn enter_party(
        &mut self,
        others: &mut Others<'_>,
        asker: Asker,
        id: PartyId,
    ) -> Result<(), RequestError> {
        self.may_seek_party(asker.player)?;
        let client = others.roster.client(asker.session).ok_or(RequestError::NoSuchPlayer)?;
        let (login, player) = (client.login(), asker.player);
        let info = PlayerInfo { id: player, name: String::from(login.name()) };
        let party = self.parties.all.get_mut(&id).filter(|party| party.game == login.game());
        let party = party.ok_or(RequestError::NoSuchParty)?;
        if party.game_protocol != login.game_protocol {
            let (room, yours) = (party.game_protocol, login.game_protocol);
            return Err(RequestError::OtherVersion { room, yours });
        }
        if let Some(member) = party.member(player) {
            // Its place was kept.
            (member.away, member.info) = (None, info);
        } else {
            party.add(info)?;
        }
        self.parties.of.insert(player, id);
        self.party_changed(others, id);
        Ok(())
    }

    /// A member goes out for good; it is told why, and the others that it is out. What they wait for together is over.
    fn take_out_of_party(
        &mut self,
        others: &mut Others<'_>,
        id: PartyId,
        player: PlayerId,
        why: Option<PartyEnd>,
    ) {
        let leaves_itself = why == Some(PartyEnd::Left);
        let missing = RequestError::PartyIncomplete { missing: 1 };
        self.call_off(others, id, missing, leaves_itself.then_some(player));
        let Some(party) = self.parties.all.get_mut(&id) else { return };
        if !party.remove(player) {
            return;
        }
        if self.parties.of.get(&player) == Some(&id) {
            self.parties.of.remove(&player);
            if let Some(why) = why {
                others.tell(player, ToPlayer::Party(PartyNews::Ended { party: id, why }));
            }
        }
        self.party_changed(others, id);
    }

    /// The members are others, or stand in another order: they are told, and get new tickets. A party in which nobody is there
    /// is let go: a ticket makes it anew.
    fn party_changed(&mut self, others: &mut Others<'_>, id: PartyId) {
        if self.parties.all.get(&id).is_some_and(|party| party.present().next().is_none()) {
            return self.release_party(others, id);
        }
        self.tell_party_tickets(others, id);
        self.tell_party(others, id);
    }

    /// Tells the members how the party is: at once, or where that changes faster than is of use, some changes at a time.
    fn tell_party(&mut self, others: &mut Others<'_>, id: PartyId) {
        let now = others.cx.now;
        let Some(party) = self.parties.all.get_mut(&id) else { return };
        party.revision += 1;
        party.untold = true;
        self.set_party_timer(others, id);
        if self.parties.all.get_mut(&id).is_some_and(|party| party.news.take(PARTY_NEWS, now)) {
            self.tell_party_now(others, id);
        }
    }

    fn tell_party_now(&mut self, others: &mut Others<'_>, id: PartyId) {
        let Some(party) = self.parties.all.get_mut(&id) else { return };
        party.untold = false;
        let (info, present): (_, Vec<PlayerId>) = (party.info(), party.present().collect());
        for player in present {
            others.tell(player, ToPlayer::Party(PartyNews::State(info.clone())));
        }
        self.set_party_timer(others, id);
    }

    fn set_party_timer(&self, others: &mut Others<'_>, id: PartyId) {
        let Some(party) = self.parties.all.get(&id) else {
            return others.cx.timers.set(Timer::Party(id), None);
        };
        let told = Duration::from_secs_f64(1.0 / PARTY_NEWS.per_second);
        let untold = party.untold.then(|| others.cx.now + told);
        others.cx.timers.set(Timer::Party(id), [party.next(), untold].into_iter().flatten().min());
    }

    /// Something of a party is due: a place is kept no longer, members are waited for no longer, or there is news to tell.
    pub(crate) fn party_timeout(&mut self, others: &mut Others<'_>, id: PartyId) {
        let now = others.cx.now;
        let Some(party) = self.parties.all.get_mut(&id) else { return };
        let late = |member: &&party::Member| member.away.is_some_and(|until| until <= now);
        let late: Vec<PlayerId> = party.members.iter().filter(late).map(|member| member.info.id).collect();
        if party.claim_at.take_if(|at| *at <= now).is_some() {
            self.claim_party(others, id);
        }
        let Some(party) = self.parties.all.get_mut(&id) else { return };
        let waited = party.wish.as_ref().is_some_and(|wish| wish.until.is_some_and(|until| until <= now));
        let there = party.present().filter(|player| others.roster.may_seek_room(*player).is_ok());
        let missing = party.size() - there.count() as u16;
        if party.untold && party.news.take(PARTY_NEWS, now) {
            self.tell_party_now(others, id);
        }
        if waited {
            self.call_off(others, id, RequestError::PartyIncomplete { missing }, None);
        }
        for player in late {
            self.take_out_of_party(others, id, player, Some(PartyEnd::Away));
        }
        self.set_party_timer(others, id);
    }

    /// A session is over: its player's place in its party is kept for a while.
    pub(super) fn gone_from_party(&mut self, others: &mut Others<'_>, player: PlayerId) {
        let Some(id) = self.parties.of.get(&player).copied() else { return };
        self.call_off(others, id, RequestError::PartyIncomplete { missing: 1 }, Some(player));
        let now = others.cx.now;
        let Some(party) = self.parties.all.get_mut(&id) else { return };
        if let Some(member) = party.member(player) {
            member.away = Some(now + KEPT);
        }
        if party.present().next().is_none() {
            self.release_party(others, id);
        } else {
            self.tell_party(others, id);
        }
    }

    /// A player has logged in anew, with its party as before, and hears how that is: it may be a game that was started again.
    pub(crate) fn party_logged_in(&mut self, others: &mut Others<'_>, session: SessionId, player: PlayerId) {
        let Some(id) = self.parties.of.get(&player).copied() else { return };
        let Some(client) = others.roster.client(session) else { return };
        let same = |party: &Party| {
            party.game == client.login().game() && party.game_protocol == client.login().game_protocol
        };
        let name = String::from(client.login().name());
        if !self.parties.all.get(&id).is_some_and(same) {
            return self.take_out_of_party(others, id, player, None);
        }
        if let Some(member) = self.parties.all.get_mut(&id).and_then(|party| party.member(player)) {
            (member.info.name, member.away) = (name, None);
        }
        self.tell_party_tickets(others, id);
        self.tell_party(others, id);
        self.party_waits_on(others, player);
    }

    /// Ends a party for all who are in it.
    fn end_party(&mut self, others: &mut Others<'_>, id: PartyId, why: PartyEnd) {
        let Some(party) = self.parties.all.get(&id) else { return };
        for player in party.present().collect::<Vec<_>>() {
            others.tell(player, ToPlayer::Party(PartyNews::Ended { party: id, why }));
        }
        self.release_party(others, id);
    }

    /// Forgets a party, here and in the registry.
    fn release_party(&mut self, others: &mut Others<'_>, id: PartyId) {
        let Some(party) = self.parties.all.remove(&id) else { return };
        others.cx.timers.set(Timer::Party(id), None);
        self.parties.of.retain(|_, of| *of != id);
        let location = party.location(others.cx.config.node);
        let (game, name) = (party::registered(&party.game), id.0.to_string());
        self.ask_registry(others, RegistryOperation::Release { game, location, name }, Pending::Nothing);
    }

    /// Gives a party another code, since somebody who knows the old one is not to come back.
    fn recode(&mut self, others: &mut Others<'_>, id: PartyId) {
        let code = party::draw_code(&mut others.cx.rng);
        self.set_code(others, id, code);
        if let Some(party) = self.parties.all.get_mut(&id) {
            party.edition += 1;
        }
        self.party_changed(others, id);
    }

    /// The party has this code from now on, and is found by no other one.
    fn set_code(&mut self, others: &mut Others<'_>, id: PartyId, code: String) {
        let Some(party) = self.parties.all.get_mut(&id).filter(|party| party.code != code) else { return };
        party.code = code;
        let location = party.location(others.cx.config.node);
        let (game, name) = (party::registered(&party.game), id.0.to_string());
        self.ask_registry(others, RegistryOperation::Release { game, location, name }, Pending::Nothing);
        self.claim_party(others, id);
    }
}
