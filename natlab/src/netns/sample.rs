//! `natlab run --sample`: real programs in worlds that are drawn as `natlab matrix` draws them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::line::LineSettings;
use super::report::PairReport;
use super::side::{Side, Stage};
use crate::nat::{Allocation, NatConfig, NatSpec};
use crate::oracle::{self, Outlook, Relation};
use crate::scenario::Draw;
use crate::stats::wilson;

/// It is one run that is to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Planned {
    pub(crate) sides: [Side; 2],
    pub(crate) line: LineSettings,
    /// It is what was drawn; none: nothing was.
    pub(crate) world: Option<World>,
}

/// What was drawn for a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct World {
    /// The draw has this seed: `natlab matrix --first-seed SEED --seeds 1` has the same NATs.
    pub seed: u64,
    /// The round trip between any two machines takes this long, in milliseconds, without jitter.
    pub rtt_ms: f64,
    /// Each way takes up to this much longer, in milliseconds.
    pub jitter_ms: f64,
    /// This share of the packets is lost on each way, 0 to 1.
    pub loss: f64,
    /// These are the host's NATs, the inner one first: ports and foreign allocations per second.
    pub left: String,
    /// These are the joining player's NATs.
    pub right: String,
    /// What the oracle says: `direct`, `search`, or why it is impossible; none with a kernel's NAT.
    pub outlook: Option<&'static str>,
}

/// Returns this many runs of a pair, from this seed on. A kernel's NAT stays as it is, and only the line is drawn.
pub(crate) fn sample(pair: &[Side; 2], runs: u64, first_seed: u64) -> Vec<Planned> {
    let named = |side: &Side| side.name.parse().unwrap_or(NatSpec::single("", NatConfig::default()));
    let specs = [named(&pair[0]), named(&pair[1])];
    let one = |seed: u64| {
        let drawn = Draw::default().settings(seed, &specs[0], &specs[1]);
        let chains = [&drawn.left, &drawn.right];
        let mut sides = pair.clone();
        for (side, chain) in sides.iter_mut().zip(chains).filter(|(side, _)| side.is_emulated()) {
            side.stages = chain.iter().cloned().map(Stage::Emulated).collect();
        }
        let emulated = sides.iter().all(Side::is_emulated);
        let ways = [&drawn.left_link, &drawn.right_link];
        let jitter =
            ways.iter().flat_map(|link| [link.up.jitter, link.down.jitter]).max().unwrap_or_default();
        let kept: f64 = ways.iter().map(|link| 1.0 - (link.up.loss + link.down.loss) / 2.0).product();
        let line = LineSettings { delay: drawn.peer_rtt() / 2, jitter, loss: 1.0 - kept };
        let shown = |side: &Side, chain: &[NatConfig]| {
            if side.is_emulated() {
                chain.iter().map(ports).collect::<Vec<_>>().join(" + ")
            } else {
                side.name.clone()
            }
        };
        let outlook = match oracle::outlook(chains[0], chains[1], Relation::Apart) {
            Outlook::Direct => "direct",
            Outlook::Search => "search",
            Outlook::Impossible(cause) => cause.name(),
        };
        let world = World {
            seed,
            rtt_ms: ms(2 * line.delay),
            jitter_ms: ms(jitter),
            loss: (line.loss * 1e4).round() / 1e4,
            left: shown(&sides[0], chains[0]),
            right: shown(&sides[1], chains[1]),
            outlook: emulated.then_some(outlook),
        };
        Planned { sides, line, world: Some(world) }
    };
    (0..runs).map(|run| one(first_seed.wrapping_add(run))).collect()
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

/// How a NAT chooses its ports, and among how many others.
fn ports(nat: &NatConfig) -> String {
    if !nat.translates() {
        return "no translation".into();
    }
    let ports = match nat.allocation {
        Allocation::Preserving(_) => "preserving".into(),
        Allocation::Sequential(step) => format!("sequential:{step}"),
        Allocation::Random => "random".into(),
        Allocation::RandomInBlock(size) => format!("block:{size}"),
    };
    format!("{ports},cross={:.0}", nat.cross)
}

/// Writes all drawn runs together, by what the oracle says, and those that did not get what it says.
pub(crate) fn sums(reports: &[PairReport]) -> String {
    let mut classes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut text = String::new();
    for report in reports {
        let Some(world) = &report.world else { continue };
        let outlook = world.outlook.unwrap_or("a kernel's NAT");
        let direct = report.path.as_deref().is_some_and(|path| path != "relay");
        let (met, runs) = classes.entry(outlook).or_default();
        *met += usize::from(direct);
        *runs += 1;
        if !direct && matches!(outlook, "direct" | "search") {
            let _ = writeln!(
                text,
                "seed {}: {} ({}) - {} ({}), round trip {:.0} ms, loss {:.1} %: {}",
                world.seed,
                report.left,
                world.left,
                report.right,
                world.right,
                world.rtt_ms,
                world.loss * 100.0,
                report.reason.as_deref().or(report.path.as_deref()).unwrap_or("no path"),
            );
        }
    }
    for (outlook, (met, runs)) in classes {
        let (low, high) = wilson(met, runs);
        let _ = writeln!(
            text,
            "{outlook}: {met} of {runs} direct (95 %: {:.1} to {:.1} %)",
            low * 100.0,
            high * 100.0
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_draws_what_a_name_leaves_open_and_the_line() {
        let pair = ["ps", "kernel"].map(|name| name.parse::<Side>().expect("a side"));
        let runs = sample(&pair, 40, 1);
        assert_eq!(runs, sample(&pair, 40, 1), "the same seeds, the same worlds");
        assert_eq!(runs[1..], sample(&pair, 39, 2)[..]);
        let worlds: Vec<&World> = runs.iter().filter_map(|run| run.world.as_ref()).collect();
        assert!(worlds.iter().all(|world| world.right == "kernel" && world.outlook.is_none()));
        for drawn in ["preserving", "sequential", "cross="] {
            assert!(worlds.iter().any(|world| world.left.contains(drawn)), "{drawn}");
        }
        assert!(
            worlds.iter().any(|world| world.rtt_ms < 100.0)
                && worlds.iter().any(|world| world.rtt_ms > 400.0)
        );
        assert!(runs.iter().all(|run| run.sides[1] == pair[1] && run.line.loss < 0.16));
        let exact = ["ps,cross=600", "portrestricted"].map(|name| name.parse::<Side>().expect("a side"));
        let kept = &sample(&exact, 1, 1)[0];
        assert_eq!(kept.sides[0].stages, exact[0].stages, "what is spelled out is taken as it is");
    }
}
