//! The lobby server's program under siege or load: started, looked at, and stopped.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::SiegeError;

/// This is a running program; killed and its files removed when dropped.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
    /// It has this address, too, where it was bound to a second one.
    pub(crate) beside: Option<SocketAddr>,
    pub(crate) http: SocketAddr,
}

impl Server {
    /// Starts it on ports of loopback that are free.
    pub(crate) fn start(program: &Path) -> Result<Self, SiegeError> {
        Self::start_with(program, &["--bind", "127.0.0.1:0"], &[], &[])
    }

    /// Starts it with these arguments, with some of whoever called, and in this environment.
    pub(crate) fn start_with(
        program: &Path,
        arguments: &[&str],
        given: &[String],
        environment: &[(&str, String)],
    ) -> Result<Self, SiegeError> {
        /// It tells the servers of one process apart.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("natlab-siege-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(SiegeError::Folder)?;
        let log = File::create(folder.join("log")).map_err(SiegeError::Folder)?;
        let failed = |source| SiegeError::Start { program: program.display().to_string(), source };
        let mut child = Command::new(program)
            .arg("--key-file")
            .arg(folder.join("key"))
            .args(["--http", "127.0.0.1:0"])
            .args(arguments)
            .args(given)
            .env_remove("RUST_LOG")
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
        }
        let address = line.split_whitespace().nth(3).and_then(|word| word.parse().ok());
        let http = line.split("http ").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok());
        let beside = line.split_whitespace().nth(5).and_then(|word| word.parse().ok());
        match (address, http) {
            (Some(address), Some(http)) => Ok(Self { child, folder, address, beside, http }),
            _ => {
                let _ = child.kill();
                Err(SiegeError::NotReady { line: line.trim().into() })
            }
        }
    }

    /// Returns its number among the system's processes.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Returns how many megabytes of memory it has, as Linux tells.
    pub(crate) fn memory_mb(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
    }

    /// Returns a number of its metrics.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let page = self.get("/metrics")?;
        page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    }

    fn get(&self, path: &str) -> Option<String> {
        let wait = Duration::from_secs(5);
        let mut stream = TcpStream::connect_timeout(&self.http, wait).ok()?;
        stream.set_read_timeout(Some(wait)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: natlab\r\nConnection: close\r\n\r\n").ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        Some(page)
    }

    /// Returns how many bytes its log has.
    pub(crate) fn log_bytes(&self) -> u64 {
        std::fs::metadata(self.folder.join("log")).map_or(0, |file| file.len())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already is none to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
