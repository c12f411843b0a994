//! Made-up content, for pictures of screens and for tests.

use bevy::math::Vec2;

use crate::net::HostGame;
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
    let paths = ["lan", "direct", "direct-v6", "relay"];
    let members = names.iter().enumerate().map(|(i, name)| Member {
        client: i as u64,
        name: clean_name(name),
        me: i == 0,
        host: i == 0,
        path: (i > 0 && i < 7).then(|| paths[i % 4].to_owned()),
        ping: (i > 0 && i < 7).then_some(13 * i as u32),
    });
    let rooms = ["den", "the long evening of the seven swords", "lan party", "practice", "duel", "no name"];
    let rooms = rooms.iter().enumerate().map(|(i, name)| Listed {
        name: (*name).to_owned(),
        code: format!("K7QF2{i}"),
        host: names[i].to_owned(),
        members: i as u16 + 1,
        capacity: if i == 4 { 5 } else { 8 },
        locked: i % 3 == 1,
    });
    let mut session = Session {
        link: Link::Online { seen_as: String::from("198.51.100.7:40001") },
        nat: Some(String::from("port-restricted cone")),
        room: Some(Room {
            name: String::from("den"),
            code: String::from("K7QF2M"),
            hosting: true,
            capacity: 8,
        }),
        members: members.collect(),
        rooms: Some(rooms.collect()),
        ..Default::default()
    };
    for sentence in [
        "Looking for the lobby server lobby.example.com.",
        "Logged in; the lobby server sees this game as 198.51.100.7:40001.",
        "This network: port-restricted cone.",
        "Asking to enter room \"den\".",
        "In the room \"den\".",
        "Punching through to Ada: prediction, then bubble.",
    ] {
        session.tell(sentence);
    }
    (session, game.scene(1.0))
}
