//! Rooms that are taken up again, after a new login or a restart of the server, by the tickets that it gave for them.

use std::net::IpAddr;

use traversal_core::Identity;
use traversal_core::id::{PlayerId, RoomId};
use traversal_core::text::Metadata;
use traversal_core::wire::message::{
    PlayerInfo, RequestError, Response, RoomEnd, RoomOptions, RoomTerms, RoomTicket, ToPlayer, Topology,
};
use traversal_core::wire::secret::same;

use super::wishes::{Entry, JoinWish, RoomClaim};
use super::{Others, Rooms};
use crate::ids::Asker;
use crate::kicked::OUT;
use crate::limits::is_full;
use crate::room::{self, Origin, PasswordHash, Room, Setup};
use crate::server::refusals::Refusal;

/// Keeps tickets apart from whatever else the server's key may sign.
const PURPOSE: &[u8] = b"bevy_traversal room ticket 2";

/// Returns what a ticket's seal covers; each text with its length in front, so that no two are alike.
fn sealed(game: &str, name: &str, code: &str, ticket: &RoomTicket, holder: PlayerId) -> Vec<u8> {
    let mut content = Vec::new();
    for text in [game, name, code] {
        content.extend_from_slice(&(text.len() as u64).to_le_bytes());
        content.extend_from_slice(text.as_bytes());
    }
    content.extend_from_slice(&ticket.room.0.to_le_bytes());
    content.extend_from_slice(&ticket.epoch.to_le_bytes());
    content.extend_from_slice(&ticket.host.0);
    content.extend_from_slice(&holder.0);
    content.extend_from_slice(&ticket.generation.to_le_bytes());
    content.extend_from_slice(&ticket.until_s.to_le_bytes());
    let RoomTerms { capacity, public, auto_allow, migrate, topology, password, seats } = ticket.terms;
    content.extend_from_slice(&capacity.to_le_bytes());
    content.push(match topology {
        Topology::Star => 0,
        Topology::Mesh => 1,
    });
    content.extend([public, auto_allow, migrate, password, seats.seat].map(u8::from));
    content.extend_from_slice(&seats.keep_seat_s.to_le_bytes());
    content.extend_from_slice(&seats.spectators.to_le_bytes());
    content
}

/// Makes the seal of the server with this identity, on a ticket for this holder.
pub(crate) fn ticket_seal(
    server: &Identity,
    [game, name, code]: [&str; 3],
    ticket: &RoomTicket,
    holder: PlayerId,
) -> Option<[u8; 16]> {
    server.mac(PURPOSE, &sealed(game, name, code, ticket, holder))
}

impl Rooms {
    /// Gives a member its right to come back, and the host a note of that.
    pub(super) fn tell_ticket(&mut self, others: &mut Others<'_>, id: RoomId, member: PlayerId) {
        self.give_ticket(others, id, member);
        self.tell_seat_notes(others, id, member);
    }

    /// Gives a member its right to come back.
    pub(super) fn give_ticket(&mut self, others: &mut Others<'_>, id: RoomId, member: PlayerId) {
        let Some(room) = self.rooms.get(&id) else { return };
        let until_s = others.cx.time_of_day().map_or(u64::MAX, |seconds| seconds + OUT.as_secs());
        let blank = RoomTicket {
            room: id,
            epoch: room.epoch,
            host: room.host(),
            seal: [0; 16],
            generation: room.generation,
            until_s,
            terms: room.terms(),
        };
        let names = [&room.setup.game, &room.setup.options.name, &room.setup.code].map(String::as_str);
        let Some(seal) = ticket_seal(others.roster.identity(), names, &blank, member) else { return };
        others.tell(member, ToPlayer::Ticket(RoomTicket { seal, ..blank }));
    }

    /// A player wants its room back.
    pub(super) fn take_up(
        &mut self,
        others: &mut Others<'_>,
        asker: Asker,
        ticket: RoomTicket,
        code: &str,
        options: RoomOptions,
    ) -> Result<Option<Response>, RequestError> {
        let options = options.checked()?;
        let player = asker.player;
        others.roster.may_seek_room(player)?;
        if self.queues.has(player) {
            return Err(RequestError::AlreadyQueued);
        }
        let client = others.roster.client(asker.session).ok_or(RequestError::NoSuchPlayer)?;
        // A host that was replaced while it was away has its seat.
        let seatless = others.roster.room_of(player) != Some(ticket.room);
        let left = others.roster.room_of(player).filter(|room| *room != ticket.room);
        let code = room::former_code(code).ok_or(RequestError::BadTicket)?;
        let seal = ticket_seal(
            others.roster.identity(),
            [client.login().game(), &options.name, &code],
            &ticket,
            player,
        );
        let fits = seal.is_some_and(|seal| same(&seal, &ticket.seal));
        if !fits || others.cx.time_of_day().is_some_and(|seconds| ticket.until_s < seconds) {
            return Err(RequestError::BadTicket);
        }
        if left.is_some() {
            self.leave_former(others, player);
        }
        let entry = |resume, allowed| {
            let wish = JoinWish { asker, password: options.password.clone(), invite: None, watch: None };
            Entry { resume, allowed, known: true, ..Entry::new(wish, ticket.room) }
        };
        let owner = ticket.host == player;
        let found = self.rooms.get(&ticket.room);
        let outdated =
            |room: &Room| room.is_restored() && room.is_open() && room.generation > ticket.generation;
        // Of one epoch there is one host.
        let hosts = |room: &Room| owner && room.epoch == ticket.epoch;
        if found.is_some_and(|room| outdated(room) && !hosts(room)) {
            // Perhaps it was put out since: it comes in as a stranger does.
            self.enter(others, Entry { known: false, ..entry(false, false) });
            return Ok(None);
        }
        // After a restart somebody with an older ticket was faster.
        let newer = found.is_some_and(|room| room.is_restored() && room.generation < ticket.generation);
        match found
            .map(|room| (room.epoch, room.is_open(), room.is_restored()))
            .filter(|(_, claimed, _)| !newer || !claimed)
        {
            // Another one takes it up at this moment.
            Some((_, false, _)) => Err(RequestError::NoSuchRoom),
            Some((epoch, ..)) if epoch > ticket.epoch && owner && seatless => {
                self.leave_former(others, player);
                Err(RequestError::StaleHost { epoch })
            }
            Some((epoch, ..)) if epoch > ticket.epoch => {
                // It was away while the host changed.
                self.enter(others, entry(false, false));
                Ok(None)
            }
            Some((epoch, _, restored)) if epoch == ticket.epoch => {
                if owner {
                    return Ok(self.host_is_back(others, player, ticket.room, options));
                }
                self.enter(others, entry(true, restored));
                Ok(None)
            }
            found => {
                if newer || found.is_some() {
                    // After a restart a host of an older epoch was faster. The seal proves that it was replaced.
                    let reason = RoomEnd::HostReplaced { epoch: ticket.epoch };
                    self.close_room(others, ticket.room, player, reason);
                }
                self.restore(others, asker, ticket, code, options).map(|()| None)
            }
        }
    }

    /// Makes a room anew that the server forgot. Where its host is not back yet, its place is kept: the members say
    /// when it is lost.
    fn restore(
        &mut self,
        others: &mut Others<'_>,
        asker: Asker,
        ticket: RoomTicket,
        code: String,
        options: RoomOptions,
    ) -> Result<(), RequestError> {
        let player = asker.player;
        let owner = ticket.host == player;
        // The host says how its room is; another one only what the host had said.
        let terms = if owner { RoomTerms::of(&options) } else { ticket.terms };
        if !terms.migrate && !owner {
            // Without its host there is no such room.
            return Err(RequestError::NoSuchRoom);
        }
        let client = others.roster.client(asker.session).ok_or(RequestError::NoSuchPlayer)?;
        let (from, login) = (client.ip(), client.login());
        let (game, game_protocol) = (String::from(login.game()), login.game_protocol);
        let name_of_player = String::from(login.name());
        self.room_for_one_more(others, from)?;
        let host = (!owner).then(|| PlayerInfo { id: ticket.host, name: String::new() });
        let own = PlayerInfo { id: player, name: name_of_player };
        let password = match options.password.filter(|_| owner) {
            Some(password) => Some(PasswordHash::new(&password, &mut others.cx.rng)),
            // Until the host is back only those come in who have a ticket.
            None => terms.password.then(|| PasswordHash::unknown(&mut others.cx.rng)),
        };
        let setup = Setup {
            id: ticket.room,
            game,
            game_protocol,
            code,
            options: RoomOptions {
                name: options.name,
                capacity: terms.capacity,
                password: None,
                public: terms.public,
                auto_allow: terms.auto_allow,
                metadata: options.metadata,
                migrate: terms.migrate,
                topology: terms.topology,
                locked: options.locked,
                teams: options.teams,
                properties: Metadata::new(),
                keep_seat: terms.seats.keep_seat(),
                spectators: terms.seats.spectators,
                seat: terms.seats.seat,
            },
            password,
        };
        let members = host.into_iter().chain([own]).collect();
        let origin = Origin::Ticket { epoch: ticket.epoch, generation: ticket.generation };
        let room = Room::new(setup, members, from, origin, others.cx.now);
        self.rooms.insert(ticket.room, room);
        others.roster.set_busy(asker);
        let (name_is_code, tries, checked, until) = (false, 0, false, None);
        self.claim(others, RoomClaim { asker, room: ticket.room, name_is_code, tries, checked, until });
        Ok(())
    }

    /// Checks whether somebody at this address may open a room.
    pub(super) fn room_for_one_more(
        &mut self,
        others: &mut Others<'_>,
        from: IpAddr,
    ) -> Result<(), RequestError> {
        let full = if self.rooms.len() >= others.cx.config.max_rooms {
            Some(Refusal::RoomsFull)
        } else {
            let opened = self.rooms.values().map(|room| room.opened_from);
            let full = is_full(from, others.cx.config.max_rooms_per_address, opened);
            full.then_some(Refusal::RoomsOfAddress)
        };
        if let Some(full) = full {
            others.cx.counters.limit(full);
            return Err(RequestError::Limited { retry_after_s: 30 });
        }
        Ok(())
    }

    /// The host of a room is back: the room is as it was.
    fn host_is_back(
        &mut self,
        others: &mut Others<'_>,
        player: PlayerId,
        id: RoomId,
        options: RoomOptions,
    ) -> Option<Response> {
        let name = others.roster.party(others.cx, player)?.info.name;
        let room = self.rooms.get_mut(&id)?;
        let password =
            options.password.as_ref().map(|password| PasswordHash::new(password, &mut others.cx.rng));
        let before = room.info();
        room.set_options(options, password);
        if let Some(host) = room.members.first_mut() {
            // A member that took the room up did not know it.
            host.name = name;
        }
        let info = room.info();
        others.roster.enter_room(others.cx, player, id);
        self.away.remove(&player);
        self.abandon_loss(others, id);
        others.matches.tell_public(others.cx, others.roster, player);
        self.pair_later(others, id);
        self.tell_ticket(others, id, player);
        self.tell_kicked(others, id, player);
        if before != info {
            // A member had taken it up, and knew less.
            self.tell_changed(others, id);
        }
        self.tell_shared(others, id, player);
        self.publish(others, id);
        self.spread(others, id);
        Some(Response::Room(info))
    }
}
