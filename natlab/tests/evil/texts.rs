//! Texts that a server or another player makes up reach the game without what steers a terminal or hides.

use std::collections::BTreeMap;
use std::time::Duration;

use natlab::link::Link;
use natlab::player::Player;
use traversal_core::id::{JoinId, RoomId};
use traversal_core::text::{METADATA_VALUE, NAME, REASON, REGION, ROOM_NAME, Rule};
use traversal_core::wire::message::{
    Farewell, Frame, LoginRefusal, PlayerInfo, RequestError, RoomEnd, RoomInfo, RoomSummary, ToPlayer,
    Topology,
};
use traversal_core::wire::pair::PairMessage;
use traversal_core::{Command, DisconnectReason, Event, KnownServer, LobbyError, LobbyState, RequestFailure};

use crate::peer::{forge, matched};
use crate::server::nobody;
use crate::stage::{PEER, SERVER, Stage};

/// These are texts as a source of each kind sends them.
const ATTACKS: [&str; 9] = [
    "gnp.\u{202e}exe.ynnuf",
    "\u{200b}\u{200d}\u{feff}",
    "Ann\u{e0041}\u{e0062}\u{e007f}",
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "a\0b",
    "one\r\ntwo\u{2028}three",
    "\u{9b}31m",
    "Z\u{335}\u{335}\u{335}\u{335}\u{335}\u{335}\u{335}\u{335}\u{335}\u{335}\u{335}\u{335}algo",
    "p\u{430}yp\u{430}l\u{2066}\u{ad}",
];

fn stage(seed: u64) -> Stage {
    Stage::new(seed, "fullcone", Link::delay(Duration::from_millis(10)))
}

/// The text is as the rule has it.
#[track_caller]
fn assert_clean(rule: Rule, text: &str) {
    assert_eq!(rule.clean(text), text, "{}", rule.what);
    assert!(
        !text.chars().any(|c| c.is_control() || "\u{202e}\u{200b}\u{e0041}\u{2028}".contains(c)),
        "{text:?}"
    );
}

fn info(id: u64, text: &str) -> RoomInfo {
    RoomInfo {
        id: RoomId(id),
        name: text.into(),
        code: text.into(),
        host: nobody(1).id,
        capacity: 8,
        metadata: BTreeMap::from([(text.into(), text.into()), ("k".into(), text.into())]),
        public: true,
        auto_allow: true,
        migrate: true,
        epoch: 0,
        topology: Topology::Star,
        locked: false,
        teams: Vec::new(),
        seats: Default::default(),
    }
}

#[test]
fn what_a_server_says_comes_to_the_game_without_what_steers_or_hides() {
    for text in ATTACKS {
        let mut stage = stage(1);
        stage.log_in();
        let long = text.repeat(20);
        let player = PlayerInfo { name: text.into(), ..nobody(2) };
        let members = vec![player.clone(), PlayerInfo { name: long.clone(), ..nobody(3) }];
        stage.say(&ToPlayer::Members { room: RoomId(7), revision: 9, part: 0, parts: 1, members });
        stage.say(&ToPlayer::JoinRequest { join: JoinId(1), player });
        stage.say(&ToPlayer::RoomChanged(info(7, text)));
        stage.say(&ToPlayer::RoomEnded { room: RoomId(7), reason: RoomEnd::Kicked { reason: long } });
        stage.run(2);
        stage.with_server(|server| {
            let name: String = text.into();
            server.lists = Some(vec![RoomSummary {
                name: name.clone(),
                code: name.clone(),
                host_name: name.clone(),
                members: 1,
                capacity: 2,
                password: false,
                metadata: BTreeMap::from([(name.clone(), name.clone())]),
                locked: false,
                region: name.clone(),
                ..RoomSummary::default()
            }]);
            server.refuses = Some(RequestError::Refused { reason: name });
        });
        stage.act(|player, now| {
            player.command(now, Command::ListRooms(Default::default()));
            player.command(now, Command::QuickMatch(traversal_core::wire::message::QuickMatch::default()));
        });
        stage.run(2);
        let reason: String = text.into();
        stage.bid_farewell(&Frame::Goodbye { reason, why: Farewell::Leaving });
        stage.run(1);
        let seen = assert_all_clean(stage.player());
        assert!(seen.iter().all(|count| *count > 0), "{text:?}: {seen:?}");
    }
}

/// Looks at all texts that came to the game, and counts the events of each kind that had some.
fn assert_all_clean(player: &Player) -> [u32; 7] {
    let mut seen = [0; 7];
    for (_, event) in &player.events {
        match event {
            Event::Members(members) if members.len() == 2 => {
                seen[0] += 1;
                members.iter().for_each(|member| assert_clean(NAME, &member.name));
                assert!(members.iter().all(|member| !member.name.is_empty()), "something to call it by");
            }
            Event::JoinRequest { player, .. } => {
                seen[1] += 1;
                assert_clean(NAME, &player.name);
            }
            Event::RoomChanged(room) => {
                seen[2] += 1;
                assert_clean(ROOM_NAME, &room.name);
                assert!(room.code.len() <= 16);
                for (key, value) in &room.metadata {
                    assert!(!key.is_empty());
                    assert_clean(METADATA_VALUE, key);
                    assert_clean(METADATA_VALUE, value);
                }
            }
            Event::RoomLeft { reason: Some(RoomEnd::Kicked { reason }) } => {
                seen[3] += 1;
                assert_clean(REASON, reason);
            }
            Event::Rooms(found) => {
                seen[4] += 1;
                for room in &found.rooms {
                    assert_clean(REGION, &room.region);
                    assert_clean(ROOM_NAME, &room.name);
                    assert_clean(NAME, &room.host_name);
                }
            }
            Event::RequestFailed {
                error: RequestFailure::Server(RequestError::Refused { reason }), ..
            } => {
                seen[5] += 1;
                assert_clean(REASON, reason);
            }
            Event::Lobby(LobbyState::Retrying { error: LobbyError::Stopped { reason }, .. }) => {
                seen[6] += 1;
                assert_clean(REASON, reason);
            }
            _ => {}
        }
    }
    seen
}

#[test]
fn what_a_player_says_at_its_end_comes_to_the_game_without_what_steers_or_hides() {
    for text in ATTACKS {
        let mut stage = matched(2, "fullcone");
        stage.with_peer(|peer| peer.answers = true);
        stage.run(2);
        assert!(stage.player().is_direct(nobody(1).id));
        forge(&mut stage, PEER, &PairMessage::Close { reason: text.repeat(20) });
        stage.run(1);
        let told = stage.player().events.iter().find_map(|(_, event)| match event {
            Event::PeerDisconnected { reason: DisconnectReason::Closed { reason }, .. } => Some(reason),
            _ => None,
        });
        let reason = told.expect("the game is told");
        assert_clean(REASON, reason);
        assert_eq!(*reason, REASON.clean(&text.repeat(20)));
    }
}

#[test]
fn who_is_put_out_by_the_operator_is_told_why_and_does_not_come_back_by_itself() {
    let mut stage = stage(3);
    stage.log_in();
    stage.bid_farewell(&Frame::Goodbye { reason: "cheats".into(), why: Farewell::PutOut });
    stage.run(60);
    let LobbyState::Refused { error } = &stage.player().lobby else { panic!("{:?}", stage.player().lobby) };
    assert_eq!(error.to_string(), "the operator of the lobby server has put this player out: cheats");
    let again = |(_, event): &(_, Event)| matches!(event, Event::Lobby(LobbyState::Retrying { .. }));
    assert!(!stage.player().events.iter().any(again));
}

#[test]
fn without_a_reason_no_sentence_ends_in_a_colon() {
    let reason = String::new;
    for text in [
        LobbyError::PutOut { reason: reason() }.to_string(),
        LobbyError::Stopped { reason: reason() }.to_string(),
        LoginRefusal::Token { reason: reason() }.to_string(),
        RequestError::Refused { reason: reason() }.to_string(),
        RoomEnd::Kicked { reason: reason() }.to_string(),
        RoomEnd::ByOperator { reason: reason() }.to_string(),
        DisconnectReason::Closed { reason: reason() }.to_string(),
    ] {
        assert!(text.ends_with(char::is_alphabetic), "{text}");
    }
}

#[test]
fn a_login_from_another_place_is_told_as_such_and_not_undone() {
    let mut stage = stage(3);
    stage.log_in();
    let reason = String::from("this player logged in from another place");
    stage.bid_farewell(&Frame::Goodbye { reason, why: Farewell::Replaced });
    stage.run(60);
    assert_eq!(stage.player().lobby, LobbyState::Refused { error: LobbyError::Replaced });
    let states = |is_state: fn(&LobbyState) -> bool| {
        stage
            .player()
            .events
            .iter()
            .filter(|(_, event)| matches!(event, Event::Lobby(state) if is_state(state)))
            .count()
    };
    assert_eq!(
        states(|state| matches!(state, LobbyState::Retrying { .. })),
        0,
        "the two would go on without end"
    );
}

#[test]
fn a_server_with_another_key_than_before_is_not_logged_in_to() {
    let known = |key| Command::KnowServers(vec![KnownServer { addresses: vec![SERVER[0]], key }]);
    let mut stage = stage(4);
    stage.act(|player, now| {
        player.command(now, known(Some([9; 32])));
        player.command(now, Command::Connect(vec![SERVER[0]]));
    });
    stage.run(30);
    let refused = LobbyState::Refused { error: LobbyError::KeyChanged { server: SERVER[0] } };
    assert_eq!(stage.player().lobby, refused);
    // With the key that it has, and with none.
    for key in [Some(stage.server().key()), None] {
        stage.act(|player, now| {
            player.command(now, known(key));
            player.command(now, Command::Connect(vec![SERVER[0]]));
        });
        stage.run(5);
        let LobbyState::Online { server, server_key, .. } = stage.player().lobby else { panic!("{key:?}") };
        assert_eq!((server, server_key), (SERVER[0], stage.server().key()));
    }
}
