//! The matrix in a terminal.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{Attribute, Cell as Field, Color, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use super::{Cell, Class, Matrix};
use crate::stats::wilson;

/// It names at most this many failed seeds behind each cause of a pair.
const SEEDS_TOLD: usize = 20;

/// Returns a table of all pairs and a list of failed seeds. A cell tells: direct success; median time to the first
/// direct packet, until both confirmed, and until both had a game datagram by whichever way, in round trips; median
/// packets and sockets of both sides; the method that won most.
pub fn table(matrix: &Matrix) -> String {
    let mut text = String::new();
    let mut rows: Vec<&str> = Vec::new();
    let mut columns: Vec<&str> = Vec::new();
    for cell in &matrix.cells {
        if !rows.contains(&cell.left.as_str()) {
            rows.push(&cell.left);
        }
        if !columns.contains(&cell.right.as_str()) {
            columns.push(&cell.right);
        }
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    let heading = |text: &str| Field::new(text).add_attribute(Attribute::Bold);
    table.set_header(
        std::iter::once(heading("host \\ joins")).chain(columns.iter().map(|name| heading(name))),
    );
    for row in &rows {
        let mut fields = vec![heading(row)];
        fields.extend(columns.iter().map(|column| {
            let cell = matrix.cells.iter().find(|cell| cell.left == **row && cell.right == **column);
            cell.map_or_else(|| Field::new(""), field)
        }));
        table.add_row(fields);
    }
    let _ = writeln!(text, "{table}");
    let _ = writeln!(
        text,
        "each cell: direct success, its 95 % interval (Wilson) · where the runs' worlds differ in what is possible: success \
         by what the oracle says of each · played, where not always · median round trips to the first direct packet / until \
         both confirmed, in brackets the bound where all ways are equal and lose nothing · to the first game datagram by \
         whichever way · median packets and sockets · method"
    );
    totals(&mut text, matrix);
    if matrix.settings.freight {
        let sum = |count: fn(&Cell) -> usize| matrix.cells.iter().map(count).sum::<usize>();
        let (carried, played) = (sum(|cell| cell.carried), sum(|cell| cell.played));
        let _ = writeln!(text, "freight: carried in {carried} of {played} runs that played");
        for cell in matrix.cells.iter().filter(|cell| !cell.not_carried.is_empty()) {
            let seeds = &cell.not_carried[..cell.not_carried.len().min(SEEDS_TOLD)];
            let _ = writeln!(text, "{} - {}: not carried in seeds {seeds:?}", cell.left, cell.right);
        }
    }
    for cell in matrix.cells.iter().filter(|cell| !cell.failed_seeds.is_empty()) {
        for (outlook, class) in cell.outlooks.iter().filter(|(_, class)| class.direct < class.runs) {
            failures(&mut text, cell, outlook, class);
        }
    }
    text
}

/// Writes all pairs together, by what the oracle says.
fn totals(text: &mut String, matrix: &Matrix) {
    let mut totals: BTreeMap<&str, (usize, usize, f64)> = BTreeMap::new();
    for (outlook, class) in matrix.cells.iter().flat_map(|cell| &cell.outlooks) {
        let (direct, runs, bound) = totals.entry(outlook).or_default();
        *direct += class.direct;
        *runs += class.runs;
        *bound += class.bound.unwrap_or(1.0) * class.runs as f64;
    }
    for (outlook, (direct, runs, bound)) in totals {
        let (low, high) = wilson(direct, runs);
        let possible = if matches!(outlook, "direct" | "search") {
            format!("; bound {:.2} %", bound / runs.max(1) as f64 * 100.0)
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "all pairs, {outlook}: {direct} of {runs} direct ({:.3} to {:.3} %{possible})",
            low * 100.0,
            high * 100.0
        );
    }
}

/// Why the runs of a pair failed of which the oracle says the same.
fn failures(text: &mut String, cell: &Cell, outlook: &str, class: &Class) {
    let (low, high) = class.direct_interval;
    let bound = class.bound.map_or_else(String::new, |bound| format!("; bound {:.1} %", bound * 100.0));
    let _ = writeln!(
        text,
        "{} - {}: {} of {} not direct (95 %: {:.3} to {:.3} % direct{bound}); oracle: {outlook}",
        cell.left,
        cell.right,
        class.runs - class.direct,
        class.runs,
        low * 100.0,
        high * 100.0,
    );
    for (cause, count) in &class.causes {
        let failed =
            cell.failed_seeds.iter().filter(|failed| failed.cause == *cause && failed.outlook == outlook);
        let listed: Vec<_> = failed.take(SEEDS_TOLD).map(|failed| failed.seed.to_string()).collect();
        let rest = if count > &listed.len() { ", more in the JSON" } else { "" };
        let _ = writeln!(text, "    {count} x {cause} (seeds {}{rest})", listed.join(", "));
    }
}

/// Returns the runs in which chance decides, cell by cell of traffic and round trip: direct, runs, share, and the
/// bound.
pub fn buckets(matrix: &Matrix) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["pair", "oracle", "foreign/s", "round trip, ms", "direct", "share", "95 %", "bound"]);
    for cell in &matrix.cells {
        for bucket in &cell.buckets {
            let (class, (low, high)) = (&bucket.class, bucket.class.direct_interval);
            table.add_row([
                format!("{} - {}", cell.left, cell.right),
                bucket.outlook.to_owned(),
                format!("{:.0} to {:.0}", bucket.traffic.0, bucket.traffic.1),
                format!("{:.0} to {:.0}", bucket.rtt_ms.0, bucket.rtt_ms.1),
                format!("{} of {}", class.direct, class.runs),
                percent(class.direct as f64 / class.runs.max(1) as f64),
                format!("{}–{}", hundredths(low), hundredths(high)),
                class.bound.map_or_else(|| "-".into(), |bound| format!("{:.1} %", bound * 100.0)),
            ]);
        }
    }
    format!("{table}\n")
}

fn field(cell: &Cell) -> Field {
    let share = cell.direct as f64 / cell.runs.max(1) as f64;
    let whole = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.0}"));
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.2}"));
    let (low, high) = cell.direct_interval;
    let mut text = format!("{} [{}–{}]", percent(share), hundredths(low), hundredths(high));
    if cell.outlooks.len() > 1 {
        for (outlook, class) in &cell.outlooks {
            let share = class.direct as f64 / class.runs.max(1) as f64;
            let _ = write!(text, "\n{outlook} {} of {}", percent(share), class.runs);
        }
    }
    if cell.played < cell.runs {
        let _ = write!(text, " ({} played)", percent(cell.played as f64 / cell.runs.max(1) as f64));
    }
    let _ = write!(
        text,
        "\n{} / {}{}\ngame {}\n{} pk {} so {}",
        number(cell.median_direct_rtt),
        number(cell.median_confirmed_rtt),
        bound(cell),
        number(cell.median_game_rtt),
        whole(cell.median_packets),
        whole(cell.median_sockets),
        cell.top_method(),
    );
    // By what can be had without a search, where there is such.
    let easy = cell.outlooks.get("direct").map(|class| class.direct as f64 / class.runs.max(1) as f64);
    Field::new(text).fg(match easy.unwrap_or(share) {
        share if share >= 0.999 => Color::Green,
        share if share >= 0.9 => Color::Yellow,
        _ => Color::Red,
    })
}

/// What is enough for a cell, to stand beside what was measured.
fn bound(cell: &Cell) -> String {
    match (cell.bound_direct_rtt, cell.bound_confirmed_rtt) {
        (Some(first), Some(both)) => format!(" ({first:.1} / {both:.1})"),
        _ => String::new(),
    }
}

/// Writes a share in percent; like [`percent`] it never rounds up.
fn hundredths(share: f64) -> String {
    match share {
        share if share >= 1.0 => "100".into(),
        share => format!("{:.2}", (share * 1e4).floor() / 1e2),
    }
}

/// Writes a share in whole percent, and never rounds up to 100.
pub(super) fn percent(share: f64) -> String {
    match share {
        share if share >= 1.0 => "100 %".into(),
        share => format!("{:.2} %", (share * 1e4).floor() / 1e2),
    }
}

impl Cell {
    /// Returns the method that won most often.
    pub fn top_method(&self) -> &str {
        self.methods.iter().max_by_key(|(_, count)| **count).map_or("", |(name, _)| name)
    }
}
