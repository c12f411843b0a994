//! Why TLS cannot be served, and what to do about it.

use std::io;
use std::path::PathBuf;

/// The certificate or the key of TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{setting} {}: it cannot be read; the server's user must be allowed to", .path.display())]
    Read {
        /// It is `tls_cert` or `tls_key`.
        setting: &'static str,
        /// This is the file.
        path: PathBuf,
        /// This is what the system said.
        source: io::Error,
    },
    /// A file is longer than any chain of certificates.
    #[error("{setting} {}: it is longer than {longest} bytes", .path.display())]
    TooLong {
        /// It is `tls_cert` or `tls_key`.
        setting: &'static str,
        /// This is the file.
        path: PathBuf,
        /// It may have so many bytes.
        longest: u64,
    },
    /// The file of the certificate has none.
    #[error(
        "tls_cert {}: there is no certificate in it; give a file with -----BEGIN CERTIFICATE----- (Let's Encrypt: \
         fullchain.pem)", .0.display()
    )]
    NoCertificate(PathBuf),
    /// The file of the key has none.
    #[error(
        "tls_key {}: there is no secret key in it; give a file with -----BEGIN PRIVATE KEY----- (Let's Encrypt: privkey.pem), \
         without a password", .0.display()
    )]
    NoKey(PathBuf),
    /// The certificate is damaged, or the key is of a kind that TLS has no use for.
    #[error("tls_cert {} and tls_key {} cannot be used", .cert.display(), .key.display())]
    Unusable {
        /// This is the certificate's file.
        cert: PathBuf,
        /// This is the key's file.
        key: PathBuf,
        /// This is what is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key is that of another certificate.
    #[error("tls_key {}: it is not the key of the certificate in {}; give the two that belong together", .key.display(), .cert.display())]
    Mismatch {
        /// This is the certificate's file.
        cert: PathBuf,
        /// This is the key's file.
        key: PathBuf,
    },
    /// The program was built without it.
    #[error("tls_cert: this program has no TLS; it is for x86_64 and aarch64, with the feature \"tls\"")]
    Missing,
    /// The processor lacks instructions.
    #[error(
        "tls_cert: this processor is too old for the TLS of this program; it wants AVX2, ADX and AES instructions (2014)"
    )]
    Processor,
}
