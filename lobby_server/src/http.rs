//! Health, metrics and a small status page.
//!
//! They are served by a thread of their own that waits for nobody: each connection carries one request without a body,
//! has a deadline, and gives way to newer ones when there are too many. The game's thread is asked how it is a few times
//! a second at the most, however many want to know.

mod live;
mod metrics;
mod page;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex as Shared};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use traversal_udp::Episode;

use crate::status::{Handle, STATUS_WAIT, Status};
use crate::watch::{Seen, look};
use metrics::Format;
use page::PAGE;

/// So many connections are served at a time: a few scrapers and people who look.
pub(crate) const MAX_CONNECTIONS: usize = 64;
/// The head of a request may take so long. Prometheus itself waits 10 s for an answer (`scrape_timeout`).
const HEAD: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(10);
/// A request's head may have so many bytes.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// The server waits so long after the system had no room for another connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// An answer of the game's thread serves everybody who asks within this time.
const FRESH: Duration = Duration::from_millis(50);

/// The status page cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve HTTP on {address}{}", advice(.source, .address))]
pub struct HttpError {
    /// This is the address that was asked of the system.
    pub address: SocketAddr,
    /// This is what the system said.
    #[source]
    pub source: std::io::Error,
}

fn advice(source: &std::io::Error, address: &SocketAddr) -> String {
    if source.kind() == std::io::ErrorKind::AddrInUse {
        let other = SocketAddr::new(address.ip(), 0);
        format!(
            "; the port is in use, perhaps by another lobby_server: choose another with --http {other}, or \
             switch it off with --no-http"
        )
    } else {
        String::new()
    }
}

/// This thread answers; it ends when this is dropped.
pub(crate) struct Http {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Http {
    pub(crate) fn start(
        address: SocketAddr,
        handle: Handle,
        seen: Arc<Shared<Seen>>,
    ) -> Result<Self, HttpError> {
        let error = |source| HttpError { address, source };
        let listener = TcpListener::bind(address).map_err(error)?;
        listener.set_nonblocking(true).map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(error)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(error)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("lobby_http".into())
            .spawn(move || {
                runtime.spawn(accept(listener, Arc::new(Answers::new(handle, seen))));
                // Whatever still runs then is dropped with the runtime: it waits for nothing but sockets.
                let _ = runtime.block_on(stopped);
            })
            .map_err(error)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, answers: Arc<Answers>) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    let mut errors = Episode::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Only this one is lost.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                if errors.begins(Instant::now()) {
                    tracing::debug!(%error, "accepting a connection for HTTP failed");
                }
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
            // It goes in its next turn, and gives its file descriptor back.
            tokio::task::yield_now().await;
        }
        open.push_back(tokio::spawn(serve(stream, Arc::clone(&answers))).abort_handle());
    }
}

/// Takes one request, gives one answer, and ends.
async fn serve(stream: TcpStream, answers: Arc<Answers>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(answer(&request, &answers).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        // Whoever has said all may still want to hear.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(WHOLE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection broke"),
        Err(_) => tracing::debug!("an HTTP connection took too long"),
    }
}

/// This is what is shown: one answer of the game's thread, and what was seen beside.
struct Shown {
    status: Status,
    seen: Seen,
}

/// This keeps the last answer of the game's thread: one task asks for all that wait.
struct Answers {
    handle: Handle,
    seen: Arc<Shared<Seen>>,
    last: Mutex<Option<(Instant, Option<Arc<Shown>>)>>,
}

impl Answers {
    fn new(handle: Handle, seen: Arc<Shared<Seen>>) -> Self {
        Self { handle, seen, last: Mutex::new(None) }
    }

    /// Asks the server how it is; `None`: it does not answer.
    async fn get(&self) -> Option<Arc<Shown>> {
        let mut last = self.last.lock().await;
        if let Some((at, shown)) = &*last
            && at.elapsed() < FRESH
        {
            return shown.clone();
        }
        let (reply, answer) = oneshot::channel();
        self.handle.ask(move |status| drop(reply.send(status)));
        let status = timeout(STATUS_WAIT, answer).await.ok().and_then(Result::ok);
        let shown = status.map(|status| Arc::new(Shown { status, seen: look(&self.seen) }));
        *last = Some((Instant::now(), shown.clone()));
        shown
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

async fn answer(request: &Request<Incoming>, answers: &Answers) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "there is only GET\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    // It is never read: the connection ends with this answer.
    if !request.body().is_end_stream() {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "a request has no body here\n");
    }
    let path = request.uri().path();
    if path == "/" {
        // It shows by itself that the server does not answer.
        return page();
    }
    if !matches!(path, "/health" | "/ready" | "/metrics" | "/status.json" | "/history.json") {
        return text(
            StatusCode::NOT_FOUND,
            "not found; there are /, /health, /ready, /metrics, /status.json and /history.json\n",
        );
    }
    let Some(shown) = answers.get().await else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the server does not answer\n");
    };
    match path {
        "/health" => text(StatusCode::OK, "ok\n"),
        "/ready" if shown.status.takes_players => text(StatusCode::OK, "ready\n"),
        "/ready" => {
            text(StatusCode::SERVICE_UNAVAILABLE, "takes no new players: it is full, or about to end\n")
        }
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
            let format = Format::accepted_by(accept);
            let metrics = metrics::metrics(format, &shown.status, &shown.seen);
            response(StatusCode::OK, format.content_type(), metrics.into())
        }
        "/history.json" => response(StatusCode::OK, JSON, live::history(&shown.seen).into()),
        _ => response(StatusCode::OK, JSON, live::status(&shown.status, &shown.seen).into()),
    }
}

/// Gives the status page, with what browsers are to let it do.
fn page() -> Response<Full<Bytes>> {
    let html = Bytes::from_static(PAGE.html.as_bytes());
    let mut response = response(StatusCode::OK, "text/html; charset=utf-8", html);
    let headers = response.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(policy) = HeaderValue::from_str(&PAGE.policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    response(status, TEXT, Bytes::from_static(body.as_bytes()))
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
