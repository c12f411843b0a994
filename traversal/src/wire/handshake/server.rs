//! The server's side of the handshake: cookies and logins.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use snow::HandshakeState;

use super::noise::{Identity, noise, prologue};
use super::{HEADER, NONCE, REFUSE_BUSY, REFUSE_VERSION, header, parse_header};
use crate::id::PlayerId;
use crate::wire::message::{Login, LoginRefusal, LoginReply, Welcome};
use crate::wire::secret::{CODE, MacKey, same};
use crate::wire::session::{ServerSession, Session, SessionKeys};
use crate::wire::{Dropped, Kind, MAX_CONTROL, VERSION, codec, take};

/// A cookie serves for one to two of these: long enough for a slow path, short enough to be worth little.
const COOKIE_EPOCH: Duration = Duration::from_secs(30);

/// A cookie has so many bytes: its epoch and its code.
pub(super) const COOKIE: usize = 4 + CODE;
const _: () = assert!(HEADER + COOKIE + 32 < MAX_CONTROL, "a cookie reply is shorter than a hello");

/// This is the server's side, which holds no state about anybody.
#[derive(Debug)]
pub struct ServerHandshake {
    identity: Identity,
    cookie_key: MacKey,
    start: Instant,
}

impl ServerHandshake {
    /// `cookie_key` is drawn at each start.
    pub fn new(identity: Identity, cookie_key: [u8; 32], now: Instant) -> Self {
        Self { identity, cookie_key: MacKey::new(cookie_key), start: now }
    }

    /// Returns the server's own keys.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns what proves to a player that it is this server that does not know its session any more. It is as
    /// lasting as the server's identity, so that it holds after a restart; `node` keeps servers of one identity
    /// apart, one of which may know a session that another one does not.
    pub fn reset_token(&self, node: u64, session: u64) -> Option<[u8; 16]> {
        let content = [node.to_le_bytes(), session.to_le_bytes()].concat();
        self.identity.mac(b"bevy_traversal reset 1", &content)
    }

    /// Answers a [`Kind::Hello`]: with a cookie, or with the version this server speaks. The cookie serves this address
    /// over UDP or over a stream, as the hello came.
    ///
    /// # Errors
    /// When it is not a whole hello; nothing is to be answered then.
    pub fn handle_hello(
        &self,
        now: Instant,
        (from, over_stream): (SocketAddr, bool),
        datagram: &[u8],
    ) -> Result<Vec<u8>, Dropped> {
        if datagram.len() < MAX_CONTROL {
            return Err(Dropped::Malformed);
        }
        let mut rest = datagram;
        let (version, nonce) = parse_header(&mut rest).ok_or(Dropped::Malformed)?;
        if version != VERSION {
            let mut out = header(Kind::Refuse, &nonce);
            out.push(REFUSE_VERSION);
            return Ok(out);
        }
        let mut out = header(Kind::Cookie, &nonce);
        out.extend_from_slice(&self.cookie(self.epoch(now), (from, over_stream), &nonce));
        out.extend_from_slice(&self.identity.public);
        Ok(out)
    }

    /// Refuses a hello in the clear because the server has too much to do or stops; the player is to ask again after
    /// this many seconds. None: it is no hello.
    pub fn refuse_busy(datagram: &[u8], again_s: u8) -> Option<Vec<u8>> {
        let mut rest = datagram;
        let (_, nonce) = parse_header(&mut rest)?;
        let mut out = header(Kind::Refuse, &nonce);
        out.extend_from_slice(&[REFUSE_BUSY, again_s]);
        (out.len() <= datagram.len()).then_some(out)
    }

    /// Reads a [`Kind::Init`] whose cookie fits its address. The caller keeps the answer for as long as a cookie
    /// serves ([`Self::INIT_LIFETIME`]) and answers the same datagram with the same bytes: it may be a
    /// retransmission or a replay.
    ///
    /// # Errors
    /// Nothing is to be answered then.
    pub fn handle_init(
        &self,
        now: Instant,
        (from, over_stream): (SocketAddr, bool),
        datagram: &[u8],
        rng: &mut impl RngCore,
    ) -> Result<PendingLogin, Dropped> {
        if datagram.len() > MAX_CONTROL {
            return Err(Dropped::Malformed);
        }
        let mut rest = datagram;
        let (version, nonce) = parse_header(&mut rest).ok_or(Dropped::Malformed)?;
        let cookie: [u8; COOKIE] = take(&mut rest).ok_or(Dropped::Malformed)?;
        if version != VERSION {
            return Err(Dropped::Malformed);
        }
        let [a, b, c, d, ..] = cookie;
        let epoch = u32::from_le_bytes([a, b, c, d]);
        let present = self.epoch(now);
        let fresh = epoch == present || epoch.checked_add(1) == Some(present);
        if !fresh || !same(&self.cookie(epoch, (from, over_stream), &nonce), &cookie) {
            return Err(Dropped::BadCookie);
        }
        let mut state =
            noise(&self.identity, rng, None, &prologue(&nonce, &cookie)).map_err(|_| Dropped::Malformed)?;
        let mut payload = vec![0; MAX_CONTROL];
        let len = state.read_message(rest, &mut payload).map_err(|_| Dropped::NotAuthentic)?;
        let login: Login = codec::decode(&payload[..len]).map_err(|_| Dropped::Malformed)?;
        let key = state.get_remote_static().ok_or(Dropped::Malformed)?;
        let public_key: [u8; 32] = key.try_into().map_err(|_| Dropped::Malformed)?;
        Ok(PendingLogin { player: PlayerId::from_public_key(&public_key), public_key, login, state, nonce })
    }

    /// The answer to an init must be kept for this long.
    pub const INIT_LIFETIME: Duration = Duration::from_secs(2 * COOKIE_EPOCH.as_secs());

    fn epoch(&self, now: Instant) -> u32 {
        let epochs = now.saturating_duration_since(self.start).as_secs() / COOKIE_EPOCH.as_secs();
        u32::try_from(epochs).unwrap_or(u32::MAX)
    }

    fn cookie(
        &self,
        epoch: u32,
        (from, over_stream): (SocketAddr, bool),
        nonce: &[u8; NONCE],
    ) -> [u8; COOKIE] {
        let mut cookie = [0; COOKIE];
        cookie[..4].copy_from_slice(&epoch.to_le_bytes());
        let ip: &[u8] = match from.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => &ip.octets(),
            std::net::IpAddr::V6(ip) => &ip.octets(),
        };
        let parts = [&cookie[..4], ip, &from.port().to_le_bytes(), &[u8::from(over_stream)], nonce];
        if let Some(code) = self.cookie_key.code(b"cookie", &parts) {
            cookie[4..].copy_from_slice(&code);
        }
        cookie
    }
}

/// This is a player at the door: its address and its key are proven.
#[derive(Debug)]
pub struct PendingLogin {
    /// This player wants to log in.
    pub player: PlayerId,
    /// The player has proven to hold this static key.
    pub public_key: [u8; 32],
    /// This is what it says about itself; it is unchecked.
    pub login: Login,
    state: HandshakeState,
    nonce: [u8; NONCE],
}

impl PendingLogin {
    /// Lets it in: the answer's datagram and the session.
    ///
    /// # Errors
    /// Only when `welcome` does not fit a datagram.
    pub fn accept(mut self, welcome: &Welcome, now: Instant) -> Result<(Vec<u8>, ServerSession), Dropped> {
        let datagram = self.answer(&Ok(welcome.clone()))?;
        Ok((datagram, Session::new(welcome.session, SessionKeys::of(self.state)?, now)))
    }

    /// Sends it away: the answer's datagram.
    ///
    /// # Errors
    /// Only when `refusal` does not fit a datagram.
    pub fn refuse(mut self, refusal: LoginRefusal) -> Result<Vec<u8>, Dropped> {
        self.answer(&Err(refusal))
    }

    fn answer(&mut self, reply: &LoginReply) -> Result<Vec<u8>, Dropped> {
        let payload = codec::encode(reply).map_err(|_| Dropped::Malformed)?;
        let mut message = vec![0; MAX_CONTROL];
        let len = self.state.write_message(&payload, &mut message).map_err(|_| Dropped::Malformed)?;
        let mut out = header(Kind::Accept, &self.nonce);
        out.extend_from_slice(&message[..len]);
        Ok(out)
    }
}
