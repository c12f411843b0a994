//! Invites: the host's allowance to enter its room, given beforehand to whoever shows it.
//!
//! The server seals them and keeps none, but those that serve once: of these it has to know whom they have let in.

use rand_chacha::rand_core::RngCore;
use traversal_core::Identity;
use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{
    InviteFault, InviteTerms, InviteToken, MAX_INVITE_MINUTES, MAX_OPEN_INVITES, RequestError, Response,
    RoomTarget,
};
use traversal_core::wire::secret::same;

use super::wishes::{Entry, JoinWish, Search};
use super::{Others, Rooms};
use crate::ids::Asker;
use crate::room::Room;

/// So many invites that serve once are remembered for a room, with those that have served.
const MAX_KEPT_INVITES: usize = 1024;

/// Keeps invites apart from whatever else the server's key may sign.
const PURPOSE: &[u8] = b"bevy_traversal invite 1";

/// Makes the seal of the server with this identity on an invite to this room. The epoch ends invites with their host, the
/// generation when somebody is put out: who is out would come back under another name by an invite that it has.
fn seal(server: &Identity, room: &Room, token: &InviteToken) -> Option<[u8; 16]> {
    let game = room.setup.game.as_bytes();
    let mut content = Vec::with_capacity(game.len() + 40);
    content.extend_from_slice(&(game.len() as u64).to_le_bytes());
    content.extend_from_slice(game);
    content.extend_from_slice(&room.setup.id.0.to_le_bytes());
    content.extend_from_slice(&room.epoch.to_le_bytes());
    content.extend_from_slice(&room.generation.to_le_bytes());
    content.extend_from_slice(&token.number.to_le_bytes());
    content.extend_from_slice(&token.until_s.to_le_bytes());
    content.push(u8::from(token.once));
    server.mac(PURPOSE, &content)
}

/// Returns the time of day as invites have it. In 2106 all will be over.
fn seconds(others: &Others<'_>) -> u32 {
    u32::try_from(others.cx.calendar()).unwrap_or(u32::MAX)
}

impl Rooms {
    /// Makes an invite to the room of this host.
    pub(super) fn make_invite(
        &mut self,
        others: &mut Others<'_>,
        host: PlayerId,
        InviteTerms { once, minutes }: InviteTerms,
    ) -> Result<Option<Response>, RequestError> {
        if !(1..=MAX_INVITE_MINUTES).contains(&minutes) {
            let what = format!("minutes of an invite (1 to {MAX_INVITE_MINUTES})");
            return Err(RequestError::Malformed { what });
        }
        let id = self.hosted_room(others, host)?;
        let now_s = seconds(others);
        let number = others.cx.rng.next_u32() >> 1;
        let room = self.rooms.get_mut(&id).ok_or(RequestError::NotInRoom)?;
        let until_s = now_s.saturating_add(u32::from(minutes) * 60);
        if once {
            room.invites.retain(|_, (until_s, _)| *until_s > now_s);
            let open = room.invites.values().filter(|(_, served)| served.is_none()).count();
            let all = room.invites.len() >= MAX_KEPT_INVITES;
            if open >= usize::from(MAX_OPEN_INVITES) || all || room.invites.contains_key(&number) {
                return Err(RequestError::TooManyInvites { most: MAX_OPEN_INVITES });
            }
            room.invites.insert(number, (until_s, None));
        }
        let blank = InviteToken { number, until_s, once, seal: [0; 16] };
        let seal = seal(others.roster.identity(), room, &blank).ok_or(RequestError::NotInRoom)?;
        Ok(Some(Response::Invite(InviteToken { seal, ..blank })))
    }

    /// Ends all invites to the room of this host.
    pub(super) fn revoke_invites(
        &mut self,
        others: &mut Others<'_>,
        host: PlayerId,
    ) -> Result<Response, RequestError> {
        let id = self.hosted_room(others, host)?;
        self.next_generation(others, id);
        Ok(Response::Done)
    }

    /// Ends the invites and the tickets that are out; the members, who are returned, get newer tickets.
    pub(super) fn next_generation(&mut self, others: &mut Others<'_>, id: RoomId) -> Vec<PlayerId> {
        let Some(room) = self.rooms.get_mut(&id) else { return Vec::new() };
        room.generation = room.generation.saturating_add(1);
        room.invites.clear();
        let members: Vec<PlayerId> = room.members.iter().map(|member| member.id).collect();
        for member in &members {
            self.give_ticket(others, id, *member);
        }
        members
    }

    /// A player wants to enter a room by an invite.
    pub(super) fn join_invited(
        &mut self,
        others: &mut Others<'_>,
        asker: Asker,
        code: String,
        invite: Option<InviteToken>,
    ) -> Result<Option<Response>, RequestError> {
        others.roster.note_wish(others.cx, asker);
        let wish = JoinWish { asker, password: None, invite, watch: None };
        if !code.is_empty() {
            return self.join(others, wish, RoomTarget::Code(code));
        }
        others.roster.may_seek_room(asker.player)?;
        if self.queues.has(asker.player) {
            return Err(RequestError::AlreadyQueued);
        }
        let client = others.roster.client(asker.session).ok_or(RequestError::NoSuchPlayer)?;
        let game = String::from(client.login().game());
        others.roster.set_busy(asker);
        self.find_only_room(others, &game, wish);
        Ok(None)
    }

    /// The public rooms of a game are known, of which a player wants the only one: so many, and the code of the first one.
    pub(super) fn only_room(
        &mut self,
        others: &mut Others<'_>,
        wish: JoinWish,
        count: usize,
        first: Option<String>,
    ) {
        let error = match (first, count == 1) {
            (Some(code), true) => {
                let Some(client) = others.roster.client(wish.asker.session) else { return };
                let (game, target) = (String::from(client.login().game()), RoomTarget::Code(code));
                return self.search(others, Search { wish, game, target, until: None });
            }
            (None, _) => RequestError::NoSuchRoom,
            (Some(_), false) => RequestError::SeveralRooms,
        };
        others.respond(wish.asker, Err(error));
    }

    /// Returns whether the player's invite lets it in. Where the room lets in everybody, one that is over does no harm.
    pub(super) fn is_invited(&self, others: &Others<'_>, entry: &Entry) -> Result<bool, RequestError> {
        let (Some(token), Some(room)) = (entry.wish.invite, self.rooms.get(&entry.room)) else {
            return Ok(false);
        };
        let fault =
            if !seal(others.roster.identity(), room, &token).is_some_and(|seal| same(&seal, &token.seal)) {
                InviteFault::Ended
            } else if token.until_s <= seconds(others) {
                InviteFault::Expired
            } else if !token.once {
                return Ok(true);
            } else {
                match room.invites.get(&token.number) {
                    Some((_, None)) => return Ok(true),
                    // It comes back, or the answer was lost.
                    Some((_, Some(player))) if *player == entry.wish.asker.player => return Ok(true),
                    Some((_, Some(_))) => InviteFault::Used,
                    None => InviteFault::Ended,
                }
            };
        let open = room.setup.options.auto_allow && room.setup.password.is_none();
        if open || entry.allowed { Ok(false) } else { Err(RequestError::InviteOver { why: fault }) }
    }

    /// The player is let in: an invite that serves once has served.
    pub(super) fn use_invite(&mut self, entry: &Entry) {
        if let Some(token) = entry.wish.invite.filter(|token| token.once)
            && let Some(room) = self.rooms.get_mut(&entry.room)
            && let Some((_, used_by)) = room.invites.get_mut(&token.number)
        {
            used_by.get_or_insert(entry.wish.asker.player);
        }
    }
}
