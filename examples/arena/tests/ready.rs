//! All in the room see who is ready, and the countdown ends for all at the same moment.

mod apps;

use std::time::{Duration, Instant};

use arena::embedded;
use arena::session::{Ask, Goal, HostPlan, Session};
use arena::sim::{Phase, Rules};
use bevy::prelude::*;

use apps::{ROOM, join, player, scene, tell, until};

fn session(app: &App) -> &Session {
    app.world().resource::<Session>()
}

/// Returns how many of the room's members this player sees ready.
fn ready(app: &App) -> usize {
    session(app).members.iter().filter(|member| member.ready).count()
}

#[test]
fn all_see_who_is_ready_and_count_down_together() {
    let server = embedded::start().expect("a lobby server");
    let address = server.address.to_string();
    let rules = Rules { target: 9, round_seconds: 60, ..Rules::default() };
    let plan = HostPlan { room: String::from(ROOM), rules, ..HostPlan::default() };
    let mut apps = [
        player("Ann", &address, Goal::Host(plan), false),
        player("Ben", &address, join(), false),
        player("Cid", &address, join(), false),
    ];
    until(&mut apps, "all are in the match", |apps| apps.iter().all(|app| scene(app).actors.len() == 3));
    let say = |apps: &mut [App], who: usize, is_ready: bool, all: usize| {
        apps[who].world_mut().write_message(Ask::Ready(is_ready));
        until(apps, "all see who is ready", |apps| apps.iter().all(|app| ready(app) == all));
    };
    say(&mut apps, 1, true, 1);
    say(&mut apps, 2, true, 2);
    say(&mut apps, 2, false, 1);
    let named = |app: &App| session(app).members.iter().any(|member| member.ready && member.name == "Ben");
    assert!(apps.iter().all(named), "and who it is");
    say(&mut apps, 2, true, 2);
    assert!(apps.iter().all(|app| scene(app).phase == Some(Phase::Lobby)), "nobody has begun");

    apps[0].world_mut().write_message(Ask::Count);
    let mut counts = vec![Vec::new(); 3];
    let mut played: [Option<Instant>; 3] = [None; 3];
    until(&mut apps, "the match has begun for all", |apps| {
        for (i, app) in apps.iter().enumerate() {
            counts[i].extend(session(app).count);
            if matches!(scene(app).phase, Some(Phase::Playing { .. })) {
                played[i].get_or_insert_with(Instant::now);
            }
        }
        let now: Vec<_> = apps.iter().filter_map(|app| session(app).count).collect();
        if let (Some(least), Some(most)) = (now.iter().min(), now.iter().max()) {
            assert!(most - least <= 1, "they count differently: {now:?}");
        }
        played.iter().all(Option::is_some)
    });
    for mut seen in counts {
        seen.dedup();
        assert_eq!(seen.iter().copied().filter(|count| *count > 0).collect::<Vec<_>>(), [3, 2, 1]);
    }
    let begun: Vec<Instant> = played.into_iter().flatten().collect();
    let spread = begun.iter().max().zip(begun.iter().min()).map(|(last, first)| *last - *first);
    // Guests see the host's world a little later.
    assert!(spread < Some(Duration::from_millis(500)), "{spread:?}");
    until(&mut apps, "who plays is not waiting to", |apps| apps.iter().all(|app| ready(app) == 0));
    assert!(apps.iter().all(|app| session(app).trouble.is_none()), "{}", tell(&apps));
}
