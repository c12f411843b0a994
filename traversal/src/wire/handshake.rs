//! The way to a session: hello, stateless cookie, Noise IK.
//!
//! ```text
//! player                                         server
//! Hello   magic version nonce, padded to 1,200 ─►         keeps nothing
//!         ◄─ Cookie  magic version nonce cookie server-key
//! Init    magic version nonce cookie noise-1(Login) ─►    address is validated, Noise work is done
//!         ◄─ Accept  magic version nonce noise-2(LoginReply)
//! ```
//! The player's static key is its identity. Each datagram is answered by at most one that is not longer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::Sha256;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use x25519_dalek::{PublicKey, StaticSecret};

use super::message::{Login, LoginRefusal, LoginReply, Welcome};
use super::session::{ClientSession, ServerSession, Session};
use super::{Dropped, Kind, MAGIC, MAX_CONTROL, VERSION, codec, take};
use crate::id::PlayerId;

const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_SHA256";
const NONCE: usize = 16;
const MAC_LEN: usize = 16;
/// kind, magic, version, nonce.
const HEADER: usize = 1 + MAGIC.len() + 2 + NONCE;
/// A cookie serves for one to two of these: long enough for a slow path, short enough to be worth little.
const COOKIE_EPOCH: Duration = Duration::from_secs(30);
/// The login is padded to this, so that no answer is longer than its question.
const LOGIN_PADDED: usize = 480;

/// A player's or server's static X25519 key pair.
#[derive(Clone)]
pub struct Identity {
    secret: StaticSecret,
    public: [u8; 32],
}

impl Identity {
    /// From 32 random bytes, kept by the caller.
    pub fn from_secret(secret: [u8; 32]) -> Self {
        let secret = StaticSecret::from(secret);
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }

    /// The public half.
    pub fn public_key(&self) -> [u8; 32] {
        self.public
    }

    /// The id that others know this identity by.
    pub fn player_id(&self) -> PlayerId {
        PlayerId::from_public_key(&self.public)
    }

    /// A message authentication code that only the holder of the secret can make or check, so as lasting as the
    /// identity: HMAC-SHA-256, cut to 16 bytes, with a key of its own for each purpose.
    pub fn mac(&self, purpose: &[u8], content: &[u8]) -> Option<[u8; MAC_LEN]> {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, self.secret.as_bytes()).expand(purpose, &mut key).ok()?;
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).ok()?;
        mac.update(content);
        mac.finalize().into_bytes().first_chunk().copied()
    }

    pub(crate) fn diffie_hellman(&self, other: &[u8; 32]) -> [u8; 32] {
        self.secret.diffie_hellman(&PublicKey::from(*other)).to_bytes()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.player_id())
    }
}

/// snow with the injected generator: same seed, same run.
struct Seeded([u8; 32]);

struct SeededRandom(ChaCha20Rng);

impl Random for SeededRandom {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        self.0.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoResolver for Seeded {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(SeededRandom(ChaCha20Rng::from_seed(self.0))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// Magic and version, bound into the keys.
fn prologue() -> [u8; 5] {
    let [a, b, c] = MAGIC;
    let [d, e] = VERSION.to_le_bytes();
    [a, b, c, d, e]
}

/// `remote` is there for the initiator alone, who knows the responder's key.
fn noise(
    identity: &Identity,
    rng: &mut impl RngCore,
    remote: Option<&[u8; 32]>,
) -> Result<HandshakeState, snow::Error> {
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    let prologue = prologue();
    let secret = identity.secret.to_bytes();
    let builder = Builder::with_resolver(PATTERN.parse()?, Box::new(Seeded(seed)))
        .prologue(&prologue)?
        .local_private_key(&secret)?;
    match remote {
        Some(key) => builder.remote_public_key(key)?.build_initiator(),
        None => builder.build_responder(),
    }
}

fn header(kind: Kind, nonce: &[u8; NONCE]) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAX_CONTROL);
    out.push(kind as u8);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(nonce);
    out
}

/// What stands in front of every handshake datagram: version and nonce.
fn parse_header(datagram: &mut &[u8]) -> Option<(u16, [u8; NONCE])> {
    take::<1>(datagram)?;
    if take::<3>(datagram)? != MAGIC {
        return None;
    }
    let version = u16::from_le_bytes(take(datagram)?);
    Some((version, take(datagram)?))
}

/// Why the server says no in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It speaks another version.
    Version {
        /// Its own.
        theirs: u16,
    },
    /// It knows no such session (any more): log in again.
    UnknownSession {
        /// As the player named it.
        session: u64,
    },
    /// It takes nobody now.
    Busy,
}

const REFUSE_VERSION: u8 = 1;
const REFUSE_SESSION: u8 = 2;
const REFUSE_BUSY: u8 = 3;

/// The server's answer to a sealed datagram of a session that it does not know; shorter than any such datagram.
pub fn refuse_unknown_session(datagram: &[u8]) -> Option<Vec<u8>> {
    let session: [u8; 8] = datagram.get(1..9)?.try_into().ok()?;
    let mut nonce = [0; NONCE];
    nonce[..8].copy_from_slice(&session);
    let mut out = header(Kind::Refuse, &nonce);
    out.push(REFUSE_SESSION);
    (out.len() <= datagram.len()).then_some(out)
}

/// The player's side of one login.
#[derive(Debug)]
pub struct ClientHandshake {
    nonce: [u8; NONCE],
    hello: Vec<u8>,
    /// Set once a cookie came.
    init: Option<(HandshakeState, Vec<u8>, [u8; 32])>,
}

/// What an answer of the server did.
#[derive(Debug)]
pub enum ClientProgress {
    /// A cookie: go on with [`ClientHandshake::datagram`], to the server that sent it.
    Cookie,
    /// In.
    Accepted(Box<(Welcome, ClientSession, [u8; 32])>),
    /// Not in, as the server says inside the handshake.
    Refused(LoginRefusal),
    /// Not in, as somebody says in the clear.
    RefusedInClear(Refusal),
    /// The server's key is none of the expected.
    WrongKey,
}

impl ClientHandshake {
    /// A new attempt.
    pub fn new(rng: &mut impl RngCore) -> Self {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let mut hello = header(Kind::Hello, &nonce);
        hello.resize(MAX_CONTROL, 0);
        Self { nonce, hello, init: None }
    }

    /// What to send, and to send again until an answer comes.
    pub fn datagram(&self) -> &[u8] {
        self.init.as_ref().map_or(&self.hello, |(_, init, _)| init)
    }

    /// A cookie came already: only that server is asked from now on.
    pub fn has_cookie(&self) -> bool {
        self.init.is_some()
    }

    /// An answer of the server. `expected` are the keys it may have; empty: any (trust on first use).
    ///
    /// # Errors
    /// When it is none; the attempt goes on.
    pub fn handle(
        &mut self,
        datagram: &[u8],
        identity: &Identity,
        expected: &[[u8; 32]],
        login: &Login,
        now: Instant,
        rng: &mut impl RngCore,
    ) -> Result<ClientProgress, Dropped> {
        let kind = Kind::of(datagram).ok_or(Dropped::Malformed)?;
        let mut rest = datagram;
        let (version, nonce) = parse_header(&mut rest).ok_or(Dropped::Malformed)?;
        if nonce != self.nonce {
            return Err(Dropped::Unknown);
        }
        match kind {
            Kind::Refuse => match take::<1>(&mut rest).ok_or(Dropped::Malformed)? {
                [REFUSE_VERSION] => Ok(ClientProgress::RefusedInClear(Refusal::Version { theirs: version })),
                [REFUSE_BUSY] => Ok(ClientProgress::RefusedInClear(Refusal::Busy)),
                _ => Err(Dropped::Malformed),
            },
            Kind::Cookie if self.init.is_none() => {
                let cookie: [u8; COOKIE] = take(&mut rest).ok_or(Dropped::Malformed)?;
                let key: [u8; 32] = take(&mut rest).ok_or(Dropped::Malformed)?;
                if !expected.is_empty() && !expected.contains(&key) {
                    return Ok(ClientProgress::WrongKey);
                }
                let init = self.make_init(&cookie, &key, identity, login, rng).ok_or(Dropped::Malformed)?;
                self.init = Some(init);
                Ok(ClientProgress::Cookie)
            }
            Kind::Accept => {
                let (state, init, key) = self.init.take().ok_or(Dropped::Unknown)?;
                // A forged answer must not end the attempt, and snow's state is spent by a failed read only after
                // its checkpoint is restored: it restores it itself.
                let mut state = state;
                let mut payload = vec![0; MAX_CONTROL];
                let Ok(len) = state.read_message(rest, &mut payload) else {
                    self.init = Some((state, init, key));
                    return Err(Dropped::NotAuthentic);
                };
                let reply: LoginReply = codec::decode(&payload[..len]).map_err(|_| Dropped::Malformed)?;
                match reply {
                    Err(refusal) => Ok(ClientProgress::Refused(refusal)),
                    Ok(welcome) => {
                        let transport =
                            state.into_stateless_transport_mode().map_err(|_| Dropped::Malformed)?;
                        let session = Session::new(welcome.session, transport, now);
                        Ok(ClientProgress::Accepted(Box::new((welcome, session, key))))
                    }
                }
            }
            _ => Err(Dropped::Unknown),
        }
    }

    fn make_init(
        &self,
        cookie: &[u8; COOKIE],
        key: &[u8; 32],
        identity: &Identity,
        login: &Login,
        rng: &mut impl RngCore,
    ) -> Option<(HandshakeState, Vec<u8>, [u8; 32])> {
        let mut state = noise(identity, rng, Some(key)).ok()?;
        let mut payload = codec::encode(login).ok()?;
        payload.resize(payload.len().max(LOGIN_PADDED), 0);
        let mut message = vec![0; MAX_CONTROL];
        let len = state.write_message(&payload, &mut message).ok()?;
        let mut init = header(Kind::Init, &self.nonce);
        init.extend_from_slice(cookie);
        init.extend_from_slice(&message[..len]);
        (init.len() <= MAX_CONTROL).then_some((state, init, *key))
    }
}

/// epoch and MAC.
const COOKIE: usize = 4 + MAC_LEN;

/// The server's side: holds no state about anybody.
#[derive(Debug)]
pub struct ServerHandshake {
    identity: Identity,
    cookie_key: [u8; 32],
    start: Instant,
}

impl ServerHandshake {
    /// `cookie_key` is drawn at each start.
    pub fn new(identity: Identity, cookie_key: [u8; 32], now: Instant) -> Self {
        Self { identity, cookie_key, start: now }
    }

    /// The server's own keys.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Answers a [`Kind::Hello`]: with a cookie, or with the version this server speaks.
    ///
    /// # Errors
    /// When it is not a whole hello; nothing is to be answered then.
    pub fn handle_hello(&self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Result<Vec<u8>, Dropped> {
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
        out.extend_from_slice(&self.cookie(self.epoch(now), from, &nonce));
        out.extend_from_slice(&self.identity.public);
        Ok(out)
    }

    /// Refuses a hello in the clear because the server is full or stopping.
    pub fn refuse_busy(datagram: &[u8]) -> Option<Vec<u8>> {
        let mut rest = datagram;
        let (_, nonce) = parse_header(&mut rest)?;
        let mut out = header(Kind::Refuse, &nonce);
        out.push(REFUSE_BUSY);
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
        from: SocketAddr,
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
        if !fresh || !self.cookie_fits(&cookie, epoch, from, &nonce) {
            return Err(Dropped::BadCookie);
        }
        let mut state = noise(&self.identity, rng, None).map_err(|_| Dropped::Malformed)?;
        let mut payload = vec![0; MAX_CONTROL];
        let len = state.read_message(rest, &mut payload).map_err(|_| Dropped::NotAuthentic)?;
        let login: Login = codec::decode(&payload[..len]).map_err(|_| Dropped::Malformed)?;
        let key = state.get_remote_static().ok_or(Dropped::Malformed)?;
        let public_key: [u8; 32] = key.try_into().map_err(|_| Dropped::Malformed)?;
        Ok(PendingLogin { player: PlayerId::from_public_key(&public_key), public_key, login, state, nonce })
    }

    /// How long the answer to an init must be kept.
    pub const INIT_LIFETIME: Duration = Duration::from_secs(2 * COOKIE_EPOCH.as_secs());

    fn epoch(&self, now: Instant) -> u32 {
        let epochs = now.saturating_duration_since(self.start).as_secs() / COOKIE_EPOCH.as_secs();
        u32::try_from(epochs).unwrap_or(u32::MAX)
    }

    fn mac(&self, epoch: u32, from: SocketAddr, nonce: &[u8; NONCE]) -> Option<Hmac<Sha256>> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.cookie_key).ok()?;
        mac.update(&epoch.to_le_bytes());
        match from.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => mac.update(&ip.octets()),
            std::net::IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&from.port().to_le_bytes());
        mac.update(nonce);
        Some(mac)
    }

    fn cookie(&self, epoch: u32, from: SocketAddr, nonce: &[u8; NONCE]) -> [u8; COOKIE] {
        let mut cookie = [0; COOKIE];
        cookie[..4].copy_from_slice(&epoch.to_le_bytes());
        if let Some(mac) = self.mac(epoch, from, nonce) {
            cookie[4..].copy_from_slice(&mac.finalize().into_bytes()[..MAC_LEN]);
        }
        cookie
    }

    fn cookie_fits(&self, cookie: &[u8; COOKIE], epoch: u32, from: SocketAddr, nonce: &[u8; NONCE]) -> bool {
        self.mac(epoch, from, nonce).is_some_and(|mac| mac.verify_truncated_left(&cookie[4..]).is_ok())
    }
}

/// A player at the door: its address and its key are proven.
#[derive(Debug)]
pub struct PendingLogin {
    /// Who.
    pub player: PlayerId,
    /// Its static key.
    pub public_key: [u8; 32],
    /// What it says about itself; unchecked.
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
        let transport = self.state.into_stateless_transport_mode().map_err(|_| Dropped::Malformed)?;
        Ok((datagram, Session::new(welcome.session, transport, now)))
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

/// Reads a refusal of a session in the clear: the session that the server does not know.
pub fn parse_unknown_session(datagram: &[u8]) -> Option<u64> {
    let mut rest = datagram;
    let (_, nonce) = parse_header(&mut rest)?;
    (rest == [REFUSE_SESSION]).then(|| {
        u64::from_le_bytes([nonce[0], nonce[1], nonce[2], nonce[3], nonce[4], nonce[5], nonce[6], nonce[7]])
    })
}

const _: () = assert!(HEADER + COOKIE + 32 < MAX_CONTROL, "a cookie reply is shorter than a hello");

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
