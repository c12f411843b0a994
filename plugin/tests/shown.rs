//! What a game can show of its connections: measurements, and the story of connecting.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use bevy_diagnostic::{DiagnosticPath, DiagnosticsStore};
use bevy_ecs::prelude::*;
use bevy_traversal::*;
use lobby_server::RunningServer;
use test_support::game::{Game, config, room, until};
use test_support::lobby;

use TraversalDiagnosticsPlugin as Paths;

/// Returns a game that measures often.
fn measured(config: TraversalConfig) -> Game {
    Game::with(config, |app| {
        _ = app.add_plugins(TraversalDiagnosticsPlugin { period: Duration::from_millis(20) })
    })
}

fn with_relay(lobby: &RunningServer, name: &str, relay: RelayPolicy) -> TraversalConfig {
    let agent = AgentConfig { relay, ..AgentConfig::default() };
    TraversalConfig { agent, ..config(lobby, name) }
}

/// Returns a host and a guest in one room, who have these policies; they need not be connected.
fn met(lobby: &RunningServer, relays: [RelayPolicy; 2]) -> [Game; 2] {
    let mut host = measured(with_relay(lobby, "host", relays[0]));
    let mut guest = measured(with_relay(lobby, "guest", relays[1]));
    host.write(HostRoom(room()));
    until([&mut host], "the room opens", 5.0, |[host]| !host.all::<RoomJoined>().is_empty());
    guest.write(JoinRoom::name("room"));
    [host, guest]
}

fn value(game: &Game, path: &DiagnosticPath) -> Option<f64> {
    game.resource::<DiagnosticsStore>().get_measurement(path).map(|measurement| measurement.value)
}

/// Returns the component of the one other player.
fn of_player<C: Component + Clone>(game: &mut Game) -> Option<C> {
    let world = game.app.world_mut();
    world.query_filtered::<&C, With<RemotePlayer>>().iter(world).next().cloned()
}

fn steps(game: &mut Game) -> Vec<StepKind> {
    let progress = of_player::<Progress>(game);
    progress.iter().flat_map(|progress| progress.steps()).map(|step| step.what.clone()).collect()
}

#[test]
fn connections_are_measured_for_the_diagnostics_and_for_each_player() {
    let lobby = lobby();
    let [mut host, mut guest] = met(&lobby, [RelayPolicy::Allow; 2]);
    until([&mut host, &mut guest], "both are measured", 10.0, |games| {
        games.iter_mut().all(|game| {
            of_player::<Rtt>(game).is_some()
                && of_player::<Traffic>(game).is_some_and(|traffic| traffic.sent_per_s > 0.0)
                && value(game, &Paths::BYTES_SENT).is_some_and(|bytes| bytes > 0.0)
        })
    });
    for game in [&mut host, &mut guest] {
        let (Rtt(rtt), Loss(loss)) = (of_player(game).unwrap(), of_player(game).unwrap());
        // On this machine, in debug builds and with other tests beside.
        assert!(rtt > Duration::ZERO && rtt < Duration::from_secs(1), "{rtt:?}");
        assert!((0.0..=1.0).contains(&loss), "{loss}");
        let shown = value(game, &Paths::RTT).unwrap();
        assert!((shown - rtt.as_secs_f64() * 1e3).abs() < 1e-6, "{shown} ms is the mean of one player");
        assert!(value(game, &Paths::JITTER).is_some() && value(game, &Paths::LOSS).is_some());
        assert_eq!(value(game, &Paths::RELAYED_PEERS), Some(0.0));
        let traffic = of_player::<Traffic>(game).unwrap();
        assert!(traffic.sent > 0 && traffic.received > 0, "{traffic:?}");
    }
    // What one sends, the other receives.
    let (sent, received) =
        (of_player::<Traffic>(&mut host).unwrap(), of_player::<Traffic>(&mut guest).unwrap());
    assert!(received.received.abs_diff(sent.sent) < sent.sent / 2, "{sent:?} {received:?}");
    let player = host.resource::<Peers>().iter().next().unwrap().info.id;
    host.write(ClosePeer { player, reason: "enough".into() });
    until([&mut host, &mut guest], "the figures go with the connection", 5.0, |games| {
        games.iter_mut().all(|game| of_player::<Rtt>(game).is_none() && of_player::<Traffic>(game).is_none())
    });
    until([&mut host, &mut guest], "the last figure is zero", 5.0, |games| {
        games.iter().all(|game| value(game, &Paths::BYTES_SENT) == Some(0.0))
    });
}

#[test]
fn the_story_of_a_player_reached_over_the_relay_says_why() {
    let lobby = lobby();
    let [mut host, mut guest] = met(&lobby, [RelayPolicy::Only, RelayPolicy::Allow]);
    until([&mut host, &mut guest], "the relay is told", 20.0, |games| {
        games.iter_mut().all(|game| {
            of_player::<Progress>(game).is_some_and(|progress| progress.report().is_some())
                && value(game, &Paths::RELAYED_PEERS) == Some(1.0)
        })
    });
    for game in [&mut host, &mut guest] {
        let progress: Progress = of_player(game).unwrap();
        assert_eq!(progress.state(), ProgressState::Connected);
        // The relay is a way from the moment of the plan on, which may be that of the answer to the request.
        assert!(progress.connected_in().is_some());
        assert_eq!(progress.report().unwrap().reason, FailureReason::RelayOnly);
        let steps = steps(game);
        assert!(matches!(steps[0], StepKind::Planned { .. }), "{steps:?}");
        assert!(
            steps.iter().any(|step| matches!(step, StepKind::Connected { path: PathKind::Relay, .. })),
            "{steps:?}"
        );
        assert!(progress.steps().map(|step| step.at).is_sorted(), "{progress:?}");
    }
}

#[test]
fn the_story_of_an_attempt_that_fails_names_what_was_tried_and_why_it_failed() {
    let lobby = lobby();
    let [mut host, mut guest] = met(&lobby, [RelayPolicy::Only, RelayPolicy::Never]);
    let mut seen: Option<Progress> = None;
    until([&mut host, &mut guest], "the attempt fails", 30.0, |[_, guest]| {
        let now = of_player::<Progress>(guest).filter(|now| now.state() == ProgressState::Failed);
        seen = seen.take().or(now);
        seen.is_some()
    });
    let failed = seen.unwrap();
    let told = guest.all::<TraversalFailed>().remove(0).report;
    assert_eq!(failed.report(), Some(&told));
    assert_eq!(failed.connected_in(), None);
    assert!(matches!(failed.steps().next().unwrap().what, StepKind::Planned { .. }), "{failed:?}");
    let last = failed.steps().next_back().unwrap();
    assert!(last.what.to_string().starts_with("failed: "), "{}", last.what);
}

#[test]
fn the_story_goes_on_when_the_connection_ends_and_begins_anew_with_the_next_match() {
    let lobby = lobby();
    let [mut host, mut guest] = met(&lobby, [RelayPolicy::Allow; 2]);
    let connected = |game: &mut Game| {
        of_player::<Progress>(game).is_some_and(|progress| progress.state() == ProgressState::Connected)
    };
    until([&mut host, &mut guest], "both connect", 10.0, |games| {
        games.iter_mut().all(|game| connected(game))
    });
    let first: Progress = of_player(&mut guest).unwrap();
    guest.write(LeaveRoom);
    until([&mut host, &mut guest], "the guest is out", 5.0, |[host, guest]| {
        of_player::<Progress>(guest).is_none() && of_player::<Progress>(host).is_none()
    });
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect again", 10.0, |games| {
        games.iter_mut().all(|game| connected(game))
    });
    let second: Progress = of_player(&mut guest).unwrap();
    assert!(second.began() > first.began());
    let plans = |progress: &Progress| {
        progress.steps().filter(|step| matches!(step.what, StepKind::Planned { .. })).count()
    };
    assert_eq!((plans(&first), plans(&second)), (1, 1));
    // A player of whom nothing is left but its seat: the story says that the connection has ended.
    let player = host.resource::<Peers>().iter().next().unwrap().info.id;
    host.write(ClosePeer { player, reason: "enough".into() });
    until([&mut host, &mut guest], "it ends", 5.0, |[host, _]| {
        of_player::<Progress>(host).is_none_or(|progress| progress.state() == ProgressState::Ended)
    });
}
