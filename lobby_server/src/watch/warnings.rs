//! What an operator is to hear of without looking: each kind is told when it begins, and then no more often than every ten
//! minutes, however often it happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Kernel;
use crate::server::Refusal;
use crate::status::Status;

/// A kind is told again after so long.
const QUIET: Duration = Duration::from_secs(600);
/// A turn of the server's loop that took so long is felt: a login has three of them, and a relayed game has one for each
/// datagram.
const LAG: Duration = Duration::from_millis(250);

/// These kinds are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    KernelDrops,
    Lag,
    Refused(Refusal),
}

/// A budget of which so much is used is told, and again when it is used up.
const NEARLY: f64 = 0.8;

/// This is how far a budget is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Low,
    Nearly,
    UsedUp,
}

/// This is one kind's count, as it was told last.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    count: u64,
    at: Option<Instant>,
}

/// This remembers what was told.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    kinds: BTreeMap<Kind, Told>,
    /// These are the levels that were told, with the day or month that they are of.
    budgets: BTreeMap<String, (u64, Level)>,
}

impl Warnings {
    /// Returns how many of a kind there are since it was told last, where it is time to tell it: `count` is of all times.
    pub(super) fn news(&mut self, now: Instant, kind: Kind, count: u64) -> Option<u64> {
        let told = self.kinds.entry(kind).or_default();
        let lately = told.at.is_some_and(|at| now.saturating_duration_since(at) < QUIET);
        if count <= told.count || lately {
            return None;
        }
        let news = count - told.count;
        *told = Told { count, at: Some(now) };
        Some(news)
    }

    /// Tells what is new.
    pub(super) fn tell(&mut self, now: Instant, status: &Status, kernel: Option<Kernel>) {
        if let Some(kernel) = kernel
            && let Some(datagrams) = self.news(now, Kind::KernelDrops, kernel.drops)
        {
            let (granted, wanted) = (status.receive_buffer, status.wanted_buffer);
            let cure = if granted < wanted {
                format!(
                    "let it have larger buffers: sysctl -w net.core.rmem_max={wanted}, and start it again"
                )
            } else {
                String::from(
                    "the server is too slow for what comes: give it more processor, or raise socket_buffer_kilobytes",
                )
            };
            tracing::warn!(
                datagrams,
                receive_buffer = granted,
                "the system lost datagrams because the server's receive buffer was full; {cure}"
            );
        }
        let slow = status.turns.buckets().filter(|(bound, _)| *bound > LAG.as_secs_f64());
        let slow = slow.map(|(_, count)| count).sum();
        if let Some(turns) = self.news(now, Kind::Lag, slow) {
            tracing::warn!(
                turns,
                longest_ms = status.lag.as_millis() as u64, // fits for half a billion years
                "the server took over a quarter of a second for a turn: players wait. It has too little processor, or \
                 too much to do"
            );
        }
        self.tell_budgets(status);
        for (refusal, count) in status.counters.refusals.iter() {
            let Some(setting) = setting(refusal) else { continue };
            if let Some(refused) = self.news(now, Kind::Refused(refusal), count) {
                tracing::warn!(
                    what = refusal.what(),
                    reason = refusal.reason(),
                    refused,
                    "players were refused: {setting}"
                );
            }
        }
    }
}

impl Warnings {
    fn tell_budgets(&mut self, status: &Status) {
        let usage = &status.relay_usage;
        let games = status.relay_budgets.games.iter().map(|(game, budget)| {
            (format!("of the game {game}"), *budget, usage.games.get(game).copied().unwrap_or_default())
        });
        let all = [(String::from("of all games"), status.relay_budgets.all, usage.all)];
        for (whose, budget, used) in all.into_iter().chain(games) {
            let periods = [
                ("day", budget.day, used.day, usage.day),
                ("month", budget.month, used.month, usage.month.into()),
            ];
            for (period, most, used, number) in periods {
                let Some(most) = most else { continue };
                match self.budget_news(format!("{period} {whose}"), number, used as f64 / most as f64) {
                    Some(Level::UsedUp) => tracing::warn!(
                        used,
                        most,
                        period,
                        "the relay's budget {whose} is used up: no further match gets the relay, and those that have it \
                         are slowed. Raise relay_gigabytes_per_{period}, if your contract has more"
                    ),
                    Some(Level::Nearly) => tracing::warn!(
                        used,
                        most,
                        period,
                        "four fifths of the relay's budget {whose} are used; then no further match gets the relay"
                    ),
                    Some(Level::Low) | None => {}
                }
            }
        }
    }

    /// Returns how far a budget is used, where that is more than was told of this day or month.
    fn budget_news(&mut self, name: String, number: u64, part: f64) -> Option<Level> {
        let level = match part {
            part if part >= 1.0 => Level::UsedUp,
            part if part >= NEARLY => Level::Nearly,
            _ => Level::Low,
        };
        let told = self.budgets.entry(name).or_insert((number, Level::Low));
        let before = if told.0 == number { told.1 } else { Level::Low };
        *told = (number, level.max(before));
        (level > before).then_some(level)
    }
}

/// Says which limit it is that an operator may raise; none where the refused one is to blame itself, or where nothing can be
/// done.
fn setting(refusal: Refusal) -> Option<&'static str> {
    Some(match refusal {
        Refusal::LoginFull => "raise max_sessions, or start another server",
        Refusal::LoginAddressFull | Refusal::MoveAddressFull => {
            "raise max_sessions_per_address, if many players are behind one address"
        }
        Refusal::HelloBusy => {
            "more want to log in at once than it can serve: give it more processor, or start another server"
        }
        Refusal::RoomsFull => "raise max_rooms",
        Refusal::RoomsOfAddress => "raise max_rooms_per_address, if many players are behind one address",
        Refusal::QueueOfAddress => "raise max_queued_per_address, if many players are behind one address",
        Refusal::ContactsFull => "raise max_contacts, up to 1,000",
        Refusal::RelayFull => "raise relay_total_kilobytes_per_s, if the line is fast enough",
        Refusal::TcpFull => "raise max_tcp",
        Refusal::TcpOfAddress => "raise max_tcp_per_address, if many players are behind one address",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_all_the_time_is_told_every_ten_minutes_with_its_number() {
        let start = Instant::now();
        let mut warnings = Warnings::default();
        let mut told = Vec::new();
        for second in 0..1500 {
            let now = start + Duration::from_secs(second);
            told.extend(warnings.news(now, Kind::KernelDrops, second * 100).map(|news| (second, news)));
        }
        assert_eq!(told, [(1, 100), (601, 60_000), (1201, 60_000)]);
        let now = start + Duration::from_secs(3000);
        assert_eq!(warnings.news(now, Kind::KernelDrops, 149_900), Some(29_800), "and the rest of it");
        assert_eq!(warnings.news(now + QUIET, Kind::KernelDrops, 149_900), None, "nothing new");
        assert_eq!(warnings.news(now, Kind::Lag, 1), Some(1), "another kind");
    }

    #[test]
    fn a_budget_is_told_at_four_fifths_and_when_it_is_used_up_each_day_anew() {
        let mut warnings = Warnings::default();
        let mut told = Vec::new();
        for day in 0..2 {
            for percent in 0..130 {
                let news = warnings.budget_news("day".into(), day, f64::from(percent) / 100.0);
                told.extend(news.map(|level| (day, percent, level)));
            }
        }
        let (nearly, used_up) = (Level::Nearly, Level::UsedUp);
        assert_eq!(told, [(0, 80, nearly), (0, 100, used_up), (1, 80, nearly), (1, 100, used_up)]);
        assert_eq!(warnings.budget_news("month".into(), 1, 1.5), Some(used_up), "another one, all at once");
    }
}
