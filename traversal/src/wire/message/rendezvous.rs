//! What two players are told while the server brings them together: the plan of a match, better plans, and facts.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::room::PlayerInfo;

use crate::failure::NoRelay;
use crate::id::{MatchId, PlayerId};
use crate::method::{Method, PlannedMethod, Role};
use crate::nat::NatProfile;
use crate::rtt::RttEstimate;
use crate::seat::Seat;

/// This is all that one side needs to reach the other.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct PunchPlan {
    /// Stands in front of every datagram between the two.
    pub match_id: MatchId,
    /// This player is at the other end.
    pub peer: PlayerInfo,
    /// The other player has this X25519 key since its login.
    pub peer_ephemeral: [u8; 32],
    /// This secret comes from the server's generator, and is the same for both.
    pub pair_secret: [u8; 32],
    /// This says whether this side hosts the room: it decides nothing in punching, but who is renet's server.
    pub hosting: bool,
    /// This side has this role in punching.
    pub role: Role,
    /// This says whether both seem to be behind one NAT (M25's bit).
    pub same_nat: bool,
    /// This says where the server sees the other player.
    pub peer_public: Vec<SocketAddr>,
    /// These addresses are on the other player's own interfaces; they are told only with `same_nat`.
    pub peer_local: Vec<SocketAddr>,
    /// This side's NAT as the server knows it.
    pub own_nat: NatProfile,
    /// This is the other side's NAT, as the server knows it.
    pub peer_nat: NatProfile,
    /// These methods are tried in this order; those that can run together do.
    pub methods: Vec<Method>,
    /// The whole attempt may take this many milliseconds.
    pub deadline_ms: u32,
    /// This is the leave to play through the server, while there is no direct path or where there can be none.
    pub relay: Option<RelayGrant>,
    /// This says why the pair may not use the relay; `None`: it may, or one of the two does not want it.
    pub no_relay: Option<NoRelay>,
    /// The room had changed its host this many times before this match.
    pub epoch: u32,
    /// This says whether this is a pair of a mesh, neither of whom hosts the room. `hosting` is then true for the one
    /// who was there first.
    pub mesh: bool,
    /// This is the other side's round trip to the server, if that is known: what has a part there is waited for so
    /// much longer.
    pub peer_rtt: Option<RoundTrip>,
    /// This is the other player's lasting X25519 key, of which its id is made.
    pub peer_key: [u8; 32],
    /// This says whether the side that does not host only watches: what it sends is dropped.
    pub spectator: bool,
}

impl PunchPlan {
    /// Returns what this player is to the other one.
    pub fn seat(&self) -> Seat {
        match (self.mesh, self.hosting) {
            (true, _) => Seat::MeshPeer,
            (false, true) if self.spectator => Seat::Watched,
            (false, false) if self.spectator => Seat::Spectator,
            (false, true) => Seat::Host,
            (false, false) => Seat::Guest,
        }
    }
}

impl fmt::Debug for PunchPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PunchPlan")
            .field("match_id", &self.match_id)
            .field("peer", &self.peer)
            .field("hosting", &self.hosting)
            .field("role", &self.role)
            .field("same_nat", &self.same_nat)
            .field("peer_public", &self.peer_public)
            .field("peer_local", &self.peer_local)
            .field("own_nat", &self.own_nat)
            .field("peer_nat", &self.peer_nat)
            .field("methods", &self.methods)
            .field("deadline_ms", &self.deadline_ms)
            .field("relay", &self.relay)
            .field("no_relay", &self.no_relay)
            .field("epoch", &self.epoch)
            .field("mesh", &self.mesh)
            .field("peer_rtt", &self.peer_rtt)
            .field("peer_key", &self.peer_key)
            .field("spectator", &self.spectator)
            .finish_non_exhaustive()
    }
}

/// This says how far a player is from the server, as the server has measured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTrip {
    /// This is the smoothed round trip in milliseconds.
    pub ms: u32,
    /// This is its spread ([`RttEstimate::spread`]) in milliseconds.
    pub spread_ms: u32,
}

impl RoundTrip {
    /// Ten seconds are far beyond what a game is played over; a longer one is somebody's invention.
    const LONGEST_MS: u32 = 10_000;

    /// Takes what was measured; none while nothing is.
    pub fn of(timing: RttEstimate) -> Option<Self> {
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        timing.rtt().zip(timing.spread()).map(|(rtt, spread)| Self { ms: ms(rtt), spread_ms: ms(spread) })
    }

    /// Returns what to wait by, whatever was said: neither number counts for more than 10 s.
    pub fn timing(self) -> RttEstimate {
        let time = |ms: u32| Duration::from_millis(ms.min(Self::LONGEST_MS).into());
        RttEstimate::with_spread(time(self.ms), time(self.spread_ms))
    }
}

/// This is a better plan for a match under way, see [`ToPlayer::Replan`](super::ToPlayer::Replan).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replan {
    /// This is the match that it is for.
    pub match_id: MatchId,
    /// This side has this role in punching.
    pub role: Role,
    /// These methods are tried in this order. There is at most one entry for a method.
    pub methods: Vec<PlannedMethod>,
    /// This side's NAT, as the server knows it now.
    pub own_nat: NatProfile,
    /// This is the other side's NAT, as the server knows it now.
    pub peer_nat: NatProfile,
    /// Counts the plans of a match, the first one being 0. With a number that is not new, only the facts about the NATs
    /// are, and what runs goes on.
    pub edition: u8,
}

/// A grant is one side's way through the server's relay.
///
/// It sends [`Kind::Relay`](crate::wire::Kind::Relay), `token`, and its sealed datagram of the match, from the socket
/// of its session to the address that it is logged in at. The other side's datagrams come in the same form, from there,
/// with the same token in front.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayGrant {
    /// Nobody can guess this token; each side has its own.
    pub token: [u8; crate::wire::RELAY_HEADER - 1],
    /// This side may send this many bytes a second in the long run; more is dropped.
    pub bytes_per_second: u32,
    /// It serves for this many seconds, from the plan on.
    pub lifetime_s: u32,
}

impl fmt::Debug for RelayGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token: _, bytes_per_second, lifetime_s } = self;
        f.debug_struct("RelayGrant")
            .field("bytes_per_second", bytes_per_second)
            .field("lifetime_s", lifetime_s)
            .finish_non_exhaustive()
    }
}

/// This is a match that one side still plays, for a server that may have forgotten it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptMatch {
    /// This is the match that goes on.
    pub match_id: MatchId,
    /// This player is at the other end.
    pub player: PlayerId,
    /// This is what [`PunchPlan::hosting`] says in this side's plan.
    pub hosting: bool,
    /// The newest plan has this [`Replan::edition`].
    pub edition: u8,
}

/// A message has at most this many of them, so that it fits a datagram.
pub const MAX_KEPT: usize = 16;

/// Other ports lie this many steps ahead of a port that was seen, for
/// [`ProbePurpose::Newest`](super::ProbePurpose::Newest).
pub type Ahead = [u16; 4];

/// A player whose NAT keeps inner ports may name this many ports at a time.
pub const MAX_KEPT_PORTS: usize = 4;

/// This says whether a match may search by many sockets or ports ([`Method::searches`]) now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SearchPermit {
    /// One of the two takes part in another search. The match keeps its place in line.
    Wait,
    /// Both sides begin now.
    Begin,
    /// The other side has ended its search, or does not want one.
    Off,
}

/// This is what the server learns while a match runs, for the other side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Facts {
    /// The other side's bubble left by one of these ports (M15): every `step`-th from `first` to `last`.
    Range {
        /// The try has this number, made of its plan, method and attempt.
        round: u16,
        /// This is the public IP of the other side's NAT, as the probes were seen.
        ip: std::net::IpAddr,
        /// The first probe was seen at this port.
        first: u16,
        /// The second probe was seen at this port.
        last: u16,
        /// The NAT's ports lie this far apart; negative: they count downwards.
        step: i32,
    },
    /// The other side's NAT has this newest port (M23, M24).
    Newest {
        /// The try has this number, made of its plan, method and attempt.
        round: u16,
        /// It was seen there.
        address: SocketAddr,
        /// Other ports lie this far ahead, as in [`ProbePurpose::Newest`](super::ProbePurpose::Newest).
        ahead: Ahead,
    },
    /// The other side's address changed.
    PeerPublic(Vec<SocketAddr>),
    /// The next packets of the other side leave by these ports, one by each: its NAT keeps the inner port of a socket
    /// that has sent nothing yet (RFC 4787 section 4.2.1).
    Kept {
        /// The try has this number, made of its plan, method and attempt.
        round: u16,
        /// The other side's session is at this public IP.
        ip: std::net::IpAddr,
        /// These are the ports, at most [`MAX_KEPT_PORTS`] of them, no well-known ones.
        ports: Vec<u16>,
    },
    /// Of the two probes around the other side's bubble one was never seen: the bubble left somewhere beyond the other
    /// one's port (M19, M40).
    OpenRange {
        /// The try has this number, made of its plan, method and attempt.
        round: u16,
        /// This is the public IP of the other side's NAT, as the probe was seen.
        ip: std::net::IpAddr,
        /// This is the port of the probe that was seen.
        bound: u16,
        /// The NAT's ports lie this far apart, away from the bound; negative: they count downwards.
        step: i32,
    },
}
