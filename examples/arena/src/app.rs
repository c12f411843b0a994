//! From the command line to a running game.

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bevy::app::AppExit;

use crate::cli::Cli;
use crate::embedded;
use crate::session::{Goal, HostPlan, Profile, QuickPlan, Target, is_invite};
use crate::settings::{Settings, settings_file};
use crate::sim::clean_name;
use crate::{headless, window};

/// `--join` keeps asking for its room for so long.
const WAIT: Duration = Duration::from_secs(30);

/// Runs the program.
pub fn run(cli: &Cli) -> ExitCode {
    if cli.join.as_deref().is_some_and(|room| !is_invite(room)) && cli.lobby.is_none() {
        eprintln!("arena: --join needs --lobby: a lobby server that starts here and now has no rooms");
        return ExitCode::from(2);
    }
    if cli.quick.is_some() && cli.lobby.is_none() {
        eprintln!(
            "arena: --quick needs --lobby: nobody else waits at a lobby server that starts here and now"
        );
        return ExitCode::from(2);
    }
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut windowed = !cli.headless;
    if windowed && let Err(reason) = window::display() {
        println!("arena: no display ({reason}); playing headless");
        windowed = false;
    }
    let embedded = match (&cli.lobby, cli.screen) {
        (None, None) => match embedded::start() {
            Ok(embedded) => Some(embedded),
            Err(reason) => {
                eprintln!("arena: {reason}");
                return ExitCode::FAILURE;
            }
        },
        _ => None,
    };
    let server = match (&cli.lobby, &embedded) {
        (Some(lobby), _) => lobby.clone(),
        (None, Some(embedded)) => {
            println!("lobby server on {}", embedded.address);
            embedded.address.to_string()
        }
        (None, None) => String::from("lobby.example.com"),
    };
    let profile = Profile { name: player_name(cli, windowed), server };
    if windowed {
        let goal = goal(cli, false);
        let play = || window::run(cli, profile.clone(), goal, embedded, seed);
        match panic::catch_unwind(AssertUnwindSafe(play)) {
            Ok(exit) => return code(&exit),
            Err(panic) if window::SHOWN.load(Ordering::Relaxed) => panic::resume_unwind(panic),
            Err(_) if cli.screenshot.is_some() || cli.screen.is_some() => {
                eprintln!("arena: no window can be opened here, so there is no picture to take");
                return ExitCode::FAILURE;
            }
            Err(_) => println!("arena: no window can be opened here; playing headless"),
        }
    } else if cli.screenshot.is_some() || cli.screen.is_some() || measures(cli) {
        eprintln!("arena: --screenshot, --screen, --bench-frames and --bench-parts need a display");
        return ExitCode::FAILURE;
    }
    let bots = bots(cli, true);
    code(&headless::run(cli, profile, goal(cli, true), bots, seed))
}

/// Returns whether the program only measures.
pub(crate) fn measures(cli: &Cli) -> bool {
    cli.bench_frames.is_some() || cli.bench_parts.is_some()
}

fn code(exit: &AppExit) -> ExitCode {
    match exit {
        AppExit::Success => ExitCode::SUCCESS,
        AppExit::Error(code) => ExitCode::from(code.get()),
    }
}

fn player_name(cli: &Cli, windowed: bool) -> String {
    let set = || settings_file().filter(|_| windowed).map(|file| Settings::read(&file).0.name);
    let of_system = || std::env::var("USER").or_else(|_| std::env::var("USERNAME")).ok();
    let name = cli.name.clone().or_else(|| set().filter(|name| !name.is_empty())).or_else(of_system);
    clean_name(&name.unwrap_or_default())
}

/// Without a window there is nobody to ask whom to play against.
fn bots(cli: &Cli, headless: bool) -> usize {
    let nobody = cli.host.is_none() && cli.join.is_none() && cli.quick.is_none();
    let alone = headless && cli.bots == 0 && nobody;
    if alone { 3 } else { usize::from(cli.bots) }
}

fn goal(cli: &Cli, headless: bool) -> Goal {
    if let Some(room) = &cli.join {
        if is_invite(room) {
            return Goal::Invited(room.clone());
        }
        // Six letters and digits without look-alikes are a code; anything else is a name.
        let code = room.len() == 6 && room.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        let target = if code { Target::Code(room.clone()) } else { Target::Name(room.clone()) };
        return Goal::Join { target, password: cli.password.clone(), wait: WAIT, watch: cli.watch };
    }
    if let Some(players) = cli.quick {
        return Goal::Quick(QuickPlan { players: players.into(), rules: cli.rules() });
    }
    let bots = bots(cli, headless);
    if cli.host.is_none() && bots == 0 && !headless {
        return Goal::Idle;
    }
    let begin_with = cli.begin_with.map(usize::from).or_else(|| {
        // With a window and no bots the host presses the button.
        (headless || bots > 0 || cli.rounds.is_some()).then_some((bots + 1).max(2))
    });
    Goal::Host(HostPlan {
        room: cli.host.clone().unwrap_or_default(),
        password: cli.password.clone(),
        bots,
        rules: cli.rules(),
        begin_with,
        ..HostPlan::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn goal_of(args: &[&str], headless: bool) -> Goal {
        goal(&Cli::parse_from([&["arena"], args].concat()), headless)
    }

    #[test]
    fn the_command_line_becomes_a_goal() {
        assert_eq!(goal_of(&[], false), Goal::Idle);
        let Goal::Host(plan) = goal_of(&["--bots", "3"], false) else { panic!("bots make a room") };
        assert_eq!((plan.bots, plan.begin_with), (3, Some(4)));
        let Goal::Host(plan) = goal_of(&["--host", "den"], false) else { panic!("a room") };
        assert_eq!((plan.room.as_str(), plan.begin_with), ("den", None));
        let Goal::Host(plan) = goal_of(&[], true) else { panic!("a match without a window") };
        assert_eq!((plan.bots, plan.begin_with), (3, Some(4)));
        let Goal::Join { target, .. } = goal_of(&["--join", "K7QF2M"], false) else { panic!("a join") };
        assert_eq!(target, Target::Code(String::from("K7QF2M")));
        let Goal::Join { target, .. } = goal_of(&["--join", "den"], false) else { panic!("a join") };
        assert_eq!(target, Target::Name(String::from("den")));
        let Goal::Join { watch, .. } = goal_of(&["--join", "den", "--watch"], true) else { panic!("a join") };
        assert!(watch);
        let Goal::Quick(plan) = goal_of(&["--quick", "--points", "1"], true) else { panic!("a quick match") };
        assert_eq!((plan.players, plan.rules.target), (2, 1));
        let invite = "bevy-traversal:lobby.example.com/K7PX2M#key";
        assert_eq!(goal_of(&["--join", invite], false), Goal::Invited(String::from(invite)));
    }
}
