//! Parties: who is in them, what their leaders wait for with all, and how they outlive sessions and nodes.

use super::*;
use traversal_core::wire::message::{
    NumberRule, PartyEnd, PartyInfo, PartyNews, PartyRequest, PartyTicket, QuickMatch, QuickMatched,
    QuickRules, Teams,
};

fn party(request: PartyRequest) -> Request {
    Request::Party(request)
}

fn wish(players: u16) -> QuickMatch {
    QuickMatch { mode: "duel".into(), players, ..QuickMatch::default() }
}

impl Nodes {
    fn party_news(&self, player: Player) -> Vec<PartyNews> {
        let told = self.fake(player).told.iter().filter_map(|told| match told {
            ToPlayer::Party(news) => Some(news.clone()),
            _ => None,
        });
        told.collect()
    }

    /// The party as this player was told last.
    fn party(&self, player: Player) -> PartyInfo {
        let mut states = self.party_news(player).into_iter().filter_map(|news| match news {
            PartyNews::State(info) => Some(info),
            _ => None,
        });
        states.next_back().expect("a party")
    }

    fn party_ticket(&self, player: Player) -> PartyTicket {
        let tickets = self.party_news(player).into_iter().filter_map(|news| match news {
            PartyNews::Ticket(ticket) => Some(ticket),
            _ => None,
        });
        tickets.max_by_key(|ticket| ticket.edition).expect("a ticket")
    }

    fn party_ends(&self, player: Player) -> Vec<PartyEnd> {
        let ends = self.party_news(player).into_iter().filter_map(|news| match news {
            PartyNews::Ended { why, .. } => Some(why),
            _ => None,
        });
        ends.collect()
    }

    fn members_of(&self, player: Player) -> Vec<PlayerId> {
        self.party(player).members.iter().map(|member| member.info.id).collect()
    }

    /// The first one makes a party, and the others come in by its code.
    fn make_party(&mut self, players: &[Player]) {
        self.ask(players[0], party(PartyRequest::Create { most: 4 }));
        let code = self.party(players[0]).code;
        for player in &players[1..] {
            self.ask(*player, party(PartyRequest::Join { code: code.clone() }));
        }
    }

    fn resume(&mut self, player: Player, of: Player) -> Result<Response, RequestError> {
        let (ticket, code) = (self.party_ticket(of), self.party(of).code);
        self.try_ask(player, party(PartyRequest::Resume { ticket, code }))
    }

    fn matched(&self, player: Player) -> Option<QuickMatched> {
        self.fake(player).told.iter().find_map(|told| match told {
            ToPlayer::QuickMatched(matched) => Some((**matched).clone()),
            _ => None,
        })
    }

    fn closed(&self, player: Player) -> Vec<RequestError> {
        let closed = self.fake(player).told.iter().filter_map(|told| match told {
            ToPlayer::QueueClosed(error) => Some(error.clone()),
            _ => None,
        });
        closed.collect()
    }

    fn forget_what_was_told(&mut self) {
        for fake in self.worlds.iter_mut().flat_map(|world| &mut world.fakes) {
            fake.told.retain(|told| matches!(told, ToPlayer::Party(_)));
        }
    }

    fn is_sent(&self, player: Player) -> bool {
        self.fake(player).told.iter().any(|told| matches!(told, ToPlayer::GoTo(_)))
    }
}

fn one_node(count: u8) -> (Nodes, Vec<Player>) {
    let mut nodes = Nodes::new(1);
    let players = nodes.players(count);
    (nodes, players)
}

#[test]
fn players_come_in_by_the_code_and_all_hear_of_it() {
    let (mut nodes, players) = one_node(5);
    nodes.make_party(&players[..3]);
    let ids: Vec<PlayerId> = players.iter().map(|player| nodes.id(*player)).collect();
    for player in &players[..3] {
        assert_eq!(nodes.members_of(*player), ids[..3]);
        assert_eq!(nodes.party_ticket(*player).members, ids[..3]);
    }
    assert_eq!(nodes.party(players[2]).leader(), Some(ids[0]));
    let code = nodes.party(players[0]).code;
    assert_eq!(code.len(), 10);
    let join = |code: &str| party(PartyRequest::Join { code: code.into() });
    assert_eq!(nodes.try_ask(players[1], join(&code)), Err(RequestError::AlreadyInParty));
    assert_eq!(nodes.try_ask(players[3], join("AAAAAAAAAA")), Err(RequestError::NoSuchParty));
    assert_eq!(nodes.try_ask(players[3], join("K7PX2M")), Err(RequestError::NoSuchParty));
    nodes.ask(players[3], join(&code.to_lowercase()));
    assert_eq!(nodes.try_ask(players[4], join(&code)), Err(RequestError::PartyFull { most: 4 }));
    for most in [0, 1, 17] {
        let error = nodes.try_ask(players[4], party(PartyRequest::Create { most }));
        assert!(matches!(error, Err(RequestError::Malformed { .. })), "{error:?}");
    }
    for request in [PartyRequest::Leave, PartyRequest::Disband, PartyRequest::Invite { player: ids[0] }] {
        assert_eq!(nodes.try_ask(players[4], party(request)), Err(RequestError::NotInParty));
    }
}

#[test]
fn the_leader_puts_out_hands_over_and_ends_and_nobody_else_does() {
    let (mut nodes, players) = one_node(3);
    nodes.make_party(&players);
    let ids: Vec<PlayerId> = players.iter().map(|player| nodes.id(*player)).collect();
    for request in
        [PartyRequest::Kick { player: ids[2] }, PartyRequest::Lead { player: ids[1] }, PartyRequest::Disband]
    {
        assert_eq!(nodes.try_ask(players[1], party(request)), Err(RequestError::NotPartyLeader));
    }
    let (code, ticket) = (nodes.party(players[0]).code, nodes.party_ticket(players[2]));
    nodes.ask(players[0], party(PartyRequest::Kick { player: ids[2] }));
    assert_eq!(nodes.party_ends(players[2]), [PartyEnd::Kicked]);
    assert_ne!(nodes.party(players[1]).code, code, "who was put out knows the old one");
    let join = party(PartyRequest::Join { code: code.clone() });
    assert_eq!(nodes.try_ask(players[2], join), Err(RequestError::NoSuchParty));
    // Its ticket is of no use while the party is there.
    let resume = party(PartyRequest::Resume { ticket, code });
    assert_eq!(nodes.try_ask(players[2], resume), Err(RequestError::NoSuchParty));
    let code = nodes.party(players[1]).code;
    nodes.ask(players[2], party(PartyRequest::Join { code }));
    nodes.ask(players[0], party(PartyRequest::Lead { player: ids[2] }));
    assert_eq!(nodes.members_of(players[1]), [ids[2], ids[0], ids[1]]);
    nodes.ask(players[2], party(PartyRequest::Leave));
    assert_eq!(nodes.party_ends(players[2]).last(), Some(&PartyEnd::Left));
    assert_eq!(nodes.members_of(players[1]), [ids[0], ids[1]]);
    nodes.ask(players[0], party(PartyRequest::Disband));
    assert_eq!(nodes.party_ends(players[1]), [PartyEnd::Disbanded]);
    let join = party(PartyRequest::Join { code: nodes.party(players[1]).code });
    assert_eq!(nodes.try_ask(players[1], join), Err(RequestError::NoSuchParty));
}

#[test]
fn contacts_are_invited_and_strangers_only_where_they_said_so() {
    for count in [1, 2] {
        let mut nodes = Nodes::new(count);
        let players = nodes.players(3);
        nodes.list(players[1], &[players[0]]);
        nodes.list(players[2], &[]);
        nodes.make_party(&players[..1]);
        for player in &players[1..] {
            let player = nodes.id(*player);
            nodes.ask(players[0], party(PartyRequest::Invite { player }));
        }
        nodes.ask(players[0], party(PartyRequest::Invite { player: PlayerId([99; 16]) }));
        nodes.turn();
        let code = nodes.party(players[0]).code;
        let from = message::PlayerInfo { id: nodes.id(players[0]), name: "P1".into() };
        assert_eq!(
            nodes.party_news(players[1]),
            [PartyNews::Invited { code: code.clone(), from, contact: true }]
        );
        assert!(nodes.party_news(players[2]).is_empty());
        if count == 1 {
            nodes.ask(players[1], party(PartyRequest::Join { code }));
            assert_eq!(nodes.members_of(players[0]).len(), 2);
        }
        // A player is not rung at without end.
        let player = nodes.id(players[1]);
        let again = (0..5).map(|_| nodes.try_ask(players[0], party(PartyRequest::Invite { player })));
        let again: Vec<_> = again.collect();
        assert!(again.iter().any(|answer| matches!(answer, Err(RequestError::Limited { .. }))), "{again:?}");
    }
}

#[test]
fn the_leader_waits_for_all_and_all_come_into_one_room() {
    let (mut nodes, players) = one_node(5);
    nodes.make_party(&players[..3]);
    let quick = |players| Request::QuickMatch(wish(players));
    assert_eq!(nodes.try_ask(players[1], quick(4)), Err(RequestError::NotPartyLeader));
    let large = RequestError::PartyTooLarge { size: 3, players: 2 };
    assert_eq!(nodes.try_ask(players[0], quick(2)), Err(large));
    nodes.ask(players[3], quick(4));
    nodes.ask(players[0], quick(4));
    let rooms: Vec<_> = players[..4].iter().map(|player| nodes.matched(*player)).collect();
    assert!(rooms.iter().all(|room| room.is_some() && *room == rooms[0]), "{rooms:?}");
    assert!(!nodes.party(players[2]).queued);
    assert_eq!(nodes.worlds[0].server.gauges().queued, 0);
    // The party is there after the match; who is still in the room is waited for.
    for player in [0, 2, 3] {
        nodes.ask(players[player], Request::LeaveRoom);
    }
    assert_eq!(
        nodes.try_ask(players[0], quick(4)),
        Err(RequestError::PartyIncomplete { missing: 1 }),
        "one is in the room"
    );
    nodes.ask(players[1], Request::LeaveRoom);
    nodes.forget_what_was_told();
    nodes.ask(players[0], quick(4));
    assert!(nodes.party(players[1]).queued);
    let code = nodes.party(players[0]).code;
    let join = party(PartyRequest::Join { code });
    assert_eq!(nodes.try_ask(players[4], join), Err(RequestError::PartyQueued));
    // Any member may take the party out of the line, and the others hear why.
    nodes.ask(players[1], Request::LeaveQueue);
    assert_eq!(nodes.closed(players[0]), [RequestError::PartyRefused]);
    assert_eq!((nodes.closed(players[1]), nodes.party(players[1]).queued), (vec![], false));
    assert_eq!(nodes.worlds[0].server.gauges().queued, 0);
    assert_eq!(nodes.try_ask(players[1], Request::LeaveQueue), Err(RequestError::NotQueued));
}

#[test]
fn all_members_are_asked_and_a_no_takes_the_party_out() {
    let (mut nodes, players) = one_node(4);
    nodes.make_party(&players[..2]);
    let rules = QuickRules { accept_s: Some(10), teams: vec![2, 1], ..QuickRules::default() };
    let quick = Request::QuickMatch(QuickMatch { players: 3, rules, ..QuickMatch::default() });
    let proposal = |nodes: &Nodes, player: Player| {
        nodes.fake(player).told.iter().rev().find_map(|told| match told {
            ToPlayer::MatchFound(found) => Some(found.proposal),
            _ => None,
        })
    };
    nodes.ask(players[0], quick.clone());
    nodes.ask(players[2], quick.clone());
    let found: Vec<_> = players[..3].iter().map(|player| proposal(&nodes, *player).unwrap()).collect();
    for player in [0, 2] {
        nodes.ask(players[player], Request::AnswerMatch { proposal: found[player], accept: true });
    }
    nodes.ask(players[1], Request::AnswerMatch { proposal: found[1], accept: false });
    assert_eq!(nodes.closed(players[1]), [RequestError::MatchRefused]);
    assert_eq!(nodes.closed(players[0]), [RequestError::PartyRefused]);
    assert_eq!(nodes.worlds[0].server.gauges().queued, 1, "the stranger waits on");
    // And a silent member.
    nodes.forget_what_was_told();
    nodes.ask(players[0], quick.clone());
    let found = proposal(&nodes, players[0]).unwrap();
    for player in [0, 2] {
        nodes.ask(players[player], Request::AnswerMatch { proposal: found, accept: true });
    }
    nodes.pass(Duration::from_secs(11));
    assert_eq!(nodes.closed(players[1]), [RequestError::MatchUnanswered]);
    assert_eq!(nodes.closed(players[0]), [RequestError::PartyRefused]);
    // All say yes, and the party is in one team.
    nodes.forget_what_was_told();
    (0..3).for_each(|index| nodes.worlds[0].ping(index));
    nodes.ask(players[0], quick);
    let found = proposal(&nodes, players[0]).unwrap();
    for player in &players[..3] {
        nodes.ask(*player, Request::AnswerMatch { proposal: found, accept: true });
    }
    let teams = nodes.fake(players[1]).told.iter().find_map(|told| match told {
        ToPlayer::Teams(Teams { teams, .. }) => Some(teams.clone()),
        _ => None,
    });
    let ids: Vec<PlayerId> = players[..2].iter().map(|player| nodes.id(*player)).collect();
    assert_eq!(teams.unwrap()[0], ids);
}

#[test]
fn of_a_partys_numbers_the_mean_counts() {
    let (mut nodes, players) = one_node(3);
    nodes.make_party(&players[..2]);
    let quick = |skill: i32| {
        let numbers = vec![NumberRule::new("skill", skill).within([20])];
        let rules = QuickRules { numbers, ..QuickRules::default() };
        Request::QuickMatch(QuickMatch { players: 3, rules, ..QuickMatch::default() })
    };
    let many = (0..9).map(|n| (n.to_string(), 1)).collect();
    let error = nodes.try_ask(players[1], party(PartyRequest::Numbers(many)));
    assert!(matches!(error, Err(RequestError::Malformed { .. })), "{error:?}");
    nodes.ask(players[1], party(PartyRequest::Numbers([("skill".into(), 1400)].into())));
    nodes.ask(players[0], quick(1000));
    nodes.ask(players[2], quick(1190));
    assert!(nodes.matched(players[1]).is_some(), "1000 and 1400 are like 1200");
}

#[test]
fn a_member_that_is_gone_is_waited_for_and_comes_back_by_its_ticket() {
    let (mut nodes, players) = one_node(3);
    nodes.make_party(&players);
    let ids: Vec<PlayerId> = players.iter().map(|player| nodes.id(*player)).collect();
    nodes.ask(players[0], Request::QuickMatch(wish(4)));
    nodes.log_out(players[0]);
    assert_eq!(nodes.closed(players[1]), [RequestError::PartyIncomplete { missing: 1 }]);
    let info = nodes.party(players[1]);
    assert_eq!((info.members[0].away, info.queued, info.leader()), (true, false, Some(ids[0])));
    nodes.pass(Duration::from_secs(30));
    let back = nodes.player(1, 0);
    assert_eq!(nodes.resume(back, players[0]), Ok(Response::Done));
    assert!(!nodes.party(players[1]).members[0].away);
    assert_eq!(nodes.members_of(back), ids);
    // Who is away for too long is out, and the next one leads.
    nodes.log_out(back);
    nodes.pass(Duration::from_secs(62));
    assert_eq!(nodes.members_of(players[1]), ids[1..]);
    let back = nodes.player(1, 0);
    assert_eq!(nodes.resume(back, players[0]), Err(RequestError::NoSuchParty));
}

#[test]
fn a_new_session_of_a_member_changes_nothing_for_the_others() {
    let (mut nodes, players) = one_node(4);
    nodes.make_party(&players[..2]);
    nodes.ask(players[0], Request::QuickMatch(wish(3)));
    for (secret, member) in [(2, players[1]), (1, players[0])] {
        let again = nodes.player(secret, 0);
        let info = nodes.party(again);
        assert_eq!((info.members.len(), info.queued), (2, true));
        assert!(nodes.closed(member).is_empty());
    }
    // The leader's agent asks again.
    let again = Player { node: 0, index: 5 };
    nodes.ask(again, Request::QuickMatch(wish(3)));
    assert_eq!(nodes.worlds[0].server.gauges().queued, 2);
    nodes.ask(players[2], Request::QuickMatch(wish(3)));
    assert!(nodes.matched(again).is_some() && nodes.matched(Player { node: 0, index: 4 }).is_some());
}

#[test]
fn a_server_that_was_restarted_makes_the_party_anew_and_the_newest_ticket_wins() {
    let (mut nodes, players) = one_node(3);
    nodes.make_party(&players);
    let ids: Vec<PlayerId> = players.iter().map(|player| nodes.id(*player)).collect();
    let old = (nodes.party_ticket(players[2]), nodes.party(players[2]).code);
    nodes.ask(players[0], party(PartyRequest::Kick { player: ids[2] }));
    nodes.worlds[0].restart();
    let again: Vec<Player> = (1..=3).map(|n| nodes.player(n, 0)).collect();
    // Who was put out is the first one to come.
    let (ticket, code) = old.clone();
    nodes.ask(again[2], party(PartyRequest::Resume { ticket, code }));
    assert_eq!(nodes.party(again[2]).members.iter().filter(|member| member.away).count(), 2);
    for n in [1, 0] {
        assert_eq!(nodes.resume(again[n], players[n]), Ok(Response::Done));
    }
    assert_eq!(nodes.members_of(again[0]), ids[..2]);
    assert!(nodes.party(again[0]).members.iter().all(|member| !member.away));
    let join = party(PartyRequest::Join { code: nodes.party(again[0]).code });
    assert_eq!(nodes.try_ask(again[2], join), Ok(Response::Done), "by the new code, if it is told");
    // A ticket is for those who are named in it, and not to be changed.
    let stranger = nodes.player(7, 0);
    let (ticket, code) = old;
    for (ticket, code) in [
        (ticket.clone(), code.clone()),
        (PartyTicket { members: vec![nodes.id(stranger)], ..ticket.clone() }, code),
        (ticket, "AAAAAAAAAA".into()),
    ] {
        let resume = party(PartyRequest::Resume { ticket, code });
        assert_eq!(nodes.try_ask(stranger, resume), Err(RequestError::BadTicket));
    }
}

#[test]
fn members_of_two_nodes_come_to_the_leaders() {
    let mut nodes = Nodes::new(2);
    let players = nodes.players(2);
    nodes.ask(players[0], party(PartyRequest::Create { most: 4 }));
    let code = nodes.party(players[0]).code;
    let join = party(PartyRequest::Join { code });
    let world = &mut nodes.worlds[players[1].node];
    let id = world.ask(players[1].index, join.clone());
    nodes.turn();
    assert_eq!(nodes.fake(players[1]).answer(id), None);
    assert!(nodes.is_sent(players[1]));
    let moved = nodes.player(2, 0);
    nodes.ask(moved, join);
    assert_eq!(nodes.members_of(players[0]).len(), 2);
    // Who comes to the other node with its ticket is sent back.
    let back = nodes.player(2, 1);
    let (ticket, code) = (nodes.party_ticket(moved), nodes.party(moved).code);
    nodes.worlds[1].ask(back.index, party(PartyRequest::Resume { ticket, code }));
    nodes.turn();
    assert!(nodes.is_sent(back));
}

#[test]
fn a_party_goes_as_a_whole_to_the_node_at_which_those_meet_who_want_the_same() {
    let mut nodes = Nodes::new(2);
    let players: Vec<Player> = (1..=3).map(|n| nodes.player(n, 0)).collect();
    nodes.make_party(&players);
    // For some modes the other node is the one.
    let mut sent = false;
    for n in 0..32 {
        let wanted = QuickMatch { mode: format!("mode {n}"), players: 4, ..QuickMatch::default() };
        nodes.ask(players[0], Request::QuickMatch(wanted.clone()));
        nodes.pass(Duration::from_secs(2));
        if !nodes.is_sent(players[0]) {
            nodes.ask(players[0], Request::LeaveQueue);
            continue;
        }
        sent = true;
        assert!(players.iter().all(|player| nodes.is_sent(*player)), "all of them");
        // There the leader asks again before all are back.
        let moved: Vec<Player> = (1..=3).map(|n| nodes.player(n, 1)).collect();
        for index in [1, 0] {
            assert_eq!(nodes.resume(moved[index], players[index]), Ok(Response::Done));
        }
        nodes.ask(moved[0], Request::QuickMatch(wanted.clone()));
        assert_eq!(nodes.worlds[1].server.gauges().queued, 0, "one is on its way");
        assert_eq!(nodes.resume(moved[2], players[2]), Ok(Response::Done));
        assert_eq!(nodes.worlds[1].server.gauges().queued, 3);
        let fourth = nodes.player(4, 1);
        nodes.ask(fourth, Request::QuickMatch(wanted));
        assert!(moved.iter().all(|player| nodes.matched(*player).is_some()));
        break;
    }
    assert!(sent, "32 modes of one node");
}

#[test]
fn a_party_that_does_not_get_together_in_time_hears_it() {
    let mut nodes = Nodes::new(1);
    let players = nodes.players(2);
    nodes.make_party(&players);
    nodes.log_out(players[1]);
    nodes.ask(players[0], Request::QuickMatch(wish(4)));
    assert!(nodes.party(players[0]).queued);
    nodes.pass(Duration::from_secs(16));
    assert_eq!(nodes.closed(players[0]), [RequestError::PartyIncomplete { missing: 1 }]);
    assert!(!nodes.party(players[0]).queued);
}

#[test]
fn the_news_of_a_party_that_changes_without_end_have_a_rate() {
    let (mut nodes, players) = one_node(2);
    nodes.make_party(&players);
    let before = nodes.party_news(players[1]).len();
    let mut refused = 0;
    for _ in 0..300 {
        refused += u32::from(nodes.try_ask(players[0], Request::QuickMatch(wish(4))).is_err());
        refused += u32::from(nodes.try_ask(players[0], Request::LeaveQueue).is_err());
    }
    let told = nodes.party_news(players[1]).len() - before;
    assert!(told <= 32, "{told} news of 600 changes, {refused} refused");
}
