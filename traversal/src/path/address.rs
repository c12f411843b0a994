//! What an address says about the way to it.

use std::net::SocketAddr;

use crate::address::is_local;
use crate::api::PathKind;

/// Returns what a path to this address is called.
pub(crate) fn kind_of(remote: SocketAddr, lan: bool) -> PathKind {
    if lan && is_local(remote.ip()) {
        PathKind::Lan
    } else if remote.is_ipv6() {
        PathKind::DirectV6
    } else {
        PathKind::Direct
    }
}
