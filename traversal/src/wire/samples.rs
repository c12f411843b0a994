//! The bytes of every message, nailed down: a sample of each variant of each type that is on the wire, written as it was when
//! the version of the wire was last raised (`samples/bytes.txt`).

mod listing;
mod parts;
mod topics;
mod values;

use std::any::type_name;
use std::fmt::{Debug, Write as _};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{self, CodecError};
use super::{MAX_CONTROL, VERSION};

/// This environment variable is set to write the file anew.
const WRITE: &str = "WRITE_SAMPLES";
/// This is its value while no release has this version of the wire: bytes may change without a new version.
const UNRELEASED: &str = "unreleased";

/// This is a message, with its bytes.
struct Sample {
    /// This is type and variant, as docs/protocol.md names them.
    name: String,
    bytes: Vec<u8>,
    /// Reads some bytes as this type and writes what was read.
    again: fn(&[u8]) -> Result<Vec<u8>, CodecError>,
}

#[derive(Default)]
struct Samples(Vec<Sample>);

impl Samples {
    /// Puts in a value of a type on the wire; it is read as it was written.
    fn put<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, value: T) {
        let path = type_name::<T>().split('<').next().unwrap_or_default();
        let of_type = path.rsplit("::").next().unwrap_or_default();
        let told = format!("{value:?}");
        let variant = told.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let name = if variant == of_type { of_type.to_owned() } else { format!("{of_type}::{variant}") };
        let bytes = codec::encode(&value).expect("fits a datagram");
        assert_eq!(codec::decode::<T>(&bytes).as_ref(), Ok(&value));
        let again = |bytes: &[u8]| codec::encode(&codec::decode::<T>(bytes)?);
        self.0.push(Sample { name, bytes, again });
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn file() -> String {
    let lines = values::all().0.into_iter().map(|sample| format!("{} {}\n", sample.name, hex(&sample.bytes)));
    format!("version {VERSION}\n{}", lines.collect::<String>())
}

#[test]
fn every_message_has_the_bytes_that_it_had_in_this_version() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/wire/samples/bytes.txt");
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    let now = file();
    if kept == now {
        return;
    }
    let lost: Vec<&str> = kept.lines().filter(|line| !now.lines().any(|new| new == *line)).collect();
    let write = std::env::var(WRITE).unwrap_or_default();
    let may = lost.is_empty() || !kept.starts_with(&format!("version {VERSION}\n")) || write == UNRELEASED;
    if may && !write.is_empty() {
        std::fs::write(path, now).expect("the file can be written");
        return;
    }
    panic!(
        "the wire has changed: players and servers of one version would not understand each other. Raise VERSION in \
         traversal/src/wire/mod.rs, describe the change in docs/protocol.md and CHANGELOG.md, then run this test once \
         with {WRITE}=1. (Samples that are only new need no new version; while this version is in no release, \
         {WRITE}={UNRELEASED} will do.) Not written any more:\n{}",
        lost.join("\n")
    );
}

#[test]
fn damaged_messages_never_panic_and_what_is_read_is_written_shorter_than_a_datagram() {
    for Sample { name, bytes, again } in values::all().0 {
        assert!(bytes.len() <= MAX_CONTROL, "{name} has {} bytes", bytes.len());
        for length in 0..bytes.len() {
            assert!(again(&bytes[..length]).is_err(), "{name} is read from its first {length} bytes");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xfa, 0xfb, 0xfc, 0xfd, 0xff, bytes[at].wrapping_add(1)] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                if let Ok(written) = again(&damaged) {
                    assert!(written.len() <= MAX_CONTROL, "{name} with {value} at {at}");
                }
            }
        }
    }
}
