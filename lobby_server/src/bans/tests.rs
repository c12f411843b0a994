use super::*;

const GAME: &str = "squares";

fn ban(whom: &str, game: Option<&str>, until: Option<u64>) -> Ban {
    Ban { whom: whom.parse().unwrap(), game: game.map(Into::into), until, since: 0, reason: "cheats".into() }
}

fn is_banned(bans: &Bans, now_s: u64, player: u8, ip: &str, game: &str) -> bool {
    bans.find(now_s, PlayerId([player; 16]), ip.parse().unwrap(), game).is_some()
}

#[test]
fn a_ban_is_of_a_player_or_of_all_addresses_in_a_prefix() {
    let mut bans = Bans::default();
    for whom in
        ["07".repeat(16).as_str(), "203.0.113.77/24", "198.51.100.9", "2001:db8:1:2::/56", "10.0.0.0/8"]
    {
        bans.add(0, ban(whom, None, None)).unwrap();
    }
    for (player, ip, banned) in [
        (7, "192.0.2.1", true),
        (8, "192.0.2.1", false),
        (8, "203.0.113.255", true),
        (8, "203.0.114.0", false),
        (8, "::ffff:203.0.113.1", true),
        (8, "198.51.100.9", true),
        (8, "198.51.100.8", false),
        (8, "2001:db8:1:ff::1", true),
        (8, "2001:db8:1:100::1", false),
        (8, "10.255.0.1", true),
    ] {
        assert_eq!(is_banned(&bans, 0, player, ip, GAME), banned, "{player} {ip}");
        let at_all = bans.has_address(0, ip.parse().unwrap());
        assert_eq!(at_all, banned && player != 7, "{ip}");
    }
    let shown: Vec<String> = bans.all().map(|ban| ban.whom.to_string()).collect();
    assert!(shown.contains(&"203.0.113.0/24".into()) && shown.contains(&"198.51.100.9".into()), "{shown:?}");
    for (text, error) in [
        ("9f3c", NotWhom::Text),
        ("203.0.113.0/33", NotWhom::Text),
        ("203.0.113.0/x", NotWhom::Text),
        ("+7070707070707070707070707070707", NotWhom::Text),
        ("0.0.0.0/0", NotWhom::TooWide),
        ("2001::/15", NotWhom::TooWide),
    ] {
        assert_eq!(text.parse::<Whom>(), Err(error), "{text}");
    }
}

#[test]
fn it_is_for_a_game_or_all_and_ends_and_is_lifted() {
    let mut bans = Bans::default();
    bans.add(0, ban("203.0.113.0/24", Some("chess"), Some(100))).unwrap();
    assert!(is_banned(&bans, 99, 1, "203.0.113.1", "chess"));
    assert!(!is_banned(&bans, 99, 1, "203.0.113.1", GAME), "another game");
    assert!(!bans.has_address(99, "203.0.113.1".parse().unwrap()), "not of all games");
    assert!(!is_banned(&bans, 100, 1, "203.0.113.1", "chess"), "it is over");
    // Of several the longest is told.
    bans.add(0, ban("203.0.113.0/25", None, Some(500))).unwrap();
    let found = bans.find(50, PlayerId([1; 16]), "203.0.113.1".parse().unwrap(), "chess").unwrap();
    assert_eq!(found.refusal(50), LoginRefusal::Banned { reason: "cheats".into(), left_s: Some(450) });
    // A second one of the same takes the place of the first.
    bans.add(0, ban("203.0.113.0/25", None, None)).unwrap();
    assert_eq!(bans.all().count(), 2);
    let whom = "203.0.113.0/25".parse().unwrap();
    assert_eq!(bans.lift(whom, Some("chess")), []);
    assert_eq!(bans.lift(whom, None).len(), 1);
    bans.forget_old(100);
    assert_eq!(bans, Bans::default(), "nothing is left of what is over");
}

#[test]
fn they_are_bounded_and_those_that_are_over_make_room() {
    let mut bans = Bans::default();
    for n in 0..MOST as u32 {
        let ip = Ipv4Addr::from_bits(0x0a00_0000 + n).to_string();
        bans.add(0, ban(&ip, None, Some(10 + u64::from(n % 2)))).unwrap();
    }
    let more = || ban("192.0.2.1", None, None);
    assert_eq!(bans.add(9, more()), Err(TooMany));
    assert_eq!(bans.add(9, ban("10.0.0.1", None, None)), Ok(()), "the same again");
    assert_eq!(bans.add(10, more()), Ok(()));
    assert_eq!(bans.all().count(), MOST / 2 + 1);
}

#[cfg(unix)]
#[test]
fn they_outlive_a_restart_and_a_damaged_file_bans_nobody_silently_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bans.json");
    let file = BansFile::new(path.clone());
    assert_eq!(file.read(0).unwrap(), Bans::default());
    let mut bans = Bans::default();
    bans.add(0, ban(&"07".repeat(16), Some(GAME), Some(50))).unwrap();
    bans.add(0, ban("2001:db8::/48", None, None)).unwrap();
    file.write(&bans).unwrap();
    assert_eq!(file.read(0).unwrap(), bans);
    assert_eq!(file.read(50).unwrap().all().count(), 1, "one is over");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    for damaged in ["", "[{}]", "{", r#"[{"whom":"nobody","game":null,"until":null,"since":0,"reason":""}]"#]
    {
        std::fs::write(&path, damaged).unwrap();
        let error = file.read(0).unwrap_err().to_string();
        assert!(error.contains("bans.json") && error.contains("move it away"), "{error}");
    }
}
