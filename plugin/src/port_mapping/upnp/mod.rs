//! UPnP Internet Gateway Devices, versions 1 and 2, as they are and not as they should be: several connection services of
//! which one is connected, host names and odd bytes in their answers, error codes of their own, XML with mistakes in it.

mod description;
mod http;
mod soap;
mod ssdp;
mod xml;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use traversal_core::{MappingProtocol, NoPortMapping, PortMapping, RouterName};

use super::{Route, Settings};
use soap::Fault;

/// This is what the router shows to its owner.
const DESCRIPTION: &str = "game (bevy_traversal)";
/// At most this many ports are tried where the wanted one belongs to somebody else.
const PORTS: usize = 4;
/// A search asks at most this many devices for their description: a home has a router and perhaps a second one behind
/// it.
const MOST_DEVICES: usize = 8;
/// A device may take up to the time that the search names (its MX header), and has to be asked what it can.
const SEARCH: Duration = Duration::from_millis(4000);
/// The router itself need not wait its turn; after this time another device that calls itself one is taken.
const SEARCH_ROUTER: Duration = Duration::from_millis(1500);

/// Hears what the router calls itself.
type Named = Arc<dyn Fn(RouterName) + Send + Sync>;

/// This is one connection of a device to the outside: WANIPConnection or WANPPPConnection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    device: SocketAddr,
    /// This machine has this address on the device's network.
    local: Ipv4Addr,
    /// This is the path where it is controlled.
    control: String,
    /// Its type with the version, as the device says it.
    kind: String,
}

impl Service {
    /// It is of the second version (WANIPConnection:2).
    fn is_second(&self) -> bool {
        self.kind.ends_with(":2")
    }
}

/// This is a port that a device forwards.
pub(super) struct Forward {
    service: Service,
    route: Route,
    /// The game's socket has this port on this machine.
    internal: u16,
    external: u16,
    /// This is how long the mapping is granted, in seconds; 0: for ever.
    pub(super) seconds: u32,
}

/// This is what became of a renewal.
pub(super) enum Renewal {
    Done(Forward),
    /// Somebody else has the port by now: the router was restarted, and another machine was faster.
    Lost,
    /// It could not be renewed; it may still be there.
    Failed(Forward),
}

/// Looks for devices that forward ports: the connection services of the router, or of another device where the router is
/// not one, those first that are connected. Empty: there is none.
pub(super) async fn search(ssdp: SocketAddr, route: Route, named: Named) -> Vec<Service> {
    let (send, mut described) = mpsc::channel(MOST_DEVICES);
    let work = async move {
        let mut seen = HashSet::new();
        let Some(mut search) = ssdp::Search::start(ssdp, route).await else { return };
        while let Some(location) = search.next().await {
            if seen.len() >= MOST_DEVICES || !seen.insert(location.clone()) {
                continue;
            }
            let (send, named) = (send.clone(), named.clone());
            tokio::spawn(async move {
                let is_router = location.device.ip() == IpAddr::V4(route.gateway);
                let Some(found) = description::ask(&location).await else { return };
                // Another device on this network says nothing about the router.
                if let Some(name) = found.name.filter(|_| is_router) {
                    bevy_log::debug!("the router calls itself {name:?}");
                    named(name);
                }
                let services = connected_first(found.services).await;
                // The search may have ended.
                let _ = send.send((is_router, services)).await;
            });
        }
    };
    let began = Instant::now();
    let wait = async move {
        let mut other = Vec::new();
        loop {
            let until = if other.is_empty() { SEARCH } else { SEARCH_ROUTER };
            match timeout_at(began + until, described.recv()).await {
                Ok(Some((_, services))) if services.is_empty() => {}
                Ok(Some((true, services))) => return services,
                Ok(Some((false, services))) => other.extend(services),
                Ok(None) | Err(_) => return other,
            }
        }
    };
    // It ends with this function.
    let mut searching = JoinSet::new();
    searching.spawn(work);
    wait.await
}

/// A device may describe services whose cable is not plugged in, and forwards nothing there. One that does not say how it
/// stands is tried after those that are connected.
async fn connected_first(services: Vec<Service>) -> Vec<Service> {
    if services.len() < 2 {
        return services;
    }
    let mut ranked = Vec::new();
    for service in services {
        let answer = soap::call(&service, "GetStatusInfo", &[]).await;
        let status = answer.ok().and_then(|answer| answer.text("NewConnectionStatus"));
        let rank = match status.as_deref() {
            Some("Connected") => 0,
            Some(_) => 2,
            None => 1,
        };
        ranked.push((rank, service));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, service)| service).collect()
}

/// Asks these services in turn for a port. The error says whether one of them answered.
pub(super) async fn ask(
    settings: &Settings,
    route: Route,
    port: u16,
    services: Vec<Service>,
) -> Result<(Forward, PortMapping), NoPortMapping> {
    let mut why = NoPortMapping::Silent;
    for service in services {
        match ask_service(settings, route, port, &service).await {
            Ok(forward) => {
                let mapping = forward.mapping().await;
                return Ok((forward, mapping));
            }
            Err(fault) => {
                bevy_log::debug!("no port mapping by UPnP ({}): {fault}", service.kind);
                if fault != Fault::Silent {
                    why = NoPortMapping::Refused;
                }
            }
        }
    }
    Err(why)
}

async fn ask_service(
    settings: &Settings,
    route: Route,
    port: u16,
    service: &Service,
) -> Result<Forward, Fault> {
    let mut forward = Forward {
        service: service.clone(),
        route,
        internal: port,
        external: port.max(1024),
        seconds: settings.lease,
    };
    let mut ports = 1;
    loop {
        match forward.add().await {
            Ok(()) => return Ok(forward),
            // Some know only mappings for ever (725), and some have other codes for that (402, 501, and more in the
            // field); those are given back all the more carefully.
            Err(fault) if fault.may_be_the_lease() && forward.seconds != 0 => forward.seconds = 0,
            Err(fault) if fault.is_taken() && ports < PORTS => {
                ports += 1;
                // The second version has the router choose a free one.
                let chosen =
                    if ports == 2 && service.is_second() { forward.add_any().await } else { Ok(None) };
                match chosen {
                    Ok(Some(port)) => {
                        forward.external = port;
                        return Ok(forward);
                    }
                    Err(error) if !error.is_unknown() => return Err(error),
                    Ok(None) | Err(_) => forward.external = another_port().ok_or(fault)?,
                }
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// Returns any port above the well-known and the commonly used ones.
fn another_port() -> Option<u16> {
    let random = getrandom::u32().ok()?;
    u16::try_from(20_000 + random % 40_000).ok()
}

impl Forward {
    async fn ask_for(&self, action: &str) -> Result<soap::Answer, Fault> {
        let (external, internal) = (self.external.to_string(), self.internal.to_string());
        let (client, seconds) = (self.route.local.to_string(), self.seconds.to_string());
        // In the order of the standard (WANIPConnection:1, section 2.4.16): some routers go by it.
        let arguments = [
            ("NewRemoteHost", ""),
            ("NewExternalPort", &external),
            ("NewProtocol", "UDP"),
            ("NewInternalPort", &internal),
            ("NewInternalClient", &client),
            ("NewEnabled", "1"),
            ("NewPortMappingDescription", DESCRIPTION),
            ("NewLeaseDuration", &seconds),
        ];
        soap::call(&self.service, action, &arguments).await
    }

    async fn add(&self) -> Result<(), Fault> {
        self.ask_for("AddPortMapping").await.map(drop)
    }

    /// Has the device choose a port (WANIPConnection:2, section 2.5.17). None: it has granted one, and does not say which.
    async fn add_any(&self) -> Result<Option<u16>, Fault> {
        let answer = self.ask_for("AddAnyPortMapping").await?;
        Ok(answer.text("NewReservedPort").and_then(|port| port.parse().ok()).filter(|port| *port != 0))
    }

    /// Returns what the agent is told: the lobby server tries it before it counts, so an address that is wrong does
    /// no harm.
    async fn mapping(&self) -> PortMapping {
        let answer = soap::call(&self.service, "GetExternalIPAddress", &[]).await;
        let text = answer.ok().and_then(|answer| answer.text("NewExternalIPAddress"));
        let external_ip = text.and_then(|text| text.parse().ok()).and_then(super::ask::known);
        PortMapping { protocol: MappingProtocol::Upnp, external_ip, external_port: self.external }
    }

    /// Asks the router for the same mapping again.
    pub(super) async fn renew(self) -> Renewal {
        match self.add().await {
            Ok(()) => Renewal::Done(self),
            Err(fault) if fault.is_taken() => Renewal::Lost,
            Err(_) => Renewal::Failed(self),
        }
    }

    /// Returns whether the device says that the port leads here. It does not where the router has forgotten it in a
    /// restart and another machine has asked for it since.
    async fn is_ours(&self) -> bool {
        let external = self.external.to_string();
        let arguments = [("NewRemoteHost", ""), ("NewExternalPort", &external), ("NewProtocol", "UDP")];
        let Ok(answer) = soap::call(&self.service, "GetSpecificPortMappingEntry", &arguments).await else {
            return false;
        };
        answer.text("NewInternalClient").is_some_and(|client| client == self.route.local.to_string())
            && answer.text("NewInternalPort").is_some_and(|port| port == self.internal.to_string())
    }

    /// Gives the port back. What is not known to be ours is left alone: another player may have it.
    pub(super) async fn release(self) {
        if !self.is_ours().await {
            return bevy_log::debug!("port {} of the router is somebody else's, or gone", self.external);
        }
        let external = self.external.to_string();
        let arguments = [("NewRemoteHost", ""), ("NewExternalPort", &external), ("NewProtocol", "UDP")];
        if let Err(fault) = soap::call(&self.service, "DeletePortMapping", &arguments).await {
            bevy_log::debug!("the router keeps its port mapping: {fault}");
        }
    }
}
