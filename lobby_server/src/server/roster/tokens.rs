//! Tokens that somebody outside is asked about, while everybody else is served.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use traversal_core::id::PlayerId;
use traversal_core::text;
use traversal_core::wire::handshake::PendingLogin;
use traversal_core::wire::message::{Farewell, Frame, LoginRefusal};

use super::login::refuse;
use super::{Context, Roster};
use crate::ids::SessionId;
use crate::server::refusals::Refusal;
use crate::server::sockets::{Incoming, Route};
use crate::server::timers::Timer;
use crate::tokens::{Admission, NoVerdict, TokenId, TokenQuestion, TokenStep};

/// An answer may take so long. A player waits for a login for four seconds by default, and has to hear of it.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many logins may wait for an answer: they take some 3 kB each.
const MOST_ASKED: usize = 1024;
/// What a player is told whose token, which was good, could not be used up.
const NOT_SPENT: &str = "the login service did not answer";

/// These questions were asked and not answered yet.
#[derive(Debug, Default)]
pub(super) struct AskedTokens {
    waiting: BTreeMap<TokenId, Asked>,
    /// The inits of those who wait, by their hashes.
    inits: BTreeSet<[u8; 32]>,
    questions: VecDeque<TokenQuestion>,
    next: u64,
}

#[derive(Debug)]
enum Asked {
    /// Whether a player may log in.
    Login {
        route: Route,
        init: [u8; 32],
        pending: Box<PendingLogin>,
        /// Its init had so many bytes: the answer has no more.
        bytes: usize,
    },
    /// Whether the token of this session could be used up.
    Spend(SessionId),
}

impl AskedTokens {
    /// Returns whether this init is of a player who waits for an answer.
    pub(super) fn has_login(&self, init: &[u8; 32]) -> bool {
        self.inits.contains(init)
    }
}

/// Has a player go by the name that its token says.
pub(super) fn rename(pending: &mut PendingLogin, admission: Admission) {
    if let Some(name) = admission.name {
        pending.login.name = text::NAME.clean(&name);
    }
}

impl Roster {
    /// Returns the next question for the driver.
    pub(crate) fn pop_question(&mut self) -> Option<TokenQuestion> {
        self.asked.questions.pop_front()
    }

    fn ask(
        &mut self,
        cx: &mut Context,
        asked: Asked,
        step: TokenStep,
        (game, player, name, address, token): (String, PlayerId, String, IpAddr, Vec<u8>),
    ) {
        self.asked.next += 1;
        let id = TokenId(self.asked.next);
        let token = token.into();
        self.asked.questions.push_back(TokenQuestion { id, step, game, player, name, address, token });
        self.asked.waiting.insert(id, asked);
        cx.timers.set(Timer::Token(id), Some(cx.now + PATIENCE));
    }

    /// Has a player wait until it is known whether its token is good.
    pub(super) fn ask_about_login(
        &mut self,
        cx: &mut Context,
        route: Route,
        init: [u8; 32],
        pending: PendingLogin,
    ) {
        if self.asked.waiting.len() >= MOST_ASKED {
            return refuse(cx, route, pending, LoginRefusal::Unchecked);
        }
        let login = &pending.login;
        let about =
            (login.game.clone(), pending.player, login.name.clone(), route.peer.ip(), login.token.clone());
        self.asked.inits.insert(init);
        let bytes = cx.incoming.bytes;
        let asked = Asked::Login { route, init, pending: Box::new(pending), bytes };
        self.ask(cx, asked, TokenStep::Check, about);
    }

    /// Has the token of a player used up who has proven to be there.
    pub(super) fn ask_to_spend(
        &mut self,
        cx: &mut Context,
        id: SessionId,
        about: (String, PlayerId, String, IpAddr, Vec<u8>),
    ) {
        self.ask(cx, Asked::Spend(id), TokenStep::Spend, about);
    }

    /// Takes an answer, or that there was none in time. Returns the session that is over by it.
    pub(crate) fn token_answered(
        &mut self,
        cx: &mut Context,
        id: TokenId,
        answer: Result<Admission, NoVerdict>,
    ) -> Option<SessionId> {
        cx.timers.set(Timer::Token(id), None);
        match (self.asked.waiting.remove(&id)?, answer) {
            (Asked::Login { route, init, mut pending, bytes }, answer) => {
                self.asked.inits.remove(&init);
                cx.incoming = Incoming { bytes, ..Incoming::default() };
                match answer {
                    _ if cx.is_closing() => refuse(cx, route, *pending, LoginRefusal::Stopping),
                    Ok(admission) => {
                        rename(&mut pending, admission);
                        self.admit_if_there_is_room(cx, route, init, *pending);
                    }
                    Err(NoVerdict::Refused(refusal)) => refuse(cx, route, *pending, refusal),
                    Err(NoVerdict::TooLate) => refuse(cx, route, *pending, LoginRefusal::Unchecked),
                }
                cx.incoming = Incoming::default();
                None
            }
            (Asked::Spend(_), Ok(_)) => None,
            (Asked::Spend(session), Err(why)) => {
                self.client(session)?;
                let reason = match why {
                    NoVerdict::Refused(LoginRefusal::Token { reason }) => reason,
                    NoVerdict::Refused(other) => other.to_string(),
                    NoVerdict::TooLate => NOT_SPENT.into(),
                };
                self.dismiss(cx, session, &reason);
                Some(session)
            }
        }
    }

    /// Tells a player whose session has begun that its token is not taken.
    pub(super) fn dismiss(&mut self, cx: &mut Context, id: SessionId, reason: &str) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        cx.counters.logins_refused += 1;
        cx.counters.refuse(Refusal::LoginToken);
        tracing::debug!(player = %client.player, reason, "token refused");
        let reason = text::REASON.clean(reason);
        client.session.send_once(cx.now, &Frame::Goodbye { reason, why: Farewell::Token });
        self.hand_over_datagrams(cx, id);
    }
}
