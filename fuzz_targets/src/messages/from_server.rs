//! What a server may say to a player.

use arbitrary::{Arbitrary, Result, Unstructured};
use traversal_core::id::{PartyId, RequestId};
use traversal_core::wire::message::{
    ChatNews, ChatPlace, Facts, Farewell, Frame, MatchEnd, Method, NoRelay, PartyEnd, PartyNews,
    PlannedMethod, PunchPlan, QueueStatus, QuickMatched, Replan, RequestError, Response, Role, RoomEnd,
    RoomNews, RoomSummary, RoundTrip, SearchPermit, SeatKept, ToPlayer,
};

use super::{
    Known, address, addresses, any, info, join, match_id, one, player, quick_match, room, text, ticket,
};

/// Returns what a server may send beside its messages, as a probe or not.
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
            why: *u.choose(&[Farewell::Leaving, Farewell::Token, Farewell::Replaced, Farewell::PutOut])?,
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
        no_relay: *u.choose(&[None, Some(NoRelay::Off), Some(NoRelay::Full), Some(NoRelay::Budget)])?,
        epoch: u32::from(u.int_in_range(0..=2u8)?),
        mesh: u.ratio(1, 4)?,
        peer_rtt: *u.choose(&[
            None,
            Some(RoundTrip { ms: 0, spread_ms: 0 }),
            Some(RoundTrip { ms: 50, spread_ms: 5 }),
            Some(RoundTrip { ms: u32::MAX, spread_ms: u32::MAX }),
        ])?,
        peer_key,
        spectator: u.ratio(1, 8)?,
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
    Ok(match u.int_in_range(0..=26)? {
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
                        locked: bool::arbitrary(u)?,
                        ..RoomSummary::default()
                    };
                    Ok(Response::Rooms { rooms: vec![summary], next: None })
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
        20 if u.ratio(1, 2)? => {
            let keys = RoomNews::Keys { revision: epoch, keys: vec![1], complete: bool::arbitrary(u)? };
            let news = match u.int_in_range(0..=2)? {
                0 => {
                    let (by, key, value) = (player(u, known)?, text(u)?, Some(text(u)?));
                    RoomNews::Property { by, revision: epoch, key, value }
                }
                _ => any(u)?.unwrap_or(keys),
            };
            ToPlayer::InRoom { room: room(u, known)?.id, news }
        }
        20 => ToPlayer::Queue(QueueStatus {
            position: u32::arbitrary(u)?,
            waiting: 1,
            players: 2,
            estimate_s: None,
        }),
        21 => ToPlayer::QueueClosed(error(u)?),
        24 => {
            let spectators = (0..u.int_in_range(0..=3)?).map(|_| info(u, known)).collect::<Result<_>>()?;
            let away = any(u)?.unwrap_or_default();
            let (part, parts) = (u.int_in_range(0..=2)?, u.int_in_range(0..=3)?);
            ToPlayer::Seats { room: room(u, known)?.id, revision: epoch, part, parts, away, spectators }
        }
        25 => {
            let room = room(u, known)?;
            ToPlayer::SeatKept(SeatKept { name: room.name, code: room.code, hosting: false, kept_s: 60 })
        }
        26 => ToPlayer::Chat(if u.ratio(1, 4)? {
            ChatNews::Switched { on: bool::arbitrary(u)? }
        } else {
            let own = one(u, &known.rooms, |u| room(u, known))?.id;
            let place = if bool::arbitrary(u)? { ChatPlace::Room(own) } else { ChatPlace::Contact };
            let number = u8::arbitrary(u)?.into();
            ChatNews::Text { from: info(u, known)?, number, place, text: text(u)? }
        }),
        22 if bool::arbitrary(u)? => {
            ToPlayer::QuickMatched(Box::new(QuickMatched { room: room(u, known)?, wanted: quick_match(u)? }))
        }
        22 if bool::arbitrary(u)? => {
            let ended = PartyNews::Ended { party: PartyId(1), why: PartyEnd::Kicked };
            ToPlayer::Party(any(u)?.unwrap_or(ended))
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
