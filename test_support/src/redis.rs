//! A Redis of a test's own.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::programs::Lobby;
use crate::scratch;

/// A busy machine starts it within this.
const PATIENCE: Duration = Duration::from_secs(20);

/// This is a Redis at a Unix socket in a directory of its own. It ends when this is dropped.
#[derive(Debug)]
pub struct Redis {
    directory: tempfile::TempDir,
    /// Without a port of TCP no two tests are in each other's way.
    port: Option<u16>,
    flags: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// Starts one with these flags beside the usual ones; none: this machine has no redis-server, and it is said that the test
    /// is skipped.
    pub fn start(flags: &[&str]) -> Option<Self> {
        Self::start_at(None, flags)
    }

    /// Starts one that listens at this port of the loopback, too.
    pub fn start_at(port: Option<u16>, flags: &[&str]) -> Option<Self> {
        let here = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        if !here.is_ok_and(|status| status.success()) {
            crate::skipped("there is no redis-server here (apt-get install redis-server)");
            return None;
        }
        let flags = flags.iter().map(ToString::to_string).collect();
        let directory = tempfile::tempdir().expect("a directory");
        let mut redis = Self { directory, port, flags, child: None };
        redis.begin();
        Some(redis)
    }

    /// Starts it again, after [`kill`](Self::kill). What it knew is gone, unless the flags say that it keeps it.
    pub fn begin(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.unwrap_or(0).to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--unixsocket").arg(self.socket()).arg("--dir").arg(self.directory.path());
        command.args(&self.flags).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server starts"));
        let end = Instant::now() + PATIENCE;
        while self.ask(&["PING"]).as_deref() != Some("+PONG\r\n") {
            assert!(Instant::now() < end, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Returns the setting that leads to it.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Kills it as kill -9 does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Has it stand still (`STOP`), or go on (`CONT`).
    pub fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("it runs");
        let kill = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(kill.expect("kill").success());
    }

    /// Has it do something, and returns its answer as it came; none: it is not reached.
    pub fn ask(&self, words: &[&str]) -> Option<String> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        // It ends the connection after this one.
        text += "*1\r\n$4\r\nQUIT\r\n";
        stream.write_all(text.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.strip_suffix("+OK\r\n").map(String::from)
    }

    /// Waits until so many nodes are there and have heard of each other, and has it take new rooms at once, as one does that
    /// has run for long: it has lost nothing that nodes would tell it again.
    pub fn has_run_for_long(&self, nodes: usize) {
        let end = Instant::now() + PATIENCE;
        let wait_until = |what: &str, is: &dyn Fn() -> bool| {
            while !is() {
                assert!(Instant::now() < end, "{what}: not in time");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        wait_until("all nodes are there", &|| self.keys("bt:n:*").len() == nodes);
        // Each of them tells it every second, and hears of the others then.
        let told = || -> Vec<Option<String>> {
            self.keys("bt:n:*").iter().map(|node| self.ask(&["HGET", node, "told"])).collect()
        };
        let before = told();
        wait_until("all nodes have told it again", &|| told().iter().all(|told| !before.contains(told)));
        self.ask(&["HSET", "bt:pulse", "born", "0", "since", "0"]).expect("it answers");
    }

    /// Returns all keys that fit this pattern, of which none has a line break.
    pub fn keys(&self, pattern: &str) -> Vec<String> {
        let answer = self.ask(&["KEYS", pattern]).expect("it answers");
        let lines = answer.lines().filter(|line| !line.starts_with(['*', '$']));
        lines.map(String::from).collect()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts two lobby servers, at 127.0.0.1 and 127.0.0.2, that share a registry and a key. None: there is no Redis here.
pub fn two_nodes() -> Option<([Lobby; 2], Redis)> {
    let redis = Redis::start(&[])?;
    let keys = [scratch("node"), scratch("node")].map(|folder| folder.join("key"));
    let one = Lobby::start_node("127.0.0.1:0", keys[0].clone(), &redis.url());
    std::fs::create_dir_all(keys[1].parent().unwrap()).unwrap();
    std::fs::copy(&keys[0], &keys[1]).unwrap();
    let two = Lobby::start_node("127.0.0.2:0", keys[1].clone(), &redis.url());
    assert_eq!(one.key, two.key);
    redis.has_run_for_long(2);
    Some(([one, two], redis))
}
