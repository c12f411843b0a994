//! Real programs behind NATs: namespaces, TUN devices, the laboratory's NAT in real time and the kernel's own.
//!
//! Each player gets a network namespace with one TUN device. This process is everything beyond that cable: it reads
//! IPv4 packets, takes them through the NATs and over a line with delay, jitter and loss, and gives them to the
//! machine whose address they bear. There is no way from there to any real network. A NAT of the kernel's is one
//! more namespace with two such cables and nftables' masquerade between them.
//!
//! Nothing here has a name outside: namespaces are held by open files, devices by open descriptors, programs by a
//! pipe. When this process ends, in whatever way, the kernel takes all of it away.
//!
//! Why not `patchbay` or `tc netem`: both delay packets with `sch_netem`, which many kernels lack, and know only the
//! kernel's NAT; here the line is in the router anyway, and serves both kinds of NAT alike.

mod acts;
mod args;
mod behind;
mod bench;
mod capture;
mod command;
mod counts;
mod device;
mod error;
mod ipv4;
mod junk;
mod kernel_nat;
mod lab;
mod line;
mod miniupnpd;
mod namespace;
mod pair;
mod process;
mod report;
mod router;
mod run;
mod sample;
mod script;
mod side;
mod simulate;
mod transcript;
mod translate;

pub use acts::{Reliable, ScriptReport, StepReport};
pub use args::RunArgs;
pub use behind::Behind;
pub use bench::BenchArgs;
pub use command::NetnsCommand;
pub use counts::{Counts, Direction};
pub use error::NetnsError;
pub use kernel_nat::{KernelNat, KernelPorts, PortService};
pub use lab::{LOBBY, Lab, LabSettings};
pub use line::LineSettings;
pub use namespace::{Namespace, leave_the_network};
pub use report::{Exits, Mappings, Packets, PairReport};
pub use router::{Cut, HOPS};
pub use run::NOT_HERE;
pub use script::ScriptError;
pub use side::{Side, Stage};
pub use simulate::Simulated;
