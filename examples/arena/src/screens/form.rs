//! What the player has typed and chosen so far.

use std::fmt;

use bevy::prelude::Resource;
use bevy_traversal::{RoomQuery, RoomSort, Secret};

use super::page::{Choice, Field};
use crate::session::{HostPlan, QuickPlan};
use crate::settings::{Act, Settings};
use crate::sim::{MAX_NAME, MAX_PLAYERS, Map, Rules};
use crate::theme;

/// These are the orders of the list of rooms, by their names.
const ORDERS: [(RoomSort, &str); 4] = [
    (RoomSort::RoundTrip, "nearest"),
    (RoomSort::Players, "emptiest"),
    (RoomSort::Age, "newest"),
    (RoomSort::Name, "by name"),
];

/// These are the texts and choices of all screens.
#[derive(Resource, Clone, PartialEq)]
pub struct Form {
    /// This is the player's name.
    pub name: String,
    /// This is the lobby server, as typed.
    pub server: String,
    /// This is the room's name.
    pub room: String,
    /// This is the room's password; where it is empty the room has none.
    pub password: String,
    /// This is the code of a room, or an invite, as typed.
    pub code: String,
    /// Rooms with this in their names are listed.
    pub search: String,
    /// Rooms are listed in this order.
    pub order: RoomSort,
    /// Full rooms are listed, too.
    pub full: bool,
    /// So many players fit into the room.
    pub capacity: usize,
    /// So many play a quick match.
    pub together: usize,
    /// So many computer players take part.
    pub bots: usize,
    /// So many points win a round.
    pub points: u16,
    /// It is played there; none: the maps take turns.
    pub map: Option<Map>,
    /// Two teams play.
    pub teams: bool,
    /// This says whether the room is listed for all.
    pub listed: bool,
    /// This is said at the foot of the title.
    pub note: String,
    /// These are kept between runs.
    pub settings: Settings,
    /// The next key that is pressed will do this.
    pub awaits_key: Option<Act>,
}

impl fmt::Debug for Form {
    /// Writes everything but the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, server, room, code, capacity, bots, points, listed, note, settings, .. } = self;
        f.debug_struct("Form")
            .field("name", name)
            .field("server", server)
            .field("room", room)
            .field("code", code)
            .field("choices", &(capacity, bots, points, listed))
            .field("note", note)
            .field("settings", settings)
            .finish_non_exhaustive()
    }
}

impl Default for Form {
    fn default() -> Self {
        Self {
            name: String::from("player"),
            server: String::new(),
            room: String::new(),
            password: String::new(),
            code: String::new(),
            search: String::new(),
            order: RoomSort::RoundTrip,
            full: true,
            capacity: MAX_PLAYERS,
            together: 2,
            bots: 3,
            points: Rules::default().target,
            map: None,
            teams: false,
            listed: true,
            note: String::new(),
            settings: Settings::default(),
            awaits_key: None,
        }
    }
}

impl Form {
    /// Returns a text of the form.
    pub fn text(&self, field: Field) -> &str {
        match field {
            Field::Name => &self.name,
            Field::Server => &self.server,
            Field::Room => &self.room,
            Field::Password => &self.password,
            Field::Code => &self.code,
            Field::Search => &self.search,
        }
    }

    fn text_mut(&mut self, field: Field) -> (&mut String, usize) {
        match field {
            Field::Name => (&mut self.name, MAX_NAME),
            Field::Server => (&mut self.server, 128),
            Field::Room => (&mut self.room, 32),
            Field::Password => (&mut self.password, 32),
            // Invites are that long.
            Field::Code => (&mut self.code, 512),
            Field::Search => (&mut self.search, 64),
        }
    }

    /// Appends what was typed, as far as there is room.
    pub fn type_in(&mut self, field: Field, typed: &str) {
        let (text, limit) = self.text_mut(field);
        for c in typed.chars().filter(|c| !c.is_control()) {
            if text.len() + c.len_utf8() <= limit {
                text.push(c);
            }
        }
    }

    /// Takes the last letter back.
    pub fn erase(&mut self, field: Field) {
        self.text_mut(field).0.pop();
    }

    /// Moves a choice to its next or former value.
    pub fn change(&mut self, choice: Choice, by: i32) {
        let step = |value: usize, from: usize, to: usize| {
            (value as i64 + i64::from(by)).clamp(from as i64, to as i64) as usize
        };
        match choice {
            Choice::Capacity => {
                self.capacity = step(self.capacity, 2, MAX_PLAYERS);
                self.bots = self.bots.min(self.capacity - 1);
            }
            Choice::Together => self.together = step(self.together, 2, MAX_PLAYERS),
            Choice::Bots => self.bots = step(self.bots, 0, self.capacity - 1),
            Choice::Points => self.points = step(usize::from(self.points), 1, 30) as u16,
            Choice::Map => {
                let place = self.map.and_then(|map| Map::ALL.iter().position(|known| *known == map));
                let place = step(place.map_or(0, |place| place + 1), 0, Map::ALL.len());
                self.map = place.checked_sub(1).and_then(|place| Map::ALL.get(place)).copied();
            }
            Choice::Mode => self.teams = !self.teams,
            Choice::Listed => self.listed = !self.listed,
            Choice::Full => self.full = !self.full,
            Choice::Order => {
                let place = ORDERS.iter().position(|(order, _)| *order == self.order).unwrap_or_default();
                self.order =
                    ORDERS[(place as i64 + i64::from(by)).rem_euclid(ORDERS.len() as i64) as usize].0;
            }
            Choice::FullScreen => self.settings.full_screen = !self.settings.full_screen,
            // Whoever turns it up wants to hear it.
            Choice::Volume => {
                self.settings.volume = step(usize::from(self.settings.volume), 0, 10) as u8;
                self.settings.muted = false;
            }
            Choice::Music => {
                self.settings.music = step(usize::from(self.settings.music), 0, 10) as u8;
                self.settings.muted = false;
            }
            // Any colour, and then each.
            Choice::Colour => {
                let place = self.settings.colour.map_or(0, |colour| usize::from(colour) + 1);
                self.settings.colour = step(place, 0, MAX_PLAYERS).checked_sub(1).map(|colour| colour as u8);
            }
        }
    }

    /// Returns the choice in words.
    pub fn shown(&self, choice: Choice) -> String {
        match choice {
            Choice::Capacity => self.capacity.to_string(),
            Choice::Together => self.together.to_string(),
            Choice::Bots => self.bots.to_string(),
            Choice::Points => self.points.to_string(),
            Choice::Map => self.map.map_or("in turn", Map::name).to_owned(),
            Choice::Mode => String::from(if self.teams { "two teams" } else { "each for himself" }),
            Choice::Listed => String::from(if self.listed { "yes" } else { "no" }),
            Choice::Volume | Choice::Music if self.settings.muted => String::from("off (M)"),
            Choice::Volume => self.settings.volume.to_string(),
            Choice::Music => self.settings.music.to_string(),
            Choice::Full => String::from(if self.full { "too" } else { "no" }),
            Choice::Order => {
                let order = ORDERS.iter().find(|(order, _)| *order == self.order);
                order.map_or("", |(_, name)| name).to_owned()
            }
            Choice::FullScreen => String::from(if self.settings.full_screen { "yes" } else { "no" }),
            Choice::Colour => self.settings.colour.map_or("any", theme::colour_name).to_owned(),
        }
    }

    /// Returns the password, if there is one.
    pub fn password(&self) -> Option<Secret<String>> {
        (!self.password.is_empty()).then(|| self.password.as_str().into())
    }

    /// Returns which rooms are listed.
    pub fn query(&self) -> RoomQuery {
        RoomQuery {
            text: self.search.trim().to_owned(),
            not_full: !self.full,
            same_protocol: true,
            sort: self.order,
            ..RoomQuery::default()
        }
    }

    /// Returns which players are waited for.
    pub fn quick(&self) -> QuickPlan {
        QuickPlan { players: self.together as u16, rules: Rules::default() }
    }

    /// Returns how to open a room.
    pub fn plan(&self) -> HostPlan {
        HostPlan {
            room: self.room.trim().to_owned(),
            password: self.password(),
            listed: self.listed,
            capacity: self.capacity as u16,
            bots: self.bots,
            rules: Rules { target: self.points, map: self.map, teams: self.teams, ..Rules::default() },
            begin_with: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use clap::Parser;

    use bevy_traversal::JoinRoom;

    use crate::cli::Cli;
    use crate::session::{Ask, Goal, Target};

    #[test]
    fn texts_are_bounded_and_choices_stay_in_range() {
        let mut form = Form::default();
        form.type_in(Field::Room, &"x\u{8}".repeat(100));
        assert_eq!(form.room.len(), 32);
        form.erase(Field::Room);
        assert_eq!(form.room.len(), 31);
        for _ in 0..20 {
            form.change(Choice::Capacity, -1);
        }
        assert_eq!((form.capacity, form.bots), (2, 1));
        form.change(Choice::Bots, 5);
        assert_eq!(form.bots, 1);
        form.change(Choice::Together, -5);
        assert_eq!(form.quick().players, 2);
        form.change(Choice::Together, 50);
        assert_eq!(usize::from(form.quick().players), MAX_PLAYERS);
        form.change(Choice::Listed, 1);
        assert!(!form.plan().listed);
        assert_eq!(form.plan().password, None);
    }

    /// Whatever holds a password.
    #[test]
    fn nothing_prints_a_password() {
        let form = Form { password: "sesame-1234".into(), room: "den".into(), ..Form::default() };
        let (plan, password) = (form.plan(), form.password());
        let (target, wait) = (Target::Name("den".into()), Duration::ZERO);
        let cli = Cli::parse_from(["arena", "--join", "den", "--password", "sesame-1234"]);
        assert_eq!(cli.password, password);
        let printed = [
            format!("{form:?}"),
            format!("{plan:?}"),
            format!("{:?}", Goal::Host(plan.clone())),
            format!(
                "{:?}",
                Goal::Join { target: target.clone(), password: password.clone(), wait, watch: false }
            ),
            format!("{:?}", Ask::Host(plan)),
            format!("{:?}", Ask::Join(JoinRoom { target, password, wait, spectate: false })),
            format!("{cli:?}"),
        ];
        for text in printed {
            assert!(text.contains("den") && !text.contains("sesame"), "{text}");
        }
    }
}
