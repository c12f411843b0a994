//! TLS for players whose networks let out nothing but port 443: the certificate and its key, out of their files.
//!
//! The session's secrecy does not come from here, but from what is sealed within, as over UDP and TCP. So players take any
//! certificate, and one that has expired serves them as well; a true one is for the eyes of those who let 443 out only
//! where it looks right.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{Error, InconsistentKeys, ServerConfig, ServerConnection};
use time::OffsetDateTime;
use traversal_core::wire::curve::Implementation;
pub(crate) use traversal_udp::Tls;
use traversal_udp::private::read_at_most;
use x509_cert::der::Decode;

use crate::config::Settings;
pub use crate::tls_error::TlsError;

/// A file of certificates or a key is no longer: four certificates of RSA with 4,096 bits take 10 kB.
const LONGEST: u64 = 256 * 1024;
/// The log warns when the certificate is good for less than this. Let's Encrypt's are renewed a month before their end.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// This is a certificate with its key, ready for use.
#[derive(Clone)]
pub(crate) struct Certificate {
    config: Arc<ServerConfig>,
    until: SystemTime,
}

impl Certificate {
    /// Reads what the settings name; none: they name nothing.
    ///
    /// # Errors
    /// [`TlsError`] says which of the files is wrong, and why.
    pub(crate) fn read(settings: &Settings) -> Result<Option<Self>, TlsError> {
        let (Some(cert), Some(key)) = (&settings.tls_cert, &settings.tls_key) else { return Ok(None) };
        if Implementation::here() != Implementation::Assembly {
            return Err(TlsError::Processor);
        }
        let (cert_text, key_text) = (text("tls_cert", cert)?, text("tls_key", key)?);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&cert_text).collect();
        let no_certificate = || TlsError::NoCertificate(cert.clone());
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(no_certificate)?;
        let secret = PrivateKeyDer::from_pem_slice(&key_text).map_err(|_| TlsError::NoKey(key.clone()))?;
        let unusable = |source: Box<dyn std::error::Error + Send + Sync>| TlsError::Unusable {
            cert: cert.clone(),
            key: key.clone(),
            source,
        };
        let first = chain.first().ok_or_else(no_certificate)?;
        let read = x509_cert::Certificate::from_der(first).map_err(|error| unusable(Box::new(error)))?;
        let until = read.tbs_certificate.validity.not_after.to_date_time().unix_duration();
        let until = SystemTime::UNIX_EPOCH + until;
        let config = ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, secret));
        let mut config = config.map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { cert: cert.clone(), key: key.clone() }
            }
            error => unusable(Box::new(error)),
        })?;
        // Players come back seldom, and each kept session would be memory that strangers can fill.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Some(Self { config: Arc::new(config), until }))
    }

    /// Begins a handshake with somebody who has come.
    pub(crate) fn begin(&self) -> Option<Tls> {
        ServerConnection::new(Arc::clone(&self.config)).ok().map(Tls::new)
    }

    /// Says until when it is good.
    pub(crate) fn about(&self) -> String {
        let day = OffsetDateTime::from(self.until).date();
        match self.until.duration_since(SystemTime::now()) {
            Ok(left) if left > SOON => format!("certificate good until {day}"),
            Ok(_) => format!("WARNING: the certificate is good until {day} only"),
            Err(_) => format!(
                "WARNING: the certificate has expired on {day}; players do not mind, networks that look at it may"
            ),
        }
    }

    /// Warns where it has expired, or is about to.
    pub(crate) fn warn(&self) {
        if self.until < SystemTime::now() + SOON {
            tracing::warn!("TLS: {}", self.about().trim_start_matches("WARNING: "));
        }
    }
}

fn text(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    read_at_most(path, LONGEST).map_err(|source| match source.kind() {
        io::ErrorKind::FileTooLarge => TlsError::TooLong { setting, path: path.to_owned(), longest: LONGEST },
        _ => TlsError::Read { setting, path: path.to_owned(), source },
    })
}

/// Checks what the settings say of TLS, as the start does.
///
/// # Errors
/// [`TlsError`] says which of the files is wrong, and why.
pub fn check_tls(settings: &Settings) -> Result<(), TlsError> {
    Certificate::read(settings).map(drop)
}
