//! What the user knows of the own NAT (M9), as options.

use std::time::Duration;

use bevy_traversal::traversal_core::nat::{FilteringBehavior, MappingBehavior, PortAllocation};
use bevy_traversal::{FactError, NatFacts, NatKind};
use clap::Args;
use headless::args::seconds;

/// Each wins over what is measured; what is not given is measured all the same.
#[derive(Args, Clone, Debug, Default)]
#[command(
    next_help_heading = "What is known of the own NAT: wins over what is measured, the rest is measured"
)]
pub(crate) struct Known {
    /// Kind of NAT: none, firewall, full-cone, restricted-cone, port-restricted-cone, address-sensitive-symmetric (as),
    /// port-sensitive-symmetric (ps)
    #[arg(long, value_name = "KIND")]
    nat: Option<NatKind>,
    /// When a mapping is reused: endpoint-independent, address-dependent, address-and-port-dependent (RFC 4787)
    #[arg(long, value_name = "MAPPING")]
    mapping: Option<MappingBehavior>,
    /// What a mapping lets in: the same three values
    #[arg(long, value_name = "FILTERING")]
    filtering: Option<FilteringBehavior>,
    /// How ports are chosen: preserving, random, or FIRST-LAST for random ports in a block
    #[arg(long, value_name = "ALLOCATION", conflicts_with = "step")]
    allocation: Option<PortAllocation>,
    /// Distance of successive new ports, -4096 to 4096 without 0: the NAT counts
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    step: Option<i32>,
    /// Ports a second that others behind the same NAT take, 0 to 10000
    #[arg(long, value_name = "PORTS_PER_S", allow_negative_numbers = true)]
    foreign_rate: Option<f32>,
    /// How long an idle mapping lives, 1 to 86400
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    nat_timeout: Option<Duration>,
}

impl Known {
    pub(crate) fn facts(&self) -> Result<NatFacts, FactError> {
        let kind = self.nat.map_or(Ok(NatFacts::NONE), NatFacts::of_kind)?;
        let counts = self.step.map(|step| PortAllocation::Sequential { step });
        let facts = NatFacts {
            mapping: self.mapping.or(kind.mapping),
            filtering: self.filtering.or(kind.filtering),
            allocation: counts.or(self.allocation).or(kind.allocation),
            foreign_rate: self.foreign_rate,
            timeout: self.nat_timeout,
            ..kind
        };
        facts.check().map(|()| facts)
    }
}
