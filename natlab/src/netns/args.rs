//! Flags of `natlab run`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::behind::Behind;
use super::error::NetnsError;
use super::line::LineSettings;
use super::router::Cut;
use super::sample::{Planned, sample};
use super::script::Script;
use super::side::Side;

/// What `--left all` stands for: the six named types of the simulated matrix.
const SIX: [&str; 6] = ["none", "fullcone", "restricted", "portrestricted", "as", "ps"];

/// Flags of `natlab run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  natlab run --left ps --right portrestricted -- peer {role} --lobby {lobby} --room {room} --server-key {key} --json
  natlab run --left kernel --right kernel:accept --delay-ms 25 --json -- peer {role} --lobby {lobby} --room {room} --json
  natlab run --left all --right all --jobs 4                            a table of 36 pairs
  natlab run --left every --right every -- peer {role} --lobby {lobby} --room {room} --server-key {key} --json --for 2
  natlab run --left ps --right portrestricted -- arena --lobby {lobby} --{role} {room}
  natlab run --left portrestricted --right ps --script natlab/scripts/minute.txt
  natlab run --left all --right all --sample 5 --jobs 2 --json          180 quick matches in drawn worlds

NATs: those of `natlab list`, and the kernel's own: kernel, kernel:random, kernel:fully-random, each also with :accept
(the WAN side accepts unsolicited packets), :upnp, :upnp1, :pcp (miniupnpd forwards ports by UPnP, in its second and its first version; by NAT-PMP and PCP) and
:timeout=SECONDS. a+b puts NAT a behind NAT b; +mtu=1280 makes 1,280 bytes the longest UDP packet on the line,
+mtu=1280:silent without ICMP that tells, +mtu=1280:own on the player's own interface.")]
pub struct RunArgs {
    /// NAT of the player who hosts; repeat it, or say `all` (the six named types) or `every` (eleven kinds of
    /// networks), for several runs.
    #[arg(long, value_name = "NAT", required = true)]
    pub left: Vec<String>,
    /// NAT of the player who joins; likewise.
    #[arg(long, value_name = "NAT", required = true)]
    pub right: Vec<String>,
    /// One-way delay between any two machines, milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 25.0)]
    pub delay_ms: f64,
    /// Up to so much more, milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    pub jitter_ms: f64,
    /// Share of the packets that get lost, 0 to 1.
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub loss: f64,
    /// Forge so many datagrams for each one between the players, with the sender's address, from a raw socket on
    /// another machine: replays, changed, cut and random ones.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub junk: u32,
    /// Let what the players send to each other get lost, with nobody told, from so many seconds after the first such
    /// packet on; `5:3` for 3 seconds only. The relay and the lobby server stay reachable.
    #[arg(long, value_name = "AFTER[:FOR]")]
    pub cut_direct: Option<String>,
    /// Start the right program when the left one has told this event in a JSON line, or after 5 seconds. `nat`
    /// waits until the host's NAT is classified.
    #[arg(long, value_name = "EVENT", default_value = "room")]
    pub after: String,
    /// Start the right program after exactly so long instead.
    #[arg(long, value_name = "SECONDS")]
    pub stagger: Option<f64>,
    /// End the run after so long, whatever the programs do.
    #[arg(long, value_name = "SECONDS")]
    pub time_limit: Option<f64>,
    /// One JSON object a run on stdout.
    #[arg(long)]
    pub json: bool,
    /// Write a pcap file of each cable into this directory.
    #[arg(long, value_name = "DIR")]
    pub pcap: Option<PathBuf>,
    /// Keep the programs' output in this directory (default: a new one among the temporary files).
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// The lobby server's binary (default: beside natlab, then in PATH).
    #[arg(long, value_name = "PATH", default_value = "lobby_server")]
    pub lobby_server: String,
    /// Have things happen to the run, as this file says: a line `TIME WHO WHAT` each, with TIME in seconds from the first
    /// messages of the game, WHO host, join or lobby. A player can `sleep SECONDS`, `cut SECONDS`, get another `address` or
    /// `network`, have its NAT `reboot`, get an `mtu BYTES[:silent]`; the lobby can `sleep`, `cut`, `kill`, `start`,
    /// `restart`, `move`. `TIME end` says when the game is over. {seconds} in the command becomes that, and a little more.
    #[arg(long, value_name = "FILE", conflicts_with = "sample")]
    pub script: Option<PathBuf>,
    /// Put the lobby server behind this.
    #[arg(long, value_name = "WHAT", conflicts_with = "no_lobby")]
    pub lobby_behind: Option<Behind>,
    /// Two lobby servers with one address each, linked, in place of one with both.
    #[arg(long, conflicts_with_all = ["no_lobby", "lobby_behind", "script"])]
    pub two_lobbies: bool,
    /// Both of them share rooms in this registry (redis+unix://FILE), and the right program finds the second one.
    #[arg(long, value_name = "URL", requires = "two_lobbies")]
    pub registry: Option<String>,
    /// Start no lobby server.
    #[arg(long)]
    pub no_lobby: bool,
    /// Decides the random choices of NATs and line (default: another one each time).
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// So many runs at a time, where there are several.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub jobs: usize,
    /// Run each pair so many times, each time with another line, and other ports and foreign traffic of the named NATs, drawn
    /// as `natlab matrix` does from seeds that begin with --seed; both programs start at the same instant, unless
    /// --stagger is given.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true,
        value_parser = clap::value_parser!(u64).range(..=100_000))]
    pub sample: u64,
    /// Simulate so many joins of each pair of emulated NATs too, and show the result beside the real one.
    #[arg(long, value_name = "SEEDS", default_value_t = 0)]
    pub simulate: u64,
    /// The program (beside natlab, or in PATH) and its arguments, started twice; {role} becomes host or join,
    /// {side} left or right, {lobby}, {key} and {room} what the program needs to meet the other.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// What is started when no command is given.
const PEER: [&str; 9] =
    ["peer", "{role}", "--lobby", "{lobby}", "--room", "{room}", "--server-key", "{key}", "--json"];

/// What is added for a script.
const SCRIPTED: [&str; 5] = ["--for", "{seconds}", "--complete", "--deadline", "60"];

/// The same for a sample: both look for each other at the same instant.
const QUICK: [&str; 12] = [
    "peer",
    "quick",
    "--lobby",
    "{lobby}",
    "--mode",
    "lab",
    "--server-key",
    "{key}",
    "--json",
    "--for",
    "5",
    "--no-lan",
];

impl RunArgs {
    /// The runs, pair by pair; those of a sample from this seed on.
    pub(crate) fn runs(&self, seed: u64) -> Result<Vec<Planned>, NetnsError> {
        let (left, right) = (sides(&self.left)?, sides(&self.right)?);
        let pairs = left.iter().flat_map(|left| right.iter().map(|right| [left.clone(), right.clone()]));
        let line = self.line()?;
        Ok(if self.sample > 0 {
            pairs.flat_map(|pair| sample(&pair, self.sample, seed)).collect()
        } else {
            pairs.map(|sides| Planned { sides, line, world: None }).collect()
        })
    }

    /// How much later the right program starts; none: when the left one has told its event.
    pub(crate) fn stagger(&self) -> Option<f64> {
        self.stagger.or((self.sample > 0).then_some(0.0))
    }

    pub(crate) fn line(&self) -> Result<LineSettings, NetnsError> {
        let ms = |flag: &str, value: f64| {
            if (0.0..=60_000.0).contains(&value) {
                Ok(Duration::from_secs_f64(value / 1000.0))
            } else {
                Err(NetnsError::Flag { flag: flag.into(), expected: "0 to 60000 milliseconds" })
            }
        };
        if !(0.0..=1.0).contains(&self.loss) {
            return Err(NetnsError::Flag { flag: "--loss".into(), expected: "a share from 0 to 1" });
        }
        Ok(LineSettings {
            delay: ms("--delay-ms", self.delay_ms)?,
            jitter: ms("--jitter-ms", self.jitter_ms)?,
            loss: self.loss,
        })
    }

    pub(crate) fn cut(&self) -> Result<Option<Cut>, NetnsError> {
        let Some(text) = &self.cut_direct else { return Ok(None) };
        let seconds = |text: &str| {
            let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=1e6).contains(seconds));
            seconds.map(Duration::from_secs_f64).ok_or(NetnsError::Flag {
                flag: "--cut-direct".into(),
                expected: "seconds, or seconds:seconds",
            })
        };
        let (after, length) = text.split_once(':').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
        Ok(Some(Cut { after: seconds(after)?, length: length.map(seconds).transpose()? }))
    }

    /// The script, if one is asked for.
    pub(crate) fn script(&self, runs: &[Planned]) -> Result<Option<Script>, NetnsError> {
        let Some(file) = &self.script else { return Ok(None) };
        let text = std::fs::read_to_string(file).map_err(NetnsError::system("reading the script"))?;
        let wrong = |error| NetnsError::Script { file: file.display().to_string(), error };
        let script: Script = text.parse().map_err(wrong)?;
        for Planned { sides: [left, right], .. } in runs {
            script.fits(&left.stages, &right.stages).map_err(wrong)?;
        }
        Ok(Some(script))
    }

    pub(crate) fn command(&self) -> Vec<String> {
        match (self.command.is_empty(), self.sample > 0) {
            (false, _) => self.command.clone(),
            (true, _) if self.script.is_some() => {
                PEER.iter().chain(&SCRIPTED).map(|word| (*word).into()).collect()
            }
            (true, true) => QUICK.map(String::from).to_vec(),
            (true, false) => PEER.map(String::from).to_vec(),
        }
    }
}

/// A flag's seconds.
pub(crate) fn seconds(flag: &str, value: Option<f64>) -> Result<Option<Duration>, NetnsError> {
    match value {
        None => Ok(None),
        Some(value) if (0.0..=1e6).contains(&value) => Ok(Some(Duration::from_secs_f64(value))),
        Some(_) => Err(NetnsError::Flag { flag: flag.into(), expected: "seconds, 0 or more" }),
    }
}

fn sides(names: &[String]) -> Result<Vec<Side>, NetnsError> {
    let mut sides = Vec::new();
    for name in names {
        let several = match name.as_str() {
            "all" => &SIX[..],
            "every" => &crate::matrix::ALWAYS,
            one => &[one],
        };
        for name in several {
            sides.push(name.parse()?);
        }
    }
    Ok(sides)
}
