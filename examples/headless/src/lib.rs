//! What the examples without a window have in common: [`args`] for the command line, [`start`] and [`exit_code`] around
//! the app, [`Output`] for what is printed. A game has its own; nothing of it is needed for the plugin.

pub mod args;
mod output;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bevy_app::AppExit;
use tracing_subscriber::EnvFilter;

pub use crate::output::{Output, ms, rounded};

/// Logs to stderr, as `RUST_LOG` says or else `log`. The flag is set by SIGINT, SIGTERM and SIGHUP, and on Windows by
/// Ctrl-C and Ctrl-Break, for the program to end cleanly.
///
/// # Errors
/// The program's exit code, where signals cannot be listened for; `program` has said so on stderr.
pub fn start(program: &str, log: &str) -> Result<Arc<AtomicBool>, ExitCode> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(log));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    if let Err(error) = ctrlc::set_handler(move || told.store(true, Ordering::Relaxed)) {
        eprintln!("{program}: cannot listen for signals: {error}");
        return Err(ExitCode::FAILURE);
    }
    Ok(stop)
}

/// Returns what the program ends with when its app has ended so.
pub fn exit_code(exit: &AppExit) -> ExitCode {
    match exit {
        AppExit::Success => ExitCode::SUCCESS,
        AppExit::Error(_) => ExitCode::FAILURE,
    }
}
