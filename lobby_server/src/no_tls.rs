//! Without the feature `tls`, and on processors that its ciphers are not written for, there is no TLS.

use std::io::{self, Read, Write};

use crate::config::Settings;
pub use crate::tls_error::TlsError;

/// There is no value of it.
#[derive(Clone)]
pub(crate) enum Certificate {}

impl Certificate {
    /// Says that there is no TLS, where the settings want it.
    pub(crate) fn read(settings: &Settings) -> Result<Option<Self>, TlsError> {
        if settings.tls_cert.is_some() { Err(TlsError::Missing) } else { Ok(None) }
    }

    pub(crate) fn begin(&self) -> Option<Tls> {
        match *self {}
    }

    pub(crate) fn about(&self) -> String {
        match *self {}
    }

    pub(crate) fn warn(&self) {
        match *self {}
    }
}

/// There is no value of it.
pub(crate) enum Tls {}

impl Tls {
    pub(crate) fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub(crate) fn read(&mut self, _: &mut (impl Read + Write), _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn write(&mut self, _: &mut impl Write, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn flush(&mut self, _: &mut impl Write) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn close(&mut self, _: &mut impl Write) {
        match *self {}
    }
}

/// Checks what the settings say of TLS, as the start does.
///
/// # Errors
/// [`TlsError::Missing`] where they want it.
pub fn check_tls(settings: &Settings) -> Result<(), TlsError> {
    Certificate::read(settings).map(drop)
}
