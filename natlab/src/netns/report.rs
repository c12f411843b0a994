//! What a run has shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde::Serialize;
use serde_json::Value;

use super::acts::ScriptReport;
use super::counts::Counts;
use super::sample::World;
use super::simulate::Simulated;

/// What one run has shown; `natlab run --json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct PairReport {
    /// This is the NAT of the host.
    pub left: String,
    /// This is the NAT of the player who joined.
    pub right: String,
    /// Both programs and the lobby server ended well.
    pub ok: bool,
    /// It says why not.
    pub reason: Option<String>,
    /// It is the path that was played on, as the joining player told it.
    pub path: Option<String>,
    /// How it was found.
    pub method: Option<String>,
    /// The path came this long after the request, in milliseconds.
    pub since_request_ms: Option<f64>,
    /// The first message of the game, on whatever path, came this long after the request, in milliseconds; the joining
    /// player tells it.
    pub first_message_ms: Option<f64>,
    /// The round trip on the path takes this long, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// They are the datagrams sent to make the path, as the players count them.
    pub packets: Packets,
    /// They are the UDP mappings that the NATs made (public endpoints seen outside, for the kernel's).
    pub mappings: Mappings,
    /// They are the exit codes; 128 and more: killed by a signal. None: not started, or ended by natlab.
    pub exit: Exits,
    /// Everything that the programs wrote is in this folder.
    pub log_dir: String,
    /// The random choices have this seed.
    pub seed: u64,
    /// The run took this long, in seconds.
    pub seconds: f64,
    /// What was drawn for this run, of a sample.
    pub world: Option<World>,
    /// What the simulator says, where it was asked.
    pub simulated: Option<Simulated>,
    /// What a script did to the game.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<ScriptReport>,
    /// It holds what the router in the middle counted: lobby, left, right.
    pub links: BTreeMap<&'static str, Counts>,
    /// These are the JSON lines of both programs.
    pub events: Events,
}

/// They are the datagrams of both sides.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Packets {
    /// The host sent this many.
    pub left: Option<u64>,
    /// The joining player sent this many.
    pub right: Option<u64>,
}

/// They are the mappings of both sides.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Mappings {
    /// The host's NATs made this many.
    pub left: u64,
    /// The joining player's NATs made this many.
    pub right: u64,
}

/// They are the exit codes of the programs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Exits {
    /// This is the left program.
    pub host: Option<i32>,
    /// This is the right program.
    pub join: Option<i32>,
    /// This is the lobby server.
    pub lobby: Option<i32>,
}

/// They are the JSON lines of the programs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Events {
    /// They are the left program's lines.
    pub host: Vec<Value>,
    /// They are the right program's lines.
    pub join: Vec<Value>,
}

/// The reason of a run that a signal ended.
pub(super) const INTERRUPTED: &str = "interrupted";

impl PairReport {
    /// Returns the report as people read it.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let verdict = self.verdict();
        let _ = writeln!(text, "{} - {}: {verdict}{}", self.left, self.right, self.how());
        if let Some(reason) = &self.reason {
            let _ = writeln!(text, "  reason: {reason}");
        }
        for (side, name, packets, mappings, exit) in [
            ("left", &self.left, self.packets.left, self.mappings.left, self.exit.host),
            ("right", &self.right, self.packets.right, self.mappings.right, self.exit.join),
        ] {
            let exit = exit.map_or_else(|| "-".into(), |code| code.to_string());
            let packets = packets.map_or_else(|| "-".into(), |count| count.to_string());
            let _ = write!(
                text,
                "  {side:5} {name}: exit {exit}, punched with {packets} datagrams, {mappings} mappings"
            );
            if let Some(counts) = self.links.get(side) {
                let _ = write!(text, ", UDP out {} in {}", counts.sent.udp, counts.received.udp);
                for (what, count) in [
                    ("lost", counts.lost),
                    ("expired", counts.expired),
                    ("forged", counts.forged),
                    ("cut", counts.cut),
                ] {
                    if count > 0 {
                        let _ = write!(text, ", {what} {count}");
                    }
                }
                for (reason, count) in &counts.dropped {
                    let _ = write!(text, ", {reason} {count}");
                }
            }
            text.push('\n');
        }
        if let Some(world) = &self.world {
            let _ = writeln!(
                text,
                "  drawn from seed {}: {} and {}, round trip {:.0} ms, jitter {:.0} ms, loss {:.1} %, oracle: {}",
                world.seed,
                world.left,
                world.right,
                world.rtt_ms,
                world.jitter_ms,
                world.loss * 100.0,
                world.outlook.unwrap_or("-")
            );
        }
        if let Some(script) = &self.script {
            text.push_str(&script.text());
        }
        let _ = writeln!(text, "  logs: {}", self.log_dir);
        text
    }

    /// A run that its user ended has not failed, and shows nothing else either.
    fn verdict(&self) -> &'static str {
        match self.reason.as_deref() {
            _ if self.ok => "ok",
            Some(INTERRUPTED) => "ended by you",
            _ => "FAILED",
        }
    }

    fn how(&self) -> String {
        let mut how = String::new();
        if let Some(path) = &self.path {
            let _ = write!(how, ", {path}");
        }
        if let Some(method) = &self.method {
            let _ = write!(how, " by {method}");
        }
        if let Some(ms) = self.since_request_ms {
            let _ = write!(how, " after {ms:.0} ms");
        }
        if let Some(ms) = self.first_message_ms {
            let _ = write!(how, ", first message after {ms:.0} ms");
        }
        if let Some(ms) = self.rtt_ms {
            let _ = write!(how, ", round trip {ms:.1} ms");
        }
        how
    }

    /// Returns it as in a cell of a table.
    fn cell(&self) -> String {
        let real = match (&self.path, self.since_request_ms) {
            _ if !self.ok => self.verdict().into(),
            (Some(path), Some(ms)) => format!("{path} {ms:.0}"),
            (Some(path), None) => path.clone(),
            (None, _) => "ok".into(),
        };
        let real = match self.first_message_ms {
            Some(ms) if self.ok => format!("{real}\nplays {ms:.0}"),
            _ => real,
        };
        let Some(simulated) = &self.simulated else { return real };
        let ms = simulated.median_confirmed_ms.map_or_else(String::new, |ms| format!(" {ms:.0}"));
        format!("{real}\nsim {}/{}{ms}", simulated.direct, simulated.runs)
    }
}

/// Returns a table of several runs: hosts down, joining players across; path and milliseconds from the request.
pub(crate) fn table(reports: &[PairReport]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    let mut rows: Vec<(&str, BTreeMap<&str, String>)> = Vec::new();
    for report in reports {
        if !columns.contains(&report.right.as_str()) {
            columns.push(&report.right);
        }
        match rows.iter_mut().find(|(left, _)| *left == report.left) {
            Some((_, cells)) => drop(cells.insert(&report.right, report.cell())),
            None => rows.push((&report.left, BTreeMap::from([(report.right.as_str(), report.cell())]))),
        }
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["host \\ join"].into_iter().chain(columns.iter().copied()));
    for (left, cells) in &rows {
        let cell = |column: &&str| cells.get(*column).map_or("-", String::as_str);
        table.add_row([*left].into_iter().chain(columns.iter().map(cell)));
    }
    format!("{table}\n")
}
