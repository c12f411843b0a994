//! Real programs on loopback, watched line by line.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{program, scratch};

/// This is a running program. It is killed when this is dropped.
pub struct Program {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<(bool, String)>,
    /// The program wrote these lines to stdout so far.
    pub out: Vec<String>,
    /// The program wrote these lines to stderr so far.
    pub err: Vec<String>,
    seen: usize,
}

impl Program {
    /// Starts this command; `name` stands in messages about it.
    pub fn start(name: &str, command: &mut Command) -> Self {
        Self::start_reading(name, command, Stdio::null())
    }

    /// Does the same with a program that is given lines by [`give`](Self::give).
    pub fn start_with_input(name: &str, command: &mut Command) -> Self {
        Self::start_reading(name, command, Stdio::piped())
    }

    fn start_reading(name: &str, command: &mut Command, input: Stdio) -> Self {
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let (sender, lines) = channel();
        let err_sender = sender.clone();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send((true, line));
            }
        });
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = err_sender.send((false, line));
            }
        });
        let input = child.stdin.take();
        Self { name: name.into(), child, input, lines, out: Vec::new(), err: Vec::new(), seen: 0 }
    }

    /// Gives it a line to read.
    pub fn give(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("started with input"), "{line}").unwrap();
    }

    fn take(&mut self, timeout: Duration) -> Result<(), RecvTimeoutError> {
        let (stdout, line) = self.lines.recv_timeout(timeout)?;
        if stdout {
            self.out.push(line)
        } else {
            self.err.push(line)
        }
        Ok(())
    }

    /// Waits for the next line of stdout that fits, and returns it.
    pub fn line(&mut self, what: &str, seconds: f64, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs_f64(seconds);
        loop {
            while let Some(line) = self.out.get(self.seen) {
                self.seen += 1;
                if fits(line) {
                    return line.clone();
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.take(left).is_err() {
                panic!("no {what} from {} within {seconds} s\n{}", self.name, self.log());
            }
        }
    }

    /// Waits for the next JSON line with this event and returns it.
    pub fn event(&mut self, event: &str, seconds: f64) -> Value {
        let line = self.line(&format!("event {event:?}"), seconds, |line| {
            serde_json::from_str::<Value>(line).is_ok_and(|value| value["event"] == event)
        });
        serde_json::from_str(&line).unwrap()
    }

    /// Waits for its end.
    pub fn exit(&mut self, seconds: f64) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs_f64(seconds);
        // The readers hang up when the program has ended.
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.take(left) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{} did not end within {seconds} s\n{}", self.name, self.log())
                }
            }
        }
    }

    /// Waits for its end with code 0.
    pub fn success(&mut self, seconds: f64) {
        let status = self.exit(seconds);
        assert!(status.success(), "{} ended with {status}\n{}", self.name, self.log());
    }

    /// Waits for its end with another code, and this on stderr.
    pub fn failure(&mut self, seconds: f64, text: &str) {
        let status = self.exit(seconds);
        assert!(!status.success(), "{} succeeded\n{}", self.name, self.log());
        assert!(self.err.iter().any(|line| line.contains(text)), "no {text:?}\n{}", self.log());
    }

    /// Returns all events of this kind so far.
    pub fn events(&self, event: &str) -> Vec<Value> {
        let values = self.out.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        values.filter(|value| value["event"] == event).collect()
    }

    /// Kills it without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends it this signal.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Has it stand still (SIGSTOP), and waits until all its threads do: on a busy machine some run on for a while.
    #[cfg(target_os = "linux")]
    pub fn halt(&self) {
        self.signal("-STOP");
        let tasks = format!("/proc/{}/task", self.child.id());
        let runs = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The state is the letter behind the name, which is in brackets.
            stat.rsplit(") ").next().is_some_and(|state| !state.starts_with('T'))
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::fs::read_dir(&tasks).unwrap().flatten().any(runs) {
            assert!(Instant::now() < deadline, "{} does not stop", self.name);
            std::thread::yield_now();
        }
    }

    /// Returns all that it has written so far.
    pub fn log(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", self.out.join("\n"), self.err.join("\n"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns whether the binary is there and not older than anything it was made from.
fn is_fresh(binary: &Path) -> bool {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|about| about.modified()).ok();
    // `target: source source ...`, as cargo leaves it beside each binary; a space in a path has a backslash before it.
    let Ok(sources) = std::fs::read_to_string(binary.with_extension("d")) else { return false };
    let Some(((_, sources), made)) = sources.split_once(": ").zip(changed(binary)) else { return false };
    let sources = sources.trim().replace("\\ ", "\0");
    sources
        .split_whitespace()
        .all(|path| changed(Path::new(&path.replace('\0', " "))).is_some_and(|changed| changed <= made))
}

/// Returns the server's binary beside the peer's, built on first use where that is needed: a build alone, without the
/// peer, has other features and takes a minute, and waits for whoever builds at that moment.
pub fn lobby_path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let binary = program("lobby_server");
        let folder = binary.parent().unwrap().to_path_buf();
        if is_fresh(&binary) {
            return binary;
        }
        eprintln!("building lobby_server, which this test runs");
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "lobby_server", "--bin", "lobby_server"]);
        build.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", folder.parent().unwrap());
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "lobby_server does not build");
        binary
    })
}

/// This is a lobby server on loopback.
pub struct Lobby {
    /// The server is this process.
    pub program: Program,
    /// Players log in at this address.
    pub address: String,
    /// This is the server's public key, as it prints it.
    pub key: String,
    key_file: PathBuf,
}

impl Lobby {
    /// Starts a server with a key of its own, on any port.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with these environment variables.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_at("127.0.0.1:0", scratch("lobby").join("key"), settings)
    }

    fn start_at(bind: &str, key_file: PathBuf, settings: &[(&str, &str)]) -> Self {
        let mut command = Self::command(bind, &key_file);
        Self::of(Program::start("lobby_server", command.envs(settings.iter().copied())), key_file)
    }

    /// Starts a node: a server at this address and with this key, which it makes if there is none, that shares this registry.
    pub fn start_node(bind: &str, key_file: PathBuf, registry: &str) -> Self {
        Self::start_at(bind, key_file, &[("LOBBY_REGISTRY", registry)])
    }

    /// Waits until this program, a lobby server, is ready.
    pub fn of(mut program: Program, key_file: PathBuf) -> Self {
        // A program for another system starts slowly.
        let ready = program.line("ready line", 30.0, |line| line.starts_with("lobby_server ready on "));
        let words: Vec<&str> = ready.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let address = words[3].to_owned();
        let key = words[1 + words.iter().position(|word| *word == "key").unwrap()].to_owned();
        Self { program, address, key, key_file }
    }

    /// Returns the command that starts the built server at this address.
    pub fn command(bind: &str, key_file: &Path) -> Command {
        Self::command_of(Command::new(lobby_path()), bind, key_file)
    }

    /// Starts a player who hosts, and returns it once its room is open.
    pub fn host(&self, name: &str, args: &[&str]) -> Program {
        let mut host = self.peer(name, "host", args);
        host.event("room", 20.0);
        host
    }

    /// Does the same as [`command`](Self::command) with another program.
    pub fn command_of(mut program: Command, bind: &str, key_file: &Path) -> Command {
        program.args(["--bind", bind, "--second-port", "0", "--no-http", "--key-file"]).arg(key_file);
        program
    }

    /// Kills it without a word.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        *self = Self::start_at(&self.address, self.key_file.clone(), &[]);
    }

    /// Starts a player: `peer KIND --lobby .. --json ARGS`.
    pub fn peer(&self, name: &str, kind: &str, args: &[&str]) -> Program {
        self.peer_of(Command::new(program("peer")), name, kind, args)
    }

    /// Starts a player with another program.
    pub fn peer_of(&self, program: Command, name: &str, kind: &str, args: &[&str]) -> Program {
        let mut all = vec!["--server-key", self.key.as_str(), "--name", name];
        if matches!(kind, "host" | "join") && !args.contains(&"--room") {
            all.extend(["--room", "r1"]);
        }
        all.extend(args);
        start_peer(program, name, &self.address, kind, &all)
    }
}

/// Starts a player: `peer KIND --lobby LOBBY --json ARGS`.
pub fn peer(name: &str, lobby: &str, kind: &str, args: &[&str]) -> Program {
    start_peer(Command::new(program("peer")), name, lobby, kind, args)
}

fn start_peer(mut program: Command, name: &str, lobby: &str, kind: &str, args: &[&str]) -> Program {
    program.args([kind, "--lobby", lobby, "--json"]).args(args);
    if args.contains(&"--chat") {
        return Program::start_with_input(name, &mut program);
    }
    Program::start(name, &mut program)
}

/// Asserts that the program's summary about one player says that all went well.
pub fn assert_played(program: &Program, with: &str) {
    let summaries = program.events("summary");
    let summary = summaries.iter().find(|summary| summary["peer"] == with);
    let summary = summary.unwrap_or_else(|| panic!("no summary about {with}\n{}", program.log()));
    assert!(summary["received"].as_u64().unwrap() > 0, "{summary}");
    assert!(summary["sent"].as_u64().unwrap() > 0, "{summary}");
    assert_eq!(summary["reliable_in_order"], true, "{summary}");
    let messages = program.events("game_message");
    for channel in ["unreliable", "reliable"] {
        let heard = messages.iter().any(|m| m["peer"] == with && m["channel"] == channel);
        assert!(heard, "nothing {channel} from {with}\n{}", program.log());
    }
}
