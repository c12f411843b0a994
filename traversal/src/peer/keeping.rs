//! A match over the relay outlives the lobby server: its silence is excused for a while, and another leave to use the
//! relay takes the place of the one that the server has forgotten.

use std::time::{Duration, Instant};

use super::Peer;
use crate::api::PathKind;
use crate::config::{AgentConfig, RelayPolicy};
use crate::cx::Cx;
use crate::login::LobbyLink;
use crate::path::RELAY;
use crate::wire::message::{KeptMatch, Method, NoRelay, RelayGrant};

/// How often it is looked whether a silence is still excused: as often as a near server is asked whether it is there. It
/// sends nothing, so it need not follow the round trip.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Peer {
    /// It is silent since the server is, through which it plays: that says nothing about the other player.
    pub(crate) fn is_excused(&self, now: Instant, config: &AgentConfig, link: &LobbyLink) -> bool {
        self.plays_over_relay()
            && now.saturating_duration_since(self.last_heard) < config.relay_timeout
            && link.was_interrupted(now, self.last_heard)
    }

    fn plays_over_relay(&self) -> bool {
        self.is_connected() && self.paths.selected().is_some_and(|path| path.kind == PathKind::Relay)
    }

    /// How long the other side may be silent: as the settings say, or three answers of a far one.
    fn patience(&self, config: &AgentConfig) -> Duration {
        let far = self.answer_time() * 3;
        config.path_timeout.max(far.min(config.relay_timeout))
    }

    /// The other side is given up.
    pub(super) fn is_lost(&mut self, cx: &Cx<'_>, link: &mut LobbyLink) -> bool {
        let silent = cx.now.saturating_duration_since(self.last_heard);
        let patience = self.patience(cx.config);
        if silent < patience {
            let ask = silent >= patience / 2 && self.plays_over_relay();
            if ask && self.look_again.is_none() {
                // In time to know whose silence it is.
                link.check_now(cx.now);
            }
            self.look_again = ask.then(|| self.last_heard + patience);
            return false;
        }
        if !self.is_excused(cx.now, cx.config, link) {
            return true;
        }
        self.look_again = Some((cx.now + LOOK_AGAIN).min(self.last_heard + cx.config.relay_timeout));
        false
    }

    /// When a silence is to be looked at.
    pub(super) fn look_at(&self, config: &AgentConfig) -> Instant {
        let ask = self.look_again.is_none() && self.plays_over_relay();
        let patience = if ask { self.patience(config) / 2 } else { self.patience(config) };
        Some(self.last_heard + patience).max(self.look_again).unwrap_or(self.last_heard)
    }

    /// What a server that was started anew has to know of it.
    pub(crate) fn kept(&self) -> Option<KeptMatch> {
        self.is_live().then(|| KeptMatch {
            match_id: self.match_id,
            player: self.info.id,
            host: self.host,
            edition: self.attempt.edition(),
        })
    }

    /// The relay carries again, by another token.
    pub(crate) fn renew_relay(&mut self, cx: &mut Cx<'_>, grant: RelayGrant) {
        let Some(server) = self.server.or(cx.uplink.map(|uplink| uplink.server)) else { return };
        if !self.is_live() || cx.config.relay == RelayPolicy::Never {
            return;
        }
        (self.plan.relay, self.plan.no_relay) = (Some(grant), None);
        self.server = Some(server);
        self.paths.add(cx.now, RELAY, server, PathKind::Relay, Method::Cone);
        self.paths.revive_relay(cx.now);
    }

    /// The server was restarted, and gives this match no relay any more.
    pub(crate) fn no_relay(&mut self, why: NoRelay) {
        (self.plan.relay, self.plan.no_relay) = (None, Some(why));
    }
}
