//! Ports forwarded by rule, as a router does after UPnP, NAT-PMP or PCP.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Proto;

/// It holds the rules, and the flows that came in by them.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    rules: HashMap<(Proto, SocketAddr), SocketAddr>,
    /// These flows came by a rule: by inner endpoint and remote, the rule's address and how long the flow lives.
    flows: HashMap<(Proto, SocketAddr, SocketAddr), (SocketAddr, Duration)>,
}

impl Forwards {
    pub(super) fn add(&mut self, proto: Proto, external: SocketAddr, internal: SocketAddr) {
        self.rules.insert((proto, external), internal);
    }

    pub(super) fn remove(&mut self, proto: Proto, external: SocketAddr) {
        self.rules.remove(&(proto, external));
        self.flows.retain(|_, (by, _)| *by != external);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
        self.flows.clear();
    }

    /// Returns to whom packets to this external endpoint go, where a port is forwarded.
    pub(super) fn rule(&self, proto: Proto, external: SocketAddr) -> Option<SocketAddr> {
        self.rules.get(&(proto, external)).copied()
    }

    /// Something came in by a rule, or goes out as an answer to it.
    pub(super) fn note(
        &mut self,
        (proto, internal, remote): (Proto, SocketAddr, SocketAddr),
        external: SocketAddr,
        until: Duration,
    ) {
        self.flows.insert((proto, internal, remote), (external, until));
    }

    /// Returns the external endpoint by which an answer to what came in by a rule leaves.
    pub(super) fn answer(&self, now: Duration, flow: (Proto, SocketAddr, SocketAddr)) -> Option<SocketAddr> {
        self.flows.get(&flow).filter(|(_, until)| *until > now).map(|(external, _)| *external)
    }
}
