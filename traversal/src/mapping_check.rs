//! Checks whether a port that the router forwards leads here from all of the internet.
//!
//! UPnP, NAT-PMP and PCP speak to the nearest NAT only. Behind a second one (a carrier's, or a router behind a router)
//! a mapping is granted all the same and leads nowhere. So nothing is believed: the lobby server sends to the port from
//! an address that this socket has never sent to, and only the echo of what arrives makes the port count.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::address::{Scope, scope};
use crate::api::{Event, SocketId};
use crate::config::RelayPolicy;
use crate::cx::Cx;
use crate::login::{Contacted, Online};
use crate::port_mapping::{NoPortMapping, PortMapping, PortMappingState};
use crate::timer::{due, earliest};
use crate::wire::message::{Frame, Probe, ProbePurpose, ToServer};

/// One check sends so many probes at the most. Each loss costs little, and with a tenth of the packets lost each way
/// one check in 4,000 fails.
const TRIES: u32 = 5;
/// This is the least wait between two of them; it is more where an answer takes longer: the server answers so many
/// per address (`mapped_port_rate`) and no more.
const MIN_GAP: Duration = Duration::from_millis(250);
/// Tags of these probes: classification uses the local port in the upper half, which is never 0.
const TAG: u32 = 0x5050;

/// This is where the agent runs the check.
#[derive(Debug, Default)]
pub(crate) struct MappingCheck {
    granted: Option<PortMapping>,
    state: PortMappingState,
    probing: Option<Probing>,
    /// It cannot be tried now, since this socket has sent to the address that would prove it; then it can.
    again: Option<Instant>,
    /// This says where the server saw this player when the check began.
    public: Option<SocketAddr>,
    /// The server tells others of it, or will: it must hear when that is over.
    told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Probing {
    tries: u32,
    next: Instant,
}

impl MappingCheck {
    /// Returns whether the port is proven, and so counts.
    pub(crate) fn is_verified(&self) -> bool {
        matches!(self.state, PortMappingState::Verified { .. })
    }

    /// Takes what the driver has from the router; it comes again after each renewal.
    pub(crate) fn set(&mut self, cx: &mut Cx<'_>, news: Result<PortMapping, NoPortMapping>) {
        let renewed = news.ok() == self.granted && self.is_verified();
        self.granted = news.ok();
        match news {
            // It counts until the check says otherwise.
            Ok(_) if renewed => self.probing = Some(Probing { tries: 0, next: cx.now }),
            Ok(_) => self.begin(cx),
            Err(why) => self.fail(cx, PortMappingState::None(why)),
        }
        self.handle_timeout(cx);
    }

    /// Begins anew after a login: the new session knows nothing of the port.
    pub(crate) fn logged_in(&mut self, cx: &mut Cx<'_>) {
        self.told = false;
        self.look_again(cx);
    }

    /// Begins from the start, for example because the session goes another way now.
    pub(crate) fn look_again(&mut self, cx: &mut Cx<'_>) {
        self.begin(cx);
        self.handle_timeout(cx);
    }

    /// Asks no more, for example because the link to the server is gone.
    pub(crate) fn stop(&mut self, cx: &mut Cx<'_>) {
        (self.probing, self.told) = (None, false);
        if let Some(mapping) = self.granted {
            self.enter(cx, PortMappingState::Checking(mapping));
        }
    }

    /// The machine has other addresses now: the mapping was for the old one.
    pub(crate) fn network_changed(&mut self, cx: &mut Cx<'_>) {
        if self.granted.take().is_some() {
            self.fail(cx, PortMappingState::None(NoPortMapping::NotAsked));
        }
    }

    fn enter(&mut self, cx: &mut Cx<'_>, state: PortMappingState) {
        if self.state != state {
            self.state = state;
            cx.emit(Event::PortMapping(state));
        }
    }

    fn fail(&mut self, cx: &mut Cx<'_>, state: PortMappingState) {
        self.probing = None;
        if std::mem::take(&mut self.told) {
            cx.tell(ToServer::MappedPort(None));
        }
        self.enter(cx, state);
    }

    fn begin(&mut self, cx: &mut Cx<'_>) {
        self.again = None;
        let Some(mapping) = self.granted else { return };
        if cx.config.relay == RelayPolicy::Only {
            // Nobody is ever told an address of this player.
            return self.fail(cx, PortMappingState::None(NoPortMapping::NotNeeded));
        }
        let contacted = cx.link.contacted().lately(cx.now);
        let Some(online) = cx.link.online() else {
            return self.enter(cx, PortMappingState::Checking(mapping));
        };
        self.public = Some(online.public);
        match judge(cx.env.local, online, mapping, &contacted) {
            Some(state) => {
                let elsewhere = |target: &SocketAddr| target.ip() != online.server.ip();
                if matches!(state, PortMappingState::Unproven(_))
                    && online.public.is_ipv4()
                    && online.welcome.probe_targets.iter().any(elsewhere)
                {
                    self.again = Some(cx.now + Contacted::KEPT);
                }
                self.fail(cx, state);
            }
            None => {
                self.probing = Some(Probing { tries: 0, next: cx.now });
                self.enter(cx, PortMappingState::Checking(mapping));
            }
        }
    }

    /// Handles what came to the forwarded port, or says that it did.
    pub(crate) fn handle_seen(&mut self, cx: &mut Cx<'_>, (port, token, from): (u16, [u8; 16], SocketAddr)) {
        let Some(mapping) = self.granted.filter(|mapping| mapping.external_port == port) else { return };
        if self.probing.is_none() {
            return;
        }
        let contacted = cx.link.contacted().lately(cx.now);
        let Some(online) = cx.link.online() else { return };
        let proves = from.ip() != online.server.ip()
            && online.welcome.probe_targets.contains(&from)
            && !(contacted.contains(&from.ip()) && online.public.port() == mapping.external_port);
        if proves {
            self.probing = None;
            self.told = true;
            cx.tell(ToServer::MappedPort(Some(token)));
        }
    }

    /// Takes the server's word: it tells others of this port, or does not.
    pub(crate) fn handle_verdict(&mut self, cx: &mut Cx<'_>, port: Option<u16>) {
        let Some(mapping) = self.granted else { return };
        match (port, self.public) {
            (Some(port), Some(public)) if port == mapping.external_port && self.told => {
                let address = SocketAddr::new(public.ip(), port);
                self.enter(cx, PortMappingState::Verified { mapping, address });
            }
            // The address of this player is another one now.
            (None, _) => {
                self.told = false;
                self.look_again(cx);
            }
            _ => {}
        }
    }

    /// Begins anew where the server sees this player elsewhere.
    pub(crate) fn watch(&mut self, cx: &mut Cx<'_>) {
        let public = cx.link.online().map(|online| online.public.ip());
        if public.is_some() && self.public.is_some_and(|known| Some(known.ip()) != public) {
            self.look_again(cx);
        }
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if due(self.again, cx.now) {
            self.begin(cx);
        }
        let (Some(mapping), Some(probing)) = (self.granted, self.probing) else { return };
        if !due(Some(probing.next), cx.now) {
            return;
        }
        if probing.tries >= TRIES {
            return self.fail(cx, PortMappingState::Unreachable(mapping));
        }
        let Some(online) = cx.link.online() else { return };
        let wait = online.session.timing().overdue().max(MIN_GAP);
        self.probing = Some(Probing { tries: probing.tries + 1, next: cx.env.now + wait });
        let purpose = ProbePurpose::MappedPort { port: mapping.external_port };
        let probe = Frame::Probe(Probe { tag: TAG, purpose });
        let server = online.server;
        if let Some(datagram) = cx.link.seal_probe(cx.env.now, &probe) {
            cx.transmit(SocketId::MAIN, server, datagram);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.probing.map(|probing| probing.next), self.again)
    }
}

/// Returns what can be said without sending anything; `None`: it must be tried.
fn judge(
    local: &[IpAddr],
    online: &Online,
    mapping: PortMapping,
    contacted: &BTreeSet<IpAddr>,
) -> Option<PortMappingState> {
    let public = online.public;
    if public.is_ipv6() {
        // The forwarded port is one of IPv4, and this session does not show where.
        return Some(PortMappingState::Unproven(mapping));
    }
    if scope(public.ip()) == Scope::Loopback || local.contains(&public.ip()) {
        return Some(PortMappingState::None(NoPortMapping::NotNeeded));
    }
    let elsewhere = mapping.external_ip.filter(|ip| !ip.is_unspecified() && *ip != public.ip());
    if elsewhere.is_some() || mapping.external_port < 1024 {
        return Some(PortMappingState::Unreachable(mapping));
    }
    let targets = &online.welcome.probe_targets;
    let fresh = |target: &&SocketAddr| {
        target.ip() != online.server.ip()
            && (!contacted.contains(&target.ip()) || public.port() != mapping.external_port)
    };
    targets.iter().find(fresh).is_none().then_some(PortMappingState::Unproven(mapping))
}
