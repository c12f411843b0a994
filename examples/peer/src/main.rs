//! A player without a window: prints JSON lines; also the diagnosis tool.

#![allow(clippy::too_many_arguments, reason = "systems take what they use")]

mod args;
mod backfill;
mod chat;
mod doctor;
mod finish;
mod invites;
mod known;
mod lan;
mod meeting;
mod members;
mod output;
mod party;
mod paths;
mod people;
mod play;
mod quick;
mod rooms;
mod seats;
mod session;
mod stock;

use std::process::ExitCode;
use std::time::Duration;

use bevy_app::{App, ScheduleRunnerPlugin, TaskPoolPlugin, Update};
use bevy_ecs::schedule::IntoScheduleConfigs;
use bevy_time::TimePlugin;
use bevy_traversal::{
    AgentConfig, IdentitySource, KeptFile, NatFacts, Transport, TraversalConfig, TraversalPlugin,
};
use headless::Output;
use serde_json::json;

use crate::args::{Cli, Common, Game, Sub, TransportArg};
use crate::play::Scores;
use crate::session::{Goal, Session};

/// A frame is short, so that it adds little to what is measured.
const FRAME: Duration = Duration::from_millis(4);

/// This is the log's filter without `RUST_LOG`.
const LOG: &str = "warn,renetcode=off";

fn main() -> ExitCode {
    let cli = Cli::read();
    // What the doctor prints is shown to others; the log has addresses as they are.
    let log = if matches!(cli.command, Sub::Doctor(_)) { "off" } else { LOG };
    let stop = match headless::start("peer", log) {
        Ok(stop) => stop,
        Err(code) => return code,
    };
    let (common, game) = match &cli.command {
        Sub::Doctor(doctor) => return doctor::run(doctor, stop),
        Sub::People(people) => {
            let manual = people.common().known.facts().unwrap_or(NatFacts::NONE);
            return people::run(people, config(people.common(), None, (false, manual)), stop);
        }
        Sub::Party { party, common } => {
            let manual = common.known.facts().unwrap_or(NatFacts::NONE);
            return party::run(party, common, config(common, None, (false, manual)), stop);
        }
        Sub::Nat { common, .. } | Sub::Rooms { common, .. } => (common, None),
        Sub::Host { common, game, .. } | Sub::Join { common, game, .. } | Sub::Quick { common, game, .. } => {
            (common, Some(game))
        }
    };
    let output = Output::new(common.json);
    output.event("start", json!({"version": env!("CARGO_PKG_VERSION")}));
    let stock = game.is_some_and(|game| game.transport == TransportArg::StockNetcode);
    if stock
        && matches!(&cli.command, Sub::Host { players, .. } | Sub::Quick { players, .. } if *players != 2)
    {
        eprintln!("peer: --transport stock-netcode is for two players");
        return ExitCode::FAILURE;
    }
    let manual = match common.known.facts() {
        Ok(manual) => manual,
        Err(error) => {
            eprintln!("peer: {error}");
            return ExitCode::FAILURE;
        }
    };
    let goal = Goal::of(&cli.command);
    let deadline = common.deadline + goal.takes();
    let mut app = App::new();
    app.add_plugins((TaskPoolPlugin::default(), TimePlugin, ScheduleRunnerPlugin::run_loop(FRAME)))
        .add_plugins(TraversalPlugin { config: config(common, game, (stock, manual)) })
        .insert_resource(output)
        .insert_resource(Session::new(goal, (game.cloned(), manual), deadline, stop))
        .init_resource::<Scores>()
        .insert_resource(seats::SeatFlags::of(&cli.command))
        .insert_resource(backfill::Wish::of(&cli.command))
        .insert_resource(chat::Lines::of(&game.map(|game| game.chat.clone()).unwrap_or_default()))
        .add_systems(
            Update,
            (
                (
                    meeting::lobby,
                    (members::say, invites::invites, lan::lan).chain(),
                    (quick::queue, backfill::backfill).chain(),
                    meeting::room,
                    (members::print, rooms::rooms).chain(),
                )
                    .chain(),
                (paths::nat, paths::contacts, paths::connections, paths::paths).chain(),
                (chat::say, chat::print).chain(),
                (seats::tell, seats::take, seats::put_out, play::play, finish::finish).chain(),
            )
                .chain(),
        );
    if stock {
        stock::add(&mut app);
    }
    headless::exit_code(&app.run())
}

fn config(common: &Common, game: Option<&Game>, (stock, manual): (bool, NatFacts)) -> TraversalConfig {
    let (detect, tcp) = (common.detect.into(), !common.no_tcp);
    let mut agent = AgentConfig { detect, tcp, manual, ..AgentConfig::default() };
    let mut config = TraversalConfig {
        lobby: common.lobby.clone(),
        server_keys: common.server_key.clone(),
        game: common.game.clone(),
        name: common.name.clone(),
        bind: common.bind,
        ipv6: !common.no_ipv6,
        tls_port: common.tls_port,
        identity: common.identity.clone().map_or(IdentitySource::Ephemeral, IdentitySource::File),
        transport: if stock { Transport::Manual } else { Transport::Sealed },
        ..TraversalConfig::default()
    };
    if common.no_nat_file {
        config.kept_profiles = KeptFile::Off;
    } else if let Some(file) = &common.nat_file {
        config.kept_profiles = KeptFile::File(file.clone());
    }
    if common.no_port_mapping {
        config.port_mapping.clear();
    } else if !common.port_mapping.is_empty() {
        config.port_mapping = common.port_mapping.iter().copied().map(Into::into).collect();
    }
    if let Some(game) = game {
        agent.relay = game.relay.into();
        agent.method = game.method.into();
        agent.lan = !game.no_lan;
        agent.bubble_targets.clone_from(&game.bubble_target);
        agent.ports_ahead = game.ports_ahead;
        agent.away_timeout = game.away;
        config.stall_timeout = game.stall_timeout;
    }
    TraversalConfig { agent, ..config }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn parsed(options: &str) -> Result<AgentConfig, String> {
        let line = format!("peer join --lobby 192.0.2.1 --room r {options}");
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        let Sub::Join { common, game, .. } = &cli.command else { return Err("another command".into()) };
        Ok(config(common, Some(game), (false, NatFacts::NONE)).agent)
    }

    #[test]
    fn m24_n_gets_into_the_agents_settings_and_is_refused_where_it_cannot_be() {
        assert_eq!(parsed("").map(|agent| agent.ports_ahead), Ok(None));
        assert_eq!(parsed("--ports-ahead 20").map(|agent| agent.ports_ahead), Ok(Some(20)));
        for bad in ["0", "97", "ten"] {
            let refused = parsed(&format!("--ports-ahead {bad}")).expect_err(bad);
            assert!(refused.contains("--ports-ahead"), "{refused}");
        }
    }
}
