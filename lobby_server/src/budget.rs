//! What the relay may send in a day and in a month: traffic is what a server costs, and many contracts include only so much.
//!
//! A day and a month are those of the calendar, in UTC. When a budget is used up, no further match gets the relay; those that
//! have it go on at a rate that a game can be played with. Cutting them off would end running games for a small part of the
//! traffic, and leaving them alone could cost as much again: one may use the relay for hours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// This says how many bytes may be sent; `None`: as many as there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayBudget {
    /// This many bytes may be sent in a day of UTC, headers included.
    pub day: Option<u64>,
    /// This many bytes may be sent in a calendar month.
    pub month: Option<u64>,
}

/// This says how many bytes the relay has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayUsed {
    /// These were sent today (UTC).
    pub day: u64,
    /// These were sent in this month (UTC).
    pub month: u64,
}

impl RelayBudget {
    fn is_used_up(self, used: RelayUsed) -> bool {
        self.day.is_some_and(|most| used.day >= most) || self.month.is_some_and(|most| used.month >= most)
    }
}

/// These are the budgets: of all games together, and of single ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayBudgets {
    /// All games together may send so much.
    pub all: RelayBudget,
    /// Single games may send so much, by their ids.
    pub games: BTreeMap<String, RelayBudget>,
}

/// This is what was sent, and when: what is kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayUsage {
    /// Today is so many days after the start of 1970.
    pub day: u64,
    /// This month is so many months after the start of the year 0.
    pub month: u32,
    /// This is what all games sent together.
    pub all: RelayUsed,
    /// This is what games with a budget of their own sent.
    pub games: BTreeMap<String, RelayUsed>,
}

/// This says which budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UsedUp {
    All,
    Game,
}

/// This keeps to the budgets.
#[derive(Debug)]
pub(crate) struct Budget {
    budgets: RelayBudgets,
    usage: RelayUsage,
}

impl Budget {
    pub(crate) fn new(budgets: RelayBudgets) -> Self {
        let games = budgets.games.keys().map(|game| (game.clone(), RelayUsed::default())).collect();
        Self { budgets, usage: RelayUsage { games, ..RelayUsage::default() } }
    }

    /// Has other budgets from now on; what was used stays.
    pub(crate) fn set(&mut self, budgets: RelayBudgets) {
        let kept = std::mem::take(&mut self.usage.games);
        let used = |game: &String| kept.get(game).copied().unwrap_or_default();
        self.usage.games = budgets.games.keys().map(|game| (game.clone(), used(game))).collect();
        self.budgets = budgets;
    }

    /// Goes on from what was used before a restart. What is of another day or month counts no more when the time is told.
    pub(crate) fn restore(&mut self, kept: &RelayUsage) {
        self.usage.day = kept.day;
        self.usage.month = kept.month;
        self.usage.all = kept.all;
        for (game, used) in &mut self.usage.games {
            *used = kept.games.get(game).copied().unwrap_or_default();
        }
    }

    /// It is so many seconds after the start of 1970: a new day or month begins at zero.
    pub(crate) fn set_time(&mut self, seconds: u64) {
        let day = seconds / 86_400;
        if day == self.usage.day {
            return;
        }
        let month = month_of(seconds);
        let new_month = month != self.usage.month;
        for used in self.usage.games.values_mut().chain([&mut self.usage.all]) {
            used.day = 0;
            if new_month {
                used.month = 0;
            }
        }
        (self.usage.day, self.usage.month) = (day, month);
    }

    /// Players of this game have sent so much.
    pub(crate) fn spend(&mut self, game: &str, bytes: u64) {
        for used in self.usage.games.get_mut(game).into_iter().chain([&mut self.usage.all]) {
            used.day = used.day.saturating_add(bytes);
            used.month = used.month.saturating_add(bytes);
        }
    }

    /// Returns which budget has nothing left for players of this game.
    pub(crate) fn used_up(&self, game: &str) -> Option<UsedUp> {
        if self.budgets.all.is_used_up(self.usage.all) {
            return Some(UsedUp::All);
        }
        let budget = self.budgets.games.get(game)?;
        let used = self.usage.games.get(game).copied().unwrap_or_default();
        budget.is_used_up(used).then_some(UsedUp::Game)
    }

    /// Returns what was used.
    pub(crate) fn usage(&self) -> &RelayUsage {
        &self.usage
    }
}

/// Counts the months from the start of the year 0; 0 for a time that no calendar has.
fn month_of(seconds: u64) -> u32 {
    let date =
        i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    date.map_or(0, |date| date.year().unsigned_abs() * 12 + u32::from(u8::from(date.month())) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last second of 2027.
    const SILVESTER: u64 = 1_830_297_599;

    fn budget() -> Budget {
        let day = |day| RelayBudget { day: Some(day), month: None };
        let all = RelayBudget { day: Some(1000), month: Some(2500) };
        Budget::new(RelayBudgets { all, games: [("small".into(), day(100))].into() })
    }

    #[test]
    fn a_days_budget_comes_back_at_midnight_and_a_months_at_its_end() {
        let mut budget = budget();
        let mut told = Vec::new();
        // Each day as much as it lets through, from the 29th of December on.
        for day in 0..5 {
            budget.set_time(SILVESTER - 2 * 86_400 + day * 86_400);
            let mut sent = 0;
            while budget.used_up("big").is_none() {
                budget.spend("big", 50);
                sent += 50;
            }
            told.push(sent);
        }
        assert_eq!(told, [1000, 1000, 500, 1000, 1000], "December has no more, January begins anew");
    }

    #[test]
    fn a_game_that_has_used_up_its_own_leaves_the_others_theirs() {
        let mut budget = budget();
        budget.set_time(SILVESTER);
        budget.spend("small", 100);
        assert_eq!(budget.used_up("small"), Some(UsedUp::Game));
        assert_eq!(budget.used_up("big"), None);
        budget.spend("big", 900);
        assert_eq!((budget.used_up("small"), budget.used_up("big")), (Some(UsedUp::All), Some(UsedUp::All)));
    }

    #[test]
    fn other_budgets_count_what_was_used_before() {
        let mut budget = budget();
        budget.set_time(SILVESTER);
        budget.spend("small", 100);
        let more = RelayBudget { day: Some(150), month: None };
        let games = [("small".to_owned(), more), ("new".to_owned(), more)].into();
        budget.set(RelayBudgets { games, ..RelayBudgets::default() });
        assert_eq!((budget.used_up("small"), budget.used_up("new")), (None, None));
        budget.spend("small", 50);
        assert_eq!((budget.used_up("small"), budget.used_up("new")), (Some(UsedUp::Game), None));
    }

    #[test]
    fn a_restart_goes_on_where_it_was_and_forgets_what_is_of_another_month() {
        let mut before = budget();
        before.set_time(SILVESTER);
        before.spend("small", 70);
        let kept: RelayUsage = serde_json::from_str(&serde_json::to_string(before.usage()).unwrap()).unwrap();
        for (later, left) in [(0, 70), (1, 0)] {
            let mut after = budget();
            after.restore(&kept);
            after.set_time(SILVESTER + later);
            assert_eq!(after.usage().games["small"].day, left);
            assert_eq!(after.usage().all.month, left);
        }
        let mut other = Budget::new(RelayBudgets::default());
        other.restore(&kept);
        assert_eq!(other.usage().all.day, 70);
        assert!(other.usage().games.is_empty(), "a budget that was taken away leaves nothing");
        assert_eq!(other.used_up("small"), None);
    }

    #[test]
    fn no_time_of_any_clock_panics() {
        let mut budget = budget();
        for seconds in [0, 1, SILVESTER, u64::from(u32::MAX), u64::MAX / 2, u64::MAX] {
            budget.set_time(seconds);
            budget.spend("small", u64::MAX);
        }
        assert_eq!(month_of(SILVESTER), 2027 * 12 + 11);
        assert_eq!(month_of(SILVESTER + 1), 2028 * 12);
    }
}
