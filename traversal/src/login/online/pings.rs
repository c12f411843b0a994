//! Pings keep the session and the NATs on its way alive, measure the round trip, and notice that the server is gone.

use std::time::{Duration, Instant};

use super::{Online, PING_RETRY, PINGS, PINGS_TO_STREAM, Ping, REMEMBERED, ROUND_TRIPS_TO_STREAM, Stream};
use crate::api::{SocketId, StreamBy};
use crate::env::Env;
use crate::timer::due;
use crate::wire::message::Frame;

/// A keepalive comes by up to this share of its time too early, by chance: players who logged in together, after a restart
/// of the server, do not keep alive together for ever.
const EARLY: f64 = 0.25;

/// Returns a share from 0 to 1 for a ping of a session. The session's number is the server's randomness, so nothing of the
/// agent's own is used up; these are the steps of SplitMix64.
fn share(session: u64, ping: u32) -> f64 {
    let mut mixed = session.wrapping_add(u64::from(ping).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 40) as f64 / f64::from(1u32 << 24)
}

impl Online {
    /// Returns the time between two pings that wait for an answer.
    pub(super) fn ping_gap(&self) -> Duration {
        PING_RETRY.max(self.session.timing().overdue() / 3)
    }

    /// Takes the answer to one of our pings, which tells the round trip.
    pub(in crate::login) fn ponged(&mut self, now: Instant, id: u32) {
        if let Some(index) = self.asked.iter().position(|(asked, _)| *asked == id) {
            let (_, sent) = self.asked[index];
            self.asked.drain(..=index);
            self.session.sample_rtt(now.saturating_duration_since(sent));
        }
    }

    /// NATs are refreshed by what goes out (RFC 4787 REQ-6), loss is noticed by what no longer comes in.
    pub(super) fn next_ping(&self, quiet: Duration) -> Instant {
        let early = quiet.mul_f64(EARLY * share(self.session.id(), self.pings));
        self.session.last_heard().min(self.session.last_sent()) + quiet - early
    }

    pub(super) fn next_ping_id(&mut self) -> u32 {
        self.pings = self.pings.wrapping_add(1);
        self.pings
    }

    pub(super) fn keep_alive(&mut self, env: &mut Env<'_>, stream: &mut Stream, quiet: Duration) -> bool {
        if self.ping.is_none() && due(Some(self.next_ping(quiet)), env.now) {
            self.ping = Some(Ping::at(env.now));
        }
        let (gap, overdue) = (self.ping_gap(), self.session.timing().overdue());
        let Some(ping) = &mut self.ping else { return false };
        if ping.next > env.now {
            return false;
        }
        // By time, since pings that are asked for at once come in between.
        let since_first = env.now.saturating_duration_since(ping.since);
        if ping.unanswered >= PINGS && since_first >= (gap * PINGS).max(overdue * 2) {
            return true;
        }
        ping.unanswered += 1;
        ping.next = env.now + gap;
        let enough = self.session.rtt().is_none_or(|rtt| since_first >= rtt * ROUND_TRIPS_TO_STREAM);
        let carries = self.carried.is_some_and(|at| env.now.saturating_duration_since(at) < PING_RETRY * 2);
        let silent = ping.unanswered > PINGS_TO_STREAM && enough && !carries;
        let id = self.next_ping_id();
        if self.asked.len() >= REMEMBERED {
            self.asked.pop_front();
        }
        self.asked.push_back((id, env.now));
        self.session.send_once(env.now, &Frame::Ping { id });
        if silent && env.config.tcp && !self.over_stream {
            if stream.is_open() {
                self.knock(env, SocketId::STREAM);
            } else if stream.to().is_none() {
                stream.connect(env, self.server, StreamBy::TcpOrTls);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keepalives_of_players_who_came_together_drift_apart() {
        // A thousand sessions of one instant, with a keepalive of 15 s: how many fall into the busiest second?
        let mut at = vec![0.0; 1000];
        for ping in 0..40 {
            for (session, at) in at.iter_mut().enumerate() {
                let early = share((session as u64).wrapping_mul(0x1234_5678_9abc_def1), ping);
                assert!((0.0..=1.0).contains(&early));
                *at += 15.0 * (1.0 - EARLY * early);
            }
        }
        let last = at.iter().copied().fold(f64::MIN, f64::max);
        let mut seconds = [0; 15];
        at.iter().for_each(|at| seconds[((last - at) % 15.0) as usize] += 1);
        assert!(seconds.iter().all(|count| *count < 200), "even would be 67: {seconds:?}");
    }
}
