//! What must hold of a story, whatever went wrong in it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use traversal_core::failure::{FailureReason, FailureReport};
use traversal_core::nat::PortAllocation;
use traversal_core::{Event, PathKind, RelayPolicy};

use super::story::{Fault, Story};
use super::watch::{check_caps, check_destinations};
use crate::nat::NatConfig;
use crate::oracle::{Cause, Effective, Outlook, Relation};
use crate::scenario::{JoinMoment, PairWorldSettings};
use crate::world::HostId;

/// These are the kinds of what can be wrong with a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// Something panicked; also when a machine asked to be woken at the same instant for ever.
    Panic,
    /// An attempt ended in neither a path nor a reason.
    NoOutcome,
    /// The outcome came later than the deadline allows.
    Late,
    /// A reason was given that is not true of this world.
    WrongReason,
    /// A request to join was answered neither by the room nor by a reason.
    NoAnswer,
    /// A path is there still although it ended, or leads to somebody who is gone.
    DeadPath,
    /// A path was called direct before it had carried something both ways.
    UnprovenPath,
    /// A direct path was there where none is possible.
    Impossible,
    /// A cap was passed.
    Cap,
    /// Something was sent where it may not go.
    Destination,
}

/// It is something that must not be, with its circumstances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was wrong with the story.
    pub wrong: Wrong,
    /// It says where and how, for people.
    pub text: String,
}

/// How much later than its deadline an outcome may come: the other side's word for it needs a round trip and its
/// retransmissions, and a relay is tried last.
const LATE: Duration = Duration::from_secs(5);

/// What came of the attempts, and what was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// This many attempts ended in a path.
    pub paths: usize,
    /// This many attempts ended in a reason.
    pub reasons: usize,
    /// It is all that was found and must not be.
    pub findings: Vec<Finding>,
    /// It tells the world and its faults in a line, where something was found.
    pub about: String,
}

/// Looks for all that is wrong with a story.
pub fn judge(story: &Story) -> Verdict {
    let mut judge = Judge { story, verdict: Verdict::default() };
    for host in [story.pair.left, story.pair.right] {
        if story.ready && !story.dead.contains(&host) {
            judge.outcomes(host);
            judge.reasons(host);
            judge.paths(host);
        }
        let attempts = judge.count(host, |event| matches!(event, Event::Plan { .. })).max(1);
        if let Err(why) = check_caps(&story.pair, host, attempts as u64) {
            judge.find(Wrong::Cap, why);
        }
    }
    judge.answer();
    if let Err(why) = check_destinations(&story.pair, &story.watched, story.ready) {
        judge.find(Wrong::Destination, why);
    }
    if !judge.verdict.findings.is_empty() {
        judge.verdict.about = about(story.pair.settings(), &story.plan, story.pair.requested());
    }
    judge.verdict
}

/// Tells a world and its faults in a line; times count from the request on.
pub(super) fn about(settings: &PairWorldSettings, plan: &[(Duration, Fault)], requested: Duration) -> String {
    let nat = |nat: &NatConfig| {
        let mut text = format!("{:?}/{:?}/{:?}", nat.mapping, nat.filtering, nat.allocation);
        if !nat.translates() {
            text = format!("{:?}/{:?}", nat.kind, nat.filtering);
        }
        let extras = [
            (nat.cross >= 1.0, format!(",cross={:.0}", nat.cross)),
            (nat.pool > 1, format!(",pool={}:{:?}", nat.pool, nat.pooling)),
            (nat.clash, ",clash".into()),
            (nat.udp_blocked, ",udp=no".into()),
        ];
        extras.into_iter().filter(|(there, _)| *there).for_each(|(_, extra)| text += &extra);
        text
    };
    let chain = |chain: &[NatConfig]| chain.iter().map(nat).collect::<Vec<_>>().join(" + ");
    let faults = plan
        .iter()
        .map(|(at, fault)| format!("{fault:?} at {:.2} s", at.saturating_sub(requested).as_secs_f64()));
    format!(
        "[{}] - [{}], {:?}, {:?}, relay {:?}, {} server address{}, round trip {:.0} ms; {}",
        chain(&settings.left),
        chain(&settings.right),
        settings.relation,
        settings.join,
        settings.config.relay,
        if settings.two_addresses { "two" } else { "one" },
        if settings.two_addresses { "es" } else { "" },
        settings.mean_rtt().as_secs_f64() * 1e3,
        faults.collect::<Vec<_>>().join(", ")
    )
}

struct Judge<'a> {
    story: &'a Story,
    verdict: Verdict,
}

impl Judge<'_> {
    fn find(&mut self, wrong: Wrong, text: String) {
        self.verdict.findings.push(Finding { wrong, text });
    }

    fn count(&self, host: HostId, test: impl Fn(&Event) -> bool) -> usize {
        self.story.pair.player(host).events.iter().filter(|(_, event)| test(event)).count()
    }

    fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.story.pair.world.instant_at(Duration::ZERO))
    }

    /// Each plan is an attempt, and each of them ends in a path or in a reason, in time.
    fn outcomes(&mut self, host: HostId) {
        let plans = self.count(host, |event| matches!(event, Event::Plan { .. }));
        let paths = self.count(host, |event| matches!(event, Event::PeerConnected { .. }));
        let reasons = self.count(host, |event| matches!(event, Event::PeerFailed { .. }));
        self.verdict.paths += paths;
        self.verdict.reasons += reasons;
        // Somebody who leaves knows how that ended.
        let leaves =
            if host == self.story.pair.right { self.story.count(Fault::LeavesAndJoinsAgain) } else { 0 };
        // Whoever is told that the room has another host, or none, knows that what was with the old one is over.
        let over = |event: &Event| matches!(event, Event::HostChanged { .. } | Event::RoomLeft { .. });
        let left = leaves + self.count(host, over);
        if paths + reasons > plans || plans > paths + reasons + left {
            self.find(Wrong::NoOutcome, format!("{host:?}: {plans} plans, {paths} paths, {reasons} reasons"));
        }
        if self.story.count(Fault::PeerSleeps) > 0 {
            // Its clock stood still.
            return;
        }
        // The time until both NATs are known does not count, up to as much again.
        let deadline = 2 * self.story.pair.settings().config.connect_deadline + LATE;
        let mut planned: Option<Instant> = None;
        let mut late = Vec::new();
        for (at, event) in &self.story.pair.player(host).events {
            match event {
                Event::Plan { .. } => planned = Some(*at),
                Event::PeerConnected { .. } | Event::PeerFailed { .. } => {
                    late.extend(
                        planned
                            .take()
                            .map(|planned| at.duration_since(planned))
                            .filter(|took| *took > deadline),
                    );
                }
                _ => {}
            }
        }
        for took in late {
            self.find(Wrong::Late, format!("{host:?}: an outcome {took:.1?} after the plan"));
        }
    }

    /// A reason says what is so.
    fn reasons(&mut self, host: HostId) {
        let reports: Vec<FailureReport> = self
            .story
            .pair
            .player(host)
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::PeerFailed { report, .. } | Event::PeerRelayed { report, .. } => Some(report.clone()),
                _ => None,
            })
            .collect();
        for report in reports {
            if let Some(why) = self.untrue(&report) {
                let text = format!("{host:?}: {}, but {why}", report.reason.name());
                self.find(Wrong::WrongReason, text);
            }
        }
    }

    /// Why a reason is not true; none: it may be.
    fn untrue(&self, report: &FailureReport) -> Option<&'static str> {
        use FailureReason as Reason;
        let settings = self.story.pair.settings();
        let sides = [Effective::of(&settings.left), Effective::of(&settings.right)];
        let faults = |faults: &[Fault]| faults.iter().any(|fault| self.story.count(*fault) > 0);
        let drawn = |side: &Effective| !side.predictable || side.scattered;
        // A NAT that clashes draws ports too, and one that forgets or moves shows a jump.
        let clash = settings.left.iter().chain(&settings.right).any(|nat| nat.clash);
        let jumps = clash || faults(&[Fault::NatReboots, Fault::AddressChanges, Fault::Clash]);
        let cut_off = faults(&[
            Fault::UdpBlocked,
            Fault::LossBurst,
            Fault::PeerSleeps,
            Fault::ServerKilled,
            Fault::ServerRestarted,
        ]);
        let blocked = settings.left.iter().chain(&settings.right).any(|nat| nat.udp_blocked);
        let outlook = self.story.pair.outlook();
        match report.reason {
            Reason::UdpBlocked if !blocked && !cut_off && !jumps => Some("no NAT blocks UDP"),
            Reason::RandomPortsOnBothSides if !sides.iter().all(drawn) && !jumps => {
                Some("not both draw their ports")
            }
            Reason::RandomPortsAgainstSymmetric | Reason::RandomPortsNotFound
                if !sides.iter().any(drawn) && !jumps =>
            {
                Some("neither draws its ports")
            }
            Reason::SymmetricOnBothSides if sides.iter().any(Effective::is_fixed) && !jumps => {
                Some("one of them has one port for all")
            }
            Reason::NoHairpin if settings.relation == Relation::Apart => Some("they share no NAT"),
            Reason::RelayForbidden if settings.config.relay != RelayPolicy::Never => Some("it is allowed"),
            Reason::RelayOnly if settings.config.relay != RelayPolicy::Only => Some("nobody asked for it"),
            Reason::BadPlan => Some("all keys fit"),
            Reason::SearchWaits => Some("there is no other player"),
            reason => {
                let Outlook::Impossible(cause) = outlook else { return None };
                // So many probes may be lost that nobody knows how one of the NATs chooses its ports.
                let unknown = [report.own_nat, report.peer_nat]
                    .iter()
                    .any(|nat| nat.allocation == PortAllocation::Unknown);
                let random = matches!(cause, Cause::RandomOnBothSides | Cause::RandomAgainstSymmetric);
                let excused = !self.story.plan.is_empty() || (random && unknown);
                (!names(cause).contains(&reason) && !excused).then_some("the oracle names another cause")
            }
        }
    }

    /// A path that stands is one to somebody who lives; one that died was announced; a direct one was proven.
    fn paths(&mut self, host: HostId) {
        let (pair, dead) = (&self.story.pair, &self.story.dead);
        let player = pair.player(host);
        let other = if host == pair.left { pair.right } else { pair.left };
        let made = self.count(host, |event| matches!(event, Event::PeerConnected { .. }));
        let ended = self.count(host, |event| matches!(event, Event::PeerDisconnected { .. }));
        if player.paths.len() != made.saturating_sub(ended) {
            let text = format!("{host:?}: {} paths of {made} made and {ended} ended", player.paths.len());
            return self.find(Wrong::DeadPath, text);
        }
        if !player.paths.is_empty() && dead.contains(&other) {
            return self.find(Wrong::DeadPath, format!("{host:?} has a path to one who is gone"));
        }
        let seen = self.story.watched.borrow();
        let unproven = player.events.iter().find(|(at, event)| {
            let (Event::PeerConnected { path, .. } | Event::PathChanged { path, .. }) = event else {
                return false;
            };
            let at = self.since_start(*at);
            let arrived = |host: &HostId| seen.arrived.get(&host.0).is_some_and(|first| *first <= at);
            path.kind != PathKind::Relay && ![host, other].iter().all(arrived)
        });
        let direct = player.events.iter().any(|(_, event)| {
            matches!(event, Event::PeerConnected { path, .. } | Event::PathChanged { path, .. } if path.kind != PathKind::Relay)
        });
        let outlook = pair.outlook();
        let possible = !matches!(outlook, Outlook::Impossible(_));
        if unproven.is_some() {
            self.find(
                Wrong::UnprovenPath,
                format!("{host:?} calls a path direct that has not carried both ways"),
            );
        }
        // A NAT whose address has changed may have become one that the other side can reach.
        if direct && !possible && self.story.plan.is_empty() {
            self.find(Wrong::Impossible, format!("{host:?}: {outlook:?}"));
        }
    }

    /// Tells whether the player knows that it waits for a quick match.
    fn waits(&self, host: HostId) -> bool {
        let queue = self.story.pair.player(host).events.iter().rev().find_map(|(_, event)| match event {
            Event::Queue(status) => Some(status.is_some()),
            _ => None,
        });
        queue == Some(true) && !self.story.dead.contains(&host)
    }

    /// Each wish to join is answered: by the room, or by a reason.
    fn answer(&mut self) {
        let right = self.story.pair.right;
        if !self.story.ready || self.story.dead.contains(&right) {
            return;
        }
        let together = self.story.pair.settings().join == JoinMoment::Together;
        let alone = !self.waits(self.story.pair.left) || self.story.count(Fault::ServerKilled) > 0;
        if together && self.waits(right) && alone {
            // Whoever waits for somebody to play with waits as long as it likes, while there is nobody, or no server.
            return;
        }
        let rooms = self.count(right, |event| matches!(event, Event::RoomEntered { .. }));
        if rooms == 0 && self.story.pair.player(right).refusals.is_empty() {
            self.find(Wrong::NoAnswer, "no answer to the request to join".into());
        }
    }
}

/// What names a cause, on the side that says it.
pub fn names(cause: Cause) -> &'static [FailureReason] {
    match cause {
        Cause::UdpBlocked => &[FailureReason::UdpBlocked],
        Cause::RandomOnBothSides => &[FailureReason::RandomPortsOnBothSides],
        Cause::RandomAgainstSymmetric => &[FailureReason::RandomPortsAgainstSymmetric],
        Cause::NoHairpin => &[FailureReason::NoHairpin],
    }
}
