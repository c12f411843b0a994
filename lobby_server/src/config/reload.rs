//! Settings that change while the server runs.

use figment::Figment;
use figment::providers::Serialized;
use figment::value::{Dict, Value};

use super::settings::{ConfigError, Settings};
use super::sources::nearest;

/// These settings count from the moment on that they are read again; all others from the next start on. What players were
/// told when they logged in (`session_timeout_s`) does not change under them.
const RELOADS: &[&str] = &[
    "chat",
    "drain_s",
    "games",
    "keep_seat_s",
    "log",
    "max_contacts",
    "max_queued_per_address",
    "max_rooms",
    "max_rooms_per_address",
    "max_sessions",
    "max_sessions_per_address",
    "max_tcp_per_address",
    "relay",
    "relay_games",
    "relay_games_gigabytes_per_day",
    "relay_games_gigabytes_per_month",
    "relay_gigabytes_per_day",
    "relay_gigabytes_per_month",
    "relay_kilobytes_per_s",
    "relay_lifetime_s",
    "relay_total_kilobytes_per_s",
    "rings_per_minute",
    "same_nat_mask_v4",
    "same_nat_mask_v6",
    "stranger_rings_per_minute",
    "stun",
    "tcp_login_timeout_s",
    "tls_cert",
    "tls_key",
    "token",
    "token_key",
];

/// This is what a second reading of the configuration brings.
#[derive(Clone, Debug, PartialEq)]
pub struct Reload {
    /// These settings are in force from now on.
    pub settings: Settings,
    /// The keys of what has changed, in order.
    pub changed: Vec<String>,
    /// The keys of what would change with the next start, in order.
    pub at_start: Vec<String>,
}

/// An operator does not see or set these by [`Settings::with`]: a secret, files of the server's machine, and what is the log's own.
const APART: [&str; 5] = ["token", "token_key", "log", "tls_cert", "tls_key"];

impl Settings {
    /// Returns the settings that an operator may change while the server runs.
    pub fn limits(&self) -> Dict {
        let shown = |key: &String| RELOADS.contains(&key.as_str()) && !APART.contains(&key.as_str());
        let value = Value::serialize(self).ok().and_then(Value::into_dict).unwrap_or_default();
        value.into_iter().filter(|(key, _)| shown(key)).collect()
    }

    /// Returns these settings with others in the place of some, as [`limits`](Self::limits) names them.
    ///
    /// # Errors
    /// A key is none of them, or a value breaks its rule.
    pub fn with(&self, changes: Dict) -> Result<Self, ConfigError> {
        let limits = self.limits();
        if let Some(key) = changes.keys().find(|key| !limits.contains_key(*key)) {
            return Err(ConfigError::Value(match nearest(key, limits.keys()) {
                Some(name) => format!("\"{}\" cannot be set; the nearest is \"{name}\"", key.escape_debug()),
                None => format!("\"{}\" cannot be set", key.escape_debug()),
            }));
        }
        let figment = Figment::from(Serialized::defaults(self)).merge(Serialized::defaults(changes));
        let settings: Self = figment.extract_lossy().map_err(Box::new)?;
        settings.validate()?;
        Ok(settings)
    }

    /// Works out what changes where these settings are in force and others were read.
    ///
    /// # Errors
    /// Where what is left of both does not fit together.
    pub fn reload(&self, read: &Self) -> Result<Reload, ConfigError> {
        let dict = |settings: &Self| {
            let value = Value::serialize(settings).map_err(Box::new)?;
            Ok::<_, ConfigError>(value.into_dict().unwrap_or_default())
        };
        let (mut merged, new) = (dict(self)?, dict(read)?);
        let (mut changed, mut at_start) = (Vec::new(), Vec::new());
        for (key, value) in new {
            if merged.get(&key) == Some(&value) {
                continue;
            }
            if RELOADS.contains(&key.as_str()) {
                merged.insert(key.clone(), value);
                changed.push(key);
            } else {
                at_start.push(key);
            }
        }
        let settings: Self = Figment::from(Serialized::defaults(merged)).extract().map_err(Box::new)?;
        settings.validate()?;
        Ok(Reload { settings, changed, at_start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_change_changes_and_the_rest_is_named() {
        let old = Settings { bind: vec!["127.0.0.1:3478".parse().unwrap()], ..Settings::default() };
        let read = Settings {
            bind: Vec::new(),
            max_rooms: 7,
            token: Some("sesame".into()),
            games: vec!["chess".into()],
            ..old.clone()
        };
        let reload = old.reload(&read).unwrap();
        assert_eq!(reload.changed, ["games", "max_rooms", "token"]);
        assert_eq!(reload.at_start, ["bind"]);
        assert_eq!(reload.settings, Settings { bind: old.bind.clone(), ..read.clone() });
        // And away again.
        let back = reload.settings.reload(&old).unwrap();
        assert_eq!((back.settings, back.at_start), (old, Vec::new()));
    }

    #[test]
    fn an_operator_changes_limits_and_neither_secrets_nor_addresses() {
        let settings = Settings { token: Some("sesame".into()), ..Settings::default() };
        assert!(!format!("{:?}", settings.limits()).contains("sesame"));
        let changes = |key: &str, value: &str| [(key.to_owned(), Value::from(value))].into();
        let changed = settings.with(changes("max_rooms", "7")).unwrap();
        assert_eq!(changed, Settings { max_rooms: 7, ..settings.clone() });
        for (key, value, said) in [
            ("max_room", "7", "the nearest is \"max_rooms\""),
            ("max_rooms", "0", "from 1"),
            ("max_rooms", "many", "max_rooms"),
            ("token", "other", "cannot be set"),
            ("bind", "127.0.0.1:1", "cannot be set"),
        ] {
            let text = crate::check::chain(&settings.with(changes(key, value)).unwrap_err());
            assert!(text.contains(said), "{key}: {text}");
        }
    }

    #[test]
    fn every_name_of_the_list_is_a_setting() {
        let known = super::super::settings::defaults();
        assert_eq!(RELOADS.iter().find(|key| !known.contains_key(**key)), None);
    }
}
