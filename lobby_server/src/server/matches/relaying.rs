//! The relay's side of sessions: who may send through it, from where and to where.

use std::time::Duration;

use traversal_core::id::{MatchId, PlayerId};
use traversal_core::wire::message::{NoRelay, RelayGrant};
use traversal_core::wire::session::MIN_SEALED;

use super::{Context, Matches, Roster};
use crate::budget::UsedUp;
use crate::ids::Sides;
use crate::relay::{RelayMode, forwarded};
use crate::server::refusals::Refusal;
use crate::server::sockets::Route;

/// A sealed path challenge has so many bytes: only what is at least as long is answered with one.
const CHALLENGE: usize = MIN_SEALED;

/// To an address that was silent for so long nothing is forwarded: it may be somebody else's by now. Both sides of a pair
/// that plays over the relay send every few hundred milliseconds, and keep alive every 4 s in a room.
const SILENT: Duration = Duration::from_secs(10);

/// What hosters count includes the headers of IP and UDP.
const HEADERS_V4: u64 = 28;
const HEADERS_V6: u64 = 48;

impl Matches {
    /// Leave for both sides of a match, the host first, or why there is none; a refusal for want of room is counted.
    pub(super) fn grant_relay(
        &mut self,
        cx: &mut Context,
        roster: &Roster,
        id: MatchId,
        players: Sides<PlayerId>,
    ) -> Result<[RelayGrant; 2], NoRelay> {
        let now = cx.now;
        if roster.relay_mode(cx, players.host) == RelayMode::Never {
            return Err(NoRelay::Off);
        }
        if !self.relay.has_room(now) {
            cx.counters.relays_refused += 1;
            cx.counters.refuse(Refusal::RelayFull);
            return Err(NoRelay::Full);
        }
        self.budget.set_time(cx.calendar());
        if let Some(used_up) = self.budget.used_up(cx.games.name(roster.game_of(players.host))) {
            cx.counters.relays_refused += 1;
            cx.counters.refuse(match used_up {
                UsedUp::All => Refusal::RelayBudget,
                UsedUp::Game => Refusal::RelayGameBudget,
            });
            return Err(NoRelay::Budget);
        }
        Ok(self.relay.grant(now, id, players.both(), &mut cx.rng))
    }

    /// Forwards a datagram for another player. It must come from where the sender's session was proven to be.
    pub(crate) fn handle_relay(
        &mut self,
        cx: &mut Context,
        roster: &mut Roster,
        route: Route,
        datagram: &[u8],
    ) {
        let now = cx.now;
        let Some(lane) = self.relay.find(now, datagram) else {
            cx.counters.relay_dropped += 1;
            return;
        };
        let client_of = |player: PlayerId| {
            let session = roster.session_of(player)?;
            Some((session, roster.client(session)?))
        };
        let (Some((session, own)), Some((_, to))) = (client_of(lane.from), client_of(lane.to)) else {
            cx.counters.relay_dropped += 1;
            return;
        };
        let proven = cx.same_way(own.route(), route) || roster.was_left(cx, own, route);
        let game = own.game();
        let (there, to) = (now.saturating_duration_since(to.heard_at()) < SILENT, to.route());
        if !proven {
            cx.counters.relay_dropped += 1;
            // Perhaps its NAT gave it another port: if it can prove so, the next ones pass.
            if datagram.len() >= CHALLENGE {
                roster.notice_address(cx, session, route);
            }
            return;
        }
        roster.note_relayed(cx, session);
        if !there {
            cx.counters.relay_dropped += 1;
            return;
        }
        self.budget.set_time(cx.calendar());
        let slowly = self.budget.used_up(cx.games.name(game)).is_some();
        let charged = if slowly {
            self.relay.charge_slowly(now, &lane, route.peer.ip(), datagram.len())
        } else {
            self.relay.charge(now, &lane, route.peer.ip(), datagram.len())
        };
        if !charged {
            cx.counters.relay_limited += 1;
            cx.counters.refuse(Refusal::RelayRate);
            return;
        }
        cx.counters.relayed += 1;
        cx.counters.relayed_bytes += datagram.len() as u64;
        cx.games.at(game).relayed_bytes += datagram.len() as u64;
        let headers = if to.peer.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
        self.budget.spend(cx.games.name(game), datagram.len() as u64 + headers);
        cx.hand_out(to, forwarded(&lane, datagram));
    }
}
