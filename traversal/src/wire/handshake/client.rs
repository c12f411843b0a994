//! The player's side of the handshake.

use std::time::Instant;

use rand_chacha::rand_core::RngCore;
use snow::HandshakeState;

use super::noise::{Identity, noise, prologue};
use super::server::COOKIE;
use super::{HEADER, NONCE, REFUSE_BUSY, REFUSE_VERSION, Refusal, header, parse_header};
use crate::wire::message::{Login, LoginRefusal, LoginReply, Welcome};
use crate::wire::session::{ClientSession, Session, SessionKeys};
use crate::wire::{Dropped, Kind, MAX_CONTROL, codec, take};

/// The login is padded to this, so that no answer is longer than its question.
const LOGIN_PADDED: usize = 480;
/// So many cookies are tried side by side. Whoever sees the hello can send junk before the server answers; then the
/// server's own one is among them, and each new hello brings it again.
const OFFERS: usize = 8;
/// One attempt takes so many cookies at all: each costs two multiplications on the curve.
const MOST_OFFERS: usize = 64;

/// This is the player's side of one login.
pub struct ClientHandshake {
    nonce: [u8; NONCE],
    hello: Vec<u8>,
    /// There is one for each cookie that came.
    offers: Vec<Offer>,
    /// This many have been taken.
    taken: usize,
    /// The hello whose cookies are tried.
    asked: Option<[u8; NONCE]>,
}

/// This is a cookie, with what was made of it.
struct Offer {
    cookie: [u8; COOKIE],
    key: [u8; 32],
    state: HandshakeState,
    init: Vec<u8>,
}

/// This is what an answer of the server did.
#[derive(Debug)]
pub enum ClientProgress {
    /// The server gave a cookie: go on with [`ClientHandshake::datagram`], to the server that sent it.
    Cookie,
    /// The server has let this player in: its welcome, the session, and the server's key.
    Accepted(Box<(Welcome, ClientSession, [u8; 32])>),
    /// The server refuses this player, inside the handshake.
    Refused(LoginRefusal),
    /// Somebody refuses this player in the clear; the attempt goes on.
    RefusedInClear(Refusal),
    /// Somebody has answered whose key is none of the expected; the attempt goes on.
    WrongKey,
}

/// Makes a hello by itself, for somebody who only wants to know whether a lobby server is there: it answers with a
/// [`Kind::Cookie`] or a [`Kind::Refuse`] that has the nonce.
pub fn hello(nonce: [u8; NONCE]) -> Vec<u8> {
    let mut hello = header(Kind::Hello, &nonce);
    hello.resize(MAX_CONTROL, 0);
    hello
}

impl ClientHandshake {
    /// Begins a new handshake.
    pub fn new(rng: &mut impl RngCore) -> Self {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let hello = hello(nonce);
        Self { nonce, hello, offers: Vec::new(), taken: 0, asked: None }
    }

    /// Returns the hello, which brings a cookie.
    pub fn hello(&self) -> &[u8] {
        &self.hello
    }

    /// Returns what to send for each cookie that came, and to send again until an answer comes; the newest one last.
    pub fn inits(&self) -> impl Iterator<Item = &[u8]> {
        self.offers.iter().map(|offer| offer.init.as_slice())
    }

    /// Returns what to send next: the newest init, or the hello while there is none.
    pub fn datagram(&self) -> &[u8] {
        self.inits().last().unwrap_or(&self.hello)
    }

    /// Returns the hello with this number: its last byte of nonce, which the cookie repeats. So an answer tells which
    /// hello it is to, and with it the round trip. A further hello has further cookies taken.
    pub fn numbered(&mut self, number: u8) -> &[u8] {
        self.hello[HEADER - 1] = number;
        self.asked = None;
        &self.hello
    }

    /// Returns the number of the hello that was answered with a cookie last.
    pub fn answered(&self) -> u8 {
        self.nonce[NONCE - 1]
    }

    /// Returns a share from 0 to 1 that is this login's own, another one for each of a few numbers: players who begin at the
    /// same instant do not go on in step.
    pub fn share(&self, number: u32) -> f64 {
        let place = (number as usize % 7) * 2;
        f64::from(u16::from_le_bytes([self.nonce[place], self.nonce[place + 1]])) / f64::from(u16::MAX)
    }

    /// Returns whether a cookie came already.
    pub fn has_cookie(&self) -> bool {
        !self.offers.is_empty()
    }

    /// Takes an answer of the server. `expected` are the keys it may have; empty: any (trust on first use).
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
        // The last byte is the number of the hello.
        if nonce[..NONCE - 1] != self.nonce[..NONCE - 1] {
            return Err(Dropped::Unknown);
        }
        match kind {
            Kind::Refuse => match take::<1>(&mut rest).ok_or(Dropped::Malformed)? {
                [REFUSE_VERSION] => Ok(ClientProgress::RefusedInClear(Refusal::Version { theirs: version })),
                [REFUSE_BUSY] => {
                    let [again_s] = take::<1>(&mut rest).ok_or(Dropped::Malformed)?;
                    Ok(ClientProgress::RefusedInClear(Refusal::Busy { again_s }))
                }
                _ => Err(Dropped::Malformed),
            },
            Kind::Cookie => {
                let cookie: [u8; COOKIE] = take(&mut rest).ok_or(Dropped::Malformed)?;
                let key: [u8; 32] = take(&mut rest).ok_or(Dropped::Malformed)?;
                if !expected.is_empty() && !expected.contains(&key) {
                    return Ok(ClientProgress::WrongKey);
                }
                self.take_cookie((nonce, cookie, key), identity, login, rng)?;
                Ok(ClientProgress::Cookie)
            }
            Kind::Accept => self.handle_accept(now, rest),
            _ => Err(Dropped::Unknown),
        }
    }

    fn take_cookie(
        &mut self,
        (nonce, cookie, key): ([u8; NONCE], [u8; COOKIE], [u8; 32]),
        identity: &Identity,
        login: &Login,
        rng: &mut impl RngCore,
    ) -> Result<(), Dropped> {
        if self.asked.is_some_and(|asked| asked != nonce) {
            // Each hello brings one more; so that one player does not log in several times, one hello's are tried at a time.
            return Err(Dropped::Unknown);
        }
        if self.offers.iter().any(|offer| (offer.cookie, offer.key) == (cookie, key)) {
            return Err(Dropped::Replayed);
        }
        if self.taken >= MOST_OFFERS {
            return Err(Dropped::Limit);
        }
        let (state, init) =
            make_init((&nonce, &cookie), &key, identity, login, rng).ok_or(Dropped::Malformed)?;
        (self.asked, self.nonce) = (Some(nonce), nonce);
        self.taken += 1;
        if self.offers.len() >= OFFERS {
            // Which one, nobody can foresee: whoever sends junk cannot have the true one thrown out for sure.
            self.offers.remove(rng.next_u32() as usize % OFFERS);
        }
        self.offers.push(Offer { cookie, key, state, init });
        Ok(())
    }

    fn handle_accept(&mut self, now: Instant, message: &[u8]) -> Result<ClientProgress, Dropped> {
        let mut payload = vec![0; MAX_CONTROL];
        // A failed read leaves a state as it was, so a forged answer ends nothing.
        let read = |(index, offer): (usize, &mut Offer)| {
            offer.state.read_message(message, &mut payload).ok().map(|len| (index, len))
        };
        let (index, len) = self.offers.iter_mut().enumerate().find_map(read).ok_or(Dropped::NotAuthentic)?;
        let Offer { state, key, .. } = self.offers.swap_remove(index);
        let reply: LoginReply = codec::decode(&payload[..len]).map_err(|_| Dropped::Malformed)?;
        match reply {
            Err(refusal) => Ok(ClientProgress::Refused(refusal)),
            Ok(welcome) => {
                let session = Session::new(welcome.session, SessionKeys::of(state)?, now);
                Ok(ClientProgress::Accepted(Box::new((welcome, session, key))))
            }
        }
    }
}

fn make_init(
    (nonce, cookie): (&[u8; NONCE], &[u8; COOKIE]),
    key: &[u8; 32],
    identity: &Identity,
    login: &Login,
    rng: &mut impl RngCore,
) -> Option<(HandshakeState, Vec<u8>)> {
    let mut state = noise(identity, rng, Some(key), &prologue(nonce, cookie)).ok()?;
    let mut payload = codec::encode(login).ok()?;
    payload.resize(payload.len().max(LOGIN_PADDED), 0);
    let mut message = vec![0; MAX_CONTROL];
    let len = state.write_message(&payload, &mut message).ok()?;
    let mut init = header(Kind::Init, nonce);
    init.extend_from_slice(cookie);
    init.extend_from_slice(&message[..len]);
    (init.len() <= MAX_CONTROL).then_some((state, init))
}

impl std::fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientHandshake").field("offers", &self.offers.len()).finish_non_exhaustive()
    }
}
