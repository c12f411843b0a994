//! Secrets are compared by `wire::secret::same`, whose time does not tell where they differ, and by nothing else.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::Path;

/// This is what secrets are called in the sources.
const SECRETS: [&str; 8] = ["token", "secret", "seal", "mac", "cookie", "password", "code_of", "reset"];
/// These are lines in which a word of these stands beside a comparison of something else, or of what nobody else may
/// guess at: the game's own settings with themselves, mio's numbers of connections.
const FINE: [(&str, &str); 11] = [
    ("link.rs", "*token != config.token"),
    ("tcp.rs", "self.by_peer.get(&key) == Some(&token)"),
    ("run_loop.rs", "event.token() != WAKE"),
    ("tcp.rs", "error.kind() != io::ErrorKind::WouldBlock"),
    ("race.rs", "Token(at) if at == token("),
    ("visit.rs", "config.token != token || config.server_keys != server_keys"),
    ("invite.rs", "once: word(0) & ONCE != 0"),
    ("words.rs", "number(\"pw\")? != 0"),
    ("dispatch.rs", "if kind == Kind::Probe =>"),
    ("pair.rs", "if channel == 0 { DATA }"),
    ("client.rs", "(offer.cookie, offer.key) == (cookie, key)"),
];

fn is_secret(operand: &str) -> bool {
    operand.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| SECRETS.contains(&word))
}

/// What stands beside a comparison, up to where another condition begins.
fn compares_a_secret(line: &str) -> bool {
    let line = line.split("//").next().unwrap_or_default();
    ["&&", "||"]
        .iter()
        .fold(vec![line], |parts, by| parts.iter().flat_map(|part| part.split(by)).collect())
        .iter()
        .any(|condition| {
            ["==", "!="].iter().filter_map(|operator| condition.split_once(operator)).any(|(left, right)| {
                !left.contains(".len()") && !right.contains(".len()") && (is_secret(left) || is_secret(right))
            })
        })
}

fn look_through(folder: &Path, found: &mut Vec<String>, lines: &mut usize) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["tests", "vectors"].contains(&name.as_str()) {
                look_through(&path, found, lines);
            }
        } else if name.ends_with(".rs") && !name.contains("tests") {
            let text = std::fs::read_to_string(&path).unwrap();
            let product = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            *lines += product.lines().count();
            let fine = |line: &str| FINE.iter().any(|(file, part)| name == *file && line.contains(part));
            let wrong = product.lines().filter(|line| compares_a_secret(line) && !fine(line));
            found.extend(wrong.map(|line| format!("{}: {}", path.display(), line.trim())));
        }
    }
}

#[test]
fn secrets_are_compared_in_constant_time_alone() {
    assert!(compares_a_secret("if token != own { }") && compares_a_secret("seal == ticket.seal"));
    assert!(!compares_a_secret("same(&token, &own) && a == b // token == own"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut found, mut lines) = (Vec::new(), 0);
    for package in ["traversal", "lobby_server", "plugin"] {
        look_through(&root.join(package).join("src"), &mut found, &mut lines);
    }
    assert!(found.is_empty(), "compared by what is not `wire::secret::same`:\n{}", found.join("\n"));
    assert!(lines > 10_000, "{lines} lines were looked at");
}
