//! What an agent tells of texts.

/// This says by which way a text went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChatWay {
    /// It went through the lobby server.
    Server,
    /// It went over the connections between the players.
    Connection,
}

impl ChatWay {
    /// Returns the name that stands in JSON: `server` or `connection`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Connection => "connection",
        }
    }
}
