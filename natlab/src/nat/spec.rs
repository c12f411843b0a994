//! NATs on the command line.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::config::{
    Allocation, Blacklist, Fallback, Filtering, Hairpin, Kind, Mapping, NatConfig, PRESETS, Pooling,
};

/// This is one NAT or several in a row, as written on the command line: `ps`, `mapping=eim,cross=5`, `ps,timeout=20`,
/// `portrestricted+cgn`.
#[derive(Clone, Debug, PartialEq)]
pub struct NatSpec {
    /// It is the row as it was written.
    pub name: String,
    /// These are the NATs, the one next to the player first.
    pub chain: Vec<NatConfig>,
}

/// Why a NAT's name could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The text is neither a preset nor `key=value`.
    #[error("\"{0}\" is neither a named NAT ({names}) nor key=value", names = names())]
    Unknown(String),
    /// There is no such key.
    #[error(
        "a NAT has no setting \"{0}\"; there are mapping, filtering, ports, cross, timeout, stream-timeout, pool, pooling, quota, clash, hairpin, parity, range, inbound-refresh, blacklist, kind, udp"
    )]
    Key(String),
    /// The value does not fit the key.
    #[error("\"{value}\" is not a value for {key}: {expected}")]
    Value {
        /// It is the key that was set.
        key: String,
        /// It is the value as it was written.
        value: String,
        /// What would be a value.
        expected: &'static str,
    },
}

fn names() -> String {
    PRESETS.map(|preset| preset.name).join(", ")
}

impl NatSpec {
    /// Returns one NAT under a name of its own.
    pub fn single(name: impl Into<String>, config: NatConfig) -> Self {
        Self { name: name.into(), chain: vec![config] }
    }

    /// Tells whether it is made of names alone, with no setting spelled out.
    pub fn is_named(&self) -> bool {
        self.name.split('+').all(|part| NatConfig::preset(part.trim()).is_some())
    }
}

impl fmt::Display for NatSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl FromStr for NatSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let chain = text.split('+').map(parse_one).collect::<Result<_, _>>()?;
        Ok(Self { name: text.to_owned(), chain })
    }
}

fn parse_one(text: &str) -> Result<NatConfig, SpecError> {
    let mut config = NatConfig::default();
    for (index, part) in text.split(',').enumerate() {
        let part = part.trim();
        match part.split_once('=') {
            Some((key, value)) => set(&mut config, key.trim(), value.trim())?,
            None if index == 0 => {
                config = NatConfig::preset(part).ok_or_else(|| SpecError::Unknown(part.to_owned()))?;
            }
            None => return Err(SpecError::Unknown(part.to_owned())),
        }
    }
    Ok(config)
}

fn set(config: &mut NatConfig, key: &str, value: &str) -> Result<(), SpecError> {
    let bad = |expected| SpecError::Value { key: key.to_owned(), value: value.to_owned(), expected };
    let yes = || match value {
        "yes" | "true" | "1" => Ok(true),
        "no" | "false" | "0" => Ok(false),
        _ => Err(bad("yes or no")),
    };
    let seconds = || match value.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e6 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(bad("seconds, more than 0")),
    };
    match key {
        "mapping" => config.mapping = parse_mapping(value).ok_or_else(|| bad("eim, adm or apdm"))?,
        "filtering" => config.filtering = parse_filtering(value).ok_or_else(|| bad("eif, adf or apdf"))?,
        "ports" => config.allocation = parse_ports(value).ok_or_else(|| bad(PORTS))?,
        "cross" => {
            config.cross = value
                .parse()
                .ok()
                .filter(|rate: &f64| (0.0..=10_000.0).contains(rate))
                .ok_or_else(|| bad("ports per second, 0 to 10000"))?;
        }
        "timeout" => {
            config.timeout = seconds()?;
            config.stream_timeout = config.timeout;
        }
        "stream-timeout" => config.stream_timeout = seconds()?,
        "pool" => {
            config.pool = value
                .parse()
                .ok()
                .filter(|n| (1..=64).contains(n))
                .ok_or_else(|| bad("addresses, 1 to 64"))?;
        }
        "pooling" => config.pooling = parse_pooling(value).ok_or_else(|| bad("paired or arbitrary"))?,
        "quota" => {
            config.quota =
                Some(value.parse().ok().filter(|n| *n > 0).ok_or_else(|| bad("mappings, at least 1"))?);
        }
        "clash" => config.clash = yes()?,
        "hairpin" => {
            config.hairpin = parse_hairpin(value)
                .ok_or_else(|| bad("yes, no, or internal for one that shows the internal source"))?
        }
        "parity" => config.parity = yes()?,
        "range" => {
            config.port_range = parse_range(value).ok_or_else(|| bad("FIRST-LAST, at least 16 ports"))?
        }
        "inbound-refresh" => config.inbound_refresh = yes()?,
        "blacklist" => {
            let after = value.parse().ok().filter(|n| *n > 0).ok_or_else(|| bad("packets, at least 1"))?;
            config.blacklist = Some(Blacklist { after, ban: Duration::from_secs(60) });
        }
        "kind" => {
            config.kind = match value {
                "nat" => Kind::Nat,
                "firewall" => Kind::Firewall,
                "router" => Kind::Router,
                _ => return Err(bad("nat, firewall or router")),
            };
        }
        "udp" => config.udp_blocked = !yes()?,
        _ => return Err(SpecError::Key(key.to_owned())),
    }
    Ok(())
}

fn parse_hairpin(value: &str) -> Option<Hairpin> {
    match value {
        "internal" => Some(Hairpin::InternalSource),
        "yes" | "true" | "1" => Some(Hairpin::ExternalSource),
        "no" | "false" | "0" => Some(Hairpin::No),
        _ => None,
    }
}

fn parse_pooling(value: &str) -> Option<Pooling> {
    match value {
        "paired" => Some(Pooling::Paired),
        "arbitrary" => Some(Pooling::Arbitrary),
        _ => None,
    }
}

fn parse_filtering(value: &str) -> Option<Filtering> {
    match value {
        "eif" => Some(Filtering::EndpointIndependent),
        "adf" => Some(Filtering::AddressDependent),
        "apdf" => Some(Filtering::AddressAndPortDependent),
        _ => None,
    }
}

fn parse_mapping(value: &str) -> Option<Mapping> {
    match value {
        "eim" => Some(Mapping::EndpointIndependent),
        "adm" => Some(Mapping::AddressDependent),
        "apdm" => Some(Mapping::AddressAndPortDependent),
        _ => None,
    }
}

const PORTS: &str =
    "preserving, preserving:sequential, random, sequential:STEP (not 0) or block:SIZE (16 to 32768)";

fn parse_range(value: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = value.split_once('-')?;
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && last >= first && last - first >= 15).then_some(first..=last)
}

fn parse_ports(value: &str) -> Option<Allocation> {
    Some(match value.split_once(':') {
        None if value == "preserving" => Allocation::Preserving(Fallback::Random),
        None if value == "random" => Allocation::Random,
        None if value == "sequential" => Allocation::Sequential(1),
        Some(("preserving", "sequential")) => Allocation::Preserving(Fallback::Sequential),
        Some(("sequential", step)) => {
            let step: i32 = step.parse().ok()?;
            if step == 0 || step.abs() > 1000 {
                return None;
            }
            Allocation::Sequential(step)
        }
        Some(("block", size)) => {
            let size: u16 = size.parse().ok()?;
            if !(16..=32768).contains(&size) {
                return None;
            }
            Allocation::RandomInBlock(size)
        }
        _ => return None,
    })
}
