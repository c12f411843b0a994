//! A port that the router forwards to the game's socket: whether it leads here from all of the internet.
//!
//! UPnP, NAT-PMP and PCP speak to the nearest NAT only. Behind a second one (a carrier's, or a router behind a router)
//! a mapping is granted all the same and leads nowhere. So nothing is believed: the lobby server sends to the port from
//! an address that this socket has never sent to, and only the echo of what arrives makes the port count.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::address::{Scope, is_local, scope};
use crate::api::{Event, SocketId};
use crate::config::RelayPolicy;
use crate::cx::Cx;
use crate::login::Online;
use crate::timer::due;
use crate::wire::message::{Frame, Probe, ProbePurpose, ToServer};

/// Probes of one check. Each loss costs little, and with a tenth of the packets lost each way one check in 4,000 fails.
const TRIES: u32 = 5;
/// Least wait between two of them, and more where an answer takes longer: the server answers so many per address
/// (`mapped_port_rate`) and no more.
const MIN_GAP: Duration = Duration::from_millis(250);
/// Tags of these probes: classification uses the local port in the upper half, which is never 0.
const TAG: u32 = 0x5050;

/// How a router was asked for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MappingProtocol {
    /// UPnP Internet Gateway Device.
    Upnp,
    /// NAT Port Mapping Protocol (RFC 6886).
    NatPmp,
    /// Port Control Protocol (RFC 6887).
    Pcp,
}

impl MappingProtocol {
    /// All, the preferred one first: the newest, whose answers say most.
    pub const ALL: [Self; 3] = [Self::Pcp, Self::NatPmp, Self::Upnp];

    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upnp => "upnp",
            Self::NatPmp => "nat-pmp",
            Self::Pcp => "pcp",
        }
    }
}

impl fmt::Display for MappingProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upnp => "UPnP",
            Self::NatPmp => "NAT-PMP",
            Self::Pcp => "PCP",
        })
    }
}

/// What a router granted: a port that it forwards to the game's IPv4 socket, or says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortMapping {
    /// How it was asked.
    pub protocol: MappingProtocol,
    /// The router's own idea of its public address, if it has one.
    pub external_ip: Option<IpAddr>,
    /// The forwarded port.
    pub external_port: u16,
}

/// Why no port is forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NoPortMapping {
    /// Nobody has asked a router (yet).
    #[default]
    #[error("no router was asked for a port")]
    NotAsked,
    /// The public address is the machine's own, or the lobby server is on this machine.
    #[error("no port mapping is needed")]
    NotNeeded,
    /// The machine has no router.
    #[error("there is no router to ask for a port")]
    NoRouter,
    /// The router speaks none of the protocols.
    #[error("the router does not answer UPnP, NAT-PMP or PCP; switch one of them on in its settings")]
    Silent,
    /// The router said no, or nothing that makes sense.
    #[error("the router refuses to forward a port; its settings may say why")]
    Refused,
}

/// How it stands with the port mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PortMappingState {
    /// There is none.
    None(NoPortMapping),
    /// The router has granted one, and the server has not reached it (yet).
    Checking(PortMapping),
    /// The server's second address has reached it: everybody can.
    Verified {
        /// What the router granted.
        mapping: PortMapping,
        /// Where other players reach this one.
        address: SocketAddr,
    },
    /// It does not lead here: another NAT stands before the router, or a firewall.
    Unreachable(PortMapping),
    /// This server cannot tell, having only one address that this socket has not sent to. So it does not count.
    Unproven(PortMapping),
}

impl Default for PortMappingState {
    fn default() -> Self {
        Self::None(NoPortMapping::default())
    }
}

impl PortMappingState {
    /// What the router granted, if it did.
    pub fn mapping(&self) -> Option<PortMapping> {
        match self {
            Self::None(_) => None,
            Self::Checking(mapping)
            | Self::Verified { mapping, .. }
            | Self::Unreachable(mapping)
            | Self::Unproven(mapping) => Some(*mapping),
        }
    }

    /// Where other players reach this one, if that is proven.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Verified { address, .. } => Some(*address),
            _ => None,
        }
    }

    /// As in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None(_) => "none",
            Self::Checking(_) => "checking",
            Self::Verified { .. } => "verified",
            Self::Unreachable(_) => "unreachable",
            Self::Unproven(_) => "unproven",
        }
    }
}

impl fmt::Display for PortMappingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None(why) => why.fmt(f),
            Self::Checking(mapping) => {
                write!(f, "the router granted port {} by {}", mapping.external_port, mapping.protocol)
            }
            Self::Verified { mapping, address } => {
                write!(f, "the router forwards {address} by {}, and everybody gets through", mapping.protocol)
            }
            Self::Unreachable(PortMapping { protocol, external_ip: Some(ip), external_port, .. })
                if is_local(*ip) =>
            {
                write!(
                    f,
                    "the router granted port {external_port} by {protocol}, but its own address is {ip}: it is behind another \
                     router (double NAT); switch one of the two to bridge mode, or forward the port there too"
                )
            }
            Self::Unreachable(mapping) => write!(
                f,
                "the router granted port {} by {}, but nothing gets through: another NAT stands before it",
                mapping.external_port, mapping.protocol
            ),
            Self::Unproven(mapping) => write!(
                f,
                "the router granted port {} by {}; a lobby server with one address cannot prove that it works",
                mapping.external_port, mapping.protocol
            ),
        }
    }
}

/// Hosts the check in the agent.
#[derive(Debug, Default)]
pub(crate) struct MappingCheck {
    granted: Option<PortMapping>,
    state: PortMappingState,
    probing: Option<Probing>,
    /// Where the server saw this player when the check began.
    public: Option<SocketAddr>,
    /// The server tells others of it, or will: it must hear when that is over.
    told: bool,
    /// Addresses that the game's socket has sent to as a lobby server's: what comes from there proves nothing, since
    /// the NAT may let it in as an answer.
    contacted: BTreeSet<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Probing {
    tries: u32,
    next: Instant,
}

impl MappingCheck {
    /// The port counts.
    pub(crate) fn is_verified(&self) -> bool {
        matches!(self.state, PortMappingState::Verified { .. })
    }

    /// The game's socket will send to these.
    pub(crate) fn contact(&mut self, servers: &[SocketAddr]) {
        self.contacted.extend(servers.iter().map(SocketAddr::ip));
    }

    /// What the driver has from the router; again after each renewal.
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

    /// A new session knows nothing of it.
    pub(crate) fn logged_in(&mut self, cx: &mut Cx<'_>) {
        self.told = false;
        self.look_again(cx);
    }

    /// From the beginning, for example because the session goes another way now.
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
        let Some(mapping) = self.granted else { return };
        if cx.config.relay == RelayPolicy::Only {
            // Nobody is ever told an address of this player.
            return self.fail(cx, PortMappingState::None(NoPortMapping::NotNeeded));
        }
        let Some(online) = cx.link.online() else {
            return self.enter(cx, PortMappingState::Checking(mapping));
        };
        self.public = Some(online.public);
        match judge(cx.env.local, online, mapping, &self.contacted) {
            Some(state) => self.fail(cx, state),
            None => {
                self.probing = Some(Probing { tries: 0, next: cx.now });
                self.enter(cx, PortMappingState::Checking(mapping));
            }
        }
    }

    /// Something came to the forwarded port, or says so.
    pub(crate) fn handle_seen(&mut self, cx: &mut Cx<'_>, (port, token, from): (u16, [u8; 16], SocketAddr)) {
        let Some(mapping) = self.granted.filter(|mapping| mapping.external_port == port) else { return };
        if self.probing.is_none() {
            return;
        }
        let Some(online) = cx.link.online() else { return };
        let proves = from.ip() != online.server.ip()
            && online.welcome.probe_targets.contains(&from)
            && !(self.contacted.contains(&from.ip()) && online.public.port() == mapping.external_port);
        if proves {
            self.probing = None;
            self.told = true;
            cx.tell(ToServer::MappedPort(Some(token)));
        }
    }

    /// The server's word: it tells others of this port, or does not.
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
        self.probing.map(|probing| probing.next)
    }
}

/// What can be said without sending anything; none: it must be tried.
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
