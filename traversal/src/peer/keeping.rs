//! A match over the relay outlives the lobby server: its silence is excused for a while, and another leave to use the
//! relay takes the place of the one that the server has forgotten.

use std::time::Instant;

use super::Peer;
use crate::api::PathKind;
use crate::config::{AgentConfig, RelayPolicy};
use crate::cx::Cx;
use crate::failure::NoRelay;
use crate::login::ServerLink;
use crate::method::Method;
use crate::way::Way;
use crate::wire::message::{KeptMatch, RelayGrant};

impl Peer {
    /// Returns whether the player is silent because the server is, through which it plays: that says nothing about
    /// the other player.
    pub(crate) fn is_excused(&self, now: Instant, config: &AgentConfig, link: &ServerLink) -> bool {
        self.plays_over_relay()
            && now.saturating_duration_since(self.last_heard) < config.relay_timeout
            && link.was_interrupted(now, self.last_heard)
    }

    pub(super) fn plays_over_relay(&self) -> bool {
        self.is_connected() && self.is_relayed()
    }

    /// Returns what a server that was started anew has to know of it.
    pub(crate) fn kept(&self) -> Option<KeptMatch> {
        self.is_live().then(|| KeptMatch {
            match_id: self.match_id,
            player: self.info.id,
            hosting: self.plan.hosting,
            edition: self.attempt.edition(),
        })
    }

    /// The relay carries again, by another token.
    pub(crate) fn renew_relay(&mut self, cx: &mut Cx<'_>, grant: RelayGrant) {
        let Some(server) = self.server.or(cx.link.uplink().map(|uplink| uplink.remote)) else { return };
        if !self.is_live() || cx.config.relay == RelayPolicy::Never {
            return;
        }
        (self.plan.relay, self.plan.no_relay) = (Some(grant), None);
        self.server = Some(server);
        self.paths.add(cx.now, Way::relay(server), PathKind::Relay, Method::Cone);
        self.paths.revive_relay(cx.now);
    }

    /// The server was restarted, and gives this match no relay any more.
    pub(crate) fn no_relay(&mut self, why: NoRelay) {
        (self.plan.relay, self.plan.no_relay) = (None, Some(why));
    }
}
