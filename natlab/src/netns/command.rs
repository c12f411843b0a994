//! The subcommands for real programs.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Subcommand;

use super::args::RunArgs;
use super::bench::{BenchArgs, bench};
use super::process::{HOLD, hold};
use super::run::run;

/// Subcommands that need network namespaces.
#[derive(Clone, Debug, Subcommand)]
pub enum NetnsCommand {
    /// Real programs behind NATs, in network namespaces
    Run(Box<RunArgs>),
    /// Packets per second that the emulated and the kernel's NATs carry
    Bench(BenchArgs),
    /// Holds a program; natlab starts this itself
    #[command(name = HOLD, hide = true)]
    Hold {
        /// The program and its arguments
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

impl NetnsCommand {
    /// Runs it. To be called before any thread is started.
    pub fn execute(self) -> ExitCode {
        match self {
            Self::Run(args) => run(&args),
            Self::Bench(args) => bench(&args),
            Self::Hold { command } => hold(&command),
        }
    }
}
