//! What an agent tells of the members of its room and of what they say of themselves.

use std::time::{Duration, Instant};

use crate::wire::message::{Changes, CountdownRule, MemberState};

/// This says what a member has changed of what it says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberDiff {
    /// This says whether the member is ready; `None`: that has not changed.
    pub ready: Option<bool>,
    /// The member is in this team now, or in none; `None`: that has not changed.
    pub team: Option<Option<u8>>,
    /// These of its properties have new values, or are gone.
    pub properties: Changes,
}

impl MemberDiff {
    /// Returns what is new; none: nothing is.
    pub(crate) fn between(old: &MemberState, new: &MemberState) -> Option<Self> {
        let mut properties = Changes::new();
        for key in old.properties.keys().filter(|key| !new.properties.contains_key(*key)) {
            properties.insert(key.clone(), None);
        }
        for (key, value) in
            new.properties.iter().filter(|(key, value)| old.properties.get(*key) != Some(*value))
        {
            properties.insert(key.clone(), Some(value.clone()));
        }
        let diff = Self {
            ready: (old.ready != new.ready).then_some(new.ready),
            team: (old.team != new.team).then_some(new.team),
            properties,
        };
        (diff != Self::default()).then_some(diff)
    }
}

/// This is a countdown, whose end is the same moment for all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Countdown {
    /// The countdown ends then, as far as is known when it begins; [`Event::CountdownOver`](super::Event::CountdownOver) comes at
    /// what is known by then.
    pub at: Instant,
    /// The estimate of the server's clock may be wrong by this much; it is half a round trip at the most. `None`:
    /// nothing was measured yet.
    pub exact: Option<Duration>,
    /// It is cancelled by this.
    pub rule: CountdownRule,
}
