//! What the handshake carries: who the player is, and the server's yes or no.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::text;

/// This is the first message of a player, inside the Noise handshake.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Login {
    /// This names the game: rooms and names are kept apart by it.
    pub game: String,
    /// This numbers the game's own protocol: rooms only take players of the same.
    pub game_protocol: u32,
    /// Others see this display name ([`text::NAME`]), which need not be unique.
    pub name: String,
    /// The protocol does not read this token; a hook on the server may check it. It is empty where the game has none.
    pub token: Vec<u8>,
    /// This is the X25519 key of this login, from which keys with other players are made.
    pub ephemeral: [u8; 32],
    /// These addresses are on the machine's own interfaces, with the game socket's port (M28).
    pub local: Vec<SocketAddr>,
    /// This says whether the player plays over the relay alone: its addresses never leave the server.
    pub relay_only: bool,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { game, game_protocol, name, local, relay_only, token: _, ephemeral: _ } = self;
        f.debug_struct("Login")
            .field("game", game)
            .field("game_protocol", game_protocol)
            .field("name", name)
            .field("local", local)
            .field("relay_only", relay_only)
            .finish_non_exhaustive()
    }
}

/// This is the server's yes, inside the Noise handshake.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// Stands in front of this session's datagrams.
    pub session: u64,
    /// This says where the server saw the player (M28).
    pub observed: SocketAddr,
    /// These sockets of the server take probes: `[first address, first port], [first, second], [second, first],
    /// [second, second]`; fewer where it has one address. `0.0.0.0` and `::` stand for the address at which the player
    /// reaches the server, where that does not know it.
    pub probe_targets: Vec<SocketAddr>,
    /// The server forgets the session after this many seconds without any datagram.
    pub session_timeout_s: u32,
    /// These are the server's addresses in the other family than the player's, for
    /// [`ProbePurpose::Register`](super::ProbePurpose::Register).
    pub other_family: Vec<SocketAddr>,
    /// The server shows this when it says in the clear that it does not know this session any more (RFC 9000 section
    /// 10.3). Nobody else knows it.
    pub reset: [u8; 16],
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, observed, probe_targets, session_timeout_s, other_family, reset: _ } = self;
        f.debug_struct("Welcome")
            .field("session", session)
            .field("observed", observed)
            .field("probe_targets", probe_targets)
            .field("session_timeout_s", session_timeout_s)
            .field("other_family", other_family)
            .finish_non_exhaustive()
    }
}

/// This says why a login was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum LoginRefusal {
    /// The server does not serve this game.
    #[error(
        "this server does not serve the game \"{game}\"; ask its operator for the right address or game id"
    )]
    UnknownGame {
        /// The game has this id, as the player named it.
        #[serde(deserialize_with = "text::read_game")]
        game: String,
    },
    /// The operator's token check said no.
    #[error("login refused{}", text::because(.reason))]
    Token {
        /// This is what the check says about it; it may be empty.
        #[serde(deserialize_with = "text::read_reason")]
        reason: String,
    },
    /// A field was too long or malformed.
    #[error("login refused, not valid: {what}")]
    Malformed {
        /// This says which field it is, and the rule that it breaks.
        #[serde(deserialize_with = "text::read_reason")]
        what: String,
    },
    /// The server, or this address's share of it, is full.
    #[error("the lobby server is full; try again later")]
    Full,
    /// The server is about to stop.
    #[error("the lobby server is stopping; try again in a minute")]
    Stopping,
    /// The operator's token check has not come to a result in time.
    #[error(
        "the lobby server could not have your token checked; its login service does not answer; try again later"
    )]
    Unchecked,
    /// The player has shown no ticket of its game's login service that serves here.
    #[error("login refused: {fault}")]
    Ticket {
        /// This says what is wrong with it.
        fault: TicketFault,
    },
    /// The operator, or the game's login service, has banned the player.
    #[error("banned from this server{}{}", left(*.left_s), text::because(.reason))]
    Banned {
        /// This is why, in the operator's words; it may be empty.
        #[serde(deserialize_with = "text::read_reason")]
        reason: String,
        /// The ban ends after this many seconds; none: it does not end by itself.
        left_s: Option<u64>,
    },
}

/// Says how long a ban lasts yet, in the two largest units.
fn left(left_s: Option<u64>) -> String {
    let Some(seconds) = left_s else { return String::new() };
    let minutes = seconds.div_ceil(60);
    let (days, hours) = (minutes / (24 * 60), minutes / 60 % 24);
    match (days, hours, minutes % 60) {
        (0, 0, minutes) => format!(" for {minutes} min more"),
        (0, hours, minutes) => format!(" for {hours} h {minutes} min more"),
        (days, hours, _) => format!(" for {days} d {hours} h more"),
    }
}

/// This says what is wrong with a ticket of a game's login service, which is to stand in [`Login::token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum TicketFault {
    /// There is none.
    #[error("this server asks for a ticket of the game's login service; log in there first")]
    Missing,
    /// It is none, or lacks what has to be in it.
    #[error("what was shown is no ticket of the game's login service")]
    Malformed,
    /// None of the server's keys has signed it.
    #[error("the ticket is not signed by the game's login service, as far as this server knows its keys")]
    Signature,
    /// It has ended.
    #[error("the ticket has expired; get a new one from the game's login service")]
    Expired,
    /// It has not begun.
    #[error("the ticket does not hold yet; the clock of the login service or of this server is wrong")]
    NotYet,
    /// It is for another game.
    #[error("the ticket is for another game")]
    OtherGame,
    /// It is for another player: that of another identity.
    #[error("the ticket is for another player; get one for this one from the game's login service")]
    OtherPlayer,
}

/// The server answers a login with this.
pub type LoginReply = Result<Welcome, LoginRefusal>;
