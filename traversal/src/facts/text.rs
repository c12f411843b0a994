//! Facts as people write them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{BubbleTargets, FactError};
use crate::nat::{FilteringBehavior, MappingBehavior, NatKind, PortAllocation};

/// Reads `PORT` or `FIRST-LAST`.
fn port_range(text: &str) -> Result<RangeInclusive<u16>, FactError> {
    let port = |text: &str| text.trim().parse::<u16>();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first), port(last)) {
        (Ok(first), Ok(last)) if first != 0 && first <= last => Ok(first..=last),
        _ => Err(FactError::Ports(text.to_owned())),
    }
}

impl FromStr for BubbleTargets {
    type Err = FactError;

    fn from_str(text: &str) -> Result<Self, FactError> {
        Self::new(port_range(text)?)
    }
}

impl fmt::Display for BubbleTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.start(), self.0.end()) {
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

/// It reads the name that people see, with hyphens or spaces; `restricted`, `portrestricted`, `fullcone`, `as` and `ps`
/// are short ones.
impl FromStr for NatKind {
    type Err = FactError;

    fn from_str(text: &str) -> Result<Self, FactError> {
        let name: String = text.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
        Ok(match name.as_str() {
            "none" => Self::None,
            "firewall" => Self::Firewall,
            "fullcone" => Self::FullCone,
            "restricted" | "restrictedcone" => Self::RestrictedCone,
            "portrestricted" | "portrestrictedcone" => Self::PortRestrictedCone,
            "as" | "addresssensitivesymmetric" => Self::AddressSensitiveSymmetric,
            "ps" | "portsensitivesymmetric" => Self::PortSensitiveSymmetric,
            _ => return Err(FactError::Kind(text.to_owned())),
        })
    }
}

impl FromStr for MappingBehavior {
    type Err = FactError;

    fn from_str(text: &str) -> Result<Self, FactError> {
        Ok(match text {
            "endpoint-independent" => Self::EndpointIndependent,
            "address-dependent" => Self::AddressDependent,
            "address-and-port-dependent" => Self::AddressAndPortDependent,
            _ => return Err(FactError::Mapping(text.to_owned())),
        })
    }
}

impl FromStr for FilteringBehavior {
    type Err = FactError;

    fn from_str(text: &str) -> Result<Self, FactError> {
        Ok(match text {
            "endpoint-independent" => Self::EndpointIndependent,
            "address-dependent" => Self::AddressDependent,
            "address-and-port-dependent" => Self::AddressAndPortDependent,
            _ => return Err(FactError::Filtering(text.to_owned())),
        })
    }
}

/// It reads `preserving`, `random`, or `FIRST-LAST` for a block; a counter is set by its step.
impl FromStr for PortAllocation {
    type Err = FactError;

    fn from_str(text: &str) -> Result<Self, FactError> {
        match text {
            "preserving" => Ok(Self::Preserving),
            "random" => Ok(Self::Random),
            _ => {
                let block = port_range(text).map_err(|_| FactError::Allocation(text.to_owned()))?;
                Ok(Self::RandomInBlock { first: *block.start(), last: *block.end() })
            }
        }
    }
}
