//! How a login ends: the server's answers, refusals, and when it is tried again.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;

use super::family::OtherFamily;
use super::{LinkEvent, Online, ServerLink, State};
use crate::address::{Scope, is_local, scope};
use crate::api::{Event, LobbyError, LobbyState};
use crate::env::Env;
use crate::way::Way;
use crate::wire::handshake::{ClientProgress, Refusal};
use crate::wire::message::{LoginRefusal, Welcome};
use crate::wire::{Dropped, VERSION};

/// Another login waits for this at the least, whatever the settings say: a server that refuses is not to be hammered.
const LEAST_BACKOFF: Duration = Duration::from_millis(100);

/// This is the longest wait before another login while others in the room wait for this player, who is lost to them
/// in the end.
const IN_ROOM: Duration = Duration::from_secs(2);

/// Returns the sockets that take probes, as this player reaches them; `server` is where it has logged in, `local`
/// what its own interfaces have. There are none where something before the server has put another address in the
/// place of the player's: what the server sees is that, and says nothing about the player's NAT.
fn as_reached(welcome: &Welcome, server: SocketAddr, local: &[IpAddr]) -> Vec<SocketAddr> {
    let reached = |target: &SocketAddr| match scope(target.ip()) {
        Scope::Unspecified => SocketAddr::new(server.ip(), target.port()),
        _ => *target,
    };
    let targets: Vec<SocketAddr> = welcome.probe_targets.iter().map(reached).collect();
    let seen = welcome.observed.ip();
    let replaced = is_local(seen) && !local.is_empty() && !local.contains(&seen);
    let elsewhere = targets.first().is_some_and(|first| first.ip() != server.ip());
    if replaced && elsewhere { Vec::new() } else { targets }
}

impl ServerLink {
    pub(super) fn handle_handshake(
        &mut self,
        env: &mut Env<'_>,
        way: Way,
        datagram: &[u8],
    ) -> Result<Option<LinkEvent>, Dropped> {
        let first_key = self.nodes.key_at(way.remote).or(*self.key_at(way.remote));
        let State::Shaking(shaking) = &mut self.state else { return Err(Dropped::Unknown) };
        let keys = match (&first_key, env.config.server_keys.as_slice()) {
            (Some(key), []) => std::slice::from_ref(key),
            (_, pinned) => pinned,
        };
        let progress = shaking.handle(env, way, keys, datagram)?;
        let error = match progress {
            ClientProgress::Cookie => {
                self.handle_timeout(env, env.config.keepalive);
                return Ok(None);
            }
            ClientProgress::Accepted(accepted) => {
                let (mut welcome, mut session, server_key) = *accepted;
                let (server, over_stream) = (way.remote, way.is_stream());
                welcome.probe_targets = as_reached(&welcome, server, env.local);
                session.set_timing(shaking.timing(over_stream));
                let Some(udp) = env.main.towards(server) else { return Err(Dropped::Unknown) };
                self.blocked = over_stream;
                if !over_stream {
                    self.stream.close(env);
                }
                let ephemeral = shaking.ephemeral.clone();
                let other = OtherFamily::new(env, server, &welcome.other_family, &self.targets);
                let of_session = (session, welcome, server_key, other);
                let mut online =
                    Online::new(env.now, of_session, ephemeral, Way::new(udp, server), over_stream);
                // The first sealed datagram is what has the server take this login for one of the player's own.
                online.check_now(env.now);
                // A server on this machine may have another key with each start: whoever could answer in its place is here
                // already.
                if !server.ip().is_loopback() {
                    self.key_at(server).get_or_insert(server_key);
                }
                self.nodes.arrived();
                (self.backoff, self.lost_at) = (env.config.relogin_min, None);
                env.emit(Event::Lobby(online.lobby_state(env.identity)));
                self.state = State::Online(Box::new(online));
                return Ok(Some(LinkEvent::LoggedIn));
            }
            ClientProgress::Refused(refusal) => {
                self.pass_over(way.remote);
                self.nodes.arrived();
                self.refused(env, refusal);
                return Ok(None);
            }
            ClientProgress::RefusedInClear(Refusal::Busy { .. }) => {
                // It is asked again in its time, and the others meanwhile.
                if let Some(retry_in) = shaking.is_put_off(env.now) {
                    env.emit(Event::Lobby(LobbyState::Retrying { error: LobbyError::Busy, retry_in }));
                }
                return Ok(None);
            }
            ClientProgress::RefusedInClear(Refusal::Version { theirs }) => {
                LobbyError::OtherProtocol { ours: VERSION, theirs }
            }
            ClientProgress::WrongKey if env.config.server_keys.is_empty() => {
                LobbyError::KeyChanged { server: way.remote }
            }
            ClientProgress::WrongKey => LobbyError::WrongKey,
        };
        // Said in the clear or by a stranger: the server itself may still answer better.
        shaking.error = Some(error);
        Ok(None)
    }

    fn refused(&mut self, env: &mut Env<'_>, refusal: LoginRefusal) {
        let temporary =
            matches!(refusal, LoginRefusal::Full | LoginRefusal::Stopping | LoginRefusal::Unchecked);
        let error = LobbyError::Refused(refusal);
        if temporary { self.retry(env, error) } else { self.give_up(env, error) }
    }

    /// Nothing has come of a login in its time.
    pub(super) fn timed_out(&mut self, env: &mut Env<'_>) {
        if self.nodes.arrived() {
            // The node that this player was sent to does not answer: back to where it came from, or to any other.
            self.stream.close(env);
            return self.start(env);
        }
        let State::Shaking(shaking) = &mut self.state else { return };
        match shaking.error.take() {
            Some(error) => self.failed(env, error),
            // It has begun to answer, and has been started anew since, perhaps: the cookie is of no use any more.
            None if shaking.is_answered() => {
                shaking.answered_by().into_iter().for_each(|server| self.pass_over(server));
                self.failed(env, LobbyError::NoAnswer);
            }
            None => {
                let retry_in = self.next_backoff(env);
                if let State::Shaking(shaking) = &mut self.state {
                    shaking.go_on(env, retry_in);
                }
                env.emit(Event::Lobby(LobbyState::Retrying { error: LobbyError::NoAnswer, retry_in }));
            }
        }
    }

    /// Ends one login attempt.
    pub(super) fn failed(&mut self, env: &mut Env<'_>, error: LobbyError) {
        match error {
            LobbyError::WrongKey | LobbyError::KeyChanged { .. } | LobbyError::OtherProtocol { .. } => {
                self.give_up(env, error)
            }
            error => self.retry(env, error),
        }
    }

    pub(super) fn give_up(&mut self, env: &mut Env<'_>, error: LobbyError) {
        self.stream.close(env);
        self.state = State::Idle;
        env.emit(Event::Lobby(LobbyState::Refused { error }));
    }

    fn retry(&mut self, env: &mut Env<'_>, error: LobbyError) {
        self.stream.close(env);
        let retry_in = self.next_backoff(env);
        self.state = State::Waiting(env.now + retry_in);
        env.emit(Event::Lobby(LobbyState::Retrying { error, retry_in }));
    }

    fn next_backoff(&mut self, env: &mut Env<'_>) -> Duration {
        // Up to half as long again, so that a restarted server is not hit by all its players at once.
        let jitter = f64::from(env.rng.next_u32()) / f64::from(u32::MAX) / 2.0;
        let waited_for = |lost: Instant| env.now.saturating_duration_since(lost) < env.config.away_timeout;
        let hurry = self.in_room && self.lost_at.is_some_and(waited_for);
        let backoff = if hurry { self.backoff.min(IN_ROOM) } else { self.backoff };
        let retry_in = backoff.max(LEAST_BACKOFF).mul_f64(1.0 + jitter);
        self.backoff = (self.backoff * 2).min(env.config.relogin_max);
        retry_in
    }

    pub(super) fn lost(&mut self, env: &mut Env<'_>, error: LobbyError) -> Option<LinkEvent> {
        // Where others in a room wait, the own way to the server may be what was lost: they are where they were, and the next
        // server is asked a moment later anyway.
        let may_be_there = self.in_room && error == LobbyError::Lost;
        if let State::Online(online) = &self.state
            && !may_be_there
        {
            let server = online.server;
            self.pass_over(server);
        }
        self.lost_at.get_or_insert(env.now);
        self.retry(env, error);
        Some(LinkEvent::Lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_go_where_the_server_is_reached_and_nowhere_where_a_proxy_is_before_it() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let reached = |targets: &[&str], server: &str, observed: &str, local: &str| -> Vec<String> {
            let welcome = Welcome {
                session: 1,
                observed: at(observed),
                probe_targets: targets.iter().map(|text| at(text)).collect(),
                session_timeout_s: 30,
                other_family: Vec::new(),
                reset: [0; 16],
            };
            let local: Vec<IpAddr> = local.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
            as_reached(&welcome, at(server), &local).iter().map(ToString::to_string).collect()
        };
        let (player, home) = ("203.0.113.1:4000", "192.168.1.2");
        // A cloud's 1:1 NAT, of which nobody has told the server.
        assert_eq!(
            reached(&["0.0.0.0:3478", "0.0.0.0:3479"], "198.51.100.1:3478", player, home),
            ["198.51.100.1:3478", "198.51.100.1:3479"]
        );
        assert_eq!(
            reached(&["[::]:7"], "[2001:db8::1]:3478", "[2001:db8:9::1]:4000", home),
            ["[2001:db8::1]:7"]
        );
        let plain = ["198.51.100.1:3478", "198.51.100.2:3478"];
        assert_eq!(reached(&plain, plain[0], player, home), plain);
        assert_eq!(reached(&plain, plain[1], player, home), plain, "the second address serves as well");
        // Docker's proxy: a bridge's address that is none of the player's own.
        let inside = ["172.17.0.2:3478", "172.17.0.2:3479"];
        assert!(reached(&inside, "198.51.100.1:3478", "172.17.0.1:40000", home).is_empty());
        assert!(reached(&["127.0.0.1:3478"], "198.51.100.1:3478", "127.0.0.1:40000", home).is_empty());
        // In one network with the server, or in a network inside of that.
        let lan = ["192.168.1.50:3478"];
        assert_eq!(reached(&lan, lan[0], "192.168.1.2:4000", home), lan);
        assert_eq!(reached(&lan, lan[0], "192.168.1.77:4000", "10.0.2.15"), lan);
        // One cloud, from inside, by the public address.
        assert_eq!(
            reached(&["10.0.0.5:3478"], "198.51.100.1:3478", "10.0.0.9:4000", "10.0.0.9"),
            ["10.0.0.5:3478"]
        );
    }
}
