//! How many files and sockets the process may have open, so that a search by many sockets leaves the game some.
//!
//! macOS and iOS let a process open 256 files unless it asks for more, and a library does not change the process that it
//! is in: the search has fewer sockets there instead.

/// Descriptors that a search leaves for the game: assets that are being loaded, sound, saved games, logs.
const FOR_THE_GAME: u64 = 64;

/// Returns how many further sockets may be opened now; none: the system has no such limit.
pub(crate) fn spare() -> Option<usize> {
    let limit = traversal_udp::descriptors::limit()?;
    usize::try_from(spare_of(limit, traversal_udp::descriptors::open())).ok()
}

fn spare_of(limit: u64, open: u64) -> u64 {
    limit.saturating_sub(open).saturating_sub(FOR_THE_GAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_descriptors_is_left_for_the_game() {
        // What macOS gives (256) with a game that has 60 files open, what shells on Linux give (1024), and a game that
        // has used up nearly all itself.
        assert_eq!(spare_of(256, 60), 132);
        assert_eq!(spare_of(1024, 100), 860);
        assert_eq!(spare_of(256, 250), 0);
    }
}
