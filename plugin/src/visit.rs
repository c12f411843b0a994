//! A lobby server that an invite has led to, in the place of the game's own ones.
//!
//! The game's own servers are told its token and have its keys; one that anybody may have named is told no token, and has
//! the key that stands in the invite. So the two never mix: each has a driver of its own.

use traversal_core::invite::InviteError;
use traversal_core::{HostPort, RequestKind, Secret};

use crate::config::ServerKey;
use crate::link::TraversalLink;
use crate::messages::requests::ConnectLobby;

/// This is how an invite's server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The player is logged in there, or on the way there.
    Here,
    /// It is to log in there. `own`: it is one of the game's own servers.
    There { own: bool },
}

/// These are the game's own settings, while an invite has led elsewhere.
#[derive(Debug)]
pub(crate) struct Home {
    lobby: Vec<String>,
    token: Vec<u8>,
    server_keys: Vec<ServerKey>,
    /// What the invite leads to is not entered yet: a room ([`RequestKind::Join`]) or a party ([`RequestKind::Party`]).
    on_its_way: Option<RequestKind>,
    /// The player is in a room there.
    in_room: bool,
    /// The player is in a party there.
    in_party: bool,
    /// There is no reason to be elsewhere any more.
    back: bool,
}

/// This is whether rooms, or parties, were entered and left since it was last asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moves {
    pub(crate) entered: bool,
    pub(crate) left: bool,
}

impl Moves {
    /// Who has left one and entered one is inside.
    fn follow(self, inside: &mut bool) {
        *inside = self.entered || *inside && !self.left;
    }
}

/// Returns the name and the key of the server that a player is logged in at now. Without a name it is another node of the
/// last one, or of the first of these servers.
pub(crate) fn reached(
    last: Option<(String, [u8; 32])>,
    servers: &[String],
    name: Option<String>,
    key: [u8; 32],
) -> Option<(String, [u8; 32])> {
    let same = last.filter(|(_, known)| *known == key).map(|(name, _)| name);
    let name = name.or(same).or_else(|| servers.first().cloned());
    name.map(|name| (name, key))
}

impl TraversalLink {
    /// Returns how the server of an invite is reached. `online`: the key of the server that the player is logged in at.
    ///
    /// # Errors
    /// [`InviteError::OtherKey`].
    pub(crate) fn way_to(
        &self,
        (server, key): (&HostPort, [u8; 32]),
        online: Option<[u8; 32]>,
    ) -> Result<Way, InviteError> {
        let key = ServerKey(key);
        let is_it = |name: &String| name.parse().is_ok_and(|name: HostPort| name == *server);
        let named = |servers: &[String]| servers.iter().any(is_it);
        let reached = self.reached.as_ref().is_some_and(|(name, _)| is_it(name));
        if reached && online == Some(key.0) {
            return Ok(Way::Here);
        }
        let (lobby, keys) = match &self.home {
            Some(home) => (&home.lobby, &home.server_keys),
            None => (&self.config.lobby, &self.config.server_keys),
        };
        if named(lobby) && !keys.is_empty() && !keys.contains(&key) || reached && online.is_some() {
            return Err(InviteError::OtherKey);
        }
        // A server that has a key of the game's is one of the game's, whatever it is called.
        let own = named(lobby) || keys.contains(&key);
        let only = self.config.lobby.len() == 1 && self.running();
        let under_way = only && named(&self.config.lobby) && self.config.server_keys == [key];
        Ok(if under_way { Way::Here } else { Way::There { own } })
    }

    /// Logs in to the server of an invite, which leads to a room or a party, and keeps the way back. True if the old driver is
    /// gone.
    pub(crate) fn visit(&mut self, (server, key): (&HostPort, [u8; 32]), own: bool, to: RequestKind) -> bool {
        let home = self.home.take().unwrap_or_else(|| Home {
            lobby: self.config.lobby.clone(),
            token: self.config.token.clone(),
            server_keys: self.config.server_keys.clone(),
            on_its_way: None,
            in_room: false,
            in_party: false,
            back: false,
        });
        let token = if own { home.token.clone() } else { Vec::new() };
        let gone = self.connect(ConnectLobby {
            servers: vec![server.to_string()],
            name: None,
            token: Some(Secret::from(token)),
            server_keys: Some(vec![ServerKey(key)]),
        });
        self.home = Some(Home { on_its_way: Some(to), in_room: false, in_party: false, back: false, ..home });
        gone
    }

    /// Notes what happened: rooms and parties were entered and left, or what was asked for did not come about.
    pub(crate) fn note(&mut self, rooms: Moves, parties: Moves, failed: bool) {
        let Some(home) = &mut self.home else { return };
        rooms.follow(&mut home.in_room);
        parties.follow(&mut home.in_party);
        let (inside, entered) = (home.in_room || home.in_party, rooms.entered || parties.entered);
        // What was left on the way there is no reason to turn back.
        let back = if home.on_its_way.is_some() { failed } else { rooms.left || parties.left };
        home.back |= back && !inside;
        home.on_its_way = home.on_its_way.filter(|_| !entered);
    }

    /// Returns by which request the player is on its way to what an invite leads to.
    pub(crate) fn on_its_way(&self) -> Option<RequestKind> {
        self.home.as_ref()?.on_its_way
    }

    /// Returns whether there is no reason any more to be at another server than the game's own ones.
    pub(crate) fn wants_home(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.back)
    }

    /// Takes the game's own settings back; true: they are others.
    pub(crate) fn restore(&mut self) -> bool {
        let Some(Home { lobby, token, server_keys, .. }) = self.home.take() else { return false };
        let config = &mut self.config;
        let other = config.token != token || config.server_keys != server_keys;
        (config.lobby, config.token, config.server_keys) = (lobby, token, server_keys);
        other
    }

    /// Goes back to the game's own servers, if it has any; else the network thread ends. True if the old driver is gone.
    pub(crate) fn go_home(&mut self) -> bool {
        if self.home.as_ref().is_some_and(|home| !home.lobby.is_empty()) {
            return self.connect(ConnectLobby::default());
        }
        self.restore();
        self.driver.take().is_some()
    }

    /// Returns the name by which others reach the server that runs in this game, if one does.
    pub(crate) fn public_name(&self) -> Option<&str> {
        self.public_name.as_deref()
    }
}
