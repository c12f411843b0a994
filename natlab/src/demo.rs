//! A simulated join, told step by step.

mod names;
mod packets;

use std::fmt::Write;
use std::time::Duration;

use traversal_core::{Event, LobbyState};

use crate::nat::NatSpec;
use crate::scenario::{JoinMoment, JoinReport, PairWorld, PairWorldSettings, Side};
use crate::world::{Fate, Packet};

use packets::{Captured, Packets};

/// The story tells this many lines about packets one by one, if nothing else is asked for.
pub const TOLD_PACKETS: usize = 120;

struct Line {
    at: Duration,
    who: &'static str,
    text: String,
}

/// How much of a join is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// It tells this many packets one by one.
    pub packets: usize,
    /// It tells those before the request too: login and classification.
    pub from_start: bool,
}

impl Default for Told {
    fn default() -> Self {
        Self { packets: TOLD_PACKETS, from_start: false }
    }
}

/// Runs the join and tells it.
pub fn tell(
    settings: PairWorldSettings,
    left: &NatSpec,
    right: &NatSpec,
    told: Told,
) -> (String, JoinReport) {
    let delay = settings.peer_rtt() / 2;
    let mut pair = PairWorld::new(settings);
    let captured = Captured::default();
    let sink = captured.clone();
    pair.world.add_tap(Box::new(move |fate: Fate, packet: &Packet<'_>| sink.note(fate, packet)));
    let mut packets = Packets::of(&pair);
    let report = pair.join_watched(|pair| packets.take(pair, &captured));
    let requested = pair.requested();
    let mut story: Vec<Line> = Vec::new();
    for (who, side) in [("host", &report.left), ("joiner", &report.right)] {
        events(&mut story, who, side);
    }
    let wish = if pair.settings().join == JoinMoment::Together {
        "the second of the two asks for a quick match"
    } else {
        "asks to join the host's room"
    };
    story.push(Line { at: requested, who: "joiner", text: wish.into() });
    let mut lines: Vec<Line> =
        packets.lines().filter(|line| told.from_start || line.at >= requested).collect();
    let untold = lines.len().saturating_sub(told.packets);
    lines.truncate(told.packets);
    story.extend(lines);
    story.sort_by_key(|line| line.at);

    let mut text = format!(
        "The host is behind \"{left}\", the joiner behind \"{right}\"; {:.0} ms one way between the two.\n\
         Times in ms since the request to join; negative ones are what was done beforehand.\n\n",
        delay.as_secs_f64() * 1e3
    );
    for line in &story {
        let at = (line.at.as_secs_f64() - requested.as_secs_f64()) * 1e3;
        let column = match line.who {
            "host" => "",
            "server" => "                  ",
            _ => "                                    ",
        };
        let _ = writeln!(text, "{at:>9.1}  {:<6} {column}{}", line.who, line.text);
    }
    if untold > 0 {
        let _ = writeln!(
            text,
            "           (and {untold} more packets; --packets {} tells them)",
            told.packets + untold
        );
    }
    text.push('\n');
    text.push_str(&verdict(&report));
    (text, report)
}

fn verdict(report: &JoinReport) -> String {
    let rtt = report.rtt.as_secs_f64().max(1e-9);
    let times = |time: Option<Duration>| {
        time.map_or_else(
            || "never".into(),
            |time| {
                format!("{:.1} ms = {:.2} round trips", time.as_secs_f64() * 1e3, time.as_secs_f64() / rtt)
            },
        )
    };
    if !report.direct {
        return format!("No direct path: {}.\n", report.cause.as_deref().unwrap_or("no reason was given"));
    }
    format!(
        "Direct by {}: first packet after {}, both confirmed after {}; {} packets to {} addresses.\n",
        report.method.map_or("none", |method| method.name()),
        times(report.first_packet),
        times(report.confirmed),
        report.left.packets + report.right.packets,
        report.left.targets + report.right.targets,
    )
}

fn events(story: &mut Vec<Line>, who: &'static str, side: &Side) {
    for (at, event) in &side.events {
        let text = match event {
            Event::Lobby(LobbyState::Online { public, .. }) => format!("logged in; seen at {public}"),
            Event::Nat(profile) => format!("knows its NAT: {}", profile.kind()),
            Event::RoomEntered { room, hosting: true, .. } => format!("opened room {}", room.name),
            Event::RoomEntered { room, .. } => format!("is in room {}", room.name),
            Event::Plan { role, methods, .. } => {
                let methods: Vec<_> = methods.iter().map(|method| method.name()).collect();
                format!("has the plan: {role:?}, {}", methods.join(", ")).to_lowercase()
            }
            Event::PeerConnected { path, .. } => format!("CONNECTED, path: {}", path.kind.name()),
            Event::PathChanged { path, .. } => format!("PATH NOW {}", path.kind.name()),
            Event::PeerFailed { report, .. } => format!("FAILED: {report}"),
            Event::RequestFailed { error, .. } => format!("request failed: {error}"),
            _ => continue,
        };
        story.push(Line { at: *at, who, text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(left: &str, right: &str, method: Option<traversal_core::wire::message::Method>) -> String {
        let [left, right] = [left, right].map(|name| name.parse::<NatSpec>().unwrap());
        let mut settings = PairWorldSettings::equal(1, &left.chain, &right.chain, Duration::from_millis(50));
        settings.config.method = method;
        tell(settings, &left, &right, Told { packets: 10_000, from_start: true }).0
    }

    #[test]
    fn the_packets_to_and_from_the_server_are_told_by_their_names() {
        let bubble = story("ps", "portrestricted", None);
        for name in [
            "login: hello",
            "login: cookie",
            "mapping probe",
            "step probe",
            "filter probe",
            "where a probe was seen",
            "request: join a room",
            "plan",
            "range probe, first",
            "range probe, second",
            "bubble",
            "confirmation",
        ] {
            assert!(bubble.contains(name), "{name}:\n{bubble}");
        }
        assert!(!bubble.contains("sealed"), "every packet has a name:\n{bubble}");
        let many = story("as", "ps", Some(traversal_core::wire::message::Method::MultiBubble));
        for name in ["port-assigning packet", "bubble", "reply", "facts: range"] {
            assert!(many.contains(name), "{name}:\n{many}");
        }
    }
}
