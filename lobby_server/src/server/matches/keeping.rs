//! Matches that went on while the server was away: both players say that they play one, and may use the relay again.
//!
//! Nothing is forwarded on one player's word: the other one has to name the same match, from the same room, and the
//! server gives each its own fresh token, as for any match.

use std::collections::VecDeque;

use traversal_core::id::{MatchId, PlayerId, RoomId};
use traversal_core::plan::PlanInForce;
use traversal_core::wire::message::{KeptMatch, ToPlayer};

use super::{Context, Matches, Roster};
use crate::ids::Sides;
use crate::matchmaking::{choose, nats};

/// A player may say so many matches: one with each other member of a room.
const MAX_WAITING: usize = 64;

/// This is what one player has said, and the other has not confirmed; the oldest first.
#[derive(Debug, Default)]
pub(super) struct KeptMatches(VecDeque<KeptMatch>);

impl KeptMatches {
    fn put(&mut self, kept: KeptMatch) {
        self.0.retain(|known| known.match_id != kept.match_id);
        if self.0.len() >= MAX_WAITING {
            self.0.pop_front();
        }
        self.0.push_back(kept);
    }

    /// Returns the same match, as the other side of it sees it.
    fn counterpart(&self, own: KeptMatch, player: PlayerId) -> Option<KeptMatch> {
        let fits = |kept: &&KeptMatch| {
            kept.match_id == own.match_id && kept.player == player && kept.hosting != own.hosting
        };
        self.0.iter().find(fits).copied()
    }

    fn remove(&mut self, id: MatchId) {
        self.0.retain(|known| known.match_id != id);
    }
}

impl Matches {
    /// The player does not play that match any more.
    pub(super) fn forget_kept(&mut self, player: PlayerId, id: MatchId) {
        if let Some(kept) = self.kept.get_mut(&player) {
            kept.remove(id);
        }
    }

    /// The player has logged in anew, or is gone.
    pub(crate) fn forget_kept_of(&mut self, player: PlayerId) {
        self.kept.remove(&player);
    }

    /// Takes the word of a player in the room `id` that it still plays this match. Where the room has a `host` for all
    /// its matches, it is one side.
    pub(crate) fn keep_match(
        &mut self,
        cx: &mut Context,
        roster: &mut Roster,
        player: PlayerId,
        (id, room_host): (RoomId, Option<PlayerId>),
        kept: KeptMatch,
    ) {
        // One that runs needs nothing; a number that somebody else has is nobody else's.
        if self.rendezvous.has(kept.match_id) || kept.player == player {
            return;
        }
        self.kept.entry(player).or_default().put(kept);
        let other = self.kept.get(&kept.player).filter(|_| roster.present_room(kept.player) == Some(id));
        let Some(theirs) = other.and_then(|other| other.counterpart(kept, player)) else { return };
        let players = if kept.hosting {
            Sides { host: player, joiner: kept.player }
        } else {
            Sides { host: kept.player, joiner: player }
        };
        let Sides { host, joiner } = players;
        let fits = room_host.is_none_or(|room_host| room_host == host);
        // What the server made since is newer than what they remember.
        if !fits || !self.rendezvous.between(host, joiner).is_empty() {
            return;
        }
        let Some(parties) = roster.parties(cx, players) else { return };
        for side in players.both() {
            self.forget_kept(side, kept.match_id);
        }
        let edition = kept.edition.max(theirs.edition);
        let plan = PlanInForce::resumed(&choose(&parties), nats(&parties), edition);
        self.rendezvous.begin(kept.match_id, players, plan);
        tracing::debug!(host = %host, joiner = %joiner, "a match goes on");
        let (match_id, sides) = (kept.match_id, players.both());
        match self.grant_relay(cx, roster, match_id, players) {
            Ok(grants) => {
                for (side, grant) in sides.into_iter().zip(grants) {
                    roster.tell(cx, side, ToPlayer::Relay { match_id, grant });
                }
            }
            Err(why) => {
                sides.into_iter().for_each(|side| roster.tell(cx, side, ToPlayer::NoRelay { match_id, why }))
            }
        }
    }

    /// Returns how many of a player's matches wait for the other side's word.
    #[cfg(test)]
    pub(crate) fn kept_of(&self, player: PlayerId) -> usize {
        self.kept.get(&player).map_or(0, |kept| kept.0.len())
    }
}
