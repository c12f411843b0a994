//! The matrix in a terminal.

use std::fmt::Write;

use comfy_table::{Attribute, Cell as Field, Color, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use super::{Cell, Matrix};

/// Failed seeds that stand behind each cause of a pair.
const SEEDS_TOLD: usize = 20;

/// A table of all pairs and a list of failed seeds. A cell tells: direct success; median time to the first direct
/// packet, until both confirmed, and until both had a game datagram by whichever way, in round trips; median packets
/// and sockets of both sides; the method that won most.
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
        "each cell: direct success, its 95 % interval (Wilson) · of what any program could have, where both NATs count their \
         ports · played, where not always · median round trips to the \
         first direct packet / until both confirmed, in brackets the bound where all ways are equal and lose nothing · to \
         the first game datagram by whichever way · median packets and sockets · method"
    );
    for cell in matrix.cells.iter().filter(|cell| !cell.failed_seeds.is_empty()) {
        let (low, high) = cell.direct_interval;
        let _ = writeln!(
            text,
            "{} - {}: {} of {} not direct (95 %: {:.3} to {:.3} % direct); oracle: {}",
            cell.left,
            cell.right,
            cell.runs - cell.direct,
            cell.runs,
            low * 100.0,
            high * 100.0,
            cell.outlook,
        );
        for (cause, count) in &cell.causes {
            let mut seeds = cell.failed_seeds.iter().filter(|failed| failed.cause == *cause);
            let listed: Vec<_> =
                seeds.by_ref().take(SEEDS_TOLD).map(|failed| failed.seed.to_string()).collect();
            let rest = if count > &listed.len() { ", more in the JSON" } else { "" };
            let _ = writeln!(text, "    {count} x {cause} (seeds {}{rest})", listed.join(", "));
        }
    }
    text
}

fn field(cell: &Cell) -> Field {
    let share = cell.direct as f64 / cell.runs.max(1) as f64;
    let whole = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.0}"));
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.2}"));
    let (low, high) = cell.direct_interval;
    let mut text = format!("{} [{}–{}]", percent(share), hundredths(low), hundredths(high));
    if cell.played < cell.runs {
        let _ = write!(text, " ({} played)", percent(cell.played as f64 / cell.runs.max(1) as f64));
    }
    if let Some(bound) = cell.bound_direct_share {
        let _ = write!(text, " of {} possible", percent(bound));
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
    Field::new(text).fg(match share {
        share if share >= 0.999 => Color::Green,
        share if share >= 0.9 => Color::Yellow,
        _ => Color::Red,
    })
}

/// Beside what was measured.
fn bound(cell: &Cell) -> String {
    match (cell.bound_direct_rtt, cell.bound_confirmed_rtt) {
        (Some(first), Some(both)) => format!(" ({first:.1} / {both:.1})"),
        _ => String::new(),
    }
}

/// In percent; like [`percent`] it never rounds up.
fn hundredths(share: f64) -> String {
    match share {
        share if share >= 1.0 => "100".into(),
        share => format!("{:.2}", (share * 1e4).floor() / 1e2),
    }
}

/// Never rounds up to 100.
pub(super) fn percent(share: f64) -> String {
    match share {
        share if share >= 1.0 => "100 %".into(),
        share => format!("{:.2} %", (share * 1e4).floor() / 1e2),
    }
}

impl Cell {
    /// The method that won most often.
    pub fn top_method(&self) -> &str {
        self.methods.iter().max_by_key(|(_, count)| **count).map_or("", |(name, _)| name)
    }
}
