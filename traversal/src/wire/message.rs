//! What players and server say to each other inside the sealed control channel. One control datagram is one
//! [`Frame`], at most [`MAX_CONTROL`](super::MAX_CONTROL) bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use super::gather::{MAX_MODE, MESH_CAPACITY, QueueStatus, QuickMatch, QuickMatched, Topology};
use super::port_report::PortReport;
pub use super::rendezvous::{Facts, Method, PunchPlan, RelayGrant, Replan, Role};
use crate::failure::FailureReason;
use crate::id::{JoinId, MatchId, PlayerId, RequestId, RoomId};
use crate::nat::NatProfile;

/// Longest display name, in bytes.
pub const MAX_NAME: usize = 48;
/// Longest room name, in bytes.
pub const MAX_ROOM_NAME: usize = 64;
/// Longest reason that a player may give another, in bytes.
pub const MAX_REASON: usize = 200;
/// Longest room password, in bytes.
pub const MAX_PASSWORD: usize = 64;
/// Longest login token, in bytes: with everything else it must fit the one datagram of the handshake.
pub const MAX_TOKEN: usize = 512;
/// A room's metadata as a whole (keys and values), in bytes.
pub const MAX_METADATA: usize = 384;
/// Local addresses that a player may register.
pub const MAX_LOCAL_ADDRESSES: usize = 8;
/// Members in one part of a [`ToPlayer::Members`] snapshot, so that it fits one datagram.
pub const MEMBERS_PER_PART: usize = 12;

/// The outer layer of a sealed control datagram: `B` is [`ToServer`] one way and [`ToPlayer`] the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Frame<B> {
    /// Sent again until acknowledged; delivered once, in any order.
    Reliable {
        /// Counts up from 0 in each direction of a session.
        seq: u32,
        /// The message.
        body: B,
    },
    /// A [`Frame::Reliable`] arrived (again).
    Ack {
        /// Whose.
        seq: u32,
    },
    /// Are you there? Also keeps the NAT's mapping alive (M31).
    Ping {
        /// Comes back in the pong.
        id: u32,
    },
    /// Yes; and this is the address the ping came from, as seen here (M28).
    Pong {
        /// Of the ping.
        id: u32,
        /// Source address of the ping.
        observed: SocketAddr,
    },
    /// Server to a player whose session was heard from a new address: echo this from there.
    PathChallenge {
        /// Unguessable.
        token: [u8; 16],
    },
    /// The echo; only now the session moves to the new address.
    PathResponse {
        /// Of the challenge.
        token: [u8; 16],
    },
    /// From any of the player's sockets to any of the server's: which address and port is this seen at? Never
    /// moves the session's address. Travels as [`Kind::Probe`](super::Kind::Probe).
    Probe(Probe),
    /// The server's answer, to the socket that the probe came from. Travels as `Kind::Probe` too.
    ProbeSeen {
        /// Of the probe.
        tag: u32,
        /// Where the probe was seen.
        observed: SocketAddr,
    },
    /// The sender leaves on purpose; nothing more will come.
    Goodbye {
        /// Why, for a person.
        reason: String,
        /// Logging in again would not help, or would do harm.
        stay_away: bool,
    },
    /// Server to player, from its second address to the port that the player says its router forwards to the game's
    /// socket: the echo, [`ToServer::MappedPort`], proves it. Travels as `Kind::Probe`.
    MappedPortSeen {
        /// Which port this was sent to.
        port: u16,
        /// Unguessable.
        token: [u8; 16],
    },
    /// The server's answer to a [`ProbePurpose::SignedReport`], to the socket that the probe came from. Travels as
    /// `Kind::Probe`.
    PortSeen {
        /// Of the probe.
        tag: u32,
        /// Where and when the probe was seen.
        report: PortReport,
    },
    /// Server to a mapping of the player's, on its own request by [`ProbePurpose::Knock`]. Travels as `Kind::Probe`.
    Knock {
        /// Of the request.
        tag: u32,
    },
}

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Comes back in the answer; unique within the session.
    pub tag: u32,
    /// What the server is to do with the port it sees.
    pub purpose: ProbePurpose,
}

/// See [`Probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProbePurpose {
    /// Just answer from the same socket.
    Report,
    /// Answer from the other port of the same address (M3).
    ReplyFromOtherPort,
    /// Answer from the other address (M1).
    ReplyFromOtherAddress,
    /// A range probe of a match (M14, M20, M21): the server keeps what it saw for the other side's range.
    Range {
        /// Which match.
        match_id: MatchId,
        /// Which try; counts up when the plan is repeated.
        round: u16,
        /// First or second, see M14.
        second: bool,
    },
    /// The newest port of this player's NAT, for prediction (M23).
    Newest {
        /// Which match.
        match_id: MatchId,
        /// Which try.
        round: u16,
    },
    /// Answer from the other address with a [`Frame::MappedPortSeen`], to this port of the address that the session is
    /// validated at. The IP is not the player's to choose, so no stranger can be named.
    MappedPort {
        /// The port that the player's router forwards to the game's socket; not a well-known one.
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
        /// What the server answered to a [`SignedReport`](Self::SignedReport).
        report: PortReport,
    },
}

/// Tag of [`ProbePurpose::Register`]. Comes in the other family than all other probes of the session, so that it
/// cannot be mistaken.
pub const REGISTER_TAG: u32 = u32::MAX;

/// First message of a player, inside the Noise handshake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Login {
    /// Which game: rooms and names are kept apart by it.
    pub game: String,
    /// The game's own protocol number; rooms only take players of the same.
    pub game_protocol: u32,
    /// Display name; need not be unique.
    pub name: String,
    /// Opaque to us; a hook on the server may check it.
    pub token: Vec<u8>,
    /// X25519 key of this login, from which keys with other players are made.
    pub ephemeral: [u8; 32],
    /// Addresses of the machine's own interfaces, with the game socket's port (M28).
    pub local: Vec<SocketAddr>,
    /// A relay-only player: its addresses never leave the server.
    pub relay_only: bool,
}

/// The server's yes, inside the Noise handshake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// Stands in front of this session's datagrams.
    pub session: u64,
    /// Where the server saw the player (M28).
    pub observed: SocketAddr,
    /// The server's sockets that take probes, as `[first address, first port], [first, second], [second,
    /// first], [second, second]`; fewer where it has one address.
    pub probe_targets: Vec<SocketAddr>,
    /// Seconds without any datagram after which the server forgets the session.
    pub session_timeout_s: u32,
    /// The server's addresses in the other family than the player's, for [`ProbePurpose::Register`].
    pub other_family: Vec<SocketAddr>,
}

/// Why a login was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum LoginRefusal {
    /// The server does not serve this game.
    #[error(
        "this server does not serve the game \"{game}\"; ask its operator for the right address or game id"
    )]
    UnknownGame {
        /// As the player named it.
        game: String,
    },
    /// The operator's token check said no.
    #[error("login refused: {reason}")]
    Token {
        /// The check's own words.
        reason: String,
    },
    /// A field was too long or malformed.
    #[error("login refused: {what} is not valid")]
    Malformed {
        /// Which one.
        what: String,
    },
    /// The server, or this address's share of it, is full.
    #[error("the lobby server is full; try again later")]
    Full,
    /// The server is about to stop.
    #[error("the lobby server is stopping; try again in a minute")]
    Stopping,
}

/// The server's answer to a login.
pub type LoginReply = Result<Welcome, LoginRefusal>;

/// A player as others may see it: no addresses (M27).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerInfo {
    /// Who.
    pub id: PlayerId,
    /// Display name.
    pub name: String,
}

/// What a host says about its room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomOptions {
    /// Unique per game on a server; empty: the server takes the code as the name.
    pub name: String,
    /// Players, with the host, 2..=64.
    pub capacity: u16,
    /// Asked of everyone who joins.
    pub password: Option<String>,
    /// Stands in listings.
    pub public: bool,
    /// The server lets players in without asking the host (M23's allowance, given beforehand).
    pub auto_allow: bool,
    /// A small map of strings, shown in listings.
    pub metadata: BTreeMap<String, String>,
    /// When the host leaves or is lost, another member becomes host and the room lives on. Off: it closes.
    pub migrate: bool,
    /// Who is connected to whom. A mesh takes at most [`MESH_CAPACITY`] players.
    pub topology: Topology,
}

impl Default for RoomOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            capacity: 8,
            password: None,
            public: true,
            auto_allow: true,
            metadata: BTreeMap::new(),
            migrate: true,
            topology: Topology::default(),
        }
    }
}

/// How a player names the room it wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoomTarget {
    /// By its name.
    Name(String),
    /// By its short code, upper or lower case.
    Code(String),
}

/// A room as a member sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomInfo {
    /// Which.
    pub id: RoomId,
    /// Name.
    pub name: String,
    /// Short code to tell a friend: six characters without look-alikes.
    pub code: String,
    /// Who decides.
    pub host: PlayerId,
    /// Players it takes, with the host.
    pub capacity: u16,
    /// See [`RoomOptions::metadata`].
    pub metadata: BTreeMap<String, String>,
    /// See [`RoomOptions::public`].
    pub public: bool,
    /// See [`RoomOptions::auto_allow`].
    pub auto_allow: bool,
    /// See [`RoomOptions::migrate`].
    pub migrate: bool,
    /// How often the room changed its host.
    pub epoch: u32,
    /// Who is connected to whom.
    pub topology: Topology,
}

impl RoomInfo {
    /// The options that make such a room, but for the password, which the server does not tell.
    pub fn options(&self, password: Option<String>) -> RoomOptions {
        RoomOptions {
            name: self.name.clone(),
            capacity: self.capacity,
            password,
            public: self.public,
            auto_allow: self.auto_allow,
            metadata: self.metadata.clone(),
            migrate: self.migrate,
            topology: self.topology,
        }
    }
}

/// A member's right to come back into its room, also after the server was restarted. For the host it is the right to
/// host it: the room belongs to whoever has the host's ticket of the newest epoch.
///
/// The server keeps none of them: it makes the seal with a key made of its long-lived one, so that it can check it
/// after a restart. It covers the game, the room's id, name and code, the epoch, the host and the holder.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomTicket {
    /// Which room.
    pub room: RoomId,
    /// As of when.
    pub epoch: u32,
    /// Who hosts the room in this epoch.
    pub host: PlayerId,
    /// Made by the server for the one player who holds the ticket.
    pub seal: [u8; 16],
}

impl std::fmt::Debug for RoomTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomTicket")
            .field("room", &self.room)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// A room as a stranger sees it in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSummary {
    /// Name.
    pub name: String,
    /// Short code.
    pub code: String,
    /// The host's display name.
    pub host_name: String,
    /// Players inside, with the host.
    pub members: u16,
    /// Players it takes.
    pub capacity: u16,
    /// Asks for a password.
    pub password: bool,
    /// See [`RoomOptions::metadata`].
    pub metadata: BTreeMap<String, String>,
}

/// Player to server, reliably.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ToServer {
    /// Wants an answer ([`ToPlayer::Response`]).
    Request {
        /// Comes back in the answer.
        id: RequestId,
        /// What is asked.
        request: Request,
    },
    /// The machine's addresses changed.
    LocalAddresses(Vec<SocketAddr>),
    /// The host's answer to [`ToPlayer::JoinRequest`] (M23).
    JoinAnswer {
        /// Whose wish.
        join: JoinId,
        /// Let in?
        allow: bool,
        /// For the player, when not.
        reason: String,
    },
    /// How a match went, for the server's counters and for the other side.
    MatchReport {
        /// Which.
        match_id: MatchId,
        /// How.
        outcome: MatchOutcome,
        /// Why not (directly), as far as this side knows.
        cause: Option<FailureReason>,
    },
    /// What the classification found (M7).
    Profile {
        /// As the player sees it.
        profile: NatProfile,
        /// The server is to check it against what it saw itself, and to answer with [`ToPlayer::Profile`] (E1).
        check: bool,
    },
    /// A member about its host: in answer to [`ToPlayer::ConfirmLoss`], or unasked when its channel to the host is
    /// gone. Where the server does not hear the host either, and no member does, the room gets another one.
    HostSeen {
        /// The room.
        room: RoomId,
        /// Which host: the one of this epoch.
        epoch: u32,
        /// This member still hears it.
        heard: bool,
    },
    /// The match plays over the relay and its attempt is over: both sides are to try once more, with a
    /// [`ToPlayer::Replan`].
    PunchAgain {
        /// Which.
        match_id: MatchId,
    },
    /// The forwarded port leads here: the token of [`Frame::MappedPortSeen`]. None: it does not any more.
    MappedPort(Option<[u8; 16]>),
    /// The player's bubble left by one of these ports, as it has measured itself (E2).
    ClaimRange {
        /// Which match.
        match_id: MatchId,
        /// Which try.
        round: u16,
        /// Signed port step.
        step: i32,
        /// The server's own reports of the first and the second range probe.
        reports: [PortReport; 2],
    },
}

/// See [`ToServer::MatchReport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MatchOutcome {
    /// A direct path stands.
    Direct,
    /// Plays over the relay.
    Relayed,
    /// No path within the deadline.
    Failed,
    /// The path was lost and no other found.
    Lost,
    /// One side ended it on purpose.
    Closed,
}

/// What a player may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request {
    /// Open a room and be its host.
    CreateRoom {
        /// How it is to be.
        options: RoomOptions,
    },
    /// Enter one.
    JoinRoom {
        /// Which.
        target: RoomTarget,
        /// If it wants one.
        password: Option<String>,
    },
    /// Leave the room this player is in. When its host leaves, another member hosts it, or it closes: see
    /// [`RoomOptions::migrate`].
    LeaveRoom,
    /// A page of the public rooms of this game, in the order of their names.
    ListRooms {
        /// Names after this one.
        after: Option<String>,
    },
    /// Host only: put a member out.
    Kick {
        /// Whom.
        player: PlayerId,
        /// Told to it.
        reason: String,
    },
    /// Host only: new metadata.
    SetMetadata(BTreeMap<String, String>),
    /// Come back into a room, after a new login or a restart of the server. Whoever still has its channel to the
    /// host keeps it: a match is made only where the host is another one by now.
    TakeUpRoom {
        /// The right to.
        ticket: RoomTicket,
        /// The room's short code.
        code: String,
        /// How the room is, as this player knows it, for a server that forgot.
        options: RoomOptions,
    },
    /// Wait for players who want the same. Answered with [`Response::Done`]; then [`ToPlayer::Queue`] follows, and in
    /// the end [`ToPlayer::QuickMatched`].
    QuickMatch(QuickMatch),
    /// Wait no longer.
    LeaveQueue,
    /// In a mesh, of the one who came later: this pair has no connection (any more), make one.
    Rematch {
        /// With whom.
        player: PlayerId,
    },
}

/// The server's answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Response {
    /// The room is open, or entered. Members follow as [`ToPlayer::Members`].
    Room(RoomInfo),
    /// Done.
    Done,
    /// A page of rooms.
    Rooms {
        /// The page.
        rooms: Vec<RoomSummary>,
        /// There are more after the last one.
        more: bool,
    },
}

/// Why a [`Request`] failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nothing under this name or code.
    #[error("there is no such room; check its name or code, or wait for its host")]
    NoSuchRoom,
    /// As many as it takes.
    #[error("the room is full")]
    RoomFull,
    /// Or none was given.
    #[error("wrong room password")]
    WrongPassword,
    /// Another host has it.
    #[error("a room of this name exists already; choose another name")]
    NameTaken,
    /// The host said no.
    #[error("the host refused: {reason}")]
    Refused {
        /// The host's words.
        reason: String,
    },
    /// The host did not answer in time.
    #[error("the host did not answer the request to join")]
    HostSilent,
    /// The room's game speaks another protocol.
    #[error("this room needs version {room} of the game, yours is {yours}")]
    OtherVersion {
        /// Of the room.
        room: u32,
        /// Of the player.
        yours: u32,
    },
    /// Leave the present room first.
    #[error("you are in a room already; leave it first")]
    AlreadyInRoom,
    /// For example leaving without being inside.
    #[error("you are not in a room")]
    NotInRoom,
    /// Only the host may.
    #[error("only the host of the room can do this")]
    NotHost,
    /// That player is not registered, or not in this room (M34).
    #[error("that player is not here")]
    NoSuchPlayer,
    /// A field too long, out of range or empty.
    #[error("{what} is not valid")]
    Malformed {
        /// Which one.
        what: String,
    },
    /// A limit of the server.
    #[error("too many requests or rooms; try again in {retry_after_s} s")]
    Limited {
        /// Seconds.
        retry_after_s: u32,
    },
    /// The server's registry did not answer.
    #[error("the lobby server's registry does not answer; try again later")]
    RegistryUnavailable,
    /// The server is about to stop.
    #[error("the lobby server is stopping; try again in a minute")]
    Stopping,
    /// The room has had another host since; to the player who hosted it.
    #[error("another player hosts the room by now (change {epoch} of its host); join it as a member")]
    StaleHost {
        /// The room's present epoch.
        epoch: u32,
    },
    /// The ticket is not this server's, or for another room or player.
    #[error("the server does not know this place in the room; join it anew")]
    BadTicket,
    /// One queue at a time, and none beside a room.
    #[error("you are waiting for a quick match; cancel that first")]
    AlreadyQueued,
    /// For example when the match was made in the same moment.
    #[error("you are not waiting for a quick match")]
    NotQueued,
}

/// Server to player, reliably.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ToPlayer {
    /// To a [`ToServer::Request`].
    Response {
        /// Of the request.
        id: RequestId,
        /// The answer.
        result: Result<Response, RequestError>,
    },
    /// Who is in the room. Snapshots, newest revision wins; the parts of one revision belong together.
    Members {
        /// Which room.
        room: RoomId,
        /// Counts up with each change.
        revision: u32,
        /// 0-based.
        part: u8,
        /// How many parts this revision has.
        parts: u8,
        /// The host first.
        members: Vec<PlayerInfo>,
    },
    /// New metadata.
    RoomChanged(RoomInfo),
    /// The player is no longer in the room.
    RoomEnded {
        /// Which.
        room: RoomId,
        /// Why.
        reason: RoomEnd,
    },
    /// To the host: someone asks to come in (M23).
    JoinRequest {
        /// To be answered with it.
        join: JoinId,
        /// Who.
        player: PlayerInfo,
    },
    /// Connect to this player, so.
    Plan(Box<PunchPlan>),
    /// News about a match that runs.
    Facts {
        /// Which.
        match_id: MatchId,
        /// What.
        facts: Facts,
    },
    /// A better plan for a match that has no direct path yet: more is known about the NATs now.
    Replan(Box<Replan>),
    /// Drop the match: the other side left, was kicked or is gone.
    MatchEnded {
        /// Which.
        match_id: MatchId,
        /// Why.
        reason: MatchEnd,
    },
    /// What the classification found, where it is done on the server (M7).
    Profile(NatProfile),
    /// The right to come back into the room; a new one with each epoch.
    Ticket(RoomTicket),
    /// The server does not hear the host of the room: does this member? Answered by [`ToServer::HostSeen`].
    ConfirmLoss {
        /// The room.
        room: RoomId,
        /// Of the host in question.
        epoch: u32,
    },
    /// To a member who lost the host: the host is there, so it stays host.
    HostStands {
        /// The room.
        room: RoomId,
        /// Of the host in question.
        epoch: u32,
    },
    /// The room has another host. Its plans follow.
    HostChanged {
        /// The room as it is now.
        room: RoomInfo,
        /// Who hosted it before.
        previous: PlayerId,
    },
    /// How a quick match comes along.
    Queue(QueueStatus),
    /// The wait for a quick match is over, and this is why.
    QueueClosed(RequestError),
    /// The players of a quick match are together: this one is in the room now.
    QuickMatched(Box<QuickMatched>),
    /// Other players are told this port now, and plans count on it. None: no more.
    MappedPort(Option<u16>),
}

/// Why a player is out of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum RoomEnd {
    /// The host closed it.
    #[error("the host closed the room")]
    Closed,
    /// The host is gone.
    #[error("the host is gone")]
    HostLost,
    /// Put out by the host.
    #[error("removed by the host: {reason}")]
    Kicked {
        /// The host's words.
        reason: String,
    },
    /// This player logged in elsewhere.
    #[error("this player logged in from another place")]
    Replaced,
    /// This player hosted the room and was lost, so another one hosts it.
    #[error("another player hosts the room by now (change {epoch} of its host); join it as a member")]
    HostReplaced {
        /// The room's present epoch.
        epoch: u32,
    },
}

/// Why a match is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum MatchEnd {
    /// The other player left the room.
    #[error("the other player left")]
    Left,
    /// The other player was put out, or this one.
    #[error("removed by the host")]
    Kicked,
    /// The other player's session timed out.
    #[error("the other player is gone")]
    Gone,
    /// A newer match of the same two players takes its place.
    #[error("replaced by a newer connection")]
    Replaced,
    /// The room has another host, who takes the other player's place.
    #[error("another player hosts the room now")]
    Migrated,
}
