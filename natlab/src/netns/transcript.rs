//! What a player's program told, line by line, in the JSON that `peer --json` writes.

use serde_json::Value;

/// At most this many lines are kept; a chattering program must not fill the memory.
const MAX_EVENTS: usize = 10_000;

/// It holds the lines of one program that are JSON objects with an `event`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript {
    events: Vec<Value>,
}

/// It is a path as one player knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PathTold {
    pub(crate) path: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) since_request_ms: Option<f64>,
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) packets_sent: Option<u64>,
}

impl Transcript {
    /// Takes a line; tells which event it was.
    pub(crate) fn line(&mut self, line: &str) -> Option<String> {
        let value: Value = serde_json::from_str(line).ok()?;
        let event = value.get("event")?.as_str()?.to_owned();
        if self.events.len() < MAX_EVENTS {
            self.events.push(value);
        }
        Some(event)
    }

    pub(crate) fn events(&self) -> &[Value] {
        &self.events
    }

    pub(crate) fn into_events(self) -> Vec<Value> {
        self.events
    }

    /// Returns the path that the game ended on: the summary's, else the last one told. Its figures are those of the
    /// first time that it stood.
    pub(crate) fn path(&self) -> PathTold {
        let paths = || self.named("path");
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let summary = self.named("summary").last().and_then(|summary| text(summary, "path"));
        let last = summary.or_else(|| paths().last().and_then(|path| text(path, "path")));
        let first = paths().find(|path| text(path, "path") == last);
        let number = |key: &str| first.and_then(|path| path.get(key)).and_then(Value::as_f64);
        PathTold {
            method: first.and_then(|path| text(path, "method")),
            since_request_ms: number("since_request_ms"),
            rtt_ms: number("rtt_ms"),
            packets_sent: first.and_then(|path| path.get("packets_sent")).and_then(Value::as_u64),
            path: last,
        }
    }

    /// Returns the time from the first request to the first message of the game, in milliseconds.
    pub(crate) fn first_message_ms(&self) -> Option<f64> {
        let at = |event: &str| self.named(event).next()?.get("t_ms")?.as_f64();
        Some(((at("game_message")? - at("request")?) * 10.0).round() / 10.0)
    }

    /// Returns the reason that it gave for a failure.
    pub(crate) fn failure(&self) -> Option<String> {
        let failed = self.named("failed").last()?;
        let text = |key: &str| failed.get(key).and_then(Value::as_str);
        let reason = text("text").or_else(|| text("reason"))?;
        Some(text("advice").map_or_else(|| reason.to_owned(), |advice| format!("{reason} {advice}")))
    }

    pub(crate) fn has(&self, event: &str) -> bool {
        self.named(event).next().is_some()
    }

    fn named<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event.get("event").and_then(Value::as_str) == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_that_was_played_on_counts() {
        let mut told = Transcript::default();
        for line in [
            r#"{"t_ms":0.4,"event":"start","version":"0.1.0"}"#,
            "not JSON",
            r#"{"t_ms":500.0,"event":"request","peer":null}"#,
            r#"{"t_ms":660.04,"event":"game_message","peer":"B","channel":"unreliable","n":0}"#,
            r#"{"t_ms":670.0,"event":"game_message","peer":"B","channel":"reliable","n":0}"#,
            r#"{"t_ms":653.5,"event":"path","peer":"B","path":"relay","method":"relay","since_request_ms":153.5}"#,
            r#"{"t_ms":681.2,"event":"path","path":"direct","method":"bubble","rtt_ms":50.6,"since_request_ms":181.2,"packets_sent":9}"#,
            r#"{"t_ms":999.0,"event":"path","path":"direct","method":"other","since_request_ms":999.0}"#,
            r#"{"t_ms":20000.1,"event":"summary","peer":"B","path":"direct"}"#,
        ] {
            told.line(line);
        }
        let path = told.path();
        assert_eq!(path.path.as_deref(), Some("direct"));
        assert_eq!(path.method.as_deref(), Some("bubble"));
        assert_eq!(path.since_request_ms, Some(181.2));
        assert_eq!(path.packets_sent, Some(9));
        assert_eq!(told.failure(), None);
        assert_eq!(told.first_message_ms(), Some(160.0));
        assert_eq!(told.into_events().len(), 8);
    }

    #[test]
    fn a_failure_gives_its_reason_and_advice() {
        let mut told = Transcript::default();
        let line =
            r#"{"event":"failed","reason":"random","text":"Both random.","advice":"Allow the relay."}"#;
        assert_eq!(told.line(line).as_deref(), Some("failed"));
        assert_eq!(told.failure().as_deref(), Some("Both random. Allow the relay."));
        assert_eq!(told.path(), PathTold::default());
    }
}
