//! `natlab run` as an ordinary user: a user namespace gives it the rights that it needs.
//!
//! Run as root, the test becomes the user `nobody` first, with a `/dev/net/tun` that everybody may use, as desktops
//! have it, in a mount namespace of its own. Skipped, loudly, where that cannot be arranged.

use std::path::Path;
use std::process::Command;

use crate::{NOT_HERE, are_built, beside_others, skipped};
use serde_json::Value;

/// What root does to become an ordinary user; `$1` is the directory of the programs, which such a user may not be
/// allowed to walk to.
const BECOME_NOBODY: &str = "
    mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && mount --bind \"$1\" /mnt || exit 77
    shift
    cd / && exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --inh-caps=-all -- \"$@\"";

#[test]
fn an_ordinary_user_runs_programs_behind_both_kinds_of_nats() {
    if !are_built(&["lobby_server", "peer"]) {
        return;
    }
    let _turn = beside_others();
    let natlab = Path::new(env!("CARGO_BIN_EXE_natlab"));
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("unshare");
        let programs = natlab.parent().expect("a directory");
        command.args(["--mount", "--", "sh", "-c", BECOME_NOBODY, "sh"]).arg(programs).arg("/mnt/natlab");
        command
    } else {
        Command::new(natlab)
    };
    command.args([
        "run",
        "--left",
        "ps",
        "--right",
        "kernel",
        "--after",
        "nat",
        "--time-limit",
        "60",
        "--json",
    ]);
    command.args("-- peer {role} --lobby {lobby} --room {room} --server-key {key} --json --for 1".split(' '));
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return skipped(format_args!("`unshare` cannot be started: {error}")),
    };
    let error = String::from_utf8_lossy(&output.stderr);
    if matches!(output.status.code(), Some(NOT_HERE | 127)) {
        // The message tells what to enable.
        return skipped(error);
    }
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|bad| panic!("{bad}: {error}"));
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["path"], "direct", "{report}");
    let logs = std::fs::metadata(report["log_dir"].as_str().expect("a path")).expect("logs");
    let user = std::os::unix::fs::MetadataExt::uid(&logs);
    assert_ne!(user, 0, "natlab ran as root");
}

#[test]
fn where_a_user_may_not_it_says_what_to_enable() {
    // A user namespace whose own limit of user namespaces in it is 0; the machine keeps its limit. In it, a process
    // without any right.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && \
                  exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs -- \"$@\"";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_natlab")])
        .args(["run", "--no-lobby", "--left", "none", "--right", "none", "--", "true"])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return skipped(format_args!("`unshare` cannot be started: {error}")),
    };
    let error = String::from_utf8_lossy(&output.stderr);
    if !error.starts_with("natlab: ") {
        return skipped(format_args!("no user without rights could be made: {error}"));
    }
    assert_eq!(output.status.code(), Some(NOT_HERE), "{error}");
    assert!(error.contains("user.max_user_namespaces") && error.lines().count() == 1, "{error}");
}
