//! The login of one player at one server, with somebody between them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Result, Unstructured};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use traversal_core::Identity;
use traversal_core::wire::handshake::{ClientHandshake, ClientProgress, PendingLogin, ServerHandshake};
use traversal_core::wire::message::{Frame, Login, LoginRefusal, ToServer, Welcome};
use traversal_core::wire::session::{ClientSession, ServerSession};
use traversal_core::wire::{Kind, MAX_CONTROL};

use crate::mutation::damage;
use crate::servers::{SECRET, at};

/// This is somebody whom the server let in, by the init that it answered, with the answer.
struct LetIn {
    init: Vec<u8>,
    answer: Vec<u8>,
    /// This is the server's end; none: the player was sent away, or both sides have been compared already.
    session: Option<ServerSession>,
}

struct Stage {
    now: Instant,
    rng: ChaCha20Rng,
    server: ServerHandshake,
    identity: Identity,
    client: ClientHandshake,
    from: SocketAddr,
    login: Login,
    /// These are the keys that the player expects; the server has the first.
    expected: Vec<[u8; 32]>,
    /// These are all datagrams that were ever on the way.
    seen: Vec<Vec<u8>>,
    cookies: Vec<Vec<u8>>,
    inits: Vec<Vec<u8>>,
    let_in: Vec<LetIn>,
    accepted: bool,
}

/// Whatever somebody between the two does: no answer is longer than what it answers; the server lets nobody in but the
/// player, by an init that the player made for a cookie of its address; and when the player is in, both have one session.
pub fn handshake(data: &[u8]) {
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let mut stage = Stage::new(bool::arbitrary(u)?);
    for _ in 0..32 {
        if u.is_empty() || stage.accepted {
            break;
        }
        stage.step(u)?;
    }
    Ok(())
}

/// Returns both ends of a session that has just begun, and when that was.
pub(crate) fn logged_in() -> (ClientSession, ServerSession, Instant) {
    let mut stage = Stage::new(true);
    let hello = stage.client.hello().to_vec();
    let cookie = stage.server.handle_hello(stage.now, (stage.from, false), &hello).expect("a cookie");
    stage.hand_to_client(&cookie);
    let init = stage.client.datagram().to_vec();
    let pending = stage.server.handle_init(stage.now, (stage.from, false), &init, &mut stage.rng);
    let (answer, server) = stage.reply(pending.expect("an init of the player's"));
    let (identity, keys, login) = (&stage.identity, &stage.expected, &stage.login);
    let progress = stage.client.handle(&answer, identity, keys, login, stage.now, &mut stage.rng);
    let Ok(ClientProgress::Accepted(accepted)) = progress else { panic!("accepted: {progress:?}") };
    (accepted.1, server.expect("let in"), stage.now)
}

impl Stage {
    fn new(pinned: bool) -> Self {
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        let now = Instant::now();
        let server = ServerHandshake::new(Identity::from_secret(SECRET), [5; 32], now);
        let expected = if pinned { vec![server.identity().public_key()] } else { Vec::new() };
        Self {
            now,
            server,
            identity: Identity::from_secret([1; 32]),
            client: ClientHandshake::new(&mut rng),
            rng,
            from: at("203.0.113.1:4000"),
            login: Login {
                game: "game".into(),
                game_protocol: 1,
                name: "player".into(),
                token: vec![1, 2, 3],
                ephemeral: [4; 32],
                local: vec![at("192.168.1.2:4000")],
                relay_only: false,
            },
            expected,
            seen: Vec::new(),
            cookies: Vec::new(),
            inits: Vec::new(),
            let_in: Vec::new(),
            accepted: false,
        }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=7)? {
            0 => {
                let hello = self.client.numbered(u8::arbitrary(u)?).to_vec();
                self.hello(&hello);
            }
            1 => {
                let hello = self.client.hello().to_vec();
                self.hello(&hello);
            }
            2 => {
                let init = self.client.datagram().to_vec();
                self.init(&init, bool::arbitrary(u)?, bool::arbitrary(u)?);
            }
            3 if !self.cookies.is_empty() => {
                let cookie = u.choose(&self.cookies)?.clone();
                self.hand_to_client(&cookie);
            }
            4 if !self.let_in.is_empty() => {
                let answer = u.choose(&self.let_in)?.answer.clone();
                self.hand_to_client(&answer);
            }
            5 if !self.seen.is_empty() => {
                let mut datagram = u.choose(&self.seen)?.clone();
                damage(u, &mut datagram)?;
                self.anything(&datagram, bool::arbitrary(u)?);
            }
            6 => self.now += Duration::from_secs(u.int_in_range(0..=90)?),
            _ => {
                let length = u.int_in_range(0..=MAX_CONTROL)?.min(u.len());
                let junk = u.bytes(length)?.to_vec();
                self.anything(&junk, bool::arbitrary(u)?);
            }
        }
        Ok(())
    }

    fn anything(&mut self, datagram: &[u8], to_server: bool) {
        if !to_server {
            self.hand_to_client(datagram);
        } else if Kind::of(datagram) == Some(Kind::Hello) {
            self.hello(datagram);
        } else {
            self.init(datagram, false, false);
        }
    }

    fn hello(&mut self, datagram: &[u8]) {
        self.seen.push(datagram.to_vec());
        let Ok(answer) = self.server.handle_hello(self.now, (self.from, false), datagram) else {
            assert!(datagram.len() < MAX_CONTROL || datagram[1..4] != *b"btv", "a hello is answered");
            return;
        };
        assert!(answer.len() <= datagram.len(), "{} bytes for {}", answer.len(), datagram.len());
        self.seen.push(answer.clone());
        self.cookies.push(answer);
    }

    fn init(&mut self, datagram: &[u8], elsewhere: bool, over_stream: bool) {
        self.seen.push(datagram.to_vec());
        let from = if elsewhere { at("203.0.113.2:4000") } else { self.from };
        let pending = self.server.handle_init(self.now, (from, over_stream), datagram, &mut self.rng);
        let Ok(pending) = pending else { return };
        assert!(!elsewhere && !over_stream, "a cookie serves one address and one way");
        // The first byte is judged by whoever hands it on.
        let made = self.inits.iter().any(|init| init.get(1..) == datagram.get(1..));
        assert!(made, "nobody but the player makes an init");
        assert_eq!((pending.player, &pending.login), (self.identity.player_id(), &self.login));
        let known = self.let_in.iter().any(|let_in| let_in.init == datagram);
        if !known {
            let (answer, session) = self.reply(pending);
            assert!(answer.len() <= datagram.len(), "{} bytes for {}", answer.len(), datagram.len());
            self.seen.push(answer.clone());
            self.let_in.push(LetIn { init: datagram.to_vec(), answer, session });
        }
    }

    /// Every third one is sent away.
    fn reply(&self, pending: PendingLogin) -> (Vec<u8>, Option<ServerSession>) {
        if self.let_in.len() % 3 == 2 {
            return (pending.refuse(LoginRefusal::Full).expect("fits"), None);
        }
        let welcome = Welcome {
            session: 70 + self.let_in.len() as u64,
            observed: self.from,
            probe_targets: vec![at("198.18.0.10:3478"); 4],
            session_timeout_s: 35,
            other_family: vec![at("[2001:db8:1::10]:3478")],
            reset: [3; 16],
        };
        let (answer, session) = pending.accept(&welcome, self.now).expect("fits");
        (answer, Some(session))
    }

    fn hand_to_client(&mut self, datagram: &[u8]) {
        let (identity, login) = (&self.identity, &self.login);
        let now = self.now;
        let progress = self.client.handle(datagram, identity, &self.expected, login, now, &mut self.rng);
        for init in self.client.inits() {
            assert!(init.len() <= MAX_CONTROL);
            if !self.inits.iter().any(|known| known == init) {
                self.inits.push(init.to_vec());
                self.seen.push(init.to_vec());
            }
        }
        assert!(self.client.inits().count() <= 8, "as many cookies are tried side by side");
        match progress {
            Ok(ClientProgress::Accepted(accepted)) => {
                let (welcome, session, key) = *accepted;
                assert_eq!(key, self.server.identity().public_key(), "the server's own key");
                self.accepted = true;
                self.compare(&welcome, session);
            }
            Ok(ClientProgress::Refused(refusal)) => {
                assert_eq!(refusal, LoginRefusal::Full, "the server's own word");
            }
            Ok(ClientProgress::WrongKey) => assert!(!self.expected.is_empty()),
            _ => {}
        }
    }

    fn compare(&mut self, welcome: &Welcome, mut client: ClientSession) {
        let welcomed = |let_in: &&mut LetIn| {
            let_in.session.as_ref().is_some_and(|session| session.id() == welcome.session)
        };
        let let_in = self.let_in.iter_mut().find(welcomed).expect("the server has let it in");
        let server = let_in.session.as_mut().expect("a session");
        let question = client.seal(self.now, Kind::Control, &Frame::Ping { id: 9 }).expect("sealed");
        assert_eq!(server.handle(self.now, &question), Ok(Some(Frame::<ToServer>::Ping { id: 9 })));
        let pong = Frame::Pong { id: 9, observed: self.from };
        let answer = server.seal(self.now, Kind::Control, &pong).expect("sealed");
        assert_eq!(client.handle(self.now, &answer), Ok(Some(pong)).map(|pong| pong.map(retyped)));
    }
}

fn retyped<A, B>(frame: Frame<A>) -> Frame<B> {
    match frame {
        Frame::Pong { id, observed } => Frame::Pong { id, observed },
        _ => unreachable!("a pong"),
    }
}
