//! Asks a running server at its socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// An answer is waited for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server was asked in vain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "no lobby server listens at {}; start it with --admin-socket FILE, and say the same file here",
        path.display()
    )]
    Nobody {
        /// This is the file that was asked at.
        path: PathBuf,
    },
    /// The file is not for this user.
    #[error("{} is for the user of the lobby server, and for root", path.display())]
    NotAllowed {
        /// This is the file that was asked at.
        path: PathBuf,
    },
    /// The connection broke.
    #[error("the lobby server at {} does not answer", path.display())]
    Broken {
        /// This is the file that was asked at.
        path: PathBuf,
        /// This is what the system said.
        source: io::Error,
    },
    /// The server says no.
    #[error("{0}")]
    Refused(String),
}

/// Asks the server at this socket, with a body or without, and returns its answer.
///
/// # Errors
/// See [`AskError`].
pub fn ask(socket: &Path, path: &str, body: Option<&Value>) -> Result<Value, AskError> {
    let broken = |source| AskError::Broken { path: socket.into(), source };
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::Nobody { path: socket.into() }
        }
        io::ErrorKind::PermissionDenied => AskError::NotAllowed { path: socket.into() },
        _ => broken(error),
    })?;
    let (method, body) = body.map_or(("GET", String::new()), |body| ("POST", body.to_string()));
    let exchange = |stream: &mut UnixStream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: lobby_server\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, io::Error>(answer)
    };
    let answer = exchange(&mut stream).map_err(broken)?;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let value: Value = serde_json::from_str(text).map_err(|error| broken(error.into()))?;
    match value.get("error").and_then(Value::as_str) {
        Some(error) => Err(AskError::Refused(error.into())),
        None if head.starts_with("HTTP/1.1 200") => Ok(value),
        None => Err(AskError::Refused(head.lines().next().unwrap_or_default().into())),
    }
}
