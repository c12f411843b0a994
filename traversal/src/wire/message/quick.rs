//! What a quick match may be: rules, teams, and a step in which all say yes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::to_player::RequestError;
use crate::id::{PlayerId, RoomId};
use crate::text::Rule;

/// A quick match has so many attributes at the most, numbers and texts together.
pub const MAX_ATTRIBUTES: usize = 8;
/// A number's tolerance widens in so many steps at the most.
pub const MAX_STEPS: usize = 8;
/// All names and texts of a quick match's attributes have so many bytes at the most: those of the texts stand in the room's
/// metadata.
pub const MAX_ATTRIBUTE_BYTES: usize = 320;
/// A quick match has so many teams at the most.
pub const MAX_QUICK_TEAMS: usize = 8;

/// This is the rule of an attribute's name.
const ATTRIBUTE: Rule = Rule { what: "name of an attribute", chars: 24, bytes: 24, empty: false };
/// This is the rule of an attribute's text.
const ATTRIBUTE_TEXT: Rule = Rule { what: "text of an attribute", chars: 48, bytes: 48, empty: true };

/// These are the rules by which players of a quick match are put together. Without any, those who waited longest play.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QuickRules {
    /// These numbers have to be near each other, both ways. Only players who name the same meet, in the same order. The first
    /// one should be the one that tells players apart best: candidates are looked for by it, and teams are balanced by it.
    pub numbers: Vec<NumberRule>,
    /// These texts have to be equal, by name.
    pub texts: BTreeMap<String, TextRule>,
    /// The players are split into teams of these sizes, [`MAX_QUICK_TEAMS`] at the most, which come to all players together. Empty:
    /// there are no teams.
    pub teams: Vec<u16>,
    /// All have to say yes within so many seconds, 3..=60, before there is a room. `None`: nobody is asked.
    pub accept_s: Option<u16>,
}

/// A number of this player has to be near those of the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NumberRule {
    /// The number has this name, of 1 to 24 bytes.
    pub name: String,
    /// This player has this number.
    pub value: i32,
    /// Others may differ by the first of these at first, and by the next one after each step of waiting; 1 to [`MAX_STEPS`],
    /// each larger than the one before.
    pub within: Vec<u32>,
    /// A step takes so many seconds, 1..=600.
    pub every_s: u16,
    /// After the last step any number will do.
    pub then_any: bool,
}

impl NumberRule {
    /// Makes a rule that others have to have this number, too.
    pub fn new(name: impl Into<String>, value: i32) -> Self {
        Self { name: name.into(), value, within: vec![0], every_s: 5, then_any: false }
    }

    /// Others may differ by so much: at first by the first of these, then by the next.
    #[must_use]
    pub fn within(self, steps: impl Into<Vec<u32>>) -> Self {
        Self { within: steps.into(), ..self }
    }

    /// A step takes so many seconds.
    #[must_use]
    pub fn every(self, seconds: u16) -> Self {
        Self { every_s: seconds, ..self }
    }

    /// After the last step any number will do.
    #[must_use]
    pub fn then_any(self) -> Self {
        Self { then_any: true, ..self }
    }

    fn checked(self) -> Result<Self, RequestError> {
        let grows = self.within.windows(2).all(|pair| pair[0] < pair[1]);
        if !(1..=MAX_STEPS).contains(&self.within.len()) || !grows {
            return malformed("steps of a number (1 to 8, each larger than the one before)");
        }
        if !(1..=600).contains(&self.every_s) {
            return malformed("seconds of a step (1 to 600)");
        }
        Ok(Self { name: ATTRIBUTE.check(&self.name)?, ..self })
    }
}

/// A text of this player has to be equal to those of the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TextRule {
    /// This player has this text, of at most 48 bytes.
    pub value: String,
    /// It counts for the first so many seconds of waiting, 1..=3600: who has waited that long plays with any. `None`: it
    /// counts for ever, and only players who have the same text wait together.
    pub for_s: Option<u16>,
}

impl TextRule {
    fn checked(self) -> Result<Self, RequestError> {
        if self.for_s.is_some_and(|seconds| !(1..=3600).contains(&seconds)) {
            return malformed("seconds for which a text counts (1 to 3600)");
        }
        Ok(Self { value: ATTRIBUTE_TEXT.check(&self.value)?, ..self })
    }
}

impl QuickRules {
    /// Checks the rules of a match of so many players, and keeps their texts as texts are kept.
    ///
    /// # Errors
    /// What is out of range.
    pub fn checked(self, players: u16) -> Result<Self, RequestError> {
        if self.numbers.len() + self.texts.len() > MAX_ATTRIBUTES {
            return malformed("number of attributes (at most 8)");
        }
        let numbers = self.numbers.into_iter().map(NumberRule::checked).collect::<Result<Vec<_>, _>>()?;
        let mut texts = BTreeMap::new();
        for (name, text) in self.texts {
            texts.insert(ATTRIBUTE.check(&name)?, text.checked()?);
        }
        let doubled = numbers.iter().enumerate().any(|(index, number)| {
            texts.contains_key(&number.name) || numbers[..index].iter().any(|other| other.name == number.name)
        });
        if doubled || texts.contains_key("mode") {
            return malformed("name of an attribute (each another one, none of them \"mode\")");
        }
        let bytes: usize = numbers.iter().map(|number| number.name.len()).sum::<usize>()
            + texts.iter().map(|(name, text)| name.len() + text.value.len()).sum::<usize>();
        if bytes > MAX_ATTRIBUTE_BYTES {
            return malformed("names and texts of the attributes (at most 320 bytes together)");
        }
        let all: u32 = self.teams.iter().map(|size| u32::from(*size)).sum();
        let sizes = self.teams.len() <= MAX_QUICK_TEAMS && self.teams.iter().all(|size| *size > 0);
        if !self.teams.is_empty() && (!sizes || all != u32::from(players)) {
            return malformed("teams (at most 8, which come to all players together)");
        }
        if self.accept_s.is_some_and(|seconds| !(3..=60).contains(&seconds)) {
            return malformed("seconds to accept a match (3 to 60)");
        }
        Ok(Self { numbers, texts, ..self })
    }
}

fn malformed<T>(what: &str) -> Result<T, RequestError> {
    Err(RequestError::Malformed { what: what.into() })
}

/// Players for a quick match were found, and each of them is asked whether it plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchFound {
    /// The answer names this number.
    pub proposal: u64,
    /// It is waited for so many seconds.
    pub within_s: u16,
    /// So many players make the match, this one among them.
    pub players: u16,
}

/// This says who is in which team of a room that a quick match has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Teams {
    /// It is about this room.
    pub room: RoomId,
    /// These are the teams, in the order of [`QuickRules::teams`].
    pub teams: Vec<Vec<PlayerId>>,
}

/// This says how the search of a room for more players comes along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillStatus {
    /// So many more players are looked for. 0: the room has no free place at present, or is locked; it looks again when it has
    /// one.
    pub free: u16,
    /// So many were found and are on their way in, or are asked whether they play. They have places already.
    pub coming: u16,
}
