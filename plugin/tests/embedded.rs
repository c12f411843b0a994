//! Games that bring a lobby server along.
#![cfg(feature = "embedded_lobby")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{SocketAddr, UdpSocket};

use bevy_traversal::*;
use test_support::game::{Game, until};

/// Returns a port that nobody serves, of those that the tests of this file do not share.
fn free_port() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn game(at: SocketAddr, name: &str) -> Game {
    Game::new(TraversalConfig {
        embedded_lobby: Some(at),
        game: "test".into(),
        ipv6: false,
        name: name.into(),
        ..TraversalConfig::default()
    })
}

fn online(game: &Game) -> bool {
    matches!(game.resource::<LobbyLink>().state, LobbyState::Online { .. })
}

#[test]
fn two_games_meet_without_a_lobby_server_and_the_second_serves_when_the_first_is_closed() {
    let at = free_port();
    let mut first = game(at, "first");
    let mut second = game(at, "second");
    until([&mut first, &mut second], "both are on line", 5.0, |games| games.iter().all(|game| online(game)));
    assert_eq!(first.resource::<LobbyLink>().servers, [at.to_string()]);
    first.write(HostRoom(RoomOptions { name: "den".into(), ..RoomOptions::default() }));
    until([&mut first, &mut second], "the room opens", 5.0, |[first, _]| {
        !first.all::<RoomJoined>().is_empty()
    });
    second.write(JoinRoom::name("den"));
    until([&mut first, &mut second], "both connect", 5.0, |games| {
        games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
    });
    drop(first);
    let mut third = game(at, "third");
    until([&mut third], "the second game serves", 10.0, |[third]| online(third));
    until([&mut second, &mut third], "the second game is on line again", 60.0, |games| {
        games.iter().all(|game| online(game))
    });
}

#[test]
fn a_plugin_without_a_lobby_server_has_one_embedded() {
    let plugin = TraversalPlugin::new("test", "");
    assert_eq!(plugin.config.embedded_lobby, Some("127.0.0.1:3478".parse().unwrap()));
    assert_eq!(TraversalPlugin::new("test", "lobby.example.com").config.embedded_lobby, None);
}
