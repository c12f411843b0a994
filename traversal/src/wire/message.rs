//! What players and server say to each other inside the sealed control channel. One control datagram is one
//! [`Frame`], at most [`MAX_CONTROL`](super::MAX_CONTROL) bytes.
//!
//! `frame` is the outer layer and the probes, `login` what the handshake carries, `to_server` and `to_player` the two
//! directions; `room`, `seats`, `seat_notes`, `listing`, `contacts`, `gather` (room shapes, quick matches), `invite`, `members` (what
//! members tell each other), `party`, `calls`, `chat` and `rendezvous` (plans and facts of a match) are what they speak of.

mod calls;
mod chat;
mod contacts;
mod frame;
mod gather;
mod invite;
mod listing;
mod login;
mod members;
mod party;
mod quick;
mod rendezvous;
mod room;
mod seat_notes;
mod seats;
mod to_player;
mod to_server;
mod topic;

pub use crate::failure::NoRelay;
pub use crate::method::{ExpectedWay, Method, PlannedMethod, Role};
pub use crate::text::{MAX_METADATA, MAX_MODE, MAX_NAME, MAX_REASON, MAX_ROOM_NAME};
pub use calls::{CallAnswer, CallEnd, CallNews, CallPlace, CallRequest};
pub use chat::{ChatFault, ChatNews, ChatPlace, ChatRequest, ChatTo, checked_chat};
pub use contacts::{CONTACTS_PER_PART, ContactNews, ContactsRequest, MAX_CONTACTS, Presence, Status};
pub use frame::{Farewell, Frame, Probe, ProbePurpose, REGISTER_TAG};
pub use gather::{MESH_CAPACITY, QueueStatus, QuickMatch, QuickMatched, Topology};
pub use invite::{InviteFault, InviteTerms, InviteToken, MAX_INVITE_MINUTES, MAX_OPEN_INVITES};
pub use listing::{
    FilterTest, LISTED_PREFIX, MAX_FILTER_BYTES, MAX_FILTER_VALUES, MAX_FILTERS, MAX_LISTED,
    MAX_LISTED_METADATA, MAX_NAMED_METADATA, MAX_SHOWN_KEYS, MAX_WATCHED, MIN_WATCH_PAUSE_MS, QueryError,
    RoomCursor, RoomFilter, RoomQuery, RoomSort, RoomsNews,
};
pub use login::{Login, LoginRefusal, LoginReply, TicketFault, Welcome};
pub use members::{
    Changes, CountdownEnd, CountdownRule, InRoom, MAX_CHANGES, MAX_COUNTDOWN_MS, MAX_MEMBER_BYTES,
    MAX_MEMBER_PROPERTIES, MAX_ROOM_BYTES, MAX_ROOM_PROPERTIES, MAX_TEAMS, MemberChanges, MemberState,
    PropertiesOf, RoomNews, ServerCountdown, TeamWish, check_teams, key_hash, parts_of,
};
pub use party::{MAX_PARTY, PartyEnd, PartyInfo, PartyMember, PartyNews, PartyRequest, PartyTicket};
pub use quick::{
    BackfillStatus, MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTES, MAX_QUICK_TEAMS, MAX_STEPS, MatchFound, NumberRule,
    QuickRules, Teams, TextRule,
};
pub use rendezvous::{
    Ahead, Facts, KeptMatch, MAX_KEPT, MAX_KEPT_PORTS, PunchPlan, RelayGrant, Replan, RoundTrip, SearchPermit,
};
pub use room::{
    KickNote, PlayerInfo, RoomEnd, RoomInfo, RoomOptions, RoomSummary, RoomTarget, RoomTerms, RoomTicket,
    checked_password,
};
pub use seat_notes::{MAX_SEAT_NOTES, SeatNote};
pub use seats::{
    AwaySeat, BANS_PER_PAGE, MAX_INSIDE, MAX_KEEP_SEAT, MAX_OUT, Rejoin, RoomBan, SeatKept, SeatTerms,
};
pub use to_player::{MatchEnd, RequestError, Response, ToPlayer};
pub use to_server::{MatchOutcome, Request, ToServer};
pub use topic::{Topic, Topical};

/// A room's password has at most this many bytes.
pub const MAX_PASSWORD: usize = 64;
/// A login's token has at most this many bytes: with everything else it must fit the one datagram of the handshake.
pub const MAX_TOKEN: usize = 512;
/// A player may register this many local addresses.
pub const MAX_LOCAL_ADDRESSES: usize = 8;
/// Notes of who was put out in one message, so that it fits one datagram.
pub const MAX_KICK_NOTES: usize = 20;
/// A player is told of at most this many addresses of other nodes: two families of four nodes.
pub const MAX_NODE_ADDRESSES: usize = 8;
/// This many members are in one part of a [`ToPlayer::Members`] snapshot, so that it fits one datagram.
pub const MEMBERS_PER_PART: usize = 12;
