//! Public keys with which no secret can be agreed on.

/// These are the points of small order and what else stands for them (RFC 7748 section 6.1;
/// <https://cr.yp.to/ecdh.html#validate>), the topmost bit aside, which X25519 ignores: 0, 1, two of order eight, p -
/// 1, p and p + 1.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    near_p(0xec),
    near_p(0xed),
    near_p(0xee),
];

/// p = 2^255 - 19 ends with this byte, counted from the lowest, as 0xed.
const fn near_p(lowest: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = lowest;
    bytes[31] = 0x7f;
    bytes
}

/// Returns whether a secret can be agreed on with the owner of this X25519 key. With a key of small order the result
/// is the same whatever the other side's secret is.
pub fn contributes(key: &[u8; 32]) -> bool {
    let mut point = *key;
    point[31] &= 0x7f;
    !SMALL_ORDER.contains(&point)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    #[test]
    fn the_keys_of_small_order_are_those_with_which_nothing_can_be_agreed_on() {
        let own = Identity::from_secret([7; 32]);
        for point in SMALL_ORDER {
            for high_bit in [0, 0x80] {
                let mut key = point;
                key[31] |= high_bit;
                assert!(!contributes(&key) && own.diffie_hellman(&key).is_none(), "{key:?}");
            }
        }
        for secret in 1..=50 {
            let key = Identity::from_secret([secret; 32]).public_key();
            assert!(contributes(&key) && own.diffie_hellman(&key).is_some());
        }
    }
}
