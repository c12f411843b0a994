//! What an operator writes into the file and on the command line, and what a player's driver is told as text.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Instant;

use arbitrary::{Result, Unstructured};
use lobby_server::fuzzing;
use lobby_server::{Server, ServerSocket};
use serde::Serialize;
use traversal_core::nat::{FilteringBehavior, MappingBehavior, NatKind, PortAllocation};
use traversal_core::{BubbleTargets, Identity, NatFacts};

use crate::servers::{SECRET, at};

/// Flags that take text or a list of texts; the keys are those of the file.
const FLAGS: [&str; 8] = [
    "bind",
    "second_address",
    "public_address",
    "second_public_address",
    "http",
    "relay",
    "registry",
    "key_file",
];

/// This is the value of a flag.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Value {
    One(String),
    Many(Vec<String>),
    Number(u64),
}

/// The first byte says what the text is: a file, a file with flags, or a fact about a NAT. Whatever it is, it is refused or
/// it serves: settings that are taken make a server that runs.
pub fn settings(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match which % 3 {
        0 => taken(&text, &BTreeMap::new()),
        1 => {
            let mut u = Unstructured::new(rest);
            let flags = flags(&mut u).unwrap_or_default();
            taken(&String::from_utf8_lossy(u.take_rest()), &flags);
        }
        _ => facts(&text),
    }
}

fn flags(u: &mut Unstructured<'_>) -> Result<BTreeMap<&'static str, Value>> {
    let text = |u: &mut Unstructured<'_>| -> Result<String> {
        let length = u.int_in_range(0..=40)?.min(u.len());
        Ok(String::from_utf8_lossy(u.bytes(length)?).into_owned())
    };
    let mut flags = BTreeMap::new();
    for _ in 0..u.int_in_range(0..=4)? {
        let value = match u.int_in_range(0..=2)? {
            0 => Value::One(text(u)?),
            1 => Value::Many((0..u.int_in_range(0..=3)?).map(|_| text(u)).collect::<Result<_>>()?),
            _ => Value::Number(u.arbitrary()?),
        };
        flags.insert(*u.choose(&FLAGS)?, value);
    }
    Ok(flags)
}

fn taken(text: &str, flags: &BTreeMap<&str, Value>) {
    let settings = match fuzzing::settings(text, flags) {
        Ok(settings) => settings,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a refusal says something");
            return;
        }
    };
    assert!(settings.validate().is_ok());
    // Written as flags they are the same ones.
    assert_eq!(fuzzing::settings("", &settings).ok().as_ref(), Some(&settings));
    let now = Instant::now();
    let config = settings.server();
    assert!(now.checked_add(config.relay_lifetime).is_some());
    assert!(now.checked_add(config.session_timeout).is_some());
    let sockets = vec![ServerSocket::first(at("198.18.0.10:3478"))];
    let mut server = Server::new(config, Identity::from_secret(SECRET), [8; 32], sockets, now);
    server.handle_timeout(now);
}

/// What is taken is written and read again as the same, where it can be written at all.
fn facts(text: &str) {
    if let Ok(targets) = BubbleTargets::from_str(text) {
        assert_eq!(targets.to_string().parse(), Ok(targets));
    }
    let mut facts = NatFacts::NONE;
    if let Some(set) = NatKind::from_str(text).ok().and_then(|kind| NatFacts::of_kind(kind).ok()) {
        facts = set;
    }
    facts.mapping = MappingBehavior::from_str(text).ok().or(facts.mapping);
    facts.filtering = FilteringBehavior::from_str(text).ok().or(facts.filtering);
    facts.allocation = PortAllocation::from_str(text).ok().or(facts.allocation);
    if let Some(PortAllocation::RandomInBlock { first, last }) = facts.allocation {
        assert!(0 < first && first <= last);
    }
    assert_eq!(facts.check(), Ok(()), "what was read can be set");
}
