//! A player as a text, which friends paste to have it among their contacts.
//!
//! `bevy-traversal:player/ID.CHECK[/NAME]`: the id is 32 hexadecimal digits, and the check four more, the first two bytes of
//! its SHA-256, so that a digit that was lost is noticed. The name has percent signs (RFC 3986 section 2.1).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::{MAX_INVITE, SCHEME};
use crate::id::PlayerId;
use crate::text;

const PLAYER: &str = "player/";

/// This says why a text does not name a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContactTextError {
    /// It is something else, or too long.
    #[error("this names no player; copy all of the text that the other player was shown")]
    NotAPlayer,
    /// It is an invite into a room.
    #[error("this is an invite into a room, not a player: join by it")]
    IsInvite,
    /// Digits of the player's id are missing or wrong.
    #[error("the player's id in it is damaged; copy all of the text again")]
    Damaged,
}

/// This names a player, for the list of contacts of another one.
///
/// ```
/// use traversal_core::invite::ContactText;
///
/// let id = "0123456789abcdef0123456789abcdef".parse()?;
/// let text = ContactText::new(id, "Zoë").to_string();
/// assert_eq!(text, "bevy-traversal:player/0123456789abcdef0123456789abcdef.223e/Zo%C3%AB");
/// let read: ContactText = text.parse()?;
/// assert_eq!((read.player(), read.name()), (id, "Zoë"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContactText {
    player: PlayerId,
    name: String,
}

impl ContactText {
    /// Names this player. The name is what the other one's list says at first; of one that breaks the rule
    /// [`text::NAME`] what keeps to it is left, and it may be empty.
    pub fn new(player: PlayerId, name: &str) -> Self {
        Self { player, name: text::NAME.clean(name) }
    }

    /// Returns the player's id.
    pub fn player(&self) -> PlayerId {
        self.player
    }

    /// Returns the player's name, which may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the text without its scheme, which is read all the same.
    pub fn short(&self) -> String {
        let mut short = format!("{PLAYER}{}.{}", self.player, check(self.player));
        if !self.name.is_empty() {
            short.push('/');
            for byte in self.name.bytes() {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
                    short.push(char::from(byte));
                } else {
                    short.push_str(&format!("%{byte:02X}"));
                }
            }
        }
        short
    }

    /// Returns a link to a page of the game's: this address, and the player as its fragment, which browsers show to no
    /// server.
    pub fn link(&self, page: &str) -> String {
        let page = page.split('#').next().unwrap_or_default();
        format!("{page}#{}", self.short())
    }
}

impl fmt::Display for ContactText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.short())
    }
}

impl FromStr for ContactText {
    type Err = ContactTextError;

    /// Reads what `Display` and [`link`](Self::link) write, and a bare player id.
    fn from_str(text: &str) -> Result<Self, ContactTextError> {
        match Self::read(text) {
            Err(ContactTextError::NotAPlayer) if text.parse::<super::Invite>().is_ok() => {
                Err(ContactTextError::IsInvite)
            }
            read => read,
        }
    }
}

impl ContactText {
    pub(super) fn read(text: &str) -> Result<Self, ContactTextError> {
        let text = text.trim();
        if text.len() > MAX_INVITE {
            return Err(ContactTextError::NotAPlayer);
        }
        if let Ok(player) = text.parse() {
            return Ok(Self::new(player, ""));
        }
        let text = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
        let scheme = text.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        let body = match scheme {
            Some(_) => text[SCHEME.len()..].trim_start_matches('/'),
            None if text.contains("://") => text.split_once('#').map_or("", |(_, body)| body),
            None => text,
        };
        let rest = body.strip_prefix(PLAYER).ok_or(ContactTextError::NotAPlayer)?;
        let (id, name) = rest.split_once('/').unwrap_or((rest, ""));
        let (id, digits) = id.split_once('.').ok_or(ContactTextError::Damaged)?;
        let player: PlayerId = id.parse().map_err(|_| ContactTextError::Damaged)?;
        if !digits.eq_ignore_ascii_case(&check(player)) {
            return Err(ContactTextError::Damaged);
        }
        Ok(Self::new(player, &without_percent(name)))
    }
}

fn check(player: PlayerId) -> String {
    let hash = Sha256::digest(player.0);
    format!("{:02x}{:02x}", hash[0], hash[1])
}

/// Takes percent signs away. What is no text without them becomes replacement characters: it is a name.
fn without_percent(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [byte, more @ ..] = rest {
        let digit = |at: usize| more.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (byte, digit(0), digit(1)) {
            // Two digits are a byte.
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::invite::{Invite, InviteError};

    const ID: PlayerId = PlayerId([0x5a; 16]);

    #[test]
    fn what_chat_programs_and_people_make_of_it_is_read() {
        let written = ContactText::new(ID, "Zoë 7%/#.<");
        let short = written.short();
        for text in [
            written.to_string(),
            format!("  <{written}>\n"),
            written.to_string().replace("bevy-traversal:", "BEVY-Traversal://"),
            written.link("https://game.example/join#old"),
            short.clone(),
        ] {
            assert_eq!(text.parse::<ContactText>().as_ref(), Ok(&written), "{text}");
        }
        assert_eq!(written.name(), "Zoë 7%/#.<");
        let bare = ContactText::new(ID, "");
        assert_eq!(ID.to_string().to_uppercase().parse::<ContactText>(), Ok(bare.clone()));
        assert!(!bare.to_string().ends_with('/'));
    }

    #[test]
    fn what_is_damaged_or_something_else_is_said_to_be_so() {
        let good = ContactText::new(ID, "A").to_string();
        let read = |text: &str| text.parse::<ContactText>();
        for (at, with) in [(30, "b"), (55, "f")] {
            let mut damaged = good.clone();
            damaged.replace_range(at..=at, with);
            assert_eq!(read(&damaged), Err(ContactTextError::Damaged), "{damaged}");
        }
        assert_eq!(read(&good[..50]), Err(ContactTextError::Damaged));
        let invite = Invite::new("lobby.example.com", [7; 32]).unwrap().with_code("K7PX2M").unwrap();
        assert_eq!(read(&invite.to_string()), Err(ContactTextError::IsInvite));
        for text in ["", "hello", "https://a.example/x", &"x".repeat(2000)] {
            assert_eq!(read(text), Err(ContactTextError::NotAPlayer), "{text}");
        }
        // And the other way round.
        assert_eq!(good.parse::<Invite>(), Err(InviteError::IsPlayer));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_and_read_again(text in ".{0,200}", name in ".{0,60}", id: [u8; 16]) {
            let _ = text.parse::<ContactText>();
            let written = ContactText::new(PlayerId(id), &name);
            prop_assert_eq!(written.to_string().parse::<ContactText>(), Ok(written));
        }
    }
}
