//! Members who lie about their room's host to the shipping server, beside honest ones with the shipping agent.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use lobby_server::ServerConfig;
use natlab::link::Link;
use natlab::lobby::{self, ADDRESSES, Lobby};
use natlab::nat::NatSpec;
use natlab::player::Player;
use natlab::world::{HostId, Node, NodeOutput, World};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use traversal_core::id::{RequestId, RoomEpoch};
use traversal_core::wire::Kind;
use traversal_core::wire::handshake::{ClientHandshake, ClientProgress};
use traversal_core::wire::message::{
    Frame, Login, Request, Response, RoomEnd, RoomOptions, RoomTarget, ToPlayer, ToServer,
};
use traversal_core::wire::pair::{Opened, PairChannel, PairKeys, PairMessage};
use traversal_core::wire::session::ClientSession;
use traversal_core::{AgentConfig, Command, Event, Identity};

use crate::stage::Cast;

/// How often a liar says its word; the server takes it for one of a player who is there, too.
const PERIOD: Duration = Duration::from_secs(1);

/// What a liar says of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Nothing,
    /// That it hears it, with every proof that it has ever got hold of.
    Heard,
    /// That it does not.
    Lost,
}

/// It is a member with the real protocol: it joins, connects to its host, and collects what proofs of life there are.
pub(crate) struct Liar {
    identity: Identity,
    ephemeral: Identity,
    login: Login,
    handshake: ClientHandshake,
    session: Option<ClientSession>,
    room: Option<RoomEpoch>,
    /// It hosts the room.
    hosts: bool,
    channel: Option<PairChannel>,
    host_at: Option<SocketAddr>,
    host_key: [u8; 32],
    challenge: [u8; 16],
    proofs: Vec<[u8; 16]>,
    word: Word,
    next: Instant,
    outputs: VecDeque<NodeOutput>,
    rng: ChaCha20Rng,
}

impl Liar {
    fn new(secret: u8, now: Instant) -> Self {
        let mut rng = ChaCha20Rng::from_seed([secret; 32]);
        let (identity, ephemeral) =
            (Identity::from_secret([secret; 32]), Identity::from_secret([secret + 100; 32]));
        let config = AgentConfig::default();
        let login = Login {
            game: config.game,
            game_protocol: config.game_protocol,
            name: format!("liar {secret}"),
            token: Vec::new(),
            ephemeral: ephemeral.public_key(),
            local: Vec::new(),
            relay_only: false,
        };
        Self {
            identity,
            ephemeral,
            login,
            handshake: ClientHandshake::new(&mut rng),
            session: None,
            room: None,
            hosts: false,
            channel: None,
            host_at: None,
            host_key: [0; 32],
            challenge: [0; 16],
            proofs: Vec::new(),
            word: Word::Nothing,
            next: now,
            outputs: VecDeque::new(),
            rng,
        }
    }

    fn transmit(&mut self, to: SocketAddr, payload: Vec<u8>) {
        self.outputs.push_back(NodeOutput::Transmit { socket: 0, to, ttl: None, payload });
    }

    fn say(&mut self, now: Instant, message: ToServer) {
        if let Some(session) = &mut self.session {
            session.send(now, message).unwrap();
        }
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(payload) = self.session.as_mut().and_then(ClientSession::poll_datagram) {
            self.transmit(lobby::sockets(true)[0], payload);
        }
    }

    fn send_to_host(&mut self, to: SocketAddr, message: &PairMessage) {
        if let Some(sealed) = self.channel.as_mut().and_then(|channel| channel.seal_message(message)) {
            self.transmit(to, sealed);
        }
    }

    fn handle_server(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Some(session) = &mut self.session else { return };
        match session.handle(now, datagram) {
            Ok(Some(Frame::Ping { id })) => session.send_once(now, &Frame::Pong { id, observed: from }),
            Ok(Some(Frame::Reliable { body, .. })) => match body {
                ToPlayer::Response { result: Ok(Response::Room(room)), .. } => {
                    self.room = Some(RoomEpoch { room: room.id, epoch: room.epoch });
                }
                ToPlayer::HostChanged { room, .. } => {
                    self.room = Some(RoomEpoch { room: room.id, epoch: room.epoch });
                    self.hosts |= room.host == self.identity.player_id();
                }
                ToPlayer::ConfirmLoss { challenge, .. } => self.challenge = challenge,
                ToPlayer::Plan(plan) if !plan.hosting && plan.epoch == 0 => {
                    self.host_key = plan.peer_key;
                    let keys = PairKeys::of_plan(&plan, &self.identity, &self.ephemeral);
                    self.channel = PairChannel::new(plan.match_id, &keys);
                }
                _ => {}
            },
            _ => {}
        }
        self.flush();
    }

    fn handle_pair(&mut self, from: SocketAddr, datagram: &[u8]) {
        let mut bytes = datagram.to_vec();
        let Some(Ok(Opened::Message(message))) =
            self.channel.as_mut().map(|channel| channel.open(&mut bytes))
        else {
            return;
        };
        self.host_at = Some(from);
        match message {
            PairMessage::Test { tag, .. } => {
                self.send_to_host(from, &PairMessage::Confirm { tag, observed: from, test: Some(tag) });
            }
            PairMessage::Confirm { test: Some(tag), .. } => {
                self.send_to_host(from, &PairMessage::Confirm { tag, observed: from, test: None });
            }
            PairMessage::ProofOfLife { proof, .. } => self.proofs.push(proof),
            _ => {}
        }
    }
}

impl Node for Liar {
    fn handle_datagram(&mut self, now: Instant, _: u32, from: SocketAddr, datagram: &[u8]) {
        match Kind::of(datagram) {
            Some(Kind::Control | Kind::Probe) => self.handle_server(now, from, datagram),
            Some(Kind::Pair) => self.handle_pair(from, datagram),
            Some(Kind::Cookie | Kind::Accept) => {
                let progress =
                    self.handshake.handle(datagram, &self.identity, &[], &self.login, now, &mut self.rng);
                if let Ok(ClientProgress::Accepted(accepted)) = progress {
                    self.session = Some(accepted.1);
                    let target = RoomTarget::Name("r".into());
                    let request = Request::JoinRoom { target, password: None };
                    self.say(now, ToServer::Request { id: RequestId(1), request });
                }
                self.next = now;
            }
            _ => {}
        }
    }

    fn handle_socket(&mut self, _: Instant, _: u32, _: io::Result<SocketAddr>) {}

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(session) = &mut self.session {
            session.handle_timeout(now);
        }
        if now >= self.next {
            self.next = now + PERIOD;
            match &mut self.session {
                Some(session) => session.send_once(now, &Frame::Ping { id: 1 }),
                None => {
                    let datagram = self.handshake.datagram().to_vec();
                    self.transmit(lobby::sockets(true)[0], datagram);
                }
            }
            if let Some(to) = self.host_at {
                let challenge = self.challenge;
                self.send_to_host(to, &PairMessage::ProveLife { challenge });
            }
            if let (Some(RoomEpoch { room, epoch }), true) = (self.room, self.word != Word::Nothing) {
                let (heard, key) = (self.word == Word::Heard, self.host_key);
                self.say(now, ToServer::HostSeen { room, epoch, heard });
                let newest = self.proofs.iter().rev().copied().take(3).filter(|_| heard);
                for proof in newest.collect::<Vec<_>>() {
                    self.say(now, ToServer::HostProof { room, epoch, key, proof });
                }
            }
        }
        self.flush();
    }

    fn poll_output(&mut self) -> Option<NodeOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let session = self.session.as_ref().and_then(ClientSession::poll_timeout);
        Some(session.map_or(self.next, |at| at.min(self.next)))
    }
}

/// It is a room: its host, one honest member, and liars who say nothing yet.
struct Room {
    world: World<Cast>,
    host: HostId,
    honest: HostId,
    liars: Vec<HostId>,
}

/// It is the outer address of the host's NAT.
const HOST_OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 1, 1));

impl Room {
    /// All of them play, and the liars have proofs of life of that time.
    fn playing(seed: u64, liars: u8) -> Self {
        let mut world: World<Cast> = World::new(seed);
        let internet = World::<Cast>::INTERNET;
        let (link, now) = (Link::delay(Duration::from_millis(15)), world.instant());
        let server = Lobby::new(ServerConfig::default(), true, [seed as u8; 32], now);
        let sockets = lobby::sockets(true);
        let server = Cast::Lobby(Box::new(server));
        world.add_host(internet, ADDRESSES.to_vec(), &sockets, link.clone(), server);
        world.exempt(&ADDRESSES);
        let nat = "portrestricted".parse::<NatSpec>().unwrap().chain[0].clone();
        let players = [1u8, 2].map(|side| {
            let outside = vec![IpAddr::from([198, 18, side, 1])];
            let (_, inside) = world.add_nat(internet, nat.clone(), outside, link.clone());
            let local = SocketAddr::from(([192, 168, 1, side + 1], 40_000));
            let mut player = Player::new(AgentConfig::default(), [side; 32], local, now);
            player.command(now, Command::LocalAddresses(vec![local.ip()]));
            player.command(now, Command::Connect(vec![sockets[0]]));
            player.keep_talking(now, 20);
            let program = Cast::Player(Box::new(player));
            world.add_host(inside, vec![local.ip()], &[local], Link::default(), program)
        });
        let [host, honest] = players;
        let mut room = Self { world, host, honest, liars: Vec::new() };
        room.run(5);
        let options = RoomOptions { name: "r".into(), ..RoomOptions::default() };
        room.command(host, Command::HostRoom(options));
        room.run(1);
        for liar in 0..liars {
            let local = SocketAddr::from(([198, 18, 10 + liar, 200], 40_000));
            let now = room.world.instant();
            let program = Cast::Liar(Box::new(Liar::new(10 + liar, now)));
            room.liars.push(room.world.add_host(internet, vec![local.ip()], &[local], link.clone(), program));
        }
        let target = RoomTarget::Name("r".into());
        let wait = Duration::from_secs(5);
        room.command(honest, Command::JoinRoom { target, password: None, wait });
        room.run(8);
        assert_eq!(room.player(host).paths.len(), usize::from(liars) + 1, "all are connected to the host");
        for liar in room.liars.clone() {
            room.with_liar(liar, |liar| assert!(!liar.proofs.is_empty(), "it has proofs to replay"));
        }
        room
    }

    fn run(&mut self, seconds: u64) {
        let end = self.world.now() + Duration::from_secs(seconds);
        self.world.run_until(end);
    }

    fn command(&mut self, player: HostId, command: Command) {
        self.world.act(player, |program, now| match program {
            Cast::Player(player) => player.command(now, command),
            _ => unreachable!("an honest player"),
        });
    }

    fn player(&self, player: HostId) -> &Player {
        match self.world.node(player) {
            Cast::Player(player) => player,
            _ => unreachable!("an honest player"),
        }
    }

    fn with_liar<R>(&mut self, liar: HostId, action: impl FnOnce(&mut Liar) -> R) -> R {
        self.world.act(liar, |program, _| match program {
            Cast::Liar(liar) => action(liar),
            _ => unreachable!("a liar"),
        })
    }

    fn all_say(&mut self, word: Word) {
        for liar in self.liars.clone() {
            self.with_liar(liar, |liar| liar.word = word);
        }
    }

    /// What the honest member was told of its host and its room: changes of host, with whether it hosts, and ends.
    fn told(&self) -> (Vec<bool>, Vec<Option<RoomEnd>>) {
        let (mut hosts, mut ends) = (Vec::new(), Vec::new());
        for (_, event) in &self.player(self.honest).events {
            match event {
                Event::HostChanged { hosting, .. } => hosts.push(*hosting),
                Event::RoomLeft { reason } => ends.push(reason.clone()),
                _ => {}
            }
        }
        (hosts, ends)
    }

    /// Returns the seconds until the honest member hosts.
    fn until_it_hosts(&mut self, patience: u64) -> Option<u64> {
        (1..=patience).find(|_| {
            self.run(1);
            self.told().0 == [true]
        })
    }

    fn cut_host_from_server(&mut self) {
        for server in ADDRESSES {
            self.world.cut(HOST_OUTSIDE, server, true);
            self.world.cut(server, HOST_OUTSIDE, true);
        }
    }
}

/// Seconds within which the room goes on under the honest member: it misses the host after 4 s, and the server has to have
/// missed it for 10 s.
const WITHIN: u64 = 12;
/// The same where the server knows nothing of the host any more, and counts from the question on.
const WITHIN_UNKNOWN: u64 = 16;

#[test]
fn liars_with_old_proofs_keep_no_dead_host_and_do_not_host() {
    for (seed, liars) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)] {
        let mut room = Room::playing(seed, liars);
        room.all_say(Word::Heard);
        room.run(3);
        room.world.replace_node(room.host, Cast::Bystander);
        let took = room.until_it_hosts(WITHIN);
        assert!(took.is_some(), "seed {seed}, {liars} liars: {:?}", room.told());
        assert!(room.told().1.is_empty(), "nobody sends it away");
        for liar in room.liars.clone() {
            room.with_liar(liar, |liar| assert!(!liar.hosts, "seed {seed}"));
        }
    }
}

#[test]
fn a_host_that_the_server_does_not_hear_stays_host_of_one_honest_member_whatever_liars_say() {
    for (seed, liars) in [(11, 1), (12, 2), (13, 3)] {
        let mut room = Room::playing(seed, liars);
        room.cut_host_from_server();
        room.all_say(Word::Lost);
        room.run(90);
        assert_eq!(room.told(), (vec![], vec![]), "seed {seed}, {liars} liars");
        let (host, honest) = (room.player(room.host), room.player(room.honest));
        assert!(honest.disconnects == 0 && honest.paths.contains_key(&host.id.unwrap()));
        for liar in room.liars.clone() {
            room.with_liar(liar, |liar| assert!(!liar.hosts, "seed {seed}"));
        }
        // And when it dies the room goes on.
        room.all_say(Word::Heard);
        room.run(3);
        room.world.replace_node(room.host, Cast::Bystander);
        let took = room.until_it_hosts(WITHIN_UNKNOWN);
        assert!(took.is_some(), "seed {seed}, {liars} liars: {:?}", room.told());
    }
}

#[test]
fn lost_datagrams_do_not_keep_a_host_from_showing_that_it_is_alive() {
    for seed in 21..26 {
        let mut room = Room::playing(seed, 2);
        room.cut_host_from_server();
        let way = natlab::link::Way { delay: Duration::from_millis(15), loss: 0.15, ..Default::default() };
        room.world.set_host_link(room.honest, Link::both(way));
        room.all_say(Word::Lost);
        room.run(60);
        assert_eq!(room.told(), (vec![], vec![]), "seed {seed}");
    }
}
