//! Arguments that several programs take.

use std::time::Duration;

use bevy_traversal::RelayPolicy;
use clap::ValueEnum;

/// Reads a number of seconds, with or without a fraction.
///
/// # Errors
/// What is wrong with it, for the command line.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// `--relay`: whether the lobby server may relay.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "clap would print them for each value; the argument says it")]
pub enum RelayArg {
    Allow,
    Only,
    Never,
}

impl From<RelayArg> for RelayPolicy {
    fn from(arg: RelayArg) -> Self {
        match arg {
            RelayArg::Allow => Self::Allow,
            RelayArg::Only => Self::Only,
            RelayArg::Never => Self::Never,
        }
    }
}
