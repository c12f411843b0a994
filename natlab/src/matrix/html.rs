//! The matrix as a page that needs nothing else.

use std::fmt::Write;

use super::table::percent;
use super::{Cell, Matrix};

const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884}
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}
h1{font-size:1.4rem;margin:0 0 .3rem}p{margin:.3rem 0 1rem}
.tabs label{display:inline-block;padding:.35rem .8rem;border:1px solid var(--line);border-radius:.4rem;cursor:pointer;margin:0 .2rem .6rem 0}
input[name=view]{position:absolute;opacity:0}
input[name=view]:focus-visible+label{outline:2px solid #38f}
input[name=view]:checked+label{background:#38f;color:#fff}
.view{display:none}
#v0:checked~.v0,#v1:checked~.v1,#v2:checked~.v2,#v3:checked~.v3,#v4:checked~.v4{display:block}
table{border-collapse:separate;border-spacing:3px}
th{font-weight:600;padding:.3rem .6rem;text-align:left}
tr:first-child th{text-align:center}
td{position:relative;min-width:6.2rem;height:2.6rem;text-align:center;border-radius:.3rem;color:#111;cursor:default}
td .more{display:none;position:absolute;z-index:2;top:100%;left:50%;transform:translateX(-50%);background:Canvas;color:CanvasText;border:1px solid var(--line);border-radius:.4rem;padding:.6rem .8rem;text-align:left;white-space:pre;font-size:.85rem;box-shadow:0 4px 16px #0005}
td:hover .more,td:focus .more{display:block}
.failed{font-size:.9rem}";

/// What a cell shows, and how good that is from 0 to 1.
type Shown = fn(&Cell) -> (String, f64);

/// Returns a heat map of success, median round trips, packets and methods, with everything else on hover.
pub fn page(matrix: &Matrix) -> String {
    let settings = &matrix.settings;
    let drawn = |value: Option<f64>, unit: &str| {
        value.map_or_else(|| "drawn".to_owned(), |value| format!("{value}{unit}"))
    };
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>NAT matrix</title><style>{STYLE}</style>\
         <h1>Which NATs meet directly, and how fast</h1>\
         <p>{} simulated joins of each pair; row: the host, column: the player who joins. One-way delay: {}, \
         loss: {}, foreign ports per second: {}, relay: {}, method: {}, deadline: {} s. First seed: {}.</p>\
         <div class=\"tabs\">",
        settings.seeds,
        drawn(settings.delay_ms, " ms"),
        drawn(settings.loss, ""),
        drawn(settings.cross, ""),
        settings.relay,
        settings.method.unwrap_or("chosen by the plan"),
        settings.deadline_s,
        settings.first_seed,
    );
    let views: [(&str, Shown); 5] = [
        ("Success", |cell| {
            let share = cell.direct as f64 / cell.runs.max(1) as f64;
            (percent(share), share)
        }),
        ("Round trips", |cell| {
            let goodness =
                cell.median_direct_rtt.map_or(0.0, |rtt| (1.0 - (rtt - 1.5) / 6.0).clamp(0.0, 1.0));
            (cell.median_direct_rtt.map_or_else(|| "–".into(), |rtt| format!("{rtt:.2}")), goodness)
        }),
        ("First game datagram", |cell| {
            let goodness = cell.median_game_rtt.map_or(0.0, |rtt| (1.0 - (rtt - 2.0) / 6.0).clamp(0.0, 1.0));
            (cell.median_game_rtt.map_or_else(|| "–".into(), |rtt| format!("{rtt:.2}")), goodness)
        }),
        ("Packets", |cell| {
            let goodness = cell
                .median_packets
                .map_or(0.0, |packets| (1.0 - (packets.max(1.0).log10() - 0.5) / 2.5).clamp(0.0, 1.0));
            (cell.median_packets.map_or_else(|| "–".into(), |packets| format!("{packets:.0}")), goodness)
        }),
        ("Method", |cell| {
            let top = cell.methods.values().max().copied().unwrap_or(0);
            (cell.top_method().to_owned(), top as f64 / cell.runs.max(1) as f64)
        }),
    ];
    for (index, (name, _)) in views.iter().enumerate() {
        let checked = if index == 0 { " checked" } else { "" };
        let _ = write!(
            page,
            "<input type=\"radio\" name=\"view\" id=\"v{index}\"{checked}><label for=\"v{index}\">{name}</label>"
        );
    }
    for (index, (_, show)) in views.iter().enumerate() {
        let _ = write!(page, "<div class=\"view v{index}\">");
        grid(&mut page, matrix, *show);
        page.push_str("</div>");
    }
    page.push_str("</div>");
    failures(&mut page, matrix);
    page.push_str("</html>\n");
    page
}

fn grid(page: &mut String, matrix: &Matrix, show: Shown) {
    let mut columns: Vec<&str> = Vec::new();
    for cell in &matrix.cells {
        if !columns.contains(&cell.right.as_str()) {
            columns.push(&cell.right);
        }
    }
    page.push_str("<table><tr><th></th>");
    for column in &columns {
        let _ = write!(page, "<th>{}</th>", escape(column));
    }
    let mut row = None;
    for cell in &matrix.cells {
        if row != Some(&cell.left) {
            let _ = write!(page, "</tr><tr><th>{}</th>", escape(&cell.left));
            row = Some(&cell.left);
        }
        let (text, goodness) = show(cell);
        // Red to green over hue, lightness high enough for dark text.
        let hue = goodness * 125.0;
        let _ = write!(
            page,
            "<td tabindex=\"0\" style=\"background:hsl({hue:.0} 62% 68%)\">{}<span class=\"more\">{}</span></td>",
            escape(&text),
            escape(&detail(cell)),
        );
    }
    page.push_str("</tr></table>");
}

fn detail(cell: &Cell) -> String {
    let (low, high) = cell.direct_interval;
    let number = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.2}"));
    let mut text = format!(
        "{} hosts, {} joins\ndirect {} of {} (95 %: {:.3} – {:.3} %)\nplayed {}\nfirst packet {} ms, {} RTT\n\
         both confirmed {} ms, {} RTT\n\
         bound where all ways are equal and lose nothing: {} and {} RTT\nfirst game datagram {} ms, {} RTT\n\
         packets {}, {} at the most; sockets {}, {} at the most\noracle: {}",
        cell.left,
        cell.right,
        cell.direct,
        cell.runs,
        low * 100.0,
        high * 100.0,
        cell.played,
        number(cell.median_direct_ms),
        number(cell.median_direct_rtt),
        number(cell.median_confirmed_ms),
        number(cell.median_confirmed_rtt),
        number(cell.bound_direct_rtt),
        number(cell.bound_confirmed_rtt),
        number(cell.median_game_ms),
        number(cell.median_game_rtt),
        number(cell.median_packets),
        cell.most_packets,
        number(cell.median_sockets),
        cell.most_sockets,
        cell.outlook,
    );
    for (outlook, class) in &cell.outlooks {
        let bound = class.bound.map_or_else(String::new, |bound| format!(", bound {:.1} %", bound * 100.0));
        let _ = write!(text, "\n{outlook}: {} of {} direct{bound}", class.direct, class.runs);
    }
    for (what, counts) in [("won by", &cell.methods), ("not direct", &cell.causes)] {
        for (name, count) in counts {
            let _ = write!(text, "\n{what} {name}: {count}");
        }
    }
    text
}

fn failures(page: &mut String, matrix: &Matrix) {
    let failed: Vec<_> = matrix.cells.iter().filter(|cell| !cell.failed_seeds.is_empty()).collect();
    if failed.is_empty() {
        return;
    }
    page.push_str("<h2>Seeds without a direct path</h2><ul class=\"failed\">");
    for cell in failed {
        let seeds: Vec<_> =
            cell.failed_seeds.iter().map(|failed| format!("{} ({})", failed.seed, failed.cause)).collect();
        let _ = write!(
            page,
            "<li><b>{} – {}</b>: {} of {}. {}</li>",
            escape(&cell.left),
            escape(&cell.right),
            cell.runs - cell.direct,
            cell.runs,
            escape(&seeds.join(", ")),
        );
    }
    page.push_str("</ul>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
