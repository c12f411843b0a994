//! The arena as a program; see `arena --help`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    arena::app::run(&arena::cli::Cli::parse())
}
