//! Tickets of a login service, as docs/accounts.md has them made, at the built program.
#![allow(clippy::unwrap_used)] // helpers of tests are tests
#![cfg(unix)] // signals, and the operator's socket; `tickets/tests.rs` is for all systems

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use test_support::server::{Player, Running, program};
use test_support::{skipped, until};

/// Waits last at most this many seconds.
const PATIENCE: f64 = 20.0;
const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// RFC 8410 section 10.3 has this private key, and section 10.1 its public one.
const ED_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
const ED_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

fn file(directory: &Path, name: &str, content: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn server(directory: &Path, flags: &[&str]) -> Running {
    Running::start(directory, &[&["--bind", "127.0.0.1:0", "--no-http"], flags].concat())
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Signs a ticket as the login service does, with others of its claims.
fn ticket(algorithm: Algorithm, key: &EncodingKey, other: Value) -> String {
    let mut claims = json!({ "sub": "account-1", "game": "game", "exp": now_s() + 600 });
    for (name, value) in other.as_object().unwrap() {
        claims[name] = value.clone();
    }
    encode(&Header::new(algorithm), &claims, key).unwrap()
}

fn hs(other: Value) -> String {
    ticket(Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()), other)
}

fn log_in(server: &Running, seed: u8, ticket: &str) -> Result<Player, String> {
    let mut player = Player::log_in(server.address(), seed, ticket.as_bytes())?;
    assert!(player.ping());
    Ok(player)
}

/// Returns the first block of code of this language in the guide.
fn example(language: &str) -> String {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/accounts.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, rest) = guide.split_once(&format!("```{language}\n")).expect("an example");
    rest.split_once("```").unwrap().0.into()
}

#[test]
fn a_ticket_of_the_guides_python_lets_in_and_its_player_goes_by_the_name_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let secret = file(directory.path(), "game.secret", &format!("{SECRET}\n"));
    let program_ = example("python").replace("my-game", "game");
    let id = traversal_core::Identity::from_secret([1; 32]).public_key();
    let id = traversal_core::id::PlayerId::from_public_key(&id).to_string();
    let output =
        Command::new("python3").arg("-c").arg(program_).arg(&secret).args(["7", "Ada", &id]).output();
    let Ok(output) = output else { return skipped("this machine has no python3") };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let socket = directory.path().join("admin.sock");
    let socket = socket.to_str().unwrap();
    let server =
        server(directory.path(), &["--token-key", secret.to_str().unwrap(), "--admin-socket", socket]);
    let _player = log_in(&server, 1, text.trim()).unwrap();
    let players = program().args(["admin", "--json", "--admin-socket", socket, "players"]).output().unwrap();
    let players: Value = serde_json::from_slice(&players.stdout).unwrap();
    assert_eq!(players["players"][0]["name"], "Ada", "its game says another name");
    // It is of one player, so it cannot be lent.
    let error = log_in(&server, 2, text.trim()).err().unwrap();
    assert!(error.contains("for another player"), "{error}");
}

#[test]
fn whoever_shows_no_good_ticket_reads_what_is_wrong_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let secret = file(directory.path(), "game.secret", SECRET);
    let server = server(directory.path(), &["--token-key", secret.to_str().unwrap()]);
    let other = EncodingKey::from_secret(b"another secret that has 32 bytes");
    let forged = ticket(Algorithm::HS256, &other, json!({}));
    for (ticket, said) in [
        (String::new(), "asks for a ticket"),
        ("sesame".into(), "no ticket"),
        (forged, "not signed by the game's login service"),
        (hs(json!({ "exp": now_s() - 1 })), "has expired; get a new one"),
        (hs(json!({ "nbf": now_s() + 600 })), "does not hold yet"),
        (hs(json!({ "game": "another" })), "for another game"),
        (hs(json!({ "ban": "cheats", "ban_until": now_s() + 7200 })), "banned from this server for "),
    ] {
        let error = log_in(&server, 1, &ticket).err().unwrap();
        assert!(error.contains(said), "{said}: {error}");
    }
    log_in(&server, 1, &hs(json!({}))).unwrap();
}

#[test]
fn a_ticket_that_expires_ends_new_logins_and_no_running_session() {
    let directory = tempfile::tempdir().unwrap();
    let secret = file(directory.path(), "game.secret", SECRET);
    let server = server(directory.path(), &["--token-key", secret.to_str().unwrap()]);
    let short = hs(json!({ "exp": now_s() + 3 }));
    let mut player = log_in(&server, 1, &short).unwrap();
    let mut error = String::new();
    until("the ticket expires", PATIENCE, || {
        error = log_in(&server, 2, &short).err().unwrap_or_default();
        !error.is_empty()
    });
    assert!(error.contains("expired"), "{error}");
    assert!(player.ping(), "who is in stays");
}

#[test]
fn keys_change_while_it_serves_and_a_broken_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let secret = file(directory.path(), "old.secret", SECRET);
    let public = file(directory.path(), "new.pem", ED_PUBLIC);
    let config = directory.path().join("lobby.toml");
    let configure = |keys: &[&Path]| std::fs::write(&config, format!("token_key = {keys:?}\n")).unwrap();
    configure(&[&secret]);
    let server = server(directory.path(), &["--config", config.to_str().unwrap()]);
    let new = ticket(Algorithm::EdDSA, &EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).unwrap(), json!({}));
    let old = hs(json!({}));
    let mut player = log_in(&server, 1, &old).unwrap();
    assert!(log_in(&server, 2, &new).is_err());
    let reload = || {
        let pid = server.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    };
    // Both for a while, then the new one alone.
    configure(&[&secret, &public]);
    reload();
    until("the new key serves", PATIENCE, || log_in(&server, 2, &new).is_ok());
    log_in(&server, 3, &old).unwrap();
    configure(&[&public]);
    reload();
    until("the old key serves no more", PATIENCE, || log_in(&server, 3, &old).is_err());
    assert!(player.ping(), "who is in stays");
    // The private key by mistake: all stays as it is. The next reading, of a good file, shows that this one is over.
    configure(&[&file(directory.path(), "private.pem", ED_PRIVATE)]);
    reload();
    log_in(&server, 2, &new).unwrap();
    configure(&[&secret]);
    reload();
    until("the old key serves again", PATIENCE, || log_in(&server, 3, &old).is_ok());
    let log = String::from_utf8(server.stop("-TERM").stderr).unwrap();
    assert!(log.contains("the configuration stays as it is") && log.contains("-pubout"), "{log}");
}

#[test]
fn a_key_that_cannot_be_used_is_refused_at_the_start_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let private = file(directory.path(), "private.pem", ED_PRIVATE);
    let key = directory.path().join("key");
    for (flags, said) in [
        (vec!["--token-key", private.to_str().unwrap()], "-pubout"),
        (vec!["--token-key", "/no/such/file"], "cannot be read"),
    ] {
        let start = program()
            .args(["--bind", "127.0.0.1:0", "--no-http", "--key-file", key.to_str().unwrap()])
            .args(&flags)
            .output()
            .unwrap();
        let error = String::from_utf8(start.stderr).unwrap();
        let line = error.lines().last().unwrap_or_default();
        assert!(start.status.code() == Some(1) && line.contains(said), "{error}");
    }
}
