//! What is known of the own NAT without measuring it, or from an earlier measurement: set by hand, kept, told by the router.

use crate::api::Event;
use crate::cx::Cx;
use crate::facts::NatFacts;
use crate::kept::{self, KeptProfile, Network, hint};
use crate::known_routers::{self, RouterName};
use crate::nat::{Confidence, NatProfile};
use crate::wire::message::ToServer;

use super::Detection;

/// The network that this machine is in, while it is logged in.
fn here(cx: &mut Cx<'_>) -> Option<Network> {
    let public = cx.link.online()?.public.ip();
    Some(Network::of(public, cx.env.local))
}

impl Detection {
    /// Before anything is measured: what was set by hand over what this network's NAT was before (M9), for who joins right
    /// after the login.
    pub(super) fn tell_beforehand(&mut self, cx: &mut Cx<'_>) {
        let Some(online) = cx.link.online() else { return };
        let network = Network::of(online.public.ip(), cx.env.local);
        let router = self.router.filter(|_| online.server.is_ipv4());
        let hint = hint(self.measured.iter().chain(&cx.config.kept), &network).or(router);
        let manual = self.manual(cx);
        if hint.is_none() && manual == NatFacts::NONE {
            return;
        }
        let profile = manual.over(hint.unwrap_or(NatProfile::UNKNOWN));
        cx.tell(ToServer::Profile { profile, check: false, manual });
        // A few facts alone tell the game nothing yet.
        if profile.confidence != Confidence::Unknown {
            self.profile = Some(profile);
            self.show(cx);
        }
    }

    /// The router's name is known (M38): a hint, where there is no better one yet.
    pub(crate) fn set_router(&mut self, cx: &mut Cx<'_>, name: Option<RouterName>) {
        self.router = name.as_ref().and_then(known_routers::hint);
        let nothing_known = self.classifier.is_some()
            && self.profile.is_none_or(|profile| profile.confidence == Confidence::Unknown);
        if nothing_known {
            self.tell_beforehand(cx);
        }
    }

    /// A measurement is done: it serves as a hint after the next login in this network, and at the next start.
    pub(super) fn keep(&mut self, cx: &mut Cx<'_>, measured: NatProfile) {
        let Some(network) = here(cx) else { return };
        if let Some(new) = KeptProfile::of(network, measured) {
            kept::keep(&mut self.measured, new.clone());
            cx.emit(Event::NatMeasured(new));
        }
    }

    /// More is known of the lifetime of mappings in this network.
    pub(super) fn keep_lifetime(&mut self, cx: &mut Cx<'_>) {
        let Some(here) = here(cx) else { return };
        if let Some(kept) = self.measured.iter().find(|kept| kept.network == here) {
            let measured = self.life.add_to(kept.profile);
            self.keep(cx, measured);
        }
    }

    /// What was set by hand, if it can be.
    pub(super) fn manual(&self, cx: &Cx<'_>) -> NatFacts {
        if cx.config.manual.check().is_ok() { cx.config.manual } else { NatFacts::NONE }
    }
}
