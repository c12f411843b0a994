//! The codec of control messages: bincode, in this file alone, so that it can be replaced here.

use bincode::config;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::MAX_CONTROL;

/// A message could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message does not fit the wire format")]
pub struct CodecError;

/// bincode counts what a value takes in memory, not in the datagram: 8 bytes for each length and each `u64`, which may be one
/// byte there, and 16 for a `u128`. With this much, whatever fits a datagram can be read.
const MEMORY: usize = 16 * MAX_CONTROL;

/// Integers are little-endian and of variable length, and decoding never takes more than [`MEMORY`] bytes, whatever the
/// lengths in the input claim.
const CONFIG: config::Configuration<config::LittleEndian, config::Varint, config::Limit<MEMORY>> =
    config::standard().with_limit::<MEMORY>();

/// Encodes a message.
///
/// # Errors
/// When it is longer than [`MAX_CONTROL`] bytes.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(message, CONFIG).map_err(|_| CodecError)?;
    if bytes.len() > MAX_CONTROL { Err(CodecError) } else { Ok(bytes) }
}

/// Reads a message from the front of `bytes`; what follows is padding.
///
/// # Errors
/// When it is not a whole message, or asks for more memory than any message of a datagram's length does.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    bincode::serde::decode_from_slice(bytes, CONFIG).map(|(message, _)| message).map_err(|_| CodecError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::message::{Frame, ToPlayer, ToServer};

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
            let _ = decode::<Frame<ToServer>>(&bytes);
            let _ = decode::<Frame<ToPlayer>>(&bytes);
        }
    }

    #[test]
    fn whatever_fits_a_datagram_can_be_read() {
        use crate::wire::message::{Response, RoomSummary};
        let room = |name: usize| RoomSummary {
            spectators: 64,
            spectator_limit: 64,
            dedicated: false,
            name: name.to_string(),
            code: "ABCDEF".into(),
            host_name: "p".into(),
            members: 1,
            capacity: 2,
            password: false,
            ..RoomSummary::default()
        };
        let page = |count| Response::Rooms { rooms: (0..count).map(room).collect(), next: None };
        let fits = (1..).take_while(|count| encode(&page(*count)).is_ok()).last().unwrap();
        assert!(fits > 40, "{fits}");
        for count in 1..=fits {
            assert_eq!(decode::<Response>(&encode(&page(count)).unwrap()), Ok(page(count)), "{count} rooms");
        }
        // The shortest encoding of what takes most.
        let numbers = vec![0u128; MAX_CONTROL - 8];
        assert_eq!(decode::<Vec<u128>>(&encode(&numbers).unwrap()), Ok(numbers));
    }

    #[test]
    fn a_claimed_length_does_not_allocate() {
        // 0xfd: a 64-bit length follows.
        let bomb = [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(decode::<Vec<u8>>(&bomb), Err(CodecError));
        assert_eq!(decode::<String>(&bomb), Err(CodecError));
    }

    #[test]
    fn padding_is_ignored_and_truncation_is_not() {
        let mut bytes = encode(&Frame::<ToServer>::Ping { id: 7 }).unwrap();
        assert_eq!(decode::<Frame<ToServer>>(&bytes[..bytes.len() - 1]), Err(CodecError));
        bytes.extend_from_slice(&[0; 40]);
        assert_eq!(decode::<Frame<ToServer>>(&bytes), Ok(Frame::Ping { id: 7 }));
    }
}
