//! Who checks the tokens of logins: this process at once, or somebody who is asked.

use std::time::Instant;

use traversal_core::wire::message::{LoginRefusal, MatchEnd};

use super::Server;
use crate::tokens::{Admission, NoVerdict, TokenCheck, TokenId, TokenQuestion, Tokens};

impl Server {
    /// Has every login's token checked, here and at once: for checks that wait for nothing.
    pub fn set_token_check(&mut self, check: Box<dyn TokenCheck>) {
        self.roster.check_tokens(Tokens::AtOnce(check));
    }

    /// Has every login's token checked by the driver, which takes the questions from
    /// [`poll_token_question`](Self::poll_token_question). Meanwhile everybody else is served.
    pub fn ask_about_tokens(&mut self) {
        self.roster.check_tokens(Tokens::Asked);
    }

    /// Returns the next question about a token; its answer comes back by
    /// [`handle_token_answer`](Self::handle_token_answer). Without one the player hears after three seconds that the
    /// token could not be checked.
    pub fn poll_token_question(&mut self) -> Option<TokenQuestion> {
        self.roster.pop_question()
    }

    /// Takes the answer to a question about a token: what follows from it, or why it is not good.
    pub fn handle_token_answer(
        &mut self,
        now: Instant,
        id: TokenId,
        answer: Result<Admission, LoginRefusal>,
    ) {
        self.cx.now = now;
        self.token_answered(id, answer.map_err(NoVerdict::Refused));
        self.settle();
    }

    pub(super) fn token_answered(&mut self, id: TokenId, answer: Result<Admission, NoVerdict>) {
        let Some(session) = self.roster.token_answered(&mut self.cx, id, answer) else { return };
        let (rooms, mut others) = self.split();
        rooms.end_session(&mut others, session, MatchEnd::Gone);
    }
}
