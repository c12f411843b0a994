//! What a player may say to the server.

use arbitrary::{Arbitrary, Result, Unstructured};
use traversal_core::id::RequestId;
use traversal_core::wire::message::{
    ChatRequest, ChatTo, FilterTest, Frame, InRoom, InviteTerms, InviteToken, KeptMatch, MatchOutcome,
    PartyRequest, Probe, ProbePurpose, Request, RoomCursor, RoomFilter, RoomQuery, RoomSort, RoomTarget,
    ToServer,
};

use super::{
    Known, address, addresses, any, join, match_id, one, options, password, player, quick_match, rejoin,
    room, text, ticket,
};

fn query(u: &mut Unstructured<'_>) -> Result<RoomQuery> {
    let mut filters = Vec::new();
    for _ in 0..u.int_in_range(0..=3)? {
        let test = match u.int_in_range(0..=5)? {
            0 => FilterTest::Equal(text(u)?),
            1 => FilterTest::NotEqual(text(u)?),
            2 => FilterTest::Less(i8::arbitrary(u)?.to_string()),
            3 => FilterTest::Greater(text(u)?),
            4 => FilterTest::OneOf(vec![text(u)?, text(u)?]),
            _ => FilterTest::Exists,
        };
        filters.push(RoomFilter::new(text(u)?, test));
    }
    let after = bool::arbitrary(u)?.then(|| Ok(RoomCursor { value: u64::arbitrary(u)?, name: text(u)? }));
    let sort = [RoomSort::Name, RoomSort::Players, RoomSort::Age, RoomSort::RoundTrip];
    Ok(RoomQuery {
        filters,
        text: if bool::arbitrary(u)? { text(u)? } else { String::new() },
        not_full: bool::arbitrary(u)?,
        reachable: bool::arbitrary(u)?,
        sort: *u.choose(&sort)?,
        descending: bool::arbitrary(u)?,
        after: after.transpose()?,
        limit: u.int_in_range(0..=101)?,
        ..RoomQuery::default()
    })
}

fn request(u: &mut Unstructured<'_>, known: &Known) -> Result<Request> {
    Ok(match u.int_in_range(0..=20)? {
        20 => Request::Chat(match u.int_in_range(0..=3)? {
            0 => ChatRequest::Report { player: player(u, known)?, text: text(u)? },
            which => {
                let to = if which == 1 { ChatTo::Player(player(u, known)?) } else { ChatTo::Room };
                ChatRequest::Say { number: u8::arbitrary(u)?.into(), to, text: text(u)? }
            }
        }),
        0 => Request::CreateRoom { options: options(u)? },
        1 => Request::JoinRoom { target: RoomTarget::Name(text(u)?), password: password(u)? },
        2 => {
            let code = one(u, &known.rooms, |u| room(u, known))?.code;
            Request::JoinRoom { target: RoomTarget::Code(code), password: password(u)? }
        }
        3 => Request::LeaveRoom,
        4 => Request::ListRooms { query: query(u)? },
        14 => Request::WatchRooms {
            watch: u8::arbitrary(u)?.into(),
            query: query(u)?,
            pause_ms: u16::arbitrary(u)?,
        },
        15 => Request::StopWatching,
        5 => Request::Kick { player: player(u, known)?, reason: text(u)?, rejoin: rejoin(u)? },
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
        _ if u.ratio(1, 2)? => Request::InRoom(match u.int_in_range(0..=3)? {
            0 => InRoom::HandOver { player: player(u, known)? },
            3 => InRoom::Backfill(if u.ratio(3, 4)? { Some(quick_match(u)?) } else { None }),
            1 => InRoom::Properties([(text(u)?, Some(text(u)?))].into()),
            _ => any(u)?.unwrap_or(InRoom::Time),
        }),
        11 => Request::MakeInvite(InviteTerms { once: bool::arbitrary(u)?, minutes: u16::arbitrary(u)? }),
        12 => Request::RevokeInvites,
        13 => {
            let code = one(u, &known.rooms, |u| room(u, known))?.code;
            let bytes: [u8; InviteToken::LENGTH] = Arbitrary::arbitrary(u)?;
            let token = bool::arbitrary(u)?.then(|| InviteToken::from_bytes(&bytes));
            Request::JoinInvited { code, token }
        }
        10 => Request::Rematch { player: player(u, known)? },
        16 => Request::Spectate {
            target: RoomTarget::Name(one(u, &known.rooms, |u| room(u, known))?.name),
            password: password(u)?,
            resume: bool::arbitrary(u)?,
        },
        17 if u.ratio(1, 2)? => Request::Party(any(u)?.unwrap_or(PartyRequest::Create { most: 4 })),
        17 => Request::TakeSeat,
        18 => Request::ListBans { after: bool::arbitrary(u)?.then(|| player(u, known)).transpose()? },
        _ => Request::LiftBan { player: player(u, known)? },
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

/// Returns what a player may send beside its messages.
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
