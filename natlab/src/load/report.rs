//! What a load found, for people and for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::process::Descriptors;
use super::tally::{Act, Quantiles, Tally};

/// This is what a load was, and what came of it. Rates are events per second of the measured time.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// So many players were there before the measurement, in so many threads of the generator.
    pub players: usize,
    /// They played in so many threads of the generator.
    pub threads: usize,
    /// So many more logged in at once at its beginning.
    pub crowd: usize,
    /// It lasted so many seconds.
    pub seconds: f64,
    /// This became of the wish for more descriptors.
    pub descriptors: Descriptors,
    /// So many players were logged in when it began, and when it ended.
    pub online: [i64; 2],
    /// What players did, in this order.
    pub acts: Vec<ActReport>,
    /// So many sessions were lost.
    pub sessions_lost: u64,
    /// What went wrong, and how often.
    pub errors: BTreeMap<String, u64>,
    /// So often nobody had time for what was to be done.
    pub skipped: u64,
    /// The server's needs; none where it is not known which process it is.
    pub server: Option<ServerReport>,
    /// How the generator itself did.
    pub generator: GeneratorReport,
}

/// This is one kind of thing that players did.
#[derive(Clone, Debug, Serialize)]
pub struct ActReport {
    /// What it is.
    pub name: &'static str,
    /// It was begun so often.
    pub begun: u64,
    /// It came about so often a second; none before the measurement.
    pub per_second: Option<f64>,
    /// It took so long.
    #[serde(flatten)]
    pub times: Quantiles,
}

/// This is what the server needed.
#[derive(Clone, Debug, Serialize)]
pub struct ServerReport {
    /// It is this process.
    pub pid: u32,
    /// It used so many processors on average.
    pub processors: f64,
    /// It had so many megabytes of memory before the first login; none where others had started it.
    pub memory_before_mb: Option<f64>,
    /// It had so many megabytes of memory at the end.
    pub memory_mb: f64,
    /// It took so many datagrams a second.
    pub datagrams_per_second: f64,
    /// Its receive buffer had no room for so many.
    pub dropped: Option<u64>,
    /// A datagram took so many microseconds of processor, whatever was done for it.
    pub us_per_datagram: f64,
    /// The same for a bare echo that gets as many of the same length, with the same batches; none where it was not asked for.
    pub echo_us_per_datagram: Option<f64>,
    /// The server's in relation to the echo's.
    pub ratio: Option<f64>,
}

/// This is how the generator did: where it is late, its latencies are its own.
#[derive(Clone, Debug, Serialize)]
pub struct GeneratorReport {
    /// It used so many processors on average.
    pub processors: f64,
    /// It was so late with what was due.
    pub late: Quantiles,
    /// This machine's system did not take so many datagrams.
    pub refused: u64,
}

impl Report {
    /// Takes over what the threads have counted.
    pub(super) fn acts(tally: &mut Tally, seconds: f64) -> Vec<ActReport> {
        let acts: BTreeSet<Act> = tally.begun.keys().chain(tally.times.keys()).copied().collect();
        let report = |act: Act| {
            let begun = tally.begun.get(&act).copied();
            let times = tally.times.remove(&act).unwrap_or_default().told();
            let measured = act != Act::FirstLogin;
            ActReport {
                name: act.name(),
                // A path follows from a join.
                begun: begun.unwrap_or(times.count),
                per_second: measured.then(|| times.count as f64 / seconds),
                times,
            }
        };
        acts.into_iter().map(report).collect()
    }

    /// Returns it as a table and some lines.
    pub fn text(&self) -> String {
        use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["", "begun", "came about", "a second", "p50 ms", "p99 ms", "longest ms"]);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for ActReport { name, begun, per_second, times } in &self.acts {
            // Nobody answers to who leaves.
            let answered = *name != Act::Leave.name();
            let number = |value: Option<f64>| {
                value.filter(|_| answered).map_or("-".into(), |value| format!("{value:.1}"))
            };
            table.add_row([
                (*name).to_owned(),
                begun.to_string(),
                if answered { times.count.to_string() } else { "-".into() },
                number(*per_second),
                number(times.p50_ms),
                number(times.p99_ms),
                number(times.most_ms),
            ]);
        }
        let mut text = String::new();
        let Descriptors { before, now, wanted } = self.descriptors;
        let _ = match (before < now, now < wanted) {
            (true, _) => writeln!(text, "open files: {before} were allowed, raised to {now}"),
            (false, true) => writeln!(text, "open files: {now} are allowed, {wanted} were wanted"),
            (false, false) => Ok(()),
        };
        let [first, last] = self.online;
        let _ = writeln!(
            text,
            "{} players{}, {} of them logged in at the beginning, {last} at the end of {:.1} s\n{table}",
            self.players,
            if self.crowd > 0 { format!(" and a crowd of {}", self.crowd) } else { String::new() },
            first,
            self.seconds,
        );
        let _ = writeln!(text, "sessions lost: {}", self.sessions_lost);
        if self.skipped > 0 {
            let _ = writeln!(text, "left out, since nobody was free for it: {}", self.skipped);
        }
        for (error, count) in &self.errors {
            let _ = writeln!(text, "error, {count} times: {error}");
        }
        if let Some(server) = &self.server {
            server.tell(&mut text);
        }
        let late = self.generator.late;
        let _ = writeln!(
            text,
            "this generator: {:.0} % of a processor in {} threads, late by {:.1} ms at p99 and {:.1} ms at the most, {} \
             datagrams refused by the system",
            self.generator.processors * 100.0,
            self.threads,
            late.p99_ms.unwrap_or_default(),
            late.most_ms.unwrap_or_default(),
            self.generator.refused,
        );
        text
    }
}

impl ServerReport {
    fn tell(&self, text: &mut String) {
        let memory = self.memory_before_mb.map_or(String::new(), |before| format!("{before:.1} MB before, "));
        let dropped = self.dropped.map_or("an unknown number".into(), |dropped| dropped.to_string());
        let _ = writeln!(
            text,
            "the server (process {}): {:.0} % of a processor; {memory}{:.1} MB at the end; {:.0} datagrams taken a \
             second, {:.2} us each; {dropped} lost in its receive buffer",
            self.pid,
            self.processors * 100.0,
            self.memory_mb,
            self.datagrams_per_second,
            self.us_per_datagram,
        );
        if let (Some(echo), Some(ratio)) = (self.echo_us_per_datagram, self.ratio) {
            let _ = writeln!(
                text,
                "a bare echo of as many: {echo:.2} us each; the server needs {ratio:.2} times that"
            );
        }
    }
}
