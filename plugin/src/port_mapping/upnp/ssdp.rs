//! The search for devices (UPnP Device Architecture 1.1, section 1.3).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hyper::Uri;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};
use traversal_core::address;

use super::Route;

/// This is what is looked for. A device of version 2 has to answer to version 1 as well (section 1.3.2); one that
/// does not is found by its own name.
const TARGETS: [&str; 4] = [
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];
/// A search is sent once more, for what was lost (section 1.3.2 asks for more than one).
const AGAIN: Duration = Duration::from_millis(500);

/// This is where a device says that its description is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Location {
    /// This address answered: no other one is ever visited.
    pub(super) device: SocketAddr,
    /// This machine has this address on that network.
    pub(super) local: Ipv4Addr,
    pub(super) path: String,
}

pub(super) struct Search {
    socket: UdpSocket,
    local: Ipv4Addr,
    group: SocketAddr,
    router: SocketAddr,
    /// This is when the search is sent once more.
    again: Option<Instant>,
}

impl Search {
    /// Asks the group, and the router itself, which need not wait its turn. None: nothing can be sent.
    pub(super) async fn start(group: SocketAddr, route: Route) -> Option<Self> {
        let socket = UdpSocket::bind((route.local, 0)).await.ok()?;
        let router = SocketAddr::from((route.gateway, group.port()));
        let search = Self { socket, local: route.local, group, router, again: Some(Instant::now() + AGAIN) };
        search.send().await.then_some(search)
    }

    async fn send(&self) -> bool {
        let mut sent = false;
        for to in if self.group == self.router { vec![self.group] } else { vec![self.router, self.group] } {
            for target in TARGETS {
                let text = format!(
                    "M-SEARCH * HTTP/1.1\r\nHOST: {to}\r\nMAN: \"ssdp:discover\"\r\nMX: 3\r\nST: {target}\r\n\r\n"
                );
                sent |= self.socket.send_to(text.as_bytes(), to).await.is_ok();
            }
        }
        sent
    }

    /// Returns the next answer that can be used. None: the socket is broken.
    pub(super) async fn next(&mut self) -> Option<Location> {
        let mut buffer = [0; 2048];
        let mut errors = 0;
        loop {
            let again = self.again;
            let received = tokio::select! {
                received = self.socket.recv_from(&mut buffer) => Some(received),
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => None,
            };
            match received {
                None => {
                    self.again = None;
                    self.send().await;
                }
                Some(Ok((length, from))) => {
                    let near = address::is_site(from.ip()) || from.ip() == self.router.ip();
                    let location = buffer.get(..length).and_then(|answer| location(answer, from, self.local));
                    if let Some(location) = location.filter(|_| near) {
                        return Some(location);
                    }
                }
                // An ICMP error of somebody who does not listen there.
                Some(Err(_)) if errors < 64 => errors += 1,
                Some(Err(_)) => return None,
            }
        }
    }
}

/// Returns the LOCATION of an answer, whatever bytes the other headers have. A name for a host is not resolved, and
/// another address than the one that answered is not visited: either would let a device send us anywhere.
fn location(answer: &[u8], from: SocketAddr, local: Ipv4Addr) -> Option<Location> {
    let text = String::from_utf8_lossy(answer);
    let value = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("location").then(|| value.trim())
    })?;
    let uri: Uri = value.parse().ok()?;
    let device = device(&uri, from.ip(), 80)?;
    Some(Location { device, local, path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned() })
}

/// Returns the device's own address with the port of this URL. None: it is no URL of this device.
pub(super) fn device(uri: &Uri, device: IpAddr, default_port: u16) -> Option<SocketAddr> {
    if uri.scheme_str() != Some("http") {
        return None;
    }
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let elsewhere = host.parse::<IpAddr>().is_ok_and(|ip| ip != device);
    let port = uri.port_u16().unwrap_or(default_port);
    (!elsewhere && port != 0).then(|| SocketAddr::new(device, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_location_is_read_whatever_stands_around_it() {
        let from = SocketAddr::from(([192, 168, 1, 1], 1900));
        let at = |text: &[u8]| {
            location(text, from, Ipv4Addr::LOCALHOST).map(|at| (at.device.to_string(), at.path))
        };
        let home = Some(("192.168.1.1:5000".to_owned(), "/root.xml".to_owned()));
        assert_eq!(at(b"HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1:5000/root.xml\r\n\r\n"), home);
        assert_eq!(
            at(b"HTTP/1.1 200 OK\r\nSERVER: Router\xe9\xff/1.0\r\nlocation:http://192.168.1.1:5000/root.xml\r\n"),
            home
        );
        assert_eq!(at(b"Location : http://router.home:5000/root.xml\r\n"), home, "by a name");
        assert_eq!(at(b"LOCATION: http://router/\r\n"), Some(("192.168.1.1:80".into(), "/".into())));
        for wrong in [
            b"LOCATION: http://198.51.100.7:80/root.xml\r\n".as_slice(),
            b"LOCATION: https://192.168.1.1/root.xml\r\n",
            b"LOCATION: http://192.168.1.1:0/root.xml\r\n",
            b"LOCATION: /root.xml\r\n",
            b"LOCATION: \r\n",
            b"\xff\xfe",
            b"",
        ] {
            assert_eq!(at(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
    }
}
