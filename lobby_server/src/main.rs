//! The lobby server's program. `lobby_server --help` says how to use it.

#[cfg(windows)]
mod service;

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use lobby_server::log::{Log, Losses};
use lobby_server::{BoundServer, LobbyServer, Settings, check, files, key};
use serde::Serialize;

const EXAMPLES: &str = "Examples:
  lobby_server                                   all addresses, ports 3478 and 3479
  lobby_server --bind 198.18.0.10:3478 --second-address 198.18.0.11
                                                 two addresses: full NAT classification
  lobby_server --public-address 203.0.113.5      behind a cloud's 1:1 NAT
  lobby_server check                             will it serve, and what to open in a firewall
  lobby_server key                               the public key to pin in clients
  lobby_server key --new                         make the key before the first start, and print it

Every setting may also stand in the file of --config (as in `bind = \"0.0.0.0:3478\"`) or in the environment
(LOBBY_BIND). RUST_LOG sets what is logged to stderr, as in RUST_LOG=lobby_server=debug.";

/// Lobby server of bevy_traversal: matches players and gets them through their NATs.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Mode>,
    #[command(flatten)]
    flags: Flags,
    /// Configuration file (TOML).
    #[arg(long, global = true, value_name = "FILE", env = "LOBBY_CONFIG")]
    config: Option<PathBuf>,
    /// Log as JSON lines.
    #[arg(long, global = true)]
    log_json: bool,
}

#[derive(Subcommand)]
enum Mode {
    /// Say whether the sockets bind, what they serve, what to open in a firewall and how to test from outside.
    Check,
    /// Print the public key to pin in clients.
    Key {
        /// Make the key first; there must be none yet.
        #[arg(long)]
        new: bool,
    },
    /// Serve as a Windows service: for the service manager alone, which stops it cleanly.
    ///
    /// To make it one, as administrator: sc create lobby_server start= auto binPath= "C:\...\lobby_server.exe service
    /// --config C:\...\lobby.toml --log-file C:\...\lobby.log"
    #[cfg(windows)]
    Service {
        /// The log, which is written at the end of this file; a service has no stderr. [default: no log]
        #[arg(long, value_name = "FILE")]
        log_file: Option<PathBuf>,
    },
}

#[derive(Args, Serialize)]
struct Flags {
    /// Address to serve; may be repeated. Port 0 is any free one. [default: 0.0.0.0:3478 and [::]:3478]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bind: Vec<SocketAddr>,
    /// Second address of this machine, for full NAT classification.
    #[arg(long, global = true, value_name = "IP")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    second_address: Vec<IpAddr>,
    /// Second port on each address. [default: 3479, or the one after the first port]
    #[arg(long, global = true, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    second_port: Option<u16>,
    /// What players know the first address as, where it is not on an interface (cloud 1:1 NAT).
    #[arg(long, global = true, value_name = "IP")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    public_address: Vec<IpAddr>,
    /// The same for the second address.
    #[arg(long, global = true, value_name = "IP")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    second_public_address: Vec<IpAddr>,
    /// Metrics, health and status page. [default: 127.0.0.1:9600]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<SocketAddr>,
    /// No metrics, health and status page.
    #[arg(long, global = true, conflicts_with = "http")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_http: bool,
    /// No TCP beside UDP: players whose networks block UDP cannot log in then.
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_tcp: bool,
    /// Where rooms are known: memory.
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    /// Whether players may play over this server: allow, only or never. [default: allow]
    #[arg(long, global = true, value_name = "MODE", value_parser = ["allow", "only", "never"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<String>,
    /// The server's secret key, made on first start. [default: in the platform's data directory]
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(windows)]
    if matches!(cli.command, Some(Mode::Service { .. })) {
        return service::run(cli);
    }
    let log = match Log::start(std::io::stderr(), cli.log_json) {
        Ok(log) => log,
        Err(error) => return fail(&format!("the log cannot be started ({error})")),
    };
    let code = match run(cli, log.losses()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            log.finish();
            return fail(&check::chain(error.as_ref()));
        }
    };
    log.finish();
    code
}

/// One line on stderr, if that can be written, and the code.
fn fail(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "lobby_server: {text}");
    ExitCode::FAILURE
}

fn run(cli: Cli, losses: Losses) -> Result<bool, Box<dyn std::error::Error>> {
    let (settings, key_file) = settings(&cli)?;
    match cli.command {
        Some(Mode::Check) => {
            let report = check::check(settings)?;
            print(&report.text)?;
            if !report.ok {
                fail("it would not start; see above");
            }
            Ok(report.ok)
        }
        Some(Mode::Key { new }) => {
            let identity = if new { key::create(&key_file)? } else { key::load(&key_file)? };
            print(&format!("{}\n", key::printed(&identity.public_key())))?;
            Ok(true)
        }
        // None; a service comes another way.
        _ => {
            let bound = bind(settings, &key_file, losses)?;
            let handle = bound.handle();
            ctrlc::set_handler(move || handle.stop())?;
            announce(format!("{}\n", ready(&bound)))?;
            bound.run()?;
            tracing::info!("stopped");
            Ok(true)
        }
    }
}

/// What flags, environment and file say, and where the key is.
fn settings(cli: &Cli) -> Result<(Settings, PathBuf), Box<dyn std::error::Error>> {
    let settings = Settings::load(cli.config.as_deref(), &cli.flags)?;
    let key_file = match &settings.key_file {
        Some(file) => file.clone(),
        None => key::default_file()?,
    };
    Ok((settings, key_file))
}

/// Opens the server's sockets, with its key.
fn bind(
    settings: Settings,
    key_file: &Path,
    losses: Losses,
) -> Result<BoundServer, Box<dyn std::error::Error>> {
    files::raise_limit(&settings);
    let identity = key::load_or_create(key_file)?;
    let usage_file = key_file.with_file_name("relay_usage.json");
    Ok(LobbyServer::new(settings).identity(identity).log_losses(losses).usage_file(usage_file).bind()?)
}

/// The line that says where it is.
fn ready(bound: &BoundServer) -> String {
    format!("lobby_server ready on {}", bound.addresses())
}

/// Writes the line for whoever started this, from a thread of its own: players do not wait for a reader of stdout.
fn announce(line: String) -> std::io::Result<()> {
    std::thread::Builder::new().name("lobby_ready".into()).spawn(move || {
        if let Err(error) = print(&line) {
            tracing::warn!(%error, "stdout did not take the line that says where the server is");
        }
    })?;
    Ok(())
}

/// Prints to stdout; a reader that went away is no error of ours.
fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
