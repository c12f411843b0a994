//! Nothing about a player reaches one who was not allowed: random worlds, of which every message is looked at.

use std::collections::BTreeSet;

use rand_chacha::rand_core::RngCore;
use traversal_core::wire::codec;
use traversal_core::wire::message::{ChatNews, ChatPlace, ChatRequest, ChatTo};

use super::*;

const PLAYERS: u8 = 6;

/// This is who is where, and what each has said, as it was meant.
struct Model {
    nodes: Nodes,
    rng: ChaCha20Rng,
    /// Where each player is logged in, if it is.
    at: Vec<Option<Player>>,
    allows: Vec<BTreeSet<usize>>,
    strangers: Vec<bool>,
    ids: Vec<PlayerId>,
    /// So many messages of each session were looked at.
    read: BTreeMap<Player, usize>,
    /// The first one may know of the second one since they met in a room or by a call.
    met: BTreeSet<(usize, usize)>,
    /// These called those, whoever could be reached.
    called: BTreeSet<(usize, usize)>,
    /// The first one was told that the second one is on line.
    shown: BTreeSet<(usize, usize)>,
    calls: Vec<(CallId, usize, usize)>,
    seen: [usize; 4],
    texts: u64,
}

impl Model {
    fn new(seed: u8) -> Self {
        let mut model = Self {
            nodes: Nodes::new(2),
            rng: ChaCha20Rng::from_seed([seed; 32]),
            at: vec![None; PLAYERS.into()],
            allows: vec![BTreeSet::new(); PLAYERS.into()],
            strangers: vec![false; PLAYERS.into()],
            ids: (1..=PLAYERS).map(|n| Identity::from_secret([n; 32]).player_id()).collect(),
            read: BTreeMap::new(),
            met: BTreeSet::new(),
            called: BTreeSet::new(),
            shown: BTreeSet::new(),
            calls: Vec::new(),
            seen: [0; 4],
            texts: 0,
        };
        for who in 0..PLAYERS.into() {
            model.log_in(who);
        }
        model
    }

    fn draw(&mut self, below: usize) -> usize {
        (self.rng.next_u64() % below as u64) as usize
    }

    fn mutual(&self) -> BTreeSet<(usize, usize)> {
        let all =
            (0..self.allows.len()).flat_map(|one| self.allows[one].iter().map(move |other| (one, *other)));
        all.filter(|(one, other)| self.allows[*other].contains(one)).collect()
    }

    fn log_in(&mut self, who: usize) {
        let node = self.draw(2);
        let (n, world) = (who as u8 + 1, &mut self.nodes.worlds[node]);
        let index = world.add(n, &format!("203.0.113.{n}:4000"));
        world.fakes[index].login.name = format!("name-of-{n}-");
        world.log_in(index);
        self.nodes.turn();
        let player = Player { node, index };
        self.at[who] = Some(player);
        self.strangers[who] = false;
        let text = format!("words-of-{n}-");
        self.nodes.status(player, Status { text, ..Status::default() });
        self.send_list(who);
    }

    fn send_list(&mut self, who: usize) {
        let Some(player) = self.at[who] else { return };
        let allow = self.allows[who].iter().map(|other| self.ids[*other]).collect();
        let part = ContactsRequest::Part { first: true, last: true, allow };
        let _ = self.nodes.try_ask(player, Request::Contacts(part));
    }

    /// One of them does something.
    fn act(&mut self) {
        let (who, other) = (self.draw(PLAYERS.into()), self.draw(PLAYERS.into()));
        let Some(player) = self.at[who] else { return self.log_in(who) };
        let request = match self.draw(16) {
            0..=3 if who != other => {
                let allow = !self.allows[who].remove(&other);
                if allow {
                    self.allows[who].insert(other);
                }
                let player = self.ids[other];
                Request::Contacts(ContactsRequest::Allow { player, allow })
            }
            4 => {
                let strangers_ring = self.draw(3) == 0;
                self.strangers[who] = strangers_ring;
                let (away, text) = (self.draw(2) == 0, format!("words-of-{}-", who + 1));
                Request::Contacts(ContactsRequest::Status(Status {
                    away,
                    text,
                    strangers_ring,
                    ..Status::default()
                }))
            }
            5 => {
                let name = format!("room-of-{}-", who + 1);
                Request::CreateRoom {
                    options: RoomOptions { auto_allow: true, public: false, ..named(&name) },
                }
            }
            6 => {
                let target = RoomTarget::Name(format!("room-of-{}-", other + 1));
                Request::JoinRoom { target, password: None }
            }
            7 => Request::LeaveRoom,
            8 | 9 if who != other => {
                let call = CallId(self.rng.next_u64());
                self.called.insert((who, other));
                self.calls.push((call, who, other));
                Request::Call(CallRequest::Ring { call, player: self.ids[other] })
            }
            10 => {
                let known =
                    self.calls.iter().rev().find(|(_, caller, callee)| [*caller, *callee].contains(&who));
                let Some((call, caller, _)) = known.copied() else { return };
                Request::Call(match self.draw(3) {
                    _ if caller == who => CallRequest::HangUp { call },
                    0 => CallRequest::Answer { call, answer: CallAnswer::No { reason: String::new() } },
                    _ => CallRequest::Answer { call, answer: CallAnswer::Yes },
                })
            }
            11 => {
                self.at[who] = None;
                return self.nodes.log_out(player);
            }
            12..=14 if who != other => {
                self.texts += 1;
                let (number, text) = (self.texts, format!("words-of-{}-", who + 1));
                let to = ChatTo::Player(self.ids[other]);
                Request::Chat(ChatRequest::Say { number, to, text })
            }
            15 => {
                self.texts += 1;
                let (number, text) = (self.texts, format!("words-of-{}-", who + 1));
                Request::Chat(ChatRequest::Say { number, to: ChatTo::Room, text })
            }
            _ => return,
        };
        self.nodes.worlds[player.node].ask(player.index, request);
        self.nodes.turn();
    }

    /// Looks at all that anybody was told since the last time. `before`: who allowed each other then.
    fn look(&mut self, before: &BTreeSet<(usize, usize)>) {
        let now = self.mutual();
        for who in 0..self.at.len() {
            let Some(player) = self.at[who] else { continue };
            let told = self.nodes.fake(player).told.clone();
            let from = self.read.insert(player, told.len()).unwrap_or(0);
            for message in &told[from..] {
                self.look_at(who, message, before, &now);
            }
        }
    }

    /// The second one may know that the first one is there because it lets it call, or has called it.
    fn may_reach(&self, callee: usize, caller: usize) -> bool {
        self.allows[callee].contains(&caller)
            || self.strangers[callee]
            || self.called.contains(&(callee, caller))
    }

    fn look_at(
        &mut self,
        who: usize,
        message: &ToPlayer,
        before: &BTreeSet<(usize, usize)>,
        now: &BTreeSet<(usize, usize)>,
    ) {
        let mut about: BTreeSet<usize> = BTreeSet::new();
        let bytes = codec::encode(message).unwrap();
        for (other, id) in self.ids.iter().enumerate().filter(|(other, _)| *other != who) {
            let n = other as u8 + 1;
            let traces: [&[u8]; 6] = [
                &id.0,
                format!("name-of-{n}-").as_bytes(),
                format!("words-of-{n}-").as_bytes(),
                format!("room-of-{n}-").as_bytes(),
                &[203, 0, 113, n],
                &[192, 168, 1, n],
            ]
            .map(|trace| trace.to_vec().leak() as &[u8]);
            if traces.iter().any(|trace| bytes.windows(trace.len()).any(|part| part == *trace)) {
                about.insert(other);
            }
        }
        match message {
            ToPlayer::Contacts(news) => {
                for one in news {
                    let other = self.ids.iter().position(|id| *id == one.player).unwrap();
                    let pair = (who, other);
                    match &one.presence {
                        Some(presence) => {
                            assert!(before.contains(&pair) || now.contains(&pair), "{pair:?}: {news:?}");
                            assert_eq!(presence.name, format!("name-of-{}-", other + 1));
                            self.shown.insert(pair);
                            self.seen[0] += 1;
                        }
                        None => assert!(self.shown.remove(&pair), "{pair:?} was not shown"),
                    }
                }
            }
            ToPlayer::Call(CallNews::Ring { from, .. }) => {
                let caller = self.ids.iter().position(|id| *id == from.id).unwrap();
                assert!(self.called.contains(&(caller, who)) && self.may_reach(who, caller));
                self.met.insert((who, caller));
                self.seen[1] += 1;
            }
            ToPlayer::Call(news) => {
                // Whatever tells the caller that somebody is there.
                let call = self.calls.iter().find(|(call, ..)| *call == news.call());
                let (_, caller, callee) = *call.expect("a call of these");
                let nothing = matches!(news, CallNews::Ended { why: CallEnd::NotReached, .. });
                if caller == who && !nothing {
                    let knows = self.may_reach(callee, who) || self.met.contains(&(who, callee));
                    assert!(knows, "{who} of {callee}: {news:?}");
                    self.met.insert((who, callee));
                    self.seen[2] += 1;
                }
                let reached = about.iter().all(|other| [caller, callee].contains(other));
                assert!(reached, "{news:?}");
            }
            ToPlayer::Chat(ChatNews::Text { from, place, .. }) => {
                let writer = self.ids.iter().position(|id| *id == from.id).unwrap();
                let pair = (who, writer);
                match place {
                    ChatPlace::Contact => {
                        assert!(before.contains(&pair) || now.contains(&pair), "{pair:?}: {message:?}");
                    }
                    // Who is in one room knows of each other.
                    _ => assert!(self.met.contains(&pair), "{pair:?}: {message:?}"),
                }
                let (name, words) = (format!("name-of-{}-", writer + 1), format!("words-of-{}-", writer + 1));
                assert!(from.name == name && message_text(message) == Some(&words) && about.len() == 1);
                self.seen[3] += 1;
            }
            // Who is in one room knows of each other; it was entered by its name, which its host gave.
            ToPlayer::Response { result: Ok(Response::Room(_)), .. }
            | ToPlayer::Members { .. }
            | ToPlayer::Plan(_)
            | ToPlayer::Replan(_)
            | ToPlayer::Facts { .. }
            | ToPlayer::HostChanged { .. }
            | ToPlayer::Ticket(_)
            | ToPlayer::KickNotes { .. }
            | ToPlayer::InRoom { .. }
            | ToPlayer::Seats { .. }
            | ToPlayer::Teams(_)
            | ToPlayer::SeatKept(_)
            | ToPlayer::SeatNotes { .. }
            | ToPlayer::RoomChanged(_) => {
                self.met.extend(about.iter().map(|other| (who, *other)));
            }
            other => assert!(about.is_empty(), "{who} of {about:?}: {other:?}"),
        }
    }
}

fn message_text(message: &ToPlayer) -> Option<&String> {
    match message {
        ToPlayer::Chat(ChatNews::Text { text, .. }) => Some(text),
        _ => None,
    }
}

#[test]
fn nothing_about_a_player_reaches_one_who_was_not_allowed() {
    let mut seen = [0; 4];
    for seed in 0..12 {
        let mut model = Model::new(seed);
        for step in 0..180 {
            let before = model.mutual();
            model.act();
            if step % 4 == 0 {
                model.nodes.pass(Duration::from_millis(700));
            }
            model.look(&before);
        }
        // In the end each contact is seen as it is by whom it allows, and by nobody else.
        let mutual = model.mutual();
        model.nodes.pass(Duration::from_secs(8));
        model.look(&mutual);
        for who in 0..model.at.len() {
            let Some(player) = model.at[who] else { continue };
            let seen: BTreeSet<PlayerId> = model.nodes.seen(player).into_keys().collect();
            let there = |other: &usize| model.at[*other].is_some() && mutual.contains(&(who, *other));
            let due: BTreeSet<PlayerId> =
                (0..model.at.len()).filter(there).map(|other| model.ids[other]).collect();
            assert_eq!(seen, due, "seed {seed}: of {who}");
        }
        seen.iter_mut().zip(model.seen).for_each(|(sum, one)| *sum += one);
    }
    println!(
        "looked at {} presences, {} rings, {} other news of calls, {} texts",
        seen[0], seen[1], seen[2], seen[3]
    );
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}: the worlds are worth something");
}

/// What a player that is not allowed gets: when, and how many bytes each time.
fn heard_by_a_stranger(seed: u8, is_there: bool) -> Vec<(Duration, usize)> {
    let mut nodes = Nodes::new(2);
    let start = nodes.worlds[0].now;
    let stranger = nodes.player(1, 0);
    let friend = nodes.player(3, 1);
    // It is at the stranger's node, or at the other one.
    let victim = is_there.then(|| nodes.player(2, usize::from(seed % 2)));
    let victim_id = Identity::from_secret([2; 32]).player_id();
    if let Some(victim) = victim {
        nodes.list(victim, &[friend]);
    }
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    let mut heard = Vec::new();
    let address = nodes.fake(stranger).address;
    for n in 0..40u64 {
        let (call, player) = (CallId(n), victim_id);
        let request = match rng.next_u32() % 7 {
            0 => Request::Contacts(ContactsRequest::Allow { player, allow: true }),
            1 => Request::Contacts(ContactsRequest::Allow { player, allow: false }),
            2 => Request::Contacts(ContactsRequest::Status(Status { away: n % 2 == 0, ..Status::default() })),
            3 => Request::Call(CallRequest::Ring { call, player }),
            4 => {
                let (to, text) = (ChatTo::Player(player), "are you there?".into());
                Request::Chat(ChatRequest::Say { number: n, to, text })
            }
            5 => Request::Chat(ChatRequest::Report { player, text: "rude".into() }),
            _ => Request::Call(CallRequest::HangUp { call: CallId(n.saturating_sub(1)) }),
        };
        let _ = nodes.try_ask(stranger, request);
        if let Some(victim) = victim {
            let status = Status { text: format!("{n}"), ..Status::default() };
            let _ = nodes.try_ask(victim, Request::Contacts(ContactsRequest::Status(status)));
        }
        for _ in 0..4 {
            nodes.pass(Duration::from_millis(250));
            let now = nodes.worlds[0].now;
            let sent = std::mem::take(&mut nodes.worlds[0].sent);
            let own = sent.into_iter().filter(|(_, to, _)| *to == address);
            heard.extend(own.map(|(_, _, datagram)| (now - start, datagram.len())));
        }
    }
    heard
}

#[test]
fn a_stranger_gets_the_same_bytes_at_the_same_times_whether_a_player_is_there_or_not() {
    let mut count = 0;
    for seed in 0..6 {
        let (there, not) = (heard_by_a_stranger(seed, true), heard_by_a_stranger(seed, false));
        assert_eq!(there, not, "seed {seed}");
        count += there.len();
    }
    println!("{count} datagrams in each of the two worlds");
    assert!(count > 200);
}
