//! The outer layer of the sealed control channel: frames, and the probes that show a NAT's ports.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::rendezvous::Ahead;
use crate::id::MatchId;
use crate::text;
use crate::wire::port_report::PortReport;

/// A frame is the outer layer of a sealed control datagram: `B` is [`ToServer`](super::ToServer) one way and
/// [`ToPlayer`](super::ToPlayer) the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Frame<B> {
    /// Sent again until acknowledged; delivered once, in any order.
    Reliable {
        /// Counts up from 0 in each direction of a session.
        seq: u32,
        /// This is the message that is carried.
        body: B,
    },
    /// The other side says that a [`Frame::Reliable`] arrived (again).
    Ack {
        /// The frame that arrived has this number.
        seq: u32,
        /// The frame came in the datagram with this counter: it tells which of its repetitions, and so the round trip.
        counter: u64,
    },
    /// The sender asks whether the other side is there. It also keeps the NAT's mapping alive (M31).
    Ping {
        /// Comes back in the pong.
        id: u32,
    },
    /// The other side is there, and has seen the ping come from this address (M28).
    Pong {
        /// The ping has this number.
        id: u32,
        /// This is the address that the ping came from.
        observed: SocketAddr,
    },
    /// The server sends this to a player whose session was heard from a new address: echo this from there.
    PathChallenge {
        /// This is a token that nobody can guess.
        token: [u8; 16],
    },
    /// The challenge comes back; only now the session moves to the new address.
    PathResponse {
        /// The challenge carries this token.
        token: [u8; 16],
    },
    /// A player asks from any of its sockets, at any of the server's: which address and port is this seen at? It never
    /// moves the session's address. It travels as [`Kind::Probe`](crate::wire::Kind::Probe).
    Probe(Probe),
    /// This is the server's answer, to the socket that the probe came from. It travels as `Kind::Probe` too.
    ProbeSeen {
        /// The probe carries this tag.
        tag: u32,
        /// This says where the probe was seen.
        observed: SocketAddr,
    },
    /// The sender leaves on purpose; nothing more will come.
    Goodbye {
        /// This says why it ends, for a person; it may be empty.
        #[serde(deserialize_with = "text::read_reason")]
        reason: String,
        /// This says why it ends, for the agent.
        why: Farewell,
    },
    /// The server sends this to a player, from its second address to the port that the player says its router
    /// forwards to the game's socket: the echo, [`ToServer::MappedPort`](super::ToServer::MappedPort), proves it. It
    /// travels as `Kind::Probe`.
    MappedPortSeen {
        /// This was sent to this port.
        port: u16,
        /// This is a token that nobody can guess.
        token: [u8; 16],
    },
    /// This is the server's answer to a [`ProbePurpose::SignedReport`], to the socket that the probe came from. It
    /// travels as `Kind::Probe`.
    PortSeen {
        /// The probe carries this tag.
        tag: u32,
        /// This says where and when the probe was seen.
        report: PortReport,
    },
    /// The server sends this to a mapping of the player's, on its own request by [`ProbePurpose::Knock`]. It travels as
    /// `Kind::Probe`.
    Knock {
        /// The request carries this tag.
        tag: u32,
    },
}

/// This says why the sender of a [`Frame::Goodbye`] leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Farewell {
    /// A player logs out, or the server stops: it may be back.
    Leaving,
    /// The server does not take the login's token, as it turns out: see
    /// [`LoginRefusal::Token`](super::LoginRefusal::Token).
    Token,
    /// The player has logged in from another place. Logging in again would throw that one out.
    Replaced,
    /// The operator of the server has put the player out, who is not to log in again by itself.
    PutOut,
}

/// This is a probe; `purpose` says what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Comes back in the answer; unique within the session.
    pub tag: u32,
    /// This is what the server is to do with the port it sees.
    pub purpose: ProbePurpose,
}

/// This says what a [`Probe`] is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProbePurpose {
    /// The server just answers from the same socket.
    Report,
    /// The server answers from the other port of the same address (M3).
    ReplyFromOtherPort,
    /// The server answers from the other address (M1).
    ReplyFromOtherAddress,
    /// This is a range probe of a match (M14, M20, M21): the server keeps what it saw for the other side's range.
    Range {
        /// This is the match that it is for.
        match_id: MatchId,
        /// The try has this number, which counts up when the plan is repeated.
        round: u16,
        /// This says whether it is the second probe of its pair, see M14.
        second: bool,
    },
    /// The server tells the other side the newest port of this player's NAT, for prediction (M23).
    Newest {
        /// This is the match that it is for.
        match_id: MatchId,
        /// The try has this number, made of its plan, method and attempt.
        round: u16,
        /// This is M24's n: the other side is to send one packet to each of the ports this many steps ahead of the one
        /// that this probe is seen at. The numbers rise; 0: no more.
        ahead: Ahead,
    },
    /// Answer from the other address with a [`Frame::MappedPortSeen`], to this port of the address that the session is
    /// validated at. The IP is not the player's to choose, so no stranger can be named.
    MappedPort {
        /// This is the port that the player's router forwards to the game's socket; not a well-known one.
        port: u16,
    },
    /// This is the player's address in the other family than its session's: the server has it proven by a
    /// [`Frame::PathChallenge`] and names it to matched players. These frames travel as `Kind::Probe`.
    Register,
    /// A range probe of a player that works out its ranges itself (E2): answer with a report that can be shown again.
    SignedReport,
    /// Send one [`Frame::Knock`] to the mapping of this report, and a [`Frame::ProbeSeen`] back to say that it was sent: so
    /// the player learns whether the mapping still lives while the socket behind it has been silent (RFC 5780 section
    /// 4.6). Only from the session's own address, and only with the server's own word that a packet of the session came
    /// from that mapping, at the IP that the session is validated at.
    Knock {
        /// This is what the server answered to a [`SignedReport`](Self::SignedReport).
        report: PortReport,
    },
}

/// The probes of [`ProbePurpose::Register`] carry this tag. It comes in the other family than all other probes of the
/// session, so that it cannot be mistaken.
pub const REGISTER_TAG: u32 = u32::MAX;
