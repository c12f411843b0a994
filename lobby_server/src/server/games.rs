//! Numbers of each game, of which there are only so many: whoever logs in names its game as it likes.

/// So many games have numbers of their own; those that come later are counted together. Each is some ten series of the
/// metrics, and a server of one maker has a few.
const MAX_GAMES: usize = 64;

/// All games that have no numbers of their own go by this name. A game that is called so is one of them.
const OTHERS: &str = "other games";

/// These are the numbers of one game since the start, or of all that have none of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GameNumbers {
    /// The game has this id.
    pub game: String,
    /// So many of its players are logged in now.
    pub sessions: u64,
    /// So many of its players logged in.
    pub logins: u64,
    /// So many rooms were opened for it.
    pub rooms_opened: u64,
    /// So many matches began.
    pub matches: u64,
    /// So many matches got a direct path, each counted once.
    pub direct: u64,
    /// So many matches played over the relay, each counted once.
    pub relayed: u64,
    /// So many matches found no path, or lost the one that they had, each counted once.
    pub failed: u64,
    /// So many bytes went through the relay.
    pub relayed_bytes: u64,
}

/// This is the place of a game among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GameSlot(u8);

impl GameSlot {
    /// This is where those are that have no place of their own.
    pub(super) const OTHERS: Self = Self(0);
}

/// These are the numbers of all games, those of `OTHERS` first.
#[derive(Debug)]
pub(super) struct Games(Vec<GameNumbers>);

impl Games {
    /// Gives the games that the operator has named a place each, as far as there are places.
    pub(super) fn new<'a>(named: impl IntoIterator<Item = &'a String>) -> Self {
        let mut games = Self(vec![GameNumbers { game: OTHERS.into(), ..GameNumbers::default() }]);
        for game in named {
            games.slot(game);
        }
        games
    }

    /// Finds the place of a game. One that comes for the first time gets one, if there is one left.
    pub(super) fn slot(&mut self, game: &str) -> GameSlot {
        let known = self.0.iter().position(|numbers| numbers.game == game);
        let index = known.unwrap_or_else(|| {
            if self.0.len() > MAX_GAMES {
                return 0;
            }
            self.0.push(GameNumbers { game: game.into(), ..GameNumbers::default() });
            self.0.len() - 1
        });
        // There are fewer than 256.
        GameSlot(u8::try_from(index).unwrap_or_default())
    }

    /// Returns the numbers at this place.
    pub(super) fn at(&mut self, slot: GameSlot) -> &mut GameNumbers {
        // No place goes away, and the first one is always there.
        let index = usize::from(slot.0).min(self.0.len() - 1);
        &mut self.0[index]
    }

    /// Returns the name of the game at this place.
    pub(super) fn name(&self, slot: GameSlot) -> &str {
        self.0.get(usize::from(slot.0)).map_or(OTHERS, |numbers| &numbers.game)
    }

    /// Gives the numbers of all games, those without a name of their own first.
    pub(super) fn all(&self) -> &[GameNumbers] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn games_that_the_operator_named_have_a_place_and_no_crowd_of_others_takes_memory() {
        let named = ["mine".to_string()];
        let mut games = Games::new(&named);
        for number in 0..10_000 {
            let slot = games.slot(&format!("game {number}"));
            games.at(slot).logins += 1;
        }
        assert_eq!(games.all().len(), 1 + MAX_GAMES);
        assert_eq!(games.all()[0].logins, 10_000 - (MAX_GAMES as u64 - 1), "the others, together");
        let mine = games.slot("mine");
        games.at(mine).matches += 1;
        assert_eq!((games.all()[1].game.as_str(), games.all()[1].matches), ("mine", 1));
        assert_eq!(games.slot(OTHERS), GameSlot::OTHERS, "no two have one name");
    }
}
