//! The lobby server's program. `lobby_server --help` says how to use it.

#[cfg(unix)]
mod ask;
#[cfg(windows)]
mod service;
#[cfg(unix)]
mod signals;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use lobby_server::log::{Log, Losses};
use lobby_server::{BoundServer, LobbyServer, Settings, check, files, key};
use serde::Serialize;

const EXAMPLES: &str = "Examples:
  lobby_server                                   all addresses, ports 3478 and 3479
  lobby_server --bind 198.18.0.10:3478 --second-address 198.18.0.11
                                                 two addresses: full NAT classification
  lobby_server --neighbour lobby2.example.org    the second address is another machine's, with the same key file
  lobby_server --public-address 203.0.113.5      behind a cloud's 1:1 NAT
  lobby_server --registry redis://10.0.0.5:6379 --public-address 203.0.113.5
                                                 one of several nodes
  lobby_server check                             will it serve, and what to open in a firewall
  lobby_server key                               the public key to pin in clients
  lobby_server key --new                         make the key before the first start, and print it
  lobby_server admin players                     who is here; `lobby_server admin --help` has more

Every setting may also stand in the file of --config (as in `bind = \"0.0.0.0:3478\"`) or in the environment
(LOBBY_BIND). RUST_LOG sets what is logged to stderr, as in RUST_LOG=lobby_server=debug.

SIGHUP has the server read its configuration again. SIGTERM lets nobody in any more and ends the server when no player is
left, after --drain at the latest; a second one, or Ctrl-C, ends it at once.";

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
    /// Ask a running server, or have it do something.
    #[cfg(unix)]
    Admin {
        #[command(subcommand)]
        what: ask::What,
        /// Print the server's answer as JSON.
        #[arg(long, global = true)]
        json: bool,
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
    /// Another lobby server with the same key file, as players reach it: its address serves as the second one of this, and
    /// this one's as its. Its port is 3478 unless it is given.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    neighbour: Option<String>,
    /// Where the neighbour's end of the link is. [default: its host, two ports after its first one]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    neighbour_link: Option<String>,
    /// Where this server's end of the link is. [default: its own addresses, two ports after the first one]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    link_bind: Option<SocketAddr>,
    /// Metrics, health and status page. [default: 127.0.0.1:9600]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<SocketAddr>,
    /// No metrics, health and status page.
    #[arg(long, global = true, conflicts_with = "http")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_http: bool,
    /// Whether players may write to each other. [default: on]
    #[arg(long, global = true, value_name = "on|off", value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    chat: Option<bool>,
    /// No TCP beside UDP: players whose networks block UDP cannot log in then.
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_tcp: bool,
    /// TLS at port 443, for players whose networks let out nothing else: the certificate, with those that it is signed by (PEM).
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert: Option<PathBuf>,
    /// Its secret key (PEM). Both files are read again at SIGHUP.
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_key: Option<PathBuf>,
    /// The port of TLS, where a firewall redirects 443 there. [default: 443]
    #[arg(long, global = true, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_port: Option<u16>,
    /// Where rooms are known: memory, or the Redis or Valkey that several servers share, as in redis://10.0.0.5:6379. Others
    /// read a password from a command line: LOBBY_REGISTRY. [default: memory]
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    /// Region that lists of rooms say this server's rooms are in, as in eu. [default: none]
    #[arg(long, global = true, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// Whether players may play over this server: allow, only or never. [default: allow]
    #[arg(long, global = true, value_name = "MODE", value_parser = ["allow", "only", "never"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<String>,
    /// The server's secret key, made on first start. [default: in the platform's data directory]
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<PathBuf>,
    /// Let in only players with a ticket that the game's login service has signed with this key: a public key of Ed25519 (PEM),
    /// or a secret; may be repeated.
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    token_key: Vec<PathBuf>,
    /// Log as JSON lines, and say where the server is in JSON.
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    log_json: bool,
    /// Let this user and root ask the running server at this Unix socket, as `lobby_server admin` does.
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_socket: Option<PathBuf>,
    /// Wait so long at SIGTERM for rooms to end, and let nobody in meanwhile; 0: end at once. [default: 10]
    #[arg(long = "drain", global = true, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_s: Option<u64>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(windows)]
    if matches!(cli.command, Some(Mode::Service { .. })) {
        return service::run(cli);
    }
    let settings = match Settings::load(cli.config.as_deref(), &cli.flags) {
        Ok(settings) => settings,
        Err(error) => return fail(&check::chain(&error)),
    };
    let log = match Log::start(std::io::stderr(), settings.log_json, &settings.log) {
        Ok(log) => log,
        Err(error) => return fail(&format!("the log cannot be started ({error})")),
    };
    let code = match run(cli, settings, &log) {
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

fn run(cli: Cli, settings: Settings, log: &Log) -> Result<bool, Box<dyn std::error::Error>> {
    match cli.command {
        Some(Mode::Check) => {
            let key_file = key_file(&settings)?;
            let report = check::check(settings, &key_file)?;
            print(&report.text)?;
            if !report.ok {
                fail("it would not start; see above");
            }
            Ok(report.ok)
        }
        Some(Mode::Key { new }) => {
            let meant = settings.key_file.is_some();
            let key_file = match &settings.key_file {
                Some(file) => file.clone(),
                None => key::file_to_show(new)?,
            };
            let identity = if new { key::create(&key_file)? } else { key::load(&key_file)? };
            let printed = key::printed(&identity.public_key());
            if let Some(other) = running_key(settings.http).filter(|running| *running != printed) {
                let text = format!(
                    "the lobby server that runs here (http {}) has the key {other}, which is not the one in {}",
                    settings.http,
                    key_file.display()
                );
                if !meant && !new {
                    return Err(format!("{text}; say with --key-file which one is meant").into());
                }
                let _ = writeln!(std::io::stderr(), "lobby_server: {text}");
            }
            print(&format!("{printed}\n"))?;
            // Apart from the key, which scripts take from stdout.
            let _ = writeln!(std::io::stderr(), "lobby_server: this is the key in {}", key_file.display());
            Ok(true)
        }
        #[cfg(unix)]
        Some(Mode::Admin { what, json }) => {
            let socket = settings.admin_socket.unwrap_or_else(|| lobby_server::admin::SERVICE_SOCKET.into());
            print(&what.ask(&socket, json)?)?;
            Ok(true)
        }
        // None; a service comes another way.
        _ => {
            let key_file = key_file(&settings)?;
            let json = settings.log_json;
            #[cfg(unix)]
            let reloader = signals::Reloader {
                config: cli.config,
                flags: cli.flags,
                settings: settings.clone(),
                filter: log.filter(),
            };
            let bound = bind(settings, &key_file, log.losses())?;
            #[cfg(unix)]
            signals::listen(bound.handle(), reloader)?;
            #[cfg(not(unix))]
            {
                let handle = bound.handle();
                ctrlc::set_handler(move || handle.stop())?;
            }
            let ready = if json { bound.addresses().json() } else { ready(&bound) };
            announce(format!("{ready}\n"))?;
            bound.run()?;
            tracing::info!("stopped");
            Ok(true)
        }
    }
}

/// Returns the key of the lobby server whose pages are at this address of the machine, if there is one.
fn running_key(http: SocketAddr) -> Option<String> {
    const PATIENCE: Duration = Duration::from_secs(1);
    /// Its metrics are shorter.
    const LONGEST: u64 = 1 << 20;
    let mut stream = TcpStream::connect_timeout(&http, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer).ok()?;
    let (_, key) = answer.split_once("lobby_key_info{key=\"")?;
    key.split_once('"').map(|(key, _)| key.to_owned())
}

/// Returns where the key is that the server starts with.
fn key_file(settings: &Settings) -> Result<PathBuf, key::KeyError> {
    settings.key_file.clone().map_or_else(key::default_file, Ok)
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
    let bans_file = key_file.with_file_name("bans.json");
    let server = LobbyServer::new(settings).identity(identity).log_losses(losses);
    Ok(server.usage_file(usage_file).bans_file(bans_file).bind()?)
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
