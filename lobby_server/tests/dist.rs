//! What is installed beside the program: the unit of systemd, and what the guide says of it.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::path::{Path, PathBuf};
use std::process::Command;

use lobby_server::{Settings, key};

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
        Err(_) => eprintln!("SKIPPED: this machine has no systemd-analyze"),
    }
}
