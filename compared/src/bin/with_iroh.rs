//! A player on iroh alone, without Bevy: `with_iroh host|join ROOM`.

use std::error::Error;
use std::process::ExitCode;

use compared::{FRAME, HELLO, Meeting, SERVER};
use iroh::endpoint::presets;
use iroh::{Endpoint, EndpointAddr, RelayMap, RelayMode};
use iroh_relay::{RelayConfig, RelayQuicConfig};

const ALPN: &[u8] = b"compared/0";

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut meeting = Meeting::begin();
    let relay = RelayConfig::new(format!("https://{SERVER}").parse()?, Some(RelayQuicConfig::default()));
    let endpoint = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Custom(RelayMap::from_iter([relay])))
        .alpns(vec![ALPN.to_vec()])
        .bind()
        .await?;
    let connection = if meeting.hosts {
        endpoint.online().await;
        std::fs::write(meeting.ticket(), serde_json::to_string(&endpoint.addr())?)?;
        meeting.open();
        endpoint.accept().await.ok_or("closed")?.await?
    } else {
        let host: EndpointAddr = serde_json::from_str(&std::fs::read_to_string(meeting.ticket())?)?;
        endpoint.connect(host, ALPN).await?
    };
    loop {
        if meeting.greets() {
            connection.send_datagram(HELLO.to_vec().into())?;
        }
        if tokio::time::timeout(FRAME, connection.read_datagram()).await.is_ok_and(|read| read.is_ok()) {
            meeting.heard();
        }
        let relayed = connection.paths().iter().find(|path| path.is_selected()).map(|path| path.is_relay());
        meeting.on(relayed);
        if let Some(code) = meeting.over() {
            endpoint.close().await;
            return Ok(code);
        }
    }
}
