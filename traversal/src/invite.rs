//! Invites as texts: a lobby server, its key, and a room there, in one line that players send each other.
//!
//! `bevy-traversal:HOST[:PORT][/CODE[.TOKEN]]#KEY`: the key is 32 bytes and the token 24, both in base64url without padding
//! (RFC 4648 section 5). A link has the part behind the scheme as its fragment, which browsers show to no server.

mod contact;
mod party;

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};

use crate::host_port::{HostPort, HostPortError};
use crate::text;
use crate::wire::message::InviteToken;
pub use contact::{ContactText, ContactTextError};
use party::PARTY;
pub use party::PartyInvite;

/// An invite is read from a text of at most this many bytes. The longest one that can be made has 360, and each of them
/// may come as three where a program has put percent signs.
pub const MAX_INVITE: usize = 1100;
/// Discord takes join secrets of this many bytes (Discord Social SDK, activity secrets).
pub const DISCORD_SECRET: usize = 128;
/// Steam takes values of rich presence of this many bytes, `connect` among them (`k_cchMaxRichPresenceValueLength`).
pub const STEAM_CONNECT: usize = 256;

const SCHEME: &str = "bevy-traversal:";

/// This says why a text is no invite, or an invite cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// The text is too long.
    #[error("it has {bytes} bytes, at most {most} are allowed")]
    TooLong {
        /// The text has this many bytes.
        bytes: usize,
        /// It may have at most this many.
        most: usize,
    },
    /// There is no `#` with the server's key behind it.
    #[error("there is no key in it; copy all of the invite, with what follows the #")]
    NoKey,
    /// What stands behind the `#` is no key.
    #[error("its key is not 32 bytes in base64; copy all of the invite")]
    BadKey,
    /// What names the server is no host and port.
    #[error("its server cannot be read: {0}")]
    BadServer(HostPortError),
    /// The code or the allowance behind it is damaged.
    #[error("its room is not valid; copy all of the invite")]
    BadRoom,
    /// A percent sign is not followed by two hexadecimal digits, or stands for something that no invite has.
    #[error("it has characters that no invite has")]
    BadCharacter,
    /// The server is one of the game's own, and the invite has another key for it.
    #[error(
        "it has another key for this game's lobby server than the game: the invite is old, or somebody made it to lead you \
         elsewhere"
    )]
    OtherKey,
    /// It names a player.
    #[error("this names a player, not a room: add it to the contacts")]
    IsPlayer,
    /// It names a party.
    #[error("this is an invite into a party, not a room: enter the party by it")]
    IsParty,
    /// It names a room, or a server.
    #[error("this is an invite into a room, not a party: join the room by it")]
    IsRoom,
    /// This player is in no room that it could invite to, or not logged in.
    #[error("there is no room to invite to, or no lobby server knows of it")]
    NoRoom,
}

/// This is an invite: where a lobby server is, which key it has, and which room there is meant.
///
/// ```
/// use traversal_core::invite::Invite;
///
/// let key = [7; 32];
/// let invite = Invite::new("Lobby.example.com", key)?.with_code("K7PX2M")?;
/// let text = invite.to_string();
/// assert_eq!(text, "bevy-traversal:lobby.example.com/K7PX2M#BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
/// assert_eq!(text.parse::<Invite>()?, invite);
/// let link = invite.link("https://game.example/join");
/// assert_eq!(link.parse::<Invite>()?, invite);
/// # Ok::<(), traversal_core::invite::InviteError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Invite {
    server: HostPort,
    code: Option<String>,
    token: Option<[u8; InviteToken::LENGTH]>,
    key: [u8; 32],
}

impl Invite {
    /// Makes an invite to a server, `host:port` or `host`, with this key. Without a code it leads into the only public room
    /// there.
    ///
    /// # Errors
    /// [`InviteError::BadServer`].
    pub fn new(server: &str, key: [u8; 32]) -> Result<Self, InviteError> {
        let server = server.parse().map_err(InviteError::BadServer)?;
        Ok(Self { server, code: None, token: None, key })
    }

    /// Returns the invite with a room's short code.
    ///
    /// # Errors
    /// [`InviteError::BadRoom`].
    pub fn with_code(self, code: &str) -> Result<Self, InviteError> {
        Ok(Self { code: Some(read_code(code)?), ..self })
    }

    /// Returns the invite with the host's allowance. Without a code it has no effect.
    #[must_use]
    pub fn with_token(self, token: InviteToken) -> Self {
        Self { token: self.code.is_some().then(|| token.to_bytes()), ..self }
    }

    /// Returns where the server is.
    pub fn host_port(&self) -> &HostPort {
        &self.server
    }

    /// Returns the server as lobby servers are named: `host:port` or `[IPv6]:port`, in lower case.
    pub fn server(&self) -> String {
        self.server.to_string()
    }

    /// Returns whether a server that is named so is this one.
    pub fn is_of(&self, server: &str) -> bool {
        server.parse().is_ok_and(|server: HostPort| server == self.server)
    }

    /// Returns the room's short code; none: the only public room at the server.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Returns the host's allowance, if the invite has one.
    pub fn token(&self) -> Option<InviteToken> {
        self.token.as_ref().map(InviteToken::from_bytes)
    }

    /// Returns the key that the server has to have.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// Returns the invite without its scheme, which is shorter and is read all the same.
    pub fn short(&self) -> String {
        let mut text = self.server.short();
        if let Some(code) = &self.code {
            text.push('/');
            text.push_str(code);
        }
        if let Some(token) = &self.token {
            text.push('.');
            text.push_str(&URL_SAFE_NO_PAD.encode(token));
        }
        text.push('#');
        text.push_str(&URL_SAFE_NO_PAD.encode(self.key));
        text
    }

    /// Returns a link to a page of the game's: this address, and the invite as its fragment. Browsers keep that to
    /// themselves, so that the page's server and its log learn neither key nor allowance.
    pub fn link(&self, page: &str) -> String {
        linked(page, &self.short())
    }

    /// Returns the text for a join secret of Discord's rich presence.
    ///
    /// # Errors
    /// [`InviteError::TooLong`]: the server's name is so long that the secret would have more than [`DISCORD_SECRET`] bytes.
    pub fn discord_secret(&self) -> Result<String, InviteError> {
        within(self.short(), DISCORD_SECRET)
    }

    /// Returns the text for the key `connect` of Steam's rich presence. Steam starts the game with it as an argument.
    ///
    /// # Errors
    /// [`InviteError::TooLong`]: it would have more than [`STEAM_CONNECT`] bytes.
    pub fn steam_connect(&self) -> Result<String, InviteError> {
        within(self.to_string(), STEAM_CONNECT)
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.short())
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Self, InviteError> {
        if ContactText::read(text).is_ok_and(|_| text.contains("player/")) {
            return Err(InviteError::IsPlayer);
        }
        let body = body(text)?;
        let (place, key) = body.split_once('#').ok_or(InviteError::NoKey)?;
        // A room's invite has one slash at the most: a server may be called "party".
        if place.strip_prefix(PARTY).is_some_and(|rest| rest.contains('/')) {
            return Err(InviteError::IsParty);
        }
        let (server, room) = match place.split_once('/') {
            Some((server, room)) => (server, Some(room).filter(|room| !room.is_empty())),
            None => (place, None),
        };
        let invite = Self::new(server, read_key(key)?)?;
        let Some(room) = room else { return Ok(invite) };
        let Some((code, token)) = room.split_once('.') else { return invite.with_code(room) };
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| InviteError::BadRoom)?;
        let token: [u8; InviteToken::LENGTH] = token.try_into().map_err(|_| InviteError::BadRoom)?;
        Ok(Self { token: Some(token), ..invite.with_code(code)? })
    }
}

/// Returns what an invite says behind its scheme, or as the fragment of a link, without percent signs.
fn body(text: &str) -> Result<String, InviteError> {
    let text = text.trim();
    if text.len() > MAX_INVITE {
        return Err(InviteError::TooLong { bytes: text.len(), most: MAX_INVITE });
    }
    // Chat programs put links into angle brackets.
    let text = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    let scheme = text.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
    let body = if scheme.is_some() {
        let body = &text[SCHEME.len()..];
        body.strip_prefix("//").unwrap_or(body)
    } else if text.contains("://") {
        text.split_once('#').ok_or(InviteError::NoKey)?.1
    } else {
        text
    };
    decode(body)
}

/// Returns a link to this page with the invite as its fragment.
fn linked(page: &str, invite: &str) -> String {
    let page = page.split('#').next().unwrap_or_default();
    let encoded = invite.replace('#', "%23").replace('[', "%5B").replace(']', "%5D");
    format!("{page}#{encoded}")
}

fn within(text: String, most: usize) -> Result<String, InviteError> {
    let bytes = text.len();
    if bytes > most { Err(InviteError::TooLong { bytes, most }) } else { Ok(text) }
}

/// Takes percent signs away that a program has put (RFC 3986 section 2.1). No invite has any of its own.
fn decode(text: &str) -> Result<String, InviteError> {
    let mut decoded = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (Some(high), Some(low)) = (digit(), digit()) else { return Err(InviteError::BadCharacter) };
            u8::try_from(high * 16 + low).map_err(|_| InviteError::BadCharacter)?
        } else {
            byte
        };
        if !byte.is_ascii_graphic() || byte == b'%' {
            return Err(InviteError::BadCharacter);
        }
        decoded.push(char::from(byte));
    }
    Ok(decoded)
}

/// Reads a key in either alphabet of base64, with padding or without: as invites have it, and as `lobby_server key` prints it.
fn read_key(text: &str) -> Result<[u8; 32], InviteError> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let standard = text.contains(['+', '/']);
    let alphabet = if standard { &alphabet::STANDARD } else { &alphabet::URL_SAFE };
    let bytes = GeneralPurpose::new(alphabet, config).decode(text).map_err(|_| InviteError::BadKey)?;
    bytes.try_into().map_err(|_| InviteError::BadKey)
}

fn read_code(code: &str) -> Result<String, InviteError> {
    let fits = !code.is_empty()
        && code.len() <= text::CODE.bytes
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if fits { Ok(code.to_ascii_uppercase()) } else { Err(InviteError::BadRoom) }
}

#[cfg(test)]
mod tests;
