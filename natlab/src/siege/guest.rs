//! Somebody who speaks the real protocol and keeps to none of its manners.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use traversal_core::Identity;
use traversal_core::id::RequestId;
use traversal_core::wire::Kind;
use traversal_core::wire::handshake::{ClientHandshake, ClientProgress};
use traversal_core::wire::message::{Farewell, Frame, Login, Request, ToPlayer, ToServer};
use traversal_core::wire::session::ClientSession;

/// This is a session with the server, for an attacker: it keeps to no rate.
pub(super) struct Guest {
    socket: UdpSocket,
    session: ClientSession,
    requests: u32,
}

impl Guest {
    /// Logs in from this address with an identity made of `seed`; none where the server does not want to, or takes longer
    /// than two seconds.
    pub(super) fn log_in(server: SocketAddr, ip: IpAddr, seed: u64) -> Option<Self> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let socket = UdpSocket::bind(SocketAddr::new(ip, 0)).ok()?;
        socket.connect(server).ok()?;
        socket.set_read_timeout(Some(Duration::from_millis(300))).ok()?;
        let (mut secret, mut ephemeral) = ([0; 32], [0; 32]);
        rng.fill_bytes(&mut secret);
        rng.fill_bytes(&mut ephemeral);
        let identity = Identity::from_secret(secret);
        let login = Login {
            game: "default".into(),
            game_protocol: 0,
            name: format!("guest {seed}"),
            token: Vec::new(),
            ephemeral,
            local: Vec::new(),
            relay_only: false,
        };
        let mut handshake = ClientHandshake::new(&mut rng);
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut buffer = [0; 2048];
        while Instant::now() < deadline {
            socket.send(handshake.datagram()).ok()?;
            let Ok(length) = socket.recv(&mut buffer) else { continue };
            let answer = &buffer[..length];
            match handshake.handle(answer, &identity, &[], &login, Instant::now(), &mut rng) {
                Ok(ClientProgress::Accepted(accepted)) => {
                    let (_, session, _) = *accepted;
                    return Some(Self { socket, session, requests: 0 });
                }
                Ok(ClientProgress::Refused(_)) => return None,
                _ => {}
            }
        }
        None
    }

    fn flush(&mut self) {
        while let Some(datagram) = self.session.poll_datagram() {
            let _ = self.socket.send(&datagram);
        }
    }

    /// Says this to the server, whatever rates it has.
    pub(super) fn say(&mut self, message: ToServer) {
        // A queue that is full stays full until the server acknowledges something.
        let _ = self.session.send(Instant::now(), message);
        self.flush();
    }

    pub(super) fn ask(&mut self, request: Request) {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.say(ToServer::Request { id, request });
    }

    /// Takes what comes for so long.
    pub(super) fn listen(&mut self, time: Duration) -> Vec<ToPlayer> {
        let (end, mut heard, mut buffer) = (Instant::now() + time, Vec::new(), [0; 2048]);
        loop {
            let now = Instant::now();
            self.session.handle_timeout(now);
            self.flush();
            if now >= end {
                return heard;
            }
            let wait = (end - now).clamp(Duration::from_millis(1), Duration::from_millis(50));
            let _ = self.socket.set_read_timeout(Some(wait));
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            if let Ok(Some(Frame::Reliable { body, .. })) =
                self.session.handle(Instant::now(), &buffer[..length])
            {
                heard.push(body);
            }
        }
    }

    /// Says goodbye. Who is dropped without it has vanished.
    pub(super) fn leave(mut self) {
        let frame = Frame::Goodbye { reason: String::new(), why: Farewell::Leaving };
        if let Some(datagram) = self.session.seal(Instant::now(), Kind::Control, &frame) {
            let _ = self.socket.send(&datagram);
        }
    }
}
