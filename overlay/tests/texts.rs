//! What the overlay says in each state, without a window: its texts are looked at as they would be drawn.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use bevy_app::{App, TaskPoolPlugin};
use bevy_ecs::prelude::*;
use bevy_input::ButtonInput;
use bevy_input::keyboard::KeyCode;
use bevy_time::TimePlugin;
use bevy_traversal::*;
use bevy_traversal_overlay::{Overlay, OverlayPlugin};
use bevy_ui::prelude::{Display, Node, Text};
use lobby_server::RunningServer;
use test_support::game::single_threaded;
use test_support::lobby;

/// Returns an app with the overlay, and with keys that the test presses.
fn game(lobby: &str, name: &str, relay: RelayPolicy) -> App {
    let config = TraversalConfig {
        lobby: vec![lobby.to_owned()],
        name: name.into(),
        ipv6: false,
        agent: AgentConfig { relay, ..AgentConfig::default() },
        ..TraversalConfig::default()
    };
    let mut app = App::new();
    app.add_plugins((TaskPoolPlugin::default(), TimePlugin, TraversalPlugin { config }))
        .add_plugins((
            TraversalDiagnosticsPlugin { period: Duration::from_millis(20) },
            OverlayPlugin::default(),
        ))
        .init_resource::<ButtonInput<KeyCode>>();
    app.finish();
    app.cleanup();
    app
}

fn press(app: &mut App, key: KeyCode) {
    app.world_mut().resource_mut::<ButtonInput<KeyCode>>().press(key);
    app.update();
    // What Bevy's own plugin does at the end of a frame.
    let mut keys = app.world_mut().resource_mut::<ButtonInput<KeyCode>>();
    keys.release(key);
    keys.clear();
    app.update();
}

/// Returns whether this entity and all above it take part in the layout.
fn is_displayed(world: &World, entity: Entity) -> bool {
    let shown = world.get::<Node>(entity).is_none_or(|node| node.display != Display::None);
    shown && world.get::<ChildOf>(entity).is_none_or(|above| is_displayed(world, above.parent()))
}

/// Returns all that can be read.
fn read(app: &mut App) -> Vec<String> {
    let world = app.world_mut();
    let texts: Vec<(Entity, String)> =
        world.query::<(Entity, &Text)>().iter(world).map(|(entity, text)| (entity, text.0.clone())).collect();
    texts.into_iter().filter(|(entity, _)| is_displayed(world, *entity)).map(|(_, text)| text).collect()
}

/// Turns the apps until the last one shows all of these.
fn until_shown<const N: usize>(apps: &mut [&mut App; N], seconds: u64, words: &[&str]) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        apps.iter_mut().for_each(|app| app.update());
        let shown = read(apps[N - 1]);
        if words.iter().all(|word| shown.iter().any(|text| text.contains(word))) {
            return shown;
        }
        assert!(Instant::now() < deadline, "not all of {words:?} in {shown:#?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts a host and a guest who meet, or not, with these policies.
fn met(lobby: &RunningServer, relays: [RelayPolicy; 2]) -> (App, App) {
    let address = lobby.addresses().first[0].to_string();
    let mut host = game(&address, "ann", relays[0]);
    let mut guest = game(&address, "bob", relays[1]);
    host.world_mut().write_message(HostRoom(RoomOptions { name: "den".into(), ..RoomOptions::default() }));
    guest.world_mut().write_message(JoinRoom { wait: Duration::from_secs(10), ..JoinRoom::name("den") });
    press(&mut guest, KeyCode::F3);
    (host, guest)
}

#[test]
fn the_key_shows_and_hides_it_and_hidden_it_has_no_entity() {
    let mut app = game("127.0.0.1:9", "alone", RelayPolicy::Allow);
    app.update();
    assert!(read(&mut app).is_empty());
    press(&mut app, KeyCode::F3);
    until_shown(&mut [&mut app], 5, &["Own NAT: unknown", "In no room", "No other player yet"]);
    assert!(app.world().resource::<Overlay>().shown);
    press(&mut app, KeyCode::F3);
    let world = app.world_mut();
    assert_eq!(world.query::<&Node>().iter(world).count(), 0);
    // Another key, and none.
    app.world_mut().resource_mut::<Overlay>().key = Some(KeyCode::KeyN);
    press(&mut app, KeyCode::F3);
    assert!(read(&mut app).is_empty());
    press(&mut app, KeyCode::KeyN);
    until_shown(&mut [&mut app], 5, &["In no room"]);
    app.world_mut().resource_mut::<Overlay>().key = None;
    press(&mut app, KeyCode::KeyN);
    assert!(!read(&mut app).is_empty());
    // A game that clears its world does not lose it.
    let world = app.world_mut();
    let all: Vec<Entity> =
        world.query_filtered::<Entity, (With<Node>, Without<ChildOf>)>().iter(world).collect();
    all.into_iter().for_each(|entity| _ = world.despawn(entity));
    until_shown(&mut [&mut app], 5, &["In no room"]);
}

#[test]
fn a_lobby_server_that_is_not_there_is_told() {
    let mut app = game("127.0.0.1:9", "alone", RelayPolicy::Allow);
    press(&mut app, KeyCode::F3);
    until_shown(&mut [&mut app], 20, &["127.0.0.1:9", "does not answer"]);
}

#[test]
fn a_direct_path_is_shown_with_its_figures_and_how_it_was_found() {
    let lobby = lobby();
    let (mut host, mut guest) = met(&lobby, [RelayPolicy::Allow; 2]);
    let words = ["ann (host)", "within the own network", " ms, jitter ", "% lost", "found by ", "Room: den"];
    let shown = until_shown(&mut [&mut host, &mut guest], 15, &words);
    assert!(!shown.iter().any(|text| text.starts_with("Why: ")), "{shown:#?}");
}

#[test]
fn a_path_over_the_relay_is_shown_with_the_reason_and_what_to_do() {
    let lobby = lobby();
    let (mut host, mut guest) = met(&lobby, [RelayPolicy::Only, RelayPolicy::Allow]);
    let reason = format!("Why: {}", FailureReason::RelayOnly);
    let words = ["ann (host)", "over the relay", "% lost", &reason, "What to do: Set the relay to"];
    until_shown(&mut [&mut host, &mut guest], 20, &words);
}

#[test]
fn an_attempt_that_failed_is_shown_with_the_reason_what_was_tried_and_what_to_do() {
    let lobby = lobby();
    let (mut host, mut guest) = met(&lobby, [RelayPolicy::Only, RelayPolicy::Never]);
    let words = ["ann", "no way found", "Why: ", "What to do: ", "Tried: "];
    let shown = until_shown(&mut [&mut host, &mut guest], 40, &words);
    assert_eq!(shown.iter().filter(|text| text.starts_with("ann")).count(), 1, "once: {shown:#?}");
}

#[test]
fn hidden_it_costs_a_frame_no_allocation() {
    let lobby = lobby();
    let mut app = game(&lobby.addresses().first[0].to_string(), "alone", RelayPolicy::Allow);
    single_threaded(&mut app);
    // Until it is logged in, and the NAT is told.
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        app.update();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(app.world().resource::<LobbyLink>().online());
    let least =
        (0..5).map(|_| allocation_counter::measure(|| (0..200).for_each(|_| app.update())).count_total);
    assert_eq!(least.min(), Some(0));
}
