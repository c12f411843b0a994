//! A simulated join, told step by step.

use std::cell::RefCell;
use std::fmt::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use traversal_core::{Event, LobbyState};

use crate::lobby;
use crate::nat::NatSpec;
use crate::scenario::{JoinReport, PairSettings, PairWorld, Side};
use crate::world::{Fate, HostId, NatId, Packet};

/// Packets that the story tells one by one, if nothing else is asked for.
pub const TOLD_PACKETS: usize = 60;

struct Line {
    at: Duration,
    who: &'static str,
    text: String,
}

/// Runs the join and tells it, with so many packets one by one.
pub fn tell(
    settings: PairSettings,
    left: &NatSpec,
    right: &NatSpec,
    told_packets: usize,
) -> (String, JoinReport) {
    let delay = settings.peer_rtt() / 2;
    let mut pair = PairWorld::new(settings);
    let lines = Rc::new(RefCell::new(Vec::new()));
    let names = Names {
        left: pair.left,
        right: pair.right,
        left_nats: pair.left_nats.clone(),
        right_nats: pair.right_nats.clone(),
    };
    let sink = Rc::clone(&lines);
    pair.world.add_tap(Box::new(move |fate: Fate, packet: &Packet<'_>| {
        if let Some((who, text)) = names.tell(fate, packet) {
            sink.borrow_mut().push(Line { at: packet.at, who, text });
        }
    }));
    let report = pair.join();
    let requested = pair.requested();
    let mut story: Vec<Line> = Vec::new();
    for (who, side) in [("host", &report.left), ("joiner", &report.right)] {
        events(&mut story, who, side);
    }
    story.push(Line { at: requested, who: "joiner", text: "asks to join the host's room".into() });
    let mut packets: Vec<Line> = lines.borrow_mut().drain(..).filter(|line| line.at >= requested).collect();
    let untold = packets.len().saturating_sub(told_packets);
    packets.truncate(told_packets);
    story.extend(packets);
    story.sort_by_key(|line| line.at);

    let mut text = format!(
        "The host is behind \"{left}\", the joiner behind \"{right}\"; {:.0} ms one way between any two.\n\
         Times in ms since the request to join; negative ones are what was done beforehand.\n\n",
        delay.as_secs_f64() * 1e3
    );
    for line in &story {
        let at = (line.at.as_secs_f64() - requested.as_secs_f64()) * 1e3;
        let column = if line.who == "host" { "" } else { "                                  " };
        let _ = writeln!(text, "{at:>9.1}  {:<6} {column}{}", line.who, line.text);
    }
    if untold > 0 {
        let _ = writeln!(text, "           (and {untold} more packets)");
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

struct Names {
    left: HostId,
    right: HostId,
    left_nats: Vec<NatId>,
    right_nats: Vec<NatId>,
}

impl Names {
    fn side(&self, host: HostId) -> Option<&'static str> {
        match host {
            host if host == self.left => Some("host"),
            host if host == self.right => Some("joiner"),
            _ => None,
        }
    }

    fn nat(&self, nat: NatId) -> &'static str {
        if self.left_nats.contains(&nat) && self.right_nats.contains(&nat) {
            "the common NAT"
        } else if self.left_nats.contains(&nat) {
            "the host's NAT"
        } else {
            "the joiner's NAT"
        }
    }

    /// A line about a packet between the players, or a probe of ports.
    fn tell(&self, fate: Fate, packet: &Packet<'_>) -> Option<(&'static str, String)> {
        let server = |address: SocketAddr| lobby::ADDRESSES.contains(&address.ip());
        let (src, dst) = (packet.header.src, packet.header.dst);
        if server(src) || server(dst) {
            return None;
        }
        match fate {
            Fate::Sent(host) => {
                let ttl = if packet.header.ttl < 64 {
                    format!(" (TTL {})", packet.header.ttl)
                } else {
                    String::new()
                };
                Some((self.side(host)?, format!("--> {dst} from {src}{ttl}")))
            }
            Fate::Delivered(host) => Some((self.side(host)?, format!("<-- {src} arrives"))),
            Fate::Dropped(nat, reason) => {
                let who = if self.left_nats.contains(&nat) { "host" } else { "joiner" };
                Some((who, format!("x   {src} -> {dst} dropped by {}: {}", self.nat(nat), reason.name())))
            }
            Fate::Lost => Some(("", format!("x   {src} -> {dst} lost on the way"))),
            Fate::Expired => Some(("", format!("x   {src} -> {dst} died of its TTL, as meant"))),
            _ => None,
        }
    }
}

fn events(story: &mut Vec<Line>, who: &'static str, side: &Side) {
    for (at, event) in &side.events {
        let text = match event {
            Event::Lobby(LobbyState::Online { public, .. }) => format!("logged in; seen at {public}"),
            Event::Nat(profile) => format!("knows its NAT: {}", profile.kind()),
            Event::RoomEntered { room, hosting: true } => format!("opened room {}", room.name),
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
