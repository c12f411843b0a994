//! `natlab`: see the library's documentation.

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
    #[cfg(target_os = "linux")]
    #[command(flatten)]
    Netns(natlab::netns::NetnsCommand),
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
        Command::Netns(command) => command.execute(),
    }
}
