//! Rollback with `ggrs` over the connections of a mesh.

use traversal_core::id::PlayerId;

use crate::datagrams::{DatagramError, DatagramSocket, Datagrams, SOCKET_CHANNELS};

/// This is the last channel, so that a game's own begin at 0.
const CHANNEL: u8 = SOCKET_CHANNELS - 1;

/// This is a socket for a session of `ggrs`, whose addresses are [`PlayerId`]s: set `ggrs::Config::Address` to it,
/// add each connected player as `PlayerType::Remote(id)`, and pass this to `SessionBuilder::start_p2p_session`. All
/// players must number themselves alike, for example in the order of their ids.
///
/// The socket uses one of the plugin's datagram channels, so renet and [`Datagrams`] go on beside it. What a session does not
/// take in time, and what is longer than a datagram, is dropped and counted; `ggrs` repeats what matters.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use bevy_traversal::{Datagrams, GgrsSocket, PlayerId};
/// use ggrs::{PlayerType, SessionBuilder};
///
/// struct Game;
///
/// impl ggrs::Config for Game {
///     type Input = u8;
///     type InputPredictor = ggrs::PredictRepeatLast;
///     type State = u64;
///     type Address = PlayerId;
/// }
///
/// fn session(
///     datagrams: &mut Datagrams,
///     own: PlayerId,
///     mut players: Vec<PlayerId>, // with the own one
/// ) -> Result<ggrs::P2PSession<Game>, ggrs::GgrsError> {
///     players.sort();
///     let mut builder = SessionBuilder::new().with_num_players(players.len())?;
///     for (number, player) in players.into_iter().enumerate() {
///         let kind = if player == own { PlayerType::Local } else { PlayerType::Remote(player) };
///         builder = builder.add_player(kind, number)?;
///     }
///     builder.start_p2p_session(GgrsSocket::open(datagrams))
/// }
/// # let _ = session;
/// ```
#[derive(Clone, Debug)]
pub struct GgrsSocket {
    socket: Option<DatagramSocket>,
    unsendable: u64,
}

impl GgrsSocket {
    /// Returns the socket of this app. A second one takes over from the first.
    pub fn open(datagrams: &mut Datagrams) -> Self {
        Self { socket: datagrams.socket(CHANNEL).ok(), unsendable: 0 }
    }

    /// Counts messages that were dropped: not taken or not sent in time, or too long for a datagram.
    pub fn dropped(&self) -> u64 {
        self.unsendable + self.socket.as_ref().map_or(0, DatagramSocket::dropped)
    }
}

impl ggrs::NonBlockingSocket<PlayerId> for GgrsSocket {
    fn send_to(&mut self, message: &ggrs::Message, player: &PlayerId) {
        let sent = match (&self.socket, postcard::to_stdvec(message)) {
            (Some(socket), Ok(payload)) => socket.send(*player, payload),
            _ => return self.unsendable += 1,
        };
        // What finds the queue full is counted there.
        self.unsendable += u64::from(sent.is_err_and(|error| error != DatagramError::Full));
    }

    fn receive_all_messages(&mut self) -> Vec<(PlayerId, ggrs::Message)> {
        let Some(socket) = &self.socket else { return Vec::new() };
        // Bounded by the channel's length; what is no message is nobody's.
        std::iter::from_fn(|| socket.receive())
            .filter_map(|datagram| Some((datagram.player, postcard::from_bytes(&datagram.payload).ok()?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    /// What players send reaches this codec, damaged or made up by a changed game.
    #[test]
    fn messages_survive_the_codec_and_no_bytes_make_it_panic() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut messages = 0;
        for _ in 0..20_000 {
            let mut bytes = vec![0; random.usize(..40)];
            bytes.fill_with(|| {
                let small = random.bool();
                random.u8(..if small { 8 } else { u8::MAX })
            });
            let Ok(message) = postcard::from_bytes::<ggrs::Message>(&bytes) else { continue };
            messages += 1;
            let written = postcard::to_stdvec(&message).unwrap();
            assert_eq!(postcard::from_bytes::<ggrs::Message>(&written), Ok(message));
        }
        assert!(messages > 100, "only {messages} of the attempts were messages");
        // A vector that claims to be long.
        let bomb = [1, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(postcard::from_bytes::<ggrs::Message>(&bomb).is_err());
    }
}
