//! A frame in which nothing happens allocates nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use bevy_traversal::*;
use test_support::game::{Game, config, room, single_threaded, until};
use test_support::lobby;

/// Frames that are counted together.
const FRAMES: u64 = 200;

/// Turns the app for so long, so that all buffers have their size and what was to be told is told.
fn settle(game: &mut Game, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        game.app.update();
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns how many allocations this thread makes in some frames. The network thread has its own, which no frame
/// waits for.
fn allocations(game: &mut Game) -> u64 {
    let counted = allocation_counter::measure(|| (0..FRAMES).for_each(|_| game.app.update()));
    counted.count_total
}

fn measured(game: TraversalConfig) -> Game {
    let mut game = Game::with(game, |app| _ = app.add_plugins(TraversalDiagnosticsPlugin::default()));
    single_threaded(&mut game.app);
    game
}

#[test]
fn an_idle_frame_allocates_nothing() {
    let lobby = lobby();
    let mut menu = measured(config(&lobby, "in the menu"));
    until([&mut menu], "it logs in", 5.0, |[menu]| menu.resource::<LobbyLink>().online());
    settle(&mut menu, Duration::from_secs(3));
    // News (the NAT is known) come in a frame of their own: one of some goes has none.
    let least = (0..5).map(|_| allocations(&mut menu)).min();
    assert_eq!(least, Some(0), "in {FRAMES} frames without a room");
}

#[test]
fn a_frame_with_connected_players_who_say_nothing_allocates_nothing() {
    let lobby = lobby();
    let mut host = measured(config(&lobby, "host"));
    let mut guest = measured(config(&lobby, "guest"));
    host.write(HostRoom(room()));
    guest.write(JoinRoom { wait: Duration::from_secs(5), ..JoinRoom::name("room") });
    until([&mut host, &mut guest], "both connect", 10.0, |games| {
        games.iter().all(|game| !game.resource::<Peers>().is_empty())
    });
    // renet's last words about the connection, and the search for the longest datagram.
    for _ in 0..4 {
        settle(&mut host, Duration::from_millis(500));
        settle(&mut guest, Duration::from_millis(500));
    }
    for game in [&mut host, &mut guest] {
        // Twice a second they are measured: that takes one of the frames.
        let least = (0..10).map(|_| allocations(game)).min();
        assert_eq!(least, Some(0), "in {FRAMES} frames with a player");
    }
}
