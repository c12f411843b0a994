//! Where settings come from, and in which forms people write them.

use std::fmt;

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use traversal_core::Secret;

/// Variables of the environment that begin so are settings.
const PREFIX: &str = "LOBBY_";
/// The program reads this one itself.
const CONFIG: &str = "LOBBY_CONFIG";

/// These are the `LOBBY_*` variables, each as the text that it is: a token of digits stays what it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    variables: Vec<(String, String)>,
}

impl Environment {
    /// Takes the variables that are ours out of all. Those that Kubernetes makes for a service of a like name are not.
    pub(super) fn of(variables: impl Iterator<Item = (String, String)>) -> Self {
        let ours = |(name, _): &(String, String)| {
            name.starts_with(PREFIX) && name != CONFIG && !is_of_kubernetes(name)
        };
        let upper = variables.map(|(name, value)| (name.to_ascii_uppercase(), value));
        Self { variables: upper.filter(ours).collect() }
    }

    /// Reads them from this process. What is no Unicode is read with replacement characters, and refused as such.
    pub(super) fn read() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        };
        Self::of(std::env::vars_os().map(text))
    }
}

/// Returns whether this is one of the variables with which Kubernetes tells of a service, as in
/// `LOBBY_SERVICE_HOST` or `LOBBY_SERVER_PORT_3478_UDP_ADDR` (its documentation, "Environment variables" of services).
fn is_of_kubernetes(name: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    let ends_with_host = words.ends_with(&["SERVICE", "HOST"]);
    let named_port = words.windows(2).any(|pair| pair == ["SERVICE", "PORT"]);
    let port = words.iter().rposition(|word| *word == "PORT").is_some_and(|at| {
        // `LOBBY_PORT`, but not `LOBBY_SECOND_PORT` and `LOBBY_TLS_PORT`, which are ours.
        let (before, after) = (&words[..at], &words[at + 1..]);
        match after {
            [] => !matches!(before, ["LOBBY", "SECOND" | "TLS"]),
            [number, protocol, ..] => {
                number.parse::<u16>().is_ok() && matches!(*protocol, "TCP" | "UDP" | "SCTP")
            }
            _ => false,
        }
    });
    ends_with_host || named_port || port
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("the environment")
            .interpolater(|_, keys| format!("{PREFIX}{}", keys.join(".").to_uppercase()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let value = |text: &str| match text.trim_start().chars().next() {
            // Lists, and the table of `relay_games`.
            Some('[' | '{') => text.parse().unwrap_or_else(|never: std::convert::Infallible| match never {}),
            _ => Value::from(text),
        };
        let key = |name: &str| name[PREFIX.len()..].to_ascii_lowercase();
        let dict: Dict = self
            .variables
            .iter()
            .map(|(name, text)| {
                let key = key(name);
                let value = match key.as_str() {
                    "token" => Value::from(text.as_str()),
                    _ => value(text),
                };
                (key, value)
            })
            .collect();
        Ok(Profile::Default.collect(dict))
    }
}

/// This is a text that people may have written as a whole number.
struct Text(String);

impl<'de> de::Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text; put it in quotes")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.into()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// Reads a token.
pub(super) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret<String>>, D::Error> {
    let text: Option<Text> = de::Deserialize::deserialize(deserializer)?;
    Ok(text.map(|text| text.0.into()))
}

/// Reads a text that may hold a password.
pub(super) fn secret_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret<String>, D::Error> {
    let text: Text = de::Deserialize::deserialize(deserializer)?;
    Ok(text.0.into())
}

/// Reads one value or a list; a string with commas serves as a list, too.
pub(super) fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr,
    T::Err: fmt::Display,
{
    struct Reader;
    impl<'de> Visitor<'de> for Reader {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a list of texts; put each in quotes")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(text.split(',').map(String::from).collect())
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Vec<String>, E> {
            Ok(vec![number.to_string()])
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Vec<String>, E> {
            Ok(vec![number.to_string()])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut items = Vec::new();
            while let Some(Text(item)) = list.next_element()? {
                items.push(item);
            }
            Ok(items)
        }
    }
    let items = deserializer.deserialize_any(Reader)?;
    items
        .iter()
        .map(|item| item.trim())
        .filter(|item| !item.is_empty())
        .map(|item| item.parse().map_err(|error| de::Error::custom(format_args!("\"{item}\": {error}"))))
        .collect()
}

/// Returns the known name that is the most like this one, if any is at all.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    /// So much of a name must be right: half of it.
    const LIKE: f64 = 0.5;
    let likeness = |one: &&String| strsim::normalized_damerau_levenshtein(name, one);
    known.filter(|one| likeness(one) >= LIKE).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_sets_for_a_service_is_none_of_ours() {
        // For services named "lobby" and "lobby-server".
        for name in [
            "LOBBY_SERVICE_HOST",
            "LOBBY_SERVICE_PORT",
            "LOBBY_SERVICE_PORT_GAME",
            "LOBBY_PORT",
            "LOBBY_PORT_3478_UDP",
            "LOBBY_PORT_3478_UDP_PROTO",
            "LOBBY_PORT_3478_UDP_PORT",
            "LOBBY_PORT_3478_TCP_ADDR",
            "LOBBY_SERVER_SERVICE_HOST",
            "LOBBY_SERVER_PORT",
            "LOBBY_SERVER_PORT_9600_TCP",
        ] {
            assert!(is_of_kubernetes(name), "{name}");
        }
        for name in [
            "LOBBY_SECOND_PORT",
            "LOBBY_TLS_PORT",
            "LOBBY_SECOND_PROT",
            "LOBBY_MAX_SESSION",
            "LOBBY_HTTP",
            "LOBBY_PORTS",
        ] {
            assert!(!is_of_kubernetes(name), "{name}");
        }
    }

    #[test]
    fn the_nearest_name_is_found_and_none_where_nothing_is_near() {
        let known = ["max_sessions", "max_sessions_per_address", "bind", "second_port"].map(String::from);
        let near = |name: &str| nearest(name, known.iter()).map(String::as_str);
        assert_eq!(near("max_session"), Some("max_sessions"));
        assert_eq!(near("bund"), Some("bind"));
        assert_eq!(near("second-port"), Some("second_port"));
        assert_eq!(near("colour"), None);
    }
}
