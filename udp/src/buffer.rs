//! Memory for one receive call.

use std::net::{IpAddr, SocketAddr};

use quinn_udp::RecvMeta;

/// One entry of a receive call has room for so many bytes: the system may merge equal datagrams of one sender up to 64
/// KiB.
pub(crate) const ENTRY: usize = 1 << 16;

/// This is a datagram that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// This is the address that it came from.
    pub from: SocketAddr,
    /// This is the address of this machine that it was sent to, where the system tells it.
    pub asked: Option<IpAddr>,
    /// This is what it says; may be empty.
    pub payload: &'a [u8],
}

/// A buffer is the memory for one receive call; one serves all sockets of a thread.
#[derive(Debug)]
pub struct Buffer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) metas: Vec<RecvMeta>,
    pub(crate) filled: usize,
}

impl Buffer {
    /// Makes room for `entries` entries of 64 KiB each (1 or more).
    pub fn new(entries: usize) -> Self {
        let entries = entries.max(1);
        Self { bytes: vec![0; ENTRY * entries], metas: vec![RecvMeta::default(); entries], filled: 0 }
    }

    /// Gives the datagrams that the last call brought.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.metas.iter().zip(self.bytes.chunks_exact(ENTRY)).take(self.filled).flat_map(|(meta, bytes)| {
            let whole = bytes.get(..meta.len).unwrap_or_default();
            let datagram = |payload| Datagram { from: meta.addr, asked: meta.dst_ip, payload };
            // An empty datagram has no stride, and no part.
            let empty = whole.is_empty().then(|| datagram(whole));
            whole.chunks(meta.stride.max(1)).map(datagram).chain(empty)
        })
    }
}
