//! Network namespaces without a name: each one is held by an open file and by the processes in it, so that nothing
//! is left when this process ends, however it ends.

use std::fs::{self, File};
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

use super::error::NetnsError;

/// Moves this process out of the machine's network into an empty one, in a new user namespace where it has no right to
/// do so otherwise. It must be called before any thread is started.
///
/// From then on nothing that this process or its children send can leave the machine.
pub fn leave_the_network() -> Result<(), NetnsError> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => return Ok(()),
        Err(Errno::EPERM) => {}
        Err(error) => return Err(NetnsError::NotPermitted(error)),
    }
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(NetnsError::NotPermitted)?;
    let map = |file: &str, text: String| {
        fs::write(file, text).map_err(NetnsError::system("mapping the user into its namespace"))
    };
    map("/proc/self/setgroups", String::from("deny"))?;
    map("/proc/self/uid_map", format!("0 {user} 1"))?;
    map("/proc/self/gid_map", format!("0 {group} 1"))
}

/// This is a network namespace.
#[derive(Debug)]
pub struct Namespace {
    handle: File,
}

impl Namespace {
    /// Makes a new one; only its loopback interface is there, and up.
    pub fn new() -> Result<Self, NetnsError> {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(NetnsError::NotPermitted)?;
            // `thread-self`: only this thread is in the new namespace.
            let handle =
                File::open("/proc/thread-self/ns/net").map_err(NetnsError::system("opening a namespace"))?;
            Ok(Self { handle })
        };
        let namespace = in_thread(make)?;
        namespace.ip("link set lo up\n")?;
        // No IPv6: the laboratory routes IPv4 only, and router solicitations would spoil its counters.
        namespace.sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        Ok(namespace)
    }

    /// Runs `work` on a thread inside.
    pub fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, NetnsError> + Send,
    ) -> Result<T, NetnsError> {
        in_thread(|| {
            setns(&self.handle, CloneFlags::CLONE_NEWNET)
                .map_err(NetnsError::system("entering a namespace"))?;
            work()
        })
    }

    /// Runs `ip -batch` with these lines inside.
    pub(crate) fn ip(&self, lines: &str) -> Result<(), NetnsError> {
        self.enter(|| pipe_into("ip", "iproute2", &["-batch", "-"], lines))
    }

    /// Loads an nftables script inside.
    pub(crate) fn nft(&self, script: &str) -> Result<(), NetnsError> {
        self.enter(|| pipe_into("nft", "nftables", &["-f", "-"], script))
    }

    /// Sets `/proc/sys/PATH`; false where the kernel has no such setting or does not let it be set.
    pub(crate) fn sysctl(&self, path: &str, value: &str) -> bool {
        let path = format!("/proc/sys/{path}");
        self.enter(|| fs::write(&path, value).map_err(NetnsError::system("setting a kernel parameter")))
            .is_ok()
    }
}

fn in_thread<T: Send>(work: impl FnOnce() -> Result<T, NetnsError> + Send) -> Result<T, NetnsError> {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

fn pipe_into(
    program: &'static str,
    package: &'static str,
    arguments: &[&str],
    input: &str,
) -> Result<(), NetnsError> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", search_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => NetnsError::MissingProgram { program, package },
            _ => NetnsError::Spawn { program: program.into(), source: error },
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // An early exit shows in the status and on stderr.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(NetnsError::system("waiting for ip or nft"))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    Err(NetnsError::Configure { program, stderr })
}

/// Returns `PATH` with the places where `ip` and `nft` are for root: Debian keeps them out of a user's path.
fn search_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".into()))
}
