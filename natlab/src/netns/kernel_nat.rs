//! The kernel's own NAT: a namespace with two TUN devices and nftables' masquerade between them. A check of the
//! product, and of the laboratory, by something we did not write.

use std::net::Ipv4Addr;

use super::device::{Device, address_line};
use super::error::NetnsError;
use super::namespace::Namespace;

/// How the external port is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelPorts {
    /// A port is preserved where it is free.
    #[default]
    Plain,
    /// It is `masquerade random`: the port is hashed over the destination.
    Random,
    /// It is `masquerade fully-random`.
    FullyRandom,
}

/// How the machine behind a router may ask it for a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortService {
    /// It serves UPnP IGD.
    pub upnp: bool,
    /// It serves UPnP IGD in its first version; else in the second one.
    pub first_version: bool,
    /// It serves NAT-PMP and PCP.
    pub port_control: bool,
}

impl PortService {
    /// Tells whether it serves in any way.
    pub(crate) fn any(self) -> bool {
        self.upnp || self.port_control
    }
}

/// These are the settings of a masquerading router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelNat {
    /// How ports are chosen.
    pub ports: KernelPorts,
    /// The WAN side accepts what nobody asked for (it ends in the router, and stays in its connection table), as on
    /// a router without a firewall. Otherwise such packets are dropped before the table keeps them.
    pub accept: bool,
    /// An idle UDP mapping lives this many seconds; where not given, the kernel's own 30 and 120.
    pub timeout: Option<u32>,
    /// miniupnpd forwards ports on request.
    pub service: PortService,
}

impl KernelNat {
    /// Reads what follows `kernel` in a name: `:random:accept:timeout=20`.
    pub(crate) fn parse(options: &str) -> Result<Self, String> {
        const KNOWN: &str =
            "kernel takes :random, :fully-random, :accept, :upnp, :upnp1, :pcp and :timeout=SECONDS";
        let mut nat = Self::default();
        let mut parts = options.split(':');
        if parts.next() != Some("") {
            return Err(KNOWN.into());
        }
        for part in parts {
            match part {
                "random" => nat.ports = KernelPorts::Random,
                "fully-random" => nat.ports = KernelPorts::FullyRandom,
                "accept" => nat.accept = true,
                "upnp" => nat.service.upnp = true,
                "upnp1" => {
                    nat.service.upnp = true;
                    nat.service.first_version = true;
                }
                "pcp" => nat.service.port_control = true,
                _ => {
                    let seconds = part.strip_prefix("timeout=").and_then(|text| text.parse().ok());
                    nat.timeout = Some(seconds.filter(|seconds| *seconds > 0).ok_or(KNOWN)?);
                }
            }
        }
        Ok(nat)
    }

    /// Returns the ruleset.
    pub(crate) fn script(&self) -> String {
        let how = match self.ports {
            KernelPorts::Plain => "",
            KernelPorts::Random => " random",
            KernelPorts::FullyRandom => " fully-random",
        };
        let unasked = if self.accept { "accept" } else { "drop" };
        // Where ports are forwarded, what was let in by a rule goes on.
        let forwarded = if self.service.any() { "ct status dnat accept" } else { "" };
        let chains = if self.service.any() { super::miniupnpd::CHAINS } else { "" };
        format!(
            "table ip natlab {{
                chain postrouting {{
                    type nat hook postrouting priority srcnat;
                    oifname \"wan0\" masquerade{how}
                }}
                chain input {{
                    type filter hook input priority filter; policy {unasked};
                    iifname != \"wan0\" accept
                    ct state established,related accept
                }}
                chain forward {{
                    type filter hook forward priority filter; policy {unasked};
                    iifname != \"wan0\" accept
                    ct state established,related accept
                    {forwarded}
                }}
            }}
            {chains}"
        )
    }

    /// Makes the router; its LAN and WAN devices come back with its namespace.
    pub(crate) fn build(&self, lan: &LanSide, external: Ipv4Addr) -> Result<KernelRouter, NetnsError> {
        let namespace = Namespace::new()?;
        let lan_device = Device::new(&namespace, "lan0")?;
        let wan = Device::new(&namespace, "wan0")?;
        namespace.ip(&format!(
            "{}{}route add default dev wan0\n{}",
            address_line("lan0", lan.router, 32),
            address_line("wan0", external, 32),
            lan.hosts.iter().map(|host| format!("route add {host}/32 dev lan0\n")).collect::<String>(),
        ))?;
        if !namespace.sysctl("net/ipv4/ip_forward", "1") {
            return Err(NetnsError::Configure {
                program: "sysctl",
                stderr: "ip_forward cannot be set".into(),
            });
        }
        namespace.sysctl("net/ipv4/conf/all/rp_filter", "0");
        namespace.nft(&self.script())?;
        if let Some(seconds) = self.timeout {
            for name in ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"] {
                if !namespace.sysctl(&format!("net/netfilter/{name}"), &seconds.to_string()) {
                    let stderr = format!("{name} cannot be set");
                    return Err(NetnsError::Configure { program: "sysctl", stderr });
                }
            }
        }
        Ok(KernelRouter { namespace, lan: lan_device, wan })
    }
}

/// This is the inside of a router.
#[derive(Clone, Debug)]
pub(crate) struct LanSide {
    /// It is the router's own address.
    pub(crate) router: Ipv4Addr,
    /// This is the machine, or the inner NAT's outer addresses, behind it.
    pub(crate) hosts: Vec<Ipv4Addr>,
}

/// It is a masquerading router that runs.
pub(crate) struct KernelRouter {
    /// It is kept: closing it would end the router.
    pub(crate) namespace: Namespace,
    pub(crate) lan: Device,
    pub(crate) wan: Device,
}
