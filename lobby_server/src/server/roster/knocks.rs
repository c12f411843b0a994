//! Knocks: after a silence the server sends to a mapping of the player's, to show whether it still lives (RFC 5780 section
//! 4.6).
//!
//! The RFC's way, a port named by the client, would have us send wherever we are told to. Here only a mapping counts that
//! we have ourselves reported to this very session, at the IP that the session is validated at, a few minutes ago: the
//! report was sealed, and sent there, so that whoever shows it has received it there. By now the mapping may be a
//! neighbour's behind the same NAT; to him goes one datagram for each that the player has sent, within a small rate.
//! Nothing is kept but that rate.

use std::time::Duration;

use traversal_core::classify::LifetimeSearch;
use traversal_core::wire::Kind;
use traversal_core::wire::message::Frame;
use traversal_core::wire::port_report::PortReport;

use super::{Context, Roster};
use crate::ids::SessionId;
use crate::server::refusals::Refusal;
use crate::server::sockets::Route;

/// This is the longest silence that a player waits for, with what may be lost meanwhile.
const REPORT_AGE: Duration = LifetimeSearch::LONGEST.saturating_add(Duration::from_secs(60));

impl Roster {
    /// Sends to the mapping of this report, if it is the player's. From the socket that was asked: the player has sent to
    /// it from that mapping, too, so a filter lets it in.
    pub(super) fn knock(
        &mut self,
        cx: &mut Context,
        id: SessionId,
        (route, length): (Route, usize),
        (tag, report): (u32, PortReport),
    ) {
        let now = cx.now;
        let now_ms = cx.uptime().as_millis() as u64;
        let oldest = now_ms.saturating_sub(REPORT_AGE.as_millis() as u64);
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let allowed = route.peer == client.route.peer
            && report.observed.ip() == route.peer.ip()
            && (oldest..=now_ms).contains(&report.at_ms)
            && self.report_key.is_genuine(id.0, &report);
        if !allowed {
            cx.counters.dropped += 1;
            return;
        }
        if !client.busy(now).knocks.take(cx.config.knock_rate, now) {
            cx.counters.limit(Refusal::KnockRate);
            return;
        }
        let knock = client.session.seal(now, Kind::Probe, &Frame::Knock { tag });
        let word = Frame::ProbeSeen { tag, observed: route.peer };
        let word = client.session.seal(now, Kind::Probe, &word);
        let (Some(knock), Some(word)) = (knock, word) else { return };
        if knock.len() > length || word.len() > length {
            cx.counters.dropped += 1;
            return;
        }
        cx.counters.probes += 1;
        cx.transmit(Route { peer: report.observed, ..route }, knock);
        cx.transmit(route, word);
    }
}
