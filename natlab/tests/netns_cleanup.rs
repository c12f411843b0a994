//! Nothing outlives a run, however it ends; runs do not disturb each other; the report has its fields.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use test_support::skipped;

/// `natlab run` says with this exit code that the machine does not permit namespaces.
const NOT_HERE: i32 = 77;
/// It is far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn natlab(arguments: &[&str], script: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natlab"));
    command.args(["run", "--no-lobby", "--stagger", "0"]).args(arguments).args(["--", "sh", "-c", script]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for a command; gives `None`, and a loud word, where namespaces are not permitted.
fn finish(mut command: Command) -> Option<Output> {
    let output = command.output().expect("natlab runs");
    if output.status.code() == Some(NOT_HERE) {
        skipped(String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(output)
}

/// Whether any process is in this namespace (`net:[4026531840]`).
fn inhabited(namespace: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("/proc");
    processes.flatten().any(|entry| {
        fs::read_link(entry.path().join("ns/net")).is_ok_and(|link| link == Path::new(namespace))
    })
}

fn becomes_empty(namespace: &str) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while inhabited(namespace) {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Returns the namespaces that both programs told on stderr of natlab, which shows their lines. `None`: not permitted.
fn namespaces(child: &mut Child) -> Option<Vec<String>> {
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut found = Vec::new();
    for line in stderr.lines() {
        let line = line.expect("text");
        if let Some(at) = line.find("net:[") {
            found.push(line[at..].to_owned());
        }
        if found.len() == 2 {
            return Some(found);
        }
    }
    let status = child.wait().expect("ended");
    assert_eq!(status.code(), Some(NOT_HERE), "neither started nor refused");
    skipped("namespaces are not permitted");
    None
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn temporary(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    directory
}

const TELL_AND_STAY: &str = "readlink /proc/self/ns/net; setsid sleep 4321 & exec sleep 4321";

#[test]
fn what_a_program_leaves_running_is_killed() {
    let script = "setsid sleep 4321 & readlink /proc/self/ns/net";
    let arguments = ["--left", "portrestricted", "--right", "kernel", "--log-dir"];
    let logs = temporary("leaves");
    let Some(output) = finish(natlab(&[&arguments[..], &[logs.to_str().expect("text")]].concat(), script))
    else {
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["host", "join"] {
        let told = fs::read_to_string(logs.join(format!("{name}.out"))).expect("a log");
        assert!(told.starts_with("net:["), "{told}");
        assert!(!inhabited(told.trim()), "{name} left something");
    }
}

#[test]
fn nothing_is_left_when_natlab_itself_is_killed() {
    let mut child =
        natlab(&["--left", "ps", "--right", "kernel"], TELL_AND_STAY).spawn().expect("natlab runs");
    let Some(namespaces) = namespaces(&mut child) else { return };
    assert!(namespaces.iter().all(|namespace| inhabited(namespace)));
    child.kill().expect("killed");
    child.wait().expect("ended");
    for namespace in namespaces {
        assert!(becomes_empty(&namespace), "{namespace} is still inhabited");
    }
}

#[test]
fn an_interrupt_ends_everything_in_order() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let script = "trap 'echo {role} says bye >&2; exit 0' TERM; readlink /proc/self/ns/net; while :; do sleep 0.05; done";
        let logs = temporary("interrupt");
        let arguments = ["--left", "ps", "--right", "as", "--log-dir", logs.to_str().expect("text")];
        let mut child = natlab(&arguments, script).spawn().expect("natlab runs");
        let Some(namespaces) = namespaces(&mut child) else { return };
        kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), signal).expect("sent");
        let output = child.wait_with_output().expect("ended");
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("reason: interrupted") && told.contains("ended by you"), "{told}");
        assert!(!told.contains("FAILED"), "nothing has failed: {told}");
        for name in ["host", "join"] {
            let told = fs::read_to_string(logs.join(format!("{name}.err"))).expect("a log");
            // Its `sleep` was told too, and may say so.
            assert!(told.trim().ends_with(&format!("{name} says bye")), "{told}");
        }
        for namespace in namespaces {
            assert!(becomes_empty(&namespace), "{namespace} is still inhabited");
        }
    }
}

#[test]
fn a_killed_program_is_reported_and_does_not_hang_the_run() {
    let script = "test {role} = host || kill -9 $$; echo {role}";
    let Some(output) = finish(natlab(&["--left", "none", "--right", "none", "--json"], script)) else {
        return;
    };
    assert_eq!(output.status.code(), Some(1));
    let report = report(&output);
    assert_eq!(report["ok"], false);
    assert_eq!(report["exit"]["host"], 0);
    assert_eq!(report["exit"]["join"], 137);
    assert!(
        report["reason"].as_str().is_some_and(|reason| reason.contains("join") && reason.contains("137"))
    );
}

#[test]
fn a_program_that_fails_gives_its_last_words_as_the_reason() {
    let script = "echo first >&2; echo no such room >&2; exit 3";
    let Some(output) = finish(natlab(&["--left", "none", "--right", "none", "--json"], script)) else {
        return;
    };
    let report = report(&output);
    assert_eq!(report["exit"]["join"], 3);
    assert!(report["reason"].as_str().is_some_and(|reason| reason.ends_with("no such room")), "{report}");
}

#[test]
fn events_of_the_programs_make_the_report() {
    let script = r#"
        echo '{"t_ms":1.0,"event":"room","name":"{room}"}'
        echo '{"t_ms":2.0,"event":"path","peer":"B","path":"direct","method":"bubble","rtt_ms":50.5,"since_request_ms":181.5,"packets_sent":9}'
        echo 'not JSON'"#;
    let arguments = ["--left", "ps", "--right", "kernel:fully-random", "--json"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_natlab"));
    // Without --stagger the right one starts when the left one tells its room, not after seconds.
    command.arg("run").arg("--no-lobby").args(arguments).args(["--", "sh", "-c", script]);
    let began = Instant::now();
    let Some(output) = finish(command) else { return };
    let report = report(&output);
    assert!(began.elapsed() < Duration::from_secs(4), "{report}");
    for (field, value) in [
        ("left", Value::from("ps")),
        ("right", "kernel:fully-random".into()),
        ("ok", true.into()),
        ("path", "direct".into()),
        ("method", "bubble".into()),
        ("since_request_ms", 181.5.into()),
    ] {
        assert_eq!(report[field], value, "{field}");
    }
    assert_eq!(report["packets"]["left"], 9);
    assert_eq!(report["mappings"]["right"], 0);
    assert_eq!(report["exit"]["join"], 0);
    assert_eq!(report["events"]["host"].as_array().map(Vec::len), Some(2));
    assert!(Path::new(report["log_dir"].as_str().expect("a path")).join("join.out").exists());
}

#[test]
fn runs_at_the_same_time_do_not_collide() {
    let arguments = ["--left", "ps", "--right", "kernel", "--json"];
    let children: Vec<Child> = (0..4)
        .map(|_| natlab(&arguments, "readlink /proc/self/ns/net").spawn().expect("natlab runs"))
        .collect();
    let mut directories = Vec::new();
    for child in children {
        let output = child.wait_with_output().expect("ended");
        if output.status.code() == Some(NOT_HERE) {
            skipped("namespaces are not permitted");
            return;
        }
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        directories.push(report(&output)["log_dir"].to_string());
    }
    directories.sort();
    directories.dedup();
    assert_eq!(directories.len(), 4);
}

#[test]
fn several_nats_make_a_table() {
    let arguments = ["--left", "none", "--left", "ps", "--right", "as", "--right", "kernel", "--jobs", "2"];
    let Some(output) = finish(natlab(&arguments, "exit 0")) else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    let table = text.split_once("host \\ join").expect("a table").1;
    assert!(table.contains("as") && table.contains("kernel"), "{text}");
    assert_eq!(table.matches(" ok").count(), 4, "{text}");
}

#[test]
fn captures_hold_what_was_sent_with_its_addresses() {
    let pcap = temporary("pcap");
    let arguments =
        ["--left", "portrestricted", "--right", "none", "--pcap", pcap.to_str().expect("text"), "--json"];
    let script = "test {role} = join || echo hello | timeout 1 bash -c 'cat > /dev/udp/198.18.0.10/3478'";
    let Some(output) = finish(natlab(&arguments, script)) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (file, source) in
        [("left-lan", [192, 168, 1, 2]), ("left-wan", [198, 18, 1, 1]), ("lobby", [198, 18, 1, 1])]
    {
        let bytes = fs::File::open(pcap.join(format!("{file}.pcap"))).expect("a capture");
        let mut reader = pcap_file::pcap::PcapReader::new(bytes).expect("a header");
        let packet = reader.next_packet().expect("a packet").expect("readable");
        assert_eq!(packet.data[12..16], source, "{file}");
        assert_eq!(&packet.data[28..], b"hello\n", "{file}");
    }
}

#[test]
fn wrong_flags_are_refused_before_anything_is_made() {
    for (arguments, expected) in [
        (["--left", "nonsense", "--right", "none"], "nonsense"),
        (["--left", "none", "--right", "kernel:sideways"], "kernel:sideways"),
    ] {
        let output = natlab(&arguments, "exit 0").output().expect("natlab runs");
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(expected) && error.trim().lines().count() == 1, "{error}");
    }
}
