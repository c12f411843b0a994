//! Invites are read as they were written, in whatever form a program hands them on, and nothing hostile is read as one.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

const KEY: [u8; 32] = [7; 32];
const PRINTED: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

fn read(text: &str) -> Result<Invite, InviteError> {
    text.parse()
}

#[test]
fn each_form_of_a_server_is_read() {
    for (written, server) in [
        ("lobby.example.com", "lobby.example.com:3478"),
        ("Lobby.Example.Com.:3478", "lobby.example.com:3478"),
        ("lobby.example.com:9", "lobby.example.com:9"),
        ("localhost:65535", "localhost:65535"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example:3478"),
        ("192.0.2.1", "192.0.2.1:3478"),
        ("192.0.2.1:77", "192.0.2.1:77"),
        ("[2001:db8::1]", "[2001:db8::1]:3478"),
        ("[2001:DB8:0::1]:77", "[2001:db8::1]:77"),
        ("[::ffff:192.0.2.1]:77", "192.0.2.1:77"),
    ] {
        for text in [format!("bevy-traversal:{written}#{PRINTED}"), format!("{written}/#{PRINTED}")] {
            let invite = read(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(invite.server(), server, "{text}");
            assert_eq!((invite.key(), invite.code(), invite.token()), (KEY, None, None));
            assert!(invite.is_of(written) && !invite.is_of("elsewhere.example"));
        }
    }
}

#[test]
fn what_chat_programs_and_people_make_of_it_is_read() {
    let invite = Invite::new("[2001:db8::1]:77", KEY).unwrap().with_code("k7px2m").unwrap();
    assert_eq!(invite.code(), Some("K7PX2M"));
    let text = invite.to_string();
    let short = invite.short();
    let link = invite.link("https://game.example/join?from=chat#old");
    assert!(link.starts_with("https://game.example/join?from=chat#%5B2001:db8::1%5D:77/K7PX2M%23"), "{link}");
    let padded = format!("bevy-traversal:[2001:db8::1]:77/K7PX2M#{PRINTED}=");
    for form in [
        text.clone(),
        format!("  {text}\n"),
        format!("<{text}>"),
        text.replace("bevy-traversal:", "BEVY-Traversal://"),
        text.replace('#', "%23").replace('/', "%2f"),
        short,
        link,
        padded,
    ] {
        assert_eq!(read(&form).as_ref(), Ok(&invite), "{form}");
    }
    // As `lobby_server key` prints it, with both characters that only the standard alphabet has.
    let key = [0xfb, 0xff].repeat(16);
    let printed = base64::engine::general_purpose::STANDARD.encode(&key);
    assert!(printed.contains('+') && printed.contains('/'));
    assert_eq!(read(&format!("192.0.2.1:9#{printed}")).map(|invite| invite.key().to_vec()), Ok(key));
}

#[test]
fn what_is_damaged_or_hostile_is_refused_with_what_is_wrong() {
    use HostPortError as H;
    use InviteError as E;
    let bad = E::BadServer;
    let long = format!("{}.example#{PRINTED}", "a".repeat(64));
    let longer = format!("{}example#{PRINTED}", "a.".repeat(130));
    for (text, error) in [
        ("".to_owned(), E::NoKey),
        ("K7PX2M".to_owned(), E::NoKey),
        ("https://game.example/join".to_owned(), E::NoKey),
        ("lobby.example.com/K7PX2M#".to_owned(), E::BadKey),
        ("lobby.example.com#BwcH".to_owned(), E::BadKey),
        (format!("lobby.example.com#{PRINTED}B"), E::BadKey),
        // The last character has bits that belong to no byte.
        (format!("lobby.example.com#{}d", &PRINTED[..42]), E::BadKey),
        (format!("lobby.example.com#{PRINTED}#{PRINTED}"), E::BadKey),
        (format!("#{PRINTED}"), bad(H::NoHost)),
        (format!(":9#{PRINTED}"), bad(H::NoHost)),
        (format!("lobby.example.com:0#{PRINTED}"), bad(H::BadPort)),
        (format!("lobby.example.com:65536#{PRINTED}"), bad(H::BadPort)),
        (format!("lobby.example.com:+1#{PRINTED}"), bad(H::Character { found: '+' })),
        (format!("lobby.example.com:#{PRINTED}"), bad(H::BadPort)),
        (format!("user@lobby.example.com#{PRINTED}"), bad(H::Character { found: '@' })),
        (format!("a..b#{PRINTED}"), bad(H::BadHost)),
        (format!("-a.b#{PRINTED}"), bad(H::BadHost)),
        (format!("999.1.2.3#{PRINTED}"), bad(H::BadHost)),
        (format!("0x7f.1#{PRINTED}"), bad(H::BadHost)),
        (format!("0.0.0.0#{PRINTED}"), bad(H::NotOneMachine)),
        (format!("224.0.0.251:5353#{PRINTED}"), bad(H::NotOneMachine)),
        (format!("255.255.255.255#{PRINTED}"), bad(H::NotOneMachine)),
        (format!("[ff02::fb]:5353#{PRINTED}"), bad(H::NotOneMachine)),
        (format!("[fe80::1%251]:9#{PRINTED}"), E::BadCharacter),
        (format!("2001:db8::1#{PRINTED}x"), E::BadKey),
        (long, bad(H::BadHost)),
        (longer, bad(H::TooLong { bytes: 267, most: 260 })),
        (format!("a.example/K7-PX2M-K7PX2M-77#{PRINTED}"), E::BadRoom),
        (format!("a.example/K7/PX2M#{PRINTED}"), E::BadRoom),
        (format!("a.example/.{}#{PRINTED}", "A".repeat(32)), E::BadRoom),
        (format!("a.example/K7PX2M.AAAA#{PRINTED}"), E::BadRoom),
        (format!("a.example/K7%00PX#{PRINTED}"), E::BadCharacter),
        (format!("a.example/K7%2#{PRINTED}"), E::BadCharacter),
        (format!("a.example/K7%25%32%33#{PRINTED}"), E::BadCharacter),
        (format!("a.example/K7\u{202e}PX#{PRINTED}"), E::BadCharacter),
        (format!("bücher.example#{PRINTED}"), E::BadCharacter),
        ("a".repeat(MAX_INVITE + 1), E::TooLong { bytes: MAX_INVITE + 1, most: MAX_INVITE }),
    ] {
        assert_eq!(read(&text), Err(error), "{text}");
    }
}

#[test]
fn rich_presence_gets_what_fits() {
    let token = InviteToken { number: 5, until_s: 1_800_000_000, once: true, seal: [3; 16] };
    let of = |host: &str| Invite::new(host, KEY).unwrap().with_code("K7PX2M").unwrap().with_token(token);
    let usual = of("lobby.example.com");
    let secret = usual.discord_secret().unwrap();
    assert!(secret.len() <= DISCORD_SECRET && read(&secret) == Ok(usual.clone()));
    assert_eq!(read(&usual.steam_connect().unwrap()), Ok(usual));
    let long = of(&format!("{}.example", ["a"; 24].join(".")));
    let bytes = long.short().len();
    assert_eq!(long.discord_secret(), Err(InviteError::TooLong { bytes, most: DISCORD_SECRET }));
    assert!(long.steam_connect().is_ok());
    let longest = of(&["a".repeat(50).as_str(); 4].join("."));
    assert!(matches!(longest.steam_connect(), Err(InviteError::TooLong { most: STEAM_CONNECT, .. })));
    assert_eq!(read(&longest.link("https://game.example/")), Ok(longest));
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z][a-z0-9]{0,10}){1,4}",
        any::<Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
    ]
}

proptest! {
    #[test]
    fn an_invite_is_read_as_it_was_written_in_every_form(
        host in host(),
        port in 1u16..,
        key: [u8; 32],
        code in proptest::option::of("[A-Z0-9-]{1,16}"),
        token in proptest::option::of((0u32..1 << 31, any::<u32>(), any::<bool>(), any::<[u8; 16]>())),
    ) {
        let Ok(mut invite) = Invite::new(&format!("{host}:{port}"), key) else { return Ok(()) };
        if let Some(code) = code {
            invite = invite.with_code(&code).unwrap();
        }
        if let Some((number, until_s, once, seal)) = token {
            invite = invite.with_token(InviteToken { number, until_s, once, seal });
        }
        for text in [invite.to_string(), invite.short(), invite.link("https://game.example/join")] {
            prop_assert!(text.len() <= MAX_INVITE);
            prop_assert_eq!(read(&text), Ok(invite.clone()));
        }
        prop_assert!(invite.is_of(&invite.server()));
    }

    #[test]
    fn no_text_makes_it_panic_and_what_is_read_is_written_in_one_way(text in ".{0,200}") {
        if let Ok(invite) = read(&text) {
            prop_assert_eq!(read(&invite.to_string()), Ok(invite));
        }
    }

    #[test]
    fn texts_that_are_nearly_invites_are_read_or_refused(
        text in "(bevy-traversal:|https://a/)?[a-z0-9.:%\\[\\]#/]{0,60}[/#%]{0,2}[A-Za-z0-9_+/=-]{40,46}",
    ) {
        if let Ok(invite) = read(&text) {
            prop_assert_eq!(read(&invite.to_string()), Ok(invite));
        }
    }
}
