//! The simulator's answer to the same question, to stand beside the real programs'.

use serde::Serialize;

use crate::matrix::{self, MatrixSettings};
use crate::nat::NatSpec;
use crate::scenario::{Draw, JoinMoment};

use super::line::LineSettings;
use super::side::{Side, Stage};

/// What the simulator says about a pair of emulated NATs with the same delay and loss.
#[derive(Clone, Debug, Serialize)]
pub struct Simulated {
    /// This many joins were simulated.
    pub runs: usize,
    /// In this many of them both sides had a direct path.
    pub direct: usize,
    /// Both sides have confirmed the path this long after the request, in milliseconds.
    pub median_confirmed_ms: Option<f64>,
    /// Both sides together sent this many datagrams for it.
    pub median_packets: Option<f64>,
}

/// Asks the simulator; `None` where one of the NATs is the kernel's, which it has not, or where a side has an MTU of
/// its own.
pub(crate) fn simulate(pair: &[Side; 2], line: LineSettings, seeds: u64) -> Option<Simulated> {
    let [left, right] = pair;
    if pair.iter().any(|side| side.narrow.is_some()) {
        return None;
    }
    let settings = MatrixSettings {
        left: vec![spec(left)?],
        right: vec![spec(right)?],
        seeds,
        first_seed: 1,
        // The line is as given, and NATs that are not under their own names are taken as they are: nothing is drawn.
        draw: Draw {
            delay: Some(line.delay),
            loss: Some(line.loss),
            join: Some(JoinMoment::AtOnce),
            ..Draw::tidy()
        },
        threads: 1,
    };
    let cell = matrix::run(&settings, |_| ()).cells.pop()?;
    Some(Simulated {
        runs: cell.runs,
        direct: cell.direct,
        median_confirmed_ms: cell.median_confirmed_ms,
        median_packets: cell.median_packets,
    })
}

fn spec(side: &Side) -> Option<NatSpec> {
    let chain = side.stages.iter().map(|stage| match stage {
        Stage::Emulated(config) => Some(config.clone()),
        Stage::Kernel(_) => None,
    });
    // Not under its own name: steps and foreign traffic are drawn for the named types.
    Some(NatSpec { name: format!("exactly {}", side.name), chain: chain.collect::<Option<_>>()? })
}
