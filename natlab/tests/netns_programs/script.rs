//! A game through what a script has happen to it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{event, run_within};

fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name).display().to_string()
}

#[test]
fn a_minute_in_which_everything_happens_loses_nothing_reliable() {
    let nats = ["--left", "portrestricted", "--right", "ps", "--script", &script("minute.txt")];
    let Some(report) = run_within(120, &nats, &["--for", "{seconds}", "--complete"]) else { return };
    let told = &report["script"];
    assert_eq!(report["ok"], true, "{}: {told}", report["reason"]);
    assert_eq!(told["all_back"], true, "{told}");
    let steps = told["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 8, "{told}");
    for step in steps {
        let gap = |who: &str| step[who].as_f64().unwrap_or(0.0);
        let (longest, shortest) =
            (gap("host_gap_ms").max(gap("join_gap_ms")), gap("host_gap_ms").min(gap("join_gap_ms")));
        // What lasts silences both for so long; nothing does for longer than it takes to find another way.
        let lasts =
            step["what"].as_str().and_then(|what| what.split(' ').nth(1)?.parse::<f64>().ok()).unwrap_or(0.0);
        let lasts =
            if step["what"].as_str().is_some_and(|what| what.starts_with("mtu")) { 0.0 } else { lasts };
        assert!(shortest >= lasts * 1000.0 - 100.0, "{step}");
        assert!(longest < lasts * 1000.0 + 3500.0, "{step}");
    }
    for (way, from, to) in [("to_join", "host", "join"), ("to_host", "join", "host")] {
        let way = &told[way];
        assert!(way["sent"].as_u64() > Some(800), "the game went on: {told}");
        assert_eq!((&way["sent"], way["disordered"].as_u64()), (&way["received"], Some(0)), "{told}");
        assert_eq!(way["connections"], 1, "none of it is worth a new connection: {told}");
        assert_eq!(event(&report, from, "summary")["all_reliable_sent"], way["sent"]);
        assert_eq!(event(&report, to, "summary")["all_reliable_received"], way["received"]);
    }
    // The lobby server was started three times, at two addresses.
    let said =
        |file: &str| fs::read_to_string(format!("{}/{file}", report["log_dir"].as_str().expect("logs")));
    assert!(said("lobby-3.out").expect("its log").contains("ready on 198.18.0.11:3478"));
}

#[test]
fn a_script_with_a_mistake_is_told_by_line_with_what_would_be_right() {
    let file = std::env::temp_dir().join(format!("natlab-script-{}.txt", std::process::id()));
    for (text, nat, told) in [
        ("5 host sleep 1\n\n7 join fly\n", "ps", "line 3"),
        ("5 host reboot", "kernel", "needs an emulated NAT"),
    ] {
        fs::write(&file, text).expect("a file");
        let output = Command::new(env!("CARGO_BIN_EXE_natlab"))
            .args(["run", "--no-lobby", "--left", nat, "--right", "ps", "--script"])
            .arg(&file)
            .args(["--", "true"])
            .output()
            .expect("natlab runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(told) && error.contains("natlab-script-"), "{error}");
    }
    fs::remove_file(file).expect("it is there");
}
