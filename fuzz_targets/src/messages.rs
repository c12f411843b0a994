//! Messages that a server or a player might say, about what both know or about nothing.

// What clippy would have in place of a closure does not compile: it is not general over lifetimes.
#![allow(clippy::redundant_closure)]

mod from_player;
mod from_server;

use std::net::SocketAddr;

use arbitrary::{Arbitrary, Result, Unstructured};
use serde::de::DeserializeOwned;
use traversal_core::id::{JoinId, MatchId, PlayerId, RequestId, RoomId};
use traversal_core::wire::codec;
use traversal_core::wire::message::{
    ChatTo, PlayerInfo, QuickMatch, Rejoin, RelayGrant, RoomInfo, RoomOptions, RoomTarget, RoomTicket,
    Topology,
};
use traversal_core::wire::port_report::PortReport;
use traversal_core::{Command, Secret};

use crate::servers::at;
pub(crate) use from_player::{player_frame, to_server};
pub(crate) use from_server::{server_frame, to_player};

/// This is what messages may be about.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) rooms: Vec<RoomInfo>,
    pub(crate) matches: Vec<MatchId>,
    pub(crate) players: Vec<PlayerInfo>,
    /// These are the lasting and the login key of each player, where they are known.
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

/// Reads it out of its own wire form; none where the bytes are no such thing.
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
            locked: bool::arbitrary(u)?,
            teams: if u.ratio(1, 4)? { vec![u8::arbitrary(u)?, 2] } else { Vec::new() },
            seats: any(u)?.unwrap_or_default(),
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
        locked: u.ratio(1, 8)?,
        teams: if u.ratio(1, 4)? { vec![u8::arbitrary(u)?, 2] } else { Vec::new() },
        properties: Default::default(),
        keep_seat: std::time::Duration::from_secs(u64::from(*u.choose(&[60u16, 0, 600, 601])?)),
        spectators: *u.choose(&[0, 1, 4, u16::MAX])?,
        seat: !u.ratio(1, 4)?,
    })
}

fn rejoin(u: &mut Unstructured<'_>) -> Result<Rejoin> {
    Ok(*u.choose(&[
        Rejoin::Now,
        Rejoin::After { seconds: 1 },
        Rejoin::After { seconds: 0 },
        Rejoin::Never,
    ])?)
}

fn quick_match(u: &mut Unstructured<'_>) -> Result<QuickMatch> {
    Ok(QuickMatch {
        mode: text(u)?,
        players: u16::from(u.int_in_range(0..=5u8)?),
        topology: topology(u)?,
        ..QuickMatch::default()
    })
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

/// Returns addresses that one may come from or be sent to in the targets, and others.
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

/// Returns what the game may want of the server.
pub(crate) fn command_options(u: &mut Unstructured<'_>, known: &Known, player: PlayerId) -> Result<Command> {
    Ok(match u.int_in_range(0..=14)? {
        13 => {
            let to = if bool::arbitrary(u)? { ChatTo::Player(player) } else { ChatTo::Room };
            Command::Say { to, text: text(u)? }
        }
        14 => Command::Report { player, text: text(u)? },
        0 => Command::HostRoom(options(u)?),
        1 => {
            let wait = std::time::Duration::from_millis(*u.choose(&[0, 400, 4_000])?);
            Command::JoinRoom { target: RoomTarget::Name(text(u)?), password: None, wait }
        }
        2 => Command::LeaveRoom,
        3 => Command::ListRooms(Default::default()),
        4 => Command::AnswerJoin { join: join(u, known)?, allow: bool::arbitrary(u)?, reason: text(u)? },
        5 => Command::Kick { player, reason: text(u)?, rejoin: rejoin(u)? },
        6 => Command::SetMetadata([(text(u)?, text(u)?)].into()),
        7 => Command::QuickMatch(quick_match(u)?),
        8 => Command::CancelQuickMatch,
        9 => Command::Spectate {
            target: RoomTarget::Name(text(u)?),
            password: None,
            wait: std::time::Duration::ZERO,
        },
        10 => Command::TakeSeat,
        11 => Command::ListBans,
        _ => Command::LiftBan { player },
    })
}
