//! The seats of the room that this player is in: who is away, and who watches; and the seat that the server keeps for this
//! player itself.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Lobby;
use crate::api::Event;
use crate::cx::Cx;
use crate::id::{PlayerId, RoomId};
use crate::wire::message::{AwaySeat, MAX_INSIDE, PlayerInfo, Request, RoomBan, SeatKept};

/// This is what is known of a room's seats.
#[derive(Debug, Default)]
pub(super) struct Seats {
    /// These are the parts that came of the newest revision.
    revision: Option<u32>,
    parts: BTreeMap<u8, (Vec<AwaySeat>, Vec<PlayerInfo>)>,
    /// All parts came of this revision, and it was not told yet.
    whole: Option<u32>,
    /// The game was told that these members are away.
    away: Vec<PlayerId>,
    /// The game was told that these watch.
    spectators: Vec<PlayerInfo>,
}

impl Seats {
    /// Returns whether the game was told that this member is away.
    pub(super) fn is_away(&self, player: PlayerId) -> bool {
        self.away.contains(&player)
    }

    /// Returns those who watch the room, as the game was told last.
    pub(super) fn spectators(&self) -> &[PlayerInfo] {
        &self.spectators
    }

    /// Returns what is still known when the room is entered anew: its revisions may begin anew.
    pub(super) fn again(self) -> Self {
        Self { revision: None, parts: BTreeMap::new(), whole: None, ..self }
    }
}

impl Lobby {
    /// Takes a part of a snapshot of the room's seats.
    pub(crate) fn handle_seats(
        &mut self,
        cx: &mut Cx<'_>,
        (id, revision): (RoomId, u32),
        (part, parts): (u8, u8),
        news: (Vec<AwaySeat>, Vec<PlayerInfo>),
    ) {
        let Some(room) = self.room.as_mut().filter(|room| room.info.id == id) else { return };
        let seats = &mut room.seats;
        if part >= parts || seats.revision.is_some_and(|known| revision < known) {
            return;
        }
        if seats.revision != Some(revision) {
            seats.parts.clear();
            seats.revision = Some(revision);
        }
        seats.parts.insert(part, news);
        if seats.parts.len() == usize::from(parts) {
            seats.whole = Some(revision);
            self.tell_seats(cx);
        }
    }

    /// Tells the game what has changed, as soon as the seats and the members are of one revision: who is on neither list
    /// has left, and is not back.
    pub(super) fn tell_seats(&mut self, cx: &mut Cx<'_>) {
        let Some(room) = &mut self.room else { return };
        let whole = room.seats.whole;
        if whole.is_none() || whole != room.whole_members {
            return;
        }
        let own = cx.identity.player_id();
        let seats = &mut room.seats;
        let (away, spectators): (Vec<_>, Vec<_>) = std::mem::take(&mut seats.parts).into_values().unzip();
        seats.whole = None;
        let away: Vec<AwaySeat> = away.into_iter().flatten().take(usize::from(MAX_INSIDE)).collect();
        let mut spectators: Vec<PlayerInfo> = spectators.into_iter().flatten().collect();
        spectators.truncate(usize::from(MAX_INSIDE));
        for player in room.members.iter().filter(|player| player.id != own) {
            let seat = away.iter().find(|seat| seat.player == player.id);
            let player = player.clone();
            match (seat, seats.away.contains(&player.id)) {
                (Some(seat), false) => {
                    let kept = Duration::from_secs(seat.kept_s.into());
                    cx.emit(Event::PlayerAway { player, kept });
                }
                (None, true) => cx.emit(Event::PlayerBack { player }),
                _ => {}
            }
        }
        seats.away = away.iter().map(|seat| seat.player).filter(|player| *player != own).collect();
        if seats.spectators != spectators {
            seats.spectators.clone_from(&spectators);
            cx.emit(Event::Spectators(spectators));
        }
    }

    /// The server keeps a seat for this player. Whoever still plays in its room takes it up by itself.
    pub(crate) fn handle_seat_kept(&mut self, cx: &mut Cx<'_>, kept: SeatKept) {
        if self.room.is_none() {
            self.seat_kept = true;
            cx.emit(Event::SeatKept(kept));
        }
    }

    /// Gives up the seat that the server keeps, if it does. True: it did.
    pub(crate) fn give_up_seat(&mut self, cx: &mut Cx<'_>) -> bool {
        let kept = std::mem::take(&mut self.seat_kept);
        if kept {
            self.leave(cx);
        }
        kept
    }

    /// Takes a page of the room's ban list, and returns the request for the next one, or tells the game all of them.
    pub(super) fn take_bans(&mut self, cx: &mut Cx<'_>, bans: Vec<RoomBan>, more: bool) -> Option<Request> {
        let last = bans.last().map(|ban| ban.player);
        self.bans.extend(bans);
        if more && last.is_some() && self.bans.len() < super::room::MAX_KICKED {
            return Some(Request::ListBans { after: last });
        }
        cx.emit(Event::Bans(std::mem::take(&mut self.bans)));
        None
    }
}
