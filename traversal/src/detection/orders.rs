//! Carries out what the measurements want: sockets, probes, hairpin tests.

use std::net::SocketAddr;

use rand_chacha::rand_core::RngCore;

use super::{Detection, MAX_AGE, TOKEN, Tag};
use crate::api::SocketId;
use crate::classify::{Classifier, ClassifierOrder, LifetimeOrder, LifetimeSearch, ProbeTag};
use crate::cx::Cx;
use crate::sockets::Owner;
use crate::way::Way;
use crate::wire::Kind;
use crate::wire::message::{Frame, Probe, ProbePurpose};

/// This says what a probe on the wire is about.
#[derive(Clone, Copy, Debug)]
struct About {
    purpose: ProbePurpose,
    repeated: bool,
    burst: u8,
    whose: Tag,
}

impl Detection {
    /// Carries out what the measurements want.
    pub(super) fn work(&mut self, cx: &mut Cx<'_>) {
        let Some(uplink) = cx.link.uplink() else { return };
        let v6 = uplink.remote.is_ipv6();
        while let Some(order) = self.classifier.as_mut().and_then(Classifier::poll_order) {
            match order {
                ClassifierOrder::OpenSocket { slot } => {
                    cx.sockets.open(&mut cx.env, Owner::Classifier(slot), v6)
                }
                ClassifierOrder::CloseSocket { slot } => {
                    cx.sockets.close(&mut cx.env, Owner::Classifier(slot))
                }
                ClassifierOrder::Probe(probe) => {
                    if let Some(socket) = cx.sockets.get(Owner::Classifier(probe.slot)) {
                        let whose = Tag::Classifier(probe.tag);
                        let about = About {
                            purpose: probe.purpose,
                            repeated: probe.repeated,
                            burst: probe.burst,
                            whose,
                        };
                        self.probe(cx, socket, probe.target, about);
                    }
                }
                ClassifierOrder::Hairpin { slot, to, .. } => {
                    if let Some((socket, _)) = cx.sockets.get(Owner::Classifier(slot)) {
                        let token = self.hairpin.get_or_insert_with(|| {
                            let mut token = [0; TOKEN];
                            cx.env.rng.fill_bytes(&mut token);
                            token
                        });
                        let mut datagram = vec![Kind::Probe as u8];
                        datagram.extend_from_slice(token);
                        cx.transmit(socket, to, datagram);
                    }
                }
            }
        }
        if let Some(classifier) = self.classifier.take_if(|classifier| classifier.is_done()) {
            let measured = classifier.profile();
            cx.sockets.close_all(&mut cx.env, |owner| matches!(owner, Owner::Classifier(_)));
            self.renew_at = Some(cx.now + MAX_AGE);
            let measured = self.life.add_to(measured);
            self.tell(cx, measured);
            self.keep(cx, measured);
            self.life.classified(cx.link.timing(), &measured);
        }
        self.work_lifetime(cx);
    }

    /// Carries out what the search for the mapping's lifetime wants, and tells what it has found.
    fn work_lifetime(&mut self, cx: &mut Cx<'_>) {
        let Some(Way { socket: uplink, remote: server }) = cx.link.uplink() else { return };
        while let Some(order) = self.life.search.as_mut().and_then(LifetimeSearch::poll_order) {
            match order {
                LifetimeOrder::OpenSocket { slot } => {
                    cx.sockets.open(&mut cx.env, Owner::Lifetime(slot), server.is_ipv6());
                }
                LifetimeOrder::CloseSocket { slot } => cx.sockets.close(&mut cx.env, Owner::Lifetime(slot)),
                LifetimeOrder::Probe { slot } => {
                    if let Some(socket) = cx.sockets.get(Owner::Lifetime(slot)) {
                        let (purpose, whose) = (ProbePurpose::SignedReport, Tag::Lifetime(slot));
                        let about = About { purpose, repeated: true, burst: 0, whose };
                        self.probe(cx, socket, server, about);
                    }
                }
                LifetimeOrder::Knock { slot, report } => {
                    let (purpose, whose) = (ProbePurpose::Knock { report }, Tag::Knock(slot));
                    let about = About { purpose, repeated: true, burst: 0, whose };
                    self.probe(cx, (uplink, cx.main.v4), server, about);
                }
            }
        }
        let (news, over) = self.life.progress();
        if over {
            self.stop_search(cx);
        }
        if let (true, Some(profile)) = (news, self.profile) {
            self.tell(cx, self.life.add_to(profile));
            self.keep_lifetime(cx);
        }
    }

    fn probe(
        &mut self,
        cx: &mut Cx<'_>,
        (socket, local): (SocketId, SocketAddr),
        target: SocketAddr,
        about: About,
    ) {
        self.sequence = self.sequence.wrapping_add(1);
        let About { repeated, burst, .. } = about;
        let tag = ProbeTag { local_port: local.port(), repeated, burst, sequence: self.sequence };
        let tag = tag.into();
        self.tags.insert(tag, about.whose);
        let frame = Frame::Probe(Probe { tag, purpose: about.purpose });
        if let Some(datagram) = cx.link.seal_probe(cx.env.now, &frame) {
            cx.transmit(socket, target, datagram);
        }
    }
}
