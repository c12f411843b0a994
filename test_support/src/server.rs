//! The built program as a child, and players who talk to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use traversal_core::Identity;
use traversal_core::id::{PlayerId, RequestId};
use traversal_core::wire::Kind;
use traversal_core::wire::message::{Frame, Request, RequestError, Response, ToPlayer, ToServer};
use traversal_core::wire::session::ClientSession;

use crate::login::log_in;
use crate::receive_from;

/// Returns a command for the built server, with its output piped and without settings from the environment, but that it
/// ends at once when it is told to: players of tests do not leave by themselves.
pub fn program() -> Command {
    let mut command = Command::new(crate::program("lobby_server"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LOBBY_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.env("LOBBY_DRAIN_S", "0").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Returns the program from a shell that has given this command first, as in `ulimit -n 1024`.
pub fn program_after(shell: &str) -> Command {
    let wrapped = program();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{shell}; exec \"$0\" \"$@\"")]).arg(wrapped.get_program());
    for (name, value) in wrapped.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// This is a running server. It is killed when the test ends.
pub struct Running {
    /// The server is this process.
    pub child: Child,
    /// This is the first line that the server has printed.
    pub ready: String,
}

impl Running {
    /// Starts the server with these flags. Its key is in `directory`.
    pub fn start(directory: &Path, flags: &[&str]) -> Self {
        Self::start_as(program(), directory, flags)
    }

    /// Starts this server with these flags. Its key is in `directory`.
    pub fn start_as(mut program: Command, directory: &Path, flags: &[&str]) -> Self {
        let mut child = program
            .args(["--key-file", directory.join("key").to_str().unwrap()])
            .args(flags)
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        Self { child, ready }
    }

    /// Returns the word of the ready line at this index, from 0.
    pub fn word(&self, index: usize) -> &str {
        self.ready.split_whitespace().nth(index).unwrap_or_else(|| panic!("ready line: {:?}", self.ready))
    }

    /// Returns the server's first UDP address.
    pub fn address(&self) -> SocketAddr {
        self.word(3).parse().unwrap()
    }

    /// Returns the address of the server's pages.
    pub fn http(&self) -> SocketAddr {
        let after = self.ready.split("http ").nth(1).expect("http in the ready line");
        after.split(',').next().unwrap().parse().unwrap()
    }

    /// Returns a number of the process's that Linux tells in `/proc/PID/status`.
    pub fn proc_status(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect(name)
    }

    /// Reads what the server writes to stderr from now on; [`stop`](Self::stop) has none of it then.
    pub fn log(&mut self) -> Log {
        let stderr = BufReader::new(self.child.stderr.take().expect("nobody else reads it"));
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let filled = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                filled.lock().unwrap().push(line);
            }
        });
        Log { lines, reader }
    }

    /// Sends this signal, waits for the end, and gives what the server wrote to stderr since.
    pub fn stop(mut self, signal: &str) -> Output {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let status = self.child.wait().unwrap();
        let mut stderr = Vec::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_end(&mut stderr).unwrap();
        }
        Output { status, stdout: Vec::new(), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This is what a server writes to stderr, read as it comes.
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Log {
    /// Waits until so many lines have this in them, and returns them.
    ///
    /// # Panics
    /// They have not come within 20 s.
    pub fn wait_for(&self, count: usize, text: &str) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let lines = self.lines.lock().unwrap().clone();
            let found: Vec<String> = lines.iter().filter(|line| line.contains(text)).cloned().collect();
            if found.len() >= count {
                return found;
            }
            assert!(Instant::now() < end, "{count} times {text:?} in {lines:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns all lines of a server that has ended.
    pub fn whole(self) -> Vec<String> {
        self.reader.join().unwrap();
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

/// This is a player on a socket of its own.
pub struct Player {
    /// The socket is connected to the server.
    pub socket: UdpSocket,
    /// This is the session that the login has made.
    pub session: ClientSession,
    /// The server has this public key.
    pub server_key: [u8; 32],
}

/// Receives one datagram, within the socket's timeout.
pub fn receive(socket: &UdpSocket) -> std::io::Result<Vec<u8>> {
    let mut buffer = [0; 2048];
    receive_from(socket, &mut buffer).map(|(length, _)| buffer[..length].to_vec())
}

impl Player {
    /// Logs in over loopback; the player's keys are all made of `seed`.
    pub fn log_in(server: SocketAddr, seed: u8, token: &[u8]) -> Result<Self, String> {
        Self::log_in_from(Ipv4Addr::LOCALHOST.into(), server, seed, token)
    }

    /// Logs in from this address of the machine.
    pub fn log_in_from(ip: IpAddr, server: SocketAddr, seed: u8, token: &[u8]) -> Result<Self, String> {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (_, session, server_key) = log_in(seed, token, |datagram| {
            socket.send(datagram).unwrap();
            receive(&socket).map_err(|error| format!("no answer: {error}"))
        })?;
        Ok(Self { socket, session, server_key })
    }

    /// Returns whether the server answers. The ping is repeated as players repeat it: UDP may lose one, and a machine
    /// that stood still for some seconds has let the wait run out.
    pub fn ping(&mut self) -> bool {
        (0..3).any(|_| {
            let ping = self.session.seal(Instant::now(), Kind::Control, &Frame::Ping { id: 77 }).unwrap();
            self.socket.send(&ping).unwrap();
            // What the server repeats meanwhile, since nobody acknowledges it, is no reason to wait longer.
            let end = Instant::now() + Duration::from_secs(5);
            while Instant::now() < end {
                let Ok(datagram) = receive(&self.socket) else { break };
                let frame = self.session.handle(Instant::now(), &datagram);
                if matches!(frame, Ok(Some(Frame::Pong { id: 77, .. }))) {
                    return true;
                }
            }
            false
        })
    }

    /// Takes what the server sends until it is what is wanted. False: nothing more came for 5 s.
    pub fn wait_for(&mut self, wanted: impl Fn(&Frame<ToPlayer>) -> bool) -> bool {
        while let Ok(datagram) = receive(&self.socket) {
            if let Ok(Some(frame)) = self.session.handle(Instant::now(), &datagram)
                && wanted(&frame)
            {
                return true;
            }
        }
        false
    }

    /// Asks as players do, and waits for the answer.
    ///
    /// # Errors
    /// The server refuses the request.
    pub fn ask(&mut self, number: u32, request: Request) -> Result<Response, RequestError> {
        let id = RequestId(number);
        self.session.send(Instant::now(), ToServer::Request { id, request }).unwrap();
        self.told_until(|message| match message {
            ToPlayer::Response { id: answered, result } if *answered == id => Some(result.clone()),
            _ => None,
        })
        .expect("an answer")
    }

    /// Takes what it is told until this is there, for 10 s at the most.
    pub fn told_until<T>(&mut self, wanted: impl Fn(&ToPlayer) -> Option<T>) -> Option<T> {
        let end = Instant::now() + Duration::from_secs(10);
        let before = self.socket.read_timeout().unwrap();
        self.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut found = None;
        while found.is_none() && Instant::now() < end {
            self.session.handle_timeout(Instant::now());
            while let Some(datagram) = self.session.poll_datagram() {
                self.socket.send(&datagram).unwrap();
            }
            let Ok(datagram) = receive(&self.socket) else { continue };
            if let Ok(Some(Frame::Reliable { body, .. })) = self.session.handle(Instant::now(), &datagram) {
                found = wanted(&body);
            }
        }
        self.socket.set_read_timeout(before).unwrap();
        found
    }

    /// Says this by another socket, or by its own, as a changed client may: without waiting for anything.
    pub fn say(&mut self, by: Option<&UdpSocket>, kind: Kind, frame: &Frame<ToServer>) -> usize {
        let datagram = self.session.seal(Instant::now(), kind, frame).unwrap();
        by.unwrap_or(&self.socket).send(&datagram).unwrap()
    }
}

/// Asks for a page, and gives the whole answer with its headers.
pub fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut out = String::new();
    stream.read_to_string(&mut out).unwrap();
    out
}

/// Returns the id of the player whose keys are made of `seed`.
pub fn player_id(seed: u8) -> String {
    PlayerId::from_public_key(&Identity::from_secret([seed; 32]).public_key()).to_string()
}

/// This is a built server with a socket for its operator, in a directory of its own.
#[cfg(unix)]
pub struct Operated {
    /// This is the server.
    pub running: Running,
    /// Its files are here.
    pub directory: tempfile::TempDir,
}

#[cfg(unix)]
impl Operated {
    /// Starts one that serves the loopback.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { running: Self::running(&directory), directory }
    }

    fn running(directory: &tempfile::TempDir) -> Running {
        let socket = directory.path().join("admin.sock");
        let flags = ["--bind", "127.0.0.1:0", "--no-http", "--admin-socket", socket.to_str().unwrap()];
        Running::start(directory.path(), &flags)
    }

    /// Kills the server and starts it again.
    pub fn restart(self) -> Self {
        let Self { running, directory } = self;
        drop(running);
        Self { running: Self::running(&directory), directory }
    }

    /// Returns where its operator asks it.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    /// Runs `lobby_server admin` with these arguments.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let socket = self.socket();
        let mut admin = program();
        admin.args(["admin", "--admin-socket", socket.to_str().unwrap()]).args(arguments);
        admin.output().unwrap()
    }
}
