//! Turns to search by many sockets or ports: from what players and plans say, and to the players.

use traversal_core::id::PlayerId;
use traversal_core::wire::message::{Method, ToPlayer};

use super::{Context, Matches, Roster};
use crate::ids::{PlanId, Sides};
use crate::server::timers::Timer;

impl Matches {
    /// Gives both sides a plan of this edition. Where a search comes first, nobody need ask for it.
    pub(super) fn plan_search(
        &mut self,
        cx: &Context,
        plan: PlanId,
        players: Sides<PlayerId>,
        first: Option<Method>,
    ) {
        self.searches.plan(cx.now, plan, players.both(), first.is_some_and(Method::searches));
    }

    /// A player's attempt has come to its search.
    pub(crate) fn ask_search(&mut self, cx: &Context, player: PlayerId, plan: PlanId) {
        // A wish by an older plan has been overtaken by the newer one.
        if let Some(sides) = self.rendezvous.sides(plan) {
            self.searches.ask(cx.now, plan, sides, player);
        }
    }

    /// Tells whose turn it is; after the plans, in which the methods stand.
    pub(crate) fn tell_searches(&mut self, cx: &mut Context, roster: &mut Roster) {
        for notice in self.searches.take_notices() {
            let PlanId { match_id, edition } = notice.plan;
            roster.tell(cx, notice.player, ToPlayer::Search { match_id, edition, turn: notice.turn });
        }
        cx.timers.set(Timer::Searches, self.searches.poll_timeout());
    }

    /// A player's search is over.
    pub(crate) fn search_over(&mut self, cx: &Context, player: PlayerId, plan: PlanId) {
        self.searches.over(cx.now, plan, player);
    }

    /// A search whose player has not said that it is over counts as over.
    pub(crate) fn search_timeout(&mut self, cx: &Context) {
        self.searches.handle_timeout(cx.now);
    }
}
