//! Without the feature `tls` there is none.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

/// There is no value of it.
pub(crate) enum Tls {}

impl Tls {
    pub(super) fn shake(&mut self, _: &mut (impl Read + Write)) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn wants_write(&self) -> bool {
        match *self {}
    }

    pub(super) fn read(&mut self, _: &mut (impl Read + Write), _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn write(&mut self, _: &mut impl Write, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn flush(&mut self, _: &mut impl Write) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn close(&mut self, _: &mut impl Write) {
        match *self {}
    }
}

/// Says that there is no TLS.
pub(super) fn begin(_: Option<&str>, _: SocketAddr) -> Result<Tls, io::Error> {
    Err(io::Error::other("this build has no TLS (feature `tls`)"))
}
