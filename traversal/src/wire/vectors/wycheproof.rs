//! Wycheproof's cases (github.com/C2SP/wycheproof): what published vectors leave out, such as points of low order, keys
//! that are not reduced, tags that almost fit. Every case is judged and counted; one that a type cannot even hold counts as
//! refused.

use ::wycheproof::{TestResult, aead, hkdf as key_derivation, xdh};
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use snow::types::Dh;

use crate::Identity;
use crate::wire::curve::Curve;

/// This says how the cases of one file came out.
#[derive(Debug, Default, PartialEq)]
struct Count {
    /// The result is the published one.
    right: usize,
    /// So many were refused that are to be.
    refused: usize,
}

impl Count {
    fn all(&self) -> usize {
        self.right + self.refused
    }
}

/// The keys are tested between players ([`Identity::diffie_hellman`]) and in the Noise handshake. A shared secret of
/// zeros is acceptable to Wycheproof; here it is refused (RFC 7748 section 6.1).
#[test]
fn x25519_stands_wycheproof() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let mut count = Count::default();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let secret: [u8; 32] = test.private_key[..].try_into().unwrap();
        let Ok(public) = <[u8; 32]>::try_from(&test.public_key[..]) else {
            assert!(test.result.must_fail(), "case {}: no key of another length is right", test.tc_id);
            count.refused += 1;
            continue;
        };
        let mut curve = Curve::default();
        curve.set(&secret);
        let mut of_noise = [0; 32];
        let taken = curve.dh(&public, &mut of_noise).is_ok();
        assert_eq!(of_noise, test.shared_secret[..], "case {}: {}", test.tc_id, test.comment);
        let ours = Identity::from_secret(secret).diffie_hellman(&public);
        if test.shared_secret.iter().all(|byte| *byte == 0) {
            assert!(ours.is_none() && !taken, "case {}: {}", test.tc_id, test.comment);
            count.refused += 1;
        } else {
            assert_eq!(ours.unwrap()[..], test.shared_secret[..], "case {}: {}", test.tc_id, test.comment);
            assert_ne!(test.result, TestResult::Invalid);
            count.right += 1;
        }
    }
    assert_eq!(count.all(), set.number_of_tests);
    assert_eq!(count, Count { right: 487, refused: 31 });
}

#[test]
fn chacha20_poly1305_stands_wycheproof() {
    let set = aead::TestSet::load(aead::TestName::ChaCha20Poly1305).unwrap();
    let mut count = Count::default();
    for group in &set.test_groups {
        for test in &group.tests {
            let [key, nonce] = [&test.key[..], &test.nonce[..]];
            if nonce.len() != 12 || key.len() != 32 || test.tag.len() != 16 {
                assert_eq!(test.result, TestResult::Invalid, "case {}: {}", test.tc_id, test.comment);
                count.refused += 1;
                continue;
            }
            let cipher = ChaCha20Poly1305::new(Key::from_slice(key));
            let nonce = Nonce::from_slice(nonce);
            let mut opened = test.ct.to_vec();
            let tag = Tag::from_slice(&test.tag);
            let fits = cipher.decrypt_in_place_detached(nonce, &test.aad, &mut opened, tag).is_ok();
            assert_eq!(fits, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            if !fits {
                count.refused += 1;
                continue;
            }
            assert_eq!(opened, test.pt[..], "case {}: {}", test.tc_id, test.comment);
            let made = cipher.encrypt_in_place_detached(nonce, &test.aad, &mut opened).unwrap();
            assert_eq!((&opened[..], &made[..]), (&test.ct[..], &test.tag[..]), "case {}", test.tc_id);
            count.right += 1;
        }
    }
    assert_eq!(count.all(), set.number_of_tests);
    assert_eq!(count, Count { right: 256, refused: 69 });
}

#[test]
fn hkdf_sha256_stands_wycheproof() {
    let set = key_derivation::TestSet::load(key_derivation::TestName::HkdfSha256).unwrap();
    let mut count = Count::default();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut made = vec![0; test.size];
        let fits = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut made).is_ok();
        assert_eq!(fits, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
        if fits {
            assert_eq!(made, test.okm[..], "case {}: {}", test.tc_id, test.comment);
            count.right += 1;
        } else {
            count.refused += 1;
        }
    }
    assert_eq!(count.all(), set.number_of_tests);
    assert_eq!(count, Count { right: 83, refused: 3 });
}
