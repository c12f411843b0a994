//! Everything that can be set about an [`Agent`](crate::Agent), with the reasons for the defaults.

use std::time::Duration;

use crate::facts::{BubbleTargets, NatFacts};
use crate::kept::KeptProfile;
use crate::method::Method;
use crate::secret::Secret;

/// [`AgentConfig::ports_ahead`] may be this at the most: half of what may leave in a second.
pub const MOST_PORTS_AHEAD: u16 = 96;

/// These are the settings of a player's agent.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// This names the game: rooms are kept apart by it. It has at most 64 bytes.
    pub game: String,
    /// This numbers the game's own protocol: players of different numbers do not meet. The default is 0.
    pub game_protocol: u32,
    /// Others see this display name. It has at most 32 characters and 48 bytes: what is more, or cannot be shown, is
    /// left out ([`text::NAME`](crate::text::NAME)).
    pub name: String,
    /// These bytes are checked by a hook on the server (default: none); nobody else looks into them.
    pub token: Secret<Vec<u8>>,
    /// The server must have one of these public keys. Where this is empty (the default), the first key that is seen is
    /// trusted.
    pub server_keys: Vec<[u8; 32]>,
    /// This says whether to try the LAN path where the server says both are behind one NAT (default: yes).
    pub lan: bool,
    /// This says whether and how the relay serves (default: [`RelayPolicy::Allow`]).
    pub relay: RelayPolicy,
    /// This says whether to log in and play over TCP to the server where UDP does not get through (default: yes).
    pub tcp: bool,
    /// Only this method is tried, with nothing beside it. `None`, the default, tries all that may work.
    pub method: Option<Method>,
    /// This says who works out the NAT's type (M7; default: [`Detect::Server`]).
    pub detect: Detect,
    /// This is what is known of the own NAT beforehand, fact by fact (M9). Each wins over the measured one; what is
    /// not set is measured. By default nothing is set. What [`NatFacts::check`] refuses is left out.
    pub manual: NatFacts,
    /// Bubbles are aimed at these ports of the other player's NAT, too (M9, M13). By default there are none beside
    /// the port where the lobby server sees the other player.
    pub bubble_targets: Option<BubbleTargets>,
    /// This is what was measured at earlier starts, as hints until it is measured anew ([`kept`](crate::kept)). By
    /// default it is empty.
    pub kept: Vec<KeptProfile>,
    /// A server may be silent for this long at a login before [`Event::Lobby`](crate::Event) says so (default 4 s). It
    /// is asked again with backoff after that, and a late answer still counts: once it has begun to answer, it is
    /// waited for as long as its round trip demands, so that a login over 5 s comes about.
    pub login_timeout: Duration,
    /// A request to the server may take this long (default 4 s); on a way whose answers take longer than a second, four
    /// times as long as an answer. What is asked for before the login waits for it.
    pub request_timeout: Duration,
    /// A request to join may take this long (default 25 s), while the host makes up its mind (M23).
    pub allow_timeout: Duration,
    /// One attempt to connect to a player may take this long (default 10 s); the plan may shorten it. The time until
    /// both NATs are known does not count, up to as much again: who joins right after the login has its ten seconds,
    /// too.
    pub connect_deadline: Duration,
    /// A match may wait this long (default 60 s) for its turn to search by many sockets or ports, while this player or
    /// the other one does so for another match ([`Caps`]). Meanwhile it plays over the relay; without one its deadline
    /// waits, too.
    pub search_wait: Duration,
    /// This is the first wait before another login after the server was lost (default 0.5 s); it doubles up to
    /// `relogin_max`, with jitter.
    pub relogin_min: Duration,
    /// No wait before another login is longer than this (default 15 s), see `relogin_min`.
    pub relogin_max: Duration,
    /// After this much idle time (default 15 s) a keepalive goes to the server, until the NAT's timeout is known (M31).
    /// RFC 4787 demands 2 minutes, RFC 8445 keeps alive every 15 s, and NATs with 20 s exist.
    pub keepalive: Duration,
    /// An established path carries an authenticated ping once in this time (default 400 ms); each measures the round trip.
    pub path_ping: Duration,
    /// A player of whom nothing authentic arrived for this long is away, [`Event::PeerAway`](crate::Event::PeerAway)
    /// (default 4 s); on a longer way, after three times as long as an answer takes, up to 20 s.
    pub path_timeout: Duration,
    /// A player who is away is waited for this long (default 60 s), counted from the last answer: then the connection
    /// is lost, on both sides. It covers a machine that sleeps for a moment, a router that starts anew, and a change of
    /// network. Where it is not longer than `path_timeout`, nobody is waited for. The server keeps a member's place in
    /// the room by the room's own setting ([`RoomOptions::keep_seat`](crate::wire::message::RoomOptions::keep_seat)).
    pub away_timeout: Duration,
    /// A host's silence over the relay is laid for this long to the lobby server, where that does not answer or has
    /// only just come back (default 20 s): until then the host is not reported as missing, and hosts on. It is the time
    /// for a restart of the server and two tries to log in.
    pub relay_timeout: Duration,
    /// Packets that only open the own NAT get this TTL, in hops (default 5): it leads beyond all own NATs, and not up to the other side's.
    /// Between a home router behind a carrier's NAT and the other player's router lie far more hops than this. `None`:
    /// the system's. Every second try does without, so that it is never needed.
    pub opener_ttl: Option<u8>,
    /// This is M24's n: how many ports further than it was last seen this player's NAT is expected to be when the two
    /// meet by predicted ports, and so how many packets this side sends in a row, 1 to [`MOST_PORTS_AHEAD`]. With
    /// `None` it comes from the measured rate of foreign ports and the round trips of both sides; it is about 10
    /// (S4's own number) where neither is known.
    pub ports_ahead: Option<u16>,
    /// Of what a spectator sends to its host, only this channel passes: it is for the acknowledgements that the game's
    /// netcode needs to send to it, and whoever reads the channel has to take nothing else from a spectator. `None`, the
    /// default: nothing passes.
    pub spectator_channel: Option<u8>,
    /// This is what this player sends at the most, whatever a server or peer asks.
    pub caps: Caps,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            game: String::from("default"),
            game_protocol: 0,
            name: String::from("player"),
            token: Secret::default(),
            server_keys: Vec::new(),
            lan: true,
            relay: RelayPolicy::Allow,
            tcp: true,
            method: None,
            detect: Detect::Server,
            manual: NatFacts::NONE,
            bubble_targets: None,
            kept: Vec::new(),
            login_timeout: Duration::from_secs(4),
            request_timeout: Duration::from_secs(4),
            allow_timeout: Duration::from_secs(25),
            connect_deadline: Duration::from_secs(10),
            // Eight others, each with the 6 s that 1,200 probes take, and some more.
            search_wait: Duration::from_secs(60),
            relogin_min: Duration::from_millis(500),
            relogin_max: Duration::from_secs(15),
            keepalive: Duration::from_secs(15),
            path_ping: Duration::from_millis(400),
            path_timeout: Duration::from_millis(4000),
            away_timeout: Duration::from_secs(60),
            relay_timeout: Duration::from_secs(20),
            // HyperDHT's 5; LiteNetLib and RakNet have 2, frp 7 and 4.
            opener_ttl: Some(5),
            ports_ahead: None,
            spectator_channel: None,
            caps: Caps::default(),
        }
    }
}

/// This says whether the relay may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RelayPolicy {
    /// Players play over the relay when and while there is no direct path.
    #[default]
    Allow,
    /// Players always play over the relay: this player's addresses never leave the server.
    Only,
    /// The relay is never used.
    Never,
}

/// This says where classification is worked out (M7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Detect {
    /// The server works them out (E1).
    #[default]
    Server,
    /// The players work them out (E2): the server only reports the ports that it saw.
    Peer,
}

/// Bounds that hold whatever a server or a peer says. RFC 8445 calls 200 new bindings a second "well supported"
/// by NATs; uncapped searches fill home routers' tables in seconds.
///
/// Beside these numbers: a player searches by many sockets or ports ([`Method::searches`], and bubbles whose range did not
/// answer) for one match at a time. The others wait for their turn ([`AgentConfig::search_wait`]), which the server gives
/// to both sides at once; their cheap methods and the relay go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// At most this many punch datagrams leave in a second, over all peers together (default 200).
    pub datagrams_per_second: u32,
    /// At most this many punch datagrams leave in one attempt (default 2,400).
    pub datagrams_per_attempt: u32,
    /// One attempt sends to at most this many distinct addresses and ports (default 1,200).
    pub targets_per_attempt: u32,
    /// One attempt opens at most this many sockets (default 256).
    pub sockets_per_attempt: u32,
    /// At most this many players are connected, or being connected to, at a time (default 64).
    pub peers: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            datagrams_per_second: 200,
            datagrams_per_attempt: 2400,
            targets_per_attempt: 1200,
            sockets_per_attempt: 256,
            peers: 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_are_what_home_routers_bear() {
        let caps = Caps::default();
        // RFC 8445's floor of 5 ms a binding; 256 sockets and 1,200 probes meet a random port in 99 of 100 tries.
        assert_eq!(
            (caps.datagrams_per_second, caps.sockets_per_attempt, caps.targets_per_attempt),
            (200, 256, 1200)
        );
        assert!(caps.datagrams_per_attempt >= caps.targets_per_attempt + caps.sockets_per_attempt);
    }
}
