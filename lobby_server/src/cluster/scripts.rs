//! What Redis runs: one script for each operation, since Redis runs each of them as a whole.
//!
//! The time is Redis' own in every one, so no clocks of two machines are compared. Each may run twice for one request: a
//! command that was not answered in time was perhaps carried out.

use std::time::Duration;

use crate::registry::{BEAT, DOUBT, GONE, LEASE, MAX_WAITING_POSTS, RESERVED};

/// Rooms and players' places live so long without a word of their node.
pub(super) const LIFE: Duration = Duration::from_secs(600);
/// All that each beat touches lives so long.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Where nobody was heard for so long, nobody could be: two beats.
const GAP: Duration = Duration::from_millis(2 * BEAT.as_millis() as u64); // some seconds

/// Gives Redis' time in milliseconds.
#[cfg(not(test))]
const NOW: &str = "local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end";
/// Tests make time pass.
#[cfg(test)]
const NOW: &str = "local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(redis.call('GET', 'test:offset') or 0)
end";

/// These are the scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Beat,
    Claim,
    Renew,
    Release,
    Find,
    Changes,
    Arrive,
    Stay,
    Depart,
    Locate,
    Leave,
    Fits,
    Post,
    Collect,
}

impl Script {
    /// These are all, in the order of their numbers.
    pub(super) const ALL: [Self; 14] = [
        Self::Beat,
        Self::Claim,
        Self::Renew,
        Self::Release,
        Self::Find,
        Self::Changes,
        Self::Arrive,
        Self::Stay,
        Self::Depart,
        Self::Locate,
        Self::Leave,
        Self::Fits,
        Self::Post,
        Self::Collect,
    ];

    /// Returns its text.
    pub(super) fn text(self) -> String {
        let body = match self {
            Self::Beat => include_str!("lua/beat.lua"),
            Self::Claim => include_str!("lua/claim.lua"),
            Self::Renew => include_str!("lua/renew.lua"),
            Self::Release => include_str!("lua/release.lua"),
            Self::Find => include_str!("lua/find.lua"),
            Self::Changes => include_str!("lua/changes.lua"),
            Self::Arrive => include_str!("lua/arrive.lua"),
            Self::Stay => include_str!("lua/stay.lua"),
            Self::Depart => include_str!("lua/depart.lua"),
            Self::Locate => include_str!("lua/locate.lua"),
            Self::Leave => include_str!("lua/leave.lua"),
            Self::Fits => include_str!("lua/fits.lua"),
            Self::Post => include_str!("lua/post.lua"),
            Self::Collect => include_str!("lua/collect.lua"),
        };
        let times = [DOUBT, LEASE, RESERVED, GAP, LIFE, DAY, GONE].map(|time| time.as_millis().to_string());
        let prelude = include_str!("lua/prelude.lua");
        format!(
            "local DOUBT, LEASE, RESERVED, GAP, LIFE, DAY, GONE_KEPT = {}\nlocal POSTS = {MAX_WAITING_POSTS}\n{NOW}\n{prelude}\n{body}",
            times.join(", ")
        )
    }
}
