//! Where a server is, as people write it: a host and a port.
//!
//! Games, players, operators and invites name servers in this form. All of them are read here, so that what one of them takes
//! the others take too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use crate::address::{canonical, is_sendable};

/// A lobby server whose address names no port has this UDP port: STUN's (RFC 8489 section 18.6), since the server answers
/// STUN on it too. Many firewalls let it out.
pub const DEFAULT_PORT: u16 = 3478;
/// A text that names a host and a port has at most this many bytes: a name in DNS, the point behind it, and a port.
pub const MAX_HOST_PORT: usize = MAX_NAME + ".:65535".len();

/// A name in DNS has at most this many bytes (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// Each part of a name between two points has at most this many bytes (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// This says why a text names no host and port, and what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostPortError {
    /// The text is longer than [`MAX_HOST_PORT`].
    #[error("it has {bytes} bytes, and a host with its port has at most {most}: write HOST or HOST:PORT")]
    TooLong {
        /// The text has this many bytes.
        bytes: usize,
        /// It may have at most this many.
        most: usize,
    },
    /// There is nothing, or nothing before the port.
    #[error("there is no host in it: write HOST or HOST:PORT, for example lobby.example.org:3478")]
    NoHost,
    /// The text has a character that neither names nor addresses have: it is a link, has a path, or names a user.
    #[error(
        "{found:?} is in no host and no port: write HOST or HOST:PORT alone, without https:// and without a path; a name \
         with other letters than a to z is written as DNS has it (xn--...)"
    )]
    Character {
        /// This is the first such character.
        found: char,
    },
    /// What stands behind the colon is no port.
    #[error("its port is no number from 1 to 65535: write HOST:PORT, or HOST alone for port {DEFAULT_PORT}")]
    BadPort,
    /// The host is neither a name nor an address.
    #[error(
        "its host is neither a name nor an address: write HOST, HOST:PORT, IPv4:PORT or [IPv6]:PORT, for example \
         lobby.example.org:3478"
    )]
    BadHost,
    /// The address has a zone, as in `fe80::1%2`.
    #[error(
        "its address has a zone (%), which counts on one machine alone: write another address, or a name"
    )]
    Zone,
    /// The address is that of no single machine: unspecified, multicast or broadcast.
    #[error("its address is that of no single machine: write the address at which others reach the server")]
    NotOneMachine,
}

/// This is a host and a port.
///
/// It is read from `HOST`, `HOST:PORT`, `IPv4`, `IPv4:PORT`, `IPv6`, `[IPv6]` and `[IPv6]:PORT`, of at most [`MAX_HOST_PORT`]
/// bytes; without a port it has [`DEFAULT_PORT`]. It is printed in one form, with the port and in lower case, so that texts that
/// mean the same are equal. An IPv4 address that is mapped into IPv6 is the IPv4 one.
///
/// ```
/// use traversal_core::host_port::{HostPort, HostPortError};
///
/// let lobby: HostPort = "Lobby.example.com".parse()?;
/// assert_eq!(lobby.to_string(), "lobby.example.com:3478");
/// assert_eq!(lobby, "lobby.example.com.:3478".parse()?);
/// assert_eq!((lobby.name(), lobby.address()), (Some("lobby.example.com"), None));
///
/// let lobby: HostPort = "[2001:db8::1]:4000".parse()?;
/// assert_eq!(lobby.address(), Some("[2001:db8::1]:4000".parse().unwrap()));
/// assert_eq!((lobby.host(), lobby.port()), ("2001:db8::1".to_owned(), 4000));
///
/// assert_eq!("lobby.example.com:0".parse::<HostPort>(), Err(HostPortError::BadPort));
/// # Ok::<(), HostPortError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

impl HostPort {
    /// Returns the port, which is never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the host's name; none: it is an address.
    pub fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Name(name) => Some(name),
            Host::Ip(_) => None,
        }
    }

    /// Returns address and port; none: the host has a name, which is to be looked up.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.host {
            Host::Name(_) => None,
            Host::Ip(ip) => Some(SocketAddr::new(*ip, self.port)),
        }
    }

    /// Returns the host without its port, as resolvers take it: a name, or an address without brackets.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::Ip(ip) => ip.to_string(),
        }
    }

    /// Returns the same host with another port.
    #[must_use]
    pub fn with_port(self, port: NonZeroU16) -> Self {
        Self { port: port.get(), ..self }
    }

    /// Returns the shortest text that is read as this one: it says the port only where that is not [`DEFAULT_PORT`].
    pub fn short(&self) -> String {
        match &self.host {
            _ if self.port != DEFAULT_PORT => self.to_string(),
            Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
            Host::Ip(IpAddr::V4(_)) | Host::Name(_) => self.host(),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
        }
    }
}

impl TryFrom<SocketAddr> for HostPort {
    type Error = HostPortError;

    fn try_from(address: SocketAddr) -> Result<Self, HostPortError> {
        if address.port() == 0 {
            return Err(HostPortError::BadPort);
        }
        if matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0) {
            return Err(HostPortError::Zone);
        }
        let address = canonical(address);
        if !is_sendable(address) {
            return Err(HostPortError::NotOneMachine);
        }
        Ok(Self { host: Host::Ip(address.ip()), port: address.port() })
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let text = text.trim();
        if text.len() > MAX_HOST_PORT {
            return Err(HostPortError::TooLong { bytes: text.len(), most: MAX_HOST_PORT });
        }
        let used = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
        match text.chars().find(|c| !used(*c)) {
            Some('%') => return Err(HostPortError::Zone),
            Some(found) => return Err(HostPortError::Character { found }),
            None => {}
        }
        let of_v6 = |ip: &str, port| {
            let ip: Ipv6Addr = ip.parse().map_err(|_| HostPortError::BadHost)?;
            Self::try_from(SocketAddr::new(ip.into(), port))
        };
        if let Some(bracketed) = text.strip_prefix('[') {
            let (ip, behind) = bracketed.split_once(']').ok_or(HostPortError::BadHost)?;
            return match behind.strip_prefix(':') {
                Some(port) => of_v6(ip, read_port(port)?),
                None if behind.is_empty() => of_v6(ip, DEFAULT_PORT),
                None => Err(HostPortError::BadHost),
            };
        }
        let (host, port) = match text.split_once(':') {
            // Without brackets nobody could tell a port from the address's last part: there is none.
            Some((_, rest)) if rest.contains(':') => return of_v6(text, DEFAULT_PORT),
            Some(("", _)) => return Err(HostPortError::NoHost),
            Some((host, port)) => (host, read_port(port)?),
            None => (text, DEFAULT_PORT),
        };
        match host.parse::<Ipv4Addr>() {
            Ok(ip) => Self::try_from(SocketAddr::new(ip.into(), port)),
            Err(_) => Ok(Self { host: Host::Name(read_name(host)?), port }),
        }
    }
}

fn read_port(text: &str) -> Result<u16, HostPortError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse::<u16>().ok().filter(|port| digits && *port != 0);
    port.ok_or(HostPortError::BadPort)
}

/// Reads a name as RFC 1123 section 2.1 has it, and with the underscore that names in use have.
fn read_name(text: &str) -> Result<String, HostPortError> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Err(HostPortError::NoHost);
    }
    let label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // What ends in a number is an address that is none, to resolvers too (RFC 6943 section 3.1.1).
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if name.len() > MAX_NAME || numeric || !name.split('.').all(label) {
        return Err(HostPortError::BadHost);
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<HostPort, HostPortError> {
        text.parse()
    }

    #[test]
    fn each_form_of_a_host_and_a_port_is_read_and_printed_in_one_form() {
        for (text, printed, short) in [
            ("lobby.example.org", "lobby.example.org:3478", "lobby.example.org"),
            ("  lobby.example.org\n", "lobby.example.org:3478", "lobby.example.org"),
            ("Lobby.Example.Com.:3478", "lobby.example.com:3478", "lobby.example.com"),
            ("lobby2:4000", "lobby2:4000", "lobby2:4000"),
            ("localhost:65535", "localhost:65535", "localhost:65535"),
            ("localhost:0009", "localhost:9", "localhost:9"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example:3478", "xn--bcher-kva.example"),
            ("_game._udp.example:7", "_game._udp.example:7", "_game._udp.example:7"),
            ("198.18.0.11", "198.18.0.11:3478", "198.18.0.11"),
            ("198.18.0.11:5000", "198.18.0.11:5000", "198.18.0.11:5000"),
            ("2001:db8::11", "[2001:db8::11]:3478", "[2001:db8::11]"),
            ("2001:db8::11:5000", "[2001:db8::11:5000]:3478", "[2001:db8::11:5000]"),
            ("[2001:db8::11]", "[2001:db8::11]:3478", "[2001:db8::11]"),
            ("[2001:DB8:0::11]:5000", "[2001:db8::11]:5000", "[2001:db8::11]:5000"),
            ("::1", "[::1]:3478", "[::1]"),
            ("::ffff:198.18.0.11", "198.18.0.11:3478", "198.18.0.11"),
            ("[::ffff:198.18.0.11]:7", "198.18.0.11:7", "198.18.0.11:7"),
        ] {
            let read = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((read.to_string().as_str(), read.short().as_str()), (printed, short), "{text}");
            assert_eq!(read.address().is_some(), read.name().is_none());
        }
    }

    #[test]
    fn what_is_no_host_and_port_is_refused_with_what_to_write_instead() {
        use HostPortError as E;
        let at_its_longest = [["a"; 32].concat(), ["b"; 63].concat(), ["c"; 63].concat(), ["d"; 63].concat()];
        let longest = format!("{}.{}", at_its_longest.join("."), "e".repeat(28));
        assert_eq!(longest.len(), MAX_NAME);
        assert_eq!(read(&format!("{longest}.:65535")).map(|read| read.host()), Ok(longest.clone()));
        for (text, error) in [
            (String::new(), E::NoHost),
            (" ".into(), E::NoHost),
            (".".into(), E::NoHost),
            (":3478".into(), E::NoHost),
            ("host:port".into(), E::BadPort),
            ("host:".into(), E::BadPort),
            ("host:0".into(), E::BadPort),
            ("host:65536".into(), E::BadPort),
            ("host:-1".into(), E::BadPort),
            ("192.0.2.1:0".into(), E::BadPort),
            ("[2001:db8::1]:0".into(), E::BadPort),
            ("host:+1".into(), E::Character { found: '+' }),
            ("a b:1".into(), E::Character { found: ' ' }),
            ("https://lobby.example.org".into(), E::Character { found: '/' }),
            ("lobby.example.org/room".into(), E::Character { found: '/' }),
            ("user@lobby.example.org".into(), E::Character { found: '@' }),
            ("bücher.example".into(), E::Character { found: 'ü' }),
            ("lobby\0.example".into(), E::Character { found: '\0' }),
            ("a..b".into(), E::BadHost),
            (".a".into(), E::BadHost),
            ("-a.b".into(), E::BadHost),
            ("a-.b".into(), E::BadHost),
            ("999.1.2.3".into(), E::BadHost),
            ("0x7f.1".into(), E::BadHost),
            ("127.1".into(), E::BadHost),
            ("2130706433".into(), E::BadHost),
            (format!("{}.example", "a".repeat(64)), E::BadHost),
            (format!("{longest}e"), E::BadHost),
            ("host:1:2".into(), E::BadHost),
            ("[2001:db8::1".into(), E::BadHost),
            ("2001:db8::1]:7".into(), E::BadHost),
            ("[2001:db8::1]7".into(), E::BadHost),
            ("[[::1]]".into(), E::BadHost),
            ("[192.0.2.1]:7".into(), E::BadHost),
            ("[lobby.example.org]:7".into(), E::BadHost),
            ("[]:7".into(), E::BadHost),
            ("[fe80::1%2]:7".into(), E::Zone),
            ("fe80::1%eth0".into(), E::Zone),
            ("0.0.0.0".into(), E::NotOneMachine),
            ("[::]:7".into(), E::NotOneMachine),
            ("224.0.0.251:5353".into(), E::NotOneMachine),
            ("[ff02::fb]:5353".into(), E::NotOneMachine),
            ("255.255.255.255".into(), E::NotOneMachine),
            ("a".repeat(MAX_HOST_PORT + 1), E::TooLong { bytes: MAX_HOST_PORT + 1, most: MAX_HOST_PORT }),
        ] {
            assert_eq!(read(&text), Err(error), "{text}");
        }
    }

    #[test]
    fn an_address_with_a_zone_is_refused_however_it_comes() {
        let zone = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 0, 2);
        assert_eq!(HostPort::try_from(SocketAddr::V6(zone)), Err(HostPortError::Zone));
    }

    #[test]
    fn another_port_of_the_same_host() {
        let port = NonZeroU16::new(3480).unwrap();
        assert_eq!(read("a.example:1").map(|place| place.with_port(port)), read("a.example:3480"));
        assert_eq!(read("::1").map(|place| place.with_port(port)), read("[::1]:3480"));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_printed_and_read_again(
            text in "(\\[?[0-9a-fA-F:.]{0,30}\\]?|[a-zA-Z0-9._-]{0,70}|.{0,40})(:[0-9]{0,6})?",
        ) {
            if let Ok(place) = read(&text) {
                prop_assert_eq!(read(&place.to_string()), Ok(place.clone()));
                prop_assert_eq!(read(&place.short()), Ok(place.clone()));
                prop_assert!(place.to_string().len() <= MAX_HOST_PORT && place.port() != 0);
            }
        }

        #[test]
        fn every_address_of_one_machine_is_read_as_the_system_prints_it(ip: IpAddr, port: u16) {
            let address = SocketAddr::new(ip, port);
            prop_assert_eq!(read(&address.to_string()), HostPort::try_from(address));
        }
    }
}
