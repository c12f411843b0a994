//! What is printed: JSON lines, or the same as text.

use std::io::Write;
use std::time::{Duration, Instant};

use bevy_ecs::resource::Resource;
use serde_json::{Map, Value};

/// This resource is the printer.
#[derive(Resource, Debug)]
pub struct Output {
    json: bool,
    start: Instant,
}

impl Output {
    /// Returns a printer of JSON lines, or of the same as text. Times count from now.
    pub fn new(json: bool) -> Self {
        Self { json, start: Instant::now() }
    }

    /// Returns whether it prints JSON lines.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints an event. `fields` is an object.
    pub fn event(&self, event: &str, fields: Value) {
        let t_ms = rounded(self.start.elapsed().as_secs_f64() * 1000.0);
        let line = if self.json {
            let mut object = Map::new();
            object.insert("t_ms".into(), t_ms.into());
            object.insert("event".into(), event.into());
            if let Value::Object(fields) = fields {
                object.extend(fields);
            }
            Value::Object(object).to_string()
        } else {
            let mut line = format!("{:>9.1} ms  {event}", t_ms);
            for (name, value) in fields.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                line.push_str(&format!("  {}: {value}", name.replace('_', " ")));
            }
            line
        };
        // Nobody may be reading any more; that is no reason to stop.
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Returns the value rounded to one digit after the point.
pub fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Returns the duration in milliseconds, with one digit after the point.
pub fn ms(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1000.0)
}
