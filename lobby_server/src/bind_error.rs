//! Why the server does not get a socket, and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use traversal_udp::in_use;

/// This is the protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// All players use UDP but those whose networks block it.
    Udp,
    /// TCP is for players whose networks block UDP.
    Tcp,
    /// TLS is for players whose networks let out nothing but port 443.
    Tls,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS at",
        })
    }
}

/// A socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve {protocol} {address}{}", advice(.source, .address, *.protocol))]
pub struct BindError {
    /// This is the address that was asked of the system.
    pub address: SocketAddr,
    /// The socket is one of this protocol.
    pub protocol: Transport,
    /// This is what the system said.
    #[source]
    pub source: io::Error,
}

fn advice(source: &io::Error, address: &SocketAddr, protocol: Transport) -> String {
    match source.kind() {
        _ if in_use(source) && protocol == Transport::Tcp => {
            "; the port is in use: stop what serves there, choose another port with --bind, or give up players \
             whose networks block UDP with --no-tcp"
                .into()
        }
        _ if in_use(source) && protocol == Transport::Tls => {
            "; the port is in use, by a web server perhaps: stop it, give the lobby an address of its own with --bind, or do \
             without TLS (no --tls-cert)"
                .into()
        }
        io::ErrorKind::PermissionDenied if protocol == Transport::Tls => {
            "; ports below 1024 want a right: CAP_NET_BIND_SERVICE (dist/lobby_server.tls.conf gives it), or \
             sysctl net.ipv4.ip_unprivileged_port_start=443; or another port with --tls-port, and a firewall that redirects 443 \
             there"
                .into()
        }
        _ if in_use(source) => format!(
            "; the port is in use, or the system reserves it: stop the other lobby or STUN server there, or choose \
             another port with --bind {}",
            SocketAddr::new(address.ip(), address.port().wrapping_add(2))
        ),
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: give one of its own with --bind (and what players know it as \
             with --public-address)"
                .into()
        }
        io::ErrorKind::PermissionDenied => "; choose a port above 1023".into(),
        _ => String::new(),
    }
}
