//! These are the authorities that iroh trusts unless it is told others, to which `bevy_iroh` offers no way: here, the laboratory's own one.
//! With it a relay that no public authority knows serves TLS and QUIC address discovery as a public one does.

use pki_types::{Der, TrustAnchor};

/// It is the laboratory's authority.
pub const TLS_SERVER_ROOTS: &[TrustAnchor<'static>] = &[TrustAnchor {
    subject: Der::from_slice(include_bytes!(concat!(env!("OUT_DIR"), "/authority.name"))),
    subject_public_key_info: Der::from_slice(include_bytes!(concat!(env!("OUT_DIR"), "/authority.key"))),
    name_constraints: None,
}];

/// It is the relay's certificate, as DER.
pub const RELAY_CERTIFICATE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/relay.der"));
/// It is the relay's private key, as PKCS 8 in DER.
pub const RELAY_KEY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/relay.key"));
