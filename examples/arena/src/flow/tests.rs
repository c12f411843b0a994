//! The flow alone: what it asks for is looked at, and nobody answers but the test.

use super::*;
use crate::net::systems::{NetPlugin, PlayerName};
use crate::session::{HostPlan, QuickPlan, Target};
use bevy_traversal::RoomQuery;

/// Returns an app with the flow alone: what it asks for is looked at, and nobody answers but the test.
fn app() -> App {
    let mut app = App::new();
    app.add_plugins(MinimalPlugins)
        .insert_resource(Profile { name: String::from("Ann"), server: String::from("here:1") })
        .insert_resource(PlayerName(String::from("Ann")))
        .insert_resource(Seed(1))
        .add_plugins((NetPlugin, FlowPlugin));
    app
}

fn asks(app: &mut App) -> Vec<Ask> {
    app.update();
    app.world_mut().resource_mut::<Messages<Ask>>().drain().collect()
}

fn online(app: &mut App) {
    app.world_mut().resource_mut::<Session>().link = Link::Online { seen_as: String::new() };
}

fn join() -> Goal {
    let target = Target::Name(String::from("den"));
    Goal::Join { target, password: None, wait: Duration::ZERO, watch: false }
}

#[test]
fn logs_in_first_asks_once_and_asks_again_when_tried_again() {
    let mut app = app();
    assert_eq!(asks(&mut app), []);
    app.insert_resource(join());
    assert_eq!(asks(&mut app), [Ask::Connect]);
    assert_eq!(asks(&mut app), [], "waits for the login");
    online(&mut app);
    assert!(matches!(asks(&mut app)[..], [Ask::Join { .. }]));
    assert_eq!(asks(&mut app), []);
    app.world_mut().resource_mut::<Goal>().set_changed();
    assert_eq!(asks(&mut app), [Ask::Leave]);
    assert!(matches!(asks(&mut app)[..], [Ask::Join { .. }]));
    app.insert_resource(Goal::Idle);
    assert_eq!(asks(&mut app), [Ask::Leave]);
    assert_eq!(asks(&mut app), []);
}

#[test]
fn another_server_is_logged_in_to_anew() {
    let mut app = app();
    app.insert_resource(Goal::Browse);
    assert_eq!(asks(&mut app), [Ask::Connect]);
    online(&mut app);
    assert_eq!(asks(&mut app), [Ask::Watch(RoomWish::default().0)]);
    assert_eq!(asks(&mut app), [], "the server tells by itself what changes");
    let text = String::from("den");
    app.insert_resource(RoomWish(RoomQuery { text, ..RoomQuery::default() }));
    assert!(matches!(asks(&mut app)[..], [Ask::Watch(_)]), "another search");
    app.insert_resource(Profile { name: String::from("Ann"), server: String::from("there:1") });
    assert_eq!(asks(&mut app), [Ask::Connect]);
}

#[test]
fn an_invite_is_followed_also_where_the_own_server_is_away() {
    let mut app = app();
    app.insert_resource(Goal::Invited(String::from("bevy-traversal:there/K7QF2M#key")));
    assert_eq!(asks(&mut app), [Ask::Connect]);
    assert_eq!(asks(&mut app), [], "the own server may be the one");
    app.world_mut().resource_mut::<Session>().link = Link::Retrying { reason: String::new() };
    assert!(matches!(asks(&mut app)[..], [Ask::Invited(_)]));
    assert_eq!(asks(&mut app), []);
}

#[test]
fn a_match_lives_as_long_as_its_room_and_begins_by_itself() {
    let mut app = app();
    app.insert_resource(Goal::Host(HostPlan { begin_with: Some(2), ..HostPlan::default() }));
    app.update();
    online(&mut app);
    app.update();
    assert!(app.world().get_resource::<Hosted>().is_none());
    app.world_mut().resource_mut::<Session>().room = Some(crate::session::Room {
        name: String::from("den"),
        code: String::from("K7QF2M"),
        hosting: true,
        capacity: 8,
    });
    app.update();
    app.world_mut().resource_mut::<Hosted>().0.world.join("Ben");
    app.world_mut().run_schedule(FixedUpdate);
    let phase = app.world().resource::<Hosted>().0.world.phase;
    assert!(matches!(phase, Phase::Countdown { .. }), "{phase:?}");
    app.world_mut().resource_mut::<Session>().room = None;
    app.update();
    assert!(app.world().get_resource::<Hosted>().is_none());
}

#[test]
fn a_host_that_was_replaced_while_it_was_away_is_a_guest_of_the_same_room() {
    let mut app = app();
    app.insert_resource(Goal::Host(HostPlan::default()));
    app.update();
    online(&mut app);
    let room = |hosting| crate::session::Room {
        name: String::from("den"),
        code: String::from("K7QF2M"),
        hosting,
        capacity: 8,
    };
    app.world_mut().resource_mut::<Session>().room = Some(room(true));
    app.update();
    assert!(app.world().get_resource::<Hosted>().is_some());
    app.world_mut().resource_mut::<Session>().room = Some(room(false));
    app.world_mut().write_message(HostChange { hosting: false, previous: 1, name: String::from("Ben") });
    app.world_mut().resource_mut::<Messages<Ask>>().clear();
    let mut client = RenetClient::new(bevy_renet::renet::ConnectionConfig::default());
    client.set_connected();
    app.insert_resource(client);
    app.update();
    app.update();
    assert!(app.world().get_resource::<Hosted>().is_none());
    assert!(app.world().get_resource::<Joined>().is_some(), "it plays with the new host");
    let rooms = |ask: &Ask| matches!(ask, Ask::Host(_) | Ask::Join { .. });
    assert!(!asks(&mut app).iter().any(rooms), "and asks for no room");
}

#[test]
fn a_quick_match_is_waited_for_given_up_and_hosted_like_any_other() {
    let mut app = app();
    let plan = QuickPlan { players: 2, rules: Rules::default() };
    app.insert_resource(Goal::Quick(plan));
    app.update();
    online(&mut app);
    app.world_mut().resource_mut::<Messages<Ask>>().clear();
    assert_eq!(asks(&mut app), [Ask::Quick(plan)]);
    app.insert_resource(Goal::Idle);
    assert_eq!(asks(&mut app), [Ask::Unqueue, Ask::Leave], "it may be in a room by now");
    app.insert_resource(Goal::Quick(plan));
    assert_eq!(asks(&mut app), [Ask::Quick(plan)]);
    let (name, code) = (String::from("K7QF2M"), String::from("K7QF2M"));
    app.world_mut().resource_mut::<Session>().room =
        Some(crate::session::Room { name, code, hosting: true, capacity: 2 });
    app.update();
    // Alone it waits, however long.
    (0..PATIENCE + 2).for_each(|_| app.world_mut().run_schedule(FixedUpdate));
    assert_eq!(app.world().resource::<Hosted>().0.world.phase, Phase::Lobby);
    app.world_mut().resource_mut::<Hosted>().0.world.join("Ben");
    app.world_mut().run_schedule(FixedUpdate);
    assert!(matches!(app.world().resource::<Hosted>().0.world.phase, Phase::Countdown { .. }));
    app.world_mut().resource_mut::<Messages<Ask>>().clear();
    app.insert_resource(Goal::Idle);
    assert_eq!(asks(&mut app), [Ask::Leave]);
}
