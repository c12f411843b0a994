//! The built program as a child, and players who talk to it.
#![allow(dead_code)] // each test program uses a part of it

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use traversal_core::wire::Kind;
use traversal_core::wire::message::Frame;
use traversal_core::wire::session::ClientSession;

use crate::login::log_in;

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lobby_server"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LOBBY_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The program from a shell that has given this command first, as in `ulimit -n 1024`.
pub(crate) fn program_after(shell: &str) -> Command {
    let wrapped = program();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{shell}; exec \"$0\" \"$@\"")]).arg(wrapped.get_program());
    for (name, _) in wrapped.get_envs() {
        command.env_remove(name);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running server; killed when the test ends.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) ready: String,
}

impl Running {
    pub(crate) fn start(directory: &Path, flags: &[&str]) -> Self {
        Self::start_as(program(), directory, flags)
    }

    pub(crate) fn start_as(mut program: Command, directory: &Path, flags: &[&str]) -> Self {
        let mut child = program
            .args(["--key-file", directory.join("key").to_str().unwrap()])
            .args(flags)
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        Self { child, ready }
    }

    pub(crate) fn word(&self, index: usize) -> &str {
        self.ready.split_whitespace().nth(index).unwrap_or_else(|| panic!("ready line: {:?}", self.ready))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.word(3).parse().unwrap()
    }

    pub(crate) fn http(&self) -> SocketAddr {
        let after = self.ready.split("http ").nth(1).expect("http in the ready line");
        after.split(',').next().unwrap().parse().unwrap()
    }

    /// A number of the process's that Linux tells in `/proc/PID/status`.
    pub(crate) fn proc_status(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect(name)
    }

    pub(crate) fn stop(mut self, signal: &str) -> Output {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let status = self.child.wait().unwrap();
        let mut stderr = Vec::new();
        self.child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status, stdout: Vec::new(), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A player on a socket of its own.
pub(crate) struct Player {
    pub(crate) socket: UdpSocket,
    pub(crate) session: ClientSession,
    pub(crate) server_key: [u8; 32],
}

pub(crate) fn receive(socket: &UdpSocket) -> std::io::Result<Vec<u8>> {
    let mut buffer = [0; 2048];
    loop {
        match socket.recv(&mut buffer) {
            // A call with a timeout is not resumed by the system after a signal: a suspended machine is enough.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result.map(|len| buffer[..len].to_vec()),
        }
    }
}

impl Player {
    pub(crate) fn log_in(server: SocketAddr, seed: u8, token: &[u8]) -> Result<Self, String> {
        Self::log_in_from(Ipv4Addr::LOCALHOST.into(), server, seed, token)
    }

    pub(crate) fn log_in_from(
        ip: IpAddr,
        server: SocketAddr,
        seed: u8,
        token: &[u8],
    ) -> Result<Self, String> {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (_, session, server_key) = log_in(seed, token, |datagram| {
            socket.send(datagram).unwrap();
            receive(&socket).map_err(|error| format!("no answer: {error}"))
        })?;
        Ok(Self { socket, session, server_key })
    }

    /// Whether the server answers. Repeated as players repeat it: UDP may lose one, and a machine that stood still for some
    /// seconds has let the wait run out.
    pub(crate) fn ping(&mut self) -> bool {
        (0..3).any(|_| {
            let ping = self.session.seal(Instant::now(), Kind::Control, &Frame::Ping { id: 77 }).unwrap();
            self.socket.send(&ping).unwrap();
            self.wait_for(|frame| matches!(frame, Frame::Pong { id: 77, .. }))
        })
    }

    pub(crate) fn wait_for(
        &mut self,
        wanted: impl Fn(&Frame<traversal_core::wire::message::ToPlayer>) -> bool,
    ) -> bool {
        while let Ok(datagram) = receive(&self.socket) {
            if let Ok(Some(frame)) = self.session.handle(Instant::now(), &datagram)
                && wanted(&frame)
            {
                return true;
            }
        }
        false
    }
}

pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut out = String::new();
    stream.read_to_string(&mut out).unwrap();
    out
}
