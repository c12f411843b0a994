//! A player's login, whatever carries its datagrams.

use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use traversal_core::Identity;
use traversal_core::wire::handshake::{ClientHandshake, ClientProgress};
use traversal_core::wire::message::{Login, Welcome};
use traversal_core::wire::session::ClientSession;

/// Logs a player in whose keys are all made of `seed`. `exchange` sends a datagram to the server and gives its answer.
/// Besides the session, the server's key.
pub fn log_in(
    seed: u8,
    token: &[u8],
    mut exchange: impl FnMut(&[u8]) -> Result<Vec<u8>, String>,
) -> Result<(Welcome, ClientSession, [u8; 32]), String> {
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    let identity = Identity::from_secret([seed; 32]);
    let login = Login {
        game: "game".into(),
        game_protocol: 1,
        name: "P".into(),
        token: token.to_vec(),
        ephemeral: [seed; 32],
        local: Vec::new(),
        relay_only: false,
    };
    let mut handshake = ClientHandshake::new(&mut rng);
    loop {
        let answer = exchange(handshake.datagram())?;
        match handshake.handle(&answer, &identity, &[], &login, Instant::now(), &mut rng) {
            Ok(ClientProgress::Accepted(accepted)) => return Ok(*accepted),
            Ok(ClientProgress::Refused(refusal)) => return Err(refusal.to_string()),
            Ok(ClientProgress::Cookie) => {}
            other => return Err(format!("{other:?}")),
        }
    }
}
