//! Windows programs under Wine meet native ones. Skipped, loudly, without Wine and without the programs: `.ci/platforms`
//! builds them and names their folder.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use test_support::programs::{Lobby, Program, assert_played};
use test_support::{scratch, skipped};

/// This environment variable names the folder of `lobby_server.exe`, `peer.exe` and `arena.exe`.
const FOLDER: &str = "WINDOWS_PROGRAMS";

/// The tests take turns: Wine is slow, and they have deadlines.
static TURN: Mutex<()> = Mutex::new(());

/// These are programs of Windows, to be run by Wine.
struct Windows {
    folder: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Windows {
    /// Returns what is needed for Windows programs; `None`, which it prints: there is no Wine, or no program to run.
    fn here() -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
            skipped(format_args!("no Windows programs: {FOLDER} is not set"));
            return None;
        };
        let this = Self { folder, _turn: turn };
        // The first start makes Wine's own files, and takes long.
        let version = this.program("lobby_server").arg("--version").stderr(Stdio::null()).output();
        match version {
            Ok(output) if output.status.success() => Some(this),
            Ok(output) => panic!("lobby_server.exe does not start: {output:?}"),
            Err(error) => {
                skipped(format_args!("no Wine: {error}"));
                None
            }
        }
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("wine");
        command.arg(self.folder.join(format!("{name}.exe"))).env("WINEDEBUG", "-all");
        command
    }

    fn lobby(&self, bind: &str, key_file: PathBuf) -> Lobby {
        let mut command = Lobby::command_of(self.program("lobby_server"), bind, &key_file);
        Lobby::of(Program::start("lobby_server.exe", &mut command), key_file)
    }

    fn peer(&self, lobby: &Lobby, name: &str, kind: &str, args: &[&str]) -> Program {
        lobby.peer_of(self.program("peer"), name, kind, args)
    }
}

/// Both play to the end, and hear all of each other.
fn played(host: &mut Program, joiner: &mut Program) {
    joiner.success(60.0);
    host.success(60.0);
    assert_played(host, "A");
    assert_played(joiner, "B");
}

#[test]
fn a_windows_server_serves_native_players() {
    let Some(windows) = Windows::here() else { return };
    let lobby = windows.lobby("127.0.0.1:0", scratch("windows").join("key"));
    let mut host = lobby.host("B", &["--for", "3"]);
    let mut joiner = lobby.peer("A", "join", &["--for", "3"]);
    played(&mut host, &mut joiner);
}

#[test]
fn a_windows_player_hosts_joins_and_meets_another_one() {
    let Some(windows) = Windows::here() else { return };
    let lobby = Lobby::start();
    for (host_there, joiner_there) in [(true, false), (false, true), (true, true)] {
        let player = |there: bool, name, kind| match there {
            true => windows.peer(&lobby, name, kind, &["--for", "3"]),
            false => lobby.peer(name, kind, &["--for", "3"]),
        };
        let mut host = player(host_there, "B", "host");
        host.event("room", 30.0);
        let mut joiner = player(joiner_there, "A", "join");
        played(&mut host, &mut joiner);
    }
}

#[test]
fn a_windows_server_that_is_killed_and_started_again_is_found_again() {
    let Some(windows) = Windows::here() else { return };
    let key_file = scratch("windows").join("key");
    let mut lobby = windows.lobby("127.0.0.1:0", key_file.clone());
    let args = ["--relay", "only", "--expect-relay", "--for", "12"];
    let mut host = lobby.peer("B", "host", &args);
    host.event("room", 20.0);
    let mut joiner = windows.peer(&lobby, "A", "join", &args);
    joiner.event("game_message", 30.0);
    host.event("game_message", 20.0);
    lobby.kill();
    let address = lobby.address.clone();
    lobby = windows.lobby(&address, key_file);
    for program in [&mut host, &mut joiner] {
        program.event("lobby_failed", 30.0);
        program.event("logged_in", 30.0);
    }
    played(&mut host, &mut joiner);
    assert_eq!(lobby.address, address);
}

#[test]
fn windows_players_search_among_many_sockets() {
    let Some(windows) = Windows::here() else { return };
    let lobby = Lobby::start();
    // No NAT stands between them: what is said of them by hand has one open many sockets, and the other one search.
    let random = ["--nat", "ps", "--allocation", "random"];
    let cone = ["--nat", "port-restricted-cone"];
    let alone = ["--method", "birthday", "--relay", "never", "--no-lan", "--for", "3"];
    for (host_nat, joiner_nat) in [(&random[..], &cone[..]), (&cone[..], &random[..])] {
        let mut host = windows.peer(&lobby, "B", "host", &[&alone[..], host_nat].concat());
        host.event("room", 30.0);
        let mut joiner = windows.peer(&lobby, "A", "join", &[&alone[..], joiner_nat].concat());
        played(&mut host, &mut joiner);
        let sockets = [&host, &joiner].map(|player| player.events("path")[0]["sockets"].as_u64().unwrap());
        assert!(sockets.iter().any(|sockets| *sockets > 200), "{sockets:?}");
    }
}

/// Wine makes Ctrl-C of SIGINT.
#[test]
fn ctrl_c_ends_windows_programs_cleanly() {
    let Some(windows) = Windows::here() else { return };
    let mut lobby = windows.lobby("127.0.0.1:0", scratch("windows").join("key"));
    let mut host = windows.peer(&lobby, "B", "host", &["--for", "60"]);
    host.event("room", 30.0);
    let mut joiner = lobby.peer("A", "join", &["--for", "60"]);
    joiner.event("game_message", 30.0);
    host.event("game_message", 30.0);
    host.signal("-INT");
    host.success(20.0);
    let gone = joiner.event("disconnected", 5.0);
    assert!(
        gone["text"].as_str().unwrap().contains("left"),
        "{gone}: it was told, and did not have to find out"
    );
    lobby.program.signal("-INT");
    lobby.program.success(20.0);
}

/// The service manager is that of Wine. A service is removed when the test ends, however it does.
struct Service<'a> {
    _windows: &'a Windows,
}

impl Service<'_> {
    const NAME: &'static str = "bevy_traversal_test";

    fn manager(&self, program: &str, args: &[&str]) -> bool {
        let mut command = Command::new("wine");
        command.env("WINEDEBUG", "-all").arg(program).args(args).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        self.manager("net", &["stop", Self::NAME]);
        self.manager("sc", &["delete", Self::NAME]);
    }
}

/// Returns a path of this machine as Windows programs see it.
fn of_wine(path: &Path) -> String {
    format!("Z:{}", path.display()).replace('/', "\\")
}

#[test]
fn a_windows_service_serves_until_it_is_stopped_and_tells_its_players() {
    let Some(windows) = Windows::here() else { return };
    let folder = scratch("service");
    let (log, key_file) = (folder.join("log"), folder.join("key"));
    let service = Service { _windows: &windows };
    let command = format!(
        "{} service --bind 127.0.0.1:0 --second-port 0 --no-http --key-file {} --log-file {}",
        of_wine(&windows.folder.join("lobby_server.exe")),
        of_wine(&key_file),
        of_wine(&log)
    );
    assert!(service.manager("sc", &["create", Service::NAME, "binPath=", &command]));
    assert!(service.manager("net", &["start", Service::NAME]), "{:?}", std::fs::read_to_string(&log));
    // Its log, as it is written, is what a server in a console prints.
    let script = "tail --pid=$$ -n +1 -F \"$0\" | sed -nu 's/.*lobby_server::service: //p'";
    let lines = Program::start("the service's log", Command::new("sh").args(["-c", script]).arg(&log));
    let mut lobby = Lobby::of(lines, key_file);
    let mut host = lobby.host("B", &["--for", "60"]);
    assert!(service.manager("net", &["stop", Service::NAME]));
    lobby.program.line("the end", 20.0, |line| line == "stopped");
    let gone = host.event("lobby_failed", 5.0);
    assert!(gone.to_string().contains("its operator has ended it"), "{gone}: it was told");
}

/// Returns the address of somebody who passes TCP on to a server. Nothing listens at its UDP port.
fn without_udp(server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, server) = (listener.local_addr().unwrap().to_string(), server.to_owned());
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&server) else { return };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    address
}

#[test]
fn windows_players_log_in_and_play_over_tcp_alone() {
    let Some(windows) = Windows::here() else { return };
    let mut lobby = windows.lobby("127.0.0.1:0", scratch("windows").join("key"));
    lobby.address = without_udp(&lobby.address);
    let mut host = windows.peer(&lobby, "B", "host", &["--relay", "only", "--expect-relay", "--for", "4"]);
    host.event("room", 60.0);
    let mut joiner = lobby.peer("A", "join", &["--relay", "only", "--expect-relay", "--for", "4"]);
    played(&mut host, &mut joiner);
}

#[test]
fn arena_for_windows_plays_a_match_with_its_own_server() {
    let Some(windows) = Windows::here() else { return };
    if !windows.folder.join("arena.exe").exists() {
        skipped("arena.exe is not built");
        return;
    }
    let output = windows
        .program("arena")
        .args([
            "--headless",
            "--bots",
            "2",
            "--rounds",
            "1",
            "--points",
            "1",
            "--round-seconds",
            "20",
            "--autoplay",
        ])
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{out}{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("lobby server on "), "{out}");
    assert!(out.lines().last().unwrap().starts_with("Winner: "), "{out}");
}
