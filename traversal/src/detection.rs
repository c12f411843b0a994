//! Hosts the classification of the own NAT: at login in the background, again when the network changes, and when it
//! has grown old (M7-M9).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;

use crate::api::{Event, SocketId};
use crate::classify::{
    Classifier, ClassifierConfig, ClassifierOrder, LifetimeOrder, LifetimeSearch, ProbeTag, RttEstimate,
};
use crate::config::Detect;
use crate::cx::Cx;
use crate::login::{LobbyLink, Online};
use crate::nat::{Confidence, NatProfile, PortAllocation};
use crate::ports::StepRule;
use crate::sockets::{Owner, Sockets};
use crate::timer::{due, earliest};
use crate::wire::Kind;
use crate::wire::message::{Frame, Probe, ProbePurpose, ToServer};

/// A profile older than this is measured again: home routers are restarted, laptops carried about.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Random bytes by which a hairpin packet is known.
const TOKEN: usize = 16;

/// What is known of the own NAT, and what is being found out.
#[derive(Debug, Default)]
pub(crate) struct Detection {
    classifier: Option<Classifier>,
    lifetime: Option<LifetimeSearch>,
    /// Tags on the wire, and whose they are.
    tags: BTreeMap<u32, Tag>,
    sequence: u16,
    hairpin: Option<[u8; TOKEN]>,
    profile: Option<NatProfile>,
    /// A forwarded port counts.
    mapped: bool,
    renew_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Tag {
    Classifier(u32),
    Lifetime(u32),
}

/// What a probe on the wire is about.
#[derive(Clone, Copy, Debug)]
struct About {
    purpose: ProbePurpose,
    repeated: bool,
    whose: Tag,
}

impl Detection {
    /// Keepalives must come this often (M31).
    pub(crate) fn keepalive(&self, configured: Duration) -> Duration {
        // Two thirds of what an idle mapping is known to live, within reason; never more than was configured.
        let known = self.profile.and_then(|profile| profile.timeout).map(|lives| lives * 2 / 3);
        known.map_or(configured, |known| known.clamp(Duration::from_secs(5), configured))
    }

    /// After a login, or when the network has changed.
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>, link: &mut LobbyLink, sockets: &mut Sockets) {
        self.stop(cx, sockets);
        let Some(online) = link.online() else { return };
        if online.over_stream() {
            let profile =
                NatProfile { udp_blocked: true, confidence: Confidence::Full, ..NatProfile::default() };
            self.tell_as_is(cx, online, profile);
            return link.drain(cx);
        }
        if let Some(profile) = cx.config.manual_profile {
            let profile = NatProfile { confidence: Confidence::Manual, ..profile };
            self.tell(cx, online, profile);
            return link.drain(cx);
        }
        let config = ClassifierConfig {
            targets: online.welcome.probe_targets.clone(),
            local: cx.local.to_vec(),
            rtt: online.session.rtt(),
            step_rule: StepRule::default(),
        };
        self.classifier = Some(Classifier::new(cx.now, config));
        self.work(cx, link, sockets);
    }

    /// Measures no more, for example because the link to the server is gone. What is known stays known.
    pub(crate) fn stop(&mut self, cx: &mut Cx<'_>, sockets: &mut Sockets) {
        self.classifier = None;
        self.lifetime = None;
        self.tags.clear();
        self.hairpin = None;
        self.renew_at = None;
        sockets.close_all(cx, |owner| matches!(owner, Owner::Classifier(_) | Owner::Lifetime(_)));
    }

    /// A socket of ours is open, or could not be opened.
    pub(crate) fn handle_socket(
        &mut self,
        cx: &mut Cx<'_>,
        link: &mut LobbyLink,
        sockets: &mut Sockets,
        owner: Owner,
        local: Option<SocketAddr>,
    ) {
        match owner {
            Owner::Classifier(slot) => {
                if let Some(classifier) = &mut self.classifier {
                    classifier.handle_socket(cx.now, slot, local.map(|local| local.port()));
                }
            }
            Owner::Lifetime(slot) => {
                if let Some(lifetime) = &mut self.lifetime {
                    lifetime.handle_socket(cx.now, slot, local.is_some());
                }
            }
            Owner::Match(..) => return,
        }
        self.work(cx, link, sockets);
    }

    /// The server saw one of our probes.
    pub(crate) fn handle_seen(
        &mut self,
        cx: &mut Cx<'_>,
        link: &mut LobbyLink,
        sockets: &mut Sockets,
        (tag, observed, from): (u32, SocketAddr, SocketAddr),
    ) {
        match self.tags.get(&tag) {
            Some(Tag::Classifier(tag)) => {
                if let Some(classifier) = &mut self.classifier {
                    classifier.handle_seen(cx.now, *tag, observed, from);
                }
            }
            Some(Tag::Lifetime(tag)) => {
                if let Some(lifetime) = &mut self.lifetime {
                    lifetime.handle_seen(cx.now, *tag, observed);
                }
            }
            None => return,
        }
        self.work(cx, link, sockets);
    }

    /// A datagram that only the own hairpin test can have sent. True if it was.
    pub(crate) fn handle_hairpin(&mut self, now: Instant, datagram: &[u8]) -> bool {
        let (Some(token), Some(classifier)) = (&self.hairpin, &mut self.classifier) else { return false };
        let ours = datagram.get(1..) == Some(token.as_slice());
        if ours {
            classifier.handle_hairpin(now);
        }
        ours
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>, link: &mut LobbyLink, sockets: &mut Sockets) {
        if due(self.renew_at, cx.now) {
            return self.start(cx, link, sockets);
        }
        if let Some(classifier) = &mut self.classifier {
            classifier.handle_timeout(cx.now);
        }
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.handle_timeout(cx.now);
        }
        self.work(cx, link, sockets);
    }

    /// Carries out what the measurements want.
    fn work(&mut self, cx: &mut Cx<'_>, link: &mut LobbyLink, sockets: &mut Sockets) {
        let Some(online) = link.online() else { return };
        let v6 = online.server.is_ipv6();
        while let Some(order) = self.classifier.as_mut().and_then(Classifier::poll_order) {
            match order {
                ClassifierOrder::OpenSocket { slot } => sockets.open(cx, Owner::Classifier(slot), v6),
                ClassifierOrder::CloseSocket { slot } => sockets.close(cx, Owner::Classifier(slot)),
                ClassifierOrder::Probe(probe) => {
                    if let Some(socket) = sockets.get(Owner::Classifier(probe.slot)) {
                        let whose = Tag::Classifier(probe.tag);
                        let about = About { purpose: probe.purpose, repeated: probe.repeated, whose };
                        self.probe(cx, online, socket, probe.target, about);
                    }
                }
                ClassifierOrder::Hairpin { slot, to, .. } => {
                    if let Some((socket, _)) = sockets.get(Owner::Classifier(slot)) {
                        let token = self.hairpin.get_or_insert_with(|| {
                            let mut token = [0; TOKEN];
                            cx.rng.fill_bytes(&mut token);
                            token
                        });
                        let mut datagram = vec![Kind::Probe as u8];
                        datagram.extend_from_slice(token);
                        cx.transmit(socket, to, datagram);
                    }
                }
            }
        }
        while let Some(order) = self.lifetime.as_mut().and_then(LifetimeSearch::poll_order) {
            match order {
                LifetimeOrder::OpenSocket { slot } => sockets.open(cx, Owner::Lifetime(slot), v6),
                LifetimeOrder::CloseSocket { slot } => sockets.close(cx, Owner::Lifetime(slot)),
                LifetimeOrder::Probe { slot, tag } => {
                    if let Some(socket) = sockets.get(Owner::Lifetime(slot)) {
                        let target = online.server;
                        let whose = Tag::Lifetime(tag);
                        // Never a sample of the counter: its mapping may be minutes old.
                        let about = About { purpose: ProbePurpose::Report, repeated: true, whose };
                        self.probe(cx, online, socket, target, about);
                    }
                }
            }
        }
        if let Some(classifier) = self.classifier.take_if(|classifier| classifier.is_done()) {
            let profile = classifier.profile();
            sockets.close_all(cx, |owner| matches!(owner, Owner::Classifier(_)));
            self.renew_at = Some(cx.now + MAX_AGE);
            self.tell(cx, online, profile);
            // A port that is kept whatever happens says nothing about the mapping behind it.
            if !matches!(profile.allocation, PortAllocation::Preserving | PortAllocation::Unknown) {
                self.lifetime = Some(LifetimeSearch::new(RttEstimate::new(online.session.rtt())));
                return self.work(cx, link, sockets);
            }
        }
        if let Some(lifetime) = self.lifetime.take_if(|lifetime| lifetime.is_done())
            && let Some(profile) = self.profile
        {
            sockets.close_all(cx, |owner| matches!(owner, Owner::Lifetime(_)));
            self.tell(cx, online, NatProfile { timeout: lifetime.lives_at_least(), ..profile });
        }
        link.drain(cx);
    }

    fn probe(
        &mut self,
        cx: &mut Cx<'_>,
        online: &mut Online,
        (socket, local): (SocketId, SocketAddr),
        target: SocketAddr,
        about: About,
    ) {
        self.sequence = self.sequence.wrapping_add(1);
        let tag = ProbeTag { local_port: local.port(), repeated: about.repeated, sequence: self.sequence };
        let tag = tag.into();
        self.tags.insert(tag, about.whose);
        let frame = Frame::Probe(Probe { tag, purpose: about.purpose });
        if let Some(datagram) = online.session.seal(cx.now, Kind::Probe, &frame) {
            cx.transmit(socket, target, datagram);
        }
    }

    /// To the game and to the server. Where the server works it out, its answer comes back as the profile to go by.
    fn tell(&mut self, cx: &mut Cx<'_>, online: &mut Online, profile: NatProfile) {
        let check = cx.config.detect == Detect::Server && profile.confidence != Confidence::Manual;
        // Full only when the server has not answered for long; it will be noticed as lost.
        let _ = online.session.send(cx.now, ToServer::Profile { profile, check });
        self.profile = Some(profile);
        if !check {
            self.show(cx);
        }
    }

    /// To the game: what was measured, and the forwarded port above it.
    fn show(&self, cx: &mut Cx<'_>) {
        if let Some(profile) = self.profile {
            cx.emit(Event::Nat(if self.mapped { profile.with_mapped_port() } else { profile }));
        }
    }

    /// A forwarded port counts from now on, or no longer.
    pub(crate) fn set_mapped(&mut self, cx: &mut Cx<'_>, mapped: bool) {
        if std::mem::replace(&mut self.mapped, mapped) != mapped {
            // Nothing may have been measured yet.
            self.profile.get_or_insert_default();
            self.show(cx);
        }
    }

    /// The same for what the server has no better knowledge of.
    fn tell_as_is(&mut self, cx: &mut Cx<'_>, online: &mut Online, profile: NatProfile) {
        let _ = online.session.send(cx.now, ToServer::Profile { profile, check: false });
        self.profile = Some(profile);
        cx.emit(Event::Nat(profile));
    }

    /// The server's word (M7, E1).
    pub(crate) fn handle_profile(&mut self, cx: &mut Cx<'_>, profile: NatProfile) {
        self.profile = Some(profile);
        self.show(cx);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let classifier = self.classifier.as_ref().and_then(Classifier::poll_timeout);
        let lifetime = self.lifetime.as_ref().and_then(LifetimeSearch::poll_timeout);
        earliest(earliest(classifier, lifetime), self.renew_at)
    }
}
