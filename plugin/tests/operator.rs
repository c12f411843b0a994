//! What the operator of a lobby server says reaches the game.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bevy_traversal::*;
use test_support::game::{Game, config, until};
use test_support::lobby;

fn online(game: &Game) -> bool {
    matches!(game.resource::<LobbyLink>().state, LobbyState::Online { .. })
}

#[test]
fn an_announcement_is_a_message_of_the_game_it_is_for() {
    let lobby = lobby();
    let mut game = Game::new(config(&lobby, "A"));
    until([&mut game], "it is on line", 10.0, |[game]| online(game));
    let told = |game, text| lobby.handle().announce(game, text).expect("an answer");
    assert_eq!(told(Some("another"), "not for you"), Ok(0));
    assert_eq!(told(Some("test"), "An update comes at noon."), Ok(1));
    until([&mut game], "it is told", 10.0, |[game]| !game.all::<Announcement>().is_empty());
    assert_eq!(game.all::<Announcement>(), [Announcement { text: "An update comes at noon.".into() }]);
    assert!(told(None, "").is_err(), "nothing to say");
}
