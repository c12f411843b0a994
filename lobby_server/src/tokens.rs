//! The operator's own check of tokens, and the threads that it runs in.
//!
//! A check may look into a database or ask another server, which takes its time. So it never runs in the thread that serves
//! the players: [`Checkers`] has some for it.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;
use traversal_core::Secret;
use traversal_core::id::PlayerId;
use traversal_core::text;
use traversal_core::wire::message::LoginRefusal;

/// So many checks run at a time; who waits for another server waits, and does not compute.
const THREADS: usize = 16;
/// So many more may wait for a thread.
const WAITING: usize = 1024;

/// This is a login whose token is to be checked.
#[derive(Clone, Copy)]
pub struct TokenLogin<'a> {
    /// The player wants to play this game.
    pub game: &'a str,
    /// The player has proven to have this id.
    pub player: PlayerId,
    /// It goes by this name.
    pub name: &'a str,
    /// It comes from this address.
    pub address: IpAddr,
    /// This is its token, as the game gave it.
    pub token: &'a [u8],
}

/// This is what follows from a token that is good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admission {
    /// The player goes by this name, whatever its game says; none: by the one that its game says.
    pub name: Option<String>,
}

impl Admission {
    /// Has the player go by this name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()) }
    }
}

/// Checks the token of a login. It may take its time, up to three seconds: it has a thread of its own, of which there are
/// some, so that it is called for several players at once.
pub trait TokenCheck: Send + Sync {
    /// Checks whether this player may log in. It is to change nothing: a copy of a login, sent by somebody else,
    /// comes here too.
    ///
    /// # Errors
    /// Why not, for the player to read.
    fn check(&self, login: &TokenLogin<'_>) -> Result<(), String>;

    /// Checks the same, and says what else follows from the token. The server asks this; it calls [`check`](Self::check)
    /// where it is not written anew.
    ///
    /// # Errors
    /// Why not, for the player's game to tell by its kind.
    fn admit(&self, login: &TokenLogin<'_>) -> Result<Admission, LoginRefusal> {
        let refused = |reason: String| LoginRefusal::Token { reason: text::REASON.clean(&reason) };
        self.check(login).map(|()| Admission::default()).map_err(refused)
    }

    /// The player has proven to be there: a token that serves once is used up here, and no sooner. The player is in already;
    /// it is put out again where this fails.
    ///
    /// # Errors
    /// Why not, for the player to read: its session ends.
    fn spend(&self, login: &TokenLogin<'_>) -> Result<(), String> {
        let _ = login;
        Ok(())
    }
}

/// This names a question about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub u64);

/// This is what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStep {
    /// Whether the player may log in ([`TokenCheck::check`]).
    Check,
    /// To use its token up ([`TokenCheck::spend`]).
    Spend,
}

/// This is a question about a player's token. Its fields are those of [`TokenLogin`].
#[derive(Clone, Debug)]
pub struct TokenQuestion {
    /// The answer names it.
    pub id: TokenId,
    /// This is what is asked.
    pub step: TokenStep,
    /// The player wants to play this game.
    pub game: String,
    /// The player has this id.
    pub player: PlayerId,
    /// It goes by this name.
    pub name: String,
    /// It comes from this address.
    pub address: IpAddr,
    /// This is its token.
    pub token: Secret<Vec<u8>>,
}

impl TokenQuestion {
    fn answer(&self, check: &dyn TokenCheck) -> Result<Admission, LoginRefusal> {
        let login = TokenLogin {
            game: &self.game,
            player: self.player,
            name: &self.name,
            address: self.address,
            token: &self.token,
        };
        match self.step {
            TokenStep::Check => check.admit(&login),
            TokenStep::Spend => check
                .spend(&login)
                .map(|()| Admission::default())
                .map_err(|reason| LoginRefusal::Token { reason: text::REASON.clean(&reason) }),
        }
    }
}

/// Who checks tokens.
pub(crate) enum Tokens {
    /// Everybody may log in.
    Nobody,
    /// A check that waits for nothing.
    AtOnce(Box<dyn TokenCheck>),
    /// The driver is asked.
    Asked,
}

/// Why a token was not found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoVerdict {
    /// It is not; the player reads why.
    Refused(LoginRefusal),
    /// Nobody said so in time.
    TooLate,
}

/// These are the threads in which tokens are checked. They end when this is dropped, each after its last answer.
pub(crate) struct Checkers {
    questions: SyncSender<TokenQuestion>,
    answers: Receiver<(TokenId, Result<Admission, LoginRefusal>)>,
}

impl Checkers {
    pub(crate) fn start(check: Box<dyn TokenCheck>, waker: &Arc<Waker>) -> std::io::Result<Self> {
        let check: Arc<dyn TokenCheck> = check.into();
        let (questions, asked) = sync_channel::<TokenQuestion>(WAITING);
        let (answer, answers) = channel();
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..THREADS {
            let (check, asked) = (Arc::clone(&check), Arc::clone(&asked));
            let (answer, waker): (Sender<_>, _) = (answer.clone(), Arc::clone(waker));
            let work = move || {
                loop {
                    let question = asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(question) = question else { return };
                    let said = catch_unwind(AssertUnwindSafe(|| question.answer(&*check)));
                    let said = said.unwrap_or_else(|_| {
                        Err(LoginRefusal::Token { reason: "the login service failed".into() })
                    });
                    if answer.send((question.id, said)).is_err() {
                        return;
                    }
                    // Where it fails the server ends.
                    let _ = waker.wake();
                }
            };
            std::thread::Builder::new().name("lobby_tokens".into()).spawn(work)?;
        }
        Ok(Self { questions, answers })
    }

    /// Has a question answered. Where too many wait already it is not, and the player hears so when its time is over.
    pub(crate) fn ask(&self, question: TokenQuestion) {
        if self.questions.try_send(question).is_err() {
            tracing::warn!("more logins wait for the check of their tokens than there is room for");
        }
    }

    /// Returns an answer that has come.
    pub(crate) fn answer(&self) -> Option<(TokenId, Result<Admission, LoginRefusal>)> {
        self.answers.try_recv().ok()
    }
}
