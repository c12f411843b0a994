//! Where the other server is: as the operator names it, and as its name leads there.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU16;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use traversal_core::HostPort;

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

/// Returns where the other server's end of the link is by default; none: there is no such port.
pub(crate) fn link_of(neighbour: &HostPort) -> Option<HostPort> {
    let port = NonZeroU16::new(neighbour.port().checked_add(LINK_PORT_BEHIND)?)?;
    Some(neighbour.clone().with_port(port))
}

fn look_up(place: &HostPort) -> io::Result<Vec<SocketAddr>> {
    // In order, so that the answers' rotation is no news.
    let found: BTreeSet<SocketAddr> = (place.host(), place.port()).to_socket_addrs()?.collect();
    Ok(found.into_iter().collect())
}

/// Looks up where the other server is.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    pub(crate) neighbour: HostPort,
    pub(crate) link: HostPort,
}

impl Resolver {
    /// Looks up where it is now. This may wait for a name server.
    pub(crate) fn look_up(&self) -> io::Result<NeighbourPlaces> {
        let found = look_up(&self.neighbour)?;
        let first = |v4: bool| found.iter().copied().find(|address| address.is_ipv4() == v4);
        let players: Vec<SocketAddr> = [first(true), first(false)].into_iter().flatten().collect();
        let mut links = look_up(&self.link)?;
        if self.link.host() == self.neighbour.host() {
            links.retain(|link| players.iter().any(|player| player.ip() == link.ip()));
        }
        links.truncate(LINKS);
        Ok(NeighbourPlaces { players, links })
    }

    /// Returns whether nothing has to be asked for it: both are addresses.
    pub(crate) fn is_fixed(&self) -> bool {
        self.neighbour.address().is_some() && self.link.address().is_some()
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
                            let name = self.neighbour.host();
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
    fn the_link_is_two_ports_behind_the_first_one_where_there_is_such_a_port() {
        let link = |text: &str| link_of(&text.parse().unwrap()).map(|link| link.to_string());
        assert_eq!(link("lobby2.example.org"), Some("lobby2.example.org:3480".into()));
        assert_eq!(link("[2001:db8::11]:65533"), Some("[2001:db8::11]:65535".into()));
        assert_eq!((link("a:65534"), link("a:65535")), (None, None));
    }

    #[test]
    fn addresses_are_looked_up_without_a_name_server() {
        let neighbour: HostPort = "127.0.0.2:4000".parse().unwrap();
        let resolver = Resolver { link: link_of(&neighbour).unwrap(), neighbour };
        assert!(resolver.is_fixed());
        let places = resolver.look_up().unwrap();
        assert_eq!(places.players, ["127.0.0.2:4000".parse().unwrap()]);
        assert_eq!(places.links, ["127.0.0.2:4002".parse().unwrap()]);
    }
}
