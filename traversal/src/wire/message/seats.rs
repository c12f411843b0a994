//! Seats: how long one is kept for who is away, spectators, hosts without a seat, and who may not come back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::room::RoomOptions;
use super::to_player::RequestError;
use crate::id::PlayerId;
use crate::text;

/// A seat is kept for at most this long, see [`RoomOptions::keep_seat`].
pub const MAX_KEEP_SEAT: Duration = Duration::from_secs(600);
/// A room takes at most this many players and spectators together: its host is connected to each of them.
pub const MAX_INSIDE: u16 = 64;
/// Who was put out for a time stays out for at most this long, see [`Rejoin::After`].
pub const MAX_OUT: Duration = Duration::from_secs(30 * 86_400);
/// This many entries of a room's ban list are in one answer, so that it fits one datagram.
pub const BANS_PER_PAGE: usize = 4;

/// This is what a room's host says about its seats, as members and tickets carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatTerms {
    /// A seat is kept for this many seconds, see [`RoomOptions::keep_seat`].
    pub keep_seat_s: u16,
    /// This many may watch, see [`RoomOptions::spectators`].
    pub spectators: u16,
    /// The host is a player, see [`RoomOptions::seat`].
    pub seat: bool,
}

impl Default for SeatTerms {
    fn default() -> Self {
        Self::of(&RoomOptions::default())
    }
}

impl SeatTerms {
    /// Returns those of a room that is to be like this.
    pub fn of(options: &RoomOptions) -> Self {
        let keep_seat_s = u16::try_from(options.keep_seat.as_secs()).unwrap_or(u16::MAX);
        Self { keep_seat_s, spectators: options.spectators, seat: options.seat }
    }

    /// Returns how long a seat is kept.
    pub fn keep_seat(self) -> Duration {
        Duration::from_secs(self.keep_seat_s.into())
    }
}

/// This says when a player who is put out of a room may come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rejoin {
    /// It may come back at once.
    Now,
    /// It may come back after this time.
    After {
        /// This many seconds: 1 to 2,592,000 ([`MAX_OUT`], 30 days).
        seconds: u32,
    },
    /// It does not come back, for as long as the room lives (a year at the most), whoever hosts it then.
    #[default]
    Never,
}

impl Rejoin {
    /// Checks the time.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] when it is 0 s, or longer than [`MAX_OUT`].
    pub fn checked(self) -> Result<Self, RequestError> {
        match self {
            Self::After { seconds } if seconds == 0 || u64::from(seconds) > MAX_OUT.as_secs() => {
                Err(RequestError::Malformed { what: "time to stay out (1 s to 30 days)".into() })
            }
            rejoin => Ok(rejoin),
        }
    }
}

/// This is a player who may not come back into a room, as its host reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomBan {
    /// This is the player.
    pub player: PlayerId,
    /// The player had this name. It is empty where the server was restarted since.
    #[serde(deserialize_with = "text::read_name")]
    pub name: String,
    /// The host had given this reason. It is empty where the server was restarted since.
    #[serde(deserialize_with = "text::read_reason")]
    pub reason: String,
    /// The player may come back after this many seconds; `None`: not as long as the room lives.
    pub left_s: Option<u32>,
}

/// This is a member of a room of whom the server hears nothing, and whose seat is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaySeat {
    /// This is the player.
    pub player: PlayerId,
    /// The seat is kept for this many seconds more, counted from when this was sent.
    pub kept_s: u16,
}

/// A seat is kept for a player who has just logged in: it was in this room, and can take its seat again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatKept {
    /// The room has this name.
    #[serde(deserialize_with = "text::read_room_name")]
    pub name: String,
    /// The room has this short code.
    #[serde(deserialize_with = "text::read_code")]
    pub code: String,
    /// This player hosts the room.
    pub hosting: bool,
    /// The seat is kept for this many seconds more.
    pub kept_s: u16,
}

/// Reads and writes a time as whole seconds, of which a room's options need no more than 16 bits.
pub(super) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        u16::try_from(time.as_secs()).unwrap_or(u16::MAX).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u16::deserialize(from).map(|seconds| Duration::from_secs(seconds.into()))
    }
}

/// Returns when a player who was put out may come back, in words.
pub(super) fn until(for_s: Option<u32>) -> String {
    match for_s {
        None => String::from("you cannot come back"),
        Some(seconds) if seconds < 120 => format!("you can come back in {seconds} s"),
        Some(seconds) if seconds < 7200 => format!("you can come back in {} min", seconds.div_ceil(60)),
        Some(seconds) => format!("you can come back in {} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_put_out_reads_when_it_may_come_back() {
        let banned = |for_s| RequestError::Banned { reason: "cheats".into(), for_s }.to_string();
        assert_eq!(banned(None), "the host put you out of this room: cheats; you cannot come back");
        assert!(banned(Some(59)).ends_with("you can come back in 59 s"));
        assert!(banned(Some(3601)).ends_with("in 61 min"));
        assert!(banned(Some(86_400)).ends_with("in 24 h"));
    }

    #[test]
    fn times_out_of_range_are_refused() {
        for seconds in [0, 30 * 86_400 + 1, u32::MAX] {
            assert!(Rejoin::After { seconds }.checked().is_err(), "{seconds}");
        }
        for rejoin in [Rejoin::Now, Rejoin::Never, Rejoin::After { seconds: 1 }] {
            assert_eq!(rejoin.checked(), Ok(rejoin));
        }
    }

    #[test]
    fn seats_out_of_range_are_refused() {
        use crate::wire::message::Topology;
        let good = RoomOptions { name: "r".into(), spectators: 10, ..RoomOptions::default() };
        assert_eq!(good.clone().checked(), Ok(good.clone()));
        for bad in [
            RoomOptions { keep_seat: MAX_KEEP_SEAT + Duration::from_secs(1), ..good.clone() },
            RoomOptions { capacity: 60, spectators: 5, ..good.clone() },
            RoomOptions { spectators: u16::MAX, ..good.clone() },
            RoomOptions { seat: false, topology: Topology::Mesh, ..good.clone() },
            RoomOptions { seat: false, capacity: 0, ..good.clone() },
        ] {
            assert!(matches!(bad.clone().checked(), Err(RequestError::Malformed { .. })), "{bad:?}");
        }
        // A host without a seat takes the room along, and one player with it is enough.
        let dedicated = RoomOptions { seat: false, capacity: 1, migrate: true, ..good };
        assert!(!dedicated.checked().unwrap().migrate);
    }
}
