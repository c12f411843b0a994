//! Players of server cores in memory: no sockets, no threads, and the time is what the caller says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use lobby_server::{Server, ServerConfig, ServerSocket, ServerSocketId, ServerTransmit};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use traversal_core::Identity;
use traversal_core::id::RequestId;
use traversal_core::wire::handshake::{ClientHandshake, ClientProgress};
use traversal_core::wire::message::{Frame, Login, Request, ToPlayer, ToServer};
use traversal_core::wire::session::ClientSession;

/// The players come to this socket of the server.
pub const SOCKET: ServerSocketId = ServerSocketId(0);

/// Players are at public addresses from 11.0.0.1 on, which no two of them share.
const FIRST: u32 = 0x0b00_0001;

/// Makes a server core that has places for so many players.
pub fn server(places: usize, now: Instant) -> Server {
    server_with(ServerConfig { max_sessions: places, max_rooms: places, ..ServerConfig::default() }, now)
}

/// Makes a server core with these settings.
pub fn server_with(config: ServerConfig, now: Instant) -> Server {
    let sockets = vec![ServerSocket::first("198.18.0.10:3478".parse().unwrap())];
    Server::new(config, Identity::from_secret([9; 32]), [8; 32], sockets, now)
}

/// This is one player, at an address of its own.
pub struct Member {
    /// The player's datagrams come from here.
    pub address: SocketAddr,
    /// It is there once the player is logged in.
    pub session: Option<ClientSession>,
    /// This is what the server has told.
    pub told: Vec<ToPlayer>,
    identity: Identity,
    login: Login,
    handshake: ClientHandshake,
    rng: ChaCha20Rng,
    requests: u32,
}

impl Member {
    /// Makes the player of this number, with a name and two local addresses as players have.
    pub fn new(number: u32) -> Self {
        let mut secret = [3; 32];
        secret[8..12].copy_from_slice(&number.to_le_bytes());
        let mut rng = ChaCha20Rng::from_seed(secret);
        let [_, a, b, c] = number.to_be_bytes();
        let local = |ip: IpAddr| SocketAddr::new(ip, 50_000);
        let login = Login {
            game: "game of tests".into(),
            game_protocol: 1,
            name: format!("Player {number}"),
            token: Vec::new(),
            ephemeral: secret,
            local: vec![
                local([192, 168, b, c].into()),
                local([0x2001, 0xdb8, u16::from(a), u16::from(b), 0, 0, 0, u16::from(c)].into()),
            ],
            relay_only: false,
        };
        Self {
            address: SocketAddr::new(Ipv4Addr::from(FIRST + number).into(), 50_000),
            session: None,
            told: Vec::new(),
            identity: Identity::from_secret(secret),
            login,
            handshake: ClientHandshake::new(&mut rng),
            rng,
            requests: 0,
        }
    }

    /// Returns the first datagram of the login.
    pub fn hello(&self) -> Vec<u8> {
        self.handshake.hello().to_vec()
    }

    /// Gets a cookie for the first datagram, and returns the second one of the login.
    pub fn init(&mut self, server: &mut Server, now: Instant) -> Vec<u8> {
        server.handle_datagram(now, SOCKET, self.address, &self.hello());
        while let Some(transmit) = server.poll_transmit() {
            self.take(now, &transmit);
        }
        self.next()
    }

    /// Returns the datagram that goes on with the login.
    pub fn next(&self) -> Vec<u8> {
        self.handshake.datagram().to_vec()
    }

    /// Returns the next datagram of the session, if there is one to send.
    pub fn next_sealed(&mut self) -> Option<Vec<u8>> {
        self.session.as_mut().and_then(ClientSession::poll_datagram)
    }

    /// Returns the number that the player was made of.
    pub fn number_at(address: SocketAddr) -> Option<u32> {
        let IpAddr::V4(ip) = address.ip() else { return None };
        ip.to_bits().checked_sub(FIRST)
    }

    /// Takes what the server has sent, if it is for this player.
    pub fn take(&mut self, now: Instant, transmit: &ServerTransmit) {
        if transmit.to != self.address {
            return;
        }
        let Some(session) = &mut self.session else {
            let (datagram, login) = (&transmit.payload, &self.login);
            let done = self.handshake.handle(datagram, &self.identity, &[], login, now, &mut self.rng);
            if let Ok(ClientProgress::Accepted(accepted)) = done {
                self.session = Some(accepted.1);
            }
            return;
        };
        if let Ok(Some(Frame::Reliable { body, .. })) = session.handle(now, &transmit.payload) {
            self.told.push(body);
        }
    }

    /// Returns a sign of life as it is sent.
    pub fn ping(&mut self, now: Instant) -> Vec<u8> {
        let session = self.session.as_mut().expect("logged in");
        session.send_once(now, &Frame::Ping { id: 1 });
        session.poll_datagram().expect("a ping")
    }

    /// Puts a message to the server in line.
    pub fn say(&mut self, now: Instant, message: ToServer) {
        self.session.as_mut().expect("logged in").send(now, message).unwrap();
    }

    /// Puts a request in line.
    pub fn ask(&mut self, now: Instant, request: Request) {
        self.requests += 1;
        self.say(now, ToServer::Request { id: RequestId(self.requests), request });
    }

    /// Logs the player in, and says that it is there.
    pub fn log_in(&mut self, server: &mut Server, now: Instant) {
        let init = self.init(server, now);
        server.handle_datagram(now, SOCKET, self.address, &init);
        self.drain(server, now);
        let ping = self.ping(now);
        server.handle_datagram(now, SOCKET, self.address, &ping);
        self.drain(server, now);
    }

    /// Exchanges all that this player and the server have to say to each other.
    pub fn talk(&mut self, server: &mut Server, now: Instant) {
        while let Some(datagram) = self.next_sealed() {
            server.handle_datagram(now, SOCKET, self.address, &datagram);
            self.drain(server, now);
        }
    }

    fn drain(&mut self, server: &mut Server, now: Instant) {
        while let Some(transmit) = server.poll_transmit() {
            self.take(now, &transmit);
        }
    }
}
