//! What the game wants of the agent.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::{Agent, Command, Event, RequestFailure, RequestKind};
use crate::address::canonical;
use crate::lobby::start_countdown;
use crate::text;
use crate::wire::message::{CallRequest, InRoom, Request, RequestError, ToServer, checked_password};

impl Agent {
    /// Takes an input: the game wants something.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        self.detection.renew_when_due(&mut self.shared.cx(now));
        match command {
            Command::Connect(servers) => self.connect(now, servers),
            Command::ServersMoved(servers) => {
                let servers: Vec<SocketAddr> = servers.into_iter().map(canonical).collect();
                let cx = &mut self.shared.cx(now);
                cx.link.servers_moved(&mut cx.env, servers);
            }
            Command::KnowServers(mut servers) => {
                for address in servers.iter_mut().flat_map(|server| &mut server.addresses) {
                    *address = canonical(*address);
                }
                self.shared.link.know(servers);
            }
            Command::Disconnect => {
                self.leave_room(now, "left");
                self.close_all(now, "left");
                self.log_out(now);
            }
            Command::HostRoom(options) => {
                let request = options.checked().map(|options| Request::CreateRoom { options });
                self.ask(now, RequestKind::Host, request, Duration::ZERO);
            }
            Command::JoinRoom { target, password, wait } => {
                self.join_requested = Some((now, None));
                let target = target.checked().and_then(|target| Ok((target, checked_password(password)?)));
                let request = target.map(|(target, password)| Request::JoinRoom { target, password });
                self.ask(now, RequestKind::Join, request, wait);
            }
            Command::JoinInvited { code, token, wait } => {
                self.join_requested = Some((now, None));
                let code = text::CODE.clean(&code);
                self.ask(now, RequestKind::Join, Ok(Request::JoinInvited { code, token }), wait);
            }
            Command::MakeInvite(terms) => {
                self.ask(now, RequestKind::MakeInvite, Ok(Request::MakeInvite(terms)), Duration::ZERO);
            }
            Command::RevokeInvites => {
                self.ask(now, RequestKind::RevokeInvites, Ok(Request::RevokeInvites), Duration::ZERO);
            }
            Command::Spectate { target, password, wait } => self.spectate(now, (target, password), wait),
            Command::TakeSeat => self.ask(now, RequestKind::TakeSeat, Ok(Request::TakeSeat), Duration::ZERO),
            Command::ListBans => {
                self.ask(now, RequestKind::ListBans, Ok(Request::ListBans { after: None }), Duration::ZERO);
            }
            Command::LiftBan { player } => {
                self.ask(now, RequestKind::LiftBan, Ok(Request::LiftBan { player }), Duration::ZERO);
            }
            Command::LeaveRoom => self.leave(now),
            Command::ListRooms(query) => self.lobby.list(&mut self.shared.cx(now), query),
            Command::AnswerJoin { join, allow, reason } => {
                let reason = text::REASON.clean(&reason);
                self.tell_server(now, ToServer::JoinAnswer { join, allow, reason });
            }
            Command::Kick { player, reason, rejoin } => {
                let reason = text::REASON.clean(&reason);
                let kick = rejoin.checked().map(|rejoin| Request::Kick { player, reason, rejoin });
                self.ask(now, RequestKind::Kick, kick, Duration::ZERO);
            }
            Command::SetMetadata(metadata) => {
                let metadata = text::check_metadata(&metadata).map_err(RequestError::from);
                self.ask(now, RequestKind::SetMetadata, metadata.map(Request::SetMetadata), Duration::ZERO);
            }
            Command::ClosePeer { player, reason } => self.close_peer(now, player, &reason),
            Command::QuickMatch(wanted) => self.lobby.quick_match(&mut self.shared.cx(now), wanted),
            Command::CancelQuickMatch => self.lobby.cancel_quick_match(&mut self.shared.cx(now)),
            Command::SetContacts(list) => self.people.allow(&mut self.shared.cx(now), list),
            Command::SetStatus(status) => self.people.set_status(&mut self.shared.cx(now), status),
            Command::Call(player) => self.people.call(&mut self.shared.cx(now), player),
            Command::AnswerCall { call, answer } => {
                let request = CallRequest::Answer { call, answer };
                self.people.about_call(&mut self.shared.cx(now), RequestKind::AnswerCall, request);
            }
            Command::HangUp(call) => {
                let request = CallRequest::HangUp { call };
                self.people.about_call(&mut self.shared.cx(now), RequestKind::HangUp, request);
            }
            Command::Say { to, text } => self.say(now, to, text),
            Command::Report { player, text } => self.report(now, player, &text),
            Command::AnswerMatch { proposal, accept } => {
                self.lobby.answer_match(&mut self.shared.cx(now), proposal, accept);
            }
            Command::LocalAddresses(addresses) => self.set_local_addresses(now, addresses),
            Command::PortMapping(news) => self.mapping.set(&mut self.shared.cx(now), news),
            Command::WatchRooms { query, pause } => {
                self.lobby.watch_rooms(&mut self.shared.cx(now), query, pause);
            }
            Command::StopWatching => self.lobby.stop_watching(&mut self.shared.cx(now)),
            Command::Router(name) => self.detection.set_router(&mut self.shared.cx(now), name),
            Command::SetMember(changes) => self.in_room(now, RequestKind::SetMember, InRoom::Member(changes)),
            Command::SetProperties(changes) => {
                self.in_room(now, RequestKind::SetProperties, InRoom::Properties(changes));
            }
            Command::LockRoom(locked) => self.in_room(now, RequestKind::LockRoom, InRoom::Lock(locked)),
            Command::SetTeams(teams) => self.in_room(now, RequestKind::SetTeams, InRoom::Teams(teams)),
            Command::StartCountdown { after, rule } => {
                self.in_room(now, RequestKind::StartCountdown, start_countdown(after, rule));
            }
            Command::CancelCountdown => {
                self.in_room(now, RequestKind::CancelCountdown, InRoom::CancelCountdown { id: None });
            }
            Command::Backfill(wanted) => self.lobby.backfill(&mut self.shared.cx(now), wanted),
            Command::Party(request) => self.lobby.ask_party(&mut self.shared.cx(now), request),
            Command::HandOver { player } => {
                self.in_room(now, RequestKind::HandOver, InRoom::HandOver { player })
            }
        }
        self.show_mapping(now);
        self.sweep(now);
    }

    fn in_room(&mut self, now: Instant, kind: RequestKind, asked: InRoom) {
        self.lobby.ask_in_room(&mut self.shared.cx(now), kind, asked);
    }

    fn connect(&mut self, now: Instant, servers: Vec<SocketAddr>) {
        let servers: Vec<SocketAddr> = servers.into_iter().map(canonical).collect();
        self.leave_room(now, "left");
        self.log_out(now);
        let cx = &mut self.shared.cx(now);
        cx.link.connect(&mut cx.env, servers);
    }

    /// Ends the session with the server, and what depends on it.
    fn log_out(&mut self, now: Instant) {
        let mut cx = self.shared.cx(now);
        self.lobby.end_queue(&mut cx);
        self.lobby.forget_party(&mut cx);
        self.lobby.end_watch(&mut cx);
        self.detection.stop(&mut cx);
        self.mapping.stop(&mut cx);
        cx.link.disconnect(&mut cx.env);
    }

    /// Leaves the room, or takes back the request to enter one.
    fn leave(&mut self, now: Instant) {
        if self.lobby.room().is_some() {
            self.leave_room(now, "left");
        } else if self.lobby.cancel_entering() {
            // If the server lets this player in all the same, that is undone (see `LobbyNews::Unwanted`).
            self.close_all(now, "left");
        } else if self.lobby.give_up_seat(&mut self.shared.cx(now)) {
            // The others read that this player is out.
        } else {
            let error = RequestFailure::Server(RequestError::NotInRoom);
            self.shared.events.push_back(Event::RequestFailed { request: RequestKind::Leave, error });
        }
    }

    fn set_local_addresses(&mut self, now: Instant, mut addresses: Vec<IpAddr>) {
        addresses.iter_mut().for_each(|address| *address = address.to_canonical());
        addresses.sort_unstable();
        addresses.dedup();
        if addresses != self.shared.local {
            self.shared.local = addresses;
            self.mapping.network_changed(&mut self.shared.cx(now));
            self.register_addresses(now);
        }
    }

    /// What cannot be asked is refused at once, for the reason that the server would have.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        kind: RequestKind,
        request: Result<Request, RequestError>,
        wait: Duration,
    ) {
        let mut cx = self.shared.cx(now);
        match request {
            Ok(request) => _ = self.lobby.ask(&mut cx, kind, request, wait),
            Err(error) => {
                cx.emit(Event::RequestFailed { request: kind, error: RequestFailure::Server(error) });
            }
        }
    }

    pub(super) fn register_addresses(&mut self, now: Instant) {
        if self.shared.config.lan && self.shared.config.relay != crate::RelayPolicy::Only {
            let endpoints = self.shared.cx(now).local_endpoints();
            self.tell_server(now, ToServer::LocalAddresses(endpoints));
        }
        // The NAT may be another one now.
        self.shared.link.check_now(now);
        self.detection.start(&mut self.shared.cx(now));
        self.handle_timeout(now);
    }
}
