//! Where the other server is: as the operator names it, and as its name leads there.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::config::DEFAULT_PORT;
use crate::status::Handle;

/// The link has the port so far behind the first one, unless the settings say another: the second port is between them.
pub(crate) const LINK_PORT_BEHIND: u16 = 2;
/// A name is looked up again after this: its address may have changed.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(60);
/// A name may have many addresses. One of each family is the other server's first one; the link tries so many.
const LINKS: usize = 4;

/// This is where another lobby server is, whose address is this one's second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeighbourPlaces {
    /// Players reach its first port here: one address of a family at the most.
    pub players: Vec<SocketAddr>,
    /// Its end of the link is at one of these.
    pub links: Vec<SocketAddr>,
}

/// The other server's place cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no place of a lobby server: write HOST or HOST:PORT, for example lobby2.example.org or 198.18.0.11:3478"
)]
pub struct PlacesError {
    /// This was to be read.
    pub text: String,
}

/// This is a host and a port, as the operator writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Place {
    /// Reads `HOST`, `HOST:PORT`, `IPv4`, `IPv6` or `[IPv6]:PORT`.
    pub(crate) fn read(text: &str) -> Result<Self, PlacesError> {
        let wrong = || PlacesError { text: text.into() };
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Self::checked(address.ip().to_canonical().to_string(), address.port()).ok_or_else(wrong);
        }
        if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Self::checked(ip.to_canonical().to_string(), DEFAULT_PORT).ok_or_else(wrong);
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (text, DEFAULT_PORT),
        };
        // RFC 1123 section 2.1, and the underscore that names in use have.
        let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let name = (1..=253).contains(&host.len()) && host.bytes().all(usual);
        Some(host).filter(|_| name).and_then(|host| Self::checked(host.into(), port)).ok_or_else(wrong)
    }

    fn checked(host: String, port: u16) -> Option<Self> {
        let nowhere = host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified() || ip.is_multicast());
        (port != 0 && !nowhere).then_some(Self { host, port })
    }

    /// Returns where its link is by default; none: there is no such port.
    pub(crate) fn link(&self) -> Option<Self> {
        Some(Self { host: self.host.clone(), port: self.port.checked_add(LINK_PORT_BEHIND)? })
    }

    fn is_address(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok()
    }

    fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        // In order, so that the answers' rotation is no news.
        let found: BTreeSet<SocketAddr> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        Ok(found.into_iter().collect())
    }
}

/// Looks up where the other server is.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    pub(crate) neighbour: Place,
    pub(crate) link: Place,
}

impl Resolver {
    /// Looks up where it is now. This may wait for a name server.
    pub(crate) fn look_up(&self) -> io::Result<NeighbourPlaces> {
        let found = self.neighbour.look_up()?;
        let first = |v4: bool| found.iter().copied().find(|address| address.is_ipv4() == v4);
        let players: Vec<SocketAddr> = [first(true), first(false)].into_iter().flatten().collect();
        let mut links = self.link.look_up()?;
        if self.link.host == self.neighbour.host {
            links.retain(|link| players.iter().any(|player| player.ip() == link.ip()));
        }
        links.truncate(LINKS);
        Ok(NeighbourPlaces { players, links })
    }

    /// Returns whether nothing has to be asked for it: both are addresses.
    pub(crate) fn is_fixed(&self) -> bool {
        self.neighbour.is_address() && self.link.is_address()
    }

    /// Looks it up now and again, in a thread of its own, until what this returns is dropped. The server hears what is new.
    pub(crate) fn keep_looking(self, handle: Handle) -> io::Result<Sender<()>> {
        let (end, ended) = channel::<()>();
        let look = move || {
            let (mut known, mut failed) = (None, false);
            loop {
                match self.look_up() {
                    Ok(places) => {
                        failed = false;
                        if known.as_ref() != Some(&places) {
                            known = Some(places.clone());
                            handle.have(move |server, now| server.core().set_neighbour(now, places));
                        }
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut failed, true) {
                            let name = &self.neighbour.host;
                            tracing::warn!(%error, name, "the neighbour's name leads nowhere; it is looked up again");
                        }
                    }
                }
                if ended.recv_timeout(LOOK_UP_AGAIN) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("lobby_neighbour".into()).spawn(look)?;
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_operators_write_them() {
        for (text, host, port) in [
            ("lobby2.example.org", "lobby2.example.org", 3478),
            ("lobby2:4000", "lobby2", 4000),
            ("198.18.0.11", "198.18.0.11", 3478),
            ("198.18.0.11:5000", "198.18.0.11", 5000),
            ("2001:db8::11", "2001:db8::11", 3478),
            ("[2001:db8::11]", "2001:db8::11", 3478),
            ("[2001:db8::11]:5000", "2001:db8::11", 5000),
            ("::ffff:198.18.0.11", "198.18.0.11", 3478),
        ] {
            assert_eq!(Place::read(text), Ok(Place { host: host.into(), port }), "{text}");
        }
        for text in
            ["", ":3478", "a b", "host:port", "host:0", "host:65536", "0.0.0.0", "https://x", "224.0.0.1:1"]
        {
            assert!(Place::read(text).is_err(), "{text}");
        }
        assert_eq!(Place::read("a:65534").unwrap().link(), None);
    }

    #[test]
    fn addresses_are_looked_up_without_a_name_server() {
        let neighbour = Place::read("127.0.0.2:4000").unwrap();
        let resolver = Resolver { link: neighbour.link().unwrap(), neighbour };
        assert!(resolver.is_fixed());
        let places = resolver.look_up().unwrap();
        assert_eq!(places.players, ["127.0.0.2:4000".parse().unwrap()]);
        assert_eq!(places.links, ["127.0.0.2:4002".parse().unwrap()]);
    }
}
