//! What a socket is asked to send, and what became of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::health::TOO_LONG;

/// Returns whether a datagram was refused because it is longer than the interface takes, or than what the system
/// knows of the way (`EMSGSIZE`): sockets here forbid that it is fragmented.
pub fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(TOO_LONG)
}

/// This says where datagrams leave this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The system chooses, by its routes.
    #[default]
    System,
    /// They bear this address of the machine's. Which interface they leave by is still the routes' choice on Linux; on Windows
    /// (a strong host, RFC 1122, section 3.3.4.2) and on macOS (scoped routes) it is the one with this address.
    Address(IpAddr),
    /// They bear this address, and leave by the interface that has it, whatever the routes say. Not in batches.
    Interface {
        /// The interface has this address.
        address: Ipv4Addr,
        /// The interface has this number; Linux and Android need it.
        index: u32,
    },
}

/// These datagrams go to one address and leave with one call.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The datagrams go to this address.
    pub to: SocketAddr,
    /// They leave this machine here.
    pub origin: Origin,
    /// This is the hop limit of this datagram alone; none means the system's. It is not for several datagrams.
    pub ttl: Option<u8>,
    /// One datagram, or several of equal length one behind the other, of which the last may be shorter.
    pub payload: &'a [u8],
    /// Each of several datagrams has this length; none: it is one.
    pub segment: Option<usize>,
}

/// This is what became of an [`Outgoing`]: the first `sent + lost` datagrams are done with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The system took this many datagrams.
    pub sent: usize,
    /// The system refused this many datagrams.
    pub lost: usize,
    /// This is why it refused the last of them.
    pub error: Option<io::ErrorKind>,
    /// The socket's buffer is full: the rest should be sent again when it is writable.
    pub blocked: bool,
    /// The system refused a batch that it takes one by one: this socket makes none any more.
    pub batch_refused: bool,
    /// This is the length of the shortest datagram that is longer than the system's way there takes
    /// ([`is_too_long`]); none: none was.
    pub too_long: Option<usize>,
}

impl Sent {
    /// Counts what became of one datagram of this length.
    pub(crate) fn note(&mut self, result: io::Result<()>, length: usize) {
        match result {
            Ok(()) => self.sent += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
            Err(error) => {
                self.lost += 1;
                if is_too_long(&error) {
                    self.too_long = Some(self.too_long.map_or(length, |shortest| shortest.min(length)));
                }
                self.error = Some(error.kind());
            }
        }
    }
}
