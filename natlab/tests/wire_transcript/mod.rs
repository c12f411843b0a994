//! `docs/protocol-example.md`: a login and a join, byte by byte. Its bytes are those that the code makes, and they log players
//! in and have them meet.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use lobby_server::{MemoryRegistry, Server, ServerConfig, ServerSocket, ServerSocketId};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::Serialize;
use traversal_core::Identity;
use traversal_core::id::RequestId;
use traversal_core::wire::handshake::{ClientHandshake, ClientProgress};
use traversal_core::wire::message::{
    Frame, Login, LoginReply, Method, PunchPlan, Request, RoomOptions, RoomTarget, ToPlayer, ToServer,
};
use traversal_core::wire::pair::{Opened, PairChannel, PairKeys, PairMessage};
use traversal_core::wire::session::ClientSession;
use traversal_core::wire::{Dropped, Kind, codec};

use super::read;

const PAGE: &str = "docs/protocol-example.md";
const NAMES: [&str; 2] = ["host", "joiner"];
const ADDRESSES: [&str; 2] = ["203.0.113.1:40000", "192.0.2.1:40000"];
const SERVER: &str = "198.51.100.1:3478";

/// It is a datagram on the page.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    /// Who sends it to whom, and what it is.
    title: String,
    bytes: Vec<u8>,
    /// What is sealed in it, without padding.
    inside: Vec<u8>,
}

struct Player {
    identity: Identity,
    ephemeral: Identity,
    login: Login,
    rng: ChaCha20Rng,
    handshake: ClientHandshake,
    session: Option<ClientSession>,
    plan: Option<PunchPlan>,
    next: u32,
}

impl Player {
    fn new(index: usize) -> Self {
        let n = index as u8 + 1;
        let mut rng = ChaCha20Rng::from_seed([n + 40; 32]);
        let ephemeral = Identity::from_secret([n + 20; 32]);
        let login = Login {
            game: "example".into(),
            game_protocol: 1,
            name: NAMES[index].into(),
            token: Vec::new(),
            ephemeral: ephemeral.public_key(),
            local: vec![SocketAddr::from(([192, 168, n, 2], 40_000))],
            relay_only: false,
        };
        let handshake = ClientHandshake::new(&mut rng);
        let identity = Identity::from_secret([n; 32]);
        Self { identity, ephemeral, login, rng, handshake, session: None, plan: None, next: 0 }
    }

    /// Returns the private half of the key that Noise draws for the login: the first bytes of a generator of its own,
    /// whose seed is the next that this player's generator gives.
    fn noise_secret(&self) -> [u8; 32] {
        let (mut seed, mut secret) = ([0; 32], [0; 32]);
        self.rng.clone().fill_bytes(&mut seed);
        ChaCha20Rng::from_seed(seed).fill_bytes(&mut secret);
        secret
    }

    /// Handles an answer of the server to the handshake.
    fn answered(&mut self, now: Instant, datagram: &[u8]) -> Result<ClientProgress, Dropped> {
        self.handshake.handle(datagram, &self.identity, &[], &self.login, now, &mut self.rng)
    }

    fn channel(&self) -> PairChannel {
        let plan = self.plan.as_ref().expect("a plan came");
        let keys = PairKeys::of_plan(plan, &self.identity, &self.ephemeral);
        PairChannel::new(plan.match_id, &keys).expect("keys of two players")
    }
}

/// They are the two players and the server, without a network between them: what they send is written down, or taken
/// from the page.
struct Stage {
    now: Instant,
    server: Server,
    registry: MemoryRegistry,
    players: [Player; 2],
    entries: Vec<Entry>,
    /// What is still to be sent, where the page says it.
    page: Option<std::vec::IntoIter<Entry>>,
}

fn encoded(message: &impl Serialize) -> Vec<u8> {
    codec::encode(message).expect("fits a datagram")
}

/// Returns the variant of a message, and of the one inside.
fn variant(message: &impl std::fmt::Debug) -> String {
    let told = format!("{message:?}");
    let word = |text: &str| text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
    match told.split_once("body: ").or_else(|| told.split_once("request: ")) {
        Some((_, body)) => format!("{} of {}", word(&told), variant_of(body)),
        None => word(&told),
    }
}

fn variant_of(told: &str) -> String {
    let words = told.split(|c: char| !c.is_alphanumeric() && c != ':').filter(|word| !word.is_empty());
    let of_interest = ["Request", "Response", "CreateRoom", "JoinRoom", "Ok", "Room"];
    let mut name: Vec<&str> = Vec::new();
    for (index, word) in words.enumerate() {
        if index == 0 || (name[0].starts_with("Re") && of_interest.contains(&word) && name.len() < 3) {
            name.push(word);
        }
    }
    name.join(" ")
}

impl Stage {
    fn new(page: Option<Vec<Entry>>) -> Self {
        let now = Instant::now();
        let sockets = vec![ServerSocket::first(SERVER.parse().unwrap())];
        let server =
            Server::new(ServerConfig::default(), Identity::from_secret([9; 32]), [8; 32], sockets, now);
        Self {
            now,
            server,
            registry: MemoryRegistry::new(),
            players: [0, 1].map(Player::new),
            entries: Vec::new(),
            page: page.map(Vec::into_iter),
        }
    }

    /// A datagram goes from one to the other; from the page, if there is one.
    fn write(&mut self, title: String, bytes: Vec<u8>, inside: Vec<u8>) -> Vec<u8> {
        let entry = Entry { title, bytes, inside };
        if let Some(page) = &mut self.page {
            let on_page = page.next().unwrap_or_else(|| panic!("{PAGE} ends before {}", entry.title));
            assert_eq!(on_page, entry, "{PAGE} differs from what is sent");
            self.entries.push(on_page.clone());
            return on_page.bytes;
        }
        self.entries.push(entry.clone());
        entry.bytes
    }

    fn hand_to_server(&mut self, index: usize, title: &str, bytes: Vec<u8>, inside: Vec<u8>) {
        let bytes = self.write(format!("{} > server: {title}", NAMES[index]), bytes, inside);
        let from = ADDRESSES[index].parse().unwrap();
        self.server.handle_datagram(self.now, ServerSocketId(0), from, &bytes);
        self.server.turn_registry(self.now, &mut self.registry);
        while let Some(transmit) = self.server.poll_transmit() {
            let to = ADDRESSES.iter().position(|address| transmit.to == address.parse().unwrap());
            self.hand_to_player(to.expect("one of the two"), transmit.payload);
        }
    }

    fn hand_to_player(&mut self, index: usize, bytes: Vec<u8>) {
        let (now, name) = (self.now, NAMES[index]);
        match Kind::of(&bytes) {
            Some(Kind::Cookie) => {
                let bytes = self.write(format!("server > {name}: Cookie"), bytes, Vec::new());
                let taken = self.players[index].answered(now, &bytes);
                assert!(matches!(taken, Ok(ClientProgress::Cookie)), "{taken:?}");
                let player = &self.players[index];
                let (init, login) = (player.handshake.datagram().to_vec(), encoded(&player.login));
                self.hand_to_server(index, "Init with Login", init, login);
            }
            Some(Kind::Accept) => {
                let progress = self.players[index].answered(now, &bytes);
                let Ok(ClientProgress::Accepted(accepted)) = progress else { panic!("{progress:?}") };
                let (welcome, session, _) = *accepted;
                self.players[index].session = Some(session);
                let reply: LoginReply = Ok(welcome);
                self.write(format!("server > {name}: Accept with Welcome"), bytes, encoded(&reply));
            }
            _ => self.hand_sealed_to_player(index, bytes),
        }
    }

    fn hand_sealed_to_player(&mut self, index: usize, bytes: Vec<u8>) {
        let session = self.players[index].session.as_ref().expect("logged in");
        let frame = session.read(&bytes).expect("it opens");
        let title = format!("server > {}: {}", NAMES[index], variant(&frame));
        let bytes = self.write(title, bytes, encoded(&frame));
        // Of a sealed datagram bytes 9 to 17 are its number.
        let counter = u64::from_le_bytes(bytes[9..17].try_into().unwrap());
        if let Frame::Reliable { seq, body } = frame {
            if let ToPlayer::Plan(plan) = body {
                self.players[index].plan = Some(*plan);
            }
            self.say(index, &Frame::Ack { seq, counter });
        }
    }

    fn say(&mut self, index: usize, frame: &Frame<ToServer>) {
        let session = self.players[index].session.as_mut().expect("logged in");
        let bytes = session.seal(self.now, Kind::Control, frame).expect("fits a datagram");
        self.hand_to_server(index, &variant(frame), bytes, encoded(frame));
    }

    fn ask(&mut self, index: usize, request: Request) {
        let seq = self.players[index].next;
        self.players[index].next += 1;
        self.say(index, &Frame::Reliable { seq, body: ToServer::Request { id: RequestId(seq), request } });
    }

    fn log_in(&mut self, index: usize) {
        let hello = self.players[index].handshake.hello().to_vec();
        self.hand_to_server(index, "Hello", hello, Vec::new());
        self.say(index, &Frame::Ping { id: 1 });
    }

    /// Plays the whole story, and gives what was said in it.
    fn play(mut self) -> Vec<Entry> {
        self.log_in(0);
        let options = RoomOptions { name: "den".into(), ..RoomOptions::default() };
        self.ask(0, Request::CreateRoom { options });
        self.log_in(1);
        let target = RoomTarget::Name("den".into());
        self.ask(1, Request::JoinRoom { target, password: None });
        let mut channels = [0, 1].map(|index| self.players[index].channel());
        let (asked, seen) = (Method::Cone, [0, 1].map(|index: usize| ADDRESSES[index].parse().unwrap()));
        self.between(&mut channels, 1, &PairMessage::Test { tag: 11, method: asked });
        self.between(&mut channels, 0, &PairMessage::Confirm { tag: 11, observed: seen[1], test: Some(12) });
        self.between(&mut channels, 1, &PairMessage::Confirm { tag: 12, observed: seen[0], test: None });
        let data = channels[0].seal_data_on(0, b"hello").expect("fits");
        let bytes = self.write("host > joiner: game data".into(), data, b"hello".to_vec());
        assert_eq!(channels[1].open(&mut bytes.clone()), Ok(Opened::Data(0, b"hello")));
        assert!(self.page.is_none_or(|page| page.as_slice().is_empty()), "{PAGE} has more than is sent");
        self.entries
    }

    fn between(&mut self, channels: &mut [PairChannel; 2], from: usize, message: &PairMessage) {
        let bytes = channels[from].seal_message(message).expect("fits");
        let title = format!("{} > {}: {}", NAMES[from], NAMES[1 - from], variant(message));
        let bytes = self.write(title, bytes, encoded(message));
        assert_eq!(channels[1 - from].open(&mut bytes.clone()), Ok(Opened::Message(message.clone())));
    }
}

/// Writes 32 bytes in a line; zeros at the end are counted.
fn hex_lines(bytes: &[u8]) -> String {
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let shown = if zeros > 32 { &bytes[..bytes.len() - zeros] } else { bytes };
    let mut text = String::new();
    for line in shown.chunks(32) {
        text.push_str("   ");
        for byte in line {
            let _ = write!(text, " {byte:02x}");
        }
        text.push('\n');
    }
    if shown.len() < bytes.len() {
        let _ = writeln!(text, "    and {zeros} zeros");
    }
    text
}

fn written(entries: &[Entry]) -> String {
    entries.iter().fold(String::new(), |mut text, Entry { title, bytes, inside }| {
        let _ = write!(text, "{title}\n{}", hex_lines(bytes));
        if !inside.is_empty() {
            let _ = write!(text, "  inside\n{}", hex_lines(inside));
        }
        text
    })
}

fn parsed(block: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut in_inside = false;
    for line in block.lines() {
        if !line.starts_with(' ') {
            entries.push(Entry { title: line.to_owned(), bytes: Vec::new(), inside: Vec::new() });
            in_inside = false;
        } else if line.trim() == "inside" {
            in_inside = true;
        } else {
            let entry = entries.last_mut().expect("a title comes first");
            let bytes = if in_inside { &mut entry.inside } else { &mut entry.bytes };
            match line.trim().strip_prefix("and ") {
                Some(zeros) => {
                    let count: usize = zeros.trim_end_matches(" zeros").parse().expect("a number of zeros");
                    bytes.resize(bytes.len() + count, 0);
                }
                None => bytes.extend(
                    line.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")),
                ),
            }
        }
    }
    entries
}

/// Lists the private keys that make the bytes.
fn keys() -> String {
    let hex = |bytes: [u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut text = format!("server {}\n", hex([9; 32]));
    for (index, name) in NAMES.iter().enumerate() {
        let n = index as u8 + 1;
        let noise = Player::new(index).noise_secret();
        let _ = writeln!(text, "{name} {}", hex([n; 32]));
        let _ = writeln!(text, "{name}, of the login {}", hex([n + 20; 32]));
        let _ = writeln!(text, "{name}, of Noise {}", hex(noise));
    }
    text
}

fn block(page: &str, number: usize) -> &str {
    let after = page.split("```text\n").nth(number + 1).expect("the page has this block");
    after.split("```").next().unwrap_or_default()
}

#[test]
fn the_bytes_of_the_example_log_two_players_in_and_have_them_meet() {
    let page = read(PAGE);
    if std::env::var_os("WRITE_SAMPLES").is_some() {
        let now = page.replacen(block(&page, 0), &keys(), 1);
        let now = now.replacen(block(&page, 1), &written(&Stage::new(None).play()), 1);
        std::fs::write(format!("{}/../{PAGE}", env!("CARGO_MANIFEST_DIR")), now).expect("can be written");
        return;
    }
    assert_eq!(block(&page, 0), keys(), "the keys of {PAGE}");
    // What the players send is taken from the page, and the server and they understand it.
    let entries = Stage::new(Some(parsed(block(&page, 1)))).play();
    assert!(entries.len() > 20, "{} datagrams", entries.len());
}
