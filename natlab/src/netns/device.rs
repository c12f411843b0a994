//! TUN devices: the ends of the laboratory's cables.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use tun_rs::{DeviceBuilder, SyncDevice};

use super::error::NetnsError;
use super::namespace::Namespace;

/// It is Ethernet's MTU in bytes, as on nearly every home line.
pub(crate) const MTU: u16 = 1500;

/// The kernel keeps this many packets for us while this process is not scheduled; a search of some hundred datagrams
/// must fit. The default of 500 loses some of it.
const QUEUE: u32 = 4096;

/// This is a TUN device inside a namespace, seen from this process. It disappears when it is dropped.
pub(crate) struct Device {
    tun: SyncDevice,
}

impl Device {
    /// Makes a device `name` inside, up, without an address.
    pub(crate) fn new(namespace: &Namespace, name: &str) -> Result<Self, NetnsError> {
        Self::with_mtu(namespace, name, MTU)
    }

    /// Returns the same; packets that the machine sends are no longer than this.
    pub(crate) fn with_mtu(namespace: &Namespace, name: &str, mtu: u16) -> Result<Self, NetnsError> {
        let tun = namespace.enter(|| {
            let tun = DeviceBuilder::new().name(name).mtu(mtu).build_sync().map_err(NetnsError::Tun)?;
            tun.set_nonblocking(true).map_err(NetnsError::Tun)?;
            Ok(tun)
        })?;
        namespace.ip(&format!("link set {name} txqueuelen {QUEUE} up\n"))?;
        namespace.sysctl(&format!("net/ipv4/conf/{name}/rp_filter"), "0");
        Ok(Self { tun })
    }

    /// Returns the next packet that the kernel sends out of this device; `None` when there is none now.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.tun.recv(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Lets the kernel receive `packet` from this device.
    pub(crate) fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.tun.send(packet).map(drop)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tun.as_fd()
    }
}

/// Returns the `ip` line that gives a device an address.
pub(crate) fn address_line(device: &str, address: Ipv4Addr, prefix: u8) -> String {
    format!("address add {address}/{prefix} dev {device}\n")
}
