//! What a load consists of: who takes part, from where, and what is to happen how often.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use traversal_core::Identity;
use traversal_core::id::PlayerId;

use super::seat::Role;

/// What a load consists of; each thread has its part of it. Rates are events per second, over all threads.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) threads: usize,
    /// The servers' addresses of both families, and the game.
    pub(super) server: SocketAddr,
    pub(super) server_v6: Option<SocketAddr>,
    pub(super) game: String,
    pub(super) seed: u64,
    pub(super) keepalive: Duration,
    /// Players who log in before the measurement, and at its beginning.
    pub(super) players: usize,
    pub(super) crowd: usize,
    /// So many of `players` host a room, each; so many pairs play over the relay; so many come by IPv6.
    pub(super) rooms: usize,
    pub(super) relay_pairs: usize,
    pub(super) v6: usize,
    pub(super) login_rate: f64,
    pub(super) logins: f64,
    pub(super) joins: f64,
    pub(super) stay: Duration,
    pub(super) lists: f64,
    pub(super) matches: f64,
    pub(super) chat: f64,
    pub(super) relay_rate: f64,
    pub(super) relay_bytes: usize,
    /// Players have no sockets beside the main ones.
    pub(super) lean: bool,
}

impl Order {
    pub(super) fn room(&self, number: usize) -> String {
        format!("load {:08x} {number}", self.seed as u32)
    }

    /// Returns what the player of this number is there for.
    pub(super) fn role(&self, number: usize) -> Role {
        let relayed = number.wrapping_sub(self.rooms);
        if number < self.rooms {
            Role::Host(self.room(number))
        } else if relayed < 2 * self.relay_pairs {
            let room = format!("{} relay", self.room(relayed / 2));
            if relayed.is_multiple_of(2) { Role::RelayHost(room) } else { Role::RelayGuest(room) }
        } else {
            Role::Wanderer
        }
    }

    /// Returns the secret of the identity of the player of this number, which others can work out as well.
    pub(super) fn secret(&self, number: usize) -> [u8; 32] {
        let mut secret = [0; 32];
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        rng.set_stream(1 + number as u64);
        rng.fill_bytes(&mut secret);
        secret
    }

    /// Returns the contact to whom the player of this number writes, if there is to be chat and it has one.
    pub(super) fn contact(&self, number: usize) -> Option<PlayerId> {
        let other = number ^ 1;
        let wanders = |number| number < self.players && self.role(number) == Role::Wanderer;
        let pair = self.chat > 0.0 && wanders(number) && wanders(other);
        pair.then(|| Identity::from_secret(self.secret(other)).player_id())
    }

    /// Returns the address of the player of this number, and the server's in its family: 127.64.0.0/10 has a place for
    /// four million, ::1 is one for all.
    pub(super) fn place(&self, number: usize) -> (IpAddr, SocketAddr) {
        if let Some(server) = self.server_v6
            && (self.players.saturating_sub(self.v6)..self.players).contains(&number)
        {
            return (Ipv6Addr::LOCALHOST.into(), server);
        }
        let [_, high, middle, low] = (number as u32).to_be_bytes();
        (Ipv4Addr::new(127, 64 | (high & 63), middle, low).into(), self.server)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn order() -> Order {
        Order {
            threads: 2,
            server: "127.0.0.1:3478".parse().unwrap(),
            server_v6: Some("[::1]:3478".parse().unwrap()),
            game: "load".into(),
            seed: 7,
            keepalive: Duration::from_secs(15),
            players: 100,
            crowd: 10,
            rooms: 10,
            relay_pairs: 3,
            v6: 5,
            login_rate: 100.0,
            logins: 0.0,
            joins: 0.0,
            stay: Duration::ZERO,
            lists: 0.0,
            matches: 0.0,
            chat: 1.0,
            relay_rate: 0.0,
            relay_bytes: 0,
            lean: false,
        }
    }

    #[test]
    fn every_player_has_an_address_and_a_role() {
        let order = order();
        let roles: Vec<Role> = (0..110).map(|number| order.role(number)).collect();
        assert!(roles[..10].iter().all(|role| matches!(role, Role::Host(_))));
        assert_eq!(roles[10..16].iter().filter(|role| matches!(role, Role::RelayGuest(_))).count(), 3);
        assert!(roles[16..].iter().all(|role| *role == Role::Wanderer));
        let places: BTreeSet<IpAddr> = (0..110).map(|number| order.place(number).0).collect();
        assert_eq!(places.len(), 110 - 5 + 1);
        assert!(places.iter().all(IpAddr::is_loopback));
        // Two who wander have each other.
        let id = |number| Identity::from_secret(order.secret(number)).player_id();
        assert_eq!((order.contact(20), order.contact(21)), (Some(id(21)), Some(id(20))));
        assert_eq!((order.contact(3), order.contact(100)), (None, None));
        // A crowd's number is beyond two bytes, too.
        assert_eq!(order.place(70_000).0, IpAddr::from([127, 65, 17, 112]));
    }
}
