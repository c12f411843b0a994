//! Values that several samples are made of.

use std::net::SocketAddr;
use std::time::Duration;

use crate::facts::NatFacts;
use crate::id::{CallId, JoinId, MatchId, PartyId, PlayerId, RequestId, RoomId};
use crate::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
use crate::wire::message::{
    BackfillStatus, ContactNews, ExpectedWay, InviteToken, KickNote, MatchFound, Method, NumberRule,
    PartyInfo, PartyMember, PartyTicket, PlannedMethod, PlayerInfo, Presence, PunchPlan, QuickMatch,
    QuickRules, RelayGrant, Replan, Role, RoomBan, RoomInfo, RoomOptions, RoomSummary, RoomTerms, RoomTicket,
    RoundTrip, SeatKept, SeatNote, SeatTerms, Teams, TextRule, Topology,
};
use crate::wire::port_report::{PortReport, ReportKey};

pub(super) const ROOM: RoomId = RoomId(0x0102_0304_0506_0708);
pub(super) const PARTY: PartyId = PartyId(0x4142_4344_4546_4748);
pub(super) const MATCH: MatchId = MatchId(0x1112_1314_1516_1718);
pub(super) const JOIN: JoinId = JoinId(0x2122);
pub(super) const CALL: CallId = CallId(0x3132_3334_3536_3738);
pub(super) const ID: RequestId = RequestId(70_000);
pub(super) const CODE: [u8; 16] =
    [0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf];
pub(super) const KEY: [u8; 32] = [0x4b; 32];

pub(super) fn v4() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 7], 40_000))
}

pub(super) fn v6() -> SocketAddr {
    SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], 40_001))
}

pub(super) fn id(n: u8) -> PlayerId {
    PlayerId([n; 16])
}

pub(super) fn player() -> PlayerInfo {
    PlayerInfo { id: id(9), name: "Zoë".into() }
}

pub(super) fn report() -> PortReport {
    ReportKey::new(KEY).sign(5, 1_000, v4())
}

pub(super) fn metadata() -> std::collections::BTreeMap<String, String> {
    [("map".into(), "canyon".into()), ("mode".into(), String::new())].into()
}

pub(super) fn profile() -> NatProfile {
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

pub(super) fn facts() -> NatFacts {
    NatFacts {
        translated: Some(true),
        mapping: Some(MappingBehavior::EndpointIndependent),
        filtering: Some(FilteringBehavior::AddressAndPortDependent),
        allocation: Some(PortAllocation::RandomInBlock { first: 1_024, last: 65_535 }),
        foreign_rate: Some(0.5),
        timeout: Some(Duration::from_secs(60)),
    }
}

pub(super) fn options() -> RoomOptions {
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

pub(super) fn room() -> RoomInfo {
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

pub(super) fn seats() -> SeatTerms {
    SeatTerms { keep_seat_s: 300, spectators: 5, seat: false }
}

pub(super) fn terms() -> RoomTerms {
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

pub(super) fn ticket() -> RoomTicket {
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

pub(super) fn note() -> KickNote {
    KickNote { player: id(8), until_s: u64::MAX, seal: CODE, serial: 2, lifted: false }
}

pub(super) fn seat_note() -> SeatNote {
    SeatNote { player: player(), until_s: 1_800_000_000, seal: CODE }
}

pub(super) fn grant() -> RelayGrant {
    RelayGrant { token: [0xa7; 15], bytes_per_second: 100_000, lifetime_s: 3_600 }
}

pub(super) fn plan() -> PunchPlan {
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

pub(super) fn replan() -> Replan {
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

pub(super) fn quick_rules() -> QuickRules {
    let text = TextRule { value: "dust".into(), for_s: Some(60) };
    QuickRules {
        numbers: vec![NumberRule::new("skill", 1200).within([50, 100]).then_any()],
        texts: [("map".to_owned(), text)].into(),
        teams: vec![1, 1],
        accept_s: Some(10),
    }
}

pub(super) fn match_found() -> MatchFound {
    MatchFound { proposal: 0x0102_0304_0506_0708, within_s: 10, players: 2 }
}

pub(super) fn teams() -> Teams {
    Teams { room: ROOM, teams: vec![vec![id(1)], vec![id(2)]] }
}

pub(super) fn backfill_status() -> BackfillStatus {
    BackfillStatus { free: 300, coming: 2 }
}

pub(super) fn quick_match() -> QuickMatch {
    QuickMatch { mode: "duel".into(), players: 2, topology: Topology::Star, rules: quick_rules() }
}

/// Gives the samples of all types.
pub(super) fn invite() -> InviteToken {
    InviteToken { number: 70_000, until_s: 1_700_000_000, once: true, seal: CODE }
}

pub(super) fn summary() -> RoomSummary {
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

pub(super) fn contact() -> ContactNews {
    let presence = Presence {
        name: "Zoë".into(),
        room: Some("den".into()),
        playing: true,
        away: false,
        text: "one more round".into(),
    };
    ContactNews { player: id(9), presence: Some(presence) }
}

pub(super) fn party() -> PartyInfo {
    let members =
        vec![PartyMember { info: player(), away: false }, PartyMember { info: player(), away: true }];
    let code = "7KPX2M9QRT".into();
    PartyInfo { id: PARTY, code, most: 4, revision: 300, members, queued: true }
}

pub(super) fn party_ticket() -> PartyTicket {
    PartyTicket {
        party: PARTY,
        members: vec![id(9), id(8)],
        edition: 300,
        most: 4,
        until_s: 1 << 40,
        seal: CODE,
    }
}

pub(super) fn seat_kept() -> SeatKept {
    SeatKept { name: "den".into(), code: "K7PX2M".into(), hosting: true, kept_s: 300 }
}

pub(super) fn ban() -> RoomBan {
    RoomBan { player: id(8), name: "Zoë".into(), reason: "rude".into(), left_s: Some(300) }
}
