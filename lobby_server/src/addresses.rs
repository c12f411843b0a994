//! Where a server is, for people and programs.

use std::net::SocketAddr;

use crate::key;
use crate::udp::Bound;

/// This says where a server is, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Players log in to these sockets: the first port of each first address.
    pub first: Vec<SocketAddr>,
    /// These sockets are farthest from them: second address and port, where there are such.
    pub second: Vec<SocketAddr>,
    /// These are all UDP sockets.
    pub all: Vec<SocketAddr>,
    /// This says where TCP is served, for players whose networks block UDP.
    pub tcp: Vec<SocketAddr>,
    /// This says where TLS is served, for players whose networks let out nothing but port 443.
    pub tls: Vec<SocketAddr>,
    /// Metrics and status page are served here; `None` where they are not.
    pub http: Option<SocketAddr>,
    /// Clients pin this public key.
    pub public_key: [u8; 32],
}

impl Addresses {
    pub(crate) fn of(
        sockets: &[Bound],
        (tcp, tls): (Vec<SocketAddr>, Vec<SocketAddr>),
        http: Option<SocketAddr>,
        public_key: [u8; 32],
    ) -> Self {
        let all: Vec<_> = sockets.iter().map(|bound| bound.about).collect();
        let first: Vec<SocketAddr> = all
            .iter()
            .filter(|about| !about.second_address && !about.second_port)
            .map(|about| about.local)
            .collect();
        let mut second = Vec::new();
        for v4 in [true, false] {
            let far = all
                .iter()
                .filter(|about| about.local.is_ipv4() == v4 && about.second_port)
                .max_by_key(|about| about.second_address);
            second.extend(far.map(|about| about.local));
        }
        let all = all.iter().map(|about| about.local).collect();
        Self { first, second, all, tcp, tls, http, public_key }
    }
}

impl Addresses {
    /// Writes them as a JSON object in one line, for programs.
    pub fn json(&self) -> String {
        serde_json::json!({
            "event": "ready",
            "udp": self.first,
            "second": self.second,
            "tcp": self.tcp,
            "tls": self.tls,
            "http": self.http,
            "key": key::printed(&self.public_key),
        })
        .to_string()
    }
}

/// Writes them like `198.18.0.10:3478 (second 198.18.0.11:3479), http 127.0.0.1:9600, key ...`.
impl std::fmt::Display for Addresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |addresses: &[SocketAddr]| {
            addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" and ")
        };
        write!(f, "{}", list(&self.first))?;
        if !self.second.is_empty() {
            write!(f, " (second {})", list(&self.second))?;
        }
        if !self.tls.is_empty() {
            write!(f, ", tls {}", list(&self.tls))?;
        }
        if let Some(http) = self.http {
            write!(f, ", http {http}")?;
        }
        write!(f, ", key {}", key::printed(&self.public_key))
    }
}
