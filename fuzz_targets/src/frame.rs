//! Every message of the wire, out of any bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;
use traversal_core::wire::handshake::{parse_unknown_session, refuse_unknown_session};
use traversal_core::wire::message::{Frame, Login, LoginReply, ToPlayer, ToServer};
use traversal_core::wire::pair::{PairMessage, match_of};
use traversal_core::wire::session::{MAX_FRAME, session_of};
use traversal_core::wire::{Kind, codec};

/// The first byte says which message the others are read as. What can be read can be written and read again, in no more
/// bytes than a frame has; and no part of it can be left out.
pub fn frame(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 6 {
        0 => message::<Frame<ToServer>>(bytes),
        1 => message::<Frame<ToPlayer>>(bytes),
        2 => message::<Login>(bytes),
        3 => message::<LoginReply>(bytes),
        4 => message::<PairMessage>(bytes),
        _ => in_clear(bytes),
    }
}

fn message<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if bytes.len() > MAX_FRAME {
        let _ = codec::decode::<T>(bytes);
        return;
    }
    let Ok(message) = codec::decode::<T>(bytes) else { return };
    let written = codec::encode(&message).expect("what was read can be written");
    let again: T = codec::decode(&written).expect("what was written can be read");
    // Compared as bytes: a rate may be no number, which is not equal to itself.
    assert_eq!(codec::encode(&again).as_ref(), Ok(&written), "the same comes out as went in");
    if let Some((_, shorter)) = written.split_last() {
        assert!(codec::decode::<T>(shorter).is_err(), "a message without its last byte is none");
    }
}

fn in_clear(datagram: &[u8]) {
    let _ = Kind::of(datagram);
    assert_eq!(session_of(datagram).is_some(), datagram.len() > 8);
    assert_eq!(match_of(datagram).is_some(), datagram.len() > 8);
    let _ = parse_unknown_session(datagram);
    if let Some(refusal) = refuse_unknown_session(datagram, |_| Some([7; 16])) {
        assert!(refusal.len() <= datagram.len(), "no answer is longer than what it answers");
        assert_eq!(
            parse_unknown_session(&refusal),
            Some((session_of(datagram).unwrap_or_default(), [7; 16]))
        );
    }
}
