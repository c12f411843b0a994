//! The servers of the others: matchbox's signalling, a TURN server for it, and iroh's relay with QUIC address discovery. Tells `ready`
//! when all of them serve, and then does so until it is ended.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use compared::{SERVER, SIGNALLING, TURN};
use iroh_relay::server::{CertConfig, QuicConfig, RelayConfig, Server, ServerConfig, TlsConfig};
use matchbox_signaling::SignalingServer;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use turn::auth::{AuthHandler, generate_auth_key};
use turn::relay::relay_static::RelayAddressGeneratorStatic;
use turn::server::config::{ConnConfig, ServerConfig as TurnConfig};
use webrtc_util::vnet::net::Net;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let own: IpAddr = SERVER.parse()?;
    let all = |port: u16| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));

    let certificate = CertificateDer::from_slice(webpki_roots::RELAY_CERTIFICATE);
    let key = PrivatePkcs8KeyDer::from(webpki_roots::RELAY_KEY);
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let server_config = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())?;
    let mut relay = RelayConfig::new(all(80));
    relay.tls = Some(TlsConfig::new(all(443), CertConfig::Manual { server_config }));
    let mut config = ServerConfig::default();
    config.relay = Some(relay);
    config.quic = Some(QuicConfig::new(all(iroh_relay::defaults::DEFAULT_RELAY_QUIC_PORT)));
    let _relay = Server::spawn(config).await?;

    let _turn = turn::server::Server::new(TurnConfig {
        conn_configs: vec![ConnConfig {
            conn: Arc::new(tokio::net::UdpSocket::bind(SocketAddr::new(own, TURN)).await?),
            relay_addr_generator: Box::new(RelayAddressGeneratorStatic {
                relay_address: own,
                address: own.to_string(),
                net: Arc::new(Net::new(None)),
            }),
        }],
        realm: "compared".into(),
        auth_handler: Arc::new(Anybody),
        channel_bind_timeout: Duration::ZERO,
        alloc_close_notify: None,
    })
    .await?;

    let mut signalling = SignalingServer::full_mesh_builder(all(SIGNALLING)).build();
    signalling.bind()?;
    println!("ready");
    signalling.serve().await?;
    Ok(())
}

/// Everybody in the laboratory may have a relayed address.
struct Anybody;

impl AuthHandler for Anybody {
    fn auth_handle(&self, name: &str, realm: &str, _: SocketAddr) -> Result<Vec<u8>, turn::Error> {
        Ok(generate_auth_key(name, realm, "player"))
    }
}
