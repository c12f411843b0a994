use proptest::prelude::*;
use snow::types::Dh;

use super::*;

/// Returns the implementations that run here: both, or the portable one alone.
fn all() -> Vec<Implementation> {
    let mut all = vec![Implementation::Portable];
    if Implementation::here() == Implementation::Assembly {
        all.push(Implementation::Assembly);
    } else {
        eprintln!("SKIPPED the assembly: the feature is off, or the processor lacks what it needs");
    }
    all
}

/// RFC 7748 section 5.2.
#[test]
fn the_curve_is_the_published_one() {
    let key = |text: &str| -> [u8; 32] {
        std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
    };
    let cases = [
        [
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ],
        [
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ],
    ];
    for curve in all() {
        for [secret, point, result] in cases.map(|case| case.map(key)) {
            assert_eq!(*curve.shared_secret(&secret, &point).unwrap(), result, "{curve}");
        }
    }
}

#[test]
fn a_handshake_takes_no_key_that_contributes_nothing() {
    let mut curve = Curve::default();
    curve.set(&[7; 32]);
    let mut out = [0xaa; 32];
    assert!(curve.dh(&[0; 32], &mut out).is_err());
    assert_eq!(out, [0xaa; 32], "nothing was written");
    assert!(curve.dh(&public_key(&[8; 32]), &mut out).is_ok());
}

/// The public key that is given along is taken for its own secret alone.
#[test]
fn another_secret_has_another_public_key() {
    let (own, other) = (public_key(&[7; 32]), public_key(&[8; 32]));
    let mut curve = Curve::knowing(&[7; 32], own);
    curve.set(&[7; 32]);
    assert_eq!(curve.pubkey(), own);
    let mut curve = Curve::knowing(&[7; 32], own);
    curve.set(&[8; 32]);
    assert_eq!(curve.pubkey(), other);
}

proptest! {
    /// All implementations are one function, for keys that nobody would make as well.
    #[test]
    fn implementations_agree(secret: [u8; 32], point: [u8; 32]) {
        let first = Implementation::Portable;
        for curve in all() {
            prop_assert_eq!(curve.public_key(&secret), first.public_key(&secret));
            prop_assert_eq!(curve.shared_secret(&secret, &point), first.shared_secret(&secret, &point));
        }
    }
}
