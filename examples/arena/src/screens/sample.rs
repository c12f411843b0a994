//! Made-up content, for pictures of screens and for tests.

use bevy::math::Vec2;

use bevy_traversal::{
    Confidence, FailureReason, FilteringBehavior, MappingBehavior, Method, NatProfile, PlayerId,
};

use crate::chat::{Chat, Line};
use crate::net::HostGame;
use crate::network::{Connection, Joining, Light, OwnNat, Way};
use crate::scene::Scene;
use crate::session::{Link, Listed, Member, Room, Session};
use crate::sim::{Rules, clean_name};

/// Returns a full session, and a scene with the same players.
pub fn sample() -> (Session, Scene) {
    let names = ["Ada", "Bo", "Cleo with a very long na", "Dex", "Echo", "Finn", "Gigi", "Hal"];
    let mut game = HostGame::new(Rules::default(), 1, Some(names[0]));
    for name in &names[1..] {
        game.world.join(name);
    }
    for player in game.world.players.values_mut() {
        player.body.at *= Vec2::splat(0.8);
    }
    let mut scene = game.scene(1.0);
    for actor in &mut scene.actors {
        actor.client = Some(u64::from(actor.player));
    }
    let ways = [Way::Lan, Way::Direct, Way::DirectV6, Way::Relay];
    let methods = [None, Some(Method::Prediction), None, None];
    let connection = |i: usize| Connection {
        joined: (i < 7).then(|| Joining {
            way: ways[i % 4],
            method: methods[i % 4],
            took: 90 + 130 * i as u16,
        }),
        step: String::from("trying predicted ports on both sides"),
        why: (i % 4 == 3).then(|| {
            let reason = FailureReason::RandomPortsOnBothSides.to_string();
            let reason = reason.trim_end_matches('.');
            format!("{reason}. Switch UPnP, NAT-PMP or PCP on in one of the routers")
        }),
        rtt: (i < 7).then_some(13 * i as u32),
        loss: i as u8 / 3,
        away: false,
    };
    let members = names.iter().enumerate().map(|(i, name)| Member {
        client: i as u64,
        id: PlayerId([i as u8; 16]),
        name: clean_name(name),
        me: i == 0,
        host: i == 0,
        ready: i % 3 == 1,
        connection: (i > 0).then(|| connection(i)),
    });
    let rooms = ["den", "the long evening of the seven swords", "lan party", "practice", "duel", "no name"];
    let rooms = rooms.iter().enumerate().map(|(i, name)| Listed {
        name: (*name).to_owned(),
        code: format!("K7QF2{i}"),
        host: names[i].to_owned(),
        members: i as u16 + 1,
        capacity: if i == 4 { 5 } else { 8 },
        locked: i % 3 == 1,
        rtt: (i != 2).then_some(20 + 30 * i as u16),
        way: [None, None, Some("out of reach"), Some("relay")][i % 4],
        watchable: i < 3,
    });
    let nat = NatProfile {
        mapping: MappingBehavior::EndpointIndependent,
        filtering: FilteringBehavior::AddressAndPortDependent,
        confidence: Confidence::Full,
        ..NatProfile::UNKNOWN
    };
    let mut session = Session {
        link: Link::Online { seen_as: String::from("198.51.100.7:40001") },
        nat: Some(OwnNat {
            light: Light::Green,
            words: format!("Your network: {}. {}", nat.kind(), nat.meaning()),
        }),
        room: Some(Room {
            name: String::from("den"),
            code: String::from("K7QF2M"),
            hosting: true,
            capacity: 8,
        }),
        members: members.collect(),
        audience: 2,
        invite: Some(String::from("bevy-traversal:lobby.example.com/K7QF2M#key")),
        rooms: Some(rooms.collect()),
        ..Default::default()
    };
    for sentence in [
        "Looking for the lobby server lobby.example.com.",
        "Logged in; the lobby server sees this game as 198.51.100.7:40001.",
        "Your network: port-restricted cone.",
        "Asking to enter room \"den\".",
        "In the room \"den\".",
        "Ada: trying predicted ports on both sides.",
    ] {
        session.tell(sentence);
    }
    (session, scene)
}

/// Returns what the players of the sample have written.
pub fn sample_chat(typing: Option<&str>) -> Chat {
    let mut chat = Chat::default();
    let wide =
        "the left pillar is mine, whoever comes near it may say good-bye to all three points of health";
    for (client, name, text) in [
        (Some(1), "Bo", "hello all"),
        (Some(4), "Echo", wide),
        (None, "", "Not sent: too fast; write again in 0.4 s."),
        (Some(0), "Ada", "good luck"),
    ] {
        let (name, text) = (String::from(name), String::from(text));
        chat.add(Line { client, name, text, ..Line::default() });
    }
    chat.typing = typing.map(String::from);
    chat
}
