//! What a message is about, so that a newer one can take an older one's place while that still waits.

use super::members::key_hash;
use super::{ChatNews, Facts, PartyNews, RoomNews, ToPlayer, ToServer};
use crate::id::{CallId, JoinId, MatchId, PlayerId, RoomId};

/// A topic is a state that messages tell. Of two messages about one topic the newer one says all that is to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Topic {
    /// It is about one part of the list of a room's members.
    Members(RoomId, u8),
    /// It is about the room's metadata.
    Room(RoomId),
    /// This says whether the player is in the room.
    RoomEnded(RoomId),
    /// It is about the right to come back into a room.
    Ticket(RoomId),
    /// This says who may not come back into a room, beginning with this player.
    KickNotes(RoomId, PlayerId),
    /// This says how many passwords for the room were wrong.
    WrongPasswords(RoomId),
    /// This says whether the host of a room is lost.
    ConfirmLoss(RoomId),
    /// This is about a host that stands, or is in question.
    HostStands(RoomId),
    /// It is about who hosts a room.
    HostChanged(RoomId),
    /// It is about somebody's wish to come in.
    Join(JoinId),
    /// It is about the plan of a match.
    Plan(MatchId),
    /// It is about the newest plan of a match.
    Replan(MatchId),
    /// It is about a fact about the other side; the number tells its kind.
    Facts(MatchId, u8),
    /// This says whether a match may search by many sockets or ports.
    Search(MatchId),
    /// It is about the way through the relay.
    Relay(MatchId),
    /// It is about the end of a match.
    MatchEnded(MatchId),
    /// It is about the player's own NAT.
    Profile,
    /// It is about the player's forwarded port.
    MappedPort,
    /// It is about the player's place in a queue.
    Queue,
    /// This says at which other node the player is to log in.
    GoTo,
    /// It is about the other nodes of the same servers.
    Nodes,
    /// It is about what a member of a room says of itself.
    Member(RoomId, PlayerId),
    /// It is about a property of a room, with this number.
    Property(RoomId, u32),
    /// It is about which properties a room has.
    Keys(RoomId),
    /// It is about a room's countdown.
    Countdown(RoomId),
    /// It is about a call.
    Call(CallId),
    /// It is about a match that was found.
    MatchFound,
    /// It is about the teams of a room.
    Teams(RoomId),
    /// It is about one part of the list of a room's seats.
    Seats(RoomId, u8),
    /// It is about the seat that is kept for the player.
    SeatKept,
    /// This says that this player has a seat in a room.
    SeatNote(RoomId, PlayerId),
    /// This says whether there is chat.
    ChatSwitch,
    /// It is about the player's party.
    Party,
    /// It is about the right to be in a party.
    PartyTicket,
    /// This is an invitation of this player to a party.
    PartyInvite(PlayerId),
    /// It is about the search of a room for more players.
    Backfill(RoomId),
}

impl Topic {
    /// Returns the match that it is of.
    pub fn match_id(self) -> Option<MatchId> {
        match self {
            Self::Plan(id)
            | Self::Replan(id)
            | Self::Facts(id, _)
            | Self::Search(id)
            | Self::Relay(id)
            | Self::MatchEnded(id) => Some(id),
            _ => None,
        }
    }

    /// Returns the room that it is of.
    pub fn room(self) -> Option<RoomId> {
        match self {
            Self::Members(id, _)
            | Self::Room(id)
            | Self::RoomEnded(id)
            | Self::Ticket(id)
            | Self::KickNotes(id, _)
            | Self::WrongPasswords(id)
            | Self::Teams(id)
            | Self::ConfirmLoss(id)
            | Self::HostStands(id)
            | Self::HostChanged(id)
            | Self::Member(id, _)
            | Self::Property(id, _)
            | Self::Keys(id)
            | Self::Countdown(id)
            | Self::Backfill(id)
            | Self::SeatNote(id, _)
            | Self::Seats(id, _) => Some(id),
            _ => None,
        }
    }
}

/// These messages may tell a state.
pub trait Topical {
    /// Returns what this one is about; `None`: it is an event, or an answer, and no other one takes its place.
    fn topic(&self) -> Option<Topic>;
}

impl Topical for ToServer {
    fn topic(&self) -> Option<Topic> {
        None
    }
}

impl Topical for ToPlayer {
    fn topic(&self) -> Option<Topic> {
        Some(match self {
            Self::Response { .. }
            | Self::QueueClosed(_)
            | Self::QuickMatched(_)
            | Self::Announcement { .. }
            | Self::Rooms(_)
            | Self::Contacts(_)
            | Self::Chat(ChatNews::Text { .. }) => return None,
            Self::Chat(ChatNews::Switched { .. }) => Topic::ChatSwitch,
            Self::Call(news) => Topic::Call(news.call()),
            Self::GoTo(_) => Topic::GoTo,
            Self::Nodes(_) => Topic::Nodes,
            Self::Members { room, part, .. } => Topic::Members(*room, *part),
            Self::RoomChanged(room) => Topic::Room(room.id),
            Self::RoomEnded { room, .. } => Topic::RoomEnded(*room),
            Self::JoinRequest { join, .. } => Topic::Join(*join),
            Self::Plan(plan) => Topic::Plan(plan.match_id),
            Self::Facts { match_id, facts } => Topic::Facts(
                *match_id,
                match facts {
                    Facts::Range { .. } => 0,
                    Facts::Newest { .. } => 1,
                    Facts::PeerPublic(_) => 2,
                    Facts::OpenRange { .. } => 3,
                    // Two methods side by side tell their own (the three bits above the attempt's eight).
                    Facts::Kept { round, .. } => 8 + (*round >> 8 & 7) as u8,
                },
            ),
            Self::Replan(plan) => Topic::Replan(plan.match_id),
            Self::MatchEnded { match_id, .. } => Topic::MatchEnded(*match_id),
            Self::Profile(_) => Topic::Profile,
            Self::Ticket(ticket) => Topic::Ticket(ticket.room),
            Self::ConfirmLoss { room, .. } => Topic::ConfirmLoss(*room),
            Self::HostStands { room, .. } | Self::HostInQuestion { room, .. } => Topic::HostStands(*room),
            Self::HostChanged { room, .. } => Topic::HostChanged(room.id),
            Self::Queue(_) => Topic::Queue,
            Self::MatchFound(_) => Topic::MatchFound,
            Self::Teams(teams) => Topic::Teams(teams.room),
            Self::MappedPort(_) => Topic::MappedPort,
            Self::Search { match_id, .. } => Topic::Search(*match_id),
            Self::Relay { match_id, .. } | Self::NoRelay { match_id, .. } => Topic::Relay(*match_id),
            Self::KickNotes { room, notes } => Topic::KickNotes(*room, notes.first()?.player),
            Self::WrongPasswords { room, .. } => Topic::WrongPasswords(*room),
            Self::InRoom { room, news } => match news {
                RoomNews::Member { player, .. } => Topic::Member(*room, *player),
                RoomNews::Property { key, .. } => Topic::Property(*room, key_hash(key)),
                RoomNews::Keys { .. } => Topic::Keys(*room),
                RoomNews::Countdown(_) | RoomNews::CountdownCancelled { .. } => Topic::Countdown(*room),
                RoomNews::Backfill { .. } => Topic::Backfill(*room),
            },
            Self::Seats { room, part, .. } => Topic::Seats(*room, *part),
            Self::SeatKept(_) => Topic::SeatKept,
            Self::Party(news) => match news {
                PartyNews::State(_) => Topic::Party,
                PartyNews::Ticket(_) => Topic::PartyTicket,
                PartyNews::Invited { from, .. } => Topic::PartyInvite(from.id),
                PartyNews::Ended { .. } => return None,
            },
            // Of somebody who comes and goes one note is enough; those of several come once, with a new host.
            Self::SeatNotes { room, notes } => match notes.as_slice() {
                [note] => Topic::SeatNote(*room, note.player.id),
                _ => return None,
            },
        })
    }
}
