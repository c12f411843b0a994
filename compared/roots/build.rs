//! Makes an authority and a certificate of the relay's address.

use std::error::Error;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "laboratory");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let relay_key = KeyPair::generate()?;
    let relay = CertificateParams::new([String::from("198.18.0.10")])?.signed_by(&relay_key, &authority)?;

    let anchor = webpki::anchor_from_trusted_cert(authority.der())?;
    std::fs::write(out.join("authority.name"), anchor.subject.as_ref())?;
    std::fs::write(out.join("authority.key"), anchor.subject_public_key_info.as_ref())?;
    std::fs::write(out.join("relay.der"), relay.der())?;
    std::fs::write(out.join("relay.key"), relay_key.serialize_der())?;
    Ok(())
}
