//! Game datagrams beside renet, or instead of it: one channel for the resource, and more for whoever has a stack of its
//! own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bevy_ecs::resource::Resource;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use traversal_core::id::PlayerId;
use traversal_core::wire::pair::{CHANNELS, MAX_PAYLOAD};

use crate::config::{Transport, TraversalConfig};
use crate::driver::Driver;
use crate::queue::GameDatagram;
use crate::state::{Peers, TraversalStats, count};

/// What carries the game takes this channel: renet, or with [`Transport::Manual`] the game itself.
pub(crate) const GAME: u8 = 0;
/// [`Datagrams`] beside renet take this channel.
const BESIDE: u8 = 1;
/// [`DatagramSocket`]s take the channels from this one on.
const FIRST_SOCKET: u8 = 2;
/// This is how many [`DatagramSocket`]s there may be.
pub const SOCKET_CHANNELS: u8 = CHANNELS - FIRST_SOCKET;
/// A datagram has at most this many bytes. What is longer than the path takes in one piece (`path.size` in [`Peers`])
/// is split and joined.
pub const MAX_DATAGRAM: usize = MAX_PAYLOAD;
/// The game may send at most this many datagrams to one player in one frame: at 30 frames a second and 1,200 bytes, 9
/// MB a second.
const PER_PLAYER: usize = 256;
/// At most this many datagrams may be on their way from a [`DatagramSocket`]: a third of a second of 25 players to
/// whom 60 a second go. On their way to one there may be as many as come in one frame
/// ([`TraversalConfig::incoming_datagrams`]), of which the network thread gives each player a share: one who floods
/// does not take the others' places, where the game takes them each frame.
const SOCKET_QUEUE: usize = 512;

/// This is a game datagram from another player.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// This is the player who sent it, authenticated by the path's keys.
    pub player: PlayerId,
    /// This is what it says: at most [`MAX_DATAGRAM`] bytes.
    pub payload: Vec<u8>,
}

/// This is why a datagram was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// No path leads there (any more); wait for [`PeerConnected`](crate::PeerConnected).
    #[error("there is no connection to player {0}")]
    NotConnected(PlayerId),
    /// The datagram is longer than what can be sent; the game has to split it.
    #[error("a datagram of {length} bytes is too long; {most} bytes can be sent")]
    TooLong {
        /// The datagram has this length, in bytes.
        length: usize,
        /// This is the longest that can be sent.
        most: usize,
    },
    /// Too many datagrams wait already: the newest is dropped and counted.
    #[error("too many datagrams wait to be sent; send less, or every frame")]
    Full,
    /// The channel is not below [`SOCKET_CHANNELS`].
    #[error("there is no channel {0}; they count from 0 to {last}", last = SOCKET_CHANNELS - 1)]
    NoSuchChannel(u8),
}

fn check_length(payload: &[u8]) -> Result<(), DatagramError> {
    let length = payload.len();
    let most = MAX_DATAGRAM;
    if length > most { Err(DatagramError::TooLong { length, most }) } else { Ok(()) }
}

/// Resource: it holds the game datagrams of this frame, to and from every connected player. It is there beside renet,
/// or with [`Transport::Manual`] instead of it. Datagrams are unreliable and unordered, and have at most
/// [`MAX_DATAGRAM`] bytes each. They are sealed, so what comes is from who it says. In a mesh
/// ([`Topology::Mesh`](crate::Topology::Mesh)) they are what players say to each other; with the host they have renet
/// too.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use bevy_traversal::{Datagrams, Peers};
///
/// fn share_input(mut datagrams: ResMut<Datagrams>, peers: Res<Peers>) {
///     for datagram in datagrams.drain() {
///         println!("{} says {:?}", datagram.player, datagram.payload);
///     }
///     for peer in peers.iter() {
///         if let Err(error) = datagrams.send(peer.info.id, vec![1, 2, 3]) {
///             println!("{error}");
///         }
///     }
/// }
/// # let _ = IntoSystem::into_system(share_input);
/// ```
#[derive(Resource)]
pub struct Datagrams {
    /// This is what carries the game; for renet.
    pub(crate) received: Vec<GameDatagram>,
    /// This is what [`drain`](Self::drain) gives to the game.
    own: Vec<GameDatagram>,
    /// This is what leaves at the end of this frame, each with its receiver and channel.
    pub(crate) outgoing: Vec<(PlayerId, u8, Vec<u8>)>,
    /// This is who is connected, and how many datagrams of this frame are for it.
    connected: BTreeMap<PlayerId, usize>,
    /// This is what came for connections that are told of with the next frame.
    early: Vec<GameDatagram>,
    sockets: BTreeMap<u8, SocketEnd>,
    /// At most this many datagrams may wait in each of them.
    socket_queue: usize,
    /// This resource sends and receives on this channel.
    channel: u8,
}

impl Datagrams {
    pub(crate) fn new(config: &TraversalConfig) -> Self {
        Self {
            received: Vec::new(),
            own: Vec::new(),
            outgoing: Vec::new(),
            connected: BTreeMap::new(),
            early: Vec::new(),
            sockets: BTreeMap::new(),
            socket_queue: config.incoming_datagrams.max(1),
            channel: if config.transport == Transport::Manual { GAME } else { BESIDE },
        }
    }

    /// Returns what came since the last frame. What is not taken is gone with the next.
    pub fn drain(&mut self) -> impl Iterator<Item = Datagram> + '_ {
        self.own.drain(..).map(|GameDatagram { player, payload, .. }| Datagram { player, payload })
    }

    /// Queues a datagram to `player`, which is sent at the end of this frame.
    ///
    /// # Errors
    /// See [`DatagramError`]. One that is on its way when the connection ends is lost without an error.
    pub fn send(&mut self, player: PlayerId, payload: Vec<u8>) -> Result<(), DatagramError> {
        check_length(&payload)?;
        let queued = self.connected.get_mut(&player).ok_or(DatagramError::NotConnected(player))?;
        if *queued >= PER_PLAYER {
            return Err(DatagramError::Full);
        }
        *queued += 1;
        self.outgoing.push((player, self.channel, payload));
        Ok(())
    }

    /// Returns a handle for datagrams on a channel of their own, 0 to [`SOCKET_CHANNELS`] - 1, for a stack that wants
    /// to send and receive by itself, on any thread. Both sides take the same number. A second call for one channel
    /// takes it away from the handles of the first.
    ///
    /// # Errors
    /// [`DatagramError::NoSuchChannel`].
    pub fn socket(&mut self, channel: u8) -> Result<DatagramSocket, DatagramError> {
        if channel >= SOCKET_CHANNELS {
            return Err(DatagramError::NoSuchChannel(channel));
        }
        let (to_game, incoming) = bounded(self.socket_queue);
        let (outgoing, from_game) = bounded(SOCKET_QUEUE);
        let dropped = Arc::<AtomicU64>::default();
        let end = SocketEnd { to_game, from_game, dropped: dropped.clone() };
        self.sockets.insert(FIRST_SOCKET + channel, end);
        Ok(DatagramSocket { incoming, outgoing, dropped })
    }

    /// Takes the next frame's from the driver.
    pub(crate) fn take(&mut self, driver: &Driver) {
        self.own.clear();
        self.received = std::mem::take(&mut self.early);
        // Bounded: a driver that is faster than this frame waits for the next.
        while self.received.len() < driver.shared.incoming.limit()
            && let Some(mut batch) = driver.shared.incoming.pop()
        {
            if self.received.is_empty() {
                self.received = batch;
            } else {
                self.received.append(&mut batch);
            }
        }
    }

    /// Drops what belongs to connections that are gone, and puts the others where they belong. `more`: there are connections
    /// that this frame does not know of yet; theirs is kept for the next.
    pub(crate) fn sort(&mut self, peers: &Peers, more: bool, stats: &TraversalStats) {
        if self.connected.keys().eq(peers.iter().map(|peer| &peer.info.id)) {
            self.connected.values_mut().for_each(|queued| *queued = 0);
        } else {
            self.connected = peers.iter().map(|peer| (peer.info.id, 0)).collect();
        }
        let before = self.received.len();
        if before > 0 {
            let known = |datagram: &GameDatagram| {
                peers.peer(datagram.player).is_some_and(|peer| peer.generation == datagram.generation)
            };
            if more {
                self.early = self.received.extract_if(.., |datagram| !known(datagram)).collect();
            } else {
                self.received.retain(known);
                count(&stats.0.stale_dropped, (before - self.received.len()) as u64);
            }
        }
        self.distribute();
    }

    /// Puts what came in where its channel belongs.
    fn distribute(&mut self) {
        if self.received.iter().any(|datagram| datagram.channel != GAME) || self.channel == GAME {
            for datagram in std::mem::take(&mut self.received) {
                match datagram.channel {
                    channel if channel == self.channel => self.own.push(datagram),
                    GAME => self.received.push(datagram),
                    channel => self.hand_in(channel, datagram),
                }
            }
        }
        self.sockets.retain(|_, socket| !socket.is_forgotten());
    }

    fn hand_in(&self, channel: u8, GameDatagram { player, payload, .. }: GameDatagram) {
        if let Some(socket) = self.sockets.get(&channel)
            && socket.to_game.try_send(Datagram { player, payload }).is_err()
        {
            count(&socket.dropped, 1);
        }
    }

    /// Hands this frame's to the driver.
    pub(crate) fn hand_over(&mut self, driver: &Driver, peers: &Peers, stats: &TraversalStats) {
        for (channel, socket) in &self.sockets {
            // No more than what there was: others may go on sending.
            let waiting = socket.from_game.try_iter().take(socket.from_game.len());
            self.outgoing.extend(waiting.map(|Datagram { player, payload }| (player, *channel, payload)));
        }
        if self.outgoing.is_empty() {
            return;
        }
        let mut batch = Vec::with_capacity(self.outgoing.len());
        for (player, channel, payload) in self.outgoing.drain(..) {
            match peers.peer(player) {
                Some(peer) => {
                    batch.push(GameDatagram { player, generation: peer.generation, channel, payload });
                }
                None => count(&stats.0.stale_dropped, 1),
            }
        }
        driver.shared.outgoing.push(batch, &stats.0.outgoing_dropped);
        driver.wake();
    }
}

/// This is the plugin's end of a [`DatagramSocket`].
struct SocketEnd {
    to_game: Sender<Datagram>,
    from_game: Receiver<Datagram>,
    dropped: Arc<AtomicU64>,
}

impl SocketEnd {
    /// Returns whether all handles are gone, and what they sent was taken.
    fn is_forgotten(&self) -> bool {
        Arc::strong_count(&self.dropped) == 1 && self.from_game.is_empty()
    }
}

/// This handle sends and receives datagrams on a channel of their own; [`Datagrams::socket`] gives it: what is
/// received here came in with the last frame, what is sent leaves with the end of this one. Handles are cheap to
/// clone; clones share what comes in.
#[derive(Clone, Debug)]
pub struct DatagramSocket {
    incoming: Receiver<Datagram>,
    outgoing: Sender<Datagram>,
    dropped: Arc<AtomicU64>,
}

impl DatagramSocket {
    /// Sends a datagram. Whether that player is connected shows at the end of the frame; if not, the datagram is
    /// dropped and counted in [`TraversalStats::stale_dropped`](crate::TraversalStats::stale_dropped).
    ///
    /// # Errors
    /// [`DatagramError::TooLong`] and [`DatagramError::Full`], which is counted.
    pub fn send(&self, player: PlayerId, payload: Vec<u8>) -> Result<(), DatagramError> {
        check_length(&payload)?;
        match self.outgoing.try_send(Datagram { player, payload }) {
            Ok(()) => Ok(()),
            // Without the plugin there is nobody to be connected to.
            Err(TrySendError::Disconnected(_)) => Err(DatagramError::NotConnected(player)),
            Err(TrySendError::Full(_)) => {
                count(&self.dropped, 1);
                Err(DatagramError::Full)
            }
        }
    }

    /// Takes the oldest received datagram, or `None` if there is none.
    pub fn receive(&self) -> Option<Datagram> {
        self.incoming.try_recv().ok()
    }

    /// Returns how many datagrams were dropped because they were not taken in time, in either direction.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PlayerId = PlayerId([1; 16]);

    fn datagrams() -> Datagrams {
        let mut datagrams = Datagrams::new(&TraversalConfig::default());
        datagrams.connected.insert(A, 0);
        datagrams
    }

    #[test]
    fn each_reason_not_to_send_is_told() {
        let mut datagrams = datagrams();
        let b = PlayerId([2; 16]);
        assert_eq!(datagrams.send(b, vec![1]), Err(DatagramError::NotConnected(b)));
        let (length, most) = (MAX_DATAGRAM + 1, MAX_DATAGRAM);
        assert_eq!(datagrams.send(A, vec![0; length]), Err(DatagramError::TooLong { length, most }));
        for _ in 0..PER_PLAYER {
            assert_eq!(datagrams.send(A, vec![0; MAX_DATAGRAM]), Ok(()));
        }
        assert_eq!(datagrams.send(A, vec![1]), Err(DatagramError::Full));
        assert_eq!(datagrams.outgoing.len(), PER_PLAYER);
        assert_eq!(
            datagrams.socket(SOCKET_CHANNELS).err(),
            Some(DatagramError::NoSuchChannel(SOCKET_CHANNELS))
        );
        assert!(DatagramError::NoSuchChannel(99).to_string().contains("from 0 to 13"));
    }

    #[test]
    fn what_nobody_takes_is_dropped_and_counted() {
        let mut datagrams = datagrams();
        let socket = datagrams.socket(3).unwrap();
        let most = TraversalConfig::default().incoming_datagrams;
        for _ in 0..most + 5 {
            let (player, channel) = (A, FIRST_SOCKET + 3);
            datagrams.hand_in(channel, GameDatagram { player, generation: 0, channel, payload: vec![7] });
        }
        assert_eq!(socket.dropped(), 5);
        let other = socket.clone();
        assert_eq!(std::iter::from_fn(|| other.receive()).count(), most, "clones share");
        for _ in 0..SOCKET_QUEUE {
            assert_eq!(socket.send(A, vec![1]), Ok(()));
        }
        assert_eq!(other.send(A, vec![1]), Err(DatagramError::Full));
        assert_eq!(socket.dropped(), 6);
        assert!(matches!(socket.send(A, vec![0; MAX_DATAGRAM + 1]), Err(DatagramError::TooLong { .. })));
    }

    #[test]
    fn channels_go_to_their_owners_and_a_forgotten_socket_is_forgotten() {
        let mut datagrams = datagrams();
        let (one, two) = (datagrams.socket(0).unwrap(), datagrams.socket(1).unwrap());
        let player = A;
        for channel in [GAME, BESIDE, FIRST_SOCKET, FIRST_SOCKET + 1, FIRST_SOCKET + 2] {
            datagrams.received.push(GameDatagram { player, generation: 0, channel, payload: vec![channel] });
        }
        datagrams.distribute();
        assert_eq!(datagrams.received.iter().map(|datagram| datagram.channel).collect::<Vec<_>>(), [GAME]);
        assert_eq!(datagrams.drain().map(|datagram| datagram.payload).collect::<Vec<_>>(), [[BESIDE]]);
        assert_eq!(one.receive().map(|datagram| datagram.payload), Some(vec![FIRST_SOCKET]));
        assert_eq!(two.receive().map(|datagram| datagram.payload), Some(vec![FIRST_SOCKET + 1]));
        assert!(one.receive().is_none() && two.receive().is_none());
        drop(one);
        datagrams.distribute();
        assert_eq!(datagrams.sockets.len(), 1);
    }
}
