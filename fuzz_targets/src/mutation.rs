//! What becomes of a datagram on its way.

use arbitrary::{Arbitrary, Result, Unstructured};

/// Somebody on the way changes a datagram: a bit, a byte, its length, or all of it.
pub(crate) fn damage(u: &mut Unstructured<'_>, datagram: &mut Vec<u8>) -> Result<()> {
    match u.int_in_range(0..=4)? {
        0 if !datagram.is_empty() => {
            let (index, bit) = (u.choose_index(datagram.len())?, u.int_in_range(0..=7)?);
            datagram[index] ^= 1 << bit;
        }
        1 if !datagram.is_empty() => {
            let index = u.choose_index(datagram.len())?;
            datagram[index] = u8::arbitrary(u)?;
        }
        2 => datagram.truncate(u.int_in_range(0..=datagram.len())?),
        3 => datagram.extend(vec![u8::arbitrary(u)?; u.int_in_range(0..=64)?]),
        _ => {
            let length = u.int_in_range(0..=200)?;
            *datagram = u.bytes(length)?.to_vec();
        }
    }
    Ok(())
}
