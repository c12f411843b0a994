//! Bans while the server runs: who is here and banned goes at once.

use std::time::Instant;

use serde::Serialize;
use time::OffsetDateTime;
use traversal_core::id::PlayerId;
use traversal_core::text;
use traversal_core::wire::message::{Farewell, Frame, MatchEnd};

use super::Server;
use super::operator::{NotOne, only};
use crate::bans::{Ban, Bans, NotWhom, TooMany, Whom};

/// A ban was not made or lifted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BanError {
    /// It names nobody who can be banned.
    #[error("{0}; or the beginning of a player's id who is here, but {1}")]
    NotWhom(NotWhom, NotOne),
    /// There is no room for it.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The game has no valid id.
    #[error(transparent)]
    Game(#[from] text::TextError),
    /// There is none of this kind.
    #[error("there is no such ban")]
    None,
}

/// This is a ban as its operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BanRow {
    /// A player's id, an address or a prefix.
    pub whom: String,
    /// They may not play this game; none: any.
    pub game: Option<String>,
    /// It ends then, in UTC; none: it does not end by itself.
    pub ends: Option<String>,
    /// It ends at this time, in seconds since 1970.
    pub until: Option<u64>,
    /// It was made then, in UTC.
    pub made: String,
    /// They read this about it.
    pub reason: String,
}

impl BanRow {
    fn of(ban: &Ban) -> Self {
        Self {
            whom: ban.whom.to_string(),
            game: ban.game.clone(),
            ends: ban.until.map(utc),
            until: ban.until,
            made: utc(ban.since),
            reason: ban.reason.clone(),
        }
    }
}

/// Writes a time for a person, as in "2026-11-27 09:05 UTC".
fn utc(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let Some(at) = at else { return String::from("in more than 7,000 years") };
    let (year, month, day) = at.to_calendar_date();
    format!("{year}-{:02}-{day:02} {:02}:{:02} UTC", u8::from(month), at.hour(), at.minute())
}

/// This is what came of a ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Banned {
    /// This is the ban.
    #[serde(flatten)]
    pub ban: BanRow,
    /// So many players were here whom it keeps out, and were put out.
    pub put_out: usize,
}

impl Server {
    /// Begins with these bans.
    pub fn set_bans(&mut self, bans: Bans) {
        self.roster.bans = bans;
    }

    /// Returns all bans.
    pub fn bans(&self) -> &Bans {
        &self.roster.bans
    }

    /// Returns those that are not over, for a person.
    pub fn ban_rows(&mut self, now: Instant) -> Vec<BanRow> {
        self.cx.now = now;
        let now_s = self.cx.calendar();
        self.roster.bans.all().filter(|ban| ban.holds(now_s)).map(BanRow::of).collect()
    }

    /// Bans a player, an address or a prefix, for a game or all, for so many seconds or for good; `whom` may also be as much of
    /// the beginning of a player's id as tells it from others who are here. Who is here and banned is put out.
    ///
    /// # Errors
    /// See [`BanError`].
    pub fn ban(
        &mut self,
        now: Instant,
        whom: &str,
        game: Option<&str>,
        for_s: Option<u64>,
        reason: &str,
    ) -> Result<Banned, BanError> {
        self.cx.now = now;
        let now_s = self.cx.calendar();
        let ban = Ban {
            whom: self.whom(whom)?,
            game: game.map(|game| text::GAME.check(game)).transpose()?,
            until: for_s.map(|seconds| now_s.saturating_add(seconds)),
            since: now_s,
            reason: text::REASON.clean(reason),
        };
        self.roster.bans.add(now_s, ban.clone())?;
        let mut put_out = 0;
        for player in self.roster.player_ids() {
            let refusal = self.roster.client_of(player).and_then(|client| {
                let (ip, game) = (client.route().peer.ip(), client.login().game());
                self.roster.bans.find(now_s, player, ip, game).map(|ban| ban.refusal(now_s))
            });
            if let Some((refusal, session)) = refusal.zip(self.roster.session_of(player)) {
                let reason = text::REASON.clean(&refusal.to_string());
                let goodbye = Frame::Goodbye { reason, why: Farewell::PutOut };
                self.send_away(session, &goodbye, MatchEnd::Left);
                put_out += 1;
            }
        }
        self.settle();
        Ok(Banned { ban: BanRow::of(&ban), put_out })
    }

    /// Lifts the ban of these for a game, or all of theirs where none is named.
    ///
    /// # Errors
    /// There is none, or nobody is named.
    pub fn lift_ban(
        &mut self,
        now: Instant,
        whom: &str,
        game: Option<&str>,
    ) -> Result<Vec<BanRow>, BanError> {
        self.cx.now = now;
        let lifted = self.roster.bans.lift(whom.parse().map_err(|_| BanError::None)?, game);
        if lifted.is_empty() { Err(BanError::None) } else { Ok(lifted.iter().map(BanRow::of).collect()) }
    }

    fn whom(&self, text: &str) -> Result<Whom, BanError> {
        let error = match text.parse() {
            Ok(whom) => return Ok(whom),
            Err(error) => error,
        };
        let beginning = text.to_ascii_lowercase();
        let meant = |player: &PlayerId| player.to_string().starts_with(&beginning);
        let player = only(self.roster.player_ids(), meant);
        player.map(Whom::Player).map_err(|several| BanError::NotWhom(error, several))
    }
}
