//! Games and invites: made, pasted, followed to another lobby server and back, and what they never do.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Arc, Mutex};

use bevy_traversal::*;
use lobby_server::{LobbyServer, RunningServer, Settings, TokenCheck, TokenLogin};
use test_support::game::{Game, config, host, room, until};
use test_support::lobby;

fn made(host: &mut Game, request: MakeInvite) -> Invite {
    let before = host.all::<InviteMade>().len();
    host.write(request);
    until([host], "the invite is made", 5.0, |[host]| host.all::<InviteMade>().len() > before);
    host.all::<InviteMade>().pop().unwrap().invite
}

fn online_at(game: &Game, lobby: &RunningServer) -> bool {
    let key = lobby.public_key();
    matches!(game.resource::<LobbyLink>().state, LobbyState::Online { server_key, .. } if server_key == key)
}

fn connected(games: &mut [&mut Game; 2]) -> bool {
    games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
}

fn closed() -> RoomOptions {
    RoomOptions { password: Some("sesame".into()), auto_allow: false, ..room() }
}

#[test]
fn an_invite_leads_to_another_lobby_server_and_past_the_password_and_the_player_comes_home() {
    let (home, away) = (lobby(), lobby());
    let mut host = host(&away, closed());
    let invite = made(&mut host, MakeInvite::once());
    assert_eq!(invite.key(), away.public_key());
    let mut guest = Game::new(config(&home, "guest"));
    until([&mut guest], "the guest is at home", 5.0, |[guest]| online_at(guest, &home));
    guest.write(JoinInvite::from(invite.link("https://game.example/join")));
    until([&mut host, &mut guest], "both connect", 10.0, connected);
    assert!(online_at(&guest, &away));
    assert_eq!(guest.resource::<LobbyLink>().servers, [away.addresses().first[0].to_string()]);
    guest.write(LeaveRoom);
    until([&mut host, &mut guest], "the guest is at home again", 5.0, |[_, guest]| online_at(guest, &home));
    assert_eq!(guest.resource::<LobbyLink>().servers, [home.addresses().first[0].to_string()]);
}

#[test]
fn an_invite_into_a_party_leads_to_its_server_and_the_player_comes_home_when_the_party_is_left() {
    let (home, away) = (lobby(), lobby());
    let mut leader = Game::new(config(&away, "leader"));
    leader.write(CreateParty::default());
    until([&mut leader], "the party is there", 5.0, |[leader]| leader.resource::<CurrentParty>().0.is_some());
    let invite = leader.resource::<CurrentParty>().invite(leader.resource::<TraversalLink>()).unwrap();
    assert_eq!(invite.key(), away.public_key());
    let mut guest = Game::new(config(&home, "guest"));
    until([&mut guest], "the guest is at home", 5.0, |[guest]| online_at(guest, &home));
    guest.write(JoinParty { code: invite.link("https://game.example/party") });
    until([&mut leader, &mut guest], "both are in the party", 10.0, |games| {
        let members =
            |game: &Game| game.resource::<CurrentParty>().0.as_ref().map(|party| party.members.len());
        games.iter().all(|game| members(game) == Some(2))
    });
    assert!(online_at(&guest, &away));
    // A room there is left, and the party is not.
    guest.write(HostRoom(room()));
    until([&mut leader, &mut guest], "a room", 5.0, |[_, guest]| !guest.all::<RoomJoined>().is_empty());
    guest.write(LeaveRoom);
    let mut frames = 0;
    until([&mut leader, &mut guest], "it is left, and some frames pass", 5.0, |[_, guest]| {
        frames += u32::from(!guest.all::<RoomLeft>().is_empty());
        frames > 20
    });
    assert!(online_at(&guest, &away) && guest.resource::<CurrentParty>().0.is_some());
    guest.write(LeaveParty);
    until([&mut leader, &mut guest], "the guest is at home again", 5.0, |[_, guest]| online_at(guest, &home));
    // The party has another code when a member is put out, so a code may lead nowhere: home again, too.
    let old =
        PartyInvite::new(&away.addresses().first[0].to_string(), away.public_key(), "AAAAAAAAAA").unwrap();
    guest.write(JoinParty { code: old.to_string() });
    until([&mut guest], "there is no such party", 10.0, |[guest]| {
        let none = RequestFailure::Server(RequestError::NoSuchParty);
        guest.all::<RequestFailed>().iter().any(|failed| failed.error == none)
    });
    until([&mut guest], "the guest is at home once more", 5.0, |[guest]| online_at(guest, &home));
}

#[test]
fn an_invite_to_the_present_server_keeps_the_login() {
    let lobby = lobby();
    let mut host = host(&lobby, closed());
    let mut guest = Game::new(config(&lobby, "guest"));
    until([&mut guest], "the guest is on line", 5.0, |[guest]| online_at(guest, &lobby));
    let before = guest.resource::<LobbyLink>().player();
    let plain = made(&mut host, MakeInvite::default());
    assert_eq!(plain.token(), None);
    guest.write(JoinInvite::from(plain.to_string()));
    until([&mut host, &mut guest], "it allows nothing", 5.0, |[_, guest]| {
        !guest.all::<RequestFailed>().is_empty()
    });
    let allows = made(&mut host, MakeInvite::for_minutes(5));
    guest.write(JoinInvite::from(allows.short()));
    until([&mut host, &mut guest], "both connect", 10.0, connected);
    // The identity is a new one with each network thread here, so it is the same thread.
    assert_eq!(guest.resource::<LobbyLink>().player(), before);
}

#[test]
fn who_is_on_line_nowhere_is_led_to_the_server_of_the_invite() {
    let lobby = lobby();
    let mut host = host(&lobby, room());
    let invite = made(&mut host, MakeInvite::default());
    let config = TraversalConfig { lobby: Vec::new(), server_keys: Vec::new(), ..config(&lobby, "guest") };
    let mut guest = Game::new(config);
    guest.write(JoinInvite::from(invite.to_string()));
    until([&mut host, &mut guest], "both connect", 10.0, connected);
    guest.write(LeaveRoom);
    until([&mut host, &mut guest], "the guest is off line", 5.0, |[_, guest]| {
        guest.resource::<LobbyLink>().state == LobbyState::Offline
    });
}

#[test]
fn the_hosts_word_ends_an_invite() {
    let lobby = lobby();
    let mut host = host(&lobby, closed());
    let invite = made(&mut host, MakeInvite::for_minutes(5));
    host.write(RevokeInvites);
    until([&mut host], "the invites are over", 5.0, |[host]| !host.all::<InvitesRevoked>().is_empty());
    let mut guest = Game::new(config(&lobby, "guest"));
    guest.write(JoinInvite::from(invite.to_string()));
    until([&mut host, &mut guest], "the guest is told so", 5.0, |[_, guest]| {
        !guest.all::<RequestFailed>().is_empty()
    });
    let over = RequestFailure::Server(RequestError::InviteOver { why: InviteFault::Ended });
    assert_eq!(guest.all::<RequestFailed>()[0].error, over);
}

/// Keeps the tokens that players show.
struct Seen(Arc<Mutex<Vec<Vec<u8>>>>);

impl TokenCheck for Seen {
    fn check(&self, login: &TokenLogin<'_>) -> Result<(), String> {
        self.0.lock().unwrap().push(login.token.to_vec());
        Ok(())
    }
}

#[test]
fn a_server_that_an_invite_names_is_shown_no_token_and_the_games_own_is() {
    let serve = |seen: &Arc<Mutex<Vec<Vec<u8>>>>| {
        let settings = Settings {
            bind: vec!["127.0.0.1:0".parse().unwrap()],
            second_port: Some(0),
            no_http: true,
            ..Settings::default()
        };
        LobbyServer::new(settings).token_check(Box::new(Seen(seen.clone()))).spawn().unwrap()
    };
    let (at_home, elsewhere) = (Arc::default(), Arc::default());
    let (home, away) = (serve(&at_home), serve(&elsewhere));
    let mut host = host(&away, room());
    let invite = made(&mut host, MakeInvite::default());
    let config = TraversalConfig { token: b"a ticket".to_vec(), ..config(&home, "guest") };
    let mut guest = Game::new(config);
    guest.write(JoinInvite::from(invite.to_string()));
    until([&mut host, &mut guest], "both connect", 10.0, connected);
    guest.write(LeaveRoom);
    until([&mut host, &mut guest], "the guest is at home", 5.0, |[_, guest]| online_at(guest, &home));
    assert!(elsewhere.lock().unwrap().iter().all(Vec::is_empty), "{elsewhere:?}");
    assert_eq!(at_home.lock().unwrap().last().unwrap(), b"a ticket");
}

#[test]
fn an_invite_does_not_change_the_key_of_the_games_own_server() {
    let lobby = lobby();
    let mut guest = Game::new(config(&lobby, "guest"));
    let forged = Invite::new(&lobby.addresses().first[0].to_string(), [9; 32]).unwrap();
    guest.write(JoinInvite::from(forged.to_string()));
    until([&mut guest], "it is refused", 5.0, |[guest]| !guest.all::<RequestFailed>().is_empty());
    assert_eq!(guest.all::<RequestFailed>()[0].error, RequestFailure::Invite(InviteError::OtherKey));
    until([&mut guest], "the guest is on line as before", 5.0, |[guest]| online_at(guest, &lobby));
}

#[test]
fn another_server_in_the_place_of_an_invites_is_not_logged_in_to() {
    let (home, false_one) = (lobby(), lobby());
    let mut guest = Game::new(config(&home, "guest"));
    until([&mut guest], "the guest is at home", 5.0, |[guest]| online_at(guest, &home));
    let invite = Invite::new(&false_one.addresses().first[0].to_string(), [9; 32]).unwrap();
    guest.write(JoinInvite::from(invite.to_string()));
    until([&mut guest], "the key is wrong", 15.0, |[guest]| {
        let wrong = |failed: &LobbyFailed| failed.error == TraversalError::Lobby(LobbyError::WrongKey);
        guest.all::<LobbyFailed>().iter().any(wrong)
    });
}

#[test]
fn what_is_no_invite_and_where_there_is_no_room_is_told() {
    let lobby = lobby();
    let mut game = Game::new(config(&lobby, "a"));
    until([&mut game], "on line", 5.0, |[game]| online_at(game, &lobby));
    game.write(JoinInvite::from("K7PX2M"));
    game.write(MakeInvite::default());
    game.write(MakeInvite::once());
    game.write(RevokeInvites);
    until([&mut game], "four answers", 5.0, |[game]| game.all::<RequestFailed>().len() == 4);
    let answers: Vec<_> =
        game.all::<RequestFailed>().into_iter().map(|failed| (failed.request, failed.error)).collect();
    for expected in [
        (RequestKind::Join, RequestFailure::Invite(InviteError::NoKey)),
        (RequestKind::MakeInvite, RequestFailure::Invite(InviteError::NoRoom)),
        (RequestKind::MakeInvite, RequestFailure::Server(RequestError::NotInRoom)),
        (RequestKind::RevokeInvites, RequestFailure::Server(RequestError::NotInRoom)),
    ] {
        assert!(answers.contains(&expected), "{expected:?} in {answers:?}");
    }
}
