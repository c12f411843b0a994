//! Stands in for the machine's router where the feature `port_mapping` is off: nobody is asked for a port.

use std::net::IpAddr;
use std::time::Instant;

use traversal_core::Event;

use super::RunLoop;

impl RunLoop {
    pub(super) fn router_watches(&self, _event: &Event) {}

    pub(super) fn router_local(&self, _addresses: &[IpAddr]) {}

    pub(super) fn router_moves(&self) {}

    pub(super) fn router_news(&self, _now: Instant) {}
}
