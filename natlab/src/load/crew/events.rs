//! What agents tell of what became of their players.

use std::sync::atomic::Ordering;
use std::time::Instant;

use traversal_core::{Event, LobbyState};

use super::Crew;
use crate::load::seat::{Doing, Role};
use crate::load::tally::Act;

impl Crew<'_> {
    /// Returns whether the player was told to do something.
    pub(super) fn take_events(&mut self, now: Instant, index: usize) -> bool {
        let seat = &mut self.seats[index];
        seat.player.failures.clear();
        seat.player.refusals.clear();
        let mut told = false;
        for (_, event) in std::mem::take(&mut seat.player.events) {
            match event {
                Event::Lobby(state) => told |= self.lobby_state(now, index, state),
                Event::Rooms(_) => {
                    self.done(now, index, &[Act::List], Doing::Idle);
                }
                Event::RoomEntered { .. } => self.entered(now, index),
                Event::PeerConnected { .. } => {
                    if let Some(since) = self.seats[index].path_since.take() {
                        self.tally.time(&mut self.rng, Act::Path, now.saturating_duration_since(since));
                    }
                }
                Event::PeerFailed { report, .. } => self.tally.error(format!("no path: {}", report.reason)),
                Event::RequestFailed { request, error } => {
                    self.tally.error(format!("{request:?}: {error}"));
                    let seat = &mut self.seats[index];
                    let waits = matches!(seat.doing, Doing::Waiting(Act::List | Act::Join | Act::Match, _));
                    if waits {
                        (seat.doing, seat.path_since) = (Doing::Idle, None);
                    }
                }
                Event::ChatSent { .. } => _ = self.done(now, index, &[Act::Chat], Doing::Idle),
                Event::ChatRefused { why, .. } => {
                    self.tally.error(format!("text: {why}"));
                    let seat = &mut self.seats[index];
                    if matches!(seat.doing, Doing::Waiting(Act::Chat, _)) {
                        seat.doing = Doing::Idle;
                    }
                }
                Event::RoomLeft { reason } => {
                    let seat = &mut self.seats[index];
                    if seat.role == Role::Wanderer {
                        (seat.doing, seat.leave_at, seat.path_since) = (Doing::Idle, None, None);
                    }
                    if let Some(reason) = reason {
                        self.tally.error(format!("out of the room: {reason}"));
                    }
                }
                _ => {}
            }
        }
        told
    }

    /// A player is in the room that it asked for, and stays for a while.
    fn entered(&mut self, now: Instant, index: usize) {
        if self.done(now, index, &[Act::Join, Act::Match], Doing::Inside) {
            self.seats[index].leave_at = Some(now + self.order.stay);
        }
    }

    /// Notes that a player has got what it waited for; false: it did not wait for that.
    fn done(&mut self, now: Instant, seat: usize, acts: &[Act], then: Doing) -> bool {
        let seat = &mut self.seats[seat];
        match seat.doing {
            Doing::Waiting(act, since) if acts.contains(&act) => {
                seat.doing = then;
                self.tally.time(&mut self.rng, act, now.saturating_duration_since(since));
                true
            }
            _ => false,
        }
    }

    fn lobby_state(&mut self, now: Instant, index: usize, state: LobbyState) -> bool {
        let was_online = self.seats[index].online;
        match state {
            LobbyState::Online { .. } if !was_online => {
                self.seats[index].online = true;
                self.shared.online.fetch_add(1, Ordering::Relaxed);
                let logins = [Act::FirstLogin, Act::Login, Act::CrowdLogin];
                if self.done(now, index, &logins, Doing::Idle)
                    && let Some(command) = self.seats[index].role.first_command()
                {
                    self.seats[index].doing = Doing::Inside;
                    self.seats[index].player.command(now, command);
                    return true;
                }
            }
            LobbyState::Retrying { error, .. } | LobbyState::Refused { error } => {
                if was_online {
                    self.tally.lost += 1;
                    self.tally.error(format!("session lost: {error}"));
                } else {
                    self.tally.error(format!("login: {error}"));
                }
                self.offline(index);
            }
            LobbyState::Offline => self.offline(index),
            _ => {}
        }
        false
    }

    fn offline(&mut self, seat: usize) {
        if std::mem::take(&mut self.seats[seat].online) {
            self.shared.online.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
