//! How long mappings live in the present network: what is known of it, and the search that runs.

use std::net::IpAddr;

use crate::classify::{Lifetime, LifetimeSearch, RttEstimate};
use crate::login::Online;
use crate::nat::{NatKind, NatProfile};

/// This says where the machine is, as far as mappings are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Network {
    public: IpAddr,
    local: Vec<IpAddr>,
}

/// This is what is known of the lifetime of mappings in the present network.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) search: Option<LifetimeSearch>,
    /// The session whose reports the search has: the server knows them in this session alone.
    session: Option<u64>,
    network: Option<Network>,
    known: Lifetime,
    /// Something was known when the search began.
    renewing: bool,
}

impl Life {
    /// A new measurement begins. What is known stays in the same network, and the search that runs goes on in the same
    /// session: a link that comes and goes must not keep it from its end. False if it has to be dropped.
    pub(super) fn begin(&mut self, local: &[IpAddr], online: &Online) -> bool {
        let network = Network { public: online.public.ip(), local: local.to_vec() };
        let same_network = self.network.as_ref() == Some(&network);
        let same_session = self.session == Some(online.welcome.session);
        if !same_network {
            *self = Self { network: Some(network), ..Self::default() };
        } else if !same_session {
            self.search = None;
        }
        self.session = Some(online.welcome.session);
        same_network && same_session
    }

    /// The NAT is known otherwise.
    pub(super) fn classified(&mut self, timing: RttEstimate, profile: &NatProfile) {
        // Where nothing was seen nothing can be sent to, and where nothing filters nothing is forgotten.
        if self.search.is_none() && !matches!(profile.kind(), NatKind::None | NatKind::UdpBlocked) {
            self.renewing = self.known != Lifetime::default();
            self.search = Some(LifetimeSearch::new(timing));
        }
    }

    /// Returns whether the search has news, and whether it is over. A short life must be known soon; but what is
    /// known of this network already stays until all of it is renewed.
    pub(super) fn progress(&mut self) -> (bool, bool) {
        let Some(search) = &self.search else { return (false, false) };
        let (found, done) = (search.lifetime(), search.is_done());
        let news = found != self.known && found != Lifetime::default() && (done || !self.renewing);
        if news {
            self.known = found;
        }
        if done {
            self.search = None;
        }
        (news, done)
    }

    /// Returns the profile with what is known here.
    pub(super) fn add_to(&self, profile: NatProfile) -> NatProfile {
        NatProfile { timeout: self.known.at_least, timeout_below: self.known.below, ..profile }
    }
}
