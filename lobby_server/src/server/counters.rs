//! What the server counts.

use super::refusals::{Refusal, Refusals};

/// Counts since the start; what the metrics show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// This counts the datagrams that came in.
    pub datagrams_in: u64,
    /// This counts the bytes that came in.
    pub bytes_in: u64,
    /// This counts the datagrams that went out.
    pub datagrams_out: u64,
    /// This counts the bytes that went out.
    pub bytes_out: u64,
    /// This counts the datagrams that were dropped: junk, not authentic, replayed.
    pub dropped: u64,
    /// So many datagrams and requests were over a rate.
    pub limited: u64,
    /// This counts the datagrams that were not sent because their address was not proven and they were longer than
    /// what came from there.
    pub withheld: u64,
    /// This counts the messages to players who take none that were dropped, because too many waited already.
    pub pushes_dropped: u64,
    /// So many players logged in, each counted at its first sealed datagram.
    pub logins: u64,
    /// This counts the logins that were refused.
    pub logins_refused: u64,
    /// This counts the sessions that ended because nothing came from their players.
    pub timeouts: u64,
    /// Players made so many requests.
    pub requests: u64,
    /// This counts the requests that were answered with an error.
    pub requests_failed: u64,
    /// So many wrong passwords of rooms were tried.
    pub wrong_passwords: u64,
    /// This counts the rooms that were opened, those for quick matches among them.
    pub rooms_opened: u64,
    /// This counts the rooms that got another host.
    pub migrations: u64,
    /// So many times players were sent to another node, which has what they want.
    pub sent_elsewhere: u64,
    /// This counts the messages to players who watch rooms, of what has changed among them.
    pub rooms_told: u64,
    /// This counts the messages to players of news of their contacts.
    pub contacts_told: u64,
    /// Players of this node have called somebody so often.
    pub calls: u64,
    /// It has rung at players of this node so often.
    pub calls_rung: u64,
    /// This counts the calls that players of this node have taken.
    pub calls_taken: u64,
    /// Rooms made for players who wanted a quick match.
    pub quick_matches: u64,
    /// Players who came from a line into rooms that looked for more.
    pub backfilled: u64,
    /// Matches that have begun.
    pub matches: u64,
    /// Matches that players reported as directly connected.
    pub matches_direct: u64,
    /// Matches that play over the relay.
    pub matches_relayed: u64,
    /// Matches without any path.
    pub matches_failed: u64,
    /// This counts the probes that were answered.
    pub probes: u64,
    /// This counts the port ranges that players had measured themselves, and that were believed.
    pub claims: u64,
    /// This counts the port ranges of players that were not believed: forged, old, too wide, of no match of the
    /// player's.
    pub claims_refused: u64,
    /// This counts the STUN requests that were answered.
    pub stun: u64,
    /// This counts the probes that were handed to the other server, whose address is this one's second.
    pub neighbour_probes: u64,
    /// This counts the datagrams that were sent for the other server.
    pub neighbour_sent: u64,
    /// This counts the datagrams that went through the relay.
    pub relayed: u64,
    /// This counts the bytes that went through the relay.
    pub relayed_bytes: u64,
    /// This counts the datagrams for the relay that were dropped: no such token, or not from its owner.
    pub relay_dropped: u64,
    /// Matches that got no relay, because those that use it have no more than they need.
    pub relays_refused: u64,
    /// So many datagrams for the relay were over its quotas.
    pub relay_limited: u64,
    /// This counts the texts that were handed on in rooms, each once.
    pub room_texts: u64,
    /// This counts the texts that were handed on in parties, each once.
    pub party_texts: u64,
    /// This counts the texts that were handed on to contacts.
    pub contact_texts: u64,
    /// So many times a reader did not get a text, because it takes nothing at present.
    pub texts_dropped: u64,
    /// This counts the reports of players about others.
    pub reports: u64,
    /// This is what was refused, by reason.
    pub refusals: Refusals,
}

impl Counters {
    /// Counts what was over a limit, by its reason too.
    pub(crate) fn limit(&mut self, refusal: Refusal) {
        self.limited += 1;
        self.refuse(refusal);
    }

    /// Counts what was refused by its reason alone.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.refusals.count(refusal);
    }
}

/// These are numbers of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// This counts the players who are logged in.
    pub sessions: usize,
    /// This counts the rooms that are open.
    pub rooms: usize,
    /// So many players wait for a quick match.
    pub queued: usize,
    /// So many players watch lists of rooms.
    pub watchers: usize,
    /// So many players have said whom they allow to know of them.
    pub contact_lists: usize,
    /// So many contacts they have together.
    pub contacts: usize,
    /// Matches that run.
    pub matches: usize,
    /// Matches that may use the relay.
    pub relays: usize,
}
