//! Packets on the laboratory's cables, as files that Wireshark opens.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, TsResolution};

use super::error::NetnsError;

/// This is one file for one cable.
pub(crate) struct Capture {
    writer: PcapWriter<BufWriter<File>>,
    broken: bool,
}

impl Capture {
    /// Makes `DIRECTORY/NAME.pcap` anew.
    pub(crate) fn create(directory: &Path, name: &str) -> Result<Self, NetnsError> {
        fs::create_dir_all(directory).map_err(NetnsError::system("making the directory for captures"))?;
        let file = File::create(directory.join(format!("{name}.pcap")))
            .map_err(NetnsError::system("making a capture file"))?;
        let header = PcapHeader {
            datalink: DataLink::RAW,
            ts_resolution: TsResolution::NanoSecond,
            ..Default::default()
        };
        let writer = PcapWriter::with_header(BufWriter::new(file), header).map_err(|error| {
            NetnsError::System { what: "writing a capture file", source: std::io::Error::other(error) }
        })?;
        Ok(Self { writer, broken: false })
    }

    /// Writes a packet; `since_epoch` is the machine's clock, as in every capture.
    pub(crate) fn packet(&mut self, since_epoch: Duration, bytes: &[u8]) {
        if self.broken {
            return;
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // A full disk must not end the run: the capture ends instead.
        self.broken = self.writer.write_packet(&PcapPacket::new(since_epoch, length, bytes)).is_err();
    }
}
