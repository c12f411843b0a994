//! The punched socket for whoever wants it.

use std::net::{SocketAddr, UdpSocket};

use crossbeam_channel::{Receiver, TryRecvError};
use traversal_core::id::PlayerId;

use crate::error::SocketError;

/// This is a punched UDP path that belongs to the game from now on, given by
/// [`TraversalLink::into_socket`](crate::TraversalLink::into_socket).
///
/// The socket is non-blocking and not connected; whoever knows its address can send to it. Datagrams that the
/// other side's agent still had on the way may arrive; they do not begin like netcode's.
#[derive(Debug)]
pub struct PunchedSocket {
    /// This player is at the other end.
    pub player: PlayerId,
    /// This is the socket that the path goes out from; it is non-blocking and not connected.
    pub socket: UdpSocket,
    /// This is the address at which the other player is reached.
    pub remote: SocketAddr,
    /// Only the two players know this key; it is for a protocol of the game's own.
    pub shared_key: [u8; 32],
}

/// This is a [`PunchedSocket`] that is being handed over; this takes about a frame.
#[derive(Debug)]
pub struct PendingSocket(pub(crate) Option<Receiver<Result<PunchedSocket, SocketError>>>);

impl PendingSocket {
    /// Returns the socket or the error once it is there, and none before. It gives it once.
    pub fn poll(&mut self) -> Option<Result<PunchedSocket, SocketError>> {
        let receiver = self.0.as_ref()?;
        let result = match receiver.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(SocketError::NotRunning),
        };
        self.0 = None;
        Some(result)
    }
}

#[cfg(feature = "stock_netcode")]
pub use stock::{NETCODE_PROTOCOL, netcode_client, netcode_server};

#[cfg(feature = "stock_netcode")]
mod stock {
    use std::io;
    use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
    use std::time::Duration;

    use bevy_renet::netcode::{
        ClientAuthentication, ConnectToken, NetcodeClientTransport, NetcodeError, NetcodeServerTransport,
        ServerAuthentication, ServerConfig,
    };

    use super::PunchedSocket;

    /// The transports that are made here have this protocol id.
    pub const NETCODE_PROTOCOL: u64 = 0x6265_7679_5f74_7276;
    /// Stands in each token beside the real address: behind a NAT the server cannot know the address that its
    /// client sees it at, and netcode wants one of its own in the token. From TEST-NET-1 (RFC 5737).
    const SERVER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 1));
    /// Netcode's clock starts with the transport on both sides, so clocks that differ do no harm; within this
    /// time the client must have connected.
    const TOKEN_LIFE: u64 = 60;
    /// After this many seconds without any datagram netcode gives the other side up.
    const TIMEOUT: i32 = 5;

    /// Makes the host's side of renet's own transport on a punched socket, for the one player at its other end. Nobody
    /// else can connect: the key that signs connect tokens is the pair's.
    ///
    /// See [`TraversalLink::into_socket`](crate::TraversalLink::into_socket) for what renetcode does with
    /// malformed datagrams.
    ///
    /// # Errors
    /// The system's, when the socket cannot be used.
    pub fn netcode_server(punched: PunchedSocket) -> io::Result<NetcodeServerTransport> {
        let config = ServerConfig {
            current_time: Duration::ZERO,
            max_clients: 1,
            protocol_id: NETCODE_PROTOCOL,
            public_addresses: vec![SERVER],
            authentication: ServerAuthentication::Secure { private_key: punched.shared_key },
        };
        NetcodeServerTransport::new(config, punched.socket)
    }

    /// Makes renet's stock client transport on a punched socket; `client_id` is [`PlayerId::client_id`](crate::PlayerId::client_id) of
    /// this player, so that the host knows it by the same number as with the sealed transport.
    ///
    /// # Errors
    /// The error of netcode's client, if it cannot use the socket.
    pub fn netcode_client(
        punched: PunchedSocket,
        client_id: u64,
    ) -> Result<NetcodeClientTransport, NetcodeError> {
        let connect_token = ConnectToken::generate(
            Duration::ZERO,
            NETCODE_PROTOCOL,
            TOKEN_LIFE,
            client_id,
            TIMEOUT,
            vec![punched.remote, SERVER],
            None,
            &punched.shared_key,
        )
        .map_err(NetcodeError::from)?;
        NetcodeClientTransport::new(
            Duration::ZERO,
            ClientAuthentication::Secure { connect_token },
            punched.socket,
        )
    }
}
