//! Words from one player's node to another player's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use traversal_core::id::{CallId, PlayerId, RoomId};
use traversal_core::wire::message::{CallEnd, PlayerInfo, Presence};

use crate::registry::{MAX_POSTED, RegistryCommand, RegistryId, RegistryOperation};
use crate::server::context::Context;
use crate::server::timers::Timer;

/// The numbers of commands for the registry that are of words begin here; those of rooms count up from 0.
const OWN: u64 = 1 << 63;
/// What the registry does not take is handed to it again after so long.
const AGAIN: Duration = Duration::from_secs(2);
/// So many words wait for the registry to be back; what is told anew then makes up for the others.
const MAX_OWED: usize = 4_096;
/// A word has so many bytes at the most; the longest one of ours has some 700.
const MAX_BODY: usize = 4_096;

/// This is what one node says to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// The sender is on line, in this way, or is not (any more).
    Presence {
        state: Option<Presence>,
        /// Who allows the sender answers with its own presence.
        answer: bool,
    },
    /// It is about a call.
    Call(CallWord),
    /// The sender, who goes by this name, writes this.
    Text { number: u64, name: String, text: String },
    /// The sender's node has taken the text of this number.
    TextTaken { number: u64 },
    /// The sender invites to the party of this code.
    Party { code: String, from: PlayerInfo },
}

/// These are the words of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum CallWord {
    /// The sender calls.
    Ring { call: CallId, from: PlayerInfo },
    /// It rings at the sender.
    Ringing { call: CallId },
    /// The sender takes the call, and is in this room with this code, if it is in one.
    Yes { call: CallId, room: Option<(RoomId, String)> },
    /// Both meet: the one who was called enters the room of this code, or stays where it is.
    Met { call: CallId, code: Option<String> },
    /// Nothing comes of it.
    End { call: CallId, why: CallEnd },
}

/// This is a word with its sender, its game and those whom it is for.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    pub(super) game: String,
    pub(super) from: PlayerId,
    pub(super) word: Word,
    pub(super) to: Vec<PlayerId>,
    /// Players who are here know already.
    pub(super) far_only: bool,
}

#[derive(Serialize, Deserialize)]
struct Body {
    game: String,
    from: PlayerId,
    word: Word,
}

impl Envelope {
    /// Makes one that goes to one player.
    pub(super) fn of_call(game: &str, from: PlayerId, to: PlayerId, word: CallWord) -> Self {
        Self { game: game.into(), from, word: Word::Call(word), to: vec![to], far_only: false }
    }

    /// Reads what another node said; none: it makes no sense.
    pub(super) fn read(mut to: Vec<PlayerId>, body: &str) -> Option<Self> {
        if body.len() > MAX_BODY {
            return None;
        }
        to.truncate(MAX_POSTED);
        let Body { game, from, word } = serde_json::from_str(body).ok()?;
        Some(Self { game, from, word, to, far_only: false })
    }

    /// It tells that something is over, which nobody tells again.
    fn is_an_end(&self) -> bool {
        matches!(self.word, Word::Presence { state: None, .. } | Word::Call(CallWord::End { .. }))
    }
}

/// This has the words that are on their way.
#[derive(Default)]
pub(super) struct Post {
    waiting: VecDeque<Envelope>,
    next: u64,
    /// The registry has yet to say that it took these.
    pending: BTreeMap<RegistryId, Envelope>,
    owed: VecDeque<Envelope>,
    /// The registry did not take what these players' contacts were to be told.
    untold: BTreeSet<PlayerId>,
}

impl Post {
    pub(super) fn push(&mut self, envelope: Envelope) {
        if !envelope.to.is_empty() {
            self.waiting.push_back(envelope);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Envelope> {
        self.waiting.pop_front()
    }

    /// Returns whether the number of a command for the registry is one of a word.
    pub(super) fn is_own(id: RegistryId) -> bool {
        id.0 & OWN != 0
    }

    /// Has the registry hand a word to the nodes of these players.
    pub(super) fn send(&mut self, cx: &mut Context, envelope: Envelope) {
        let Envelope { game, from, word, to, .. } = envelope;
        // Structs with texts and numbers: nothing of it can fail.
        let body = serde_json::to_string(&Body { game: game.clone(), from, word: word.clone() });
        let body = body.unwrap_or_default();
        for to in to.chunks(MAX_POSTED) {
            let id = RegistryId(OWN | self.next);
            self.next += 1;
            let operation = RegistryOperation::Post { to: to.to_vec(), body: body.clone() };
            cx.commands.push_back(RegistryCommand { id, operation });
            let part =
                Envelope { game: game.clone(), from, word: word.clone(), to: to.to_vec(), far_only: true };
            self.pending.insert(id, part);
            cx.timers.set(Timer::Registry(id), Some(cx.now + cx.config.registry_timeout));
        }
    }

    /// The registry has taken a word, or not.
    pub(super) fn answered(&mut self, cx: &mut Context, id: RegistryId, taken: bool) {
        let Some(envelope) = self.pending.remove(&id) else { return };
        cx.timers.set(Timer::Registry(id), None);
        if taken {
            return;
        }
        // What is of the moment (it rings) is worth nothing later.
        if envelope.is_an_end() && self.owed.len() < MAX_OWED {
            self.owed.push_back(envelope);
        } else if matches!(envelope.word, Word::Presence { .. }) && self.untold.len() < MAX_OWED {
            self.untold.insert(envelope.from);
        }
        if !cx.timers.is_set(Timer::Post) {
            cx.timers.set(Timer::Post, Some(cx.now + AGAIN));
        }
    }

    /// Puts what was not taken back into the line. Returns the players whose presence is to be told again, as it is by now.
    pub(super) fn try_again(&mut self) -> BTreeSet<PlayerId> {
        self.waiting.append(&mut self.owed);
        std::mem::take(&mut self.untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_word_is_none_and_what_is_one_comes_back() {
        for body in ["", "{}", "null", &"x".repeat(MAX_BODY + 1)] {
            assert!(Envelope::read(Vec::new(), body).is_none(), "{body}");
        }
        let from = PlayerId([7; 16]);
        let word = Word::Call(CallWord::End { call: CallId(9), why: CallEnd::Busy });
        let body = serde_json::to_string(&Body { game: "g".into(), from, word }).unwrap();
        let read = Envelope::read(vec![from; 100], &body).unwrap();
        assert_eq!((read.to.len(), read.game.as_str(), read.from), (MAX_POSTED, "g", from));
        assert!(read.is_an_end());
    }
}
