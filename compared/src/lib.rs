//! This is what the players have in common: the command line, the greeting, and what they tell of the meeting.
//!
//! Each of them hosts or joins, greets the others twenty times a second, tells the moment of the first greeting that came, plays on for
//! some seconds, tells by which path, and ends.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// It is the public address of the host with all servers: natlab's, when it is not told otherwise.
pub const SERVER: &str = "198.18.0.10";
/// Signalling for matchbox is at this TCP port.
pub const SIGNALLING: u16 = 3536;
/// The TURN server is at this UDP port.
pub const TURN: u16 = 3480;
/// It is the greeting.
pub const HELLO: &[u8] = b"hello";
/// This is the time between two greetings, and of a frame.
pub const FRAME: Duration = Duration::from_millis(8);
const BETWEEN: Duration = Duration::from_millis(50);
/// A player waits so long for the first greeting; who hosts, longer.
const PATIENCE: Duration = Duration::from_secs(20);
const HOST_PATIENCE: Duration = Duration::from_secs(25);
/// Players go on so long after the first greeting: a better path may come.
const LINGER: Duration = Duration::from_secs(4);

/// It is one player's meeting with the other.
#[derive(Debug)]
pub struct Meeting {
    /// This player opens the room.
    pub hosts: bool,
    /// It is the room's name.
    pub room: String,
    /// It is what else the command line says.
    pub rest: Vec<String>,
    start: Instant,
    heard: Option<Instant>,
    greeted: Option<Instant>,
    path: Option<&'static str>,
}

impl Meeting {
    /// Begins it: `host ROOM ...` or `join ROOM ...`. Time counts from here.
    pub fn begin() -> Self {
        let start = Instant::now();
        let mut words = std::env::args().skip(1);
        let hosts = words.next().is_some_and(|role| role == "host");
        let room = words.next().unwrap_or_default();
        Self { hosts, room, rest: words.collect(), start, heard: None, greeted: None, path: None }
    }

    /// Tells an event.
    pub fn tell(&self, event: &str, what: &Value) {
        let ms = (self.start.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        let mut line = json!({"t_ms": ms, "event": event});
        if let (Some(line), Some(what)) = (line.as_object_mut(), what.as_object()) {
            line.extend(what.clone());
        }
        println!("{line}");
    }

    /// Tells that others can join now.
    pub fn open(&self) {
        self.tell("room", &json!({}));
    }

    /// Returns the file by which the host's ticket gets to the other player, as a chat would take it there.
    pub fn ticket(&self) -> PathBuf {
        let program = std::env::args().next().unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or_default().to_owned();
        std::env::temp_dir().join(format!("{}-{program}.ticket", self.room))
    }

    /// It is time for the next greeting.
    pub fn greets(&mut self) -> bool {
        let due = self.greeted.is_none_or(|last| last.elapsed() >= BETWEEN);
        if due {
            self.greeted = Some(Instant::now());
        }
        due
    }

    /// A greeting came.
    pub fn heard(&mut self) {
        if self.heard.is_none() {
            self.heard = Some(Instant::now());
            self.tell("game_message", &json!({}));
        }
    }

    /// The path is of this kind now, if it is known.
    pub fn on(&mut self, relayed: Option<bool>) {
        if let Some(relayed) = relayed {
            self.path = Some(if relayed { "relay" } else { "direct" });
        }
    }

    /// Tells the end of it, once it is there.
    pub fn over(&self) -> Option<ExitCode> {
        let patience = if self.hosts { HOST_PATIENCE } else { PATIENCE };
        match self.heard {
            Some(heard) if heard.elapsed() > LINGER => {
                self.tell("path", &json!({"path": self.path}));
                Some(ExitCode::SUCCESS)
            }
            None if self.start.elapsed() > patience => {
                self.tell("failed", &json!({"text": "no greeting came"}));
                Some(ExitCode::FAILURE)
            }
            _ => None,
        }
    }
}
