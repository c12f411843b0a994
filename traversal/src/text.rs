//! One rule for every text that people read and that others have chosen: names of players and rooms, reasons, metadata.
//!
//! A text is kept in Unicode's normal form C, without space at its ends. It has a length in characters and one in bytes, and
//! no characters that steer a terminal or the direction of writing, that hide, or that pile up over their line:
//!
//! * no control or format characters (general categories Cc and Cf: ESC, NUL, line breaks, the bidirectional overrides,
//!   zero-width characters, tags), no line or paragraph separators, nothing for private use, no code points that are no
//!   characters;
//! * none of the others that are not shown (Default_Ignorable_Code_Point in Unicode's DerivedCoreProperties.txt), but for
//!   the two that choose between the text and the picture of an emoji;
//! * at most four marks in a row over one letter (Hebrew with its points and accents has three or four).
//!
//! The server refuses what breaks the rule where somebody has to choose another text ([`Rule::check`]). Elsewhere, and at
//! players always, what breaks it is left out ([`Rule::clean`]): the message around it still counts.
//!
//! Room names are compared by [`look`]: two that look the same are the same.

use std::fmt;

use serde::{Deserialize, Deserializer};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// A display name has at most this many bytes.
pub const MAX_NAME: usize = 48;
/// A room's name has at most this many bytes.
pub const MAX_ROOM_NAME: usize = 64;
/// A reason that a player may give another has at most this many bytes.
pub const MAX_REASON: usize = 200;
/// An operator's announcement has at most this many bytes: it goes into one datagram of 1,200.
pub const MAX_ANNOUNCEMENT: usize = 800;
/// A room's metadata as a whole (keys and values) has at most this many bytes.
pub const MAX_METADATA: usize = 384;
/// What a player says of itself to its contacts has at most this many bytes.
pub const MAX_STATUS: usize = 120;
/// What players write to each other has at most this many bytes.
pub const MAX_CHAT: usize = 448;
/// The name of a quick match's mode has at most this many bytes.
pub const MAX_MODE: usize = 48;

/// So many marks may stand in a row over one letter.
const MAX_MARKS: usize = 4;

/// This is what a text of one kind may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// This names the kind of text, for people: it stands at the beginning of an error.
    pub what: &'static str,
    /// It may have this many characters (Unicode scalar values).
    pub chars: usize,
    /// It may have this many bytes in UTF-8.
    pub bytes: usize,
    /// The text may be empty.
    pub empty: bool,
}

/// This is the rule of a player's display name.
pub const NAME: Rule = Rule { what: "name", chars: 32, bytes: MAX_NAME, empty: false };
/// This is the rule of a room's name. It is empty where the code is to be the name.
pub const ROOM_NAME: Rule =
    Rule { what: "room name", chars: MAX_ROOM_NAME, bytes: MAX_ROOM_NAME, empty: true };
/// This is the rule of a room's short code.
pub const CODE: Rule = Rule { what: "room code", chars: 16, bytes: 16, empty: true };
/// This rule is for the reason why somebody was refused, put out or left.
pub const REASON: Rule = Rule { what: "reason", chars: 160, bytes: MAX_REASON, empty: true };
/// This rule is for what an operator tells all players of a game.
pub const ANNOUNCEMENT: Rule =
    Rule { what: "announcement", chars: 400, bytes: MAX_ANNOUNCEMENT, empty: false };
/// This rule is for what a player says of itself to its contacts.
pub const STATUS: Rule = Rule { what: "status", chars: 60, bytes: MAX_STATUS, empty: true };
/// This is the rule of what players write to each other. It goes in one piece by every way between two players, the narrowest
/// one that a relay may have included.
pub const CHAT: Rule = Rule { what: "text", chars: 256, bytes: MAX_CHAT, empty: false };
/// This rule is for what a player tells the operator of another one.
pub const REPORT: Rule = Rule { what: "report", chars: 400, bytes: 800, empty: true };
/// This is the rule of a quick match's mode.
pub const MODE: Rule = Rule { what: "mode of a quick match", chars: MAX_MODE, bytes: MAX_MODE, empty: true };
/// This is the rule of a game's id.
pub const GAME: Rule = Rule { what: "game id", chars: MAX_GAME, bytes: MAX_GAME, empty: false };
/// This is the rule of a key in a room's metadata.
pub const METADATA_KEY: Rule = Rule { what: "key of the metadata", chars: 64, bytes: 128, empty: false };
/// This is the rule of a value in a room's metadata.
pub const METADATA_VALUE: Rule =
    Rule { what: "value of the metadata", chars: MAX_METADATA, bytes: MAX_METADATA, empty: true };
/// This is the rule of all keys and values of a room's metadata together.
pub const METADATA: Rule =
    Rule { what: "room metadata", chars: MAX_METADATA, bytes: MAX_METADATA, empty: true };
/// This is the rule of a key of a property, of a room or of a member.
pub const PROPERTY_KEY: Rule = Rule { what: "key of a property", chars: 64, bytes: 64, empty: false };
/// This is the rule of a property's value.
pub const PROPERTY_VALUE: Rule = Rule { what: "value of a property", chars: 512, bytes: 512, empty: true };
/// This rule is for what a router calls itself.
pub const ROUTER: Rule = Rule { what: "router's name", chars: 64, bytes: 128, empty: true };

/// This rule is for what is searched for in the names of rooms and hosts.
pub const SEARCH: Rule = Rule { what: "search text", chars: 32, bytes: 64, empty: true };
/// This rule is for the region that an operator says its server is in.
pub const REGION: Rule = Rule { what: "region", chars: 16, bytes: 16, empty: true };

/// A game's id has at most this many bytes.
pub const MAX_GAME: usize = 64;

/// This says which rule a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {breach}", rule.what)]
pub struct TextError {
    /// The text breaks this rule.
    pub rule: Rule,
    /// This is what is wrong with the text.
    pub breach: Breach,
}

/// This is what is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// It is too long.
    TooLong {
        /// It has this many characters.
        chars: usize,
        /// It may have this many characters.
        max_chars: usize,
        /// It has this many bytes.
        bytes: usize,
        /// It may have this many bytes.
        max_bytes: usize,
    },
    /// Nothing of it can be seen.
    Empty,
    /// It has this character, which steers, hides, or is none.
    Forbidden(char),
    /// Too many marks pile up over one letter.
    Marks,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { chars, max_chars, bytes, max_bytes } => write!(
                f,
                "at most {max_chars} characters and {max_bytes} bytes are allowed, it has {chars} and {bytes}"
            ),
            Self::Empty => f.write_str("at least one character that can be seen is needed"),
            Self::Forbidden(c) => {
                write!(
                    f,
                    "no control, format or invisible characters are allowed, it has U+{:04X}",
                    *c as u32
                )
            }
            Self::Marks => write!(f, "at most {MAX_MARKS} marks over one letter are allowed"),
        }
    }
}

impl Rule {
    /// The text as it is kept.
    ///
    /// # Errors
    /// What of this rule it breaks.
    pub fn check(&self, text: &str) -> Result<String, TextError> {
        let error = |breach| TextError { rule: *self, breach };
        // A text that is far too long is not worth the work: normal form C makes none shorter than a third.
        if text.len() > self.bytes.saturating_mul(3) {
            return Err(error(self.too_long(text)));
        }
        if let Some(c) = text.trim().chars().find(|c| is_forbidden(*c)) {
            return Err(error(Breach::Forbidden(c)));
        }
        let kept = nfc(text.trim());
        if few_marks(&kept).count() != kept.chars().count() {
            return Err(error(Breach::Marks));
        }
        if kept.len() > self.bytes || kept.chars().count() > self.chars {
            return Err(error(self.too_long(&kept)));
        }
        if !self.allows(&kept) {
            return Err(error(Breach::Empty));
        }
        Ok(kept)
    }

    fn too_long(&self, text: &str) -> Breach {
        Breach::TooLong {
            chars: text.chars().count(),
            max_chars: self.chars,
            bytes: text.len(),
            max_bytes: self.bytes,
        }
    }

    /// Returns the text without what breaks this rule, and cut at the end of a character where it is too long. What
    /// is cleaned once is not changed by cleaning it again. The result may be empty, also where
    /// [`empty`](Self::empty) is not allowed: nothing could be seen of it then.
    pub fn clean(&self, text: &str) -> String {
        // A line break stands between words: they stay apart.
        let spaced = text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c });
        let allowed = spaced.filter(|c| !is_forbidden(*c));
        let composed: String = allowed.nfc().collect();
        let mut clean = String::new();
        for (count, c) in few_marks(composed.trim_start()).enumerate() {
            if count >= self.chars || clean.len() + c.len_utf8() > self.bytes {
                break;
            }
            clean.push(c);
        }
        clean.truncate(clean.trim_end().len());
        if !self.allows(&clean) {
            clean.clear();
        }
        clean
    }

    /// Something of the text can be seen, or it is empty and may be.
    fn allows(&self, text: &str) -> bool {
        text.chars().any(is_seen) || (self.empty && text.is_empty())
    }
}

/// Brings a text into Unicode's normal form C: what is typed on one machine with a composed letter, and on another with
/// a letter and a mark, is the same text.
pub fn nfc(text: &str) -> String {
    text.nfc().collect()
}

/// Returns what a room's name looks like: two names with the same look are one name. Compatibility forms, case and
/// the width of space do not count (NFKC), and look-alikes of several scripts are one letter (the skeleton of UTS
/// #39).
///
/// ```
/// use traversal_core::text::look;
///
/// assert_eq!(look("Cafe\u{301}"), look("CAFÉ "));
/// assert_eq!(look("\u{440}\u{430}\u{443}pal"), look("paypal")); // with Cyrillic letters
/// assert_ne!(look("room 1"), look("room 2"));
/// ```
pub fn look(name: &str) -> String {
    let plain: String = fold(name).chars().filter(|c| !is_forbidden(*c)).collect();
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let skeleton: String = unicode_security::confusable_detection::skeleton(&plain).collect();
    // Capital letters stand for some look-alikes.
    fold(&skeleton)
}

/// Returns a name in the order of a list, in which case does not count.
pub fn fold(name: &str) -> String {
    // Upper case first: it makes one of what has several lower cases, as the German sharp s and the Greek final sigma.
    let composed: String = name.trim().nfkc().collect();
    composed.to_uppercase().to_lowercase().nfkc().collect()
}

/// Leaves out the marks beyond the fourth in a row.
fn few_marks(text: &str) -> impl Iterator<Item = char> + '_ {
    let mut row = 0;
    text.chars().filter(move |c| {
        // Most texts are ASCII, which has no marks: the table of categories is slow.
        let marks = !c.is_ascii()
            && matches!(
                c.general_category(),
                GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
            );
        row = if marks { row + 1 } else { 0 };
        row <= MAX_MARKS
    })
}

/// Returns whether the character is one that steers, hides, or is none.
fn is_forbidden(c: char) -> bool {
    use GeneralCategory as G;
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(
        c.general_category(),
        G::Control | G::Format | G::Surrogate | G::PrivateUse | G::LineSeparator | G::ParagraphSeparator
    ) || is_ignorable(c)
        || matches!(c as u32 & 0xffff, 0xfffe | 0xffff)
        || ('\u{fdd0}'..='\u{fdef}').contains(&c)
}

/// Returns whether the character is a Default_Ignorable_Code_Point beside the general category Cf (Unicode 17,
/// DerivedCoreProperties.txt), without the selectors of an emoji's text and picture, U+FE0E and U+FE0F.
fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2065}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0d}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Can be seen by itself.
fn is_seen(c: char) -> bool {
    use GeneralCategory as G;
    if c.is_ascii() {
        return c.is_ascii_graphic();
    }
    // U+2800 is a Braille cell without dots.
    c != '\u{2800}'
        && !is_forbidden(c)
        && !matches!(c.general_category(), G::SpaceSeparator | G::NonspacingMark | G::EnclosingMark)
}

/// Returns a room's metadata as they are kept.
///
/// # Errors
/// Which rule a key, a value or all of them together break.
pub fn check_metadata(metadata: &Metadata) -> Result<Metadata, TextError> {
    let texts = || metadata.iter().flat_map(|(key, value)| [key, value]);
    let bytes: usize = texts().map(String::len).sum();
    if bytes > METADATA.bytes {
        let chars = texts().map(|text| text.chars().count()).sum();
        let breach = Breach::TooLong { chars, max_chars: METADATA.chars, bytes, max_bytes: METADATA.bytes };
        return Err(TextError { rule: METADATA, breach });
    }
    let pairs =
        metadata.iter().map(|(key, value)| Ok((METADATA_KEY.check(key)?, METADATA_VALUE.check(value)?)));
    pairs.collect()
}

/// Reads a player's name in a message, as another one says it. Nothing to be seen becomes `?`.
pub(crate) fn read_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = NAME.clean(&String::deserialize(from)?);
    Ok(if name.is_empty() { String::from("?") } else { name })
}

/// Reads a room's name in a message, and cleans it.
pub(crate) fn read_room_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| ROOM_NAME.clean(&text))
}

/// Reads a room's code in a message, and cleans it.
pub(crate) fn read_code<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| CODE.clean(&text))
}

/// Reads a region in a message, and cleans it.
pub(crate) fn read_region<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| REGION.clean(&text))
}

/// Reads a reason in a message, and cleans it.
pub(crate) fn read_reason<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| REASON.clean(&text))
}

/// Reads an announcement in a message, and cleans it.
pub(crate) fn read_announcement<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| ANNOUNCEMENT.clean(&text))
}

/// Reads what a contact says of itself in a message, and cleans it.
pub(crate) fn read_status<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| STATUS.clean(&text))
}

/// Reads what somebody has written in a message, and cleans it.
pub(crate) fn read_chat<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| CHAT.clean(&text))
}

/// Reads what is told of another player in a message, and cleans it.
pub(crate) fn read_report<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| REPORT.clean(&text))
}

/// Reads the name of a contact's room in a message, and cleans it.
pub(crate) fn read_room_of_contact<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(from).map(|name| name.map(|name| ROOM_NAME.clean(&name)))
}

/// Returns a reason as it stands behind a sentence: with a colon, or nothing where there is none.
pub(crate) fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// Reads a game's id in a message, as it is told back.
pub(crate) fn read_game<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| GAME.clean(&text))
}

/// Reads a room's metadata in a message. Keys of which nothing is left are left out.
pub(crate) fn read_metadata<'de, D: Deserializer<'de>>(from: D) -> Result<Metadata, D::Error> {
    let said = Metadata::deserialize(from)?;
    let clean = said.iter().map(|(key, value)| (METADATA_KEY.clean(key), METADATA_VALUE.clean(value)));
    Ok(clean.filter(|(key, _)| !key.is_empty()).collect())
}

/// Reads what a listing shows of a room: metadata, and properties, which may be longer. Keys of which nothing is left are left
/// out.
pub(crate) fn read_listed<'de, D: Deserializer<'de>>(from: D) -> Result<Metadata, D::Error> {
    let said = Metadata::deserialize(from)?;
    let clean = said.iter().map(|(key, value)| (METADATA_KEY.clean(key), PROPERTY_VALUE.clean(value)));
    Ok(clean.filter(|(key, _)| !key.is_empty()).collect())
}

/// Reads a member's properties in a message. Keys of which nothing is left are left out.
pub(crate) fn read_properties<'de, D: Deserializer<'de>>(from: D) -> Result<Metadata, D::Error> {
    let said = Metadata::deserialize(from)?;
    let clean = said.iter().map(|(key, value)| (PROPERTY_KEY.clean(key), PROPERTY_VALUE.clean(value)));
    Ok(clean.filter(|(key, _)| !key.is_empty()).collect())
}

/// Reads the key of a property in a message, and cleans it.
pub(crate) fn read_property_key<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| PROPERTY_KEY.clean(&text))
}

/// Reads the value of a property in a message, and cleans it.
pub(crate) fn read_property_value<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(from).map(|text| text.map(|text| PROPERTY_VALUE.clean(&text)))
}

/// This is what a host says about its room in words of the game.
pub type Metadata = std::collections::BTreeMap<String, String>;

#[cfg(test)]
mod tests;
