//! What the user knows of the own NAT (M9), as options.

use std::time::Duration;

use bevy_traversal::{FactError, FilteringBehavior, MappingBehavior, NatFacts, NatKind, PortAllocation};
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Sub};

    fn parsed(options: &str) -> Result<NatFacts, String> {
        let line = format!("peer nat --lobby 192.0.2.1 {options}");
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        let Sub::Nat { common, .. } = cli.command else { return Err("another command".into()) };
        common.known.facts().map_err(|error| error.to_string())
    }

    #[test]
    fn facts_are_set_one_by_one_and_what_is_given_alone_wins_over_the_kind() {
        assert_eq!(parsed(""), Ok(NatFacts::NONE));
        let counts = |step| Some(PortAllocation::Sequential { step });
        assert_eq!(parsed("--step -3"), Ok(NatFacts { allocation: counts(-3), ..NatFacts::NONE }));
        let cone = NatFacts::of_kind(NatKind::PortRestrictedCone).expect("a kind");
        assert_eq!(
            parsed("--nat port-restricted-cone --step 2"),
            Ok(NatFacts { allocation: counts(2), ..cone })
        );
        let open = Some(FilteringBehavior::EndpointIndependent);
        assert_eq!(
            parsed("--nat portrestricted --filtering endpoint-independent"),
            Ok(NatFacts { filtering: open, ..cone })
        );
        let timeout = Some(Duration::from_secs(30));
        assert_eq!(
            parsed("--foreign-rate 12.5 --nat-timeout 30"),
            Ok(NatFacts { foreign_rate: Some(12.5), timeout, ..NatFacts::NONE })
        );
    }

    #[test]
    fn bad_values_are_refused_with_what_is_allowed() {
        for (options, says) in [
            ("--step 0", "-4096 to 4096 ports, without 0"),
            ("--step 5000", "-4096 to 4096 ports, without 0"),
            ("--nat symmetric", "port-sensitive-symmetric (ps)"),
            ("--mapping none", "address-and-port-dependent"),
            ("--allocation sequential", "FIRST-LAST"),
            ("--foreign-rate -1", "0 to 10000"),
            ("--foreign-rate NaN", "0 to 10000"),
            ("--nat-timeout 0", "1 to 86400 s"),
            ("--step 2 --allocation random", "cannot be used with"),
        ] {
            let refused = parsed(options).expect_err(options);
            assert!(refused.contains(says), "{options}: {refused}");
        }
        let line = "peer join --lobby 192.0.2.1 --room r --bubble-target 1-65535";
        let refused = Cli::try_parse_from(line.split_whitespace()).expect_err("too many").to_string();
        assert!(refused.contains("up to 8 ports"), "{refused}");
    }
}
