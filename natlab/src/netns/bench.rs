//! How many packets per second the router and its NATs carry.

use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::error::NetnsError;
use super::lab::{LOBBY, Lab, LabSettings};
use super::namespace::leave_the_network;

/// Flags of the bench.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// This is the NAT in between.
    #[arg(long, value_name = "NAT", default_value = "portrestricted")]
    pub nat: String,
    /// Bytes that each datagram carries.
    #[arg(long, default_value_t = 200)]
    pub size: usize,
    /// How long.
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    pub seconds: u32,
}

/// Floods a socket from behind a NAT and prints what got through.
pub(crate) fn bench(args: &BenchArgs) -> ExitCode {
    match flood(args) {
        Ok((sent, received, took)) => {
            let rate = |count: u64| count as f64 / took.as_secs_f64();
            println!(
                "{}: {} bytes, {:.0} packets per second sent, {:.0} carried",
                args.nat,
                args.size,
                rate(sent),
                rate(received)
            );
            if received > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("natlab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn flood(args: &BenchArgs) -> Result<(u64, u64, Duration), NetnsError> {
    let side = args.nat.parse()?;
    leave_the_network()?;
    let settings = LabSettings { sides: vec![side], seed: 1, ..LabSettings::default() };
    let lab = Lab::new(&settings)?;
    let target = SocketAddr::from((LOBBY[0], 9));
    let socket = |address: SocketAddr| {
        move || UdpSocket::bind(address).map_err(NetnsError::system("binding a socket"))
    };
    let sink = lab.lobby().enter(socket(target))?;
    let source = lab.player(0).enter(socket(SocketAddr::from(([0, 0, 0, 0], 0))))?;
    let patience = Some(Duration::from_millis(200));
    sink.set_read_timeout(patience).map_err(NetnsError::system("setting a timeout"))?;
    let over = AtomicBool::new(false);
    let began = Instant::now();
    let duration = Duration::from_secs(u64::from(args.seconds));
    let (sent, received) = thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let (mut count, mut buffer) = (0_u64, [0; 2048]);
            loop {
                match sink.recv(&mut buffer) {
                    Ok(_) => count += 1,
                    Err(_) if over.load(Ordering::Relaxed) => return count,
                    Err(_) => {}
                }
            }
        });
        let payload = vec![0; args.size.clamp(1, 1400)];
        let mut sent = 0_u64;
        while began.elapsed() < duration {
            // A full queue refuses some.
            sent += u64::from(source.send_to(&payload, target).is_ok());
        }
        over.store(true, Ordering::Relaxed);
        (sent, receiver.join().unwrap_or_default())
    });
    Ok((sent, received, duration))
}
