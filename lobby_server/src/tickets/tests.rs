use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use traversal_core::id::PlayerId;

use super::*;

const NOW: f64 = 1_800_000_000.0;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// RFC 8410 section 10.3 has this private key, and section 10.1 its public one.
const ED_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
const ED_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

struct Service {
    directory: tempfile::TempDir,
    files: Vec<PathBuf>,
}

impl Service {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), files: Vec::new() }
    }

    fn key(mut self, name: &str, content: &[u8]) -> Self {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        self.files.push(path);
        self
    }

    fn tickets(&self) -> Result<Tickets, TokenKeyError> {
        Tickets::read(&self.files)
    }
}

fn player() -> PlayerId {
    PlayerId([7; 16])
}

fn log_in(tickets: &Tickets, ticket: &str) -> Result<Admission, LoginRefusal> {
    let login = TokenLogin {
        game: "squares",
        player: player(),
        name: "guest",
        address: [203, 0, 113, 1].into(),
        token: ticket.as_bytes(),
    };
    tickets.admit_at(&login, NOW)
}

fn fault(tickets: &Tickets, ticket: &str) -> TicketFault {
    match log_in(tickets, ticket) {
        Err(LoginRefusal::Ticket { fault }) => fault,
        other => panic!("{other:?}"),
    }
}

fn header(algorithm: Algorithm, kid: Option<&str>) -> Header {
    Header { kid: kid.map(Into::into), ..Header::new(algorithm) }
}

fn hs(claims: &Value) -> String {
    encode(&header(Algorithm::HS256, None), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn ed(claims: &Value) -> String {
    let key = EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).unwrap();
    encode(&header(Algorithm::EdDSA, None), claims, &key).unwrap()
}

/// Claims of a good ticket, with others in their place.
fn claims(other: Value) -> Value {
    let mut claims = json!({ "sub": "account-1", "game": "squares", "exp": NOW + 60.0 });
    for (key, value) in other.as_object().unwrap() {
        claims[key] = value.clone();
    }
    claims
}

#[test]
fn tickets_of_both_algorithms_let_in_and_say_the_players_name() {
    let secret = [SECRET, b"\n"].concat();
    let tickets = Service::new().key("a.pem", ED_PUBLIC.as_bytes()).key("b.secret", &secret);
    let tickets = tickets.tickets().unwrap();
    assert_eq!(tickets.names(), ["a", "b"]);
    for sign in [hs, ed] {
        assert_eq!(log_in(&tickets, &sign(&claims(json!({})))), Ok(Admission::default()));
        let named = sign(&claims(json!({ "name": "  Ada\u{202e} ", "player": player().to_string() })));
        assert_eq!(log_in(&tickets, &named), Ok(Admission::named("Ada")), "clean");
        // A player's longest ticket fits.
        let longest = claims(json!({
            "name": "x".repeat(32), "player": player().to_string(), "iat": NOW, "nbf": NOW
        }));
        assert!(sign(&longest).len() <= traversal_core::wire::message::MAX_TOKEN, "{}", sign(&longest).len());
    }
    for audience in [json!("squares"), json!(["chess", "squares"])] {
        let ticket = hs(&json!({ "aud": audience, "exp": (NOW + 60.0) as u64 }));
        assert_eq!(log_in(&tickets, &ticket), Ok(Admission::default()));
    }
}

#[test]
fn what_is_wrong_with_a_ticket_is_told_by_its_kind() {
    let tickets = Service::new().key("a.secret", SECRET).tickets().unwrap();
    for (other, expected) in [
        (json!({ "exp": NOW }), TicketFault::Expired),
        (json!({ "exp": "soon" }), TicketFault::Malformed),
        (json!({ "exp": null }), TicketFault::Malformed),
        (json!({ "nbf": NOW + 61.0 }), TicketFault::NotYet),
        (json!({ "iat": NOW + 61.0 }), TicketFault::NotYet),
        (json!({ "game": "chess" }), TicketFault::OtherGame),
        (json!({ "game": null }), TicketFault::OtherGame),
        (json!({ "aud": "chess" }), TicketFault::OtherGame),
        (json!({ "player": "00" }), TicketFault::OtherPlayer),
        (json!({ "name": "\u{202e}" }), TicketFault::Malformed),
    ] {
        assert_eq!(fault(&tickets, &hs(&claims(other.clone()))), expected, "{other}");
    }
    assert_eq!(fault(&tickets, ""), TicketFault::Missing);
    for junk in ["x", "a.b.c", "..", "{}"] {
        assert_eq!(fault(&tickets, junk), TicketFault::Malformed, "{junk}");
    }
    // Clocks differ a little.
    assert!(log_in(&tickets, &hs(&claims(json!({ "iat": NOW + 59.0, "nbf": NOW + 59.0 })))).is_ok());
    let banned =
        |until: Value| log_in(&tickets, &hs(&claims(json!({ "ban": "cheats", "ban_until": until }))));
    let reason = || String::from("cheats");
    assert_eq!(banned(json!(null)), Err(LoginRefusal::Banned { reason: reason(), left_s: None }));
    assert_eq!(banned(json!(NOW + 90.0)), Err(LoginRefusal::Banned { reason: reason(), left_s: Some(90) }));
    assert_eq!(banned(json!(NOW - 1.0)), Ok(Admission::default()), "it is over");
}

#[test]
fn the_algorithm_is_the_keys_and_a_public_key_is_no_secret() {
    let tickets = Service::new().key("a.pem", ED_PUBLIC.as_bytes()).tickets().unwrap();
    // The public key is known to everybody: who signs with it as if it were a secret gets nowhere.
    for secret in [ED_PUBLIC.as_bytes(), ED_PUBLIC.trim_end().as_bytes()] {
        let forged = encode(
            &header(Algorithm::HS256, Some("a")),
            &claims(json!({})),
            &EncodingKey::from_secret(secret),
        );
        assert_eq!(fault(&tickets, &forged.unwrap()), TicketFault::Signature);
    }
    // Without a signature, and with one that was made for other words.
    let good = ed(&claims(json!({})));
    let (body, signature) = good.rsplit_once('.').unwrap();
    assert_eq!(fault(&tickets, &format!("{body}.")), TicketFault::Signature);
    let other = ed(&claims(json!({ "name": "Eve" })));
    assert_eq!(
        fault(&tickets, &format!("{}.{signature}", other.rsplit_once('.').unwrap().0)),
        TicketFault::Signature
    );
    // {"alg":"none"}
    let none = format!("eyJhbGciOiJub25lIn0.{}.", body.split('.').nth(1).unwrap());
    assert_eq!(fault(&tickets, &none), TicketFault::Malformed);
}

#[test]
fn of_several_keys_each_serves_and_a_ticket_that_names_one_is_of_that_one() {
    let next = [b'n'; 40];
    let tickets = Service::new().key("2026.secret", SECRET).key("2027.secret", &next).tickets().unwrap();
    let sign = |kid: Option<&str>, secret: &[u8]| {
        encode(&header(Algorithm::HS256, kid), &claims(json!({})), &EncodingKey::from_secret(secret)).unwrap()
    };
    for kid in [None, Some("2027"), Some("another name")] {
        assert!(log_in(&tickets, &sign(kid, &next)).is_ok(), "{kid:?}");
    }
    assert_eq!(fault(&tickets, &sign(Some("2026"), &next)), TicketFault::Signature);
    assert_eq!(fault(&tickets, &sign(None, &[b'x'; 40])), TicketFault::Signature);
}

#[test]
fn a_file_that_is_no_key_is_refused_with_what_to_do() {
    let said = |content: &[u8]| Service::new().key("k", content).tickets().unwrap_err().to_string();
    assert!(said(ED_PRIVATE.as_bytes()).contains("-pubout"));
    assert!(said(b"-----BEGIN CERTIFICATE-----\n").contains("Ed25519"));
    assert!(said(b"short\n").contains("has 5 bytes"));
    assert!(said(&[b'x'; 5000]).contains("to 4096"));
    assert!(Tickets::read(&["/no/such/file".into()]).unwrap_err().to_string().contains("cannot be read"));
}
