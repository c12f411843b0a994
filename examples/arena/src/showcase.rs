//! A given screen with made-up content, for pictures: no network at all.

use bevy::prelude::*;
use bevy_traversal::{FailureReason, FailureReport, NatProfile, QueueStatus, Stage};

use crate::bots::brain::Brain;
use crate::chat::Chat;
use crate::flow::Seed;
use crate::net::HostGame;
use crate::net::systems::{Hosted, NetSystems};
use crate::network::{Connection, Packets};
use crate::scene::Scene;
use crate::screens::{Parting, Screen, ScreenName, TroubleText, sample, sample_chat};
use crate::session::{Ask, Goal, HostChange, HostPlan, Member, QuickPlan, Session, Target};
use crate::sim::{Input, MAX_HEALTH, Phase, Rules, TICK_HZ};

/// Opens a screen with made-up contents, for pictures.
#[derive(Debug)]
pub struct ShowcasePlugin {
    /// This screen is opened.
    pub screen: ScreenName,
}

#[derive(Resource)]
struct Cast {
    brains: Vec<Brain>,
    seq: u32,
    finish: bool,
}

impl Plugin for ShowcasePlugin {
    fn build(&self, app: &mut App) {
        let name = self.screen;
        let (screen, goal) = match name {
            ScreenName::Title => (Screen::Title, Goal::Idle),
            ScreenName::Host => (Screen::Host, Goal::Idle),
            ScreenName::Rooms => (Screen::Rooms, Goal::Idle),
            ScreenName::Code => (Screen::Code, Goal::Idle),
            ScreenName::Quick => (Screen::Quick, Goal::Idle),
            ScreenName::Waiting => {
                (Screen::Connecting, Goal::Quick(QuickPlan { players: 4, rules: Rules::default() }))
            }
            ScreenName::Connecting => (
                Screen::Connecting,
                Goal::Join {
                    target: Target::Name(String::from("den")),
                    password: None,
                    wait: std::time::Duration::ZERO,
                    watch: false,
                },
            ),
            ScreenName::Lobby | ScreenName::Guest => (Screen::Lobby, Goal::Host(HostPlan::default())),
            ScreenName::Game
            | ScreenName::Winner
            | ScreenName::Countdown
            | ScreenName::Watching
            | ScreenName::Chat => (Screen::Game, Goal::Host(HostPlan::default())),
            ScreenName::Over => (Screen::Over, Goal::Host(HostPlan::default())),
            ScreenName::Settings => (Screen::Settings, Goal::Idle),
            ScreenName::Paused => (Screen::Paused, Goal::Host(HostPlan::default())),
            ScreenName::Leaving => (Screen::Sure(Parting::Leave), Goal::Host(HostPlan::default())),
            ScreenName::Trouble => (Screen::Trouble, Goal::Browse),
        };
        let (mut session, _) = sample();
        let needs_room = !matches!(
            name,
            ScreenName::Title
                | ScreenName::Host
                | ScreenName::Rooms
                | ScreenName::Code
                | ScreenName::Quick
                | ScreenName::Waiting
                | ScreenName::Settings
                | ScreenName::Trouble
        );
        if name == ScreenName::Connecting {
            // On the way to the host: its router is knocked at.
            session.members.truncate(2);
            for member in &mut session.members {
                (member.me, member.host) = (!member.me, !member.host && member.me);
                let connection = Connection::default();
                member.connection = (!member.me).then_some(connection);
            }
            app.add_systems(Update, pretend_packets);
        }
        if name == ScreenName::Waiting {
            session.members.clear();
            session.queue = Some(QueueStatus { position: 2, waiting: 2, players: 4, estimate_s: Some(12) });
            app.add_systems(Update, pretend_packets);
        }
        if name == ScreenName::Watching {
            session.watching = true;
            session.members.iter_mut().for_each(|member| member.me = false);
        }
        app.insert_resource(match name {
            ScreenName::Lobby | ScreenName::Over => sample_chat(None),
            ScreenName::Guest => sample_chat(Some("ready when you are")),
            ScreenName::Chat => sample_chat(Some("I am behind the second pillar, and")),
            _ => Chat::default(),
        });
        if !needs_room || name == ScreenName::Connecting {
            session.room = None;
        }
        if name == ScreenName::Guest
            && let Some(room) = &mut session.room
        {
            room.hosting = false;
            for member in &mut session.members {
                member.me = member.client == 1;
            }
            // The guest is connected with the host alone.
            let direct = session.members[1].connection.take();
            session.members.iter_mut().for_each(|member| member.connection = None);
            session.members[0].connection = direct;
        }
        app.add_message::<Ask>()
            .add_message::<HostChange>()
            .insert_state(screen)
            .insert_resource(session)
            .insert_resource(trouble());
        // The flow would act on a real goal; only pages read this one.
        app.insert_resource(goal);
        if needs_room && name != ScreenName::Connecting {
            let names = ["Ada", "Bo", "Cleo with a very long na", "Dex", "Echo", "Finn", "Gigi", "Hal"];
            // Who watches plays no part.
            let own = (name != ScreenName::Watching).then_some(names[0]);
            let mut game = HostGame::new(Rules::default(), app.world().resource::<Seed>().0, own);
            for name in &names[usize::from(own.is_some())..] {
                game.world.join(name);
            }
            if screen != Screen::Lobby {
                game.begin();
            }
            if screen == Screen::Over {
                let ends = game.world.tick + 30 * TICK_HZ;
                game.world.phase = Phase::MatchOver { ends, winner: 0 };
                (1..4).for_each(|player| game.set_ready(player, true));
                game.world
                    .players
                    .values_mut()
                    .zip([3, 1, 0, 2, 0, 0, 0, 0])
                    .for_each(|(p, wins)| p.wins = wins);
            }
            let brains = (0..names.len() as u64).map(Brain::new).collect();
            app.insert_resource(Hosted(game))
                .insert_resource(Cast { brains, seq: 0, finish: name == ScreenName::Winner })
                .add_systems(FixedUpdate, act.before(NetSystems::Tick))
                .add_systems(Update, introduce.after(crate::net::systems::show).in_set(NetSystems::Scene));
        }
    }
}

/// A datagram leaves ten times a second, and every second one is answered.
fn pretend_packets(time: Res<Time>, mut packets: ResMut<Packets>) {
    let sent = (time.elapsed_secs() * 10.0) as u64;
    *packets = Packets { sent, received: sent / 2 };
}

/// The host of the made-up match knows who is who, and how each is joined with it.
fn introduce(session: Res<Session>, mut hosted: ResMut<Hosted>, mut scene: ResMut<Scene>) {
    let joined = |member: &Member| Some((member.client, member.connection.as_ref()?.joined?));
    let joinings: std::collections::BTreeMap<_, _> = session.members.iter().filter_map(joined).collect();
    for actor in &mut scene.actors {
        let client = u64::from(actor.player);
        (actor.client, actor.joined) = (Some(client), joinings.get(&client).copied());
    }
    hosted.0.set_joinings(joinings);
}

/// Returns what the game says of a pair without any path, in the plugin's own words.
fn trouble() -> TroubleText {
    let report = FailureReport {
        stage: Stage::Punch,
        reason: FailureReason::RandomPortsOnBothSides,
        relayed: false,
        no_relay: None,
        own_nat: NatProfile::default(),
        peer_nat: NatProfile::default(),
        tried: Vec::new(),
    };
    TroubleText { text: format!("No way to Ada was found. {report}"), ..TroubleText::default() }
}

fn act(mut cast: ResMut<Cast>, mut hosted: ResMut<Hosted>) {
    cast.seq += 1;
    let seq = cast.seq;
    let mut scene = hosted.0.scene(1.0);
    let own = usize::from(hosted.0.local().is_some());
    for (slot, brain) in cast.brains.iter_mut().enumerate().skip(own) {
        scene.local = Some(slot as u8);
        let input = Input { seq, ..brain.think(&scene) };
        hosted.0.world.apply(slot as u8, &input);
    }
    if cast.finish && seq == 260 {
        for (slot, player) in &mut hosted.0.world.players {
            player.points = if *slot == 0 { 7 } else { u16::from(*slot) / 2 };
            player.health = MAX_HEALTH;
        }
    }
}
