//! What is installed beside the program: the unit of systemd, and what the guide says of it.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::path::{Path, PathBuf};
use std::process::Command;

use lobby_server::{Settings, key};
#[cfg(target_os = "linux")]
use test_support::server::Running;
use test_support::server::program;

fn dist(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(name)
}

fn unit() -> String {
    std::fs::read_to_string(dist("lobby_server.service")).unwrap()
}

/// Returns the value of a setting of the unit.
fn setting(name: &str) -> String {
    let line = unit().lines().find_map(|line| line.strip_prefix(&format!("{name}=")).map(String::from));
    line.unwrap_or_else(|| panic!("the unit has no {name}="))
}

fn guide() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hosting.md")).unwrap()
}

#[test]
fn unit_guide_and_program_keep_the_key_in_one_place() {
    let folder = Path::new(key::SERVICE_FILE).parent().unwrap();
    assert!(setting("ExecStart").contains(&format!("--key-file {}", key::SERVICE_FILE)));
    assert_eq!(Path::new("/var/lib").join(setting("StateDirectory")), folder);
    assert!(guide().contains(key::SERVICE_FILE));
}

/// Every flag of the unit is one, and what the guide tells root to type finds what the unit has.
#[cfg(unix)]
#[test]
fn the_units_command_is_one_that_the_program_takes() {
    let command = setting("ExecStart");
    let flags: Vec<&str> = command.split_whitespace().skip(1).collect();
    let help = program().args(["--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for flag in flags.iter().filter(|flag| flag.starts_with("--")) {
        assert!(help.contains(&format!("{flag} ")), "{flag}");
    }
    assert!(command.contains(&format!("--admin-socket {}", lobby_server::admin::SERVICE_SOCKET)));
    assert_eq!(
        Path::new("/run").join(setting("RuntimeDirectory")),
        Path::new(lobby_server::admin::SERVICE_SOCKET).parent().unwrap()
    );
    // The example serves as the file that the unit names.
    assert!(flags.contains(&"/etc/lobby_server.toml") && guide().contains("/etc/lobby_server.toml"));
}

#[test]
fn systemd_waits_longer_than_the_server_does() {
    let patience: u64 = setting("TimeoutStopSec").parse().unwrap();
    assert!(patience > Settings::default().drain_s, "it would be killed in the middle");
    // One with a longer wait needs more, and is told so where it is set.
    assert!(guide().contains("TimeoutStopSec"));
}

#[test]
fn the_file_that_may_hold_a_token_is_not_installed_for_everybody_to_read() {
    let guide = guide();
    let lines: Vec<&str> = guide.lines().filter(|line| line.contains("/etc/lobby_server.toml")).collect();
    let install = lines.iter().find(|line| line.starts_with("install ")).expect("a line that installs it");
    assert!(install.contains("-m 640"), "{install}");
    assert!(install.contains(&format!("-g {}", setting("User"))), "the service may read it: {install}");
}

#[test]
fn a_container_waits_longer_than_the_server_does_and_its_commands_are_ones_that_the_program_takes() {
    let compose = std::fs::read_to_string(dist("compose.yaml")).unwrap();
    let grace = compose.lines().find_map(|line| line.trim().strip_prefix("stop_grace_period: ")).unwrap();
    let grace: u64 = grace.trim_end_matches('s').parse().unwrap();
    assert!(grace > Settings::default().drain_s);
    assert!(compose.contains("network_mode: host"), "else players are hidden from each other");
    let pod = std::fs::read_to_string(dist("kubernetes.yaml")).unwrap();
    let grace =
        pod.lines().find_map(|line| line.trim().strip_prefix("terminationGracePeriodSeconds: ")).unwrap();
    assert!(grace.parse::<u64>().unwrap() > Settings::default().drain_s);
    assert!(
        pod.contains("hostNetwork: true") && pod.contains("path: /ready") && pod.contains("path: /health")
    );

    let file = std::fs::read_to_string(dist("Dockerfile")).unwrap();
    let command = |name: &str| -> Vec<String> {
        let start = file.find(name).unwrap_or_else(|| panic!("no {name}"));
        let list = &file[start + file[start..].find('[').unwrap()..];
        serde_json::from_str(&list[..=list.find(']').unwrap()]).unwrap()
    };
    let (serve, health) = (command("ENTRYPOINT"), command("HEALTHCHECK"));
    // As they stand there, but for the program's place and those of its files.
    let directory = tempfile::tempdir().unwrap();
    let here = |word: &String| match word
        .strip_prefix("/var/lib/lobby_server/")
        .or(word.strip_prefix("/run/lobby_server/"))
    {
        Some(file) => directory.path().join(file).display().to_string(),
        None => word.clone(),
    };
    let checks = |expected: bool| {
        let output = program().args(health[1..].iter().map(here)).output().unwrap();
        assert_eq!(output.status.success(), expected, "{output:?}");
    };
    checks(false);
    let mut server = program();
    server.args(serve[1..].iter().map(here)).args(["--bind", "127.0.0.1:0", "--no-http"]);
    let mut server = server.spawn().unwrap();
    let mut ready = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stdout.as_mut().unwrap()), &mut ready)
        .unwrap();
    checks(true);
    let _ = server.kill();
    let _ = server.wait();
    checks(false);
}

/// The STUN client that `check` and the guide name. It wants both addresses for the whole of RFC 5780.
#[cfg(target_os = "linux")]
#[test]
fn the_stun_client_that_the_guide_names_finishes() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--bind", "127.0.0.1:0", "--second-address", "127.0.0.2", "--no-http"];
    let server = Running::start(directory.path(), &flags);
    let port = server.address().port().to_string();
    let client = "turnutils_natdiscovery";
    assert!(guide().contains(client));
    let output = Command::new(client).args(["-m", "-f", "-p", &port, "127.0.0.1"]).output();
    match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{text}");
            assert!(text.contains("Endpoint Independent Mapping"), "{text}");
            assert!(text.contains("Endpoint Independent Filtering"), "{text}");
        }
        Err(_) => test_support::skipped(format_args!("this machine has no {client} (Debian: coturn)")),
    }
}

/// systemd rates a unit from 0.0 (all is closed) to 10.0.
#[test]
fn systemd_rates_the_unit_as_well_closed() {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=25"])
        .arg(dist("lobby_server.service"))
        .output();
    match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                text.contains("Overall exposure level"),
                "{text}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(output.status.success(), "more than 2.5: {text}");
        }
        Err(_) => test_support::skipped("this machine has no systemd-analyze"),
    }
}
