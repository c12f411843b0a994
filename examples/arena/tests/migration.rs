//! The host leaves in the middle of a match: it goes on with another one, with all points and places, to a winner.

mod apps;

use arena::embedded;
use arena::flow::Referee;
use arena::net::systems::Hosted;
use arena::scene::Scene;
use arena::session::{Goal, HostPlan, Session};
use arena::sim::{Phase, Rules};
use bevy::prelude::*;

use apps::{ROOM, join, player, scene, tell, until};

fn hosts(app: &App) -> bool {
    app.world().contains_resource::<Hosted>()
}

#[test]
fn a_match_goes_on_when_its_host_leaves() {
    let server = embedded::start().unwrap();
    let address = server.address.to_string();
    let plan = HostPlan {
        room: String::from(ROOM),
        rules: Rules { target: 5, round_seconds: 60, overtime_seconds: 5, ..Rules::default() },
        begin_with: Some(3),
        ..HostPlan::default()
    };
    let mut apps = [
        player("Ann", &address, Goal::Host(plan), true),
        player("Ben", &address, join(), true),
        player("Cid", &address, join(), true),
    ];
    // One of those who stay has a point, and both have seen it.
    let scored = |scene: &Scene| {
        let guests = scene.actors.iter().filter(|actor| actor.name != "Ann");
        matches!(scene.phase, Some(Phase::Playing { .. }))
            && scene.actors.len() == 3
            && guests.map(|actor| actor.points).sum::<u16>() >= 1
    };
    until(&mut apps, "a guest has a point", |apps| apps[1..].iter().all(|app| scored(scene(app))));
    let before = scene(&apps[1]).clone();
    let places: Vec<_> = apps.iter().map(|app| scene(app).local).collect();

    *apps[0].world_mut().resource_mut::<Goal>() = Goal::Idle;
    until(&mut apps, "another one hosts, and both play", |apps| {
        apps[1..].iter().filter(|app| hosts(app)).count() == 1
            && apps[1..]
                .iter()
                .all(|app| scene(app).actors.len() == 2 && app.world().resource::<Session>().room.is_some())
            && apps[1..].iter().zip(&places[1..]).all(|(app, place)| scene(app).local == *place)
    });
    assert!(!hosts(&apps[0]) && apps[0].world().resource::<Session>().room.is_none());
    for app in &apps[1..] {
        let scene = scene(app);
        assert_eq!(scene.round, before.round, "the same round");
        for actor in &scene.actors {
            let known = before.actor(actor.player).expect("known before");
            assert_eq!(actor.name, known.name);
            assert!(actor.points >= known.points, "{} has lost points", actor.name);
        }
        assert_eq!(app.world().resource::<Session>().trouble, None);
    }
    let told =
        |app: &App| app.world().resource::<Session>().story.iter().any(|line| line.contains("hosts now"));
    assert!(apps[1..].iter().all(told), "{}", tell(&apps));

    until(&mut apps, "the round is won", |apps| {
        apps[1..].iter().all(|app| app.world().resource::<Referee>().over >= 1)
    });
    let winner = |app: &App| app.world().resource::<Referee>().wins.clone();
    assert_eq!(winner(&apps[1]), winner(&apps[2]));
    assert!(winner(&apps[1]).keys().all(|name| name == "Ben" || name == "Cid"), "{:?}", winner(&apps[1]));
}
