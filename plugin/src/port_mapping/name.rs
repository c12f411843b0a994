//! What the router calls itself, from its UPnP device description (M38).

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use traversal_core::{RouterName, text};

/// A router answers on its own network. It is only a hint, and a late one is of no use.
const PATIENCE: Duration = Duration::from_secs(2);
/// Descriptions have some kilobytes.
const MAX_BODY: usize = 64 * 1024;

/// Asks for the description at this path. The address is the one that the search found.
pub(super) async fn ask(router: SocketAddr, path: &str) -> Option<RouterName> {
    let name = timeout(PATIENCE, fetch(router, path)).await.ok().flatten()?;
    bevy_log::debug!("the router calls itself {name:?}");
    Some(name)
}

async fn fetch(router: SocketAddr, path: &str) -> Option<RouterName> {
    let stream = TcpStream::connect(router).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header(HOST, router.to_string()).body(Empty::<Bytes>::new()).ok()?;
    let response = sender.send_request(request).await.ok().filter(|response| response.status().is_success());
    let body = match response {
        Some(response) => Limited::new(response.into_body(), MAX_BODY).collect().await.ok(),
        None => None,
    };
    connection.abort();
    name_in(&String::from_utf8_lossy(&body?.to_bytes()))
}

/// The root device comes first in its description.
fn name_in(description: &str) -> Option<RouterName> {
    let said = |tag: &str| {
        let (_, rest) = description.split_once(&format!("<{tag}>"))?;
        let (text, _) = rest.split_once(&format!("</{tag}>"))?;
        Some(text::ROUTER.clean(text))
    };
    let manufacturer = said("manufacturer").filter(|name| !name.is_empty())?;
    Some(RouterName { manufacturer, model: said("modelName").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_devices_name_is_taken_and_cut() {
        let description = "<root><device><manufacturer> OpenWRT </manufacturer><modelName>OpenWRT router</modelName>\
                           <deviceList><device><manufacturer>MiniUPnP</manufacturer></device></deviceList></device></root>";
        let name = name_in(description).unwrap();
        assert_eq!((name.manufacturer.as_str(), name.model.as_str()), ("OpenWRT", "OpenWRT router"));
        let long = format!("<manufacturer>{}</manufacturer>", "é".repeat(1000));
        assert_eq!(name_in(&long).unwrap().manufacturer, "é".repeat(64));
        let steers = "<manufacturer>\u{1b}[2JA\u{202e}B\n</manufacturer>";
        assert_eq!(name_in(steers).unwrap().manufacturer, "[2JAB");
        for nothing in
            ["", "<manufacturer>", "</manufacturer><manufacturer>", "<manufacturer></manufacturer>"]
        {
            assert_eq!(name_in(nothing), None, "{nothing}");
        }
    }
}
