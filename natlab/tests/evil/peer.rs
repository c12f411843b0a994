//! A player who has the pair's key and uses it against others.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use natlab::link::Link;
use natlab::world::{Node, NodeOutput, World};
use traversal_core::id::MatchId;
use traversal_core::nat::NatProfile;
use traversal_core::wire::Kind;
use traversal_core::wire::message::{Method, PunchPlan, Role, ToPlayer};
use traversal_core::wire::pair::{Opened, PairChannel, PairKeys, PairMessage};
use traversal_core::{Caps, Identity};

use crate::server::{identity_of, nobody};
use crate::stage::{BYSTANDERS, Cast, LAN_BYSTANDER, PEER, Stage};

/// What it does with what it gets is in the tests; by itself it answers as an honest player would, if it is to.
#[derive(Default)]
pub(crate) struct EvilPeer {
    pub(crate) channel: Option<PairChannel>,
    /// It confirms tests that come to its own address.
    pub(crate) answers: bool,
    outputs: VecDeque<NodeOutput>,
    /// Where the honest player was last heard from.
    pub(crate) heard_from: Option<SocketAddr>,
    /// They are the tags of its tests, as they came.
    pub(crate) tags: Vec<u32>,
    /// This many game datagrams came from the honest player.
    pub(crate) game: u64,
}

impl EvilPeer {
    fn seal(&mut self, message: &PairMessage) -> Vec<u8> {
        self.channel.as_mut().unwrap().seal_message(message).unwrap()
    }
}

impl Node for EvilPeer {
    fn handle_datagram(&mut self, _: Instant, socket: u32, from: SocketAddr, datagram: &[u8]) {
        if Kind::of(datagram) != Some(Kind::Pair) {
            return;
        }
        let mut bytes = datagram.to_vec();
        let Some(channel) = &mut self.channel else { return };
        let answer = match channel.open(&mut bytes) {
            Ok(Opened::Data(..)) => {
                self.game += 1;
                None
            }
            Ok(Opened::Message(PairMessage::Test { tag, .. })) => {
                self.tags.push(tag);
                Some(PairMessage::Confirm { tag, observed: from, test: Some(1) })
            }
            Ok(Opened::Message(PairMessage::Confirm { test: Some(tag), .. })) => {
                self.tags.push(tag);
                Some(PairMessage::Confirm { tag, observed: from, test: None })
            }
            _ => None,
        };
        self.heard_from = Some(from);
        if let Some(answer) = answer.filter(|_| self.answers) {
            let payload = self.seal(&answer);
            self.outputs.push_back(NodeOutput::Transmit { socket, to: from, ttl: None, payload });
        }
    }

    fn handle_socket(&mut self, _: Instant, _: u32, _: io::Result<SocketAddr>) {}

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_output(&mut self) -> Option<NodeOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// Has the honest player matched with the evil one, who is where the server says.
pub(crate) fn matched(seed: u64, nat: &str) -> Stage {
    let mut stage = Stage::new(seed, nat, Link::delay(Duration::from_millis(10)));
    stage.log_in();
    let own = Identity::from_secret([5; 32]);
    let secret = [3; 32];
    let [peer_key, peer_ephemeral] = &stage.server().victims_keys();
    let (identity, ephemeral, pair_secret) = (&identity_of(1), &own, &secret);
    let keys = PairKeys { identity, ephemeral, peer_key, peer_ephemeral, pair_secret, hosting: false };
    let channel = PairChannel::new(MatchId(1), &keys).unwrap();
    stage.with_peer(|peer| peer.channel = Some(channel));
    stage.say(&ToPlayer::Plan(Box::new(PunchPlan {
        match_id: MatchId(1),
        peer: nobody(1),
        peer_ephemeral: own.public_key(),
        pair_secret: secret,
        hosting: true,
        role: Role::Sending,
        same_nat: false,
        peer_public: vec![PEER],
        peer_local: Vec::new(),
        own_nat: NatProfile::default(),
        peer_nat: NatProfile::default(),
        methods: vec![Method::Cone],
        deadline_ms: 10_000,
        relay: None,
        no_relay: None,
        epoch: 0,
        mesh: false,
        peer_rtt: None,
        peer_key: identity_of(1).public_key(),
        spectator: false,
    })));
    stage
}

/// Sends to the honest player as if from somewhere else.
pub(crate) fn forge(stage: &mut Stage, src: SocketAddr, message: &PairMessage) {
    let payload = stage.with_peer(|peer| peer.seal(message));
    forge_bytes(stage, src, payload);
}

fn forge_bytes(stage: &mut Stage, src: SocketAddr, payload: Vec<u8>) {
    let to = stage.with_peer(|peer| peer.heard_from).unwrap();
    stage.world.inject(World::<Cast>::INTERNET, src, to, payload);
}

#[test]
fn a_player_who_forges_its_source_gets_a_stranger_no_more_than_it_sends_itself() {
    let mut stage = matched(1, "fullcone");
    stage.run(1);
    let (mut forged, mut bytes) = (0, 0);
    for round in 0..600u32 {
        let src = SocketAddr::new(BYSTANDERS[0], 1000 + (round % 700) as u16);
        let message = match round % 3 {
            0 => PairMessage::Test { tag: round, method: Method::Birthday },
            1 => PairMessage::Confirm { tag: round, observed: src, test: Some(round) },
            _ => PairMessage::Close { reason: String::new() },
        };
        // A close would end it: only some at the very end.
        if round % 3 == 2 && round < 590 {
            continue;
        }
        let payload = stage.with_peer(|peer| peer.seal(&message));
        (forged, bytes) = (forged + 1, bytes + payload.len() as u64);
        forge_bytes(&mut stage, src, payload);
        let step = stage.world.now() + Duration::from_millis(5);
        stage.world.run_until(step);
    }
    stage.run(15);
    let got = stage.got(BYSTANDERS[0]);
    assert!(got <= forged, "{got} datagrams for {forged} forged ones ({bytes} bytes)");
    let stats = stage.world.stats(stage.victim);
    assert!(stats.busiest_second <= u64::from(Caps::default().datagrams_per_second));
    assert!(stats.targets.len() <= Caps::default().targets_per_attempt as usize);
}

#[test]
fn game_data_from_a_forged_source_does_not_turn_the_game_on_a_stranger() {
    for answers in [false, true] {
        let mut stage = matched(2, "fullcone");
        stage.with_peer(|peer| peer.answers = answers);
        stage.run(1);
        stage.act(|player, now| player.keep_talking(now, 60));
        let stranger = SocketAddr::new(BYSTANDERS[1], 5000);
        let mut forged = 0;
        for round in 0..200u32 {
            let payload =
                stage.with_peer(|peer| peer.channel.as_mut().unwrap().seal_data_on(0, b"hello").unwrap());
            forge_bytes(&mut stage, stranger, payload);
            // And the confirmations that such a way would have to have, as well as they can be guessed.
            let newest = stage.with_peer(|peer| peer.tags.last().copied()).unwrap_or(0);
            for near in 0..4 {
                let tag = newest.wrapping_add(near * round);
                forge(&mut stage, stranger, &PairMessage::Confirm { tag, observed: stranger, test: None });
                forged += 1;
            }
            forged += 1;
            let step = stage.world.now() + Duration::from_millis(50);
            stage.world.run_until(step);
        }
        let got = stage.got(BYSTANDERS[1]);
        // Each may be answered by one, which is no game datagram.
        assert!(got <= forged / 4, "answers {answers}: {got} datagrams for {forged} forged ones");
        // A confirmation from anywhere proves the address that the test went to, and no other.
        for path in stage.player().paths.values() {
            assert_eq!(path.remote, Some(PEER), "answers {answers}");
        }
        let game = stage.with_peer(|peer| peer.game);
        assert!(game > 300 || !answers, "the game goes to where the other player is: {game}");
    }
}

#[test]
fn a_private_source_is_not_answered_without_the_bit() {
    let mut stage = matched(3, "fullcone");
    stage.run(1);
    let insider = SocketAddr::new(LAN_BYSTANDER, 5000);
    for round in 0..50u32 {
        forge(&mut stage, insider, &PairMessage::Test { tag: round, method: Method::Cone });
        let payload =
            stage.with_peer(|peer| peer.channel.as_mut().unwrap().seal_data_on(0, b"hello").unwrap());
        forge_bytes(&mut stage, insider, payload);
        let step = stage.world.now() + Duration::from_millis(20);
        stage.world.run_until(step);
    }
    assert_eq!(stage.got(LAN_BYSTANDER), 0);
}

#[test]
fn a_player_who_tests_without_end_is_answered_one_for_one_and_under_the_caps() {
    let mut stage = matched(4, "fullcone");
    stage.with_peer(|peer| peer.answers = true);
    stage.run(2);
    stage.world.count_anew(stage.victim);
    let mut sent = 0;
    for round in 0..3000u32 {
        // From as many ports of its own as it likes.
        let src = SocketAddr::new(PEER.ip(), 1024 + (round * 7 % 3000) as u16);
        forge(&mut stage, src, &PairMessage::Test { tag: round, method: Method::GiantStep });
        sent += 1;
        let step = stage.world.now() + Duration::from_millis(1);
        stage.world.run_until(step);
    }
    stage.run(5);
    let stats = stage.world.stats(stage.victim);
    // The game itself and the pings of its way come on top.
    let (caps, pings) = (Caps::default(), 30);
    assert!(stats.to_players <= sent, "{} for {sent}", stats.to_players);
    assert!(stats.busiest_second <= u64::from(caps.datagrams_per_second) + pings, "{}", stats.busiest_second);
    assert!(stats.targets.len() <= caps.targets_per_attempt as usize, "{} targets", stats.targets.len());
    assert!(stage.player().is_direct(nobody(1).id), "and the game goes on");
}
