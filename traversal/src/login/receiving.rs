//! What comes from the server: handshakes go to the login under way, sealed datagrams to the session.

use super::{LinkEvent, ProbeSeen, ServerLink, State};
use crate::api::{Event, LobbyError};
use crate::env::Env;
use crate::way::Way;
use crate::wire::handshake::parse_unknown_session;
use crate::wire::message::{Farewell, Frame, LoginRefusal, ToPlayer};
use crate::wire::secret::same;
use crate::wire::{Dropped, Kind};

impl ServerLink {
    /// Takes a datagram that only the server can mean.
    pub(crate) fn handle_datagram(
        &mut self,
        env: &mut Env<'_>,
        way: Way,
        datagram: &[u8],
    ) -> Result<Option<LinkEvent>, Dropped> {
        if way.is_stream() && self.stream.to() != Some(way.remote) {
            return Err(Dropped::Unknown);
        }
        match (&mut self.state, Kind::of(datagram)) {
            (State::Shaking(_), _) => self.handle_handshake(env, way, datagram),
            (State::Online(online), Some(Kind::Refuse)) => {
                // Whoever sees the session's number could say so; the token, only the server.
                let said = parse_unknown_session(datagram).filter(|(id, _)| *id == online.session.id());
                if online.uplink() == way
                    && said.is_some_and(|(_, token)| same(&token, &online.welcome.reset))
                {
                    return Ok(self.lost(env, LobbyError::Lost));
                }
                Err(Dropped::Unknown)
            }
            (State::Online(online), Some(kind @ (Kind::Control | Kind::Probe))) => {
                let frame = online.session.handle(env.now, datagram)?;
                let challenge = matches!(frame, Some(Frame::PathChallenge { .. }));
                let moved_there = kind == Kind::Control && !challenge;
                // What comes in the other family says nothing about the way in use.
                let of_family = way.remote.is_ipv4() == online.server.is_ipv4();
                if of_family && online.heard(env, &mut self.stream, way, moved_there) {
                    self.blocked = way.is_stream();
                    self.moved = true;
                }
                let event = match frame {
                    None => None,
                    Some(frame) if !of_family => {
                        online.handle_other(env, way, frame);
                        None
                    }
                    Some(frame) => self.handle_frame(env, way, frame),
                };
                self.drain(env);
                Ok(event)
            }
            _ => Err(Dropped::Unknown),
        }
    }

    fn handle_frame(
        &mut self,
        env: &mut Env<'_>,
        Way { socket, remote: from }: Way,
        frame: Frame<ToPlayer>,
    ) -> Option<LinkEvent> {
        let State::Online(online) = &mut self.state else { return None };
        match frame {
            Frame::Reliable { body, .. } => return Some(LinkEvent::Message(body)),
            Frame::ProbeSeen { tag, observed } => {
                let seen = ProbeSeen { observed, report: None };
                return Some(LinkEvent::ProbeSeen { tag, seen, from });
            }
            Frame::PortSeen { tag, report } => {
                let seen = ProbeSeen { observed: report.observed, report: Some(report) };
                return Some(LinkEvent::ProbeSeen { tag, seen, from });
            }
            Frame::MappedPortSeen { port, token } => {
                return Some(LinkEvent::MappedPortSeen { port, token, from });
            }
            Frame::Knock { tag } => return Some(LinkEvent::Knock { tag, socket }),
            Frame::Goodbye { reason, why } => {
                let error = match why {
                    Farewell::Leaving => {
                        let server = online.server;
                        self.pass_over(server);
                        return self.lost(env, LobbyError::Stopped { reason });
                    }
                    Farewell::Token => LobbyError::Refused(LoginRefusal::Token { reason }),
                    Farewell::Replaced => LobbyError::Replaced,
                    Farewell::PutOut => LobbyError::PutOut { reason },
                };
                self.give_up(env, error);
                return Some(LinkEvent::Lost);
            }
            Frame::Ping { id } => {
                let observed = online.server;
                online.session.send_once(env.now, &Frame::Pong { id, observed });
            }
            Frame::PathChallenge { token } => online.prove(env, socket, token),
            Frame::Pong { id, observed } => {
                online.ponged(env.now, id);
                if observed == online.public {
                    return None;
                }
                // Another address: another network, or another router in it.
                self.moved |= observed.ip() != online.public.ip();
                online.public = observed;
                let state = online.lobby_state(env.identity);
                env.emit(Event::Lobby(state));
            }
            Frame::Ack { .. } | Frame::PathResponse { .. } | Frame::Probe(_) => {}
        }
        None
    }
}
