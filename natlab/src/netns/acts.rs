//! Has a script happen to a run, and tells what it did to the game.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::error::NetnsError;
use super::pair::{Run, Who};
use super::router::Order;
use super::script::{Actor, Script, Step, What};

/// The last message before something happened may have come so long before it.
const BEFORE: Duration = Duration::from_secs(1);

impl Actor {
    fn who(self) -> Who {
        match self {
            Self::Lobby => Who::Lobby,
            Self::Host => Who::Host,
            Self::Join => Who::Join,
        }
    }
}

/// What a script did to the game, as the players told it (`peer --json`).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScriptReport {
    /// It lists each thing that happened.
    pub steps: Vec<StepReport>,
    /// Messages went both ways again after each of them.
    pub all_back: bool,
    /// It says what became of the reliable channel's messages from the host to the other player.
    pub to_join: Reliable,
    /// This is the other way.
    pub to_host: Reliable,
}

/// It is one thing that happened, and how long nothing came from the other player because of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// It stands in this line of the script.
    pub line: usize,
    /// It happened this many seconds after the first messages of the game.
    pub at_s: f64,
    /// It happened to this one: `lobby`, `host` or `join`.
    pub who: &'static str,
    /// What happened to it, as the script says it.
    pub what: String,
    /// The host heard nothing for this long, from the last message before to the first one after it, in milliseconds.
    /// None: less than half a second.
    pub host_gap_ms: Option<f64>,
    /// This is the same of the player who joined.
    pub join_gap_ms: Option<f64>,
    /// Messages came again, on both sides.
    pub back: bool,
}

/// This says what became of one way of the reliable channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reliable {
    /// The game made this many connections: more than one where one could not be kept.
    pub connections: u64,
    /// This many messages were sent.
    pub sent: u64,
    /// This many messages came.
    pub received: u64,
    /// This many messages came twice or out of their order, or after one that is missing.
    pub disordered: u64,
}

impl Reliable {
    /// Returns how many messages did not come.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    /// Counts from the summaries of who sent and of who received.
    fn of(sender: &[Value], receiver: &[Value]) -> Self {
        let sum = |events: &[Value], key: &str| -> u64 {
            let summaries = events.iter().filter(|event| event["event"] == "summary");
            summaries.filter_map(|summary| summary[key].as_u64()).sum()
        };
        Self {
            connections: sum(receiver, "connections"),
            sent: sum(sender, "all_reliable_sent"),
            received: sum(receiver, "all_reliable_received"),
            disordered: sum(receiver, "reliable_disordered"),
        }
    }
}

/// It is a time in which a player heard nothing of the other one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Silence {
    who: Actor,
    began: Duration,
    lasted: Option<Duration>,
}

/// This is the script of a run under way.
#[derive(Debug)]
pub(crate) struct Acts {
    script: Script,
    /// What is still to be done, the next thing last: the index of the step, and whether it begins.
    todo: Vec<(Duration, usize, bool)>,
    /// When both had the first message of the game.
    zero: Option<Instant>,
    playing: [bool; 2],
    silences: Vec<Silence>,
    /// The script has killed the lobby server, and nobody needs to know how it ended.
    killed: bool,
}

impl Acts {
    pub(crate) fn new(script: Script) -> Self {
        let mut todo = Vec::new();
        for (index, step) in script.steps.iter().enumerate() {
            todo.push((step.at, index, true));
            if !step.what.lasts().is_zero() {
                todo.push((step.at + step.what.lasts(), index, false));
            }
        }
        todo.sort_by_key(|(at, index, begins)| std::cmp::Reverse((*at, *begins, *index)));
        Self { script, todo, zero: None, playing: [false; 2], silences: Vec::new(), killed: false }
    }

    /// When the next thing is to be done.
    pub(crate) fn due(&self) -> Option<Instant> {
        Some(self.zero? + self.todo.last()?.0)
    }

    /// The game has come to the script's end.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.zero.is_some_and(|zero| now >= zero + self.script.end)
    }

    /// The script has killed the lobby server.
    pub(crate) fn has_killed(&self) -> bool {
        self.killed
    }

    fn take(&mut self, now: Instant) -> Option<(Step, bool)> {
        let (_, index, begins) =
            self.todo.pop_if(|(at, ..)| self.zero.is_some_and(|zero| zero + *at <= now))?;
        Some((self.script.steps[index], begins))
    }

    /// A player has told something.
    pub(crate) fn heard(&mut self, who: Who, event: &str, value: &Value, now: Instant) {
        let actor = match who {
            Who::Lobby | Who::Neighbour => return,
            Who::Host => Actor::Host,
            Who::Join => Actor::Join,
        };
        if event == "game_message" {
            self.playing[usize::from(who == Who::Join)] = true;
            if self.playing == [true; 2] {
                self.zero.get_or_insert(now);
            }
        }
        let Some(zero) = self.zero else { return };
        let lasted = value["ms"].as_f64().filter(|ms| ms.is_finite() && *ms >= 0.0);
        let lasted = Duration::from_secs_f64(lasted.unwrap_or(0.0).min(1e9) / 1000.0);
        let began = now.saturating_duration_since(zero).saturating_sub(lasted);
        match event {
            "silence_began" => self.silences.push(Silence { who: actor, began, lasted: None }),
            "silence_over" => {
                let open = self.silences.iter_mut().rev().find(|silence| silence.who == actor);
                if let Some(silence) = open.filter(|silence| silence.lasted.is_none()) {
                    silence.lasted = Some(lasted);
                }
            }
            _ => {}
        }
    }

    /// What it came to. Silences after the end of the script are of the game's end.
    pub(crate) fn report(&self, host: &[Value], join: &[Value]) -> ScriptReport {
        let began_all = self.zero.is_some();
        let steps: Vec<StepReport> = self
            .script
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| {
                let until = self
                    .script
                    .steps
                    .get(index + 1)
                    .map_or(self.script.end, |next| next.at.saturating_sub(BEFORE));
                let of_step = |silence: &&Silence| {
                    silence.began + BEFORE >= step.at
                        && silence.began < until.max(step.at)
                        && silence.began < self.script.end
                };
                let done_by = |who: Actor| {
                    self.silences.iter().filter(of_step).filter(move |silence| silence.who == who)
                };
                let gap = |who: Actor| {
                    let longest = done_by(who).filter_map(|silence| silence.lasted).max()?;
                    Some((longest.as_secs_f64() * 10_000.0).round() / 10.0)
                };
                // A silence that never ends is one of all that comes after it, too.
                let open = |silence: &Silence| silence.lasted.is_none() && silence.began < until.max(step.at);
                let reached = !self.todo.iter().any(|(_, other, begins)| *other == index && *begins);
                let back = reached && !self.silences.iter().any(open);
                StepReport {
                    line: step.line,
                    at_s: step.at.as_secs_f64(),
                    who: step.who.name(),
                    what: step.what.to_string(),
                    host_gap_ms: gap(Actor::Host),
                    join_gap_ms: gap(Actor::Join),
                    back: back && began_all,
                }
            })
            .collect();
        ScriptReport {
            all_back: steps.iter().all(|step| step.back) && self.todo.is_empty(),
            steps,
            to_join: Reliable::of(host, join),
            to_host: Reliable::of(join, host),
        }
    }
}

impl ScriptReport {
    /// What is not as it should be; none: nothing reliable was lost or doubled, and everybody came back.
    pub(crate) fn trouble(&self) -> Option<String> {
        if let Some(step) = self.steps.iter().find(|step| !step.back) {
            let StepReport { line, at_s, who, what, .. } = step;
            return Some(format!("after line {line} ({at_s} {who} {what}) no messages came any more"));
        }
        if !self.all_back {
            return Some("the programs ended before the script did".into());
        }
        for (name, way) in [("the host", self.to_host), ("the other player", self.to_join)] {
            if way.lost() > 0 || way.disordered > 0 {
                let Reliable { connections, disordered, .. } = way;
                return Some(format!(
                    "of the reliable messages to {name}, {} did not come, and {disordered} came twice or out of order, over \
                     {connections} connections of the game",
                    way.lost()
                ));
            }
        }
        None
    }

    /// Returns the table as people read it.
    pub(crate) fn text(&self) -> String {
        use std::fmt::Write;
        let mut text = String::from("   line  at s       who   what                   gap: host      join\n");
        for StepReport { line, at_s, who, what, host_gap_ms, join_gap_ms, back } in &self.steps {
            let gap =
                |ms: &Option<f64>| ms.map_or_else(|| "< 0.5 s".into(), |ms| format!("{:.1} s", ms / 1000.0));
            let back = if *back { "" } else { "   NOT BACK" };
            let (host, join) = (gap(host_gap_ms), gap(join_gap_ms));
            let _ = writeln!(text, "  {line:5}  {at_s:<9.1}  {who:5} {what:20} {host:>11} {join:>9}{back}");
        }
        for (name, way) in [("host to join", self.to_join), ("join to host", self.to_host)] {
            let Reliable { connections, sent, received, disordered } = way;
            let _ = writeln!(
                text,
                "  reliable messages, {name}: {sent} sent, {received} received, {} lost, {disordered} twice or out of order, \
                 {connections} connections",
                way.lost()
            );
        }
        text
    }
}

impl Run<'_> {
    /// Does what is due.
    pub(crate) fn act(&mut self) -> Result<(), NetnsError> {
        let now = Instant::now();
        while let Some((Step { who, what, line, .. }, begins)) =
            self.acts.as_mut().and_then(|acts| acts.take(now))
        {
            if self.settings.verbose {
                let over = if begins { "" } else { " is over" };
                eprintln!("line {line}: {} {what}{over}", who.name());
            }
            let site = who as usize;
            match what {
                What::Sleep(_) => {
                    self.pause(who.who(), begins);
                    self.lab.order(site, Order::Dead(begins));
                }
                What::Cut(_) => self.lab.order(site, Order::Dead(begins)),
                What::Address => self.lab.change_address(site - 1, false)?,
                What::Network => {
                    self.lab.order(site, Order::Reboot);
                    self.lab.change_address(site - 1, true)?;
                }
                What::Reboot => self.lab.order(site, Order::Reboot),
                What::Mtu(mtu) => self.lab.order(site, Order::Mtu(mtu)),
                What::Kill => self.kill_lobby(),
                What::Start => self.start_lobby_again(false)?,
                What::Restart | What::Move => {
                    self.kill_lobby();
                    self.start_lobby_again(what == What::Move)?;
                }
            }
        }
        Ok(())
    }

    fn kill_lobby(&mut self) {
        self.drop_program(Who::Lobby);
        if let Some(acts) = &mut self.acts {
            acts.killed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn gaps_belong_to_what_came_before_them_and_what_never_ends_is_told() {
        let script: Script =
            "10 host sleep 6\n30 join reboot\n40 lobby restart\n50 join cut 3\n60 end".parse().unwrap();
        let mut acts = Acts::new(script);
        let start = Instant::now();
        assert!(acts.due().is_none(), "nothing happens before the game begins");
        let nothing = Value::Null;
        acts.heard(Who::Host, "game_message", &nothing, start);
        assert!(acts.due().is_none());
        acts.heard(Who::Join, "game_message", &nothing, start);
        assert_eq!(acts.due(), Some(at(start, 10.0)));
        assert!(!acts.is_over(at(start, 59.0)) && acts.is_over(at(start, 60.0)));
        let mut done = Vec::new();
        while let Some((step, begins)) = acts.take(at(start, 1000.0)) {
            done.push((step.line, begins));
        }
        assert_eq!(done, [(1, true), (1, false), (2, true), (3, true), (4, true), (4, false)]);
        let ms = |ms: u64| json!({"ms": ms});
        acts.heard(Who::Join, "silence_began", &ms(500), at(start, 10.4));
        acts.heard(Who::Join, "silence_over", &ms(6500), at(start, 16.4));
        acts.heard(Who::Host, "silence_began", &ms(6100), at(start, 16.1));
        acts.heard(Who::Host, "silence_over", &ms(6300), at(start, 16.3));
        acts.heard(Who::Host, "silence_began", &ms(500), at(start, 30.6));
        acts.heard(Who::Host, "silence_over", &ms(900), at(start, 31.0));
        acts.heard(Who::Host, "silence_began", &ms(500), at(start, 50.4));
        // The end of the game.
        acts.heard(Who::Join, "silence_began", &ms(500), at(start, 61.0));
        let summary = |sent: u64, received: u64| {
            [
                json!({"event": "summary", "connections": 2, "all_reliable_sent": sent, "all_reliable_received": received}),
            ]
        };
        let report = acts.report(&summary(100, 80), &summary(80, 99));
        let gaps: Vec<_> =
            report.steps.iter().map(|step| (step.host_gap_ms, step.join_gap_ms, step.back)).collect();
        assert_eq!(
            gaps,
            [
                (Some(6300.0), Some(6500.0), true),
                (Some(900.0), None, true),
                (None, None, true),
                (None, None, false)
            ]
        );
        assert!(!report.all_back);
        assert_eq!((report.to_join.lost(), report.to_host.lost(), report.to_join.connections), (1, 0, 2));
        assert!(report.trouble().is_some_and(|text| text.contains("line 4")), "{report:?}");
        assert!(report.text().contains("NOT BACK") && report.text().contains("6.3 s"), "{}", report.text());
        let back = ScriptReport { steps: report.steps[..3].to_vec(), all_back: true, ..report };
        assert!(back.trouble().is_some_and(|text| text.contains("1 did not come")), "{back:?}");
    }
}
