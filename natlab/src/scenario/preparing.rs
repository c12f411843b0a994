//! What two players do before they meet.

use std::time::Duration;

use traversal_core::Command;
use traversal_core::wire::message::{QuickMatch, RoomOptions, RoomTarget};

use super::{CLASSIFY_PATIENCE, JoinMoment, LOGIN_PATIENCE, PairWorld, ROOM};
use crate::lobby;
use crate::world::HostId;

impl PairWorld {
    /// Logs both in, waits for what the [`JoinMoment`] wants to be known, and opens the room. False if that cannot
    /// be done.
    pub fn prepare(&mut self) -> bool {
        let (left, right) = (self.left, self.right);
        match self.settings.join {
            JoinMoment::BothKnown => {
                self.log_in(&[left, right]) && {
                    self.wait(CLASSIFY_PATIENCE, |pair| {
                        pair.player(left).is_classified() && pair.player(right).is_classified()
                    });
                    self.open_room()
                }
            }
            JoinMoment::HostKnown => {
                self.log_in(&[left]) && {
                    self.wait(CLASSIFY_PATIENCE, |pair| pair.player(left).is_classified());
                    self.open_room() && self.log_in(&[right])
                }
            }
            JoinMoment::AtOnce => self.log_in(&[left]) && self.open_room() && self.log_in(&[right]),
            JoinMoment::Together => self.log_in_until_one_is_left(),
        }
    }

    /// The one that is logged in first asks for the match at once; the other one does so in [`request`](Self::request).
    fn log_in_until_one_is_left(&mut self) -> bool {
        let (left, right) = (self.left, self.right);
        self.connect(&[left, right]);
        let online = |pair: &Self| [left, right].map(|host| pair.player(host).is_online());
        if !self.wait(LOGIN_PATIENCE, |pair| online(pair) != [false, false]) {
            return false;
        }
        let [first, last] = if online(self)[0] { [left, right] } else { [right, left] };
        self.last = last;
        self.ask_for_match(first);
        self.wait(LOGIN_PATIENCE, |pair| online(pair) == [true, true])
    }

    fn ask_for_match(&mut self, host: HostId) {
        self.act(host, |player, now| player.command(now, Command::QuickMatch(QuickMatch::default())));
    }

    fn connect(&mut self, hosts: &[HostId]) {
        for host in hosts {
            self.act(*host, |player, now| {
                let names = [lobby::sockets(false)[0], lobby::sockets_v6(false)[0].1];
                player.command(now, Command::Connect(names.to_vec()));
            });
        }
    }

    fn log_in(&mut self, hosts: &[HostId]) -> bool {
        self.connect(hosts);
        self.wait(LOGIN_PATIENCE, |pair| hosts.iter().all(|host| pair.player(*host).is_online()))
    }

    fn open_room(&mut self) -> bool {
        let (left, auto_allow, migrate) = (self.left, self.settings.auto_allow, self.settings.migrate);
        self.act(left, |player, now| {
            let options = RoomOptions { name: ROOM.into(), auto_allow, migrate, ..RoomOptions::default() };
            player.command(now, Command::HostRoom(options));
        });
        self.wait(LOGIN_PATIENCE, |pair| pair.player(left).in_room)
    }

    /// The right player asks to join; of two who start together, the one that was logged in last asks for the match.
    pub fn request(&mut self) {
        self.requested = self.world.now();
        for host in [self.left, self.right] {
            self.world.count_anew(host);
        }
        if self.settings.join == JoinMoment::Together {
            return self.ask_for_match(self.last);
        }
        let target = RoomTarget::Name(ROOM.into());
        let wait = Duration::from_secs(5);
        self.act(self.right, |player, now| {
            player.command(now, Command::JoinRoom { target, password: None, wait });
        });
    }
}
