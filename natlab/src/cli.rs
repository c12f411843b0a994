//! The simulator's part of the command line.

mod demo;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use traversal_core::wire::message::Method;
use traversal_core::{AgentConfig, Detect, RelayPolicy};

use crate::link::Mtu;
use crate::matrix::{self, MatrixSettings};
use crate::nat::{NatSpec, PRESETS};
use crate::oracle::Relation;
use crate::scenario::{Draw, JoinMoment, Worlds};
use crate::soak::{SoakArgs, SoakError};

pub use demo::{DemoArgs, DrawnWorlds, run_demo};

/// These are the six named types of NATs in the default matrix.
const SIX: [&str; 6] = ["none", "fullcone", "restricted", "portrestricted", "as", "ps"];

/// A method to force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MethodName {
    /// The methods of the plan, in its order.
    Auto,
    /// Test messages to all candidates (M14).
    Cone,
    /// One bubble, whose port is found from two probes around it.
    Bubble,
    /// Many bubbles and a port-assigning packet.
    MultiBubble,
    /// Predicted ports on both sides.
    Prediction,
    /// One socket a side.
    GiantStep,
    /// Random ports against a cone.
    Birthday,
}

impl MethodName {
    fn method(self) -> Option<Method> {
        Some(match self {
            Self::Auto => return None,
            Self::Cone => Method::Cone,
            Self::Bubble => Method::Bubble,
            Self::MultiBubble => Method::MultiBubble,
            Self::Prediction => Method::Prediction,
            Self::GiantStep => Method::GiantStep,
            Self::Birthday => Method::Birthday,
        })
    }
}

/// Whether the relay may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Relay {
    /// The relay is used while there is no direct path.
    Allow,
    /// The relay is not used at all.
    Never,
}

/// What the two networks share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shared {
    /// They share nothing.
    Apart,
    /// They are in one LAN.
    Lan,
    /// The outermost NAT, behind which each has its own.
    OuterNat,
}

impl From<Shared> for Relation {
    fn from(shared: Shared) -> Self {
        match shared {
            Shared::Apart => Self::Apart,
            Shared::Lan => Self::SameLan,
            Shared::OuterNat => Self::SameOuterNat,
        }
    }
}

/// What is known when the right player joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Known {
    /// Both NATs are known.
    Both,
    /// The NAT of the host is known.
    Host,
    /// Neither NAT is known.
    Nothing,
}

impl From<Known> for JoinMoment {
    fn from(known: Known) -> Self {
        match known {
            Known::Both => Self::BothKnown,
            Known::Host => Self::HostKnown,
            Known::Nothing => Self::AtOnce,
        }
    }
}

/// A named set of NATs or of worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Set {
    /// The six named types of NATs
    Six,
    /// Every kind of NAT that two players must be able to play through, if need be over the relay
    Always,
    /// Small and even worlds instead of those of the internet, joined when both NATs are known
    Tidy,
}

/// Returns the NATs of these sets: the six named types if none of them is one of NATs.
fn specs(sets: &[Set]) -> Vec<NatSpec> {
    let mut names: Vec<&str> = Vec::new();
    for set in sets {
        names.extend(match set {
            Set::Six => &SIX[..],
            Set::Always => &matrix::ALWAYS,
            Set::Tidy => &[],
        });
    }
    if names.is_empty() {
        names.extend(SIX);
    }
    let mut specs: Vec<NatSpec> = Vec::new();
    for spec in names.iter().filter_map(|name| name.parse::<NatSpec>().ok()) {
        if !specs.contains(&spec) {
            specs.push(spec);
        }
    }
    specs
}

/// Options of `natlab matrix`.
#[derive(Args, Clone, Debug)]
pub struct MatrixArgs {
    /// NATs where --left or --right is not given, and the worlds to draw; may be repeated [default: six, and worlds as
    /// measured on the internet]
    #[arg(long, value_enum)]
    set: Vec<Set>,
    /// NAT of the player that hosts; repeat for more rows
    #[arg(long, value_name = "NAT")]
    left: Vec<NatSpec>,
    /// NAT of the player that joins; repeat for more columns
    #[arg(long, value_name = "NAT")]
    right: Vec<NatSpec>,
    /// Force one method, without speculation beside it
    #[arg(long, value_enum, default_value = "auto")]
    method: MethodName,
    /// Runs of each pair
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    seeds: u64,
    /// The first of them; with `--seeds 1` it runs a failed one again
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=u64::MAX / 2))]
    first_seed: u64,
    /// The same one-way delay between any two of players and server, without jitter [default: drawn per seed; round trips
    /// of 10 to 1,200 ms]
    #[arg(long, value_name = "MS", value_parser = positive)]
    delay_ms: Option<f64>,
    /// Share of packets lost between any two, 0 to 1, each for itself [default: drawn per seed, 0 to 0.15, half of it in
    /// bursts]
    #[arg(long, value_name = "P", value_parser = share)]
    loss: Option<f64>,
    /// Foreign allocations per second at the named NATs [default: drawn per seed, 0 to 1,000]
    #[arg(long, value_name = "PER_SECOND", value_parser = positive)]
    cross: Option<f64>,
    /// Longest packet on both players' lines, in bytes; with `:silent` behind it, no router tells who sends a longer one
    /// [default: drawn per seed, 1,280 to 1,500]
    #[arg(long, value_name = "MTU")]
    mtu: Option<Mtu>,
    /// Have the players carry datagrams of 1,200 bytes and a reliable message of 60 kB, and tell the seeds in which they did
    /// not arrive
    #[arg(long)]
    freight: bool,
    /// Whether the relay may be used
    #[arg(long, value_enum, default_value = "allow")]
    relay: Relay,
    /// Who classifies and measures port ranges: server or peer
    #[arg(long, value_parser = ["server", "peer"], default_value = "server")]
    detect: String,
    /// What the two networks share
    #[arg(long, value_enum, default_value = "apart")]
    shared: Shared,
    /// The lobby server has one address only
    #[arg(long)]
    one_address: bool,
    /// Join when this is known of the NATs; `host` and `nothing`: as real players do, right after the login [default:
    /// nothing; with `--set tidy`: both]
    #[arg(long, value_enum)]
    known: Option<Known>,
    /// Seconds that an attempt may take
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    deadline: f64,
    /// Threads [default: one per processor]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Write a self-contained page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Print a second table, of the runs in which chance decides, by traffic and round trip, beside the bound; it is in the
    /// JSON anyway
    #[arg(long)]
    buckets: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1e6).contains(&value) => Ok(value),
        _ => Err("a number from 0 on is needed".into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 up to, but not including, 1 is needed".into()),
    }
}

fn agent_config(method: MethodName, relay: Relay) -> AgentConfig {
    AgentConfig {
        method: method.method(),
        relay: match relay {
            Relay::Allow => RelayPolicy::Allow,
            Relay::Never => RelayPolicy::Never,
        },
        ..AgentConfig::default()
    }
}

/// This is why a command of the simulator failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The page cannot be written.
    #[error("cannot write the page {}: {source}; give --html a file in a folder that exists", path.display())]
    Page {
        /// Where it should go.
        path: PathBuf,
        /// Why it could not be done.
        source: std::io::Error,
    },
    /// The result cannot be put into JSON.
    #[error("cannot print the result as JSON")]
    Json(#[from] serde_json::Error),
    /// `natlab soak` failed.
    #[error(transparent)]
    Soak(#[from] SoakError),
    /// `natlab siege` or `natlab flood` failed.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Siege(#[from] crate::siege::SiegeError),
    /// `natlab load` failed.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Load(#[from] crate::load::LoadError),
    /// Nobody reads what is printed.
    #[error("cannot print the result")]
    Print(#[source] std::io::Error),
}

/// Prints to a reader who may have gone.
pub(crate) fn show(text: &str) -> Result<(), CliError> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // `natlab list | head -1` has what it wanted.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(CliError::Print),
    }
}

/// Runs `natlab matrix`.
///
/// # Errors
/// If the page cannot be written, which is tried before the first join, or the result cannot be printed.
pub fn run_matrix(args: MatrixArgs) -> Result<(), CliError> {
    if let Some(path) = &args.html {
        // Nobody wants to hear of a wrong path after an hour of joins.
        let page = std::fs::OpenOptions::new().create(true).append(true).open(path);
        page.map_err(|source| CliError::Page { path: path.clone(), source })?;
    }
    let mut config = agent_config(args.method, args.relay);
    config.connect_deadline = Duration::from_secs_f64(args.deadline);
    config.detect = if args.detect == "peer" { Detect::Peer } else { Detect::Server };
    let settings = MatrixSettings {
        left: if args.left.is_empty() { specs(&args.set) } else { args.left },
        right: if args.right.is_empty() { specs(&args.set) } else { args.right },
        seeds: args.seeds,
        first_seed: args.first_seed,
        draw: Draw {
            worlds: if args.set.contains(&Set::Tidy) { Worlds::Tidy } else { Worlds::Internet },
            delay: args.delay_ms.map(|ms| Duration::from_secs_f64(ms / 1e3)),
            // With a delay that is given, nothing is lost unless that is given too.
            loss: args.loss.or(args.delay_ms.map(|_| 0.0)),
            cross: args.cross,
            config,
            relation: args.shared.into(),
            one_address: args.one_address,
            mtu: args.mtu,
            freight: args.freight,
            join: args.known.map(Into::into),
        },
        threads: args.threads,
    };
    let total = settings.left.len() as u64 * settings.right.len() as u64 * settings.seeds;
    let bar = ProgressBar::new(total).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} joins, {per_sec}, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let matrix = matrix::run(&settings, |done| {
        // Drawing is dearer than a run.
        if done % 64 == 0 {
            bar.set_position(done as u64);
        }
    });
    bar.finish_and_clear();
    if let Some(path) = args.html {
        std::fs::write(&path, matrix::page(&matrix)).map_err(|source| CliError::Page { path, source })?;
    }
    if args.json {
        return show(&(serde_json::to_string(&matrix)? + "\n"));
    }
    show(&matrix::table(&matrix))?;
    if args.buckets { show(&matrix::buckets(&matrix)) } else { Ok(()) }
}

/// Runs `natlab soak`.
///
/// # Errors
/// If something was wrong in any of its worlds, or its record cannot be kept.
pub fn run_soak(args: &SoakArgs) -> Result<(), CliError> {
    let (told, ended) = args.execute();
    show(&told)?;
    Ok(ended?)
}

/// Runs `natlab list`.
///
/// # Errors
/// If the list cannot be printed.
pub fn run_list() -> Result<(), CliError> {
    use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["name", "mapping", "filtering", "ports", "what it is"]);
    for preset in PRESETS {
        let Ok(spec) = preset.name.parse::<NatSpec>() else { continue };
        let nat = &spec.chain[0];
        let ports = if nat.translates() { format!("{:?}", nat.allocation) } else { "-".into() };
        table.add_row([
            preset.name.to_owned(),
            format!("{:?}", nat.mapping),
            format!("{:?}", nat.filtering),
            ports,
            preset.about.to_owned(),
        ]);
    }
    show(&format!("{table}\n{SPELLING}"))
}

/// How a NAT that has no name is spelled.
const SPELLING: &str = "\
or key=value[,key=value...]; a name may come first (ps,cross=5); a+b puts NAT a behind NAT b
  mapping=eim|adm|apdm         one port for all, one per address, one per address and port
  filtering=eif|adf|apdf       who gets in: all, addresses sent to, addresses and ports sent to
  ports=preserving|preserving:sequential|random|sequential:STEP|block:SIZE
  range=FIRST-LAST  parity=yes the ports it may use; even stays even
  cross=PER_SECOND             ports that other machines behind it take
  timeout=SECONDS  stream-timeout=SECONDS  inbound-refresh=no
  pool=N  pooling=paired|arbitrary  quota=N
  hairpin=yes|internal|no      with the external or the internal source
  clash=yes  blacklist=PACKETS kind=nat|firewall|router  udp=no
";
