//! Texts between contacts, at one node and at two.

use super::*;
use crate::{Counters, Refusal};
use traversal_core::wire::message::{ChatFault, ChatNews, ChatPlace, ChatRequest, ChatTo};

type Answer = Option<Result<Response, RequestError>>;

impl Nodes {
    /// A player writes to another one; the answer is there if it came at once.
    fn say(&mut self, from: Player, to: PlayerId, number: u64) -> (RequestId, Answer) {
        let text = format!("text {number}");
        let request = Request::Chat(ChatRequest::Say { number, to: ChatTo::Player(to), text });
        let id = self.worlds[from.node].ask(from.index, request);
        self.turn();
        (id, self.fake(from).answer(id))
    }

    fn texts(&self, player: Player) -> Vec<(PlayerId, u64)> {
        let told = self.fake(player).told.iter();
        let texts = told.filter_map(|message| match message {
            ToPlayer::Chat(ChatNews::Text { from, number, place: ChatPlace::Contact, text }) => {
                assert_eq!(*text, format!("text {number}"));
                Some((from.id, *number))
            }
            _ => None,
        });
        texts.collect()
    }
}

const NOT_REACHED: Answer = Some(Err(RequestError::Chat(ChatFault::NotReached)));

#[test]
fn who_allow_each_other_write_to_each_other_and_of_all_others_the_answer_is_the_same() {
    for count in [1, 2] {
        let mut nodes = Nodes::new(count);
        let [a, b, c] = nodes.players(3)[..] else { unreachable!() };
        let [of_a, of_b, of_c] = [a, b, c].map(|player| nodes.id(player));
        // A stranger, one who has not allowed the writer, one whom the writer has not allowed, oneself, nobody.
        nodes.list(a, &[c]);
        nodes.list(b, &[a]);
        for (from, to) in [(a, of_b), (a, of_c), (b, of_a), (a, of_a), (c, of_a), (a, PlayerId([7; 16]))] {
            assert_eq!(nodes.say(from, to, 1).1, NOT_REACHED, "{count} nodes, {from:?}");
        }
        nodes.allow(a, b, true);
        assert_eq!(nodes.say(a, of_b, 2).1, Some(Ok(Response::Done)), "{count} nodes");
        assert_eq!(nodes.say(b, of_a, 9).1, Some(Ok(Response::Done)));
        assert_eq!((nodes.texts(b), nodes.texts(a)), (vec![(of_a, 2)], vec![(of_b, 9)]));
        // And not any more.
        nodes.allow(b, a, false);
        assert_eq!(nodes.say(a, of_b, 3).1, NOT_REACHED);
        assert_eq!((nodes.texts(b).len(), nodes.texts(c).len()), (1, 0));
        let sum = |of: fn(&Counters) -> u64| {
            nodes.worlds.iter().map(|world| of(&world.server.counters())).sum::<u64>()
        };
        assert_eq!(sum(|counters| counters.contact_texts), 2);
        assert_eq!(sum(|counters| counters.refusals.of(Refusal::ChatUnreached)), 7);
    }
}

#[test]
fn one_whose_node_is_gone_is_not_reached_after_two_seconds() {
    let mut nodes = Nodes::new(2);
    let [a, b] = nodes.players(2)[..] else { unreachable!() };
    let of_b = nodes.id(b);
    nodes.list(a, &[b]);
    nodes.list(b, &[a]);
    // Its node hears nothing any more, and nobody has noticed.
    nodes.worlds[b.node].registry = None;
    let (id, answer) = nodes.say(a, of_b, 1);
    assert_eq!(answer, None);
    nodes.worlds[a.node].pass(Duration::from_millis(1900));
    assert_eq!(nodes.fake(a).answer(id), None);
    nodes.worlds[a.node].pass(Duration::from_millis(200));
    assert_eq!(nodes.fake(a).answer(id), NOT_REACHED);
}

#[test]
fn where_chat_is_off_at_the_readers_node_nothing_comes_through() {
    let mut nodes = Nodes::new(2);
    let [a, b] = nodes.players(2)[..] else { unreachable!() };
    let of_b = nodes.id(b);
    nodes.list(a, &[b]);
    nodes.list(b, &[a]);
    let world = &mut nodes.worlds[b.node];
    let config = ServerConfig { chat: false, ..world.server.config().clone() };
    world.server.reconfigure(world.now, config);
    let (id, _) = nodes.say(a, of_b, 1);
    nodes.worlds[a.node].pass(Duration::from_millis(2100));
    assert_eq!((nodes.fake(a).answer(id), nodes.texts(b)), (NOT_REACHED, vec![]));
}

#[test]
fn a_text_that_is_asked_for_again_after_a_new_login_has_the_same_number() {
    let mut nodes = Nodes::new(1);
    let [a, b] = nodes.players(2)[..] else { unreachable!() };
    let (of_a, of_b) = (nodes.id(a), nodes.id(b));
    nodes.list(a, &[b]);
    nodes.list(b, &[a]);
    nodes.say(a, of_b, 5);
    nodes.worlds[0].log_in(a.index);
    nodes.list(a, &[b]);
    nodes.say(a, of_b, 5);
    assert_eq!(nodes.texts(b), [(of_a, 5), (of_a, 5)], "its agent shows it once");
}

#[test]
fn all_in_a_party_read_what_one_writes_and_nobody_else() {
    use traversal_core::wire::message::{PartyNews, PartyRequest};
    let mut nodes = Nodes::new(1);
    let [a, b, c] = nodes.players(3)[..] else { unreachable!() };
    nodes.ask(a, Request::Party(PartyRequest::Create { most: 4 }));
    let code = nodes.fake(a).told.iter().rev().find_map(|told| match told {
        ToPlayer::Party(PartyNews::State(info)) => Some(info.code.clone()),
        _ => None,
    });
    nodes.ask(b, Request::Party(PartyRequest::Join { code: code.unwrap() }));
    let say = |number| {
        let text = format!("text {number}");
        Request::Chat(ChatRequest::Say { number, to: ChatTo::Party, text })
    };
    nodes.ask(b, say(4));
    let read = |nodes: &Nodes, player| {
        let told = nodes.fake(player).told.iter();
        let texts = told.filter(|told| {
            matches!(told, ToPlayer::Chat(ChatNews::Text { place: ChatPlace::Party(_), number: 4, .. }))
        });
        texts.count()
    };
    assert_eq!((read(&nodes, a), read(&nodes, b), read(&nodes, c)), (1, 0, 0));
    let refused = Err(RequestError::Chat(ChatFault::NotInParty));
    assert_eq!(nodes.try_ask(c, say(5)), refused);
    nodes.ask(b, Request::Party(PartyRequest::Leave));
    assert_eq!(nodes.try_ask(b, say(6)), refused);
    assert_eq!(nodes.worlds[0].server.counters().party_texts, 1);
}
