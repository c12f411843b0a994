//! A value of each variant of each type on the wire, in the order of docs/protocol.md. Enums that are fields elsewhere stand
//! here by themselves, too. It is over 400 lines long because it is a list, as long as the protocol.

use std::net::SocketAddr;
use std::time::Duration;

use super::Samples;
use super::listing::{self, cursor, news, query};
use crate::facts::NatFacts;
use crate::failure::FailureReason;
use crate::id::{CallId, JoinId, MatchId, PlayerId, RequestId, RoomId};
use crate::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
use crate::wire::message::{
    AwaySeat, CallAnswer, CallEnd, CallNews, CallPlace, CallRequest, Changes, ContactNews, ContactsRequest,
    CountdownEnd, CountdownRule, ExpectedWay, Facts, Farewell, Frame, InRoom, InviteFault, InviteTerms,
    InviteToken, KeptMatch, KickNote, Login, LoginRefusal, MatchEnd, MatchFound, MatchOutcome, MemberChanges,
    MemberState, Method, NoRelay, NumberRule, PlannedMethod, PlayerInfo, Presence, Probe, ProbePurpose,
    PunchPlan, QueueStatus, QuickMatch, QuickMatched, QuickRules, Rejoin, RelayGrant, Replan, Request,
    RequestError, Response, Role, RoomBan, RoomEnd, RoomInfo, RoomNews, RoomOptions, RoomSummary, RoomTarget,
    RoomTerms, RoomTicket, RoundTrip, SearchPermit, SeatKept, SeatTerms, ServerCountdown, Status, TeamWish,
    Teams, TextRule, TicketFault, ToPlayer, ToServer, Topology, Welcome,
};
use crate::wire::pair::PairMessage;
use crate::wire::port_report::{PortReport, ReportKey};

const ROOM: RoomId = RoomId(0x0102_0304_0506_0708);
const MATCH: MatchId = MatchId(0x1112_1314_1516_1718);
const JOIN: JoinId = JoinId(0x2122);
const CALL: CallId = CallId(0x3132_3334_3536_3738);
const ID: RequestId = RequestId(70_000);
const CODE: [u8; 16] =
    [0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf];
const KEY: [u8; 32] = [0x4b; 32];

fn v4() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 7], 40_000))
}

fn v6() -> SocketAddr {
    SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], 40_001))
}

fn id(n: u8) -> PlayerId {
    PlayerId([n; 16])
}

fn player() -> PlayerInfo {
    PlayerInfo { id: id(9), name: "Zoë".into() }
}

fn report() -> PortReport {
    ReportKey::new(KEY).sign(5, 1_000, v4())
}

fn metadata() -> std::collections::BTreeMap<String, String> {
    [("map".into(), "canyon".into()), ("mode".into(), String::new())].into()
}

fn profile() -> NatProfile {
    NatProfile {
        mapping: MappingBehavior::AddressAndPortDependent,
        filtering: FilteringBehavior::AddressDependent,
        allocation: PortAllocation::Sequential { step: -2 },
        translated: Some(true),
        hairpin: Some(false),
        pooled: None,
        udp_blocked: false,
        timeout: Some(Duration::from_secs(30)),
        timeout_below: Some(Duration::from_millis(120_500)),
        foreign_rate: Some(2.5),
        confidence: Confidence::Full,
        mapped: false,
        allocation_confidence: Some(0.75),
        parity: Some(true),
    }
}

fn facts() -> NatFacts {
    NatFacts {
        translated: Some(true),
        mapping: Some(MappingBehavior::EndpointIndependent),
        filtering: Some(FilteringBehavior::AddressAndPortDependent),
        allocation: Some(PortAllocation::RandomInBlock { first: 1_024, last: 65_535 }),
        foreign_rate: Some(0.5),
        timeout: Some(Duration::from_secs(60)),
    }
}

fn options() -> RoomOptions {
    RoomOptions {
        name: "den".into(),
        capacity: 4,
        password: Some("sesame".into()),
        public: true,
        auto_allow: false,
        metadata: metadata(),
        migrate: true,
        topology: Topology::Mesh,
        locked: true,
        teams: vec![2, 3],
        properties: Default::default(),
        keep_seat: Duration::from_secs(300),
        spectators: 5,
        seat: true,
    }
}

fn room() -> RoomInfo {
    RoomInfo {
        id: ROOM,
        name: "den".into(),
        code: "K7PX2M".into(),
        host: id(1),
        capacity: 300,
        metadata: metadata(),
        public: false,
        auto_allow: true,
        migrate: true,
        epoch: 3,
        topology: Topology::Star,
        locked: true,
        teams: vec![2, 3],
        seats: seats(),
    }
}

fn seats() -> SeatTerms {
    SeatTerms { keep_seat_s: 300, spectators: 5, seat: false }
}

fn terms() -> RoomTerms {
    RoomTerms {
        capacity: 4,
        public: true,
        auto_allow: true,
        migrate: false,
        topology: Topology::Star,
        password: true,
        seats: seats(),
    }
}

fn ticket() -> RoomTicket {
    RoomTicket {
        room: ROOM,
        epoch: 3,
        host: id(1),
        seal: CODE,
        generation: 2,
        until_s: 1_800_000_000,
        terms: terms(),
    }
}

fn note() -> KickNote {
    KickNote { player: id(8), until_s: u64::MAX, seal: CODE, serial: 2, lifted: false }
}

fn grant() -> RelayGrant {
    RelayGrant { token: [0xa7; 15], bytes_per_second: 100_000, lifetime_s: 3_600 }
}

fn plan() -> PunchPlan {
    PunchPlan {
        match_id: MATCH,
        peer: player(),
        peer_ephemeral: [0x33; 32],
        pair_secret: [0x44; 32],
        hosting: true,
        role: Role::Receiving,
        same_nat: false,
        peer_public: vec![v4(), v6()],
        peer_local: vec![],
        own_nat: NatProfile::UNKNOWN,
        peer_nat: profile(),
        methods: Method::ALL.to_vec(),
        deadline_ms: 15_000,
        relay: Some(grant()),
        no_relay: None,
        epoch: 3,
        mesh: false,
        peer_rtt: Some(RoundTrip { ms: 48, spread_ms: 300 }),
        peer_key: [0x55; 32],
        spectator: true,
    }
}

fn replan() -> Replan {
    let methods = vec![PlannedMethod { method: Method::Prediction, since: 1 }];
    Replan {
        match_id: MATCH,
        role: Role::Sending,
        methods,
        own_nat: profile(),
        peer_nat: NatProfile::UNKNOWN,
        edition: 2,
    }
}

fn quick_rules() -> QuickRules {
    let text = TextRule { value: "dust".into(), for_s: Some(60) };
    QuickRules {
        numbers: vec![NumberRule::new("skill", 1200).within([50, 100]).then_any()],
        texts: [("map".to_owned(), text)].into(),
        teams: vec![1, 1],
        accept_s: Some(10),
    }
}

fn match_found() -> MatchFound {
    MatchFound { proposal: 0x0102_0304_0506_0708, within_s: 10, players: 2 }
}

fn teams() -> Teams {
    Teams { room: ROOM, teams: vec![vec![id(1)], vec![id(2)]] }
}

fn quick_match() -> QuickMatch {
    QuickMatch { mode: "duel".into(), players: 2, topology: Topology::Star, rules: quick_rules() }
}

/// Gives the samples of all types.
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
    use MatchOutcome as O;
    for outcome in [O::Direct, O::Relayed, O::Failed, O::Lost, O::Closed] {
        all.put(outcome);
    }
}

fn invite() -> InviteToken {
    InviteToken { number: 70_000, until_s: 1_700_000_000, once: true, seal: CODE }
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
    put(Request::AnswerMatch { proposal: match_found().proposal, accept: true });
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
    ] {
        all.put(error);
    }
    use MatchEnd as M;
    for end in [M::Left, M::Kicked, M::Gone, M::Replaced, M::Migrated] {
        all.put(end);
    }
}

fn contact() -> ContactNews {
    let presence = Presence {
        name: "Zoë".into(),
        room: Some("den".into()),
        playing: true,
        away: false,
        text: "one more round".into(),
    };
    ContactNews { player: id(9), presence: Some(presence) }
}

fn people(all: &mut Samples) {
    let status =
        Status { away: true, playing: false, text: "lunch".into(), hide_room: true, strangers_ring: false };
    all.put(ContactsRequest::Part { first: true, last: false, allow: vec![id(9)] });
    all.put(ContactsRequest::Allow { player: id(9), allow: false });
    all.put(ContactsRequest::Status(status.clone()));
    all.put(status);
    all.put(contact());
    contact().presence.into_iter().for_each(|presence| all.put(presence));
    all.put(ContactNews { player: id(9), presence: None });
    all.put(CallRequest::Ring { call: CALL, player: id(9) });
    all.put(CallRequest::Answer { call: CALL, answer: CallAnswer::Yes });
    all.put(CallRequest::HangUp { call: CALL });
    all.put(CallAnswer::Yes);
    all.put(CallAnswer::No { reason: "later".into() });
    all.put(CallAnswer::Busy);
    all.put(CallNews::Ringing { call: CALL });
    all.put(CallNews::Ring { call: CALL, from: player(), contact: true });
    all.put(CallNews::Accepted { call: CALL, place: CallPlace::Stay });
    all.put(CallNews::Ended { call: CALL, why: CallEnd::Busy });
    all.put(CallPlace::Opened(Box::new(room())));
    all.put(CallPlace::Enter { code: "K7PX2M".into() });
    all.put(CallPlace::Stay);
    use CallEnd as E;
    for end in [
        E::NotReached,
        E::Refused { reason: "no".into() },
        E::Busy,
        E::NoAnswer,
        E::HungUp,
        E::Gone,
        E::BothInRooms,
        E::TooSoon { retry_after_s: 60 },
        E::NoRoom,
    ] {
        all.put(end);
    }
}

fn summary() -> RoomSummary {
    RoomSummary {
        name: "den".into(),
        code: "K7PX2M".into(),
        host_name: "Zoë".into(),
        members: 2,
        capacity: 4,
        password: true,
        metadata: metadata(),
        spectators: 3,
        spectator_limit: 5,
        dedicated: true,
        locked: true,
        region: "eu".into(),
        protocol: 7,
        age_s: 300,
        rtt_ms: Some(40),
        way: ExpectedWay::Direct,
    }
}

fn state() -> MemberState {
    MemberState { ready: true, team: Some(1), properties: metadata() }
}

fn members(all: &mut Samples) {
    let changes: Changes = [("skin".into(), Some("red".into())), ("hat".into(), None)].into();
    let changed = MemberChanges { ready: Some(true), team: Some(TeamWish::Any), properties: changes.clone() };
    let rule = CountdownRule { unready: true, leave: false, join: true };
    let countdown = Some((7, 3000, rule));
    for request in [
        InRoom::Member(changed.clone()),
        InRoom::Properties(changes),
        InRoom::Show { part: 0, parts: 1, properties: metadata(), countdown },
        InRoom::Lock(true),
        InRoom::Teams(vec![2, 3]),
        InRoom::StartCountdown { after_ms: 5000, rule },
        InRoom::CancelCountdown { id: Some(7) },
        InRoom::HandOver { player: id(8) },
        InRoom::Time,
    ] {
        all.put(request);
    }
    all.put(changed);
    all.put(state());
    all.put(rule);
    let running = ServerCountdown { id: 7, at_ms: 1 << 40, now_ms: 300, rule };
    all.put(running);
    for wish in [TeamWish::Leave, TeamWish::Any, TeamWish::Team(1)] {
        all.put(wish);
    }
    for news in [
        RoomNews::Member { player: id(8), revision: 300, state: state() },
        RoomNews::Property { by: id(1), revision: 300, key: "map".into(), value: Some("cave".into()) },
        RoomNews::Keys { revision: 300, keys: vec![1, 1 << 31], complete: false },
        RoomNews::Countdown(running),
        RoomNews::CountdownCancelled { id: 7, why: CountdownEnd::ByHost },
    ] {
        all.put(news);
    }
    for why in [
        CountdownEnd::ByHost,
        CountdownEnd::NotReady(id(8)),
        CountdownEnd::Left(id(8)),
        CountdownEnd::Joined(id(8)),
    ] {
        all.put(why);
    }
}

fn ban() -> RoomBan {
    RoomBan { player: id(8), name: "Zoë".into(), reason: "rude".into(), left_s: Some(300) }
}

fn seat_kept() -> SeatKept {
    SeatKept { name: "den".into(), code: "K7PX2M".into(), hosting: true, kept_s: 300 }
}

fn rooms(all: &mut Samples) {
    all.put(player());
    all.put(options());
    all.put(RoomTarget::Name("den".into()));
    all.put(RoomTarget::Code("K7PX2M".into()));
    all.put(room());
    all.put(ticket());
    all.put(note());
    all.put(terms());
    all.put(seats());
    for rejoin in [Rejoin::Now, Rejoin::After { seconds: 300 }, Rejoin::Never] {
        all.put(rejoin);
    }
    all.put(ban());
    all.put(AwaySeat { player: id(8), kept_s: 300 });
    all.put(seat_kept());
    all.put(summary());
    listing::all(all, summary());
    use RoomEnd as R;
    for end in [
        R::Closed,
        R::HostLost,
        R::Kicked { reason: "rude".into() },
        R::Replaced,
        R::HostReplaced { epoch: 3 },
        R::ByOperator { reason: "no".into() },
    ] {
        all.put(end);
    }
    all.put(Topology::Star);
    all.put(Topology::Mesh);
    let rules = quick_rules();
    all.put(rules.numbers[0].clone());
    all.put(rules.texts["map"].clone());
    all.put(rules);
    all.put(match_found());
    all.put(teams());
    all.put(quick_match());
    all.put(QueueStatus { position: 1, waiting: 300, players: 4, estimate_s: Some(20) });
    all.put(QuickMatched { room: room(), wanted: quick_match() });
}

fn matches(all: &mut Samples) {
    all.put(plan());
    all.put(NoRelay::Off);
    all.put(NoRelay::Full);
    all.put(NoRelay::Budget);
    all.put(RoundTrip { ms: 48, spread_ms: 300 });
    all.put(replan());
    all.put(PlannedMethod { method: Method::Birthday, since: 0 });
    all.put(grant());
    all.put(KeptMatch { match_id: MATCH, player: id(9), hosting: false, edition: 255 });
    all.put(Role::Sending);
    all.put(Role::Receiving);
    for method in Method::ALL {
        all.put(method);
    }
    for turn in [SearchPermit::Wait, SearchPermit::Begin, SearchPermit::Off] {
        all.put(turn);
    }
    let (round, ip) = (258, v4().ip());
    all.put(Facts::Range { round, ip, first: 40_000, last: 40_010, step: 2 });
    all.put(Facts::Newest { round, address: v6(), ahead: [1, 0, 0, 0] });
    all.put(Facts::PeerPublic(vec![v6()]));
    all.put(Facts::Kept { round, ip: v6().ip(), ports: vec![40_000] });
    all.put(Facts::OpenRange { round, ip, bound: 40_000, step: -2 });
}

fn nats(all: &mut Samples) {
    all.put(profile());
    all.put(NatProfile::UNKNOWN);
    all.put(facts());
    use MappingBehavior as M;
    for mapping in [
        M::Unknown,
        M::EndpointIndependent,
        M::AddressDependent,
        M::AddressAndPortDependent,
        M::NotPortSensitive,
    ] {
        all.put(mapping);
    }
    use FilteringBehavior as F;
    for filtering in [F::Unknown, F::EndpointIndependent, F::AddressDependent, F::AddressAndPortDependent] {
        all.put(filtering);
    }
    use PortAllocation as P;
    for allocation in [
        P::Unknown,
        P::Preserving,
        P::Sequential { step: -2 },
        P::Random,
        P::RandomInBlock { first: 1_024, last: 2_047 },
    ] {
        all.put(allocation);
    }
    use Confidence as C;
    for confidence in [C::Unknown, C::Full, C::Reduced, C::Stale, C::Manual] {
        all.put(confidence);
    }
    use FailureReason as R;
    for reason in [
        R::RandomPortsOnBothSides,
        R::RandomPortsAgainstSymmetric,
        R::SymmetricOnBothSides,
        R::UdpBlocked,
        R::NoAnswer,
        R::OneWayOnly,
        R::RelayForbidden,
        R::PeerLeft,
        R::PathLost,
        R::CapReached,
        R::BadPlan,
        R::RandomPortsNotFound,
        R::NoHairpin,
        R::RelayOnly,
        R::SearchWaits,
        R::RelayFull,
        R::NoCommonFamily,
        R::AddressesHidden,
    ] {
        all.put(reason);
    }
}

fn between_players(all: &mut Samples) {
    let put = &mut |message: PairMessage| all.put(message);
    put(PairMessage::Test { tag: 0x0102_0304, method: Method::Bubble });
    put(PairMessage::Confirm { tag: 5, observed: v4(), test: Some(6) });
    put(PairMessage::Close { reason: "bye".into() });
    put(PairMessage::CloseAck);
    put(PairMessage::ProveLife { challenge: CODE });
    put(PairMessage::ProofOfLife { challenge: CODE, proof: CODE });
}
