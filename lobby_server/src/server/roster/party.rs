//! What others may be told about a player, and what the server decides by.

use traversal_core::id::PlayerId;
use traversal_core::nat::{Confidence, NatProfile};
use traversal_core::wire::message::PlayerInfo;

use super::{Context, Roster};
use crate::host_choice::HostCandidate;
use crate::ids::Sides;
use crate::matchmaking::Party;
use crate::relay::RelayMode;

impl Roster {
    /// Returns what others may be told about a player, in the end.
    pub(crate) fn party(&self, cx: &Context, player: PlayerId) -> Option<Party> {
        let client = self.sessions.get(&self.players.get(&player)?.session)?;
        let over_stream = cx.is_stream(client.route);
        // By UDP alone: a forwarded port of a player without it is of no use.
        let mapped = client.mapped().filter(|_| !over_stream);
        Some(Party {
            info: PlayerInfo { id: player, name: client.login.name().into() },
            ephemeral: client.login.ephemeral,
            key: client.key,
            public: client.route.peer,
            other: client.other_address(),
            mapped,
            local: client.login.local(),
            relay_only: client.login.relay_only || self.relay_mode(cx, player) == RelayMode::Only,
            over_stream,
            server_ip: cx.told_address(client.route).map(|address| address.ip()),
            // A session by UDP is the proof that UDP gets through, whatever the player thinks.
            nat: match mapped {
                Some(_) => client.profile.with_mapped_port(),
                // Over TCP it is the player that has tried UDP, and knows for how long.
                None if over_stream && !client.profile.udp_blocked => {
                    NatProfile { udp_blocked: true, confidence: Confidence::Stale, ..client.profile }
                }
                None => NatProfile { udp_blocked: over_stream, ..client.profile },
            },
            timing: client.session.timing(),
        })
    }

    /// Returns what the players of a match may be told about each other, if both are here.
    pub(crate) fn parties(&self, cx: &Context, players: Sides<PlayerId>) -> Option<Sides<Party>> {
        Some(Sides { host: self.party(cx, players.host)?, joiner: self.party(cx, players.joiner)? })
    }

    /// Returns whether the players of this one's game may use the relay.
    pub(crate) fn relay_mode(&self, cx: &Context, player: PlayerId) -> RelayMode {
        let of_game =
            self.client_of(player).and_then(|client| cx.config.relay_games.get(client.login.game()));
        of_game.copied().unwrap_or(cx.config.relay)
    }

    /// Returns what speaks for and against a player as a host.
    pub(crate) fn host_candidate(&self, cx: &Context, player: PlayerId) -> HostCandidate {
        let session = self.client_of(player);
        HostCandidate {
            nat: session.map(|client| client.profile).unwrap_or_default(),
            relay_only: self.party(cx, player).is_none_or(|party| party.relay_only),
            rtt: session.and_then(|client| client.session.rtt()),
        }
    }
}
