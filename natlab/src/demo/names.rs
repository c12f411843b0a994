//! What a packet is called: the sources' own words where they have one.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use traversal_core::Said;
use traversal_core::wire::Kind;
use traversal_core::wire::message::{Facts, Frame, Method, ProbePurpose, Request, ToPlayer, ToServer};
use traversal_core::wire::pair::PairMessage;

/// Returns the name of a datagram that is named by its first byte.
pub(super) fn handshake(payload: &[u8]) -> Option<&'static str> {
    Some(match Kind::of(payload)? {
        Kind::Hello => "login: hello",
        Kind::Cookie => "login: cookie",
        Kind::Init => "login: cookie and key",
        Kind::Accept => "login: accepted",
        Kind::Refuse => "login: refused",
        _ => return None,
    })
}

/// This is a player, as far as the names of its packets depend on it.
#[derive(Default)]
pub(super) struct Sender {
    /// By the plan, it sends the bubbles and the other side replies.
    pub(super) sends_bubbles: bool,
    /// The second range probe of its present try has left.
    bracketed: bool,
    /// Where its classification's probes have left from and gone to.
    probed: BTreeSet<[SocketAddr; 2]>,
}

impl Sender {
    /// Says in words what goes to the server; with `own` set, it leaves from the game's socket.
    pub(super) fn for_server(&mut self, frame: &Frame<ToServer>, way: [SocketAddr; 2], own: bool) -> String {
        match frame {
            Frame::Reliable { body, .. } => message(body),
            Frame::Probe(probe) => match &probe.purpose {
                // A fresh socket shows the next port; the same one towards another address, whether it gets another.
                ProbePurpose::Report => {
                    let known = self.probed.iter().any(|[src, dst]| *src == way[0] && *dst != way[1]);
                    self.probed.insert(way);
                    if own || known { "mapping probe" } else { "step probe" }.into()
                }
                ProbePurpose::ReplyFromOtherPort => "filter probe, to be answered from the other port".into(),
                ProbePurpose::ReplyFromOtherAddress => {
                    "filter probe, to be answered from the other address".into()
                }
                ProbePurpose::Range { round, second, .. } => {
                    self.bracketed = *second;
                    format!("range probe, {} of try {round}", if *second { "second" } else { "first" })
                }
                ProbePurpose::Newest { round, .. } => format!("newest-port probe of try {round}"),
                ProbePurpose::SignedReport => "range probe with a signed report".into(),
                ProbePurpose::MappedPort { .. } => "forwarded-port probe".into(),
                ProbePurpose::Register => "registers its address of the other family".into(),
                other => format!("probe ({other:?})"),
            },
            other => plain(other),
        }
    }

    pub(super) fn for_peer(&self, said: &Said) -> String {
        match said {
            Said::Player(PairMessage::Test { method, .. }) => self.test(*method).into(),
            said => to_player(said),
        }
    }

    fn test(&self, method: Method) -> &'static str {
        match (method, self.sends_bubbles) {
            (Method::Cone, _) => "test message",
            (Method::Bubble | Method::MultiBubble, true) => "bubble",
            (Method::Bubble, false) => "reply",
            (Method::MultiBubble, false) if self.bracketed => "reply",
            (Method::MultiBubble, false) => "port-assigning packet",
            (Method::Prediction, _) => "to a predicted port",
            (Method::GiantStep, true) => "giant step",
            (Method::GiantStep, false) => "baby step",
            (Method::Birthday, _) => "birthday search",
            _ => "test message of another method",
        }
    }
}

/// Says what a sealed message to a player is, which that player can open.
pub(super) fn to_player(said: &Said) -> String {
    match said {
        Said::Server(frame) => match &**frame {
            Frame::Reliable { body, .. } => news(body).into(),
            Frame::ProbeSeen { observed, .. } => format!("where a probe was seen: {observed}"),
            other => plain(other),
        },
        Said::Player(PairMessage::Test { method, .. }) => format!("test message ({})", method.name()),
        Said::Player(PairMessage::Confirm { observed, .. }) => format!("confirmation: seen at {observed}"),
        Said::Player(PairMessage::Close { .. }) => "close".into(),
        Said::Player(PairMessage::CloseAck) => "close, acknowledged".into(),
        Said::Player(PairMessage::ProveLife { .. }) => "prove that you are alive".into(),
        Said::Player(PairMessage::ProofOfLife { .. }) => "proof of life".into(),
        Said::Player(other) => format!("{other:?}"),
        Said::Game => "game".into(),
        Said::Relayed(inner) => format!("by way of the relay: {}", to_player(inner)),
    }
}

/// Says in words what a frame is that is the same both ways.
fn plain<B>(frame: &Frame<B>) -> String {
    let seen = |observed: &SocketAddr| format!("pong: seen at {observed}");
    match frame {
        Frame::Ack { .. } => "acknowledgement".into(),
        Frame::Ping { .. } => "ping".into(),
        Frame::Pong { observed, .. } => seen(observed),
        Frame::PathChallenge { .. } => "is this new address yours?".into(),
        Frame::PathResponse { .. } => "yes, it is".into(),
        Frame::Goodbye { .. } => "goodbye".into(),
        Frame::MappedPortSeen { .. } => "to the forwarded port".into(),
        Frame::PortSeen { .. } => "where a probe was seen, signed".into(),
        Frame::Knock { .. } => "knock".into(),
        _ => "another frame".into(),
    }
}

fn message(body: &ToServer) -> String {
    match body {
        ToServer::Request { request, .. } => format!("request: {}", wish(request)),
        ToServer::LocalAddresses(_) => "its local addresses".into(),
        ToServer::JoinAnswer { allow: true, .. } => "yes to the request to join".into(),
        ToServer::JoinAnswer { .. } => "no to the request to join".into(),
        ToServer::MatchReport { outcome, .. } => format!("report: {outcome:?}").to_lowercase(),
        ToServer::Profile { .. } => "its NAT's profile".into(),
        ToServer::ClaimRange { .. } => "claims a range".into(),
        ToServer::KeptPorts { ports, .. } => format!("its next packets leave by {ports:?}"),
        ToServer::AskSearch { .. } => "asks for its turn to search".into(),
        ToServer::SearchOver { .. } => "its search is over".into(),
        ToServer::PunchAgain { .. } => "asks for another attempt".into(),
        ToServer::HostSeen { .. } => "whether it hears the host".into(),
        ToServer::HostProof { .. } => "the host's proof that it is alive".into(),
        ToServer::MappedPort(_) => "its forwarded port".into(),
        ToServer::KickNotes { .. } => "who may not come back".into(),
        ToServer::SeatNotes { .. } => "who had a seat".into(),
        ToServer::KeepMatches(_) => "matches to be kept".into(),
        _ => "another message".into(),
    }
}

fn wish(request: &Request) -> &'static str {
    match request {
        Request::CreateRoom { .. } => "open a room",
        Request::JoinRoom { .. } => "join a room",
        Request::LeaveRoom => "leave the room",
        Request::ListRooms { .. } => "list the rooms",
        Request::QuickMatch(_) => "quick match",
        Request::LeaveQueue => "leave the queue",
        Request::TakeUpRoom { .. } => "come back into the room",
        Request::Rematch { .. } => "connect to a member",
        Request::Contacts(_) => "contacts",
        Request::Call(_) => "call",
        _ => "another one",
    }
}

fn news(body: &ToPlayer) -> &'static str {
    match body {
        ToPlayer::Response { .. } => "answer to a request",
        ToPlayer::Members { .. } => "members of the room",
        ToPlayer::RoomChanged(_) => "the room has changed",
        ToPlayer::RoomEnded { .. } => "the room has ended",
        ToPlayer::JoinRequest { .. } => "request to join",
        ToPlayer::Plan(_) => "plan",
        ToPlayer::Facts { facts: Facts::Range { .. }, .. } => "facts: range of ports",
        ToPlayer::Facts { facts: Facts::Newest { .. }, .. } => "facts: newest port",
        ToPlayer::Facts { facts: Facts::Kept { .. }, .. } => "facts: kept ports",
        ToPlayer::Facts { facts: Facts::OpenRange { .. }, .. } => "facts: range with one end",
        ToPlayer::Facts { .. } => "facts",
        ToPlayer::Replan(_) => "better plan",
        ToPlayer::MatchEnded { .. } => "the match has ended",
        ToPlayer::Profile(_) => "profile of its NAT",
        ToPlayer::Ticket(_) => "ticket for the room",
        ToPlayer::Queue(_) => "place in the queue",
        ToPlayer::QueueClosed(_) => "the queue is closed",
        ToPlayer::QuickMatched(_) => "matched",
        ToPlayer::MappedPort(_) => "the forwarded port is told to others",
        ToPlayer::Search { .. } => "turn to search",
        ToPlayer::Relay { .. } => "another way through the relay",
        ToPlayer::ConfirmLoss { .. } => "is the host gone?",
        ToPlayer::HostStands { .. } => "the host stays host",
        ToPlayer::NoRelay { .. } => "no relay for the match",
        ToPlayer::KickNotes { .. } => "who may not come back",
        ToPlayer::SeatNotes { .. } => "who has a seat",
        ToPlayer::WrongPasswords { .. } => "somebody tries passwords",
        ToPlayer::Announcement { .. } => "words of the operator",
        ToPlayer::GoTo(_) => "go to another node",
        ToPlayer::Nodes(_) => "other nodes",
        ToPlayer::Contacts(_) => "news of contacts",
        ToPlayer::Call(_) => "news of a call",
        ToPlayer::HostInQuestion { .. } => "perhaps the host is gone",
        ToPlayer::HostChanged { .. } => "the room has another host",
        _ => "other news",
    }
}
