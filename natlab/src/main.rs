//! `natlab`: see the library's documentation.

#[cfg(target_os = "linux")]
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use natlab::cli;

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
    Matrix(Box<cli::MatrixArgs>),
    /// One simulated join, told step by step
    Demo(cli::DemoArgs),
    /// The named NATs
    List,
    /// Real programs behind NATs, in network namespaces
    #[cfg(target_os = "linux")]
    Run(natlab::netns::RunArgs),
    /// Packets per second through the emulator
    #[cfg(target_os = "linux")]
    #[command(name = "bench-run")]
    BenchRun(natlab::netns::BenchArgs),
    #[cfg(target_os = "linux")]
    #[command(name = natlab::netns::HOLD, hide = true)]
    Hold {
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Matrix(args) => match cli::run_matrix(*args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("natlab: {error}");
                ExitCode::FAILURE
            }
        },
        Command::Demo(args) => {
            cli::run_demo(&args);
            ExitCode::SUCCESS
        }
        Command::List => {
            cli::run_list();
            ExitCode::SUCCESS
        }
        #[cfg(target_os = "linux")]
        Command::Run(args) => natlab::netns::run(&args),
        #[cfg(target_os = "linux")]
        Command::BenchRun(args) => natlab::netns::bench(&args),
        #[cfg(target_os = "linux")]
        Command::Hold { command } => natlab::netns::hold(&command),
    }
}
