//! An invite into a party as a text, which players send each other.
//!
//! `bevy-traversal:party/HOST[:PORT]/CODE#KEY`: the key is 32 bytes in base64url without padding (RFC 4648 section 5).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Invite, InviteError, SCHEME, body, linked, read_code, read_key};
use crate::host_port::HostPort;

/// What follows the scheme in an invite into a party.
pub(super) const PARTY: &str = "party/";

/// This is an invite into a party: where its lobby server is, which key that has, and the party's code.
///
/// ```
/// use traversal_core::invite::PartyInvite;
///
/// let invite = PartyInvite::new("lobby.example.com", [7; 32], "K7PX2MQ4AB")?;
/// let text = invite.to_string();
/// assert_eq!(text, "bevy-traversal:party/lobby.example.com/K7PX2MQ4AB#BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
/// assert_eq!(text.parse::<PartyInvite>()?, invite);
/// assert_eq!((invite.code(), invite.server().to_string().as_str()), ("K7PX2MQ4AB", "lobby.example.com:3478"));
/// # Ok::<(), traversal_core::invite::InviteError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartyInvite {
    server: HostPort,
    code: String,
    key: [u8; 32],
}

impl PartyInvite {
    /// Makes an invite into the party of this code at a server, `host:port` or `host`, with this key.
    ///
    /// # Errors
    /// [`InviteError::BadServer`], and [`InviteError::BadRoom`] for a code that no party has.
    pub fn new(server: &str, key: [u8; 32], code: &str) -> Result<Self, InviteError> {
        let server = server.parse().map_err(InviteError::BadServer)?;
        Ok(Self { server, code: read_code(code)?, key })
    }

    /// Returns where the lobby server is.
    pub fn server(&self) -> &HostPort {
        &self.server
    }

    /// Returns the key that the lobby server has to have.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// Returns the party's code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns the text without its scheme, which is shorter and is read all the same.
    pub fn short(&self) -> String {
        format!("{PARTY}{}/{}#{}", self.server.short(), self.code, URL_SAFE_NO_PAD.encode(self.key))
    }

    /// Returns a link to a page of the game's: this address, and the invite as its fragment, which browsers show to no server.
    pub fn link(&self, page: &str) -> String {
        linked(page, &self.short())
    }
}

impl fmt::Display for PartyInvite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.short())
    }
}

impl FromStr for PartyInvite {
    type Err = InviteError;

    /// Reads what `Display`, [`short`](Self::short) and [`link`](Self::link) write, in the forms that chat programs make of it.
    fn from_str(text: &str) -> Result<Self, InviteError> {
        let body = body(text)?;
        let Some(rest) = body.strip_prefix(PARTY) else {
            return Err(text.parse::<Invite>().map_or_else(|error| error, |_| InviteError::IsRoom));
        };
        let (place, key) = rest.split_once('#').ok_or(InviteError::NoKey)?;
        let (server, code) = place.split_once('/').ok_or(InviteError::BadRoom)?;
        Self::new(server, read_key(key)?, code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host_port::HostPortError;
    use crate::id::PlayerId;
    use crate::invite::ContactText;

    const KEY: [u8; 32] = [7; 32];

    fn read(text: &str) -> Result<PartyInvite, InviteError> {
        text.parse()
    }

    #[test]
    fn what_chat_programs_and_people_make_of_it_is_read() {
        let invite = PartyInvite::new("[2001:db8::1]:77", KEY, "k7px2mq4ab").unwrap();
        assert_eq!(invite.code(), "K7PX2MQ4AB");
        let text = invite.to_string();
        for form in [
            text.clone(),
            format!("  <{text}>\n"),
            text.replace("bevy-traversal:", "BEVY-Traversal://"),
            text.replace('#', "%23").replace('/', "%2F"),
            invite.link("https://game.example/party#old"),
            invite.short(),
        ] {
            assert_eq!(read(&form).as_ref(), Ok(&invite), "{form}");
        }
    }

    #[test]
    fn each_kind_of_text_is_told_from_the_others() {
        let party = PartyInvite::new("lobby.example.com", KEY, "K7PX2MQ4AB").unwrap().to_string();
        let room = Invite::new("lobby.example.com", KEY).unwrap().with_code("K7PX2M").unwrap();
        let player = ContactText::new(PlayerId([1; 16]), "A").to_string();
        assert_eq!(read(&room.to_string()), Err(InviteError::IsRoom));
        assert_eq!(read(&player), Err(InviteError::IsPlayer));
        assert_eq!(read("K7PX2MQ4AB"), Err(InviteError::NoKey));
        assert_eq!(party.parse::<Invite>(), Err(InviteError::IsParty));
        // A server may be called so.
        let room = Invite::new("party", KEY).unwrap().with_code("K7PX2M").unwrap();
        assert_eq!(room.short().parse(), Ok(room));
    }

    #[test]
    fn what_is_damaged_is_refused_with_what_is_wrong() {
        let good = PartyInvite::new("lobby.example.com", KEY, "K7PX2MQ4AB").unwrap().short();
        for (text, error) in [
            (good.replace("/K7PX2MQ4AB", ""), InviteError::BadRoom),
            (good.replace("K7PX2MQ4AB", ""), InviteError::BadRoom),
            (good.replace("K7PX2MQ4AB", "K7/PX"), InviteError::BadRoom),
            (good.split('#').next().unwrap().to_owned(), InviteError::NoKey),
            (good[..good.len() - 1].to_owned(), InviteError::BadKey),
            (good.replace("lobby.example.com", ""), InviteError::BadServer(HostPortError::NoHost)),
            (good.replace(".com", ".com:0"), InviteError::BadServer(HostPortError::BadPort)),
        ] {
            assert_eq!(read(&text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_read_is_written_in_one_way(
            text in "(bevy-traversal:)?party/[a-z0-9.:%\\[\\]/]{0,40}(/[A-Za-z0-9]{0,18})?#[A-Za-z0-9_=-]{40,46}",
        ) {
            if let Ok(invite) = read(&text) {
                prop_assert_eq!(read(&invite.to_string()), Ok(invite));
            }
        }
    }
}
