//! renet between two simulated players: numbered messages on an unreliable and a reliable ordered channel.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use natlab::player::Game;
use renet::{ConnectionConfig, DefaultChannel, RenetClient, RenetServer};
use traversal_core::PathInfo;
use traversal_core::id::PlayerId;

const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);
/// A reliable message leaves every so many frames: 20 a second.
const RELIABLE_EVERY: u32 = 3;
/// It makes a game datagram longer than any message of the agents.
const LENGTH: usize = 120;

/// What one side sent and got.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// When each unreliable message left; its number is its place.
    pub(crate) unreliable_sent: Vec<Instant>,
    /// It is the same of the reliable ones.
    pub(crate) reliable_sent: Vec<Instant>,
    /// When each came in.
    pub(crate) unreliable_got: BTreeMap<u32, Instant>,
    /// These came in, in this order.
    pub(crate) reliable_got: Vec<u32>,
    /// The path changed at these times.
    pub(crate) moves: Vec<Instant>,
}

pub(crate) type SharedTally = Rc<RefCell<Tally>>;

#[derive(Debug)]
enum Side {
    Waiting,
    Host(PlayerId, Box<RenetServer>),
    Guest(PlayerId, Box<RenetClient>),
}

/// It is a game at 60 frames a second.
#[derive(Debug)]
pub(crate) struct Streams {
    side: Side,
    tally: SharedTally,
    frame: u32,
    next: Option<Instant>,
    out: VecDeque<(PlayerId, Vec<u8>)>,
}

const CLIENT: u64 = 1;

fn numbered(n: usize) -> Vec<u8> {
    let mut message = (n as u32).to_le_bytes().to_vec();
    message.resize(LENGTH, 0);
    message
}

fn number(message: &[u8]) -> u32 {
    u32::from_le_bytes(message[..4].try_into().unwrap())
}

impl Streams {
    pub(crate) fn new(tally: SharedTally) -> Self {
        Self { side: Side::Waiting, tally, frame: 0, next: None, out: VecDeque::new() }
    }

    fn send(&mut self, channel: DefaultChannel, message: Vec<u8>) {
        match &mut self.side {
            Side::Waiting => {}
            Side::Host(_, server) => server.send_message(CLIENT, channel, message),
            Side::Guest(_, client) => client.send_message(channel, message),
        }
    }

    fn receive(&mut self, channel: DefaultChannel) -> Option<u32> {
        let message = match &mut self.side {
            Side::Waiting => None,
            Side::Host(_, server) => server.receive_message(CLIENT, channel),
            Side::Guest(_, client) => client.receive_message(channel),
        };
        message.map(|message| number(&message))
    }

    fn read(&mut self, now: Instant) {
        while let Some(n) = self.receive(DefaultChannel::Unreliable) {
            self.tally.borrow_mut().unreliable_got.entry(n).or_insert(now);
        }
        while let Some(n) = self.receive(DefaultChannel::ReliableOrdered) {
            self.tally.borrow_mut().reliable_got.push(n);
        }
    }
}

impl Game for Streams {
    fn connected(&mut self, now: Instant, player: PlayerId, hosting: bool) {
        self.side = if hosting {
            let mut server = RenetServer::new(ConnectionConfig::default());
            server.add_connection(CLIENT);
            Side::Host(player, Box::new(server))
        } else {
            let mut client = RenetClient::new(ConnectionConfig::default());
            client.set_connected();
            Side::Guest(player, Box::new(client))
        };
        self.next = Some(now);
    }

    fn moved(&mut self, now: Instant, _: PlayerId, _: &PathInfo) {
        self.tally.borrow_mut().moves.push(now);
    }

    fn handle_datagram(&mut self, now: Instant, _: PlayerId, datagram: &[u8]) {
        match &mut self.side {
            Side::Waiting => {}
            Side::Host(_, server) => server.process_packet_from(datagram, CLIENT).unwrap(),
            Side::Guest(_, client) => client.process_packet(datagram),
        }
        self.read(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.next = Some(now + FRAME);
        self.frame += 1;
        let n = self.tally.borrow().unreliable_sent.len();
        self.tally.borrow_mut().unreliable_sent.push(now);
        self.send(DefaultChannel::Unreliable, numbered(n));
        if self.frame.is_multiple_of(RELIABLE_EVERY) {
            let n = self.tally.borrow().reliable_sent.len();
            self.tally.borrow_mut().reliable_sent.push(now);
            self.send(DefaultChannel::ReliableOrdered, numbered(n));
        }
        let (player, packets) = match &mut self.side {
            Side::Waiting => return,
            Side::Host(player, server) => {
                server.update(FRAME);
                (*player, server.get_packets_to_send(CLIENT).unwrap())
            }
            Side::Guest(player, client) => {
                client.update(FRAME);
                (*player, client.get_packets_to_send())
            }
        };
        assert!(!packets.is_empty());
        self.out.extend(packets.into_iter().map(|packet| (player, packet)));
    }

    fn poll_datagram(&mut self) -> Option<(PlayerId, Vec<u8>)> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}
