use bevy::math::Vec2;

use super::{
    Body, Bolt, GameEvent, Input, MAX_BOLTS, MAX_HEALTH, MAX_NAME, MAX_PLAYERS, Map, Phase, Pickup,
    PickupKind, Rules, Simulation, TICK_HZ, clean_name,
};

fn fight(rules: Rules) -> Simulation {
    let mut world = Simulation::new(rules, 7);
    assert_eq!(world.join("Ann"), Some(0));
    assert_eq!(world.join("Bob"), Some(1));
    world.begin();
    while !matches!(world.phase, Phase::Playing { .. }) {
        world.step();
        assert!(world.tick < 10 * TICK_HZ);
    }
    world.take_events();
    world
}

fn shoot(world: &mut Simulation, by: u8, whom: u8) {
    let at = world.players[&whom].body.at;
    world.bolts.push(Bolt { at, ..Bolt::fired(0, by, 0, at, 0.0) });
    world.step();
}

#[test]
fn names_are_told_apart() {
    let mut world = Simulation::new(Rules::default(), 7);
    let long = "a name that is quite long";
    for name in ["Ann", "Ann", "Ann", "Bo (bot)", "Bo (bot)", long, long] {
        world.join(name);
    }
    let names: Vec<&str> = world.players.values().map(|player| player.name.as_str()).collect();
    assert_eq!(names[..5], ["Ann", "Ann 2", "Ann 3", "Bo (bot)", "Bo 2 (bot)"]);
    assert_ne!(names[5], names[6]);
    assert!(names.iter().all(|name| name.len() <= MAX_NAME));
}

#[test]
fn three_hits_down_a_player_who_comes_back() {
    let mut world = fight(Rules::default());
    for _ in 0..MAX_HEALTH {
        shoot(&mut world, 0, 1);
    }
    assert!(!world.players[&1].alive());
    assert_eq!((world.players[&0].points, world.players[&0].hits), (1, 3));
    let events = world.take_events();
    assert!(events.contains(&GameEvent::Downed { by: 0, whom: 1 }), "{events:?}");
    for _ in 0..3 * TICK_HZ {
        world.step();
    }
    assert!(world.players[&1].alive());
    assert!(world.take_events().contains(&GameEvent::Respawned { player: 1 }));
}

#[test]
fn a_dashing_or_shielded_player_is_not_hurt() {
    let mut world = fight(Rules::default());
    world.players.get_mut(&1).unwrap().body.dash_left = 5;
    shoot(&mut world, 0, 1);
    assert_eq!(world.players[&1].health, MAX_HEALTH);
    world.bolts.clear();
    let player = world.players.get_mut(&1).unwrap();
    player.body.dash_left = 0;
    player.shield = true;
    shoot(&mut world, 0, 1);
    assert_eq!(world.players[&1].health, MAX_HEALTH);
    assert_eq!(world.take_events(), [GameEvent::Hit { by: 0, whom: 1, shielded: true }]);
    shoot(&mut world, 0, 1);
    assert_eq!(world.players[&1].health, MAX_HEALTH - 1);
}

#[test]
fn the_target_wins_the_round_and_another_one_follows() {
    let mut world = fight(Rules { target: 1, ..Rules::default() });
    for _ in 0..MAX_HEALTH {
        shoot(&mut world, 1, 0);
    }
    let won = GameEvent::RoundWon { round: 1, winner: 1, points: vec![(0, 0), (1, 1)] };
    assert!(world.take_events().contains(&won));
    assert_eq!(world.players[&1].wins, 1);
    for _ in 0..5 * TICK_HZ {
        world.step();
    }
    assert_eq!(world.round, 2);
    assert_eq!(world.players[&1].points, 0);
}

#[test]
fn a_tie_goes_into_overtime_and_always_ends() {
    let mut world = fight(Rules { target: 9, round_seconds: 2, overtime_seconds: 2, ..Rules::default() });
    for _ in 0..6 * TICK_HZ {
        world.step();
    }
    let events = world.take_events();
    assert!(events.contains(&GameEvent::Overtime), "{events:?}");
    assert!(events.iter().any(|e| matches!(e, GameEvent::RoundWon { winner: 0, .. })), "{events:?}");
}

#[test]
fn the_next_point_in_overtime_wins() {
    let mut world = fight(Rules { target: 9, round_seconds: 1, overtime_seconds: 60, ..Rules::default() });
    while !matches!(world.phase, Phase::Playing { overtime: true, .. }) {
        world.step();
    }
    for _ in 0..MAX_HEALTH {
        shoot(&mut world, 1, 0);
    }
    assert!(matches!(world.phase, Phase::RoundOver { winner: 1, .. }));
}

#[test]
fn pickups_do_what_they_say() {
    let mut world = fight(Rules::default());
    for kind in [PickupKind::Heart, PickupKind::Rapid, PickupKind::Shield] {
        let at = world.players[&0].body.at;
        world.pickups.push(Pickup { id: 0, kind, at });
        world.step();
        assert!(world.pickups.is_empty());
    }
    let player = &world.players[&0];
    assert_eq!(player.health, MAX_HEALTH + 1);
    assert!(player.body.rapid > 0 && player.shield);
}

#[test]
fn pickups_appear_and_are_bounded() {
    let mut world = fight(Rules { round_seconds: 300, ..Rules::default() });
    for _ in 0..60 * TICK_HZ {
        world.step();
        assert!(world.pickups.len() <= 3);
    }
    assert!(!world.pickups.is_empty());
}

#[test]
fn the_arena_is_full_at_eight_and_a_leaver_makes_room() {
    let mut world = Simulation::new(Rules::default(), 1);
    for i in 0..MAX_PLAYERS {
        assert_eq!(world.join("x"), Some(i as u8));
    }
    assert_eq!(world.join("late"), None);
    world.leave(3);
    assert_eq!(world.join("late"), Some(3));
}

#[test]
fn a_round_without_opponents_goes_back_to_the_lobby() {
    let mut world = fight(Rules::default());
    world.leave(1);
    world.step();
    assert_eq!(world.phase, Phase::Lobby);
}

#[test]
fn bolts_are_bounded_and_players_keep_apart() {
    let mut world = fight(Rules::default());
    for seq in 0..20_000 {
        for slot in 0..2 {
            world.players.get_mut(&slot).unwrap().body.fire_wait = 0;
            world.apply(slot, &Input { seq, fire: true, ..Input::default() });
        }
        assert!(world.bolts.len() <= MAX_BOLTS);
        if seq % 8 == 0 {
            world.step();
        }
        if seq == 5_000 {
            for slot in 0..2 {
                world.players.get_mut(&slot).unwrap().body = Body::standing(Vec2::new(-200.0, 0.0));
            }
        }
        if seq == 5_400 {
            let distance = world.players[&0].body.at.distance(world.players[&1].body.at);
            assert!(distance > 50.0, "{distance}");
        }
    }
}

#[test]
fn the_same_seed_and_inputs_give_the_same_match() {
    let run = || {
        let mut world = fight(Rules::default());
        let mut random = fastrand::Rng::with_seed(3);
        let mut events = Vec::new();
        for seq in 1..3000 {
            for slot in 0..2 {
                let mut input = Input { seq, aim: random.u16(..), fire: random.bool(), ..Input::default() };
                input.walk_towards(Vec2::from_angle(random.f32() * 6.3));
                world.apply(slot, &input);
            }
            world.step();
            events.extend(world.take_events());
        }
        (events, world.players, world.bolts)
    };
    let (a, b) = (run(), run());
    assert!(!a.0.is_empty());
    assert_eq!(a, b);
}

#[test]
fn names_are_cleaned() {
    assert_eq!(clean_name("  Ann\n\u{7} "), "Ann");
    assert_eq!(clean_name("\t"), "player");
    assert!(clean_name(&"é".repeat(100)).len() <= MAX_NAME);
}

#[test]
fn teams_do_not_hurt_each_other_and_win_together() {
    let mut world = Simulation::new(Rules { teams: true, target: 2, ..Rules::default() }, 1);
    (0..4).for_each(|i| _ = world.join(&format!("P{i}")));
    world.begin();
    while !matches!(world.phase, Phase::Playing { .. }) {
        world.step();
    }
    // Players 0 and 2 are of one team, 1 and 3 of the other one.
    shoot(&mut world, 0, 2);
    assert_eq!(world.players[&2].health, MAX_HEALTH, "of the same team");
    shoot(&mut world, 0, 1);
    assert_eq!(world.players[&1].health, MAX_HEALTH - 1);
    world.players.get_mut(&1).unwrap().points = 1;
    world.step();
    assert!(matches!(world.phase, Phase::Playing { .. }));
    world.players.get_mut(&3).unwrap().points = 1;
    world.step();
    assert!(matches!(world.phase, Phase::RoundOver { winner: 1 | 3, .. }), "{:?}", world.phase);
    let wins: Vec<_> = world.players.values().map(|player| player.wins).collect();
    assert_eq!(wins, [0, 1, 0, 1]);
}

#[test]
fn maps_take_turns_and_a_match_ends_with_the_last_round_that_is_needed() {
    let mut world = Simulation::new(Rules { wins: 2, target: 1, ..Rules::default() }, 1);
    for name in ["A", "B"] {
        world.join(name);
    }
    world.begin();
    let mut maps = Vec::new();
    for _ in 0..2 {
        while !matches!(world.phase, Phase::Playing { .. }) {
            world.step();
        }
        maps.push(world.map());
        world.players.get_mut(&0).unwrap().points = 1;
        while matches!(world.phase, Phase::Playing { .. } | Phase::RoundOver { .. }) {
            world.step();
        }
    }
    assert_eq!(maps, [Map::Court, Map::Ring]);
    assert!(matches!(world.phase, Phase::MatchOver { winner: 0, .. }), "{:?}", world.phase);
    while matches!(world.phase, Phase::MatchOver { .. }) {
        world.step();
    }
    assert_eq!(world.phase, Phase::Lobby, "nobody wanted another one");
}
