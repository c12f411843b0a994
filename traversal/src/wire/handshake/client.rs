//! The player's side of the handshake.

use std::time::Instant;

use rand_chacha::rand_core::RngCore;
use snow::HandshakeState;

use super::noise::{Identity, noise};
use super::server::COOKIE;
use super::{HEADER, NONCE, REFUSE_BUSY, REFUSE_VERSION, Refusal, header, parse_header};
use crate::wire::message::{Login, LoginRefusal, LoginReply, Welcome};
use crate::wire::session::{ClientSession, Session};
use crate::wire::{Dropped, Kind, MAX_CONTROL, codec, take};

/// The login is padded to this, so that no answer is longer than its question.
const LOGIN_PADDED: usize = 480;

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

    /// The same as [`datagram`](Self::datagram), but a hello has this number: its last byte of nonce, which the cookie
    /// repeats. So an answer tells which hello it is to, and with it the round trip.
    pub fn numbered(&mut self, number: u8) -> &[u8] {
        if self.init.is_none() {
            self.hello[HEADER - 1] = number;
        }
        self.datagram()
    }

    /// The number of the hello that was answered with a cookie.
    pub fn answered(&self) -> u8 {
        self.nonce[NONCE - 1]
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
        let (own, number) = (&self.nonce[..NONCE - 1], self.init.is_none());
        if nonce[..NONCE - 1] != *own || !(number || nonce == self.nonce) {
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
                // The cookie is for this nonce, number and all.
                self.nonce = nonce;
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
