//! One request to a device, by HTTP/1.1: bounded in time and in bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::time::timeout;

/// Slow devices take a second or two.
const PATIENCE: Duration = Duration::from_secs(4);
/// Descriptions have some kilobytes, the largest seen 30.
const MAX_BODY: usize = 256 * 1024;

/// This is what is asked for.
pub(super) enum Ask<'a> {
    Get,
    /// It is a SOAP action, with the header's value and the document.
    Post {
        action: &'a str,
        body: String,
    },
}

/// Returns the status and the text of the answer, in which bytes that are no UTF-8 are replaced. None: no answer. It
/// leaves from `local`: a machine with several addresses may have a port forwarded to the one that it asks from alone
/// (606, WANIPConnection:2, section 2.5.16).
pub(super) async fn request(
    local: Ipv4Addr,
    device: SocketAddr,
    path: &str,
    ask: Ask<'_>,
) -> Option<(u16, String)> {
    timeout(PATIENCE, exchange(local, device, path, ask)).await.ok().flatten()
}

async fn exchange(local: Ipv4Addr, device: SocketAddr, path: &str, ask: Ask<'_>) -> Option<(u16, String)> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((local, 0).into()).ok()?;
    let stream = socket.connect(device).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = match ask {
        Ask::Get => Request::get(path).body(Full::<Bytes>::default()),
        Ask::Post { action, body } => Request::post(path)
            .header("SOAPAction", action)
            .header(CONTENT_TYPE, "text/xml; charset=\"utf-8\"")
            .body(Full::from(body)),
    };
    let mut request = request.ok()?;
    request.headers_mut().insert(HOST, device.to_string().parse().ok()?);
    request.headers_mut().insert(CONNECTION, "close".parse().ok()?);
    let answer = async {
        let response = sender.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await.ok()?.to_bytes();
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    };
    // The connection runs beside the request, and ends with it.
    tokio::pin!(answer);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}
