//! Remembers multiplications on the curve, for fuzzing alone: cargo-fuzz sets `--cfg fuzzing`, nobody else does.
//!
//! Targets begin every execution with the same logins of the same players. The results are those of the curve, so nothing
//! else is different: what takes most of an execution is looked up.

use std::cell::RefCell;
use std::collections::HashMap;

/// So many results are remembered; then all are forgotten.
const MOST: usize = 4096;

thread_local! {
    static KNOWN: RefCell<HashMap<([u8; 32], [u8; 32]), [u8; 32]>> = RefCell::default();
}

/// Returns what was made of this secret and this point before, or makes it now.
pub(super) fn remembered(secret: &[u8; 32], point: &[u8; 32], make: impl FnOnce() -> [u8; 32]) -> [u8; 32] {
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= MOST {
            known.clear();
        }
        *known.entry((*secret, *point)).or_insert_with(make)
    })
}
