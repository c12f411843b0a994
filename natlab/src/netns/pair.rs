//! One run: the lobby server, and a program twice, behind two NATs.

mod outcome;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::acts::Acts;
use super::error::NetnsError;
use super::lab::{LOBBY, Lab, LabSettings};
use super::process::{Happened, Program, Start, locate};
use super::report::{INTERRUPTED, PairReport};
use super::script::Script;
use super::transcript::Transcript;

/// A lobby server binds its sockets and makes its key in much less, in a debug build on a busy machine too.
const LOBBY_READY: Duration = Duration::from_secs(15);
/// Players go on for this many seconds after a script, where `{seconds}` stands in their command.
const AFTER_SCRIPT: u64 = 5;
/// Where the left program does not tell (in JSON) that its room exists.
const DEFAULT_STAGGER: Duration = Duration::from_secs(5);
/// A program has this long between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(3);
const LOBBY_PORT: u16 = 3478;
/// It is the lobby server's name, where a script has it move.
const LOBBY_NAME: &str = "lobby.lab";

/// What one run needs.
#[derive(Clone, Debug)]
pub(crate) struct PairSettings {
    pub(crate) lab: LabSettings,
    pub(crate) log_dir: PathBuf,
    /// It is the lobby server's program; with none, there is no lobby server.
    pub(crate) lobby_server: Option<PathBuf>,
    /// The second address is another lobby server's.
    pub(crate) two_lobbies: bool,
    /// Both share rooms in this registry, and the right program finds the second one.
    pub(crate) registry: Option<String>,
    pub(crate) command: Vec<String>,
    /// It is the left one's event that the right one waits for.
    pub(crate) after: String,
    pub(crate) stagger: Option<Duration>,
    pub(crate) time_limit: Option<Duration>,
    /// What happens to the run.
    pub(crate) script: Option<Script>,
    /// It shows the programs' lines as they come.
    pub(crate) verbose: bool,
}

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Lobby,
    Host,
    Join,
    /// The second lobby server, where there are two.
    Neighbour,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Lobby => "lobby",
            Self::Host => "host",
            Self::Join => "join",
            Self::Neighbour => "neighbour",
        }
    }
}

pub(crate) type Message = Happened<Who>;

/// This is a run under way.
pub(crate) struct Run<'a> {
    pub(crate) settings: &'a PairSettings,
    pub(crate) lab: Lab,
    pub(crate) acts: Option<Acts>,
    /// It is the lobby server's address now, as an index, and how often it was started.
    lobby: (usize, u32),
    tell: Sender<Message>,
    heard: &'a Receiver<Message>,
    began: Instant,
    programs: [Option<Program>; 4],
    exits: [Option<i32>; 4],
    transcripts: [Transcript; 4],
    key: String,
    room: String,
    reason: Option<String>,
}

/// Returns how a lobby server with this address is started whose second address is another one's.
fn neighbours(own: std::net::Ipv4Addr, other: std::net::Ipv4Addr) -> [String; 2] {
    [format!("--bind={own}:{LOBBY_PORT}"), format!("--neighbour={other}:{LOBBY_PORT}")]
}

/// Runs it to its end. `tell` and `heard` are the two ends of one channel; an `Interrupted` may come in from outside.
pub(crate) fn run_pair(
    settings: &PairSettings,
    tell: Sender<Message>,
    heard: &Receiver<Message>,
) -> Result<PairReport, NetnsError> {
    let lab = Lab::new(&settings.lab)?;
    // They end with this run, after the programs.
    let _services = lab.start_services(&settings.log_dir)?;
    let mut run = Run {
        settings,
        lab,
        acts: settings.script.clone().map(Acts::new),
        lobby: (0, 0),
        tell,
        heard,
        began: Instant::now(),
        programs: Default::default(),
        exits: [None; 4],
        transcripts: Default::default(),
        key: String::new(),
        room: format!("lab-{:08x}", settings.lab.seed & 0xffff_ffff),
        reason: None,
    };
    run.write_hosts()?;
    let ready = if settings.lobby_server.is_some() { run.start_lobbies()? } else { true };
    if ready {
        run.play()?;
    }
    run.end();
    Ok(run.report())
}

impl Run<'_> {
    /// Starts the lobby server, or both; returns false when the user interrupted it.
    fn start_lobbies(&mut self) -> Result<bool, NetnsError> {
        if !self.start_lobby()? || !self.settings.two_lobbies {
            return Ok(self.reason.is_none());
        }
        // With the key that the first one has made.
        let Some(program) = self.settings.lobby_server.clone() else { return Ok(true) };
        let [bind, neighbour] = neighbours(LOBBY[1], LOBBY[0]);
        let mut arguments = vec![bind, neighbour, "--key-file".into(), self.key_file(), "--no-http".into()];
        arguments.extend(self.registry());
        self.start(Who::Neighbour, program, &arguments)?;
        self.until_ready(Who::Neighbour)
    }

    fn registry(&self) -> Option<String> {
        self.settings.registry.as_ref().map(|url| format!("--registry={url}"))
    }

    fn key_file(&self) -> String {
        self.settings.log_dir.join("lobby.key").display().to_string()
    }

    /// Starts the lobby server; returns false when the user interrupted it.
    fn start_lobby(&mut self) -> Result<bool, NetnsError> {
        let Some(program) = self.settings.lobby_server.clone() else { return Ok(true) };
        self.lobby.1 += 1;
        let (first, other) = (LOBBY[self.lobby.0], LOBBY[1 - self.lobby.0]);
        let [bind, second] = match self.settings.lab.behind {
            // As in a container, where nobody knows the addresses before.
            Some(_) => [format!("--bind=0.0.0.0:{LOBBY_PORT}"), format!("--second-port={}", LOBBY_PORT + 1)],
            None if self.settings.two_lobbies => neighbours(first, other),
            None => [format!("--bind={first}:{LOBBY_PORT}"), format!("--second-address={other}")],
        };
        let mut arguments = vec![
            bind,
            second,
            "--key-file".into(),
            self.key_file(),
            "--no-http".into(),
            // Players that were killed do not log out, and nobody is to wait for them.
            "--drain".into(),
            "0".into(),
        ];
        arguments.extend(self.registry());
        self.start(Who::Lobby, program, &arguments)?;
        // A script may start it anew: then it takes its time while others do what they do.
        if self.lobby.1 > 1 {
            return Ok(true);
        }
        self.until_ready(Who::Lobby)
    }

    /// Waits until a lobby server says that it serves; returns false when the user interrupted it.
    fn until_ready(&mut self, lobby: Who) -> Result<bool, NetnsError> {
        let log = self.settings.log_dir.join(format!("{}.err", lobby.name())).display().to_string();
        let failed = |reason: String| NetnsError::Lobby { reason, log: log.clone() };
        let deadline = Instant::now() + LOBBY_READY;
        loop {
            match self.next(Some(deadline)) {
                Some(Happened::Line(who, line))
                    if who == lobby && line.starts_with("lobby_server ready on ") =>
                {
                    self.key =
                        line.split_once("key ").map(|(_, key)| key.trim().to_owned()).unwrap_or_default();
                    return Ok(true);
                }
                Some(Happened::Line(..)) => {}
                Some(Happened::Ended(_, code)) => {
                    return Err(failed(format!("it ended with exit code {code}{}", self.last_words(lobby))));
                }
                Some(Happened::Interrupted) => {
                    self.reason = Some(INTERRUPTED.into());
                    return Ok(false);
                }
                None => return Err(failed(format!("no ready line within {} s", LOBBY_READY.as_secs()))),
            }
        }
    }

    fn play(&mut self) -> Result<(), NetnsError> {
        self.start_player(Who::Host)?;
        let join_at = Instant::now() + self.settings.stagger.unwrap_or(DEFAULT_STAGGER);
        let limit = self.settings.time_limit.map(|limit| self.began + limit);
        let mut joined = false;
        loop {
            let due = self.acts.as_ref().and_then(Acts::due);
            if due.is_some_and(|due| due <= Instant::now()) {
                // What was seen until then is worth a report.
                if let Err(error) = self.act() {
                    self.reason = Some(format!("the script could not go on: {error}"));
                    return Ok(());
                }
                continue;
            }
            let wake = [(!joined).then_some(join_at), limit, due].into_iter().flatten().min();
            match self.next(wake) {
                Some(Happened::Line(who, line)) => {
                    let event = self.transcripts[who as usize].line(&line);
                    if let (Some(acts), Some(event)) = (&mut self.acts, &event)
                        && let Ok(value) = serde_json::from_str(&line)
                    {
                        acts.heard(who, event, &value, Instant::now());
                    }
                    let ready = who == Who::Host && event.as_ref() == Some(&self.settings.after);
                    if ready && !joined && self.settings.stagger.is_none() {
                        joined = true;
                        self.start_player(Who::Join)?;
                    }
                }
                Some(Happened::Ended(Who::Lobby, _)) if self.acts.as_ref().is_some_and(Acts::has_killed) => {}
                Some(Happened::Ended(Who::Lobby, code)) => {
                    self.reason = Some(format!(
                        "the lobby server ended in the middle, exit code {code}{}",
                        self.last_words(Who::Lobby)
                    ));
                    return Ok(());
                }
                Some(Happened::Ended(Who::Neighbour, _)) => {}
                Some(Happened::Ended(..)) => {
                    if !joined {
                        self.reason = Some(format!(
                            "the host ended before the other player was started{}",
                            self.last_words(Who::Host)
                        ));
                        return Ok(());
                    }
                    if self.exits[Who::Host as usize].is_some() && self.exits[Who::Join as usize].is_some() {
                        return Ok(());
                    }
                    // Nothing of the script can be seen any more.
                    if self.acts.as_ref().is_some_and(|acts| !acts.is_over(Instant::now())) {
                        return Ok(());
                    }
                }
                Some(Happened::Interrupted) => {
                    self.reason = Some(INTERRUPTED.into());
                    return Ok(());
                }
                None if limit.is_some_and(|limit| Instant::now() >= limit) => {
                    self.reason = Some("the time limit was reached".into());
                    return Ok(());
                }
                None if Instant::now() < join_at => {}
                None => {
                    if !joined {
                        joined = true;
                        self.start_player(Who::Join)?;
                    }
                }
            }
        }
    }

    /// Writes the file by which players resolve names.
    fn write_hosts(&self) -> Result<(), NetnsError> {
        let text = format!("127.0.0.1 localhost\n{} {LOBBY_NAME}\n", LOBBY[self.lobby.0]);
        fs::write(self.hosts(), text).map_err(NetnsError::system("writing the players' names of hosts"))
    }

    fn hosts(&self) -> PathBuf {
        self.settings.log_dir.join("hosts")
    }

    /// Tells whether the lobby server moves: then it has a name.
    fn moves(&self) -> bool {
        self.settings.script.as_ref().is_some_and(Script::moves)
    }

    /// Starts the lobby server once more; elsewhere, if it moves.
    pub(crate) fn start_lobby_again(&mut self, moves: bool) -> Result<(), NetnsError> {
        self.exits[Who::Lobby as usize] = None;
        if moves {
            self.lobby.0 = 1 - self.lobby.0;
        }
        self.start_lobby()?;
        self.write_hosts()
    }

    /// Has a program stand still, or go on.
    pub(crate) fn pause(&mut self, who: Who, still: bool) {
        if let Some(program) = &mut self.programs[who as usize] {
            program.pause(still);
        }
    }

    /// Kills a program.
    pub(crate) fn drop_program(&mut self, who: Who) {
        self.programs[who as usize] = None;
    }

    /// Asks whatever still runs to end, waits a little, kills the rest.
    fn end(&mut self) {
        let deadline = Instant::now() + GRACE;
        // The players first: they say goodbye to the lobby server.
        for group in [&[Who::Host, Who::Join][..], &[Who::Lobby, Who::Neighbour]] {
            for who in group {
                if let Some(program) = &mut self.programs[*who as usize] {
                    program.terminate();
                }
            }
            while group.iter().any(|who| self.runs(*who)) {
                match self.next(Some(deadline)) {
                    Some(Happened::Line(who, line)) => drop(self.transcripts[who as usize].line(&line)),
                    Some(_) => {}
                    None => break,
                }
            }
        }
        self.programs = Default::default();
    }

    fn runs(&self, who: Who) -> bool {
        self.programs[who as usize].is_some() && self.exits[who as usize].is_none()
    }

    /// Returns the next thing that happens; `None` at `deadline`.
    fn next(&mut self, deadline: Option<Instant>) -> Option<Message> {
        let heard = match deadline {
            Some(deadline) => self.heard.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            // This run holds a sender itself: the channel stays open.
            None => self.heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let happened = heard.ok()?;
        if let Happened::Ended(who, code) = happened {
            self.exits[who as usize] = Some(code);
        }
        if self.settings.verbose {
            let at = self.began.elapsed().as_secs_f64();
            let text = match &happened {
                Happened::Line(who, line) => format!("{:5} {line}", who.name()),
                Happened::Ended(who, code) => format!("{:5} ended, exit code {code}", who.name()),
                Happened::Interrupted => String::from("interrupted: ending the programs"),
            };
            // Whoever reads this may go away before the run ends.
            let _ = writeln!(io::stderr(), "{at:8.3} {text}");
        }
        Some(happened)
    }

    fn start_player(&mut self, who: Who) -> Result<(), NetnsError> {
        let side = if who == Who::Host { "left" } else { "right" };
        let lobby = if self.moves() {
            format!("{LOBBY_NAME}:{LOBBY_PORT}")
        } else {
            // With a registry each finds another one of the two.
            let second = self.settings.registry.is_some() && who == Who::Join;
            format!("{}:{LOBBY_PORT}", LOBBY[usize::from(second)])
        };
        let seconds = self.settings.script.as_ref().map_or(10, |script| script.end.as_secs() + AFTER_SCRIPT);
        let mut words = self.settings.command.iter().map(|word| {
            word.replace("{role}", who.name())
                .replace("{side}", side)
                .replace("{lobby}", &lobby)
                .replace("{key}", &self.key)
                .replace("{room}", &self.room)
                .replace("{seconds}", &seconds.to_string())
        });
        let program = locate(&words.next().unwrap_or_default(), "a path")?;
        let arguments: Vec<String> = words.collect();
        self.start(who, program, &arguments)
    }

    fn start(&mut self, who: Who, program: PathBuf, arguments: &[String]) -> Result<(), NetnsError> {
        let namespace = match who {
            Who::Lobby | Who::Neighbour => self.lab.lobby_program(),
            Who::Host => self.lab.player(0),
            Who::Join => self.lab.player(1),
        };
        let name = match (who, self.lobby.1) {
            (Who::Lobby, 2..) => format!("lobby-{}", self.lobby.1),
            _ => who.name().to_owned(),
        };
        let player = matches!(who, Who::Host | Who::Join);
        let hosts = (player && self.moves()).then(|| self.hosts());
        let start = Start {
            program: &program,
            arguments: arguments.iter().map(OsString::from).collect(),
            log_dir: &self.settings.log_dir,
            name: &name,
            hosts: hosts.as_deref(),
        };
        self.programs[who as usize] = Some(Program::start(namespace, &start, who, self.tell.clone())?);
        Ok(())
    }

    /// Returns the last line that a program wrote to stderr, for a message.
    fn last_words(&self, who: Who) -> String {
        let path = self.settings.log_dir.join(format!("{}.err", who.name()));
        let text = fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .map_or_else(String::new, |line| format!(": {line}"))
    }
}
