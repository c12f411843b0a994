//! Host and clients over two real renet ends each, joined by a link that delays, loses, jitters and duplicates
//! by a seed. Time is counted, not waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use bevy::math::Vec2;
use bevy_renet::renet::{ConnectionConfig, DefaultChannel, RenetClient, RenetServer, ServerEvent};

use super::{ClientGame, HostGame};
use crate::bots::brain::Brain;
use crate::sim::{DT, GameEvent, Input, Phase, Rules, TICK_HZ};

pub(super) struct Link {
    delay: f64,
    loss: f64,
    random: fastrand::Rng,
    flying: Vec<(f64, Vec<u8>)>,
}

impl Link {
    fn new(one_way: f64, loss: f64, seed: u64) -> Self {
        Self { delay: one_way, loss, random: fastrand::Rng::with_seed(seed), flying: Vec::new() }
    }

    fn send(&mut self, now: f64, bytes: Vec<u8>) {
        if self.random.f64() < self.loss {
            return;
        }
        let due = now + self.delay * (1.0 + 0.2 * self.random.f64());
        if self.random.f64() < 0.02 {
            self.flying.push((due + 0.01, bytes.clone()));
        }
        self.flying.push((due, bytes));
    }

    fn receive(&mut self, now: f64) -> Vec<Vec<u8>> {
        let (due, flying) = std::mem::take(&mut self.flying).into_iter().partition(|(at, _)| *at <= now);
        self.flying = flying;
        let mut due: Vec<_> = due;
        due.sort_by(|a, b| a.0.total_cmp(&b.0));
        due.into_iter().map(|(_, bytes)| bytes).collect()
    }
}

pub(super) struct Player {
    pub(super) game: ClientGame,
    renet: RenetClient,
    up: Link,
    down: Link,
    heard: Vec<GameEvent>,
}

pub(super) struct Match {
    now: f64,
    pub(super) host: HostGame,
    server: RenetServer,
    pub(super) players: BTreeMap<u64, Player>,
}

impl Match {
    fn new(clients: u64, one_way: f64, loss: f64, rules: Rules) -> Self {
        let mut server = RenetServer::new(ConnectionConfig::default());
        let players = (1..=clients).map(|id| {
            server.add_connection(id);
            let mut renet = RenetClient::new(ConnectionConfig::default());
            renet.set_connected();
            renet.send_message(DefaultChannel::ReliableOrdered, ClientGame::hello(&format!("P{id}")));
            let (up, down) = (Link::new(one_way, loss, id), Link::new(one_way, loss, id + 100));
            (id, Player { game: ClientGame::default(), renet, up, down, heard: Vec::new() })
        });
        let host = HostGame::new(rules, 5, Some("Host"));
        Self { now: 0.0, host, players: players.collect(), server }
    }

    pub(super) fn step(&mut self, host_input: Input, mut input: impl FnMut(u64, &ClientGame) -> Input) {
        self.now += f64::from(DT);
        let step = Duration::from_secs_f64(f64::from(DT));
        self.server.update(step);
        while let Some(event) = self.server.get_event() {
            if let ServerEvent::ClientDisconnected { client_id, .. } = event {
                self.host.disconnected(client_id);
            }
        }
        for (&id, player) in &mut self.players {
            for bytes in player.up.receive(self.now) {
                self.server.process_packet_from(&bytes, id).unwrap();
            }
            while let Some(bytes) = self.server.receive_message(id, DefaultChannel::ReliableOrdered) {
                self.host.reliable(id, &bytes);
            }
            while let Some(bytes) = self.server.receive_message(id, DefaultChannel::Unreliable) {
                self.host.unreliable(id, &bytes);
            }
        }
        self.host.tick(host_input);
        for message in self.host.take_outgoing() {
            let channel =
                if message.reliable { DefaultChannel::ReliableOrdered } else { DefaultChannel::Unreliable };
            self.server.send_message(message.client, channel, message.bytes);
        }
        for (&id, player) in &mut self.players {
            for bytes in self.server.get_packets_to_send(id).unwrap() {
                player.down.send(self.now, bytes);
            }
            player.renet.update(step);
            player.game.advance(f64::from(DT));
            for bytes in player.down.receive(self.now) {
                player.renet.process_packet(&bytes);
            }
            while let Some(bytes) = player.renet.receive_message(DefaultChannel::ReliableOrdered) {
                player.game.reliable(&bytes);
            }
            while let Some(bytes) = player.renet.receive_message(DefaultChannel::Unreliable) {
                player.game.unreliable(&bytes);
            }
            let wish = input(id, &player.game);
            if let Some(bytes) = player.game.tick(wish) {
                player.renet.send_message(DefaultChannel::Unreliable, bytes);
            }
            for bytes in player.renet.get_packets_to_send() {
                player.up.send(self.now, bytes);
            }
            player.heard.extend(player.game.take_events());
        }
    }
}

pub(super) fn idle(_: u64, _: &ClientGame) -> Input {
    Input::default()
}

/// Returns a game in which everybody is let in.
pub(super) fn assembled(clients: u64, one_way: f64, loss: f64, rules: Rules) -> Match {
    let mut game = Match::new(clients, one_way, loss, rules);
    for _ in 0..20 * TICK_HZ {
        game.step(Input::default(), idle);
        if game.players.values().all(|p| p.game.scene(1.0).actors.len() == clients as usize + 1) {
            return game;
        }
    }
    panic!("not everybody came in");
}

#[test]
fn a_bad_link_plays_rounds_and_everybody_hears_each_event_once_and_in_order() {
    let rules = Rules { target: 3, round_seconds: 40, overtime_seconds: 5, ..Rules::default() };
    let mut game = assembled(3, 0.075, 0.05, rules);
    game.host.begin();
    let mut brains: Vec<_> = (0..4).map(|i| Brain::new(i as u64)).collect();
    let mut steps = 0;
    while game.host.world.round < 3 {
        let scene = game.host.scene(1.0);
        let own = brains[0].think(&scene);
        game.step(own, |id, client| brains[id as usize].think(&client.scene(1.0)));
        steps += 1;
        assert!(steps < 300 * TICK_HZ, "the rounds do not end");
    }
    // What is under way may arrive.
    for _ in 0..5 * TICK_HZ {
        game.step(Input::default(), idle);
    }
    let host: Vec<_> = game.host.log.entries().cloned().collect();
    let winners = host.iter().filter(|(_, e)| matches!(e, GameEvent::RoundWon { .. })).count();
    assert_eq!(winners, 2);
    let hits = host.iter().filter(|(_, e)| matches!(e, GameEvent::Hit { .. })).count();
    assert!(hits > 10, "a fight worth the name, not {hits} hits");
    for player in game.players.values() {
        let heard: Vec<_> = player.game.log.entries().cloned().collect();
        assert_eq!(player.game.log.faults, 0);
        assert!(heard.len() > 20);
        assert!(host.ends_with(&heard), "the same events, to the last one");
        assert_eq!(player.heard.len(), heard.len());
        assert_eq!(player.game.malformed, 0);
    }
    assert_eq!(game.host.malformed, 0);
}

/// The own player obeys at once and is where the host has it, at 150 ms and 5 % loss.
#[test]
fn prediction_is_immediate_and_agrees_with_the_host() {
    let mut game = assembled(1, 0.075, 0.05, Rules::default());
    let mut random = fastrand::Rng::with_seed(9);
    let mut wish = Input::default();
    let mut corrected = 0;
    let mut tested = 0;
    for step in 0..20 * TICK_HZ {
        if step % 20 == 0 {
            wish.walk_towards(Vec2::from_angle(random.f32() * 6.3));
            wish.dash = random.f32() < 0.2;
            // The first frame after the change already shows it.
            let before = game.players[&1].game.scene(1.0).me().unwrap().at;
            game.step(Input::default(), |_, _| wish);
            let after = game.players[&1].game.scene(1.0).me().unwrap().at;
            if step > 60 {
                tested += 1;
                assert!(before.distance(after) < 60.0, "no jumps");
            }
        } else {
            game.step(Input::default(), |_, _| wish);
        }
        corrected += u32::from(step > 60 && game.players[&1].game.last_correction() > 1.0);
    }
    assert!(tested > 50);
    assert!(corrected < 60, "{corrected} corrections of {}", 20 * TICK_HZ);
    // Standing still, both agree.
    for _ in 0..2 * TICK_HZ {
        game.step(Input::default(), idle);
    }
    let me = game.players[&1].game.me().unwrap();
    let there = game.host.world.players[&me].body.at;
    let here = game.players[&1].game.scene(1.0).me().unwrap().at;
    assert!(here.distance(there) < 0.5, "{here} {there}");
}

/// Others move evenly: no frame's step is far from the speed at which they walk.
#[test]
fn others_glide_at_150_ms_and_5_percent_loss() {
    let mut game = assembled(1, 0.075, 0.05, Rules::default());
    let mut wish = Input::default();
    let mut before: Option<Vec2> = None;
    let (mut frames, mut uneven, mut worst) = (0, 0, 0.0f32);
    for step in 0..12 * TICK_HZ {
        let right = (step / (2 * TICK_HZ)).is_multiple_of(2);
        wish.walk_towards(if right { Vec2::X } else { Vec2::NEG_X });
        game.step(wish, idle);
        let scene = game.players[&1].game.scene(1.0);
        let at = scene.actor(0).unwrap().at;
        if step > 2 * TICK_HZ {
            let moved = before.map_or(0.0, |before: Vec2| before.distance(at));
            frames += 1;
            worst = worst.max(moved);
            uneven += u32::from(moved > 350.0 * DT * 1.5);
        }
        before = Some(at);
    }
    assert!(uneven * 50 < frames, "{uneven} of {frames} frames jump");
    assert!(worst < 40.0, "{worst}");
}

/// The own shot is seen in the same step, and others' shots come out of their muzzles.
#[test]
fn shots_are_seen_at_once_and_leave_the_muzzle() {
    let mut game = assembled(1, 0.075, 0.0, Rules::default());
    for _ in 0..TICK_HZ {
        game.step(Input::default(), idle);
    }
    let fire = Input { fire: true, ..Input::default() };
    game.step(fire, |_, _| fire);
    let mine: Vec<_> = game.players[&1].game.scene(1.0).bolts;
    assert_eq!(mine.len(), 1);
    let mut first = None;
    for _ in 0..TICK_HZ {
        game.step(Input::default(), idle);
        let scene = game.players[&1].game.scene(1.0);
        if first.is_none() {
            first = scene
                .bolts
                .iter()
                .find(|bolt| bolt.owner == 0)
                .map(|bolt| bolt.at.distance(scene.actor(0).unwrap().at));
        }
    }
    let distance = first.expect("the host's shot is seen");
    assert!(distance < 90.0, "{distance} from its muzzle");
}

#[test]
fn floods_and_rubbish_gain_nothing() {
    let mut host = HostGame::new(Rules::default(), 1, Some("Host"));
    host.reliable(1, &ClientGame::hello("Fast"));
    let slot = host.player_of(1).unwrap();
    let start = host.world.players[&slot].body.at;
    let mut seq = 0;
    for _ in 0..60 {
        for _ in 0..8 {
            let mut inputs = Vec::new();
            for _ in 0..crate::protocol::BUNDLE {
                seq += 1;
                let mut input = Input { seq, ..Input::default() };
                input.walk_towards(Vec2::NEG_X);
                inputs.push(input);
            }
            host.unreliable(1, &crate::protocol::encode(&crate::protocol::Inputs(inputs)));
        }
        host.unreliable(1, b"rubbish");
        host.reliable(1, &[0xff; 40]);
        host.tick(Input::default());
    }
    assert!(host.malformed >= 60);
    let moved = start.distance(host.world.players[&slot].body.at);
    assert!(moved < 350.0 * 1.5, "moved {moved} in a second");
    assert!(matches!(host.world.phase, Phase::Lobby));
}

#[test]
fn full_arenas_and_other_versions_are_told_why() {
    let mut host = HostGame::new(Rules::default(), 1, Some("Host"));
    let refusal = |host: &mut HostGame| {
        let mut client = ClientGame::default();
        for message in host.take_outgoing().into_iter().filter(|m| m.client == 99) {
            client.reliable(&message.bytes);
        }
        client.refused
    };
    let old = crate::protocol::ClientMessage::Hello { protocol: 999, name: String::from("old"), wish: None };
    host.reliable(99, &crate::protocol::encode(&old));
    assert!(refusal(&mut host).unwrap().contains("version"));
    for id in 1..8 {
        host.reliable(id, &ClientGame::hello("x"));
    }
    host.reliable(99, &ClientGame::hello("late"));
    assert_eq!(refusal(&mut host).as_deref(), Some("The arena is full."));
}

/// All want another match: it begins anew, without the wins of the last one; until then nothing begins by itself.
#[test]
fn a_match_ends_and_another_one_begins_when_all_want_it() {
    let rules = Rules { wins: 1, target: 1, ..Rules::default() };
    let mut game = assembled(1, 0.02, 0.0, rules);
    game.host.begin();
    let me = game.players[&1].game.me().unwrap();
    while !matches!(game.host.world.phase, Phase::Playing { .. }) {
        game.step(Input::default(), idle);
    }
    game.host.world.players.get_mut(&me).unwrap().points = 1;
    let mut steps = 0;
    while !matches!(game.host.world.phase, Phase::MatchOver { .. }) {
        game.step(Input::default(), idle);
        steps += 1;
        assert!(steps < 10 * TICK_HZ, "{:?}", game.host.world.phase);
    }
    assert_eq!(game.host.world.players[&me].wins, 1);
    let said = ClientGame::ready(true);
    game.players.get_mut(&1).unwrap().renet.send_message(DefaultChannel::ReliableOrdered, said);
    for _ in 0..TICK_HZ {
        game.step(Input::default(), idle);
    }
    assert!(game.players[&1].game.scene(1.0).me().unwrap().ready, "all see it");
    assert!(matches!(game.host.world.phase, Phase::MatchOver { .. }), "the host has not said so");
    game.host.set_ready(0, true);
    assert!(matches!(game.host.world.phase, Phase::Countdown { .. }), "{:?}", game.host.world.phase);
    assert_eq!((game.host.world.round, game.host.world.players[&me].wins), (1, 0));
}

#[test]
fn a_player_gets_the_colour_that_it_wishes_if_it_is_free() {
    let mut host = HostGame::dressed(Rules::default(), 1, Some("Host"), Some(5));
    let joined = host.log.entries().filter(|(_, event)| matches!(event, GameEvent::Joined { .. })).count();
    assert_eq!(joined, 1, "it comes in once");
    assert_eq!(host.local(), Some(5));
    host.reliable(1, &ClientGame::hello_as("A", Some(3)));
    host.reliable(2, &ClientGame::hello_as("B", Some(3)));
    host.reliable(3, &ClientGame::hello_as("C", Some(250)));
    assert_eq!([1, 2, 3].map(|client| host.player_of(client)), [Some(3), Some(0), Some(1)]);
}

/// The host is gone: a guest stands where it was heard to be, its clock too, and the match goes on from there by a count.
#[test]
fn nothing_runs_on_without_the_host_and_the_next_one_resumes_by_a_count() {
    let mut game = assembled(2, 0.05, 0.0, Rules::default());
    game.host.begin();
    let walking = |_: u64, _: &ClientGame| {
        let mut input = Input::default();
        input.walk_towards(Vec2::X);
        input
    };
    for _ in 0..6 * TICK_HZ {
        game.step(Input::default(), walking);
    }
    let mut player = game.players.remove(&1).unwrap().game;
    let playing = |game: &ClientGame| matches!(game.scene(1.0).phase, Some(Phase::Playing { .. }));
    assert!(playing(&player) && !player.scene(1.0).stands);
    // A second goes by without a word.
    let mut lone = |seconds: u32| {
        for _ in 0..seconds * TICK_HZ {
            player.advance(f64::from(DT));
            player.tick(walking(1, &player));
        }
        player.scene(1.0)
    };
    let (stood, later) = (lone(2), lone(5));
    assert!(stood.stands);
    assert_eq!(stood.me().unwrap().at, later.me().unwrap().at, "its own ship stands");
    assert_eq!((stood.tick, &stood.actors), (later.tick, &later.actors), "and so does all else");

    let mut next = player.take_over(1, 0, 7).unwrap();
    let Phase::Resuming { left, .. } = next.world.phase else { panic!("{:?}", next.world.phase) };
    let places = |game: &HostGame| game.world.players.values().map(|p| p.body.at).collect::<Vec<_>>();
    let before = places(&next);
    // The other guest takes a second longer than the count to find its way here.
    for _ in 0..4 * TICK_HZ {
        next.tick(walking(1, &player));
    }
    assert!(matches!(next.world.phase, Phase::Resuming { .. }), "it is waited for");
    next.reliable(2, &ClientGame::hello("P2"));
    let mut steps = 0;
    while matches!(next.world.phase, Phase::Resuming { .. }) {
        assert_eq!(before, places(&next), "nothing moves before the count is over");
        next.tick(walking(1, &player));
        steps += 1;
    }
    assert!((2 * TICK_HZ..=4 * TICK_HZ).contains(&steps), "{steps} steps are a count of three");
    let Phase::Playing { ends, .. } = next.world.phase else { panic!("{:?}", next.world.phase) };
    assert_eq!(ends - next.world.tick, left, "no time of the round is lost");
}
