//! What an operator asks of a running server, and has it do: a JSON API over HTTP, at a Unix socket that only the server's
//! user and root may open. `lobby_server admin` is its client.
//!
//! Each connection carries one request, with a deadline and a bound on its size, and is dealt with by a thread that waits for
//! nobody. What changes something is logged.

pub mod client;
mod requests;
mod socket;

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::time::timeout;

use crate::bans::BansFile;
use crate::status::{Handle, STATUS_WAIT};
use requests::Refused;

/// The service of systemd that comes with the server has its socket here.
pub const SERVICE_SOCKET: &str = "/run/lobby_server/admin.sock";
/// What can be asked, in OpenAPI's words.
const OPENAPI: &str = include_str!("admin/openapi.json");
/// A request may take so long, with its answer.
const WHOLE: Duration = Duration::from_secs(10);
/// A request's body may have so many bytes: an announcement has 800.
const MAX_BODY: usize = 16 * 1024;
/// The server waits so long after the system had no room for another connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// So many requests are dealt with at a time; others wait.
const AT_A_TIME: u32 = 8;
/// The end of the server waits so long for answers that are on their way.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {}{}", path.display(), advice(.source))]
pub struct AdminError {
    /// This is the file of the socket.
    pub path: PathBuf,
    /// This is what the system said.
    #[source]
    pub source: io::Error,
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "; another lobby server listens there: choose another file with --admin-socket"
        }
        io::ErrorKind::NotFound => "; its folder does not exist",
        io::ErrorKind::AlreadyExists => "; there is a file that is no socket",
        _ => "",
    }
}

/// This thread answers; it ends, and its socket goes, when this is dropped.
pub(crate) struct Admin {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// `bans`: they are kept there.
    pub(crate) fn start(path: &Path, handle: Handle, bans: Option<BansFile>) -> Result<Self, AdminError> {
        let error = |source| AdminError { path: path.into(), source };
        let listener = socket::listen(path).map_err(error)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(error)?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::from_std(listener).map_err(error)?
        };
        let served = Arc::new(Served { handle, bans: Mutex::new(bans) });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("lobby_admin".into())
            .spawn(move || {
                let places = Arc::new(Semaphore::new(AT_A_TIME as usize));
                let accepting = runtime.spawn(accept(listener, served, Arc::clone(&places)));
                runtime.block_on(async {
                    let _ = stopped.await;
                    accepting.abort();
                    // Who has the server end reads that it does.
                    let _ = timeout(LAST_ANSWERS, places.acquire_many(AT_A_TIME)).await;
                });
            })
            .map_err(error)?;
        Ok(Self { path: path.into(), stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// This is what requests are about.
struct Served {
    handle: Handle,
    /// Whoever changes them has this until they are written, so that what is written is the newest.
    bans: Mutex<Option<BansFile>>,
}

async fn accept(listener: UnixListener, served: Arc<Served>, places: Arc<Semaphore>) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let served = Arc::clone(&served);
                tokio::spawn(async move {
                    serve(stream, served).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "accepting a connection of an operator failed");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Takes one request, gives one answer, and ends.
async fn serve(stream: UnixStream, served: Arc<Served>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let served = Arc::clone(&served);
        async move {
            let (status, body) = match answer(request, &served).await {
                Ok(value) => (StatusCode::OK, value),
                Err(Refused { status, text }) => (status, json!({ "error": text })),
            };
            let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
            *response.status_mut() = status;
            let kind = hyper::header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(WHOLE)
        .keep_alive(false)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    if !matches!(timeout(WHOLE, connection).await, Ok(Ok(()))) {
        tracing::debug!("a connection of an operator broke");
    }
}

async fn answer(request: Request<Incoming>, served: &Served) -> Result<Value, Refused> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/openapi.json" && head.method == Method::GET {
        return serde_json::from_str(OPENAPI).map_err(|error| Refused::bad(error.to_string()));
    }
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|_| Refused::bad(format!("a body has at most {MAX_BODY} bytes")))?.to_bytes();
    let asked = requests::Asked::read(&head.method, head.uri.path(), &body)?;
    let changes_bans = asked.changes_bans();
    let file = if changes_bans { Some(served.bans.lock().await) } else { None };
    let (reply, answered) = oneshot::channel();
    served.handle.have(move |server, now| {
        let answer = asked.carry_out(server, now);
        let bans = (changes_bans && answer.is_ok()).then(|| server.core().bans().clone());
        drop(reply.send(answer.map(|answer| (answer, bans))));
    });
    let silent =
        || Refused { status: StatusCode::SERVICE_UNAVAILABLE, text: "the server does not answer".into() };
    let answered = timeout(STATUS_WAIT, answered).await.ok().and_then(Result::ok);
    let (answer, bans) = answered.unwrap_or_else(|| Err(silent()))?;
    if let Some((file, bans)) = file.as_ref().and_then(|file| file.as_ref()).zip(bans) {
        file.write(&bans).map_err(|error| {
            tracing::error!(%error, "the bans cannot be kept");
            let text = format!("it holds, but is forgotten when the server ends: the file of bans cannot be written ({error})");
            Refused { status: StatusCode::INTERNAL_SERVER_ERROR, text }
        })?;
    }
    Ok(answer)
}
