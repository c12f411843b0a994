//! Texts of people and of attackers against the rules.

use proptest::prelude::*;

use super::*;

/// A text must not carry these to a screen: each has its name, the text, and what is left of it as a reason.
const ATTACKS: [(&str, &str, &str); 14] = [
    ("right-to-left override", "gnp.\u{202e}exe.ynnuf", "gnp.exe.ynnuf"),
    ("isolate", "a\u{2067}b\u{2069}c", "abc"),
    ("zero width only", "\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}", ""),
    ("zero width inside", "ad\u{200b}min", "admin"),
    ("tags", "Ann\u{e0041}\u{e0062}\u{e007f}", "Ann"),
    ("hidden bytes", "Ann\u{e0101}\u{e01ef}\u{fe01}", "Ann"),
    ("escape sequence", "\u{1b}[2J\u{1b}]0;title\u{7}", "[2J]0;title"),
    ("C1 control sequence", "\u{9b}2J", "2J"),
    ("NUL", "a\0b", "ab"),
    ("line breaks", "one\r\ntwo\u{2028}three\u{85}", "one  twothree"),
    ("Hangul filler", "\u{3164}\u{115f}\u{ffa0}", ""),
    ("Braille blank", "\u{2800} \u{2800}", ""),
    ("no character", "a\u{fffe}b\u{fdd0}c\u{1ffff}", "abc"),
    ("private use", "a\u{e000}b\u{f8ff}", "ab"),
];

#[test]
fn what_steers_hides_or_is_no_character_is_refused_or_left_out() {
    for (attack, text, left) in ATTACKS {
        let rules = [NAME, ROOM_NAME, REASON, MODE, GAME, METADATA_KEY, METADATA_VALUE];
        for rule in rules {
            let error = rule.check(text).expect_err(attack).to_string();
            assert!(error.starts_with(rule.what), "{attack}: {error}");
            assert!(!error.chars().any(is_forbidden), "{attack}: {error:?}");
        }
        assert_eq!(REASON.clean(text), left, "{attack}");
    }
    let error = NAME.check("a\u{202e}b").unwrap_err().to_string();
    assert!(error.contains("U+202E"), "{error}");
}

#[test]
fn marks_do_not_pile_up_over_their_line() {
    let pile = format!("Z{}algo", "\u{335}".repeat(10_000));
    let few = format!("Z{}algo", "\u{335}".repeat(30));
    assert!(matches!(NAME.check(&pile).unwrap_err().breach, Breach::TooLong { .. }));
    assert_eq!(REASON.check(&few).unwrap_err().breach, Breach::Marks);
    assert_eq!(NAME.clean(&pile), format!("Z{}algo", "\u{335}".repeat(4)));
    assert_eq!(NAME.clean(&"\u{301}".repeat(10_000)), "", "marks over nothing");
}

#[test]
fn what_people_write_is_kept() {
    for name in [
        "Ada",
        "Zoë",
        "Ng\u{1ec5}n Th\u{1ecb}",
        "Алёна",
        "山田 太郎",
        "नमस्ते",
        "שָׁלוֹם",
        "محمد",
        "❤️ 1️⃣",
        "한국어",
        "ก็",
    ] {
        assert_eq!(NAME.check(name).as_deref(), Ok(name), "{name}");
        assert_eq!(NAME.clean(name), name);
    }
    // Decomposed, as some keyboards and file systems have it, and with space around it.
    assert_eq!(NAME.check("  Zoe\u{308}\n").as_deref(), Ok("Zoë"));
    assert_eq!(NAME.check("\u{1112}\u{1161}\u{11ab}").as_deref(), Ok("한"));
}

#[test]
fn lengths_are_in_characters_and_in_bytes_and_an_error_says_both() {
    let error = ROOM_NAME.check(&"x".repeat(65)).unwrap_err().to_string();
    for part in ["room name", "64 characters", "64 bytes", "has 65 and 65"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(ROOM_NAME.check(&"山".repeat(21)).is_ok());
    assert!(ROOM_NAME.check(&"山".repeat(22)).is_err());
    // A clip ends with a whole character.
    assert_eq!(NAME.clean(&"x".repeat(1_000)), "x".repeat(32));
    assert_eq!(NAME.clean(&"é".repeat(1_000)), "é".repeat(24));
    assert_eq!(NAME.clean(&"🎮".repeat(1_000)), "🎮".repeat(12));
    // Longer only as it was typed.
    assert!(NAME.check(&"e\u{301}".repeat(24)).is_ok());
}

#[test]
fn names_that_look_the_same_are_one() {
    for (one, other) in [
        ("Café", "Cafe\u{301}"),
        ("Straße", "STRASSE"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("ｒｏｏｍ", "Room"),
        ("a  b", "A\u{3000}B"),
        ("paypal", "\u{440}\u{430}\u{443}\u{440}\u{430}l"),
        ("admin", "ad\u{200b}min"),
        ("room 10", "room lO"),
    ] {
        assert_eq!(look(one), look(other), "{one} {other}");
    }
    for (one, other) in [("room 1", "room 2"), ("Café", "Cafe"), ("ab", "a b"), ("Анна", "Anna")] {
        assert_ne!(look(one), look(other), "{one} {other}");
    }
}

#[test]
fn metadata_are_checked_piece_by_piece_and_together() {
    let map = |key: &str, value: &str| Metadata::from([(key.to_owned(), value.to_owned())]);
    assert_eq!(check_metadata(&map("mode", "Cafe\u{301}")), Ok(map("mode", "Café")));
    let error = check_metadata(&map("k", &"v".repeat(384))).unwrap_err().to_string();
    assert!(error.contains("384 bytes") && error.contains("385"), "{error}");
    for (key, value) in [("", "v"), ("k\n", "v\u{1b}"), ("\u{200b}", "v"), ("k", "a\nb")] {
        assert!(check_metadata(&map(key, value)).is_err(), "{key:?} {value:?}");
    }
}

proptest! {
    #[test]
    fn what_is_cleaned_is_valid_and_stays_as_it_is(text in ".{0,80}|[\\p{M}\\p{L}\\p{Cf}\\p{Cc} ]{0,80}") {
        for rule in [NAME, ROOM_NAME, REASON, METADATA_VALUE] {
            let clean = rule.clean(&text);
            prop_assert_eq!(&rule.clean(&clean), &clean);
            if rule.empty || !clean.is_empty() {
                prop_assert_eq!(rule.check(&clean), Ok(clean));
            }
            if let Ok(kept) = rule.check(&text) {
                prop_assert_eq!(&rule.clean(&text), &kept);
                prop_assert_eq!(rule.check(&kept), Ok(kept));
            }
        }
        prop_assert_eq!(look(&ROOM_NAME.clean(&text)), look(&ROOM_NAME.clean(&ROOM_NAME.clean(&text))));
    }
}
