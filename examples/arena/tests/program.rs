//! The program itself, without a display.

use std::process::{Command, Output, Stdio};

fn arena(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
    command.args(args).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    command.env_remove("WAYLAND_SOCKET").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
#[cfg(all(unix, not(target_os = "macos")))]
fn without_a_display_it_says_so_and_two_of_them_play_side_by_side() {
    let args = ["--bots", "2", "--rounds", "1", "--points", "1", "--round-seconds", "20"];
    let both = [arena(&args).spawn().unwrap(), arena(&args).spawn().unwrap()];
    for child in both {
        let output = child.wait_with_output().unwrap();
        let (out, err) = text(&output);
        assert!(output.status.success(), "{out}{err}");
        assert!(out.contains("no display"), "{out}");
        assert!(out.contains("lobby server on "), "{out}");
        assert!(out.lines().last().unwrap().starts_with("Winner: "), "{out}");
    }
}

#[test]
fn wrong_uses_are_told_in_one_line() {
    for (args, word) in [
        (&["--join", "den"][..], "--lobby"),
        (&["--headless", "--screenshot", "x.png", "--lobby", "127.0.0.1:9"][..], "display"),
    ] {
        let output = arena(args).output().unwrap();
        let (_, err) = text(&output);
        assert!(!output.status.success());
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.contains(word), "{err}");
    }
}

#[test]
fn a_server_that_is_not_there_ends_with_a_sentence() {
    // A port that was free a moment ago.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let lobby = free.to_string();
    let args = ["--headless", "--lobby", &lobby, "--host", "den", "--rounds", "1", "--patience", "6"];
    let output = arena(&args).output().unwrap();
    let (out, err) = text(&output);
    assert!(!output.status.success(), "{out}");
    assert!(err.contains("lobby server"), "{err}");
}

#[test]
#[cfg(unix)]
fn it_stops_cleanly_when_told_to() {
    use std::io::{BufRead, BufReader};

    for signal in ["TERM", "INT"] {
        let mut child = arena(&["--headless", "--bots", "1"]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let begun = lines.by_ref().map(Result::unwrap).any(|line| line.starts_with("Round 1 begins"));
        assert!(begun);
        let told = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(told.success());
        // What it still prints must have somewhere to go.
        lines.for_each(drop);
        let status = child.wait().unwrap();
        assert!(status.success(), "{signal}: {status}");
    }
}
