//! Seats: watching a room, and what the server says of seats.

use std::time::{Duration, Instant};

use super::{Agent, RequestKind};
use crate::secret::Secret;
use crate::wire::message::{Request, RoomTarget, checked_password};

impl Agent {
    /// The game wants to watch a room.
    pub(super) fn spectate(
        &mut self,
        now: Instant,
        (target, password): (RoomTarget, Option<Secret<String>>),
        wait: Duration,
    ) {
        self.join_requested = Some((now, None));
        let target = target.checked().and_then(|target| Ok((target, checked_password(password)?)));
        let request = target.map(|(target, password)| Request::Spectate { target, password, resume: false });
        self.ask(now, RequestKind::Join, request, wait);
    }
}
