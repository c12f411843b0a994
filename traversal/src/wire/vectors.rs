//! The published vectors of what everything here is made of, through the same crates and features that the code uses.

mod wycheproof;

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;

use super::handshake::builder;
use crate::Identity;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The vector is that of this suite in the collection of cacophony (github.com/centromere/cacophony), which Noise
/// implementations share.
#[test]
fn noise_ik_is_the_published_one() {
    let prologue = hex("4a6f686e2047616c74");
    let ours = |secret: &str, ephemeral: &str| (hex(secret), hex(ephemeral));
    let (initiator, ephemeral) = ours(
        "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1",
        "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
    );
    let (responder, answering) = ours(
        "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893",
        "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
    );
    let remote = hex("31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62");
    assert_eq!(remote, Identity::from_secret(responder.clone().try_into().unwrap()).public_key());
    let with_prologue = || builder([0; 32], None).unwrap().prologue(&prologue).unwrap();
    let mut initiator = with_prologue()
        .local_private_key(&initiator)
        .unwrap()
        .remote_public_key(&remote)
        .unwrap()
        .fixed_ephemeral_key_for_testing_only(&ephemeral)
        .build_initiator()
        .unwrap();
    let mut responder = with_prologue()
        .local_private_key(&responder)
        .unwrap()
        .fixed_ephemeral_key_for_testing_only(&answering)
        .build_responder()
        .unwrap();
    let messages = [
        (
            "4c756477696720766f6e204d69736573",
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944718da798efbcd91528520204\
        f904b9bd6c7413dccdc214d951e15253e39987f18146e8cd0873654207148333479d4d16c289f0294b29960a\
        72f48e0b7bba2e89083169825e59642148d492020664ccf7",
        ),
        (
            "4d757272617920526f746862617264",
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088435361e70b2ed446e6c9ec387d\
        1d6b3b840f194e373979d241b203c4acafccf5",
        ),
        ("462e20412e20486179656b", "050e9f3c8fac16b68dbce8f8c4bfbf6617c897f9ada4aa29aa19c8"),
        ("4361726c204d656e676572", "344233a6cabb7141d80f3da2fedc311d9646bbb0f505afe403a667"),
        (
            "4a65616e2d426170746973746520536179",
            "62cdeeb172ad7ade7aa7d9e069da5790f12331bfa00177787a1d0810c67dc3b2b4",
        ),
        (
            "457567656e2042f6686d20766f6e2042617765726b",
            "029bead1b40992327044d409d9a1f3ad8f36c3c452775d557e18bbeb2e8dfcead32d514024",
        ),
    ]
    .map(|(payload, sealed)| (hex(payload), hex(sealed)));
    let (mut out, mut back) = ([0; 200], [0; 200]);
    let check = |sent: &[u8], read: &[u8], (payload, sealed): &(Vec<u8>, Vec<u8>)| {
        assert_eq!(sent, sealed);
        assert_eq!(read, payload);
    };
    let length = initiator.write_message(&messages[0].0, &mut out).unwrap();
    let read = responder.read_message(&out[..length], &mut back).unwrap();
    check(&out[..length], &back[..read], &messages[0]);
    let length = responder.write_message(&messages[1].0, &mut out).unwrap();
    let read = initiator.read_message(&out[..length], &mut back).unwrap();
    check(&out[..length], &back[..read], &messages[1]);
    assert_eq!(
        initiator.get_handshake_hash(),
        hex("0b0f68fb0c27e03ce9b97565995ed4838cc0581b762ef72b062f6a546419fad7")
    );
    let sides = [initiator, responder].map(|side| side.into_stateless_transport_mode().unwrap());
    for (index, message) in messages[2..].iter().enumerate() {
        let (from, to) = (&sides[index % 2], &sides[1 - index % 2]);
        let counter = (index / 2) as u64;
        let length = from.write_message(counter, &message.0, &mut out).unwrap();
        let read = to.read_message(counter, &out[..length], &mut back).unwrap();
        check(&out[..length], &back[..read], message);
    }
}

/// The vector is that of RFC 8439 section 2.8.2.
#[test]
fn chacha20_poly1305_is_that_of_rfc_8439() {
    let cipher = ChaCha20Poly1305::new(Key::from_slice(&hex(
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
    )));
    let nonce = hex("070000004041424344454647");
    let header = hex("50515253c0c1c2c3c4c5c6c7");
    let plain =
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
        sunscreen would be it.";
    let sealed =
        hex("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69\
        da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad67594\
        5585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116");
    let tag = hex("1ae10b594f09e26a7e902ecbd0600691");
    let mut content = plain.to_vec();
    let made = cipher.encrypt_in_place_detached(Nonce::from_slice(&nonce), &header, &mut content).unwrap();
    assert_eq!((&content, made.as_slice()), (&sealed, tag.as_slice()));
    let tag = Tag::clone_from_slice(&tag);
    cipher.decrypt_in_place_detached(Nonce::from_slice(&nonce), &header, &mut content, &tag).unwrap();
    assert_eq!(content, plain);
    content = sealed;
    content[0] ^= 1;
    assert!(
        cipher.decrypt_in_place_detached(Nonce::from_slice(&nonce), &header, &mut content, &tag).is_err()
    );
}

/// The vectors are those of RFC 5869 appendix A, test cases 1 to 3: key, salt, info, pseudorandom key, output.
#[test]
fn hkdf_is_that_of_rfc_5869() {
    let vectors = [
        [
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ],
        [
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b\
        2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
            "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b\
        8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
            "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadb\
        dcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c6\
        5e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ],
        [
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "",
            "",
            "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ],
    ];
    for [ikm, salt, info, prk, okm] in vectors.map(|vector| vector.map(hex)) {
        let (extracted, hkdf) = Hkdf::<Sha256>::extract(Some(&salt), &ikm);
        assert_eq!(extracted.as_slice(), prk);
        let mut out = vec![0; okm.len()];
        hkdf.expand(&info, &mut out).unwrap();
        assert_eq!(out, okm);
    }
}
