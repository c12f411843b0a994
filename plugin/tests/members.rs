//! What members of a room tell each other, as a game sees it: messages, the resource, components on the players' entities, and
//! errors that name the limit.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use bevy_traversal::*;
use test_support::game::{Game, config, host, room, until};
use test_support::lobby;

/// What the other player's entity says of it.
fn said(game: &mut Game) -> Option<MemberState> {
    let world = game.app.world_mut();
    let mut query = world.query_filtered::<&PlayerProperties, With<RemotePlayer>>();
    query.iter(world).next().map(|said| said.0.clone())
}

fn failures(game: &Game) -> Vec<(RequestKind, RequestFailure)> {
    game.all::<RequestFailed>().into_iter().map(|failed| (failed.request, failed.error)).collect()
}

fn id(game: &Game) -> PlayerId {
    game.resource::<LobbyLink>().player().unwrap()
}

#[test]
fn properties_are_on_the_entities_and_the_limits_in_the_errors() {
    let lobby = lobby();
    let long = "y".repeat(500);
    let properties = [("map".into(), "cave".into()), ("story".into(), long.clone())].into();
    let mut host = host(&lobby, RoomOptions { properties, teams: vec![1, 1], ..room() });
    until([&mut host], "its properties are there", 5.0, |[host]| {
        host.resource::<RoomShared>().properties().get("story") == Some(&long)
    });
    let mut guest = Game::new(config(&lobby, "guest"));
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "the guest knows them", 5.0, |[_, guest]| {
        guest.resource::<RoomShared>().properties().len() == 2
    });
    assert_eq!(guest.resource::<CurrentRoom>().info.as_ref().unwrap().teams, [1, 1]);

    guest.write(SetProperties::put("skin", "red").and("hat", "top"));
    guest.write(SetTeam(TeamWish::Any));
    guest.write(SetReady(true));
    host.write(SetReady(true));
    until([&mut host, &mut guest], "all are ready", 5.0, |games| {
        games.iter().all(|game| game.resource::<RoomShared>().all_ready())
    });
    let shown = said(&mut host).unwrap();
    assert_eq!((shown.ready, shown.team), (true, Some(0)));
    assert_eq!(shown.properties, [("hat".into(), "top".into()), ("skin".into(), "red".into())].into());
    assert_eq!(
        guest.resource::<RoomShared>().member(id(&guest)),
        Some(&shown),
        "the own ones are there, too"
    );
    guest.write(SetProperties::remove("hat"));
    until([&mut host, &mut guest], "the hat is gone", 5.0, |[host, _]| {
        said(host).is_some_and(|said| !said.properties.contains_key("hat"))
    });

    // What does not fit changes nothing, and the error has the limit.
    guest.write(SetProperties::put("a", "x".repeat(300)).and("b", "x".repeat(300)));
    host.write(SetRoomProperties((0..9).map(|n| (format!("k{n}"), Some("x".repeat(500)))).collect()));
    guest.write(SetRoomProperties::put("map", "sea"));
    host.write(SetTeam(TeamWish::Team(0)));
    until([&mut host, &mut guest], "all are refused", 5.0, |[host, guest]| {
        failures(host).len() == 2 && failures(guest).len() == 2
    });
    let server = |error| RequestFailure::Server(error);
    let too_long = failures(&guest)[0].1.clone();
    assert_eq!(too_long, server(RequestError::PropertiesTooLong { bytes: 609, max_bytes: 512 }));
    assert_eq!(failures(&guest)[1], (RequestKind::SetProperties, server(RequestError::NotHost)));
    let host_failures = failures(&host);
    let too_long = server(RequestError::PropertiesTooLong { bytes: 5030, max_bytes: 4096 });
    assert!(host_failures.contains(&(RequestKind::SetProperties, too_long)), "{host_failures:?}");
    assert!(host_failures.contains(&(RequestKind::SetMember, server(RequestError::TeamFull { size: 1 }))));
    assert_eq!(host.resource::<RoomShared>().properties().len(), 2);
}

#[test]
fn a_countdown_runs_in_the_resource_and_a_room_is_locked_and_handed_over() {
    let lobby = lobby();
    let mut host = host(&lobby, room());
    let mut guest = Game::new(config(&lobby, "guest"));
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect", 5.0, |games| {
        games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
    });
    host.write(StartCountdown::of(Duration::from_secs(60)));
    until([&mut host, &mut guest], "it is refused", 5.0, |[host, _]| failures(host).len() == 1);
    let not_ready = RequestFailure::Server(RequestError::NotReady { waiting: 2 });
    assert_eq!(failures(&host), [(RequestKind::StartCountdown, not_ready)]);

    let rule = CountdownRule { unready: false, ..CountdownRule::default() };
    let begun = Instant::now();
    host.write(StartCountdown { after: Duration::from_secs(2), rule });
    until([&mut host, &mut guest], "it runs", 2.0, |games| {
        games.iter().all(|game| game.resource::<RoomShared>().countdown().is_some())
    });
    assert!(guest.resource::<RoomShared>().left().unwrap() <= Duration::from_secs(2));
    until([&mut host, &mut guest], "it is over", 10.0, |games| {
        games.iter().all(|game| game.resource::<RoomShared>().countdown().is_none())
    });
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());

    host.write(LockRoom(true));
    until([&mut host, &mut guest], "it is locked", 5.0, |games| {
        games.iter().all(|game| game.resource::<CurrentRoom>().info.as_ref().unwrap().locked)
    });
    let mut stranger = Game::new(config(&lobby, "stranger"));
    stranger.write(JoinRoom::name("room"));
    until([&mut stranger], "it is refused", 5.0, |[stranger]| !failures(stranger).is_empty());
    let locked = RequestFailure::Server(RequestError::RoomLocked);
    assert_eq!(failures(&stranger), [(RequestKind::Join, locked)]);

    let player = id(&guest);
    host.write(HandOver { player });
    until([&mut host, &mut guest], "the guest hosts and the host is its guest", 10.0, |[host, guest]| {
        let connected = |game: &Game, hosting: bool| {
            game.resource::<Peers>().iter().next().is_some_and(|peer| peer.hosting == hosting)
        };
        guest.resource::<CurrentRoom>().hosting && connected(guest, true) && connected(host, false)
    });
    assert!(host.all::<RoomLeft>().is_empty() && guest.all::<RoomLeft>().is_empty());
    assert_eq!(host.all::<HostMigrated>().len(), 1);
}
