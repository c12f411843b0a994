//! Hosts the classification of the own NAT: at login in the background, again when the network changes, and when it
//! has grown old (M7-M9).

mod known;
mod life;
mod orders;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::api::{Event, SocketId};
use crate::classify::{Classifier, ClassifierConfig, LifetimeSearch};
use crate::config::Detect;
use crate::cx::Cx;
use crate::kept::KeptProfile;
use crate::login::ProbeSeen;
use crate::nat::{Confidence, NatProfile};
use crate::ports::StepRule;
use crate::sockets::Owner;
use crate::timer::earliest;
use crate::wire::message::ToServer;
use crate::wire::secret::same;
use life::Life;

/// A profile older than this is measured again: home routers are restarted, laptops carried about.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Older still it is stale: the machine has slept, for the timer would have had it measured again.
const STALE_AGE: Duration = Duration::from_secs(660);
/// A NAT is asked no more often than this: none in use forgets sooner than twice this.
const MIN_KEEPALIVE: Duration = Duration::from_secs(5);
/// A hairpin packet is known by so many random bytes.
const TOKEN: usize = 16;

/// This is what is known of the own NAT, and what is being found out.
#[derive(Debug, Default)]
pub(crate) struct Detection {
    classifier: Option<Classifier>,
    life: Life,
    /// Tags on the wire, and whose they are.
    tags: BTreeMap<u32, Tag>,
    sequence: u16,
    hairpin: Option<[u8; TOKEN]>,
    profile: Option<NatProfile>,
    /// This is what this run has measured, without what was set by hand, network by network; the newest first.
    measured: Vec<KeptProfile>,
    /// This is what is known of a router of this name.
    router: Option<NatProfile>,
    /// This says whether a forwarded port counts.
    mapped: bool,
    renew_at: Option<Instant>,
    /// It is known then whether UDP is blocked, while the session runs over the stream.
    udp_tried_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Tag {
    Classifier(u32),
    Lifetime(u16),
    Knock(u16),
}

impl Detection {
    /// Keepalives must come this often (M31).
    pub(crate) fn keepalive(&self, configured: Duration) -> Duration {
        let Some(profile) = self.profile else { return configured };
        // Two thirds of what an idle mapping is known to live, or a third of what it is known not to, within reason; never
        // more than was configured.
        let lived = profile.timeout.map(|lives| lives * 2 / 3);
        let known = lived.or(profile.timeout_below.map(|below| below / 3));
        known.map_or(configured, |known| known.max(MIN_KEEPALIVE).min(configured))
    }

    /// Starts a detection, after a login or when the network has changed.
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        self.stop_classifier(cx);
        let Some(online) = cx.link.online() else { return self.stop(cx) };
        let continued = self.life.begin(cx.env.local, online);
        if !continued {
            self.stop_search(cx);
        }
        let Some(online) = cx.link.online() else { return };
        if online.over_stream() {
            self.udp_tried_at = Some(online.try_udp(cx.env.now));
            // It may be that UDP is slow, or has lost a few packets: what is known of the NAT may still be so.
            match self.profile.filter(|profile| !profile.udp_blocked) {
                Some(known) => {
                    self.tell_as_is(cx, NatProfile { confidence: Confidence::Stale, ..known });
                }
                None => {
                    self.profile = None;
                    let (profile, manual) = (NatProfile::UNKNOWN, self.manual(cx));
                    cx.tell(ToServer::Profile { profile, check: false, manual });
                }
            }
            return;
        }
        if !continued {
            self.tell_beforehand(cx);
        }
        let Some(online) = cx.link.online() else { return };
        let config = ClassifierConfig {
            targets: online.welcome.probe_targets.clone(),
            local: cx.env.local.to_vec(),
            rtt: online.session.timing(),
            step_rule: StepRule::default(),
        };
        self.classifier = Some(Classifier::new(cx.now, config));
        self.work(cx);
    }

    /// Measures no more, for example because the link to the server is gone. What is known stays known.
    pub(crate) fn stop(&mut self, cx: &mut Cx<'_>) {
        self.stop_classifier(cx);
        self.stop_search(cx);
    }

    fn stop_classifier(&mut self, cx: &mut Cx<'_>) {
        self.classifier = None;
        self.tags.retain(|_, tag| !matches!(tag, Tag::Classifier(_)));
        self.hairpin = None;
        self.renew_at = None;
        self.udp_tried_at = None;
        cx.sockets.close_all(&mut cx.env, |owner| matches!(owner, Owner::Classifier(_)));
    }

    /// UDP was tried for long enough while the session ran over the stream.
    fn udp_was_tried(&mut self, cx: &mut Cx<'_>) {
        if self.udp_tried_at.take_if(|at| *at <= cx.now).is_none() {
            return;
        }
        let Some(online) = cx.link.online().filter(|online| online.over_stream()) else { return };
        if online.udp_is_silent() {
            let blocked =
                NatProfile { udp_blocked: true, confidence: Confidence::Full, ..NatProfile::default() };
            self.tell_as_is(cx, blocked);
        } else {
            // It gets through, if not well enough for the session.
            self.udp_tried_at = Some(online.try_udp(cx.env.now));
        }
    }

    fn stop_search(&mut self, cx: &mut Cx<'_>) {
        self.life.search = None;
        self.tags.retain(|_, tag| matches!(tag, Tag::Classifier(_)));
        cx.sockets.close_all(&mut cx.env, |owner| matches!(owner, Owner::Lifetime(_)));
    }

    /// A socket of ours is open, or could not be opened.
    pub(crate) fn handle_socket(&mut self, cx: &mut Cx<'_>, owner: Owner, local: Option<SocketAddr>) {
        match owner {
            Owner::Classifier(slot) => {
                if let Some(classifier) = &mut self.classifier {
                    classifier.handle_socket(cx.now, slot, local.map(|local| local.port()));
                }
            }
            Owner::Lifetime(slot) => {
                if let Some(lifetime) = &mut self.life.search {
                    lifetime.handle_socket(cx.now, slot, local.is_some());
                }
            }
            Owner::Match(..) => return,
        }
        self.work(cx);
    }

    /// The server saw one of our probes.
    pub(crate) fn handle_seen(&mut self, cx: &mut Cx<'_>, (tag, seen, from): (u32, ProbeSeen, SocketAddr)) {
        match self.tags.get(&tag) {
            Some(Tag::Classifier(tag)) => {
                if let Some(classifier) = &mut self.classifier {
                    classifier.handle_seen(cx.now, *tag, seen.observed, from);
                }
            }
            Some(Tag::Lifetime(slot)) => {
                if let (Some(lifetime), Some(report)) = (&mut self.life.search, seen.report) {
                    lifetime.handle_report(cx.now, *slot, report);
                }
            }
            Some(Tag::Knock(slot)) => {
                if let Some(lifetime) = &mut self.life.search {
                    lifetime.handle_acknowledged(cx.now, *slot);
                }
            }
            None => return,
        }
        self.work(cx);
    }

    /// Notes that what the server was asked to send to a mapping of ours came in at this socket.
    pub(crate) fn handle_knock(&mut self, cx: &mut Cx<'_>, (tag, socket): (u32, SocketId)) {
        let Some(Tag::Knock(slot)) = self.tags.get(&tag).copied() else { return };
        // At another socket it proves nothing about this one's mapping.
        if cx.sockets.owner(socket) != Some(Owner::Lifetime(slot)) {
            return;
        }
        if let Some(lifetime) = &mut self.life.search {
            lifetime.handle_knock(slot);
        }
        self.work(cx);
    }

    /// Takes a datagram that only the own hairpin test can have sent. Returns true if it was that.
    pub(crate) fn handle_hairpin(&mut self, cx: &mut Cx<'_>, datagram: &[u8]) -> bool {
        let (Some(token), Some(classifier)) = (&self.hairpin, &mut self.classifier) else { return false };
        let ours = datagram.get(1..).is_some_and(|said| same(said, token.as_slice()));
        if ours {
            classifier.handle_hairpin(cx.now);
            // It may have been the last thing to find out.
            self.work(cx);
        }
        ours
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if self.renew_when_due(cx) {
            return;
        }
        self.udp_was_tried(cx);
        if let Some(classifier) = &mut self.classifier {
            classifier.handle_timeout(cx.now);
        }
        if let Some(lifetime) = &mut self.life.search {
            lifetime.handle_timeout(cx.now);
        }
        self.work(cx);
    }

    /// Measures anew what has grown old. Also right before the game's wishes are carried out: after a machine has slept, a
    /// request to join must not come before the word that the profile is stale.
    pub(crate) fn renew_when_due(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(renew_at) = self.renew_at.filter(|at| *at <= cx.now) else { return false };
        if let (true, Some(profile), true) =
            (cx.now >= renew_at + (STALE_AGE - MAX_AGE), self.profile, cx.link.is_online())
        {
            self.tell_as_is(cx, NatProfile { confidence: Confidence::Stale, ..profile });
        }
        self.start(cx);
        true
    }

    /// Tells game and server. Where the server works it out, its answer comes back as the profile to go by.
    fn tell(&mut self, cx: &mut Cx<'_>, profile: NatProfile) {
        let manual = self.manual(cx);
        let profile = manual.over(profile);
        let check = cx.config.detect == Detect::Server;
        cx.tell(ToServer::Profile { profile, check, manual });
        self.profile = Some(profile);
        if !check {
            self.show(cx);
        }
    }

    /// Tells the game what was measured, and the forwarded port above it.
    fn show(&self, cx: &mut Cx<'_>) {
        if let Some(profile) = self.profile {
            cx.emit(Event::Nat(if self.mapped { profile.with_mapped_port() } else { profile }));
        }
    }

    /// Notes whether a forwarded port counts.
    pub(crate) fn set_mapped(&mut self, cx: &mut Cx<'_>, mapped: bool) {
        if std::mem::replace(&mut self.mapped, mapped) != mapped {
            // Nothing may have been measured yet.
            self.profile.get_or_insert_default();
            self.show(cx);
        }
    }

    /// Tells game and server a profile as it is, of which the server has no better knowledge.
    fn tell_as_is(&mut self, cx: &mut Cx<'_>, profile: NatProfile) {
        let manual = self.manual(cx);
        cx.tell(ToServer::Profile { profile, check: false, manual });
        self.profile = Some(profile);
        self.show(cx);
    }

    /// Takes the profile that the server has worked out (M7, E1).
    pub(crate) fn handle_profile(&mut self, cx: &mut Cx<'_>, profile: NatProfile) {
        // It may have crossed the news of a search on the way.
        self.profile = Some(self.manual(cx).over(self.life.add_to(profile.plausible())));
        self.show(cx);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let classifier = self.classifier.as_ref().and_then(Classifier::poll_timeout);
        let lifetime = self.life.search.as_ref().and_then(LifetimeSearch::poll_timeout);
        earliest(earliest(classifier, lifetime), earliest(self.renew_at, self.udp_tried_at))
    }
}
