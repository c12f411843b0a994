//! `natlab`: see the library's documentation.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use natlab::cli;
use tracing_subscriber::EnvFilter;

/// A laboratory for NAT traversal
#[derive(Parser)]
#[command(version, after_help = "Example: natlab matrix --left ps --right as --seeds 200 --html matrix.html")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Simulated joins of every pair of NATs: success, times, packets, methods
    #[command(after_help = "Examples:\n  natlab matrix --seeds 1000 --relay never --html matrix.html\n  \
        natlab matrix --left ps --right ps,cross=50 --method prediction --json")]
    Matrix(Box<cli::MatrixArgs>),
    /// One simulated join, told step by step
    #[command(
        after_help = "Examples:\n  natlab demo\n  natlab demo --left psrandom --right as --delay-ms 80\n  \
        natlab demo --left ps --right ps --seed 4711 --drawn    the story of a seed of the matrix"
    )]
    Demo(cli::DemoArgs),
    /// Random worlds with faults, as many as there is time for; tells the seeds in which something was wrong
    #[command(after_help = "Examples:\n  natlab soak --worlds 1000000 --resume soak.json\n  \
        natlab soak --worlds 1000000 --resume soak.json --seconds 600    go on for ten minutes\n  \
        natlab soak --first-seed 4711 --worlds 1")]
    Soak(natlab::soak::SoakArgs),
    /// The named NATs
    #[command(after_help = "Example: natlab list")]
    List,
    /// Real players on a real lobby server that is attacked in many ways at once, on this machine
    #[cfg(target_os = "linux")]
    #[command(after_help = "Example: natlab siege --minutes 60")]
    Siege(natlab::siege::SiegeArgs),
    /// Logins of real players beside the highest flood of hellos that this machine makes
    #[cfg(target_os = "linux")]
    #[command(after_help = "Example: natlab flood --threads 2")]
    Flood(natlab::siege::FloodArgs),
    /// Very many real players on a real lobby server: rates, latencies, errors, and what the server needs for them
    #[cfg(target_os = "linux")]
    #[command(after_help = "Examples:\n  natlab load --players 10000 --joins 200 --lists 200\n  \
        natlab load --players 20000 --crowd 20000 --json    how the first ones fare when as many more log in at once\n  \
        natlab load --to 127.0.0.1:3478 --pid $(pidof lobby_server)")]
    Load(Box<natlab::load::LoadArgs>),
    #[cfg(target_os = "linux")]
    #[command(flatten)]
    Netns(natlab::netns::NetnsCommand),
}

fn main() -> ExitCode {
    // Agents and servers in the simulator say what they do: `RUST_LOG=traversal_core=debug natlab demo`.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let done = match Cli::parse().command {
        Command::Matrix(args) => cli::run_matrix(*args),
        Command::Demo(args) => cli::run_demo(&args),
        Command::Soak(args) => cli::run_soak(&args),
        Command::List => cli::run_list(),
        #[cfg(target_os = "linux")]
        Command::Siege(args) => natlab::siege::siege(&args).map_err(Into::into),
        #[cfg(target_os = "linux")]
        Command::Flood(args) => natlab::siege::flood(&args).map_err(Into::into),
        #[cfg(target_os = "linux")]
        Command::Load(args) => natlab::load::load(&args),
        #[cfg(target_os = "linux")]
        Command::Netns(command) => return command.execute(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("natlab: {error}");
            ExitCode::FAILURE
        }
    }
}
