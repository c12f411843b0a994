//! One router: what it speaks, and what it grants.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use crab_nat::pcp::{self, BaseMapRequest};
use crab_nat::{
    GatewayAddress, InternetProtocol, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp,
};
use tokio::task::JoinSet;
use traversal_core::{MappingProtocol, NoPortMapping, PortMapping};

use super::epoch::Epoch;
use super::upnp::{self, Renewal};
use super::{Route, Settings};

/// NAT-PMP's and PCP's first wait is 250 ms and doubles (RFC 6886 section 3.1). They go on for minutes; a router on
/// the own network that is silent to three tries will not speak.
const TRIES: TimeoutConfig =
    TimeoutConfig { initial_timeout: Duration::from_millis(250), max_retries: 2, max_retry_timeout: None };
/// These tries are for finding out who speaks at all, and for giving back.
const FEW_TRIES: TimeoutConfig = TimeoutConfig { max_retries: 1, ..TRIES };
/// This is the router that has answered, and by which protocol.
pub(super) struct Found {
    /// This says whether the router speaks NAT-PMP or PCP.
    port_control: bool,
    /// This is the search for a UPnP device, which takes longer; dropping it ends it.
    upnp: JoinSet<Vec<upnp::Service>>,
}

/// This is what a router has granted.
pub(super) enum Lease {
    Upnp {
        forward: upnp::Forward,
        mapping: PortMapping,
    },
    /// The router granted a mapping by NAT-PMP or PCP.
    PortControl {
        lease: crab_nat::PortMapping,
        mapping: PortMapping,
    },
}

/// Finds out what the router speaks. Asks for nothing yet.
pub(super) async fn search(settings: &Settings, route: Route) -> Found {
    let wants = |protocol| settings.protocols.contains(&protocol);
    let mut upnp = JoinSet::new();
    if wants(MappingProtocol::Upnp) {
        upnp.spawn(upnp::search(settings.ssdp, route, settings.named.clone()));
    }
    let port_control = (wants(MappingProtocol::NatPmp) || wants(MappingProtocol::Pcp)) && {
        // Both protocols understand the question, and say so when they do not like it.
        let answer = natpmp::external_address(gateway(route), Some(FEW_TRIES)).await;
        !matches!(answer, Err(natpmp::Failure::Timeout | natpmp::Failure::Socket(_)))
    };
    Found { port_control, upnp }
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
            MappingProtocol::Upnp => {
                let services = upnp.join_next().await.and_then(Result::ok).unwrap_or_default();
                match upnp::ask(settings, route, port, services).await {
                    Ok((forward, mapping)) => Some(Lease::Upnp { forward, mapping }),
                    Err(NoPortMapping::Silent) => continue,
                    Err(_) => None,
                }
            }
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

/// Returns the address, unless it says nothing (`0.0.0.0`).
pub(super) fn known(ip: IpAddr) -> Option<IpAddr> {
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

    /// Returns the router's clock when it granted this; UPnP has none.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Upnp { .. } => None,
            Self::PortControl { lease, .. } => Some(Epoch::new(lease.gateway_epoch())),
        }
    }

    pub(super) fn renew_after(&self, settings: &Settings) -> Duration {
        let seconds = match self {
            // One that is for ever is looked after all the same: a router that was restarted may have forgotten it.
            Self::Upnp { forward, .. } if forward.seconds == 0 => u32::MAX,
            Self::Upnp { forward, .. } => forward.seconds,
            Self::PortControl { lease, .. } => lease.lifetime(),
        };
        let (least, most) = settings.renew;
        (Duration::from_secs(u64::from(seconds)) / 2).clamp(least, most)
    }

    /// Obtains the same again; gives it back, as far as the router listens, where it must be obtained anew.
    pub(super) async fn renew(self, settings: &Settings, route: Route) -> Option<Self> {
        match self {
            Self::Upnp { forward, mapping } => match forward.renew().await {
                Renewal::Done(forward) => Some(Self::Upnp { forward, mapping }),
                Renewal::Lost => None,
                Renewal::Failed(forward) => {
                    forward.release().await;
                    None
                }
            },
            Self::PortControl { lease, .. } => match lease.mapping_type() {
                PortMappingType::Pcp { nonce, external_ip, .. } => {
                    let old = (nonce, external_ip, lease.external_port());
                    ask_pcp(settings, route, lease.internal_port(), Some(old)).await
                }
                PortMappingType::NatPmp => ask_natpmp(settings, route, lease.internal_port()).await,
            },
        }
    }

    /// Gives the mapping back to the router.
    pub(super) async fn release(self) {
        match self {
            Self::Upnp { forward, .. } => forward.release().await,
            Self::PortControl { mut lease, .. } => {
                lease.timeout_config = FEW_TRIES;
                if let Err((error, _)) = lease.try_drop().await {
                    bevy_log::debug!("the router keeps its port mapping: {error}");
                }
            }
        }
    }
}
