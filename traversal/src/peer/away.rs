//! A player of whom nothing is heard is away: it is waited for, by all ways, until it answers again or is lost.
//!
//! Keys and match stay, so that the game's own connection goes on where it stopped. Both sides count from the last answer
//! to a test of their own, so they come to the same end at the same time, also where only one direction is dead.

use std::time::{Duration, Instant};

use super::Peer;
use crate::api::Event;
use crate::config::AgentConfig;
use crate::cx::Cx;

/// Told to the other side when it was away for too long.
pub(super) const LOST: &str = "nothing was heard for too long";

/// Three answers of a far player may take so long at the most before it is away.
const MOST_PATIENCE: Duration = Duration::from_secs(20);
/// This side checks so often whether a silence is still the server's own: as often as a near server is asked whether
/// it is there. It sends nothing, so it need not follow the round trip.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The agent hears so often that the player is still missed: a host that fails later is to be replaced, too.
const MISS_AGAIN: Duration = Duration::from_secs(8);
/// Both sides are asked so often to punch anew, where test messages alone are not enough: a little longer than the
/// server's own pause between two attempts.
const PUNCH_AGAIN: Duration = Duration::from_secs(13);

/// This says since when a player is away, and what is done about it next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Away {
    /// This says when a test was last answered.
    since: Instant,
    miss_at: Instant,
    punch_at: Instant,
}

/// This is what changed about whether a player is heard, for the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contact {
    /// The player is away, and that is not the server's own silence. Said again as long as that lasts.
    Missed,
    /// The player is back.
    Back,
}

impl Peer {
    pub(crate) fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// The latest news about whether the player is heard.
    pub(crate) fn take_contact(&mut self) -> Option<Contact> {
        self.contact.take()
    }

    /// Returns how long the other side may be silent before it is away: as the settings say, or three answers of a
    /// far one.
    fn patience(&self, config: &AgentConfig) -> Duration {
        config.path_timeout.max((self.answer_time() * 3).min(MOST_PATIENCE))
    }

    /// Returns how long what this side sends may go unanswered while something is heard: a lossy way needs some tries
    /// more.
    fn patience_unanswered(&self, config: &AgentConfig) -> Duration {
        (self.patience(config) * 2).max(config.path_ping * 8)
    }

    /// Returns when the other side is lost.
    pub(crate) fn lost_at(&self, config: &AgentConfig) -> Instant {
        self.contact_at() + config.away_timeout.max(self.patience(config))
    }

    /// Returns the last time that a test was answered; where that never was needed, that anything was heard.
    fn contact_at(&self) -> Instant {
        self.paths.answered().unwrap_or(self.last_heard)
    }

    /// Looks whether the other side is there. True when it is lost.
    pub(super) fn watch_contact(&mut self, cx: &mut Cx<'_>) -> bool {
        if !self.is_connected() {
            return false;
        }
        let (now, patience) = (cx.now, self.patience(cx.config));
        if self.away.is_none() {
            let silent = now.saturating_duration_since(self.last_heard);
            let unanswered = now.saturating_duration_since(self.contact_at());
            if silent < patience && unanswered < self.patience_unanswered(cx.config) {
                let ask = silent >= patience / 2 && self.plays_over_relay();
                if ask && self.asked_about.replace(self.last_heard) != Some(self.last_heard) {
                    // In time to know whose silence it is.
                    cx.link.check_now(now);
                }
                return false;
            }
        }
        if self.lost_at(cx.config) <= now {
            return true;
        }
        let mut away = self.away.unwrap_or_else(|| self.go_away(cx));
        if away.miss_at <= now {
            away.miss_at = if self.is_excused(now, cx.config, cx.link) {
                now + LOOK_AGAIN
            } else {
                self.contact = Some(Contact::Missed);
                now + MISS_AGAIN
            };
        }
        if away.punch_at <= now {
            away.punch_at = now + PUNCH_AGAIN;
            // By our own clock alone, so that nobody else can have us spend more.
            self.attempt.renew(now);
            self.ask_to_punch_again(cx);
        }
        self.away = Some(away);
        false
    }

    fn go_away(&mut self, cx: &mut Cx<'_>) -> Away {
        cx.emit(Event::PeerAway { player: self.info.id });
        self.paths.set_away(true);
        Away { since: self.contact_at(), miss_at: cx.now, punch_at: cx.now }
    }

    /// A confirmation was handled: whoever answers is back.
    pub(super) fn notice_answer(&mut self, cx: &mut Cx<'_>) {
        if self.paths.answered() != Some(cx.now) {
            return;
        }
        if let Some(away) = self.away.take() {
            self.paths.set_away(false);
            self.contact = Some(Contact::Back);
            let away = cx.now.saturating_duration_since(away.since);
            cx.emit(Event::PeerBack { player: self.info.id, away });
        }
    }

    /// Returns when a silence is to be looked at.
    pub(super) fn look_at(&self, config: &AgentConfig) -> Instant {
        let lost = self.lost_at(config);
        if let Some(away) = self.away {
            return lost.min(away.miss_at).min(away.punch_at);
        }
        let patience = self.patience(config);
        let ask = self.asked_about != Some(self.last_heard) && self.plays_over_relay();
        let silent = self.last_heard + if ask { patience / 2 } else { patience };
        silent.min(self.contact_at() + self.patience_unanswered(config))
    }
}
