//! What the player has set: kept between runs in a file that people can read and edit.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bevy::app::AppExit;
use bevy::prelude::*;
use bevy_traversal::KeptFile;
use serde::{Deserialize, Serialize};

use crate::sim::MAX_PLAYERS;

/// The file is written this long after the last change: a window that is being resized changes all the time.
const QUIET: Duration = Duration::from_secs(1);
/// A longer file is none of ours.
const MAX_BYTES: u64 = 64 * 1024;

/// These are the settings of a player.
#[derive(Resource, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Others see this name; where it is empty it is the system's name of the user.
    pub name: String,
    /// The player wishes this colour, 0..=7; another one is given where it is taken. None: any.
    pub colour: Option<u8>,
    /// The game fills the screen (default: no).
    pub full_screen: bool,
    /// This is the size of the window, in logical pixels.
    pub window: (u32, u32),
    /// Sounds are so loud, 0..=10 (default: 7).
    pub volume: u8,
    /// The music is so loud, 0..=10 (default: 5).
    pub music: u8,
    /// Nothing is heard (default: no).
    pub muted: bool,
    /// These are the keys; arrows, mouse and Ctrl work always.
    pub keys: BTreeMap<Act, String>,
}

impl Default for Settings {
    fn default() -> Self {
        let keys = Act::ALL.map(|act| (act, String::from(act.usual())));
        Self {
            name: String::new(),
            colour: None,
            full_screen: false,
            window: (1280, 720),
            volume: 7,
            music: 5,
            muted: false,
            keys: keys.into(),
        }
    }
}

/// These things are done by keys that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Walk up.
    Up,
    /// Walk left.
    Left,
    /// Walk down.
    Down,
    /// Walk right.
    Right,
    /// Fire.
    Fire,
    /// Dash.
    Dash,
}

impl Act {
    /// These are all of them.
    pub const ALL: [Self; 6] = [Self::Up, Self::Left, Self::Down, Self::Right, Self::Fire, Self::Dash];

    /// Returns the key that does it where the player has set none.
    fn usual(self) -> &'static str {
        match self {
            Self::Up => "W",
            Self::Left => "A",
            Self::Down => "S",
            Self::Right => "D",
            Self::Fire => "J",
            Self::Dash => "Space",
        }
    }

    /// Returns what it does, in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "Up",
            Self::Left => "Left",
            Self::Down => "Down",
            Self::Right => "Right",
            Self::Fire => "Fire",
            Self::Dash => "Dash",
        }
    }
}

macro_rules! keys {
    ($($name:literal $code:ident),+ $(,)?) => {
        /// These keys can be set, by their names in the file.
        const KEYS: &[(&str, KeyCode)] = &[$(($name, KeyCode::$code)),+];
    };
}

keys!(
    "A" KeyA, "B" KeyB, "C" KeyC, "D" KeyD, "E" KeyE, "F" KeyF, "G" KeyG, "H" KeyH, "I" KeyI, "J" KeyJ, "K" KeyK,
    "L" KeyL, "M" KeyM, "N" KeyN, "O" KeyO, "P" KeyP, "Q" KeyQ, "R" KeyR, "S" KeyS, "T" KeyT, "U" KeyU, "V" KeyV,
    "W" KeyW, "X" KeyX, "Y" KeyY, "Z" KeyZ, "0" Digit0, "1" Digit1, "2" Digit2, "3" Digit3, "4" Digit4, "5" Digit5,
    "6" Digit6, "7" Digit7, "8" Digit8, "9" Digit9, "Space" Space, "Shift" ShiftLeft, "Ctrl" ControlLeft,
    "Alt" AltLeft, "," Comma, "." Period, "-" Minus, ";" Semicolon, "'" Quote, "[" BracketLeft, "]" BracketRight,
    "Num 0" Numpad0, "Num 1" Numpad1, "Num 2" Numpad2, "Num 3" Numpad3, "Num 4" Numpad4, "Num 5" Numpad5,
    "Num 6" Numpad6, "Num 7" Numpad7, "Num 8" Numpad8, "Num 9" Numpad9,
);

impl Settings {
    /// Returns the key that does this.
    pub fn key(&self, act: Act) -> KeyCode {
        let code = |name: &str| KEYS.iter().find(|(known, _)| *known == name).map(|(_, code)| *code);
        let usual = || code(act.usual()).unwrap_or(KeyCode::Space);
        self.keys.get(&act).and_then(|name| code(name)).unwrap_or_else(usual)
    }

    /// Returns the name of the key that does this.
    pub fn key_name(&self, act: Act) -> &'static str {
        let code = self.key(act);
        KEYS.iter().find(|(_, known)| *known == code).map_or("?", |(name, _)| name)
    }

    /// Sets the key that does this; a key that did something else changes places with it. Returns whether it can be set.
    pub fn set_key(&mut self, act: Act, code: KeyCode) -> bool {
        let Some((name, _)) = KEYS.iter().find(|(_, known)| *known == code) else { return false };
        let before = self.key_name(act);
        if let Some(other) = Act::ALL.into_iter().find(|other| *other != act && self.key(*other) == code) {
            self.keys.insert(other, before.to_owned());
        }
        self.keys.insert(act, (*name).to_owned());
        true
    }

    /// Returns the settings with all values in their ranges.
    fn sound(mut self) -> Self {
        self.colour = self.colour.filter(|colour| usize::from(*colour) < MAX_PLAYERS);
        (self.volume, self.music) = (self.volume.min(10), self.music.min(10));
        self.window = (self.window.0.clamp(320, 8192), self.window.1.clamp(180, 8192));
        self
    }

    /// Reads the file; where there is none, or it cannot be read, these are the usual settings, and a sentence says why.
    pub fn read(file: &Path) -> (Self, Option<String>) {
        let text = match fs::metadata(file) {
            Ok(about) if about.len() > MAX_BYTES => Err(io::Error::other("it is too long")),
            _ => fs::read_to_string(file),
        };
        let read = match text {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (Self::default(), None),
            Err(error) => Err(error.to_string()),
            Ok(text) => serde_json::from_str::<Self>(&text).map_err(|error| error.to_string()),
        };
        match read {
            Ok(settings) => (settings.sound(), None),
            Err(error) => {
                let note =
                    format!("the settings in {} cannot be used ({error}); delete the file", file.display());
                (Self::default(), Some(note))
            }
        }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let fresh = file.with_extension("new");
        fs::write(&fresh, serde_json::to_string_pretty(self).map_err(io::Error::other)?)?;
        fs::rename(fresh, file)
    }
}

fn folders() -> Option<directories::ProjectDirs> {
    directories::ProjectDirs::from("", "", "arena")
}

/// Gives the place where the player's system keeps the data of programs: for the keys of lobby servers.
pub fn known_servers() -> KeptFile {
    folders().map_or(KeptFile::Off, |folders| KeptFile::File(folders.data_dir().join("known_servers")))
}

/// Gives the place where the player's system keeps the settings of programs.
pub fn settings_file() -> Option<PathBuf> {
    folders().map(|folders| folders.config_dir().join("settings.json"))
}

/// This plugin keeps the settings in their file, where there is one.
#[derive(Debug)]
pub struct SettingsPlugin {
    /// These are the settings at the start.
    pub settings: Settings,
    /// They are kept there; none: nowhere.
    pub file: Option<PathBuf>,
}

#[derive(Resource)]
struct File(PathBuf);

impl Plugin for SettingsPlugin {
    fn build(&self, app: &mut App) {
        app.insert_resource(self.settings.clone());
        if let Some(file) = &self.file {
            app.insert_resource(File(file.clone())).add_systems(Last, keep);
        }
    }
}

fn keep(
    time: Res<Time<Real>>,
    settings: Res<Settings>,
    file: Res<File>,
    mut exit: MessageReader<AppExit>,
    mut kept: Local<Option<Settings>>,
    mut changed: Local<Duration>,
) {
    let kept = kept.get_or_insert_with(|| settings.clone());
    if settings.is_changed() {
        *changed = time.elapsed();
    }
    let due = exit.read().count() > 0 || time.elapsed() > *changed + QUIET;
    if due && *kept != *settings {
        // Once for each change, whether it can be written or not.
        kept.clone_from(&settings);
        if let Err(error) = settings.write(&file.0) {
            warn!("the settings are not kept: {} cannot be written: {error}", file.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir()
            .join(format!("arena-settings-{}-{name}", std::process::id()))
            .join("settings.json")
    }

    #[test]
    fn what_is_set_is_there_in_the_next_run() {
        let file = place("kept");
        let run = |change: &dyn Fn(&mut Settings)| {
            let (settings, note) = Settings::read(&file);
            assert_eq!(note, None);
            let mut app = App::new();
            app.add_plugins((
                MinimalPlugins,
                SettingsPlugin { settings: settings.clone(), file: Some(file.clone()) },
            ));
            app.update();
            change(&mut app.world_mut().resource_mut::<Settings>());
            app.world_mut().write_message(AppExit::Success);
            app.update();
            settings
        };
        assert_eq!(run(&|_| {}), Settings::default());
        assert!(!file.exists(), "nothing was set");
        run(&|settings| (settings.name, settings.window) = (String::from("Ann"), (800, 600)));
        let kept = run(&|settings| assert!(settings.set_key(Act::Up, KeyCode::KeyI)));
        assert_eq!((kept.name.as_str(), kept.window), ("Ann", (800, 600)));
        let kept = run(&|_| {});
        assert_eq!((kept.key(Act::Up), kept.name.as_str()), (KeyCode::KeyI, "Ann"));
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_damaged_file_is_told_and_wild_values_are_tamed() {
        let file = place("damaged");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "{ no").unwrap();
        let (settings, note) = Settings::read(&file);
        assert_eq!(settings, Settings::default());
        assert!(note.unwrap().contains("delete the file"));
        fs::write(&file, r#"{"colour": 99, "window": [1, 99999], "keys": {"up": "Hyper"}}"#).unwrap();
        let (settings, note) = Settings::read(&file);
        assert_eq!((settings.colour, settings.window, note), (None, (320, 8192), None));
        assert_eq!((settings.key(Act::Up), settings.key(Act::Dash)), (KeyCode::KeyW, KeyCode::Space));
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_key_does_one_thing() {
        let mut settings = Settings::default();
        assert!(settings.set_key(Act::Up, KeyCode::KeyS));
        assert_eq!((settings.key_name(Act::Up), settings.key_name(Act::Down)), ("S", "W"));
        assert!(!settings.set_key(Act::Up, KeyCode::Escape), "the way to the menu");
    }
}
