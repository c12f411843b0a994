//! Messages that a server or a player might say, about what both know or about nothing.

// What clippy would have in place of a closure does not compile: it is not general over lifetimes.
#![allow(clippy::redundant_closure)]

use std::net::SocketAddr;

use arbitrary::{Arbitrary, Result, Unstructured};
use serde::de::DeserializeOwned;
use traversal_core::id::{JoinId, MatchId, PlayerId, RequestId, RoomId};
use traversal_core::wire::codec;
use traversal_core::wire::message::{
    Facts, Farewell, Frame, KeptMatch, MatchEnd, MatchOutcome, Method, NoRelay, PlannedMethod, PlayerInfo,
    Probe, ProbePurpose, PunchPlan, QueueStatus, QuickMatch, QuickMatched, RelayGrant, Replan, Request,
    RequestError, Response, Role, RoomEnd, RoomInfo, RoomOptions, RoomSummary, RoomTarget, RoomTicket,
    RoundTrip, SearchPermit, ToPlayer, ToServer, Topology,
};
use traversal_core::wire::port_report::PortReport;
use traversal_core::{Command, Secret};

use crate::servers::at;

/// What messages may be about.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) rooms: Vec<RoomInfo>,
    pub(crate) matches: Vec<MatchId>,
    pub(crate) players: Vec<PlayerInfo>,
    /// The lasting and the login key of each player, where they are known.
    pub(crate) keys: Vec<([u8; 32], [u8; 32])>,
    pub(crate) joins: Vec<JoinId>,
    pub(crate) requests: Vec<RequestId>,
    pub(crate) tickets: Vec<RoomTicket>,
    pub(crate) tokens: Vec<[u8; 16]>,
    pub(crate) grants: Vec<RelayGrant>,
    pub(crate) reports: Vec<PortReport>,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// One that is known, as a rule.
fn one<T: Clone>(
    u: &mut Unstructured<'_>,
    known: &[T],
    else_: impl FnOnce(&mut Unstructured<'_>) -> Result<T>,
) -> Result<T> {
    if !known.is_empty() && u.ratio(15, 16)? { Ok(u.choose(known)?.clone()) } else { else_(u) }
}

/// Out of its own wire form; none where the bytes are no such thing.
fn any<T: DeserializeOwned>(u: &mut Unstructured<'_>) -> Result<Option<T>> {
    let length = u.int_in_range(0..=48)?.min(u.len());
    Ok(codec::decode(u.bytes(length)?).ok())
}

pub(crate) fn text(u: &mut Unstructured<'_>) -> Result<String> {
    const TEXTS: [&str; 6] = ["", "r", "q", "ABC234", "\u{1b}[2J\n", "a name"];
    if u.ratio(7, 8)? {
        return Ok((*u.choose(&TEXTS)?).into());
    }
    let length = u.int_in_range(0..=80)?.min(u.len());
    Ok(String::from_utf8_lossy(u.bytes(length)?).into_owned())
}

pub(crate) fn address(u: &mut Unstructured<'_>, known: &Known) -> Result<SocketAddr> {
    one(u, &known.addresses, |u| {
        let port = u16::arbitrary(u)?;
        Ok(if bool::arbitrary(u)? {
            SocketAddr::new(<[u8; 4]>::arbitrary(u)?.into(), port)
        } else {
            SocketAddr::new(<[u8; 16]>::arbitrary(u)?.into(), port)
        })
    })
}

fn addresses(u: &mut Unstructured<'_>, known: &Known) -> Result<Vec<SocketAddr>> {
    (0..u.int_in_range(0..=9)?).map(|_| address(u, known)).collect()
}

fn match_id(u: &mut Unstructured<'_>, known: &Known) -> Result<MatchId> {
    one(u, &known.matches, |u| Ok(MatchId(u64::from(u8::arbitrary(u)?))))
}

fn player(u: &mut Unstructured<'_>, known: &Known) -> Result<PlayerId> {
    one(u, &known.players, |u| Ok(PlayerInfo { id: PlayerId([u8::arbitrary(u)?; 16]), name: text(u)? }))
        .map(|player| player.id)
}

fn info(u: &mut Unstructured<'_>, known: &Known) -> Result<PlayerInfo> {
    one(u, &known.players, |u| Ok(PlayerInfo { id: PlayerId([u8::arbitrary(u)?; 16]), name: text(u)? }))
}

fn join(u: &mut Unstructured<'_>, known: &Known) -> Result<JoinId> {
    one(u, &known.joins, |u| Ok(JoinId(u64::arbitrary(u)?)))
}

fn room(u: &mut Unstructured<'_>, known: &Known) -> Result<RoomInfo> {
    let mut room = one(u, &known.rooms, |u| {
        Ok(RoomInfo {
            id: RoomId(u64::from(u8::arbitrary(u)?)),
            name: text(u)?,
            code: "ABC234".into(),
            host: player(u, known)?,
            capacity: u16::arbitrary(u)?,
            metadata: [(text(u)?, text(u)?)].into(),
            public: bool::arbitrary(u)?,
            auto_allow: bool::arbitrary(u)?,
            migrate: bool::arbitrary(u)?,
            epoch: u32::from(u8::arbitrary(u)?),
            topology: topology(u)?,
        })
    })?;
    if u.ratio(1, 4)? {
        room.epoch = room.epoch.wrapping_add(u32::from(u8::arbitrary(u)?));
        room.host = player(u, known)?;
    }
    Ok(room)
}

fn topology(u: &mut Unstructured<'_>) -> Result<Topology> {
    Ok(if bool::arbitrary(u)? { Topology::Star } else { Topology::Mesh })
}

fn password(u: &mut Unstructured<'_>) -> Result<Option<Secret<String>>> {
    Ok(if bool::arbitrary(u)? { Some(text(u)?.into()) } else { None })
}

fn options(u: &mut Unstructured<'_>) -> Result<RoomOptions> {
    Ok(RoomOptions {
        name: text(u)?,
        capacity: *u.choose(&[8, 2, 1, 64, 65, 16, 0, u16::MAX])?,
        password: password(u)?,
        public: bool::arbitrary(u)?,
        auto_allow: bool::arbitrary(u)?,
        metadata: if u.ratio(1, 4)? { [(text(u)?, text(u)?)].into() } else { Default::default() },
        migrate: bool::arbitrary(u)?,
        topology: topology(u)?,
    })
}

fn quick_match(u: &mut Unstructured<'_>) -> Result<QuickMatch> {
    Ok(QuickMatch { mode: text(u)?, players: u16::from(u.int_in_range(0..=5u8)?), topology: topology(u)? })
}

fn ticket(u: &mut Unstructured<'_>, known: &Known) -> Result<Option<RoomTicket>> {
    if known.tickets.is_empty() {
        return any(u);
    }
    let mut ticket = *u.choose(&known.tickets)?;
    match u.int_in_range(0..=7)? {
        0 => ticket.epoch = ticket.epoch.wrapping_add(1),
        1 => ticket.seal[0] ^= 1,
        2 => ticket.generation = u32::arbitrary(u)?,
        _ => {}
    }
    Ok(Some(ticket))
}

fn request(u: &mut Unstructured<'_>, known: &Known) -> Result<Request> {
    Ok(match u.int_in_range(0..=10)? {
        0 => Request::CreateRoom { options: options(u)? },
        1 => Request::JoinRoom { target: RoomTarget::Name(text(u)?), password: password(u)? },
        2 => {
            let code = one(u, &known.rooms, |u| room(u, known))?.code;
            Request::JoinRoom { target: RoomTarget::Code(code), password: password(u)? }
        }
        3 => Request::LeaveRoom,
        4 => Request::ListRooms { after: bool::arbitrary(u)?.then(|| text(u)).transpose()? },
        5 => Request::Kick { player: player(u, known)?, reason: text(u)?, rejoin: bool::arbitrary(u)? },
        6 => Request::SetMetadata([(text(u)?, text(u)?)].into()),
        7 => match ticket(u, known)? {
            Some(ticket) => {
                let known = one(u, &known.rooms, |u| room(u, known))?;
                let options = if u.ratio(3, 4)? { known.options(None) } else { options(u)? };
                Request::TakeUpRoom { ticket, code: known.code, options }
            }
            None => Request::LeaveRoom,
        },
        8 => Request::QuickMatch(quick_match(u)?),
        9 => Request::LeaveQueue,
        _ => Request::Rematch { player: player(u, known)? },
    })
}

/// Makes a message of a player to the server.
pub(crate) fn to_server(u: &mut Unstructured<'_>, known: &Known) -> Result<ToServer> {
    let round = |u: &mut Unstructured<'_>| Ok(u16::from(u8::arbitrary(u)?) * 5);
    Ok(match u.int_in_range(0..=19)? {
        0..=6 => {
            ToServer::Request { id: RequestId(u32::from(u8::arbitrary(u)?)), request: request(u, known)? }
        }
        7 => ToServer::LocalAddresses(addresses(u, known)?),
        8 => ToServer::JoinAnswer { join: join(u, known)?, allow: bool::arbitrary(u)?, reason: text(u)? },
        9 => {
            use MatchOutcome as O;
            let outcome = *u.choose(&[O::Direct, O::Relayed, O::Failed, O::Lost, O::Closed])?;
            ToServer::MatchReport { match_id: match_id(u, known)?, outcome, cause: any(u)?.flatten() }
        }
        10 => ToServer::Profile {
            profile: any(u)?.unwrap_or_default(),
            check: bool::arbitrary(u)?,
            manual: any(u)?.unwrap_or_default(),
        },
        11 => {
            let room = one(u, &known.rooms, |u| room(u, known))?;
            ToServer::HostSeen { room: room.id, epoch: room.epoch, heard: bool::arbitrary(u)? }
        }
        12 => ToServer::PunchAgain { match_id: match_id(u, known)? },
        13 => ToServer::MappedPort(one(u, &known.tokens, |u| Arbitrary::arbitrary(u)).ok()),
        14 => match (one(u, &known.reports, |_| Err(arbitrary::Error::EmptyChoose)), known.reports.last()) {
            (Ok(first), Some(last)) => ToServer::ClaimRange {
                match_id: match_id(u, known)?,
                round: round(u)?,
                step: i32::from(i8::arbitrary(u)?),
                reports: [first, *last],
            },
            _ => ToServer::PunchAgain { match_id: match_id(u, known)? },
        },
        15 => ToServer::AskSearch { match_id: match_id(u, known)?, edition: u.int_in_range(0..=3)? },
        16 => ToServer::SearchOver { match_id: match_id(u, known)?, edition: u.int_in_range(0..=3)? },
        17 => {
            let kept = |u: &mut Unstructured<'_>| {
                Ok(KeptMatch {
                    match_id: match_id(u, known)?,
                    player: player(u, known)?,
                    hosting: bool::arbitrary(u)?,
                    edition: u8::arbitrary(u)?,
                })
            };
            ToServer::KeepMatches((0..u.int_in_range(0..=17)?).map(|_| kept(u)).collect::<Result<_>>()?)
        }
        18 => {
            let room = one(u, &known.rooms, |u| room(u, known))?;
            let (key, proof) = (any(u)?.unwrap_or([1; 32]), any(u)?.unwrap_or([1; 16]));
            ToServer::HostProof { room: room.id, epoch: room.epoch, key, proof }
        }
        _ => {
            let ports = (0..u.int_in_range(0..=6)?).map(|_| u16::arbitrary(u)).collect::<Result<_>>()?;
            ToServer::KeptPorts { match_id: match_id(u, known)?, round: round(u)?, ports }
        }
    })
}

/// What a player may send beside its messages.
pub(crate) fn player_frame(u: &mut Unstructured<'_>, known: &Known) -> Result<Frame<ToServer>> {
    let id = u32::from(u8::arbitrary(u)?);
    let token = |u: &mut Unstructured<'_>| one(u, &known.tokens, |u| Arbitrary::arbitrary(u));
    Ok(match u.int_in_range(0..=8)? {
        0..=3 => Frame::Probe(Probe { tag: id, purpose: purpose(u, known)? }),
        4 => Frame::Ping { id },
        5 => Frame::PathResponse { token: token(u)? },
        6 => Frame::Ack { seq: id, counter: u64::arbitrary(u)? },
        7 => Frame::PathChallenge { token: token(u)? },
        _ => Frame::Pong { id, observed: address(u, known)? },
    })
}

fn purpose(u: &mut Unstructured<'_>, known: &Known) -> Result<ProbePurpose> {
    let round = u16::from(u8::arbitrary(u)?);
    Ok(match u.int_in_range(0..=8)? {
        0 => ProbePurpose::Report,
        1 => ProbePurpose::ReplyFromOtherPort,
        2 => ProbePurpose::ReplyFromOtherAddress,
        3 => ProbePurpose::Range { match_id: match_id(u, known)?, round, second: bool::arbitrary(u)? },
        4 => ProbePurpose::Newest { match_id: match_id(u, known)?, round, ahead: Arbitrary::arbitrary(u)? },
        5 => ProbePurpose::MappedPort { port: u16::arbitrary(u)? },
        6 => ProbePurpose::Register,
        7 => match known.reports.last() {
            Some(report) => ProbePurpose::Knock { report: *report },
            None => ProbePurpose::SignedReport,
        },
        _ => ProbePurpose::SignedReport,
    })
}

/// What a server may send beside its messages, as a probe or not.
pub(crate) fn server_frame(u: &mut Unstructured<'_>, known: &Known) -> Result<Frame<ToPlayer>> {
    let tag = one(u, &[0, 1, 2, 3, 4, 5, u32::MAX], |u| u32::arbitrary(u))?;
    let observed = address(u, known)?;
    Ok(match u.int_in_range(0..=9)? {
        0..=2 => Frame::ProbeSeen { tag, observed },
        3 => Frame::PathChallenge { token: Arbitrary::arbitrary(u)? },
        4 => Frame::Pong { id: tag, observed },
        5 => Frame::Ping { id: tag },
        6 => Frame::MappedPortSeen { port: u16::arbitrary(u)?, token: Arbitrary::arbitrary(u)? },
        7 => Frame::Knock { tag },
        8 => match known.reports.last() {
            Some(report) => Frame::PortSeen { tag, report: *report },
            None => Frame::Ack { seq: tag, counter: u64::from(tag) },
        },
        _ if u.ratio(1, 4)? => Frame::Goodbye {
            reason: text(u)?,
            why: *u.choose(&[Farewell::Leaving, Farewell::Token, Farewell::Replaced])?,
        },
        _ => Frame::ProbeSeen { tag, observed },
    })
}

fn plan(u: &mut Unstructured<'_>, known: &Known) -> Result<PunchPlan> {
    let peer = if known.players.is_empty() { 0 } else { u.choose_index(known.players.len())? };
    let (peer_key, peer_ephemeral) = known.keys.get(peer).copied().unwrap_or_default();
    Ok(PunchPlan {
        match_id: match_id(u, known)?,
        peer: known.players.get(peer).cloned().map_or_else(|| info(u, known), Ok)?,
        peer_ephemeral,
        pair_secret: [5; 32],
        hosting: bool::arbitrary(u)?,
        role: role(u)?,
        same_nat: bool::arbitrary(u)?,
        peer_public: addresses(u, known)?,
        peer_local: addresses(u, known)?,
        own_nat: any(u)?.unwrap_or_default(),
        peer_nat: any(u)?.unwrap_or_default(),
        methods: methods(u)?,
        deadline_ms: *u.choose(&[10_000, 0, 1, u32::MAX])?,
        relay: known.grants.first().copied().filter(|_| u.ratio(3, 4).unwrap_or_default()),
        no_relay: *u.choose(&[None, Some(NoRelay::Off), Some(NoRelay::Full)])?,
        epoch: u32::from(u.int_in_range(0..=2u8)?),
        mesh: u.ratio(1, 4)?,
        peer_rtt: *u.choose(&[
            None,
            Some(RoundTrip { ms: 0, spread_ms: 0 }),
            Some(RoundTrip { ms: 50, spread_ms: 5 }),
            Some(RoundTrip { ms: u32::MAX, spread_ms: u32::MAX }),
        ])?,
        peer_key,
    })
}

fn role(u: &mut Unstructured<'_>) -> Result<Role> {
    Ok(if bool::arbitrary(u)? { Role::Sending } else { Role::Receiving })
}

fn methods(u: &mut Unstructured<'_>) -> Result<Vec<Method>> {
    (0..u.int_in_range(0..=8)?).map(|_| u.choose(&Method::ALL).copied()).collect()
}

fn facts(u: &mut Unstructured<'_>, known: &Known) -> Result<Facts> {
    let round = u16::from(u8::arbitrary(u)?);
    let (ip, step) = (address(u, known)?.ip(), i32::from(i16::arbitrary(u)?));
    Ok(match u.int_in_range(0..=4)? {
        0 => Facts::Range { round, ip, first: u16::arbitrary(u)?, last: u16::arbitrary(u)?, step },
        1 => Facts::Newest { round, address: address(u, known)?, ahead: Arbitrary::arbitrary(u)? },
        2 => Facts::PeerPublic(addresses(u, known)?),
        3 => {
            let ports = (0..u.int_in_range(0..=6)?).map(|_| u16::arbitrary(u)).collect::<Result<_>>()?;
            Facts::Kept { round, ip, ports }
        }
        _ => Facts::OpenRange { round, ip, bound: u16::arbitrary(u)?, step },
    })
}

fn error(u: &mut Unstructured<'_>) -> Result<RequestError> {
    Ok(any(u)?.unwrap_or(RequestError::Limited { retry_after_s: u32::arbitrary(u)? }))
}

/// Makes a message of the server to a player.
pub(crate) fn to_player(u: &mut Unstructured<'_>, known: &Known) -> Result<ToPlayer> {
    let epoch = u32::from(u.int_in_range(0..=3u8)?);
    let turn = |u: &mut Unstructured<'_>| {
        u.choose(&[SearchPermit::Wait, SearchPermit::Begin, SearchPermit::Off]).copied()
    };
    Ok(match u.int_in_range(0..=23)? {
        0..=2 => {
            let id = one(u, &known.requests, |u| Ok(RequestId(u32::from(u8::arbitrary(u)?))))?;
            let result = match u.int_in_range(0..=4)? {
                0 | 1 => Ok(Response::Room(room(u, known)?)),
                2 => Ok(Response::Done),
                3 => {
                    let known = room(u, known)?;
                    let (name, code, capacity) = (known.name, known.code, known.capacity);
                    let (host_name, metadata) = (text(u)?, known.metadata);
                    let summary = RoomSummary {
                        name,
                        code,
                        host_name,
                        members: 1,
                        capacity,
                        password: false,
                        metadata,
                    };
                    Ok(Response::Rooms { rooms: vec![summary], more: bool::arbitrary(u)? })
                }
                _ => Err(error(u)?),
            };
            ToPlayer::Response { id, result }
        }
        3 | 4 => {
            let members = (0..u.int_in_range(0..=5)?).map(|_| info(u, known)).collect::<Result<_>>()?;
            let (part, parts) = (u.int_in_range(0..=2)?, u.int_in_range(0..=3)?);
            ToPlayer::Members { room: room(u, known)?.id, revision: epoch, part, parts, members }
        }
        5 => ToPlayer::RoomChanged(room(u, known)?),
        6 => {
            let reason = any(u)?.unwrap_or(RoomEnd::HostLost);
            ToPlayer::RoomEnded { room: room(u, known)?.id, reason }
        }
        7 => ToPlayer::JoinRequest { join: join(u, known)?, player: info(u, known)? },
        8..=11 => ToPlayer::Plan(Box::new(plan(u, known)?)),
        12 => ToPlayer::Facts { match_id: match_id(u, known)?, facts: facts(u, known)? },
        13 => {
            let since = u.int_in_range(0..=2)?;
            let methods = methods(u)?.into_iter().map(|method| PlannedMethod { method, since }).collect();
            ToPlayer::Replan(Box::new(Replan {
                match_id: match_id(u, known)?,
                role: role(u)?,
                methods,
                own_nat: any(u)?.unwrap_or_default(),
                peer_nat: any(u)?.unwrap_or_default(),
                edition: u8::arbitrary(u)?,
            }))
        }
        14 => {
            let reason = any(u)?.unwrap_or(MatchEnd::Gone);
            ToPlayer::MatchEnded { match_id: match_id(u, known)?, reason }
        }
        15 => ToPlayer::Profile(any(u)?.unwrap_or_default()),
        16 => match ticket(u, known)? {
            Some(ticket) => ToPlayer::Ticket(ticket),
            None => ToPlayer::MappedPort(None),
        },
        17 => ToPlayer::ConfirmLoss { room: room(u, known)?.id, epoch, challenge: [1; 16] },
        18 => ToPlayer::HostStands { room: room(u, known)?.id, epoch },
        19 => ToPlayer::HostChanged { room: room(u, known)?, previous: player(u, known)? },
        20 => ToPlayer::Queue(QueueStatus { position: u16::arbitrary(u)?, waiting: 1, players: 2 }),
        21 => ToPlayer::QueueClosed(error(u)?),
        22 if bool::arbitrary(u)? => {
            ToPlayer::QuickMatched(Box::new(QuickMatched { room: room(u, known)?, wanted: quick_match(u)? }))
        }
        22 => ToPlayer::MappedPort(Option::arbitrary(u)?),
        _ => match known.grants.last() {
            Some(grant) if bool::arbitrary(u)? => {
                ToPlayer::Relay { match_id: match_id(u, known)?, grant: *grant }
            }
            _ => ToPlayer::Search {
                match_id: match_id(u, known)?,
                edition: u.int_in_range(0..=2)?,
                turn: turn(u)?,
            },
        },
    })
}

/// Addresses that one may come from or be sent to in the targets, and others.
pub(crate) fn usual_addresses() -> Vec<SocketAddr> {
    [
        "198.18.0.10:3478",
        "203.0.113.1:4000",
        "203.0.113.9:53",
        "192.168.1.77:40000",
        "10.0.0.1:0",
        "0.0.0.0:9",
    ]
    .into_iter()
    .chain([
        "127.0.0.1:22",
        "255.255.255.255:9",
        "224.0.0.1:9",
        "[2001:db8::9]:4000",
        "[::1]:22",
        "[fe80::1]:9",
    ])
    .chain(["[::ffff:203.0.113.1]:4000", "[ff02::1]:9", "100.64.0.1:5000"])
    .map(at)
    .collect()
}

/// What the game may want of the server.
pub(crate) fn command_options(u: &mut Unstructured<'_>, known: &Known, player: PlayerId) -> Result<Command> {
    Ok(match u.int_in_range(0..=8)? {
        0 => Command::HostRoom(options(u)?),
        1 => {
            let wait = std::time::Duration::from_millis(*u.choose(&[0, 400, 4_000])?);
            Command::JoinRoom { target: RoomTarget::Name(text(u)?), password: None, wait }
        }
        2 => Command::LeaveRoom,
        3 => Command::ListRooms,
        4 => Command::AnswerJoin { join: join(u, known)?, allow: bool::arbitrary(u)?, reason: text(u)? },
        5 => Command::Kick { player, reason: text(u)?, rejoin: bool::arbitrary(u)? },
        6 => Command::SetMetadata([(text(u)?, text(u)?)].into()),
        7 => Command::QuickMatch(quick_match(u)?),
        _ => Command::CancelQuickMatch,
    })
}
