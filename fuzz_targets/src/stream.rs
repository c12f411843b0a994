//! Datagrams over TCP, however the bytes are cut.

use traversal_core::wire::MAX_DATAGRAM;
use traversal_core::wire::stream::{STREAM_BACKLOG, StreamError, StreamReader, StreamWriter};

/// The first four bytes say into which pieces the others are cut, in turn.
pub fn stream(data: &[u8]) {
    let Some((cuts, bytes)) = data.split_first_chunk::<4>() else { return };
    let (whole, whole_end) = read([bytes].into_iter());
    let mut rest = bytes;
    let mut cuts = cuts.iter().cycle();
    let pieces = std::iter::from_fn(|| {
        let wanted = 1 + usize::from(*cuts.next()?);
        let (piece, later) = rest.split_at(wanted.min(rest.len()));
        rest = later;
        (!piece.is_empty()).then_some(piece)
    });
    let (cut, cut_end) = read(pieces);
    assert_eq!((&whole, whole_end), (&cut, cut_end), "cuts change nothing");
    let framed: usize = whole.iter().map(|datagram| 2 + datagram.len()).sum();
    assert!(framed <= bytes.len(), "nothing comes out that did not come in");
    if whole_end.is_ok() {
        assert!(bytes.len() - framed < 2 + MAX_DATAGRAM, "less than one datagram is kept");
    }

    // What was read is written as it was.
    let mut writer = StreamWriter::default();
    let mut at = 0;
    for datagram in &whole {
        assert!((1..=MAX_DATAGRAM).contains(&datagram.len()));
        if !writer.push(datagram) {
            let waits = writer.pending().len();
            assert!(waits + 2 + datagram.len() > STREAM_BACKLOG, "there was room");
            writer.advance(waits);
            assert!(writer.push(datagram), "there is room");
            at += waits;
        }
        assert!(writer.pending().len() <= STREAM_BACKLOG);
    }
    assert_eq!(writer.pending(), &bytes[at..framed]);
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Result<(), StreamError>) {
    let (mut reader, mut got) = (StreamReader::default(), Vec::new());
    for piece in pieces {
        if let Err(error) = reader.feed(piece, |datagram| got.push(datagram.to_vec())) {
            return (got, Err(error));
        }
    }
    (got, Ok(()))
}
