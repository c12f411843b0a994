//! `peer doctor`: tries what a game needs of this machine and its network, and says what it found in lines that a player can paste
//! into a bug report. Nothing in them tells who or where the player is: see [`mask`].

mod lobby;
mod machine;
mod mask;
mod network;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bevy_traversal::{IdentitySource, KeptFile, ServerKey, TraversalConfig};
use clap::Args;
use headless::Output;
use headless::args::seconds;
use serde_json::{Value, json};

#[derive(Args, Clone, Debug)]
pub(crate) struct Doctor {
    /// Lobby server of the game, HOST:PORT or HOST; may be given several times. Without any, only the machine is looked at
    #[arg(long)]
    pub(crate) lobby: Vec<String>,
    /// JSON lines instead of text: an event "check" for each check, then "diagnosis"
    #[arg(long)]
    pub(crate) json: bool,
    /// Port at which the lobby server has TLS, for networks that let nothing else out
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    pub(crate) tls_port: u16,
    /// Name of the game; some lobby servers take only those that they know
    #[arg(long, default_value = "peer")]
    pub(crate) game: String,
    /// Public key that the lobby server must have; may be given several times
    #[arg(long, value_name = "BASE64")]
    pub(crate) server_key: Vec<ServerKey>,
    /// How long all checks may take; what is not known by then is said to be so
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) deadline: Duration,
    /// Print addresses as they are, for your own eyes
    #[arg(long)]
    pub(crate) show_addresses: bool,
}

impl Doctor {
    /// The settings of a player who tries the network.
    fn config(&self, name: &str) -> TraversalConfig {
        TraversalConfig {
            lobby: self.lobby.clone(),
            server_keys: self.server_key.clone(),
            game: self.game.clone(),
            tls_port: self.tls_port,
            name: name.into(),
            // It leaves nothing behind, and is nobody whom others could know.
            identity: IdentitySource::Ephemeral,
            kept_profiles: KeptFile::Off,
            ..TraversalConfig::default()
        }
    }
}

/// When the checks must be over.
struct Limit {
    end: Instant,
    stop: Arc<AtomicBool>,
}

impl Limit {
    /// The time that is left; none when it is over, or a signal came.
    fn left(&self) -> Option<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        (!left.is_zero() && !self.stop.load(Ordering::Relaxed)).then_some(left)
    }
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// As it should be.
    Fine,
    /// Games work, and this may explain why not as well as elsewhere.
    Note,
    /// Games do not work like this.
    Bad,
    /// It was not looked at.
    Skipped,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Bad => "bad",
            Self::Skipped => "skipped",
        }
    }
}

/// One check, as it is printed.
struct Check {
    name: &'static str,
    status: Status,
    /// This text is for people.
    text: String,
    /// This says the same and more for programs; it is an object or nothing.
    facts: Value,
}

impl Check {
    fn new(name: &'static str, status: Status, text: impl Into<String>, facts: Value) -> Self {
        Self { name, status, text: text.into(), facts }
    }
}

/// Prints checks, and keeps in mind what they came to.
struct Report {
    output: Output,
    masked: bool,
    bad: Vec<&'static str>,
}

impl Report {
    fn add(&mut self, check: Check) {
        if check.status == Status::Bad {
            self.bad.push(check.name);
        }
        let (name, status, text) = (check.name, check.status.name(), self.clean(check.text));
        if self.output.is_json() {
            let facts = if self.masked { mask::value(check.facts) } else { check.facts };
            self.output
                .event("check", json!({"check": name, "status": status, "text": text, "facts": facts}));
        } else {
            for (number, line) in text.lines().enumerate() {
                let (status, name) = if number == 0 { (status, name) } else { ("", "") };
                self.line(&format!("{status:<8}{name:<14}{line}"));
            }
        }
    }

    fn clean(&self, text: String) -> String {
        if self.masked { mask::text(&text) } else { text }
    }

    fn line(&self, line: &str) {
        // Nobody may be reading any more; that is no reason to stop.
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }

    /// Says what all of it means.
    fn end(self, took: Duration) -> ExitCode {
        let well = self.bad.is_empty();
        let text = if well {
            "nothing here keeps games from working".to_owned()
        } else {
            format!("games do not work like this, because of: {}", self.bad.join(", "))
        };
        if self.output.is_json() {
            self.output.event("diagnosis", json!({"ok": well, "bad": self.bad, "text": text}));
        } else {
            self.line(&format!("\nResult: {text} ({:.1} s).", took.as_secs_f32()));
            if self.masked {
                self.line("Addresses are masked: these lines can be shown to others.");
            }
        }
        if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Runs all checks, and ends within the deadline. Succeeds when none is bad.
pub(crate) fn run(doctor: &Doctor, stop: Arc<AtomicBool>) -> ExitCode {
    let began = Instant::now();
    let limit = Limit { end: began + doctor.deadline, stop };
    let mut report =
        Report { output: Output::new(doctor.json), masked: !doctor.show_addresses, bad: Vec::new() };
    report.add(machine::version());
    report.add(machine::clock());
    report.add(machine::sockets());
    report.add(machine::interfaces());
    report.add(machine::mtu());
    if doctor.lobby.is_empty() {
        let text = "no lobby server was given (--lobby HOST:PORT), so the network was not tried";
        report.add(Check::new("lobby", Status::Skipped, text, Value::Null));
    } else {
        for server in &doctor.lobby {
            lobby::look(server, doctor.tls_port, &limit).into_iter().for_each(|check| report.add(check));
        }
        network::look(doctor, &limit, &mut |check| report.add(check));
    }
    report.end(began.elapsed())
}
