//! The report of a failed pair: what happened, and what people can do about it.

use std::fmt;

use super::{FailureReason, NoRelay, Stage, Tried};
use crate::nat::NatProfile;
use crate::reach::reach;

/// This is the whole story of a pair that has no (direct) path.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureReport {
    /// This says how far it came.
    pub stage: Stage,
    /// This says why there is no (direct) path.
    pub reason: FailureReason,
    /// This says whether the pair plays all the same, over the relay.
    pub relayed: bool,
    /// This says why the server gave the pair no relay. `None`: it gave one, or this player wants none.
    pub no_relay: Option<NoRelay>,
    /// This side's NAT, as the server knew it.
    pub own_nat: NatProfile,
    /// This is the other side's NAT, as the server knew it.
    pub peer_nat: NatProfile,
    /// These are the methods that were tried, in this order, with what each cost.
    pub tried: Vec<Tried>,
}

impl FailureReport {
    /// Returns what to do about it, in one sentence: on which side, and what to change.
    pub fn advice(&self) -> String {
        use FailureReason as R;
        let relay = match self.no_relay {
            _ if self.relayed => "",
            None => "Allow the relay in the game's settings, or ",
            Some(NoRelay::Off) => "Ask whoever runs the lobby server to allow its relay, or ",
            Some(NoRelay::Full) => "Try again when fewer players use the relay, or ",
            Some(NoRelay::Budget) => "Ask whoever runs the lobby server to allow its relay more traffic, or ",
        };
        match self.reason {
            R::RandomPortsOnBothSides
            | R::RandomPortsAgainstSymmetric
            | R::RandomPortsNotFound
            | R::SymmetricOnBothSides => {
                // The game asks the router itself. A port that is forwarded by hand helps nobody: the other side never
                // hears of it.
                format!("{relay}{} on UPnP, NAT-PMP or PCP on {}.", self.start("switch"), self.router_to_blame())
            }
            R::UdpBlocked => {
                let whose = match (self.own_nat.udp_blocked, self.peer_nat.udp_blocked) {
                    (false, true) => "the other player's network",
                    _ => "this network",
                };
                format!("Ask whoever runs {whose} to let UDP out, or use another network there.")
            }
            R::NoAnswer => {
                "Check that the other player is still online, and that no firewall on either machine drops the game."
                    .into()
            }
            R::OneWayOnly => {
                "Allow the game in the firewall of the other player's machine: yours hears it, and is not heard."
                    .into()
            }
            R::RelayForbidden if self.no_relay.is_some() => {
                "Ask whoever runs the lobby server to allow its relay for this game.".into()
            }
            R::RelayFull if self.no_relay == Some(NoRelay::Budget) => {
                "Ask whoever runs the lobby server to allow its relay more traffic, or try again tomorrow.".into()
            }
            R::RelayFull => {
                "Try again in some minutes, or ask whoever runs the lobby server to let its relay carry more.".into()
            }
            R::RelayForbidden => "Allow the relay in the game's settings or on the lobby server.".into(),
            R::PeerLeft => "Ask the other player to join again.".into(),
            R::PathLost if self.relayed => {
                "Nothing needs to be done: a direct path is tried again by itself; if this happens often, look at the \
                 Wi-Fi or the router on both sides."
                    .into()
            }
            R::PathLost => "Check the network on both sides; the game connects again when it is back.".into(),
            R::CapReached => "Raise the caps in this game's configuration.".into(),
            R::BadPlan => "Update the game and the lobby server to the same version.".into(),
            R::NoHairpin => {
                format!("{relay}{} both machines to one network of the router.", self.start("connect"))
            }
            R::SearchWaits if self.relayed => {
                "Nothing needs to be done: the search begins by itself when its turn comes.".into()
            }
            R::SearchWaits if self.no_relay.is_some() => "Ask the other player to join again.".into(),
            R::SearchWaits => {
                "Allow the relay in the game's settings, so that nobody has to wait, or ask the other player to join \
                 again."
                    .into()
            }
            R::NoCommonFamily => {
                format!("{relay}{} IPv6 on the router of the one without it, or another network there.", self.start("use"))
            }
            R::AddressesHidden => {
                format!(
                    "{relay}{} whoever runs the lobby server to look at its status page, which says how to run it without \
                     a proxy before it.",
                    self.start("ask")
                )
            }
            R::RelayOnly => {
                "Set the relay to \"allow\" in the game and on the lobby server, if players may see each other's \
                 addresses."
                    .into()
            }
        }
    }

    /// Whose router should forward a port, since its own choice of ports is in the way.
    fn router_to_blame(&self) -> &'static str {
        let random = |nat| reach(nat).unpredictable();
        let either = matches!(
            self.reason,
            FailureReason::RandomPortsOnBothSides | FailureReason::SymmetricOnBothSides
        );
        match (random(&self.own_nat), random(&self.peer_nat)) {
            (true, _) if !either => "your router",
            (_, true) if !either => "the other player's router",
            _ => "your router or the other player's",
        }
    }

    /// Returns why the relay does not help, where the cause does not say so itself.
    fn refused(&self) -> Option<NoRelay> {
        let said = matches!(self.reason, FailureReason::RelayFull | FailureReason::RelayForbidden);
        self.no_relay.filter(|_| !self.relayed && !said)
    }

    /// Writes a word as it stands at the start of a sentence, unless the relay's part stands before it.
    fn start(&self, word: &str) -> String {
        if !self.relayed {
            return word.into();
        }
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }
}

impl fmt::Display for FailureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if self.relayed && self.reason != FailureReason::RelayOnly {
            f.write_str(" The game plays over the relay.")?;
        }
        if let Some(why) = self.refused() {
            write!(f, " {why}")?;
        }
        write!(f, " {}", self.advice())
    }
}

impl FailureReport {
    /// Writes all of it for people, in several lines: cause, both NATs, what was tried with packets and times, advice.
    pub fn story(&self) -> String {
        use fmt::Write;
        let mut text = format!("{}\n", self.reason);
        let (own, peer) = (self.own_nat.kind(), self.peer_nat.kind());
        let _ = writeln!(
            text,
            "Your side: {own}. The other side: {peer}. Came as far as: {}.",
            self.stage.name()
        );
        for Tried { method, time, packets } in &self.tried {
            let seconds = time.as_secs_f64();
            let _ = writeln!(text, "Tried {}: {packets} packets in {seconds:.1} s.", method.name());
        }
        if self.tried.is_empty() {
            text.push_str("Nothing was tried.\n");
        }
        if let Some(why) = self.refused() {
            let _ = writeln!(text, "{why}");
        }
        let _ = write!(text, "{}", self.advice());
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::method::Method;
    use crate::nat::{FilteringBehavior, MappingBehavior, PortAllocation};

    const RANDOM: NatProfile = NatProfile {
        mapping: MappingBehavior::AddressAndPortDependent,
        filtering: FilteringBehavior::AddressAndPortDependent,
        allocation: PortAllocation::Random,
        ..NatProfile::UNKNOWN
    };

    const ALL: [FailureReason; 18] = [
        FailureReason::AddressesHidden,
        FailureReason::RandomPortsOnBothSides,
        FailureReason::RandomPortsAgainstSymmetric,
        FailureReason::SymmetricOnBothSides,
        FailureReason::UdpBlocked,
        FailureReason::NoAnswer,
        FailureReason::OneWayOnly,
        FailureReason::RelayForbidden,
        FailureReason::PeerLeft,
        FailureReason::PathLost,
        FailureReason::CapReached,
        FailureReason::BadPlan,
        FailureReason::RandomPortsNotFound,
        FailureReason::NoHairpin,
        FailureReason::RelayOnly,
        FailureReason::SearchWaits,
        FailureReason::RelayFull,
        FailureReason::NoCommonFamily,
    ];

    fn report(
        reason: FailureReason,
        relayed: bool,
        own_nat: NatProfile,
        peer_nat: NatProfile,
    ) -> FailureReport {
        let tried =
            vec![Tried { method: Method::Birthday, time: Duration::from_millis(8100), packets: 1200 }];
        FailureReport { stage: Stage::Punch, reason, relayed, no_relay: None, own_nat, peer_nat, tried }
    }

    #[test]
    fn cause_and_advice_are_one_sentence_each_and_names_are_unique() {
        let mut names = std::collections::BTreeSet::new();
        for reason in ALL {
            assert!(names.insert(reason.name()));
            for relayed in [false, true] {
                let report = report(reason, relayed, RANDOM, NatProfile::UNKNOWN);
                for sentence in [reason.to_string(), report.advice()] {
                    assert!(sentence.ends_with('.') && !sentence.contains(". "), "{reason:?}: {sentence}");
                    assert!(sentence.starts_with(char::is_uppercase), "{reason:?}: {sentence}");
                }
                let told = report.advice().to_lowercase();
                let in_use = relayed && reason != FailureReason::RelayForbidden;
                assert!(!in_use || !told.contains("allow the relay"), "{reason:?}: it is in use: {told}");
            }
        }
    }

    #[test]
    fn the_advice_names_the_side_that_can_do_something() {
        let reason = FailureReason::RandomPortsAgainstSymmetric;
        assert!(report(reason, true, RANDOM, NatProfile::UNKNOWN).advice().contains("on your router"));
        assert!(
            report(reason, false, NatProfile::UNKNOWN, RANDOM).advice().contains("the other player's router")
        );
        let blocked = NatProfile { udp_blocked: true, ..NatProfile::UNKNOWN };
        let there = report(FailureReason::UdpBlocked, false, NatProfile::UNKNOWN, blocked).advice();
        assert!(there.contains("the other player's network"), "{there}");
    }

    #[test]
    fn a_relay_that_the_server_refused_is_told_with_what_to_do() {
        for (no_relay, cause, advice) in [
            (
                NoRelay::Full,
                "The lobby server's relay is full.",
                "Try again when fewer players use the relay",
            ),
            (NoRelay::Off, "does not allow its relay", "Ask whoever runs the lobby server"),
            (NoRelay::Budget, "has used up its traffic", "to allow its relay more traffic"),
        ] {
            let reason = FailureReason::RandomPortsOnBothSides;
            let report = FailureReport { no_relay: Some(no_relay), ..report(reason, false, RANDOM, RANDOM) };
            for text in [report.to_string(), report.story()] {
                assert!(text.contains(cause) && text.contains(advice), "{text}");
                assert!(!text.contains("game's settings"), "{text}");
            }
        }
        let full = FailureReport {
            no_relay: Some(NoRelay::Full),
            ..report(FailureReason::RelayFull, false, RANDOM, RANDOM)
        };
        assert_eq!(full.to_string().matches("full").count(), 1, "said once: {full}");
    }

    #[test]
    fn the_story_tells_stage_nats_and_what_was_tried() {
        let story = report(FailureReason::RandomPortsNotFound, false, RANDOM, NatProfile::UNKNOWN).story();
        for part in ["symmetric", "unknown", "punch", "birthday", "1200 packets in 8.1 s", "UPnP"] {
            assert!(story.contains(part), "{part} is missing:\n{story}");
        }
    }
}
