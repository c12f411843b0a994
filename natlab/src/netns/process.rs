//! Programs in a namespace, held so that none outlives the run.
//!
//! Each one gets a namespace of processes whose first process is this program again (`natlab __hold`, see
//! [`hold`]): when that one ends, the kernel kills whatever is left there. It ends when the program ends, or when
//! the pipe that it reads from closes, which is also what happens when natlab itself is killed.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeWriter, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;

use super::error::NetnsError;
use super::namespace::Namespace;

/// It is the hidden subcommand that holds a program.
pub(crate) const HOLD: &str = "__hold";
/// What the holder of a program is asked by the pipe: SIGTERM to the program.
const TERMINATE: u8 = b't';
/// A holder is asked for SIGSTOP in the same way, and for SIGCONT by the next one.
const STOP: u8 = b's';
const CONTINUE: u8 = b'c';
/// Names a file that takes the place of /etc/hosts for a program.
const HOSTS: &str = "NATLAB_HOSTS";
/// A line of a program that is longer is cut.
const MAX_LINE: u64 = 64 * 1024;

/// Where programs keep what outlives them (XDG base directories).
const HOMES: [&str; 3] = ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"];

/// What a run waits for.
#[derive(Clone, Debug)]
pub(crate) enum Happened<W> {
    /// The user wants it to end.
    Interrupted,
    /// A program wrote a line to stdout.
    Line(W, String),
    /// It ended with this exit code; 128 and the signal where one killed it.
    Ended(W, i32),
}

/// This says what to start.
#[derive(Clone, Debug)]
pub(crate) struct Start<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<OsString>,
    /// stdout and stderr also go to `DIRECTORY/NAME.out` and `.err`.
    pub(crate) log_dir: &'a Path,
    pub(crate) name: &'a str,
    /// What takes the place of /etc/hosts.
    pub(crate) hosts: Option<&'a Path>,
}

/// It is a program that runs. Dropping it kills it and all that it started.
#[derive(Debug)]
pub(crate) struct Program {
    pipe: PipeWriter,
}

impl Program {
    /// Starts it inside; what happens to it is told to `tell`, under the name `who`.
    pub(crate) fn start<W: Copy + Send + 'static>(
        namespace: &Namespace,
        start: &Start<'_>,
        who: W,
        tell: Sender<Happened<W>>,
    ) -> Result<Self, NetnsError> {
        let failed = |source| NetnsError::Spawn { program: start.program.display().to_string(), source };
        let out_path = start.log_dir.join(format!("{}.out", start.name));
        let mut out = File::create(out_path).map_err(failed)?;
        let err = File::create(start.log_dir.join(format!("{}.err", start.name))).map_err(failed)?;
        let (control, pipe) = io::pipe().map_err(failed)?;
        let itself = env::current_exe().map_err(failed)?;
        // What it keeps from one start to the next (identities, keys of servers, settings) is of this run alone: the next run has
        // another lobby server at the same address, and the user's own data is no business of a laboratory.
        let home = std::path::absolute(start.log_dir.join(format!("{}.home", start.name))).map_err(failed)?;
        let mut child = namespace.enter(|| {
            // Concerns only the children of this thread.
            unshare(CloneFlags::CLONE_NEWPID).map_err(NetnsError::NotPermitted)?;
            Command::new(itself)
                .arg(HOLD)
                .arg("--")
                .arg(start.program)
                .args(&start.arguments)
                .envs(HOMES.map(|name| (name, home.as_path())))
                .envs(start.hosts.map(|file| (HOSTS, file)))
                .stdin(control)
                .stdout(Stdio::piped())
                .stderr(err)
                // The terminal's Ctrl-C is for natlab alone, which then ends the programs in order.
                .process_group(0)
                .spawn()
                .map_err(failed)
        })?;
        let stdout = child.stdout.take();
        thread::spawn(move || {
            if let Some(stdout) = stdout {
                let mut stdout = BufReader::new(stdout);
                while let Ok(Some(line)) = read_line(&mut stdout) {
                    // A full disk costs the log, not the run.
                    let _ = writeln!(out, "{line}");
                    if tell.send(Happened::Line(who, line)).is_err() {
                        break;
                    }
                }
                // Nobody listens any more, but the program must not block on a full pipe.
                let _ = io::copy(&mut stdout, &mut io::sink());
            }
            let code = child.wait().map_or(-1, exit_code);
            let _ = tell.send(Happened::Ended(who, code));
        });
        Ok(Self { pipe })
    }

    /// Asks it to end (SIGTERM).
    pub(crate) fn terminate(&mut self) {
        self.ask(TERMINATE);
    }

    /// It stands still (SIGSTOP), or goes on (SIGCONT).
    pub(crate) fn pause(&mut self, still: bool) {
        self.ask(if still { STOP } else { CONTINUE });
    }

    fn ask(&mut self, what: u8) {
        // A closed pipe means that it has ended.
        let _ = self.pipe.write_all(&[what]);
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if from.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Acts as the holder: it runs `command` as the first process of its namespace of processes, reaps, and ends as that
/// ends.
pub(crate) fn hold(command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else { return ExitCode::FAILURE };
    if let Some(hosts) = env::var_os(HOSTS)
        && let Err(error) = replace_hosts(Path::new(&hosts))
    {
        eprintln!("natlab: names cannot be given to {}: {error}", Path::new(program).display());
        return ExitCode::from(127);
    }
    let spawned = Command::new(program).args(arguments).stdin(Stdio::null()).process_group(0).spawn();
    let child = match spawned {
        Ok(child) => child,
        Err(error) => {
            eprintln!("natlab: {} could not be started: {error}", Path::new(program).display());
            return ExitCode::from(127);
        }
    };
    let Ok(id) = i32::try_from(child.id()).map(Pid::from_raw) else { return ExitCode::FAILURE };
    thread::spawn(move || {
        let mut asked = [0];
        while let Ok(1) = io::stdin().read(&mut asked) {
            let signal = match asked[0] {
                TERMINATE => Signal::SIGTERM,
                STOP => Signal::SIGSTOP,
                _ => Signal::SIGCONT,
            };
            // It may have ended by itself just now.
            let _ = killpg(id, signal);
        }
        // natlab is gone, or wants this over: the kernel kills everything in here with us.
        std::process::exit(137);
    });
    loop {
        let code = match wait() {
            Ok(WaitStatus::Exited(ended, code)) if ended == id => code,
            Ok(WaitStatus::Signaled(ended, signal, _)) if ended == id => 128 + signal as i32,
            Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return ExitCode::FAILURE,
        };
        return ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX));
    }
}

/// Puts a file in the place of /etc/hosts, for this process and what it starts.
fn replace_hosts(file: &Path) -> nix::Result<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some(file), "/etc/hosts", none, MsFlags::MS_BIND, none)
}

/// Where a program is: as given, beside this program, or in `PATH`.
pub(crate) fn locate(name: &str, flag: &'static str) -> Result<PathBuf, NetnsError> {
    let missing = || NetnsError::MissingBinary { name: name.to_owned(), flag };
    if name.contains('/') {
        let path = PathBuf::from(name);
        return if path.is_file() { Ok(path) } else { Err(missing()) };
    }
    let beside = env::current_exe().ok().and_then(|itself| Some(itself.parent()?.to_path_buf()));
    let path = env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .ok_or_else(missing)
}
