//! The built program, started without a window.

use std::process::{Child, Command, Output, Stdio};

pub(crate) fn arena(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_arena"))
        .arg("--headless")
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Returns what a program printed, and its errors.
pub(crate) fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Returns all that a program printed, which ended well.
pub(crate) fn all(child: Child) -> String {
    let output = child.wait_with_output().expect("it ends");
    let (out, error) = text(&output);
    assert!(output.status.success(), "{out}{error}");
    out
}
