//! A value of each variant of the types that messages are made of, by topic.

use super::Samples;
use super::listing::{self};
use crate::failure::FailureReason;
use crate::id::PartyId;
use crate::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
use crate::wire::codec;
use crate::wire::message::{
    AwaySeat, CallAnswer, CallEnd, CallNews, CallPlace, CallRequest, Changes, ChatFault, ChatNews, ChatPlace,
    ChatRequest, ChatTo, ContactNews, ContactsRequest, CountdownEnd, CountdownRule, Facts, Frame, InRoom,
    KeptMatch, MAX_NAME, MAX_PARTY, MemberChanges, MemberState, Method, NoRelay, PartyEnd, PartyInfo,
    PartyMember, PartyNews, PartyRequest, PartyTicket, PlannedMethod, PlayerInfo, QueueStatus, QuickMatched,
    Rejoin, Request, Role, RoomEnd, RoomNews, RoomTarget, RoundTrip, SearchPermit, ServerCountdown, Status,
    TeamWish, ToPlayer, ToServer, Topology,
};
use crate::wire::pair::{Audience, PairMessage};
use crate::wire::session::MAX_FRAME;

use super::parts::*;

pub(super) fn people(all: &mut Samples) {
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

pub(super) fn chat(all: &mut Samples) {
    all.put(ChatRequest::Say { number: 300, to: ChatTo::Room, text: "hi".into() });
    all.put(ChatRequest::Report { player: id(9), text: "rude".into() });
    all.put(ChatTo::Room);
    all.put(ChatTo::Player(id(9)));
    all.put(ChatTo::Party);
    let place = ChatPlace::Room(ROOM);
    all.put(ChatNews::Text { from: player(), number: 300, place, text: "hi".into() });
    all.put(ChatNews::Switched { on: false });
    all.put(place);
    all.put(ChatPlace::Contact);
    all.put(ChatPlace::Party(PARTY));
    use ChatFault as F;
    for fault in [
        F::Off,
        F::TooFast { retry_after_ms: 700 },
        F::Text { what: "text".into() },
        F::NotInRoom,
        F::OnlyWatches,
        F::NotReached,
        F::NotInParty,
    ] {
        all.put(fault);
    }
}

pub(super) fn parties(all: &mut Samples) {
    let code = || "7KPX2M9QRT".to_owned();
    all.put(PartyRequest::Create { most: 16 });
    all.put(PartyRequest::Join { code: code() });
    all.put(PartyRequest::Resume { ticket: party_ticket(), code: code() });
    all.put(PartyRequest::Invite { player: id(9) });
    all.put(PartyRequest::Leave);
    all.put(PartyRequest::Kick { player: id(9) });
    all.put(PartyRequest::Lead { player: id(9) });
    all.put(PartyRequest::Disband);
    all.put(PartyRequest::Numbers([("skill".into(), -1200)].into()));
    all.put(PartyNews::State(party()));
    all.put(PartyNews::Ticket(party_ticket()));
    all.put(PartyNews::Invited { code: code(), from: player(), contact: true });
    all.put(PartyNews::Ended { party: PARTY, why: PartyEnd::Kicked });
    all.put(party());
    party().members.into_iter().for_each(|member| all.put(member));
    all.put(party_ticket());
    for end in [PartyEnd::Left, PartyEnd::Kicked, PartyEnd::Disbanded, PartyEnd::Away, PartyEnd::Lost] {
        all.put(end);
    }
}

#[test]
fn a_party_of_the_largest_size_fits_a_datagram() {
    let name = "\u{1f680}".repeat(12);
    let member = |n| PartyMember { info: PlayerInfo { id: id(n), name: name.clone() }, away: true };
    let members = (0..MAX_PARTY as u8).map(member).collect();
    let info = PartyInfo { id: PartyId(u64::MAX), revision: u32::MAX, most: MAX_PARTY, members, ..party() };
    assert_eq!(name.len(), MAX_NAME);
    let message = ToPlayer::Party(PartyNews::State(info));
    let frame = Frame::Reliable { seq: u32::MAX, body: message };
    assert!(codec::encode(&frame).expect("is written").len() <= MAX_FRAME);
    let members = (0..MAX_PARTY as u8).map(id).collect();
    let ticket = PartyTicket { members, edition: u32::MAX, until_s: u64::MAX, ..party_ticket() };
    let request = Request::Party(PartyRequest::Resume { ticket, code: "7KPX2M9QRT".into() });
    let frame = Frame::Reliable { seq: u32::MAX, body: ToServer::Request { id: ID, request } };
    assert!(codec::encode(&frame).expect("is written").len() <= MAX_FRAME);
}

pub(super) fn state() -> MemberState {
    MemberState { ready: true, team: Some(1), properties: metadata() }
}

pub(super) fn members(all: &mut Samples) {
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
        InRoom::Backfill(Some(quick_match())),
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
        RoomNews::Backfill { revision: 300, status: backfill_status() },
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

pub(super) fn rooms(all: &mut Samples) {
    all.put(player());
    all.put(options());
    all.put(RoomTarget::Name("den".into()));
    all.put(RoomTarget::Code("K7PX2M".into()));
    all.put(room());
    all.put(ticket());
    all.put(note());
    all.put(seat_note());
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
    all.put(backfill_status());
    all.put(quick_match());
    all.put(QueueStatus { position: 1, waiting: 300, players: 4, estimate_s: Some(20) });
    all.put(QuickMatched { room: room(), wanted: quick_match() });
}

pub(super) fn matches(all: &mut Samples) {
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

pub(super) fn nats(all: &mut Samples) {
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

pub(super) fn between_players(all: &mut Samples) {
    all.put(PairMessage::Test { tag: 0x0102_0304, method: Method::Bubble });
    all.put(PairMessage::Confirm { tag: 5, observed: v4(), test: Some(6) });
    all.put(PairMessage::Close { reason: "bye".into() });
    all.put(PairMessage::CloseAck);
    all.put(PairMessage::ProveLife { challenge: CODE });
    all.put(PairMessage::ProofOfLife { challenge: CODE, proof: CODE });
    for audience in [Audience::Room, Audience::Contact, Audience::Party] {
        all.put(audience);
        all.put(PairMessage::Chat { from: id(8), number: 300, audience, text: "hi".into() });
    }
    all.put(PairMessage::ChatTaken { from: id(8), number: 300, all: true });
}
