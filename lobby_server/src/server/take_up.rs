//! Rooms that are taken up again, after a new login or a restart of the server, by the tickets that it gave for them.

use std::net::IpAddr;

use traversal_core::id::{PlayerId, RequestId, RoomId};
use traversal_core::wire::message::{
    PlayerInfo, RequestError, Response, RoomEnd, RoomOptions, RoomTerms, RoomTicket, ToPlayer, Topology,
};
use traversal_core::wire::secret::same;

use super::Server;
use super::creating::Claim;
use super::joining::JoinWish;
use crate::kicked::{Kicked, OUT};
use crate::limits::{Bucket, is_full};
use crate::rooms::{self, PasswordHash, Room};

/// Keeps tickets apart from whatever else the server's key may sign.
const PURPOSE: &[u8] = b"bevy_traversal room ticket 1";

/// What a ticket's seal covers; each text with its length in front, so that no two are alike.
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
    let RoomTerms { capacity, public, auto_allow, migrate, topology, password } = ticket.terms;
    content.extend_from_slice(&capacity.to_le_bytes());
    content.push(match topology {
        Topology::Star => 0,
        Topology::Mesh => 1,
    });
    content.extend([public, auto_allow, migrate, password].map(u8::from));
    content
}

impl Server {
    /// The seal of a ticket for this holder.
    pub(crate) fn seal(
        &self,
        game: &str,
        name: &str,
        code: &str,
        ticket: &RoomTicket,
        holder: PlayerId,
    ) -> Option<[u8; 16]> {
        self.roster.identity().mac(PURPOSE, &sealed(game, name, code, ticket, holder))
    }

    /// Gives a member its right to come back.
    pub(super) fn tell_ticket(&mut self, id: RoomId, member: PlayerId) {
        let Some(room) = self.rooms.get(&id) else { return };
        let until_s = self.cx.time_of_day().map_or(u64::MAX, |seconds| seconds + OUT.as_secs());
        let blank = RoomTicket {
            room: id,
            epoch: room.epoch,
            host: room.host(),
            seal: [0; 16],
            generation: room.generation,
            until_s,
            terms: room.terms(),
        };
        let Some(seal) = self.seal(&room.game, &room.name, &room.code, &blank, member) else { return };
        self.roster.tell(&mut self.cx, member, ToPlayer::Ticket(RoomTicket { seal, ..blank }));
    }

    /// A player wants its room back.
    pub(super) fn take_up(
        &mut self,
        (id, player, request): (u64, PlayerId, RequestId),
        ticket: RoomTicket,
        code: &str,
        options: RoomOptions,
    ) -> Result<Option<Response>, RequestError> {
        let options = options.checked()?;
        self.roster.may_seek_room(player)?;
        let client = self.roster.client(id).ok_or(RequestError::NoSuchPlayer)?;
        // A host that was replaced while it was away has its seat.
        let seatless = self.roster.room_of(player) != Some(ticket.room);
        let left = self.roster.room_of(player).filter(|room| *room != ticket.room);
        let code = rooms::former_code(code).ok_or(RequestError::BadTicket)?;
        let seal = self.seal(&client.login().game, &options.name, &code, &ticket, player);
        let fits = seal.is_some_and(|seal| same(&seal, &ticket.seal));
        if !fits || self.cx.time_of_day().is_some_and(|seconds| ticket.until_s < seconds) {
            return Err(RequestError::BadTicket);
        }
        if left.is_some() {
            self.leave_former(player);
        }
        let wish = |resume, allowed| JoinWish {
            session: id,
            player,
            request,
            room: ticket.room,
            password: options.password.clone(),
            resume,
            checked: false,
            allowed,
        };
        let owner = ticket.host == player;
        let found = self.rooms.get(&ticket.room);
        let outdated = |room: &Room| room.restored && room.claimed && room.generation > ticket.generation;
        // Of one epoch there is one host.
        let hosts = |room: &Room| owner && room.epoch == ticket.epoch;
        if found.is_some_and(|room| outdated(room) && !hosts(room)) {
            // Perhaps it was put out since: it comes in as a stranger does.
            self.enter(wish(false, false));
            return Ok(None);
        }
        // After a restart somebody with an older ticket was faster.
        let newer = found.is_some_and(|room| room.restored && room.generation < ticket.generation);
        match found
            .map(|room| (room.epoch, room.claimed, room.restored))
            .filter(|(_, claimed, _)| !newer || !claimed)
        {
            // Another one takes it up at this moment.
            Some((_, false, _)) => Err(RequestError::NoSuchRoom),
            Some((epoch, ..)) if epoch > ticket.epoch && owner && seatless => {
                self.leave_former(player);
                Err(RequestError::StaleHost { epoch })
            }
            Some((epoch, ..)) if epoch > ticket.epoch => {
                // It was away while the host changed.
                self.enter(wish(false, false));
                Ok(None)
            }
            Some((epoch, _, restored)) if epoch == ticket.epoch => {
                if owner {
                    return Ok(self.host_is_back(player, ticket.room, options));
                }
                self.enter(wish(true, restored));
                Ok(None)
            }
            found => {
                if newer || found.is_some() {
                    // After a restart a host of an older epoch was faster. The seal proves that it was replaced.
                    let reason = RoomEnd::HostReplaced { epoch: ticket.epoch };
                    self.close_room(ticket.room, player, reason);
                }
                self.restore((id, player, request), ticket, code, options).map(|()| None)
            }
        }
    }

    /// A room that the server forgot, made anew. Where its host is not back yet, its place is kept: the members say
    /// when it is lost.
    fn restore(
        &mut self,
        (id, player, request): (u64, PlayerId, RequestId),
        ticket: RoomTicket,
        code: String,
        options: RoomOptions,
    ) -> Result<(), RequestError> {
        let owner = ticket.host == player;
        // The host says how its room is; another one only what the host had said.
        let terms = if owner { RoomTerms::of(&options) } else { ticket.terms };
        if !terms.migrate && !owner {
            // Without its host there is no such room.
            return Err(RequestError::NoSuchRoom);
        }
        let client = self.roster.client(id).ok_or(RequestError::NoSuchPlayer)?;
        let (from, login) = (client.ip(), client.login().clone());
        self.room_for_one_more(from)?;
        let host = (!owner).then(|| PlayerInfo { id: ticket.host, name: String::new() });
        let own = PlayerInfo { id: player, name: login.name };
        let password = match options.password.filter(|_| owner) {
            Some(password) => Some(PasswordHash::new(&password, &mut self.cx.rng)),
            // Until the host is back only those come in who have a ticket.
            None => terms.password.then(|| PasswordHash::unknown(&mut self.cx.rng)),
        };
        let room = Room {
            id: ticket.room,
            game: login.game,
            game_protocol: login.game_protocol,
            name: options.name,
            code,
            capacity: terms.capacity,
            public: terms.public,
            auto_allow: terms.auto_allow,
            metadata: options.metadata,
            topology: terms.topology,
            password,
            members: host.into_iter().chain([own]).collect(),
            revision: 0,
            news: Bucket::full(rooms::ROOM_NEWS, self.cx.now),
            opened_from: from,
            claimed: false,
            migrate: terms.migrate,
            epoch: ticket.epoch,
            restored: true,
            generation: ticket.generation,
            kicked: Kicked::default(),
            guesses: None,
        };
        self.rooms.insert(ticket.room, room);
        self.roster.set_busy(player, request);
        let claim =
            Claim { session: id, request, room: ticket.room, name_is_code: false, tries: 0, checked: false };
        self.claim(claim);
        Ok(())
    }

    /// Whether somebody at this address may open a room.
    pub(super) fn room_for_one_more(&mut self, from: IpAddr) -> Result<(), RequestError> {
        let opened = self.rooms.values().map(|room| room.opened_from);
        if self.rooms.len() >= self.cx.config.max_rooms
            || is_full(from, self.cx.config.max_rooms_per_address, opened)
        {
            self.cx.counters.limited += 1;
            return Err(RequestError::Limited { retry_after_s: 30 });
        }
        Ok(())
    }

    /// The host of a room is back: the room is as it was.
    fn host_is_back(&mut self, player: PlayerId, id: RoomId, options: RoomOptions) -> Option<Response> {
        let name = self.roster.party(&self.cx, player)?.info.name;
        let room = self.rooms.get_mut(&id)?;
        room.capacity = options.capacity;
        room.public = options.public;
        room.auto_allow = options.auto_allow;
        room.metadata = options.metadata;
        room.migrate = options.migrate;
        room.topology = options.topology;
        room.password = options.password.map(|password| PasswordHash::new(&password, &mut self.cx.rng));
        if let Some(host) = room.members.first_mut() {
            // A member that took the room up did not know it.
            host.name = name;
        }
        let info = room.info();
        self.roster.enter_room(&mut self.cx, player, id);
        self.abandon_loss(id);
        self.matches.tell_public(&mut self.cx, &mut self.roster, player);
        self.pair_later(id);
        self.tell_ticket(id, player);
        self.tell_kicked(id, player);
        self.publish(id);
        Some(Response::Room(info))
    }
}
