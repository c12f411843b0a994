#![allow(clippy::unwrap_used)]
mod worlds;
use natlab::scenario::PairWorld;
#[test]
fn debug() {
    let seed: u64 = std::env::var("SEED").unwrap().parse().unwrap();
    let mut pair = PairWorld::new(worlds::any_world(seed));
    println!("{:#?}", pair.settings());
    let report = pair.join();
    println!("requested {:?} now {:?}", pair.requested(), pair.world.now());
    for (name, side) in [("left", &report.left), ("right", &report.right)] {
        for (at, event) in &side.events { println!("{name} {at:?} {event:?}"); }
    }
    println!("{:?}", report.cause);
}
