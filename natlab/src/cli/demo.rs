//! `natlab demo`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use traversal_core::Detect;

use super::{CliError, Known, MethodName, Relay, Shared, agent_config, positive, show};
use crate::demo::{self, Told};
use crate::nat::NatSpec;
use crate::scenario::{Draw, PairWorldSettings, Worlds};

/// Which worlds a seed stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DrawnWorlds {
    /// As measured on the internet
    Internet,
    /// Small and even ones
    Tidy,
}

impl From<DrawnWorlds> for Worlds {
    fn from(worlds: DrawnWorlds) -> Self {
        match worlds {
            DrawnWorlds::Internet => Self::Internet,
            DrawnWorlds::Tidy => Self::Tidy,
        }
    }
}

/// Options of `natlab demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// NAT of the player that hosts
    #[arg(long, value_name = "NAT", default_value = "as")]
    left: NatSpec,
    /// NAT of the player that joins
    #[arg(long, value_name = "NAT", default_value = "ps")]
    right: NatSpec,
    /// Force one method
    #[arg(long, value_enum, default_value = "auto")]
    method: MethodName,
    /// One-way delay between any two of players and server
    #[arg(long, value_name = "MS", default_value_t = 50.0, value_parser = positive)]
    delay_ms: f64,
    /// Whether the relay may be used
    #[arg(long, value_enum, default_value = "allow")]
    relay: Relay,
    /// What the two networks share
    #[arg(long, value_enum, default_value = "apart")]
    shared: Shared,
    /// Where all chance comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Join when this is known of the NATs [default: both; with --drawn as the matrix does]
    #[arg(long, value_enum)]
    known: Option<Known>,
    /// Who classifies and measures port ranges: server or peer
    #[arg(long, value_parser = ["server", "peer"], default_value = "server")]
    detect: String,
    /// Lines about packets, sent, seen, arrived or dropped, to tell one by one
    #[arg(long, default_value_t = demo::TOLD_PACKETS)]
    packets: usize,
    /// Tell the packets before the request too: login and classification
    #[arg(long)]
    from_start: bool,
    /// Draw the world from the seed as the matrix does: tells the story of a seed that failed there
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "internet")]
    drawn: Option<DrawnWorlds>,
}

/// Runs `natlab demo`.
///
/// # Errors
/// If the story cannot be printed.
pub fn run_demo(args: &DemoArgs) -> Result<(), CliError> {
    let delay = Duration::from_secs_f64(args.delay_ms / 1e3);
    let mut config = agent_config(args.method, args.relay);
    config.detect = if args.detect == "peer" { Detect::Peer } else { Detect::Server };
    let (relation, join) = (args.shared.into(), args.known.map(Into::into));
    let settings = if let Some(worlds) = args.drawn {
        let worlds = worlds.into();
        Draw { worlds, config, relation, join, ..Draw::default() }.settings(
            args.seed,
            &args.left,
            &args.right,
        )
    } else {
        let join = join.unwrap_or_default();
        let equal = PairWorldSettings::equal(args.seed, &args.left.chain, &args.right.chain, delay);
        PairWorldSettings { config, relation, join, ..equal }
    };
    let told = Told { packets: args.packets, from_start: args.from_start };
    show(&demo::tell(settings, &args.left, &args.right, told).0)
}
