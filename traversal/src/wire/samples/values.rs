//! A value of each variant of each type on the wire, in the order of docs/protocol.md. Enums that are fields elsewhere stand
//! here by themselves, too (`topics`).

use super::Samples;
use super::listing::{cursor, news, query};
use crate::failure::FailureReason;
use crate::wire::message::{
    AwaySeat, CallNews, CallRequest, ChatFault, ChatNews, ChatRequest, ChatTo, ContactsRequest, Facts,
    Farewell, Frame, InRoom, InviteFault, InviteTerms, KeptMatch, Login, LoginRefusal, MatchEnd,
    MatchOutcome, NoRelay, PartyNews, PartyRequest, Probe, ProbePurpose, QueueStatus, QuickMatched, Rejoin,
    Request, RequestError, Response, RoomEnd, RoomNews, RoomTarget, SearchPermit, TicketFault, ToPlayer,
    ToServer, Welcome,
};

use super::parts::*;
use super::topics::{between_players, chat, matches, members, nats, parties, people, rooms};

pub(super) fn all() -> Samples {
    let mut all = Samples::default();
    frames(&mut all);
    logins(&mut all);
    to_server(&mut all);
    requests(&mut all);
    to_player(&mut all);
    answers(&mut all);
    rooms(&mut all);
    members(&mut all);
    people(&mut all);
    chat(&mut all);
    parties(&mut all);
    matches(&mut all);
    nats(&mut all);
    between_players(&mut all);
    all
}

fn frames(all: &mut Samples) {
    let put = &mut |frame: Frame<ToServer>| all.put(frame);
    put(Frame::Reliable { seq: 300, body: ToServer::MappedPort(None) });
    put(Frame::Ack { seq: 7, counter: 1 << 40 });
    put(Frame::Ping { id: 7 });
    put(Frame::Pong { id: 7, observed: v4() });
    put(Frame::PathChallenge { token: CODE });
    put(Frame::PathResponse { token: CODE });
    put(Frame::Probe(Probe { tag: 70_000, purpose: ProbePurpose::Report }));
    put(Frame::ProbeSeen { tag: 70_000, observed: v6() });
    put(Frame::Goodbye { reason: "bye".into(), why: Farewell::Replaced });
    put(Frame::MappedPortSeen { port: 40_000, token: CODE });
    put(Frame::PortSeen { tag: 1, report: report() });
    put(Frame::Knock { tag: 1 });
    for why in [Farewell::Leaving, Farewell::Token, Farewell::Replaced, Farewell::PutOut] {
        all.put(why);
    }
    all.put(Probe { tag: 1, purpose: ProbePurpose::Register });
    for purpose in [
        ProbePurpose::Report,
        ProbePurpose::ReplyFromOtherPort,
        ProbePurpose::ReplyFromOtherAddress,
        ProbePurpose::Range { match_id: MATCH, round: 258, second: true },
        ProbePurpose::Newest { match_id: MATCH, round: 258, ahead: [1, 2, 300, 0] },
        ProbePurpose::MappedPort { port: 40_000 },
        ProbePurpose::Register,
        ProbePurpose::SignedReport,
        ProbePurpose::Knock { report: report() },
    ] {
        all.put(purpose);
    }
    all.put(report());
}

fn logins(all: &mut Samples) {
    all.put(Login {
        game: "squares".into(),
        game_protocol: 1,
        name: "Zoë".into(),
        token: vec![1, 2, 3],
        ephemeral: KEY,
        local: vec![v4(), v6()],
        relay_only: false,
    });
    all.put(Welcome {
        session: 1 << 60,
        observed: v4(),
        probe_targets: vec![v4(), v4()],
        session_timeout_s: 35,
        other_family: vec![v6()],
        reset: CODE,
    });
    all.put(LoginRefusal::UnknownGame { game: "squares".into() });
    all.put(LoginRefusal::Token { reason: "no".into() });
    all.put(LoginRefusal::Malformed { what: "name".into() });
    all.put(LoginRefusal::Full);
    all.put(LoginRefusal::Stopping);
    all.put(LoginRefusal::Unchecked);
    let faults = [
        TicketFault::Missing,
        TicketFault::Malformed,
        TicketFault::Signature,
        TicketFault::Expired,
        TicketFault::NotYet,
        TicketFault::OtherGame,
        TicketFault::OtherPlayer,
    ];
    for fault in faults {
        all.put(LoginRefusal::Ticket { fault });
        all.put(fault);
    }
    all.put(LoginRefusal::Banned { reason: "cheats".into(), left_s: Some(3600) });
    all.put(LoginRefusal::Banned { reason: String::new(), left_s: None });
}

fn to_server(all: &mut Samples) {
    let put = &mut |message: ToServer| all.put(message);
    put(ToServer::Request { id: ID, request: Request::LeaveRoom });
    put(ToServer::LocalAddresses(vec![v4(), v6()]));
    put(ToServer::JoinAnswer { join: JOIN, allow: false, reason: "full".into() });
    let cause = Some(FailureReason::NoAnswer);
    put(ToServer::MatchReport { match_id: MATCH, outcome: MatchOutcome::Relayed, cause });
    put(ToServer::Profile { profile: profile(), check: true, manual: facts() });
    put(ToServer::HostSeen { room: ROOM, epoch: 3, heard: true });
    put(ToServer::PunchAgain { match_id: MATCH });
    put(ToServer::MappedPort(Some(CODE)));
    put(ToServer::ClaimRange { match_id: MATCH, round: 258, step: -2, reports: [report(); 2] });
    put(ToServer::AskSearch { match_id: MATCH, edition: 2 });
    put(ToServer::SearchOver { match_id: MATCH, edition: 2 });
    let kept = KeptMatch { match_id: MATCH, player: id(9), hosting: true, edition: 2 };
    put(ToServer::KeepMatches(vec![kept]));
    put(ToServer::KickNotes { room: ROOM, notes: vec![note()] });
    put(ToServer::KeptPorts { match_id: MATCH, round: 258, ports: vec![40_000, 1_024] });
    put(ToServer::HostProof { room: ROOM, epoch: 3, key: KEY, proof: CODE });
    put(ToServer::SeatNotes { room: ROOM, away: true, notes: vec![seat_note()] });
    use MatchOutcome as O;
    for outcome in [O::Direct, O::Relayed, O::Failed, O::Lost, O::Closed] {
        all.put(outcome);
    }
}

fn requests(all: &mut Samples) {
    let put = &mut |request: Request| all.put(request);
    put(Request::CreateRoom { options: options() });
    let target = RoomTarget::Code("K7PX2M".into());
    put(Request::JoinRoom { target, password: Some("sesame".into()) });
    put(Request::LeaveRoom);
    put(Request::ListRooms { query: query() });
    put(Request::Kick { player: id(8), reason: "rude".into(), rejoin: Rejoin::After { seconds: 300 } });
    put(Request::SetMetadata(metadata()));
    put(Request::TakeUpRoom { ticket: ticket(), code: "K7PX2M".into(), options: options() });
    put(Request::QuickMatch(quick_match()));
    put(Request::LeaveQueue);
    put(Request::Rematch { player: id(9) });
    put(Request::InRoom(InRoom::Lock(true)));
    put(Request::Contacts(ContactsRequest::Allow { player: id(9), allow: true }));
    put(Request::Call(CallRequest::HangUp { call: CALL }));
    put(Request::MakeInvite(InviteTerms { once: true, minutes: 1440 }));
    put(Request::RevokeInvites);
    put(Request::JoinInvited { code: "K7PX2M".into(), token: Some(invite()) });
    put(Request::WatchRooms { watch: 3, query: query(), pause_ms: 500 });
    put(Request::StopWatching);
    let target = RoomTarget::Name("den".into());
    put(Request::Spectate { target, password: None, resume: true });
    put(Request::TakeSeat);
    put(Request::ListBans { after: Some(id(8)) });
    put(Request::LiftBan { player: id(8) });
    put(Request::Chat(ChatRequest::Say { number: 300, to: ChatTo::Room, text: "hi".into() }));
    put(Request::AnswerMatch { proposal: match_found().proposal, accept: true });
    put(Request::Party(PartyRequest::Leave));
    all.put(InviteTerms { once: false, minutes: 300 });
    all.put(invite());
    for fault in [InviteFault::Expired, InviteFault::Used, InviteFault::Ended] {
        all.put(fault);
    }
}

fn to_player(all: &mut Samples) {
    let put = &mut |message: ToPlayer| all.put(message);
    put(ToPlayer::Response { id: ID, result: Ok(Response::Done) });
    put(ToPlayer::Response { id: ID, result: Err(RequestError::RoomFull) });
    put(ToPlayer::Members { room: ROOM, revision: 300, part: 0, parts: 1, members: vec![player()] });
    put(ToPlayer::RoomChanged(room()));
    put(ToPlayer::RoomEnded { room: ROOM, reason: RoomEnd::Closed });
    put(ToPlayer::JoinRequest { join: JOIN, player: player() });
    put(ToPlayer::Plan(Box::new(plan())));
    put(ToPlayer::Facts { match_id: MATCH, facts: Facts::PeerPublic(vec![v4()]) });
    put(ToPlayer::Replan(Box::new(replan())));
    put(ToPlayer::MatchEnded { match_id: MATCH, reason: MatchEnd::Gone });
    put(ToPlayer::Profile(profile()));
    put(ToPlayer::Ticket(ticket()));
    put(ToPlayer::ConfirmLoss { room: ROOM, epoch: 3, challenge: CODE });
    put(ToPlayer::HostStands { room: ROOM, epoch: 3 });
    put(ToPlayer::HostInQuestion { room: ROOM, epoch: 3, within_s: 40 });
    put(ToPlayer::HostChanged { room: room(), previous: id(2) });
    put(ToPlayer::Queue(QueueStatus { position: 1, waiting: 300, players: 4, estimate_s: Some(20) }));
    put(ToPlayer::QueueClosed(RequestError::Stopping));
    let matched = QuickMatched { room: room(), wanted: quick_match() };
    put(ToPlayer::QuickMatched(Box::new(matched)));
    put(ToPlayer::MappedPort(Some(40_000)));
    put(ToPlayer::Search { match_id: MATCH, edition: 2, turn: SearchPermit::Begin });
    put(ToPlayer::Relay { match_id: MATCH, grant: grant() });
    put(ToPlayer::NoRelay { match_id: MATCH, why: NoRelay::Full });
    put(ToPlayer::KickNotes { room: ROOM, notes: vec![note()] });
    put(ToPlayer::WrongPasswords { room: ROOM, in_last_minute: 300 });
    put(ToPlayer::Announcement { text: "at noon".into() });
    put(ToPlayer::GoTo(vec![v4()]));
    put(ToPlayer::Nodes(vec![v4()]));
    let keys = RoomNews::Keys { revision: 300, keys: vec![1, 1 << 31], complete: true };
    put(ToPlayer::InRoom { room: ROOM, news: keys });
    put(ToPlayer::Contacts(vec![contact()]));
    put(ToPlayer::Call(CallNews::Ringing { call: CALL }));
    put(ToPlayer::Rooms(news(vec![summary()])));
    put(ToPlayer::MatchFound(match_found()));
    put(ToPlayer::Teams(teams()));
    let (away, spectators) = (vec![AwaySeat { player: id(8), kept_s: 300 }], vec![player()]);
    put(ToPlayer::Seats { room: ROOM, revision: 300, part: 0, parts: 1, away, spectators });
    put(ToPlayer::SeatKept(seat_kept()));
    put(ToPlayer::SeatNotes { room: ROOM, notes: vec![seat_note()] });
    put(ToPlayer::Chat(ChatNews::Switched { on: true }));
    put(ToPlayer::Party(PartyNews::Ticket(party_ticket())));
}

fn answers(all: &mut Samples) {
    all.put(Response::Room(room()));
    all.put(Response::Done);
    all.put(Response::Rooms { rooms: vec![summary()], next: Some(cursor()) });
    all.put(Response::Time { now_ms: 1 << 40 });
    all.put(Response::Invite(invite()));
    all.put(Response::Bans { bans: vec![ban()], more: true });
    use RequestError as E;
    for error in [
        E::NoSuchRoom,
        E::RoomFull,
        E::WrongPassword,
        E::NameTaken,
        E::Refused { reason: "no".into() },
        E::HostSilent,
        E::OtherVersion { room: 1, yours: 2 },
        E::AlreadyInRoom,
        E::NotInRoom,
        E::NotHost,
        E::NoSuchPlayer,
        E::Malformed { what: "name".into() },
        E::Limited { retry_after_s: 10 },
        E::RegistryUnavailable,
        E::Stopping,
        E::StaleHost { epoch: 3 },
        E::BadTicket,
        E::AlreadyQueued,
        E::NotQueued,
        E::TooManyProperties { count: 17, max: 16 },
        E::PropertiesTooLong { bytes: 5000, max_bytes: 4096 },
        E::RoomLocked,
        E::TeamFull { size: 2 },
        E::NoSuchTeam { teams: 2 },
        E::NotReady { waiting: 1 },
        E::CountdownRuns,
        E::NoCountdown,
        E::HostStays,
        E::TooManyContacts { limit: 1_000 },
        E::NoSuchCall,
        E::AlreadyCalling,
        E::InviteOver { why: InviteFault::Used },
        E::TooManyInvites { most: 64 },
        E::SeveralRooms,
        E::MatchRefused,
        E::MatchUnanswered,
        E::Banned { reason: "rude".into(), for_s: Some(300) },
        E::SpectatorsFull { limit: 5 },
        E::NoSeat,
        E::Chat(ChatFault::Off),
        E::NotInParty,
        E::AlreadyInParty,
        E::NoSuchParty,
        E::PartyFull { most: 4 },
        E::NotPartyLeader,
        E::PartyTooLarge { size: 3, players: 2 },
        E::PartyIncomplete { missing: 1 },
        E::PartyRefused,
        E::PartyQueued,
        E::PartyElsewhere,
    ] {
        all.put(error);
    }
    use MatchEnd as M;
    for end in [M::Left, M::Kicked, M::Gone, M::Replaced, M::Migrated] {
        all.put(end);
    }
}
