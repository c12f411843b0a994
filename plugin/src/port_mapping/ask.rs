//! One router: what it speaks, and what it grants.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use crab_nat::pcp::{self, BaseMapRequest};
use crab_nat::{
    GatewayAddress, InternetProtocol, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp,
};
use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, PortMappingProtocol, SearchOptions};
use tokio::task::JoinSet;
use tokio::time::timeout;
use traversal_core::{MappingProtocol, NoPortMapping, PortMapping};

use super::{Route, Settings, name};

/// NAT-PMP's and PCP's first wait is 250 ms and doubles (RFC 6886 section 3.1). They go on for minutes; a router on
/// the own network that is silent to three tries will not speak.
const TRIES: TimeoutConfig =
    TimeoutConfig { initial_timeout: Duration::from_millis(250), max_retries: 2, max_retry_timeout: None };
/// For finding out who speaks at all, and for giving back.
const FEW_TRIES: TimeoutConfig = TimeoutConfig { max_retries: 1, ..TRIES };
/// A device may take up to the time that the search names (its MX header), and has to be asked what it can.
const SEARCH: Duration = Duration::from_millis(4000);
/// For the search at the router itself, which need not wait its turn.
const SEARCH_ROUTER: Duration = Duration::from_millis(1500);
/// For one request to a UPnP device: slow ones take a second or two.
const REQUEST: Duration = Duration::from_secs(4);
/// What the router shows to its owner.
const DESCRIPTION: &str = "game (bevy_traversal)";
/// Ports that are tried where the wanted one belongs to somebody else.
const PORTS: usize = 4;
/// Who answered.
pub(super) struct Found {
    /// Something speaks NAT-PMP or PCP.
    port_control: bool,
    /// The search for a UPnP device, which takes longer; dropping it ends it.
    upnp: JoinSet<Option<Gateway<Tokio>>>,
}

/// What a router has granted.
pub(super) enum Lease {
    Upnp {
        gateway: Box<Gateway<Tokio>>,
        /// The game's port.
        internal: u16,
        mapping: PortMapping,
        /// 0: for ever.
        seconds: u32,
    },
    /// NAT-PMP or PCP.
    PortControl { lease: crab_nat::PortMapping, mapping: PortMapping },
}

/// Finds out what the router speaks. Asks for nothing yet.
pub(super) async fn search(settings: &Settings, route: Route) -> Found {
    let wants = |protocol| settings.protocols.contains(&protocol);
    let mut upnp = JoinSet::new();
    if wants(MappingProtocol::Upnp) {
        let (search, named) =
            (search_upnp(settings.ssdp, settings.trusted.clone(), route), settings.named.clone());
        upnp.spawn(async move {
            let gateway = search.await?;
            // Another device on this network says nothing about the router.
            if gateway.addr.ip() == IpAddr::V4(route.gateway) {
                let (address, path) = (gateway.addr, gateway.root_url.clone());
                tokio::spawn(async move {
                    if let Some(name) = name::ask(address, &path).await {
                        named(name);
                    }
                });
            }
            Some(gateway)
        });
    }
    let port_control = (wants(MappingProtocol::NatPmp) || wants(MappingProtocol::Pcp)) && {
        // Both protocols understand the question, and say so when they do not like it.
        let answer = natpmp::external_address(gateway(route), Some(FEW_TRIES)).await;
        !matches!(answer, Err(natpmp::Failure::Timeout | natpmp::Failure::Socket(_)))
    };
    Found { port_control, upnp }
}

/// The router itself rather than any other device that calls itself one.
async fn search_upnp(ssdp: SocketAddr, trusted: Vec<IpAddr>, route: Route) -> Option<Gateway<Tokio>> {
    let search = |to: SocketAddr, patience: Duration| {
        let mut options = SearchOptions::default();
        options.bind_addr = SocketAddr::from((route.local, 0));
        options.broadcast_address = to;
        options.timeout = Some(patience);
        options.single_search_timeout = Some(patience);
        options.allowed_gateway_ips.clone_from(&trusted);
        async move { search_gateway(options).await.ok() }
    };
    let mut any = JoinSet::new();
    any.spawn(search(ssdp, SEARCH));
    match search(SocketAddr::from((route.gateway, ssdp.port())), SEARCH_ROUTER).await {
        Some(router) => Some(router),
        None => any.join_next().await?.ok()?,
    }
}

/// Asks for a port, by the first protocol that grants one.
pub(super) async fn ask(
    settings: &Settings,
    route: Route,
    port: u16,
    found: Found,
) -> Result<Lease, NoPortMapping> {
    let Found { port_control, mut upnp } = found;
    let Some(internal) = NonZeroU16::new(port) else { return Err(NoPortMapping::NotAsked) };
    let mut refused = false;
    for protocol in &settings.protocols {
        let granted = match protocol {
            MappingProtocol::Pcp if port_control => ask_pcp(settings, route, internal, None).await,
            MappingProtocol::NatPmp if port_control => ask_natpmp(settings, route, internal).await,
            MappingProtocol::Upnp => match upnp.join_next().await {
                Some(Ok(Some(gateway))) => ask_upnp(settings, route, port, &gateway).await,
                _ => continue,
            },
            _ => continue,
        };
        match granted {
            Some(lease) => return Ok(lease),
            None => refused = true,
        }
    }
    Err(if refused { NoPortMapping::Refused } else { NoPortMapping::Silent })
}

fn gateway(route: Route) -> GatewayAddress {
    GatewayAddress::IpV4(route.gateway)
}

fn options(settings: &Settings, external: NonZeroU16) -> PortMappingOptions {
    PortMappingOptions {
        external_port: Some(external),
        lifetime_seconds: Some(settings.lease),
        timeout_config: Some(TRIES),
    }
}

/// An address that says something.
fn known(ip: IpAddr) -> Option<IpAddr> {
    let ip = ip.to_canonical();
    (!ip.is_unspecified()).then_some(ip)
}

async fn ask_pcp(
    settings: &Settings,
    route: Route,
    internal: NonZeroU16,
    old: Option<(pcp::Nonce, IpAddr, NonZeroU16)>,
) -> Option<Lease> {
    let base = BaseMapRequest::new(gateway(route), IpAddr::V4(route.local), InternetProtocol::Udp, internal);
    let nonce = old.map(|(nonce, ..)| nonce);
    let ip = old.map(|(_, ip, _)| ip);
    let external = old.map_or(internal, |(.., external)| external);
    match pcp::port_mapping(base, nonce, ip, options(settings, external)).await {
        Ok(lease) => Lease::granted(lease, None),
        Err(error) => {
            bevy_log::debug!("no port mapping by PCP: {error}");
            None
        }
    }
}

async fn ask_natpmp(settings: &Settings, route: Route, internal: NonZeroU16) -> Option<Lease> {
    let granted =
        natpmp::port_mapping(gateway(route), InternetProtocol::Udp, internal, options(settings, internal))
            .await;
    match granted {
        Ok(lease) => {
            let ip = natpmp::external_address(gateway(route), Some(FEW_TRIES)).await.ok();
            Lease::granted(lease, ip.map(IpAddr::V4))
        }
        Err(error) => {
            bevy_log::debug!("no port mapping by NAT-PMP: {error}");
            None
        }
    }
}

async fn ask_upnp(settings: &Settings, route: Route, port: u16, gateway: &Gateway<Tokio>) -> Option<Lease> {
    let mut seconds = settings.lease;
    let mut external = port.max(1024);
    let mut ports = 1;
    loop {
        match add_upnp(gateway, route, (port, external), seconds).await {
            Some(Ok(())) => break,
            // Some know only mappings for ever: those are given back all the more carefully.
            Some(Err(AddPortError::OnlyPermanentLeasesSupported)) if seconds != 0 => seconds = 0,
            Some(Err(AddPortError::PortInUse)) if ports < PORTS => {
                ports += 1;
                external = another_port()?;
            }
            Some(Err(error)) => {
                bevy_log::debug!("no port mapping by UPnP: {error}");
                return None;
            }
            None => {
                bevy_log::debug!("no port mapping by UPnP: no answer");
                return None;
            }
        }
    }
    let ip = timeout(REQUEST, gateway.get_external_ip()).await;
    let external_ip = ip.ok().and_then(Result::ok).and_then(known);
    let mapping = PortMapping { protocol: MappingProtocol::Upnp, external_ip, external_port: external };
    Some(Lease::Upnp { gateway: Box::new(gateway.clone()), internal: port, mapping, seconds })
}

/// None: no answer.
async fn add_upnp(
    gateway: &Gateway<Tokio>,
    route: Route,
    (internal, external): (u16, u16),
    seconds: u32,
) -> Option<Result<(), AddPortError>> {
    let local = SocketAddr::from((route.local, internal));
    let request = gateway.add_port(PortMappingProtocol::UDP, external, local, seconds, DESCRIPTION);
    timeout(REQUEST, request).await.ok()
}

/// Any port above the well-known and the commonly used ones.
fn another_port() -> Option<u16> {
    let random = getrandom::u32().ok()?;
    u16::try_from(20_000 + random % 40_000).ok()
}

impl Lease {
    fn granted(lease: crab_nat::PortMapping, external_ip: Option<IpAddr>) -> Option<Self> {
        let (protocol, external_ip) = match lease.mapping_type() {
            PortMappingType::NatPmp => (MappingProtocol::NatPmp, external_ip),
            PortMappingType::Pcp { external_ip, .. } => (MappingProtocol::Pcp, Some(external_ip)),
        };
        let external_port = lease.external_port().get();
        let mapping = PortMapping { protocol, external_ip: external_ip.and_then(known), external_port };
        // For no time at all is a no.
        (lease.lifetime() > 0).then_some(Self::PortControl { lease, mapping })
    }

    pub(super) fn mapping(&self) -> PortMapping {
        match self {
            Self::Upnp { mapping, .. } | Self::PortControl { mapping, .. } => *mapping,
        }
    }

    pub(super) fn renew_after(&self, settings: &Settings) -> Duration {
        let seconds = match self {
            Self::Upnp { seconds: 0, .. } => u32::MAX,
            Self::Upnp { seconds, .. } => *seconds,
            Self::PortControl { lease, .. } => lease.lifetime(),
        };
        let (least, most) = settings.renew;
        (Duration::from_secs(u64::from(seconds)) / 2).clamp(least, most)
    }

    /// The same again; gives it back, as far as the router listens, where it must be obtained anew.
    pub(super) async fn renew(self, settings: &Settings, route: Route) -> Option<Self> {
        match self {
            Self::Upnp { gateway, internal, mapping, seconds } => {
                let ports = (internal, mapping.external_port);
                if matches!(add_upnp(&gateway, route, ports, seconds).await, Some(Ok(()))) {
                    return Some(Self::Upnp { gateway, internal, mapping, seconds });
                }
                Self::Upnp { gateway, internal, mapping, seconds }.release().await;
                None
            }
            Self::PortControl { lease, .. } => match lease.mapping_type() {
                PortMappingType::Pcp { nonce, external_ip, .. } => {
                    let old = (nonce, external_ip, lease.external_port());
                    ask_pcp(settings, route, lease.internal_port(), Some(old)).await
                }
                PortMappingType::NatPmp => ask_natpmp(settings, route, lease.internal_port()).await,
            },
        }
    }

    /// Gives it back.
    pub(super) async fn release(self) {
        match self {
            Self::Upnp { gateway, mapping, .. } => {
                let removal = gateway.remove_port(PortMappingProtocol::UDP, mapping.external_port);
                if !matches!(timeout(REQUEST, removal).await, Ok(Ok(()))) {
                    bevy_log::debug!("the router keeps its port mapping");
                }
            }
            Self::PortControl { mut lease, .. } => {
                lease.timeout_config = FEW_TRIES;
                if let Err((error, _)) = lease.try_drop().await {
                    bevy_log::debug!("the router keeps its port mapping: {error}");
                }
            }
        }
    }
}
