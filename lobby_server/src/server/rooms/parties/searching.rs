//! How a player finds the party that it wants to enter, at this node or at another one.

use std::time::{Duration, Instant};

use traversal_core::id::PartyId;
use traversal_core::wire::message::{RequestError, Response, RoomTarget, ToPlayer};

use crate::ids::Asker;
use crate::party;
use crate::registry::{LEASE, RegistryOperation, RegistryReply, RoomSite};
use crate::server::rooms::elsewhere::SEARCH_AGAIN;
use crate::server::rooms::wishes::Pending;
use crate::server::rooms::{Others, Rooms};
use crate::server::timers::Timer;

/// A party whose node is perhaps gone is looked for this long, as rooms are.
const SEARCHED: Duration = LEASE.saturating_mul(2);

/// A player looks for a party.
#[derive(Debug)]
pub(in crate::server::rooms) struct PartySearch {
    asker: Asker,
    code: String,
    /// It is looked for until then.
    until: Option<Instant>,
}

impl Rooms {
    pub(super) fn join_party(
        &mut self,
        others: &mut Others<'_>,
        asker: Asker,
        code: String,
    ) -> Result<(), RequestError> {
        self.may_seek_party(asker.player)?;
        let client = others.roster.client(asker.session).ok_or(RequestError::NoSuchPlayer)?;
        let from = client.ip();
        let code = party::former_code(&code).ok_or(RequestError::NoSuchParty)?;
        self.may_try_code(others, from)?;
        self.search_party(others, PartySearch { asker, code, until: None });
        Ok(())
    }

    fn search_party(&mut self, others: &mut Others<'_>, search: PartySearch) {
        let Some(client) = others.roster.client(search.asker.session) else { return };
        let game = party::registered(client.login().game());
        let find = RegistryOperation::Find { game, target: RoomTarget::Code(search.code.clone()) };
        self.ask_registry(others, find, Pending::FindParty(search));
    }

    /// The registry has said where a party is.
    pub(in crate::server::rooms) fn party_found(
        &mut self,
        others: &mut Others<'_>,
        mut search: PartySearch,
        reply: Option<RegistryReply>,
    ) {
        let (asker, now) = (search.asker, others.cx.now);
        let result = match reply {
            Some(RegistryReply::Found(Some(site))) if site.location.node == others.cx.config.node => {
                self.enter_party(others, asker, PartyId(site.location.room.0))
            }
            Some(RegistryReply::Found(Some(site))) => return self.send_to_party(others, asker, &site),
            Some(RegistryReply::Moving) if *search.until.get_or_insert(now + SEARCHED) > now => {
                let at = now + SEARCH_AGAIN;
                self.parties.again.push((at, search));
                return others.cx.timers.set_earlier(Timer::Parties, at);
            }
            Some(_) => Err(RequestError::NoSuchParty),
            None => Err(RequestError::RegistryUnavailable),
        };
        others.respond(asker, result.map(|()| Response::Done));
    }

    /// Those who look for parties whose nodes were perhaps gone look again.
    pub(crate) fn parties_timeout(&mut self, others: &mut Others<'_>) {
        let now = others.cx.now;
        let waiting = std::mem::take(&mut self.parties.again);
        let (due, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(at, _)| *at <= now);
        self.parties.again = later;
        others.cx.timers.set(Timer::Parties, self.parties.again.iter().map(|(at, _)| *at).min());
        for (_, search) in due {
            self.search_party(others, search);
        }
    }

    /// Sends a player to the node of its party, where it asks again. Who is in a room stays.
    pub(super) fn send_to_party(&mut self, others: &mut Others<'_>, asker: Asker, site: &RoomSite) {
        if site.addresses.is_empty() {
            return others.respond(asker, Err(RequestError::NoSuchParty));
        }
        if others.roster.may_seek_room(asker.player).is_err() {
            return others.respond(asker, Err(RequestError::PartyElsewhere));
        }
        others.cx.counters.sent_elsewhere += 1;
        others.tell_session(asker.session, ToPlayer::GoTo(site.addresses.clone()));
    }
}
