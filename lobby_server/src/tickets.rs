//! Tickets: expiring tokens that the game's own login service signs (JWT, RFC 7519), with a secret that it shares with this
//! server (HS256) or with a key whose public half this server has (Ed25519).
//!
//! The algorithm is the key's. What a ticket's header says about it is compared and nothing else, so nobody has a public key
//! taken for a secret, or a signature left out.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use traversal_core::text;
use traversal_core::wire::message::{LoginRefusal, TicketFault};
use traversal_udp::private;

use crate::tokens::{Admission, TokenCheck, TokenLogin};

/// So many keys may be good at a time: with two of them a service changes its key, and each may be tried for a ticket.
pub(crate) const MOST_KEYS: usize = 8;
/// A secret has so many bytes at the least (RFC 7518 section 3.2).
const SHORTEST_SECRET: usize = 32;
/// A key has at most this many bytes, and the file beside them the end of a line.
const LONGEST: u64 = 4096;
/// Clocks of two machines may differ by so many seconds, at the beginning of a ticket.
const LEEWAY_S: f64 = 60.0;

/// The key of a login service cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenKeyError {
    /// The file cannot be read.
    #[error("token key {} cannot be read", path.display())]
    File {
        /// This is the file.
        path: PathBuf,
        /// This is what the system said.
        source: io::Error,
    },
    /// It has a private key, which only the login service is to have.
    #[error(
        "token key {} is a private key: keep it at the login service, and give this server the public one \
         (openssl pkey -in PRIVATE.pem -pubout)", path.display()
    )]
    Private {
        /// This is the file.
        path: PathBuf,
    },
    /// It is longer than any key.
    #[error("token key {} is too long: a secret has from 32 to 4096 bytes (openssl rand -base64 32)", path.display())]
    TooLong {
        /// This is the file.
        path: PathBuf,
    },
    /// It is a PEM file of something else.
    #[error(
        "token key {} is no public key of Ed25519 in PEM (openssl genpkey -algorithm ed25519; openssl pkey -pubout)",
        path.display()
    )]
    NotEd25519 {
        /// This is the file.
        path: PathBuf,
    },
    /// A secret is so short that it can be guessed, or the file is none of a key.
    #[error(
        "token key {} has {length} bytes: a secret has from 32 to 4096 (openssl rand -base64 32)", path.display()
    )]
    Length {
        /// This is the file.
        path: PathBuf,
        /// It has so many bytes, without the end of its line.
        length: usize,
    },
}

/// This is one key of a login service.
struct TokenKey {
    /// Tickets name it so in `kid`: the file's name without its ending.
    name: String,
    key: DecodingKey,
    validation: Validation,
}

/// These are the keys of a game's login service: whoever has a ticket signed by one of them may log in.
pub struct Tickets {
    keys: Vec<TokenKey>,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").field("keys", &self.names()).finish()
    }
}

/// These are a ticket's claims.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    sub: Option<String>,
    game: Option<String>,
    aud: Option<Audience>,
    name: Option<String>,
    player: Option<String>,
    ban: Option<String>,
    ban_until: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Claims {
    /// Returns whether the ticket is for this game: `game` and `aud` say so, as many of them as there are, one at the least.
    fn is_for(&self, game: &str) -> bool {
        let audience = self.aud.as_ref().map(|audience| match audience {
            Audience::One(one) => one == game,
            Audience::Many(many) => many.iter().any(|one| one == game),
        });
        match (&self.game, audience) {
            (None, None) => false,
            (own, audience) => own.as_ref().is_none_or(|own| own == game) && audience.unwrap_or(true),
        }
    }
}

impl Tickets {
    /// Reads the keys in these files.
    ///
    /// # Errors
    /// See [`TokenKeyError`].
    pub fn read(paths: &[PathBuf]) -> Result<Self, TokenKeyError> {
        // Another crate of the same program may have chosen already, or would keep it from being known which it is.
        let _ = DEFAULT_PROVIDER.install_default();
        let keys = paths.iter().map(|path| TokenKey::read(path)).collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// Returns the names of the keys.
    pub fn names(&self) -> Vec<&str> {
        self.keys.iter().map(|key| key.name.as_str()).collect()
    }

    /// Returns what a ticket says that one of the keys has signed.
    fn claims(&self, ticket: &[u8]) -> Result<Claims, TicketFault> {
        if ticket.is_empty() {
            return Err(TicketFault::Missing);
        }
        let kid = decode_header(ticket).map_err(|_| TicketFault::Malformed)?.kid;
        let named = kid.and_then(|kid| self.keys.iter().find(|key| key.name == kid));
        let candidates = named.map_or(self.keys.as_slice(), std::slice::from_ref);
        let mut fault = TicketFault::Signature;
        for key in candidates {
            match decode(ticket, &key.key, &key.validation) {
                Ok(ticket) => return Ok(ticket.claims),
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => {}
                    _ => fault = TicketFault::Malformed,
                },
            }
        }
        Err(fault)
    }

    /// Checks a login so many seconds after the beginning of 1970.
    fn admit_at(&self, login: &TokenLogin<'_>, now_s: f64) -> Result<Admission, LoginRefusal> {
        let refuse = |fault| Err(LoginRefusal::Ticket { fault });
        let claims = match self.claims(login.token) {
            Ok(claims) => claims,
            Err(fault) => return refuse(fault),
        };
        tracing::debug!(sub = claims.sub, player = %login.player, "a ticket is signed");
        if !claims.is_for(login.game) {
            return refuse(TicketFault::OtherGame);
        }
        let of_another = |player: &String| !player.eq_ignore_ascii_case(&login.player.to_string());
        if claims.player.as_ref().is_some_and(of_another) {
            return refuse(TicketFault::OtherPlayer);
        }
        if claims.exp <= now_s {
            return refuse(TicketFault::Expired);
        }
        if [claims.nbf, claims.iat].into_iter().flatten().any(|begin| begin > now_s + LEEWAY_S) {
            return refuse(TicketFault::NotYet);
        }
        if let Some(reason) = &claims.ban {
            let left = claims.ban_until.map(|until| until - now_s);
            if left.is_none_or(|left| left > 0.0) {
                // `as` saturates, and what is cut off is less than a second.
                let left_s = left.map(|left| left as u64);
                return Err(LoginRefusal::Banned { reason: text::REASON.clean(reason), left_s });
            }
        }
        let Some(name) = claims.name.map(|name| text::NAME.clean(&name)) else {
            return Ok(Admission::default());
        };
        if name.is_empty() { refuse(TicketFault::Malformed) } else { Ok(Admission::named(name)) }
    }
}

impl TokenKey {
    fn read(path: &Path) -> Result<Self, TokenKeyError> {
        let bytes = private::read_at_most(path, LONGEST + 2).map_err(|source| match source.kind() {
            io::ErrorKind::FileTooLarge => TokenKeyError::TooLong { path: path.into() },
            _ => TokenKeyError::File { path: path.into(), source },
        })?;
        let is_pem = bytes.trim_ascii_start().starts_with(b"-----BEGIN");
        let (algorithm, key) = if is_pem {
            let text = String::from_utf8_lossy(&bytes);
            if text.contains("PRIVATE KEY-----") {
                return Err(TokenKeyError::Private { path: path.into() });
            }
            let key = DecodingKey::from_ed_pem(&bytes);
            (Algorithm::EdDSA, key.map_err(|_| TokenKeyError::NotEd25519 { path: path.into() })?)
        } else {
            let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
            if secret.len() < SHORTEST_SECRET || secret.len() as u64 > LONGEST {
                return Err(TokenKeyError::Length { path: path.into(), length: secret.len() });
            }
            if private::is_open_to_others(path).is_ok_and(|open| open) {
                tracing::warn!(
                    file = %path.display(),
                    "others on this machine can read the secret that tickets are signed with, and make some: chmod 600 FILE"
                );
            }
            (Algorithm::HS256, DecodingKey::from_secret(secret))
        };
        let mut validation = Validation::new(algorithm);
        // Times and games are looked at here, so that the player is told which of them it is.
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        validation.required_spec_claims.clear();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, key, validation })
    }
}

impl TokenCheck for Tickets {
    fn check(&self, login: &TokenLogin<'_>) -> Result<(), String> {
        self.admit(login).map(|_| ()).map_err(|refusal| refusal.to_string())
    }

    fn admit(&self, login: &TokenLogin<'_>) -> Result<Admission, LoginRefusal> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.admit_at(login, since.as_secs_f64())
    }
}

#[cfg(test)]
mod tests;
