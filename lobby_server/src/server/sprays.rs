//! Turns to search by many sockets or ports: from what players and plans say, and to the players.

use traversal_core::id::{MatchId, PlayerId};
use traversal_core::wire::message::{Method, ToPlayer};

use super::Server;
use super::timers::Timer;

impl Server {
    /// Both sides get a plan of this edition. Where a search comes first, nobody need ask for it.
    pub(super) fn plan_spray(&mut self, plan: (MatchId, u8), sides: [PlayerId; 2], first: Option<Method>) {
        self.sprays.plan(self.cx.now, plan, sides, first.is_some_and(Method::sprays));
    }

    /// A player's attempt has come to its search.
    pub(super) fn ask_spray(&mut self, player: PlayerId, id: MatchId, edition: u8) {
        // A wish by an older plan has been overtaken by the newer one.
        if let Some(sides) = self.matches.sides(id, edition) {
            self.sprays.ask(self.cx.now, (id, edition), sides, player);
        }
    }

    /// Tells whose turn it is; after the plans, in which the methods stand.
    pub(super) fn tell_turns(&mut self) {
        for turn in self.sprays.take_turns() {
            let (match_id, edition) = (turn.match_id, turn.edition);
            self.roster.tell(
                &mut self.cx,
                turn.player,
                ToPlayer::Spray { match_id, edition, turn: turn.turn },
            );
        }
        self.cx.timers.set(Timer::Sprays, self.sprays.poll_timeout());
    }
}
