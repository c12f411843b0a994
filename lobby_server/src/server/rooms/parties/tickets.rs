//! The way back into a party: tickets that the server has sealed, and what the registry says of who holds the party.

use std::net::SocketAddr;

use traversal_core::Identity;
use traversal_core::id::{PartyId, PlayerId};
use traversal_core::wire::message::{
    MAX_PARTY, PartyEnd, PartyNews, PartyTicket, PlayerInfo, RequestError, Response, ToPlayer,
};
use traversal_core::wire::secret::same;

use super::{Others, Rooms};
use crate::ids::Asker;
use crate::kicked::OUT;
use crate::party::{self, Party};
use crate::registry::{RegistryOperation, RegistryReply, RoomSite};
use crate::server::rooms::elsewhere::SEARCH_AGAIN;
use crate::server::rooms::wishes::Pending;
use crate::server::timers::Timer;

/// Keeps tickets apart from whatever else the server's key may sign.
const PURPOSE: &[u8] = b"bevy_traversal party ticket 1";

/// Makes the seal of the server with this identity. It covers the members, so it is good for each of them and for nobody else.
fn seal(server: &Identity, [game, code]: [&str; 2], protocol: u32, ticket: &PartyTicket) -> Option<[u8; 16]> {
    let mut content = Vec::new();
    for text in [game, code] {
        content.extend_from_slice(&(text.len() as u64).to_le_bytes());
        content.extend_from_slice(text.as_bytes());
    }
    let PartyTicket { party, members, edition, most, until_s, seal: _ } = ticket;
    content.extend_from_slice(&protocol.to_le_bytes());
    content.extend_from_slice(&party.0.to_le_bytes());
    content.extend_from_slice(&edition.to_le_bytes());
    content.extend_from_slice(&most.to_le_bytes());
    content.extend_from_slice(&until_s.to_le_bytes());
    content.extend(members.iter().flat_map(|member| member.0));
    server.mac(PURPOSE, &content)
}

impl Rooms {
    /// Gives all members who are there the right to come back.
    pub(super) fn tell_party_tickets(&mut self, others: &mut Others<'_>, id: PartyId) {
        let Some(party) = self.parties.all.get(&id) else { return };
        let until_s = others.cx.time_of_day().map_or(u64::MAX, |seconds| seconds + OUT.as_secs());
        let members = party.members.iter().map(|member| member.info.id).collect();
        let (edition, most) = (party.edition, party.most);
        let blank = PartyTicket { party: id, members, edition, most, until_s, seal: [0; 16] };
        let texts = [party.game.as_str(), party.code.as_str()];
        let sealed = seal(others.roster.identity(), texts, party.game_protocol, &blank);
        let (Some(seal), present) = (sealed, party.present().collect::<Vec<PlayerId>>()) else { return };
        let ticket = PartyTicket { seal, ..blank };
        for player in present {
            others.tell(player, ToPlayer::Party(PartyNews::Ticket(ticket.clone())));
        }
    }

    /// A player is in its party still, in a new session. Where nobody knows the party any more it is made anew.
    pub(super) fn resume_party(
        &mut self,
        others: &mut Others<'_>,
        asker: Asker,
        ticket: PartyTicket,
        code: &str,
    ) -> Result<Option<Response>, RequestError> {
        let (player, now) = (asker.player, others.cx.now);
        let client = others.roster.client(asker.session).ok_or(RequestError::NoSuchPlayer)?;
        let login = client.login();
        let (game, protocol) = (String::from(login.game()), login.game_protocol);
        let info = PlayerInfo { id: player, name: String::from(login.name()) };
        let code = party::former_code(code).ok_or(RequestError::BadTicket)?;
        let sealed = seal(others.roster.identity(), [&game, &code], protocol, &ticket);
        let fits = sealed.is_some_and(|sealed| same(&sealed, &ticket.seal));
        let late = others.cx.time_of_day().is_some_and(|seconds| ticket.until_s < seconds);
        let members = &ticket.members;
        let sound = (1..=usize::from(MAX_PARTY)).contains(&members.len()) && members.contains(&player);
        if !fits || late || !sound {
            return Err(RequestError::BadTicket);
        }
        if self.parties.of.get(&player).is_some_and(|of| *of != ticket.party) {
            return Err(RequestError::AlreadyInParty);
        }
        let id = ticket.party;
        let Some(party) = self.parties.all.get_mut(&id) else {
            let mut party = Party::new((id, code, ticket.most), (game, protocol), info, now);
            party.restore(&ticket, now);
            self.parties.all.insert(id, party);
            self.parties.of.insert(player, id);
            self.ask_for_party(others, id, Some(asker));
            return Ok(None);
        };
        if party.restored && party.edition < ticket.edition {
            // Somebody with an older ticket was faster.
            party.restore(&ticket, now);
            self.put_out_who_is_no_member(others, id);
            self.set_code(others, id, code);
        }
        let Some(member) = self.parties.all.get_mut(&id).and_then(|party| party.member(player)) else {
            return Err(RequestError::NoSuchParty);
        };
        let news = member.away.is_some() || member.info != info;
        (member.away, member.info) = (None, info);
        self.parties.of.insert(player, id);
        if news {
            self.party_changed(others, id);
        } else {
            self.tell_party_tickets(others, id);
        }
        self.party_is_there(others, id);
        Ok(Some(Response::Done))
    }

    /// A later ticket does not name these any more.
    fn put_out_who_is_no_member(&mut self, others: &mut Others<'_>, id: PartyId) {
        let Some(party) = self.parties.all.get(&id) else { return };
        let of_party = self.parties.of.iter().filter(|(_, of)| **of == id).map(|(player, _)| *player);
        for player in of_party.filter(|player| !party.has(*player)).collect::<Vec<_>>() {
            self.parties.of.remove(&player);
            let why = PartyEnd::Kicked;
            others.tell(player, ToPlayer::Party(PartyNews::Ended { party: id, why }));
        }
    }

    /// Tells the registry that the party is here, under its code.
    pub(super) fn claim_party(&mut self, others: &mut Others<'_>, id: PartyId) {
        self.ask_for_party(others, id, None);
    }

    fn ask_for_party(&mut self, others: &mut Others<'_>, id: PartyId, asker: Option<Asker>) {
        if let Some(party) = self.parties.all.get(&id) {
            let record = party.record(others.cx.config.node);
            self.ask_registry(others, RegistryOperation::Claim(record), Pending::ClaimParty(id, asker));
        }
    }

    /// The registry has said whether the party is here. `asker` waits for that.
    pub(in crate::server::rooms) fn party_claimed(
        &mut self,
        others: &mut Others<'_>,
        (id, asker): (PartyId, Option<Asker>),
        reply: Option<RegistryReply>,
    ) {
        let result = match reply {
            _ if !self.parties.all.contains_key(&id) => Err(RequestError::NoSuchParty),
            Some(RegistryReply::Held(site)) => return self.party_is_at(others, id, asker, &site),
            Some(RegistryReply::CodeTaken | RegistryReply::NameTaken(_)) => {
                // Hardly ever: another one drew the same code.
                self.recode(others, id);
                Ok(Response::Done)
            }
            Some(RegistryReply::Claimed) => Ok(Response::Done),
            // Those who are here have their party; others find it when the registry is back.
            _ => {
                let at = others.cx.now + SEARCH_AGAIN.saturating_mul(4);
                if let Some(party) = self.parties.all.get_mut(&id) {
                    party.claim_at = Some(at);
                }
                others.cx.timers.set_earlier(Timer::Party(id), at);
                Ok(Response::Done)
            }
        };
        let Some(asker) = asker else { return };
        others.respond(asker, result);
        self.party_changed(others, id);
        self.party_is_there(others, id);
    }

    /// The party is at another node: those who are here go there, if they are in no room.
    fn party_is_at(&mut self, others: &mut Others<'_>, id: PartyId, asker: Option<Asker>, site: &RoomSite) {
        let Some(party) = self.parties.all.remove(&id) else { return };
        others.cx.timers.set(Timer::Party(id), None);
        self.parties.of.retain(|_, of| *of != id);
        if let Some(asker) = asker {
            self.send_to_party(others, asker, site);
        }
        let asking = asker.map(|asker| asker.player);
        for player in party.present().filter(|player| Some(*player) != asking) {
            if others.roster.may_seek_room(player).is_ok() {
                others.tell(player, ToPlayer::GoTo(site.addresses.clone()));
            }
        }
    }

    /// Another node has the party, or the registry has lost it and is told of it again.
    pub(in crate::server::rooms) fn party_lost(
        &mut self,
        others: &mut Others<'_>,
        id: PartyId,
        site: Option<&RoomSite>,
    ) {
        match site {
            Some(site) => self.party_is_at(others, id, None, site),
            None => self.claim_party(others, id),
        }
    }

    /// All of a party go to another node, where they make it anew by their tickets.
    pub(super) fn move_party(&mut self, others: &mut Others<'_>, id: PartyId, to: &[SocketAddr]) {
        let Some(party) = self.parties.all.get(&id) else { return };
        let present: Vec<PlayerId> = party.present().collect();
        self.release_party(others, id);
        for player in present {
            others.cx.counters.sent_elsewhere += 1;
            others.tell(player, ToPlayer::GoTo(to.to_vec()));
        }
    }

    /// This node ends: the registry lets go of its parties, which their members make anew elsewhere.
    pub(in crate::server::rooms) fn let_parties_go(&mut self, others: &mut Others<'_>) {
        for id in self.parties.all.keys().copied().collect::<Vec<_>>() {
            // The leader asks for its match again where it is then.
            let party = self.parties.all.get_mut(&id);
            let waits = party.and_then(|party| party.wish.take().and(party.leader()));
            if let Some(leader) = waits {
                self.out_of_line(others, leader);
            }
            self.release_party(others, id);
        }
    }
}
