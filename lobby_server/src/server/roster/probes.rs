//! Probes: what the server sees of a player's NAT, for the classification (E1) and for the other side of a match.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use traversal_core::NatFacts;
use traversal_core::classify::{Evidence, ProbeTag, Sighting, classify, merge_report};
use traversal_core::id::PlayerId;
use traversal_core::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
use traversal_core::ports::UNKNOWN_RATE;
use traversal_core::wire::Kind;
use traversal_core::wire::message::{Facts, Frame, Probe, ProbePurpose, ToPlayer};

use super::client::Client;
use super::{Context, Roster};
use crate::claims::{ClaimError, RangeClaim};
use crate::ids::SessionId;
use crate::server::refusals::Refusal;
use crate::server::sockets::Route;

/// One classification may need so many probes: 10 of the first burst, 6 of the later ones, those of the filter tests,
/// and the mapping's test from a second socket, with room.
const MAX_SIGHTINGS: usize = 64;
/// Older probes belong to an earlier classification.
const SIGHTING_AGE: Duration = Duration::from_secs(20);
/// The probes of a first burst leave back to back, so a new socket's that comes so long after the others belongs to
/// another classification: the network has changed meanwhile. No jitter is as long.
const ANOTHER: Duration = Duration::from_secs(2);
/// So many fresh sockets must have been seen before their ports are taken for a pattern: with two of the eight lost,
/// six still tell a block from a counter.
const EARLY_SOCKETS: usize = 6;

/// Returns whether a probe belongs to an earlier classification, when the server runs for so long.
pub(super) fn is_forgotten(sighting: &Sighting, up: Duration) -> bool {
    up.saturating_sub(sighting.sent) >= SIGHTING_AGE
}

impl Client {
    fn manual(&self) -> NatFacts {
        self.manual.as_deref().copied().unwrap_or(NatFacts::NONE)
    }

    /// The first sight of each socket at each target counts.
    fn note_sighting(&mut self, now: Instant, new: Sighting) {
        let fresh = new.burst == 0
            && !new.repeated
            && self.sightings().iter().all(|old| old.local_port != new.local_port);
        let oldest = if fresh { ANOTHER } else { SIGHTING_AGE };
        let sightings = &mut self.busy(now).sightings;
        sightings.retain(|old| new.sent.saturating_sub(old.sent) < oldest);
        let known = sightings.iter().any(|old| old.local_port == new.local_port && old.target == new.target);
        if !known && sightings.len() < MAX_SIGHTINGS {
            sightings.push(new);
        }
    }

    fn evidence(&self, two_addresses: bool) -> Evidence {
        Evidence {
            local: self.login.local().iter().map(SocketAddr::ip).collect(),
            sightings: self.sightings().to_vec(),
            two_addresses,
            ..Evidence::default()
        }
    }

    /// Learns before the player's word, which takes a second: mapping and ports as the probes so far show them, so
    /// that who joins right after the login gets the right plan. Returns true if that is news.
    fn learn_early(&mut self, two_addresses: bool) -> bool {
        let sockets: BTreeSet<u16> = self.sightings().iter().map(|sighting| sighting.local_port).collect();
        // A hint of the player's is stale: it serves until something is measured.
        let open = matches!(self.profile.confidence, Confidence::Unknown | Confidence::Stale);
        if !open || sockets.len() < EARLY_SOCKETS {
            return false;
        }
        let profile = classify(&self.evidence(two_addresses));
        let known = match profile.mapping {
            MappingBehavior::Unknown => false,
            // The second address may yet tell more.
            MappingBehavior::NotPortSensitive => !two_addresses,
            _ => profile.allocation != PortAllocation::Unknown,
        };
        if known {
            // The filter is not known yet; a hint's is the best guess, if it was about such a NAT.
            let hinted = self.profile.mapping == profile.mapping;
            let before = if hinted { self.profile } else { NatProfile::UNKNOWN };
            let early = NatProfile { confidence: Confidence::Reduced, ..profile };
            self.profile = self.manual().over(merge_report(&early, &before));
        }
        known
    }

    /// The later bursts have shown, before the player's word, that others take more ports than a plan without a rate
    /// reckons with. True if that is news.
    fn learn_busy(&mut self, two_addresses: bool) -> bool {
        let early = self.profile.confidence == Confidence::Reduced
            && self.profile.filtering == FilteringBehavior::Unknown
            && self.profile.foreign_rate.is_none();
        if !early || self.sightings().iter().all(|sighting| sighting.burst == 0) {
            return false;
        }
        let measured = classify(&self.evidence(two_addresses));
        let busy = measured.foreign_rate.filter(|rate| *rate > 2.0 * UNKNOWN_RATE);
        let news = busy.is_some() && measured.allocation == self.profile.allocation;
        if news {
            self.profile.foreign_rate = busy;
        }
        news
    }
}

/// This says who sent a probe, and what is known of it.
pub(crate) struct Prober {
    pub(crate) player: PlayerId,
    /// This is the IP address that its session is proven to be at.
    pub(crate) validated: IpAddr,
    pub(crate) allocation: PortAllocation,
}

/// A probe was answered: what it may mean for the player's matches.
pub(crate) struct ProbeSeen {
    pub(crate) player: PlayerId,
    /// This is the IP address that its session is proven to be at.
    pub(crate) validated: IpAddr,
    /// Its NAT's ports have this step; 1 where it has none.
    pub(crate) step: i32,
    /// The probe has shown something new about its NAT.
    pub(crate) learnt: bool,
}

/// Returns what a probe with this tag has shown, which came from `observed` to our address `target`.
fn sighting(tag: ProbeTag, target: SocketAddr, observed: SocketAddr, sent: Duration) -> Sighting {
    let ProbeTag { local_port, repeated, burst, sequence, .. } = tag;
    Sighting { local_port, target, observed, sent, repeated, burst, sequence }
}

impl Roster {
    /// Answers a probe, and learns of the player's NAT from it. Probes that are no news for matches give nothing back.
    pub(crate) fn see_probe(
        &mut self,
        cx: &mut Context,
        id: SessionId,
        route: Route,
        probe: Probe,
        length: usize,
    ) -> Option<ProbeSeen> {
        let now = cx.now;
        if cx.is_stream(route) {
            // Says nothing about a NAT and UDP.
            cx.counters.dropped += 1;
            return None;
        }
        let client = self.sessions.get_mut(&id)?;
        if !client.busy(cx.now).probes.take(cx.config.probe_rate, now) {
            cx.counters.limit(Refusal::ProbeRate);
            return None;
        }
        if probe.purpose == ProbePurpose::Register {
            self.register(cx, id, route);
            return None;
        }
        if let ProbePurpose::MappedPort { port } = probe.purpose {
            self.try_mapped_port(cx, id, (route, port, length));
            return None;
        }
        if let ProbePurpose::Knock { report } = probe.purpose {
            self.knock(cx, id, (route, length), (probe.tag, report));
            return None;
        }
        let from = match probe.purpose {
            ProbePurpose::ReplyFromOtherPort => cx.other(route, false, true),
            ProbePurpose::ReplyFromOtherAddress => cx.other(route, true, false),
            _ => Some(route),
        };
        let target = cx.told_address(route);
        let sent = cx.uptime();
        let client = self.sessions.get_mut(&id)?;
        if let (
            ProbePurpose::Report | ProbePurpose::ReplyFromOtherPort | ProbePurpose::ReplyFromOtherAddress,
            Some(target),
        ) = (probe.purpose, target)
        {
            client.note_sighting(now, sighting(probe.tag.into(), target, route.peer, sent));
        }
        let two_addresses = client.two_addresses && cx.has_second_address(route.peer.is_ipv4());
        let learnt = client.learn_early(two_addresses) || client.learn_busy(two_addresses);
        let seen = match probe.purpose {
            ProbePurpose::SignedReport => {
                let report = self.report_key.sign(id.0, sent.as_millis() as u64, route.peer);
                Frame::PortSeen { tag: probe.tag, report }
            }
            _ => Frame::ProbeSeen { tag: probe.tag, observed: route.peer },
        };
        let answer = client.session.seal(now, Kind::Probe, &seen);
        let (player, validated) = (client.player, client.route.peer.ip());
        let step = match client.profile.allocation {
            PortAllocation::Sequential { step } => step,
            _ => 1,
        };
        if let (Some(from), Some(answer)) = (from, answer)
            && answer.len() <= length
        {
            cx.counters.probes += 1;
            cx.transmit(from, answer);
        }
        Some(ProbeSeen { player, validated, step, learnt })
    }

    /// Counts a probe, or what costs as much as one. None: there is no such session, or it is over its rate.
    pub(crate) fn take_probe(&mut self, cx: &mut Context, id: SessionId) -> Option<Prober> {
        let client = self.sessions.get_mut(&id)?;
        if !client.busy(cx.now).probes.take(cx.config.probe_rate, cx.now) {
            cx.counters.limit(Refusal::ProbeRate);
            return None;
        }
        let allocation = client.profile.allocation;
        Some(Prober { player: client.player, validated: client.route.peer.ip(), allocation })
    }

    /// Returns what a range says that the player of this session has measured itself (E2).
    pub(crate) fn check_claim(
        &self,
        cx: &Context,
        id: SessionId,
        validated: IpAddr,
        claim: RangeClaim,
    ) -> Result<Facts, ClaimError> {
        claim.check(&self.report_key, id.0, validated, cx.uptime().as_millis() as u64)
    }

    /// Takes the player's word about its NAT, and what of it was set by hand (M9). With `check` (E1) what was seen
    /// here counts more than what the player has measured, but for the facts that only it can know. Where the player
    /// comes back, its matches may get better plans.
    pub(crate) fn handle_profile(
        &mut self,
        cx: &mut Context,
        id: SessionId,
        (report, manual): (NatProfile, NatFacts),
        check: bool,
    ) -> Option<PlayerId> {
        let client = self.sessions.get_mut(&id)?;
        // Whether a forwarded port counts is not the player's to say.
        let report = NatProfile { mapped: false, ..report.plausible() };
        client.manual = (manual != NatFacts::NONE && manual.check().is_ok()).then(|| Box::new(manual));
        if check {
            return self.check_profile(cx, id, report);
        }
        // A hint that comes late is worth less than what the probes of this login have shown.
        let late = report.confidence == Confidence::Stale && !client.sightings().is_empty();
        if !(late && client.profile.confidence == Confidence::Reduced) {
            client.profile = client.manual().over(report);
        }
        Some(client.player)
    }

    fn check_profile(&mut self, cx: &mut Context, id: SessionId, report: NatProfile) -> Option<PlayerId> {
        let client = self.sessions.get_mut(&id)?;
        let v4 = client.route.peer.is_ipv4();
        let two_addresses = client.two_addresses && cx.has_second_address(v4);
        let evidence = client.evidence(two_addresses);
        client.busy(cx.now).sightings = Vec::new();
        let profile =
            if evidence.sightings.is_empty() { report } else { merge_report(&classify(&evidence), &report) };
        let profile = client.manual().over(profile);
        client.profile = profile;
        let player = client.player;
        self.tell_session(cx, id, ToPlayer::Profile(profile));
        Some(player)
    }
}
