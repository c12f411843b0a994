//! What a device says of itself: its name (M38) and the services that forward ports.

use hyper::Uri;
use traversal_core::{RouterName, text};

use super::Service;
use super::http::{self, Ask};
use super::ssdp::{self, Location};
use super::xml::{self, Piece};

/// Services of one device that are kept: routers with several lines have three or four.
const MOST_SERVICES: usize = 8;
/// These are the services that have AddPortMapping, with any version.
const FORWARDING: [&str; 2] =
    ["urn:schemas-upnp-org:service:WANIPConnection:", "urn:schemas-upnp-org:service:WANPPPConnection:"];

/// This is a description, as far as it is of use here.
pub(super) struct Description {
    pub(super) name: Option<RouterName>,
    /// These are the services, in the order of the description.
    pub(super) services: Vec<Service>,
}

/// Asks a device for its description.
pub(super) async fn ask(location: &Location) -> Option<Description> {
    let (status, text) = http::request(location.local, location.device, &location.path, Ask::Get).await?;
    (200..300).contains(&status).then(|| read(&text, location))
}

fn read(text: &str, location: &Location) -> Description {
    let pieces = xml::pieces(text);
    let base = xml::text(&pieces, "URLBase");
    let mut services = Vec::new();
    let starts = pieces.iter().enumerate().filter(|(_, piece)| **piece == Piece::Start("service".into()));
    for (at, _) in starts {
        let rest = pieces.get(at..).unwrap_or_default();
        let end = rest.iter().position(|piece| *piece == Piece::End("service".into())).unwrap_or(rest.len());
        let inside = rest.get(..end).unwrap_or_default();
        let kind =
            xml::text(inside, "serviceType").filter(|kind| FORWARDING.iter().any(|f| kind.starts_with(f)));
        let control = xml::text(inside, "controlURL").and_then(|url| control(url, base, location));
        if let (Some(kind), Some((device, control))) = (kind, control) {
            let service = Service { device, local: location.local, control, kind: kind.to_owned() };
            // A document that repeats itself is no reason to ask twice.
            if services.len() < MOST_SERVICES && !services.contains(&service) {
                services.push(service);
            }
        }
    }
    Description { name: name(&pieces), services }
}

/// The root device comes first in its description.
fn name(pieces: &[Piece]) -> Option<RouterName> {
    let said = |tag: &str| xml::text(pieces, tag).map(|said| text::ROUTER.clean(said));
    let manufacturer = said("manufacturer").filter(|name| !name.is_empty())?;
    Some(RouterName { manufacturer, model: said("modelName").unwrap_or_default() })
}

/// Returns where a service is controlled: an absolute URL, or one relative to the base or to the description (RFC
/// 3986 section 5.2). Another machine than the device is not visited.
fn control(url: &str, base: Option<&str>, location: &Location) -> Option<(std::net::SocketAddr, String)> {
    let within = |text: &str| {
        let uri: Uri = text.parse().ok()?;
        let device = ssdp::device(&uri, location.device.ip(), 80)?;
        Some((device, uri.path_and_query().map_or("/", |path| path.as_str()).to_owned()))
    };
    if url.contains("://") {
        return within(url);
    }
    let (device, from) = match base {
        Some(base) => within(base)?,
        None => (location.device, location.path.clone()),
    };
    let path = if url.starts_with('/') {
        url.to_owned()
    } else {
        let folder = from.split(['?', '#']).next()?.rsplit_once('/')?.0;
        format!("{folder}/{url}")
    };
    let uri: Uri = path.parse().ok()?;
    Some((device, uri.path_and_query()?.as_str().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location() -> Location {
        Location {
            device: ([192, 168, 1, 1], 5000).into(),
            local: std::net::Ipv4Addr::LOCALHOST,
            path: "/upnp/root.xml?x=/1".into(),
        }
    }

    fn said(description: &str) -> Option<RouterName> {
        read(description, &location()).name
    }

    #[test]
    fn the_root_devices_name_is_taken_and_cut() {
        let description = "<root><device><manufacturer> OpenWRT </manufacturer><modelName>OpenWRT router</modelName>\
                           <deviceList><device><manufacturer>MiniUPnP</manufacturer></device></deviceList></device></root>";
        let name = said(description).unwrap();
        assert_eq!((name.manufacturer.as_str(), name.model.as_str()), ("OpenWRT", "OpenWRT router"));
        let long = format!("<manufacturer>{}</manufacturer>", "é".repeat(1000));
        assert_eq!(said(&long).unwrap().manufacturer, "é".repeat(64));
        let steers = "<manufacturer>&#x202e;[2JA\u{202e}B\n</manufacturer>";
        assert_eq!(said(steers).unwrap().manufacturer, "[2JAB");
        for nothing in
            ["", "<manufacturer>", "</manufacturer><manufacturer>", "<manufacturer></manufacturer>"]
        {
            assert_eq!(said(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn every_service_that_forwards_is_found_and_no_other_machine() {
        let service = |kind: &str, url: &str| {
            format!(
                "<service><controlURL>{url}</controlURL><serviceType>{}{kind}</serviceType></service>",
                "urn:schemas-upnp-org:service:"
            )
        };
        let services = [
            service("Layer3Forwarding:1", "/l3f"),
            service("WANPPPConnection:1", "ppp"),
            service("WANIPConnection:2", "/ip"),
            service("WANIPConnection:1", "http://router.home:80/ctl?a=1"),
            service("WANIPConnection:1", "http://198.51.100.7/ctl"),
            service("WANIPConnection:1", "https://192.168.1.1/ctl"),
        ];
        let found = |base: &str| -> Vec<String> {
            let text = format!("<root>{base}<device><serviceList>{}</device>", services.concat());
            let services = read(&text, &location()).services;
            services.iter().map(|service| format!("{}{}", service.device, service.control)).collect()
        };
        let (ppp, ip) = ("192.168.1.1:5000/upnp/ppp", "192.168.1.1:5000/ip");
        assert_eq!(found(""), [ppp, ip, "192.168.1.1:80/ctl?a=1"]);
        let (ppp, ip) = ("192.168.1.1:8080/b/ppp", "192.168.1.1:8080/ip");
        assert_eq!(
            found("<URLBase>http://192.168.1.1:8080/b/</URLBase>"),
            [ppp, ip, "192.168.1.1:80/ctl?a=1"]
        );
        // A base elsewhere: only what stands for itself.
        assert_eq!(found("<URLBase>http://198.51.100.7/</URLBase>"), ["192.168.1.1:80/ctl?a=1"]);
    }
}
