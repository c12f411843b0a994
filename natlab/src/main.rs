//! Being written.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Real programs behind NATs, in network namespaces.
    Run(natlab::netns::RunArgs),
    /// Packets per second through the emulator.
    #[command(name = "bench-run")]
    BenchRun(natlab::netns::BenchArgs),
    #[command(name = natlab::netns::HOLD, hide = true)]
    Hold {
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => natlab::netns::run(&args),
        Command::BenchRun(args) => natlab::netns::bench(&args),
        Command::Hold { command } => natlab::netns::hold(&command),
    }
}
