//! Datagrams over TCP, for networks that let no UDP through: each has its length in front (u16, big endian).
//!
//! Nothing else changes: what is sealed for UDP is sealed the same way here, and what does not fit is dropped as
//! UDP may drop it. Both ends of a stream use the two halves in here; the sockets are their drivers' business.

use super::MAX_DATAGRAM;

/// So many bytes stand in front of each datagram, for its length.
const PREFIX: usize = 2;
/// This many bytes may wait for the other end to take them; then the newest datagrams are dropped. At what the relay
/// lets through at the most this is an eighth of a second: more would only be delay.
pub const STREAM_BACKLOG: usize = 64 * 1024;

/// Where a network lets nothing else out, the stream is one of TLS to this port of the server's address, and the same bytes
/// go through it: what company and hotel networks let out is what browsers need.
pub const TLS_PORT: u16 = 443;

/// The other end does not speak this: the stream is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a datagram of {length} bytes on a stream; at most {MAX_DATAGRAM} and at least 1 may come")]
pub struct StreamError {
    /// This length was announced, in bytes.
    pub length: usize,
}

/// Takes bytes as they come, and gives datagrams. Keeps less than one of them.
#[derive(Debug, Default)]
pub struct StreamReader {
    partial: Vec<u8>,
}

impl StreamReader {
    /// Takes what has come in; `each` gets every datagram that is complete now.
    ///
    /// # Errors
    /// When a length is out of range; nothing that comes after it can be understood.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            if !self.partial.is_empty() {
                let wanted = match length(&self.partial)? {
                    Some(length) => PREFIX + length - self.partial.len(),
                    None => PREFIX - self.partial.len(),
                };
                let (more, rest) = bytes.split_at(wanted.min(bytes.len()));
                self.partial.extend_from_slice(more);
                bytes = rest;
                if let Some(length) = length(&self.partial)?
                    && self.partial.len() == PREFIX + length
                {
                    each(&self.partial[PREFIX..]);
                    self.partial.clear();
                }
                continue;
            }
            match length(bytes)? {
                Some(length) if bytes.len() >= PREFIX + length => {
                    let (whole, rest) = bytes.split_at(PREFIX + length);
                    each(&whole[PREFIX..]);
                    bytes = rest;
                }
                _ => {
                    self.partial.extend_from_slice(bytes);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Returns the length at the front of `bytes`, where it is there already.
fn length(bytes: &[u8]) -> Result<Option<usize>, StreamError> {
    let Some(prefix) = bytes.first_chunk::<PREFIX>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*prefix));
    if (1..=MAX_DATAGRAM).contains(&length) { Ok(Some(length)) } else { Err(StreamError { length }) }
}

/// This is what is to be written, at most [`STREAM_BACKLOG`] bytes.
#[derive(Debug, Default)]
pub struct StreamWriter {
    bytes: Vec<u8>,
    written: usize,
}

impl StreamWriter {
    /// Puts a datagram in line; false when there is no room for it, or it has no valid length.
    pub fn push(&mut self, datagram: &[u8]) -> bool {
        if !(1..=MAX_DATAGRAM).contains(&datagram.len())
            || self.pending().len() + PREFIX + datagram.len() > STREAM_BACKLOG
        {
            return false;
        }
        if self.written > STREAM_BACKLOG {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        // Fits: `MAX_DATAGRAM` is below 2^16.
        self.bytes.extend_from_slice(&(datagram.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(datagram);
        true
    }

    /// Returns what is to be written next.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// This many bytes of it were written.
    pub fn advance(&mut self, written: usize) {
        self.written = (self.written + written).min(self.bytes.len());
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(datagrams: &[Vec<u8>]) -> Vec<u8> {
        let mut writer = StreamWriter::default();
        for datagram in datagrams {
            assert!(writer.push(datagram));
        }
        writer.pending().to_vec()
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, StreamError> {
        let (mut reader, mut got) = (StreamReader::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            reader.feed(piece, |datagram| got.push(datagram.to_vec()))?;
            assert!(reader.partial.len() < PREFIX + MAX_DATAGRAM);
        }
        Ok(got)
    }

    #[test]
    fn datagrams_come_out_as_they_went_in_however_the_bytes_are_cut() {
        let datagrams: Vec<Vec<u8>> =
            [1, 2, 255, 256, 257, 1200, MAX_DATAGRAM, 3].iter().map(|length| vec![7; *length]).collect();
        let bytes = written(&datagrams);
        for piece in [1, 2, 3, 5, 100, 1499, 1502, bytes.len()] {
            assert_eq!(read(&bytes, piece).unwrap(), datagrams, "in pieces of {piece}");
        }
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end], 64).unwrap().len() < datagrams.len(), "cut at {end}");
        }
    }

    #[test]
    fn a_length_out_of_range_is_an_error_and_nothing_is_kept_for_it() {
        for length in [0, MAX_DATAGRAM + 1, usize::from(u16::MAX)] {
            let mut bytes = written(&[vec![1; 9]]);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
            for piece in [1, 2, 64] {
                assert_eq!(read(&bytes, piece), Err(StreamError { length }), "in pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_the_other_end_does_not_take_is_dropped_and_memory_stays_bounded() {
        let mut writer = StreamWriter::default();
        assert!(!writer.push(&[]) && !writer.push(&[0; MAX_DATAGRAM + 1]));
        let fits = STREAM_BACKLOG / (1000 + PREFIX);
        assert_eq!((0..1000).filter(|_| writer.push(&[1; 1000])).count(), fits);
        for _ in 0..1000 {
            writer.advance(1002);
            assert!(writer.push(&[2; 1000]), "room for as much as was written");
            assert!(writer.bytes.len() <= 2 * STREAM_BACKLOG + 1002);
        }
        writer.advance(usize::MAX / 2);
        assert!(writer.pending().is_empty());
    }
}
