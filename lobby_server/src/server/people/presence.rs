//! What a player is told of its contacts: only of those who allow it, as it allows them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;
use traversal_core::wire::message::{ContactNews, Presence, ToPlayer};

use super::contacts::{Contacts, Known, PUSHES};
use super::post::{Envelope, Post, Word};
use super::{Around, timer};

/// News in one message take so many bytes, so that they fit a datagram with its headers.
const BUDGET: usize = 1_000;
/// A player that has not acknowledged what it was told is told more after so long.
const BACKED_UP: Duration = Duration::from_secs(2);

/// This is what is heard of a player.
pub(super) struct News<'a> {
    pub(super) game: &'a str,
    pub(super) of: PlayerId,
    /// The player is at this node.
    pub(super) node: u64,
    /// The player is in this way on line; `None`: it is not, or does not allow the other one any more.
    pub(super) state: Option<Arc<Presence>>,
}

impl Contacts {
    /// A player's node has told this one's how that player is. It is for nobody who does not allow it, and only those who do
    /// are known to its node at all: to others there is no answer.
    pub(super) fn learn(&mut self, post: &mut Post, player: PlayerId, news: &News<'_>, answer: bool) {
        let Some(entry) = self.entries.get_mut(&player) else { return };
        if entry.game != news.game || !entry.allows.contains(&news.of) {
            return;
        }
        match &news.state {
            Some(state) => {
                entry.known.insert(news.of, Known { node: news.node, state: state.clone() });
            }
            // It has gone on to another node, which was faster to tell.
            None if entry.known.get(&news.of).is_some_and(|known| known.node != news.node) => return,
            None => _ = entry.known.remove(&news.of),
        }
        if let Some((_, unsure)) = &mut entry.unsure {
            unsure.remove(&news.of);
        }
        entry.news.insert(news.of);
        self.unflushed.insert(player);
        if answer && let Some(state) = entry.told() {
            let word = Word::Presence { state: Some(state.clone()), answer: false };
            let to = vec![news.of];
            post.push(Envelope { game: entry.game.clone(), from: player, word, to, far_only: false });
        }
    }

    /// These nodes are gone: who was there is off line until another node tells.
    pub(super) fn nodes_gone(&mut self, gone: &BTreeSet<u64>) {
        for (player, entry) in &mut self.entries {
            let lost = entry.known.extract_if(.., |_, known: &mut Known| gone.contains(&known.node));
            let lost: Vec<PlayerId> = lost.map(|(contact, _)| contact).collect();
            if !lost.is_empty() {
                entry.news.extend(lost);
                self.unflushed.insert(*player);
            }
        }
    }

    /// Tells all players the news of their contacts that have come since the last time.
    pub(super) fn flush_all(&mut self, around: &mut Around<'_>) {
        for player in std::mem::take(&mut self.unflushed) {
            self.flush(around, player);
        }
    }

    /// Whom nobody has confirmed in time is off line.
    pub(super) fn doubt(&mut self, now: Instant, player: PlayerId) {
        let Some(entry) = self.entries.get_mut(&player) else { return };
        if let Some((_, unsure)) = entry.unsure.take_if(|(until, _)| *until <= now) {
            for contact in unsure {
                entry.known.remove(&contact);
                entry.news.insert(contact);
            }
        }
    }

    /// Tells a player the news of its contacts: some now, and the others as its rate allows.
    fn flush(&mut self, around: &mut Around<'_>, player: PlayerId) {
        let now = around.cx.now;
        let Some(entry) = self.entries.get_mut(&player) else { return };
        loop {
            let (mut news, mut size) = (Vec::new(), 0);
            while let Some(contact) = entry.news.first().copied() {
                let (known, shown) = (entry.known.get(&contact), entry.shown.get(&contact));
                let state = known.map(|known| &known.state);
                if state != shown {
                    let presence = state.map(|state| Presence::clone(state));
                    let one = ContactNews { player: contact, presence };
                    size += size_of_news(&one);
                    if size > BUDGET && !news.is_empty() {
                        break;
                    }
                    news.push(one);
                }
                entry.news.pop_first();
            }
            if news.is_empty() {
                break;
            }
            let again = if !entry.pushes.take(PUSHES, now) {
                Some(Duration::from_secs_f64(1.0 / PUSHES.per_second))
            } else {
                let told = around.roster.try_tell(around.cx, player, ToPlayer::Contacts(news.clone()));
                around.cx.counters.contacts_told += u64::from(told);
                (!told).then_some(BACKED_UP)
            };
            if let Some(again) = again {
                entry.news.extend(news.iter().map(|one| one.player));
                around.cx.timers.set_earlier(timer(player), now + again);
                return;
            }
            for one in news {
                match entry.known.get(&one.player).map(|known| known.state.clone()) {
                    Some(state) => _ = entry.shown.insert(one.player, state),
                    None => _ = entry.shown.remove(&one.player),
                }
            }
        }
        if let Some((until, _)) = &entry.unsure {
            around.cx.timers.set_earlier(timer(player), *until);
        }
    }
}

/// Returns how many bytes news take on the wire at the most.
fn size_of_news(news: &ContactNews) -> usize {
    let texts = news.presence.as_ref().map_or(0, |presence| {
        presence.name.len() + presence.room.as_ref().map_or(0, String::len) + presence.text.len()
    });
    16 + 1 + 3 + 3 + texts
}
