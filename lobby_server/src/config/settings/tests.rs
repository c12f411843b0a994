//! Where settings come from, and what wins.

use super::*;

#[derive(Serialize)]
struct Flags {
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<SocketAddr>,
}

#[test]
fn flags_win_over_the_file_and_unknown_keys_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lobby.toml");
    std::fs::write(
        &file,
        "bind = \"127.0.0.1:0\"\ngames = [\"a\", \"b\"]\nhttp = \"127.0.0.1:1\"\nmax_rooms = 3\n",
    )
    .unwrap();
    let settings = Settings::load(Some(&file), Flags { http: None }).unwrap();
    assert_eq!(settings.bind, ["127.0.0.1:0".parse().unwrap()]);
    assert_eq!(settings.games, ["a", "b"]);
    assert_eq!(settings.http, "127.0.0.1:1".parse().unwrap());
    assert_eq!(settings.server().max_rooms, 3);
    let flags = Flags { http: Some("127.0.0.1:2".parse().unwrap()) };
    let mapped = Flags { http: Some("[::ffff:127.0.0.1]:2".parse().unwrap()) };
    assert_eq!(Settings::load(None, mapped).unwrap().http, "127.0.0.1:2".parse().unwrap());
    assert_eq!(Settings::load(Some(&file), flags).unwrap().http, "127.0.0.1:2".parse().unwrap());

    std::fs::write(&file, "bund = \"127.0.0.1:0\"\n").unwrap();
    let error = Settings::load(Some(&file), Flags { http: None }).unwrap_err();
    let text = crate::check::chain(&error);
    assert!(text.contains("\"bund\"") && text.contains("the nearest is \"bind\""), "{text}");
    assert!(text.contains("lobby.toml"), "{text}");
    assert!(Settings::load(Some(&directory.path().join("none.toml")), Flags { http: None }).is_err());
}

fn environment(variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Settings::from_sources(None, &Environment::of(variables), Flags { http: None })
}

#[test]
fn the_environment_is_read_as_people_write_it() {
    let settings = environment(&[
        ("LOBBY_TOKEN", "0012345"),
        ("LOBBY_NO_TCP", "1"),
        ("LOBBY_NO_HTTP", "yes"),
        ("LOBBY_STUN", "Off"),
        ("LOBBY_GAMES", "7, chess"),
        ("LOBBY_BIND", "[::1]:3478,127.0.0.1:3478"),
        ("LOBBY_SECOND_PORT", "5000"),
        ("LOBBY_RELAY", "never"),
        ("LOBBY_RELAY_GAMES", "{chess=\"only\"}"),
        ("LOBBY_CONFIG", "read elsewhere"),
        ("LOBBY_SERVICE_HOST", "10.0.0.1"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    assert_eq!(settings.token.as_ref().map(|token| token.as_str()), Some("0012345"));
    assert!(settings.no_tcp && settings.no_http && !settings.stun);
    assert_eq!(settings.games, ["7", "chess"]);
    assert_eq!(settings.bind, ["[::1]:3478".parse().unwrap(), "127.0.0.1:3478".parse().unwrap()]);
    assert_eq!((settings.second_port, settings.relay), (Some(5000), RelayMode::Never));
    assert_eq!(settings.relay_games["chess"], RelayMode::Only);
    for (name, value, said) in [
        (
            "LOBBY_MAX_SESSION",
            "5",
            "LOBBY_MAX_SESSION in the environment is no setting; the nearest is LOBBY_MAX_SESSIONS",
        ),
        ("LOBBY_NO_TCP", "maybe", "LOBBY_NO_TCP"),
        ("LOBBY_SECOND_PORT", "first", "LOBBY_SECOND_PORT"),
        ("LOBBY_COLOUR", "red", "lobby.example.toml"),
        ("LOBBY_TOKEN", "", "leave it out"),
    ] {
        let text = crate::check::chain(&environment(&[(name, value)]).unwrap_err());
        assert!(text.contains(said), "{name}={value}: {text}");
    }
}

#[test]
fn a_file_may_say_numbers_and_truth_in_quotes_and_texts_without() {
    let read = |text: &str| {
        let figment = Figment::from(Serialized::defaults(Settings::default())).merge(Toml::string(text));
        Settings::read(&figment)
    };
    let settings =
        read("token = 12345\nno_tcp = \"yes\"\nstun = 0\nmax_rooms = \"7\"\ngames = [1, \"b\"]").unwrap();
    assert_eq!(settings.token.as_ref().map(|token| token.as_str()), Some("12345"));
    assert!(settings.no_tcp && !settings.stun);
    assert_eq!((settings.max_rooms, settings.games), (7, vec!["1".into(), "b".into()]));
    let text = crate::check::chain(&read("token = 1.50").unwrap_err());
    assert!(text.contains("quotes"), "what was written is not known any more: {text}");
}

#[test]
fn the_example_file_says_the_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("lobby.example.toml");
    assert_eq!(Settings::load(Some(&file), Flags { http: None }).unwrap(), Settings::default());
    let text = std::fs::read_to_string(file).unwrap();
    for key in defaults().keys() {
        assert!(text.contains(key), "{key} is missing");
    }
}
