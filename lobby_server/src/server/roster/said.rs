//! What players say of themselves when they log in, as it is kept: small, for there are very many of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use traversal_core::address::canonical;
use traversal_core::wire::codec;
use traversal_core::wire::message::{Login, MAX_LOCAL_ADDRESSES};

/// So many games may be named before it is looked for those that nobody plays any more.
const FEW_GAMES: usize = 64;

/// This is what a player has said of itself; its token is not kept.
pub(crate) struct Said {
    game: Arc<str>,
    /// The name that others see, and behind it the addresses of its own interfaces as a message has them: one block of
    /// memory, and a fifth of what the addresses take otherwise.
    text: Box<[u8]>,
    /// The name has so many bytes.
    name_len: u16,
    /// The keys with other players are made from this X25519 key.
    pub(crate) ephemeral: [u8; 32],
    /// The game's own protocol has this number.
    pub(crate) game_protocol: u32,
    /// The player's addresses never leave the server.
    pub(crate) relay_only: bool,
}

impl Said {
    /// Returns the game that it plays.
    pub(crate) fn game(&self) -> &str {
        &self.game
    }

    /// Returns the name that others see.
    pub(crate) fn name(&self) -> &str {
        let name = self.text.get(..usize::from(self.name_len)).unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// Returns the addresses of its own interfaces.
    pub(crate) fn local(&self) -> Vec<SocketAddr> {
        let local = self.text.get(usize::from(self.name_len)..).unwrap_or_default();
        codec::decode(local).unwrap_or_default()
    }

    /// Takes the addresses of its own interfaces.
    pub(super) fn set_local(&mut self, mut local: Vec<SocketAddr>) {
        local.truncate(MAX_LOCAL_ADDRESSES);
        local.iter_mut().for_each(|address| *address = canonical(*address));
        let local = codec::encode(&local).unwrap_or_default();
        self.text = [self.name().as_bytes(), &local].concat().into();
    }
}

/// Players of one game share its name.
#[derive(Debug, Default)]
pub(super) struct Games {
    names: BTreeSet<Arc<str>>,
    /// With so many of them it is looked for those that nobody plays.
    many: usize,
}

impl Games {
    /// Returns what is kept of a login.
    pub(super) fn keep(&mut self, login: Login) -> Said {
        let Login { game, game_protocol, name, token: _, ephemeral, local, relay_only } = login;
        // Names have far fewer bytes: what is too long is no name.
        let name_len = u16::try_from(name.len()).unwrap_or(0);
        let (game, text) = (self.share(&game), name.into_bytes().into());
        let mut said = Said { game, text, name_len, ephemeral, game_protocol, relay_only };
        said.set_local(local);
        said
    }

    fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        if self.names.len() >= self.many.max(FEW_GAMES) {
            self.names.retain(|name| Arc::strong_count(name) > 1);
            self.many = self.names.len() * 2;
        }
        let name = Arc::from(name);
        self.names.insert(Arc::clone(&name));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(game: &str) -> Login {
        Login {
            game: game.into(),
            game_protocol: 1,
            name: "A".into(),
            token: b"secret".to_vec(),
            ephemeral: [1; 32],
            local: vec!["192.168.1.1:4000".parse().unwrap(), "[2001:db8::1]:4000".parse().unwrap()],
            relay_only: false,
        }
    }

    #[test]
    fn what_is_kept_is_what_was_said() {
        let said = Games::default().keep(login("tag"));
        assert_eq!((said.game(), said.name(), said.local()), ("tag", "A", login("tag").local));
        let mut said = said;
        said.set_local(Vec::new());
        assert_eq!((said.name(), said.local()), ("A", Vec::new()));
        let named = Login { name: "Ägir".into(), ..login("tag") };
        assert_eq!(Games::default().keep(named).name(), "Ägir");
    }

    #[test]
    fn players_of_a_game_share_its_name_and_games_without_players_are_forgotten() {
        let mut games = Games::default();
        let (one, other) = (games.keep(login("tag")), games.keep(login("tag")));
        assert!(Arc::ptr_eq(&one.game, &other.game));
        for number in 0..10_000 {
            games.keep(login(&format!("game {number}")));
        }
        assert!(games.names.len() <= FEW_GAMES, "{} names", games.names.len());
        assert!(Arc::ptr_eq(&one.game, &games.keep(login("tag")).game), "who plays it keeps it");
    }
}
