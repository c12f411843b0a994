//! Names of players: fit to be shown, and told apart.

use bevy_traversal::text::{NAME, Rule};

use super::MAX_PLAYERS;
use crate::scene::BOT;

/// A name has so many bytes at the most.
pub const MAX_NAME: usize = 24;

/// Returns a name fit to be shown: it has nothing that steers or hides, is bounded, and never empty.
pub fn clean_name(name: &str) -> String {
    let clean = Rule { bytes: MAX_NAME, ..NAME }.clean(name);
    if clean.is_empty() { String::from("player") } else { clean }
}

/// Returns a name that is not taken: a second Ann is "Ann 2".
pub(super) fn unlike(name: String, taken: impl Fn(&str) -> bool) -> String {
    if !taken(&name) {
        return name;
    }
    // What marks computer players stays at the end.
    let (own, bot) = name.strip_suffix(BOT).map_or((name.as_str(), ""), |own| (own, BOT));
    let numbered = (2..).map(|number| {
        let tail = format!(" {number}{bot}");
        let mut own = own.to_owned();
        while own.len() + tail.len() > MAX_NAME {
            own.pop();
        }
        own.trim_end().to_owned() + &tail
    });
    // There are never as many players as numbers to try.
    numbered.take(MAX_PLAYERS + 1).find(|name| !taken(name)).unwrap_or(name)
}
