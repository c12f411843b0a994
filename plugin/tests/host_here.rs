//! Games that bring a lobby server along for a room.
#![cfg(feature = "lan")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::UdpSocket;
use std::process::Command;

use bevy_traversal::*;
use test_support::game::{Game, until};
use test_support::scratch;

/// Where this is set the server's key is kept in a folder of the test.
const APART: &str = "HOST_HERE_APART";

fn codes(game: &Game) -> Vec<String> {
    let served = game.resource::<ServedHere>().0.as_ref();
    let invites = served.into_iter().flat_map(|served| &served.invites);
    invites.filter_map(|invite| Some(format!("{} {}", invite.server(), invite.code()?))).collect()
}

#[test]
fn a_room_is_hosted_here_again_on_the_same_port_at_once() {
    if std::env::var_os(APART).is_none() {
        // The server keeps its key in this user's data, which is no business of a test.
        let folder = scratch("host_here");
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.env(APART, "1").env("XDG_DATA_HOME", &folder).env("HOME", &folder);
        let test = "a_room_is_hosted_here_again_on_the_same_port_at_once";
        assert!(again.args([test, "--exact", "--nocapture"]).status().unwrap().success());
        return;
    }
    let at = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host_here = |room: &str, name: Option<&str>| HostHere {
        bind: at,
        public_name: name.map(String::from),
        announce: false,
        ..HostHere::from(RoomOptions { name: room.into(), ..RoomOptions::default() })
    };
    let mut game = Game::new(TraversalConfig {
        game: "test".into(),
        ipv6: false,
        name: "host".into(),
        ..TraversalConfig::default()
    });
    game.write(host_here("first", Some("first.example.net")));
    until([&mut game], "the first room is served", 10.0, |[game]| !codes(game).is_empty());
    let first = codes(&game);
    assert!(first[0].starts_with("first.example.net"), "{first:?}");
    game.write(host_here("second", None));
    game.app.update();
    assert_eq!(game.resource::<ServedHere>(), &ServedHere(None), "the first one's invites lead nowhere now");
    until([&mut game], "the second room is served", 15.0, |[game]| {
        assert!(game.all::<RequestFailed>().is_empty(), "{:?}", game.all::<RequestFailed>());
        !codes(game).is_empty()
    });
    let rooms: Vec<String> = game.all::<RoomJoined>().into_iter().map(|joined| joined.room.name).collect();
    assert_eq!(rooms, ["first", "second"]);
    let second = codes(&game);
    assert!(second.iter().all(|invite| invite.starts_with("127.0.0.1:")), "{second:?}");
    assert!(first.iter().all(|invite| !second.contains(invite)), "{first:?}, then {second:?}");
}
