//! Which sockets the game is reached at, and at which addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::TraversalConfig;
use crate::error::TraversalError;
use crate::sockets::Socket;

/// Opens the game's sockets: the main one (IPv4), and one for IPv6 where the configuration and the machine have it.
pub(crate) fn open_main(config: &TraversalConfig) -> Result<(Socket, Option<Socket>), TraversalError> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let open = |address: SocketAddr| {
        Socket::open(address, Some(config.socket_buffer)).map_err(|error| TraversalError::Bind {
            address,
            kind: error.kind(),
            reason: error.to_string(),
        })
    };
    match config.bind {
        Some(address) if address.is_ipv6() => Ok((open(any)?, Some(open(address)?))),
        Some(address) if !address.ip().is_unspecified() => Ok((open(address)?, None)),
        bind => {
            let main = open(bind.unwrap_or(any))?;
            // The same port where it is free; a machine without IPv6 has none of this.
            let same = SocketAddr::from((Ipv6Addr::UNSPECIFIED, main.local().port()));
            let other = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
            let v6 = config.ipv6.then(|| open(same).or_else(|_| open(other)).ok()).flatten();
            Ok((main, v6))
        }
    }
}

/// Returns the addresses of a driver that is bound to one interface; none: they are to be looked up.
pub(crate) fn fixed_addresses(main: SocketAddr, bind: Option<SocketAddr>) -> Option<Vec<IpAddr>> {
    let ip = bind.map_or(main.ip(), |bind| bind.ip());
    (!ip.is_unspecified()).then(|| vec![ip])
}
