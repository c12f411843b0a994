//! `natlab run`: its pairs, its signals, its output.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::args::{RunArgs, seconds};
use super::error::NetnsError;
use super::lab::LabSettings;
use super::namespace::leave_the_network;
use super::pair::{Message, PairSettings, run_pair};
use super::process::{Happened, locate};
use super::report::{PairReport, table};
use super::sample::{Planned, sums};
use super::simulate::simulate;

/// It is the exit code where this machine does not permit what is needed, for scripts that skip then (as in
/// `automake`).
pub const NOT_HERE: u8 = 77;

/// Runs the subcommand. To be called before any thread is started.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    match run_all(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            eprintln!("natlab: {error}{cause}");
            if error.is_environment() { ExitCode::from(NOT_HERE) } else { ExitCode::FAILURE }
        }
    }
}

fn run_all(args: &RunArgs) -> Result<bool, NetnsError> {
    let mut template = template(args)?;
    let runs = args.runs(template.lab.seed)?;
    template.script = args.script(&runs)?;
    leave_the_network()?;
    let interrupts = Interrupts::watch()?;
    let logs = log_dir(args.log_dir.as_deref())?;
    let next = AtomicUsize::new(0);
    let reports: Vec<Mutex<Option<Result<PairReport, NetnsError>>>> =
        runs.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while !interrupts.raised() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(planned) = runs.get(index) else { return };
            let result = one(&template, planned, index, runs.len(), &logs, &interrupts).map(|report| {
                let simulated = (args.simulate > 0)
                    .then(|| simulate(&planned.sides, planned.line, args.simulate))
                    .flatten();
                PairReport { simulated, world: planned.world.clone(), ..report }
            });
            if let Ok(report) = &result {
                print(args.json, report);
            }
            *reports[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..args.jobs.clamp(1, runs.len().max(1)) {
            scope.spawn(work);
        }
    });
    let mut done = Vec::new();
    for report in reports {
        if let Some(report) = report.into_inner().unwrap_or_else(PoisonError::into_inner) {
            done.push(report?);
        }
    }
    if args.sample > 0 {
        eprint!("{}", sums(&done));
    } else if !args.json && runs.len() > 1 {
        println!("path and milliseconds from the request:\n{}", table(&done));
    }
    Ok(done.len() == runs.len() && done.iter().all(|report| report.ok))
}

fn print(json: bool, report: &PairReport) {
    let text = if json {
        serde_json::to_string(report).map_or_else(|error| error.to_string(), |text| text + "\n")
    } else {
        report.summary()
    };
    // A reader that went away ends the output, not the run.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Returns all settings but those of the pair.
fn template(args: &RunArgs) -> Result<PairSettings, NetnsError> {
    let lobby_server =
        if args.no_lobby { None } else { Some(locate(&args.lobby_server, "--lobby-server PATH")?) };
    let command = args.command();
    if let Some(program) = command.first().filter(|program| !program.contains('{')) {
        locate(program, "a path")?;
    }
    Ok(PairSettings {
        lab: LabSettings {
            sides: Vec::new(),
            line: args.line()?,
            junk: args.junk,
            cut: args.cut()?,
            seed: args.seed.unwrap_or_else(rand_seed),
            behind: args.lobby_behind,
            pcap: args.pcap.clone(),
        },
        log_dir: PathBuf::new(),
        lobby_server,
        two_lobbies: args.two_lobbies,
        registry: args.registry.clone(),
        command,
        after: args.after.clone(),
        stagger: seconds("--stagger", args.stagger())?,
        script: None,
        time_limit: seconds("--time-limit", args.time_limit)?,
        verbose: !args.json && args.jobs <= 1,
    })
}

fn one(
    template: &PairSettings,
    planned: &Planned,
    index: usize,
    count: usize,
    logs: &Path,
    interrupts: &Interrupts,
) -> Result<PairReport, NetnsError> {
    let mut settings = template.clone();
    settings.lab.sides = planned.sides.to_vec();
    settings.lab.line = planned.line;
    settings.lab.seed = template.lab.seed.wrapping_add(index as u64);
    settings.log_dir = logs.to_path_buf();
    if count > 1 {
        let name = format!("{index:02}-{}-{}", planned.sides[0].name, planned.sides[1].name);
        settings.log_dir = logs.join(&name);
        settings.lab.pcap = settings.lab.pcap.map(|directory| directory.join(&name));
    }
    fs::create_dir_all(&settings.log_dir).map_err(NetnsError::system("making the directory for logs"))?;
    let (tell, heard) = channel();
    interrupts.also_tell(tell.clone());
    run_pair(&settings, tell, &heard)
}

/// Draws a seed: time and process make two runs differ; nothing here must be hard to guess.
fn rand_seed() -> u64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ (u64::from(std::process::id()) << 30) ^ (now.as_secs() << 8)
}

/// Returns the directory that was asked for, or a new one that no other run has.
fn log_dir(asked: Option<&Path>) -> Result<PathBuf, NetnsError> {
    let failed = NetnsError::system("making the directory for logs");
    if let Some(asked) = asked {
        fs::create_dir_all(asked).map_err(failed)?;
        return std::path::absolute(asked).map_err(NetnsError::system("finding the directory for logs"));
    }
    let mut number = 0;
    loop {
        let directory = std::env::temp_dir().join(format!("natlab-{}-{number}", std::process::id()));
        match fs::create_dir(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(failed(error)),
        }
    }
}

/// It tells SIGINT, SIGTERM and SIGHUP to every run.
#[derive(Clone)]
struct Interrupts {
    listeners: Arc<Mutex<Vec<Sender<Message>>>>,
    raised: Arc<AtomicBool>,
}

impl Interrupts {
    fn watch() -> Result<Self, NetnsError> {
        let interrupts = Self { listeners: Arc::default(), raised: Arc::default() };
        let shared = interrupts.clone();
        ctrlc::set_handler(move || {
            if shared.raised.swap(true, Ordering::SeqCst) {
                // Asked twice: at once. The kernel cleans up.
                std::process::exit(130);
            }
            for listener in shared.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                // A run that is over does not listen any more.
                let _ = listener.send(Happened::Interrupted);
            }
        })
        .map_err(|error| NetnsError::system("watching for signals")(std::io::Error::other(error)))?;
        Ok(interrupts)
    }

    fn raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    fn also_tell(&self, listener: Sender<Message>) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if self.raised() {
            let _ = listener.send(Happened::Interrupted);
        }
        listeners.push(listener);
    }
}
