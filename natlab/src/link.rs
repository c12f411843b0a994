//! Links: delay, jitter, loss (single or in bursts), reordering, duplication, longest packet, each way for itself.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::nat::Proto;

/// This is one direction of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// This is the delay one way.
    pub delay: Duration,
    /// A packet takes up to this much longer, uniformly; packets keep their order, as in a queue.
    pub jitter: Duration,
    /// This share of the packets is lost, 0 to 1.
    pub loss: f64,
    /// It says how losses come together; with none, each packet is lost or not for itself.
    pub burst: Option<Burst>,
    /// Later packets overtake this share of the packets, 0 to 1.
    pub reorder: f64,
    /// Overtaken packets arrive this much later.
    pub reorder_delay: Duration,
    /// This share of the packets arrives twice, 0 to 1.
    pub duplicate: f64,
    /// What it does with long packets. It counts for UDP alone: systems make their TCP segments short enough.
    pub mtu: Mtu,
}

/// It says which packet is the longest that passes, and whether the sender of a longer one is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mtu {
    /// The longest IP packet has this many bytes, headers included.
    pub bytes: u16,
    /// The sender of a longer one is told by ICMP ("fragmentation needed" in RFC 792, "packet too big" in RFC 4443).
    /// Otherwise the way is a black hole (RFC 2923) for what is longer.
    pub icmp: bool,
}

impl Default for Mtu {
    /// Returns what Ethernet has (RFC 894), with routers that tell.
    fn default() -> Self {
        Self { bytes: 1500, icmp: true }
    }
}

/// It holds the text that names no MTU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no MTU: write the longest packet in bytes, 576 to 1500, and `:silent` behind it where no router says so"
)]
pub struct MtuError(String);

impl std::str::FromStr for Mtu {
    type Err = MtuError;

    fn from_str(text: &str) -> Result<Self, MtuError> {
        let (bytes, icmp) = text.strip_suffix(":silent").map_or((text, true), |bytes| (bytes, false));
        let bytes = bytes.parse::<u16>().ok().filter(|bytes| (576..=1500).contains(bytes));
        Ok(Self { bytes: bytes.ok_or_else(|| MtuError(text.into()))?, icmp })
    }
}

/// It describes losses that come together, as Gilbert (1960) and Elliott (1963) modelled them: the way is good, where
/// it loses nothing, or bad, and changes from one to the other after times of exponential length. [`Way::loss`] stays
/// the mean over both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// It stays bad for this time, as a mean.
    pub length: Duration,
    /// This share of the packets is lost meanwhile, above [`Way::loss`] and up to 1.
    pub loss: f64,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            burst: None,
            reorder: 0.0,
            reorder_delay: Duration::from_millis(20),
            duplicate: 0.0,
            mtu: Mtu::default(),
        }
    }
}

impl Way {
    /// Whether a packet of this protocol passes that goes to such an address and has so many bytes behind its headers.
    pub fn passes(&self, proto: Proto, v6: bool, payload: usize) -> bool {
        let headers = if v6 { 40 + 8 } else { 20 + 8 };
        proto == Proto::Tcp || headers + payload <= usize::from(self.mtu.bytes)
    }
}

/// A line has both directions: `up` leads towards the internet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// This is the way towards the internet.
    pub up: Way,
    /// This is the way from the internet.
    pub down: Way,
}

impl Link {
    /// Returns the same delay both ways, and nothing else.
    pub fn delay(delay: Duration) -> Self {
        Self::both(Way { delay, ..Way::default() })
    }

    /// Returns the same both ways.
    pub fn both(way: Way) -> Self {
        Self { up: way.clone(), down: way }
    }
}

/// When copies of a packet arrive: none if it was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// When the first copy arrives, after it was sent; none: it is lost.
    pub first: Option<Duration>,
    /// When the second copy arrives, after the packet was sent; none: there is none.
    pub second: Option<Duration>,
}

/// This is a direction in use.
#[derive(Clone, Debug, Default)]
pub struct Carrier {
    /// These are its settings; they may be changed at any time.
    pub way: Way,
    last: Duration,
    last_stream: Duration,
    bad: bool,
    /// The weather stays good or bad until then; none: nothing has been drawn yet.
    weather_until: Option<Duration>,
}

/// How much later a lost packet of a connection comes: the least retransmission time of Linux.
const RETRANSMISSION: Duration = Duration::from_millis(200);

impl Carrier {
    /// Makes a direction with these settings.
    pub fn new(way: Way) -> Self {
        Self { way, ..Self::default() }
    }

    /// A packet enters at `now`.
    pub fn carry(&mut self, now: Duration, rng: &mut ChaCha8Rng) -> Arrivals {
        let first = (!self.loses(now, rng)).then(|| self.arrival(now, rng));
        let second = (happens(rng, self.way.duplicate) && first.is_some()).then(|| self.arrival(now, rng));
        Arrivals { first, second }
    }

    /// Returns the same by protocol: of a connection nothing is lost, doubled or swapped, only late.
    pub fn carry_for(&mut self, proto: Proto, now: Duration, rng: &mut ChaCha8Rng) -> Arrivals {
        match proto {
            Proto::Udp => self.carry(now, rng),
            Proto::Tcp => {
                let late = if self.loses(now, rng) { RETRANSMISSION } else { Duration::ZERO };
                self.last_stream = self.last_stream.max(now + self.way.delay + late);
                Arrivals { first: Some(self.last_stream), second: None }
            }
        }
    }

    fn loses(&mut self, now: Duration, rng: &mut ChaCha8Rng) -> bool {
        let Some(burst) = self.way.burst.filter(|burst| self.way.loss > 0.0 && burst.loss > self.way.loss)
        else {
            return happens(rng, self.way.loss);
        };
        let share_bad = self.way.loss / burst.loss;
        let mut until = self.weather_until.unwrap_or_else(|| {
            self.bad = rng.random::<f64>() < share_bad;
            now
        });
        while until <= now {
            // The first time the length is that of the state it is in; the process has no memory.
            if self.weather_until.is_some() {
                self.bad = !self.bad;
            }
            let good = burst.length.mul_f64((1.0 - share_bad) / share_bad);
            let mean = if self.bad { burst.length } else { good };
            let u: f64 = rng.random();
            // At least a nanosecond, so that this ends.
            until += mean.mul_f64(-(1.0 - u).ln()).max(Duration::from_nanos(1));
            self.weather_until = Some(until);
        }
        self.bad && happens(rng, burst.loss)
    }

    fn arrival(&mut self, now: Duration, rng: &mut ChaCha8Rng) -> Duration {
        let jitter = if self.way.jitter.is_zero() {
            Duration::ZERO
        } else {
            self.way.jitter.mul_f64(rng.random::<f64>())
        };
        let at = now + self.way.delay + jitter;
        if happens(rng, self.way.reorder) {
            return at + self.way.reorder_delay;
        }
        self.last = self.last.max(at);
        self.last
    }
}

fn happens(rng: &mut ChaCha8Rng, share: f64) -> bool {
    share > 0.0 && rng.random::<f64>() < share
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn arrivals(way: Way) -> Vec<Arrivals> {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut carrier = Carrier::new(way);
        (0..2000).map(|n| carrier.carry(Duration::from_millis(n), &mut rng)).collect()
    }

    fn count(arrivals: &[Arrivals], test: impl Fn(&Arrivals) -> bool) -> usize {
        arrivals.iter().filter(|arrival| test(arrival)).count()
    }

    #[test]
    fn a_plain_link_delays_and_nothing_else() {
        let way = Way { delay: Duration::from_millis(30), ..Way::default() };
        for (n, arrival) in arrivals(way).iter().enumerate() {
            let at = Duration::from_millis(n as u64 + 30);
            assert_eq!(*arrival, Arrivals { first: Some(at), second: None });
        }
    }

    #[test]
    fn an_mtu_is_read_and_counts_the_headers() {
        assert_eq!("1280".parse(), Ok(Mtu { bytes: 1280, icmp: true }));
        assert_eq!("1280:silent".parse(), Ok(Mtu { bytes: 1280, icmp: false }));
        for wrong in ["", "silent", "12x", "500", "9000", "1280:loud", "1280:silent:silent"] {
            assert!(wrong.parse::<Mtu>().is_err(), "{wrong}");
        }
        let way = Way { mtu: "1280".parse().unwrap(), ..Way::default() };
        assert!(way.passes(Proto::Udp, false, 1252) && !way.passes(Proto::Udp, false, 1253));
        assert!(way.passes(Proto::Udp, true, 1232) && !way.passes(Proto::Udp, true, 1233));
        assert!(way.passes(Proto::Tcp, false, 9000));
    }

    #[test]
    fn loss_and_duplication_come_in_their_shares() {
        let seen = arrivals(Way { loss: 0.3, duplicate: 0.1, ..Way::default() });
        let lost = count(&seen, |arrival| arrival.first.is_none());
        assert!((520..680).contains(&lost), "{lost} of 2000");
        let twice = count(&seen, |arrival| arrival.second.is_some());
        assert!((90..190).contains(&twice), "{twice} of 2000");
    }

    #[test]
    fn bursts_keep_the_mean_and_bring_losses_together() {
        let burst = Burst { length: Duration::from_millis(20), loss: 0.8 };
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut carrier = Carrier::new(Way { loss: 0.1, burst: Some(burst), ..Way::default() });
        let lost: Vec<bool> = (0..200_000u64)
            .map(|n| carrier.carry(Duration::from_millis(n), &mut rng).first.is_none())
            .collect();
        let share = |lost: &[bool]| lost.iter().filter(|lost| **lost).count() as f64 / lost.len() as f64;
        let mean = share(&lost);
        // 1,250 bad times in 200 s: the mean's standard deviation is about 0.004.
        assert!((mean - 0.1).abs() < 0.015, "{mean}");
        let after_a_loss: Vec<bool> = lost.windows(2).filter(|pair| pair[0]).map(|pair| pair[1]).collect();
        let again = share(&after_a_loss);
        // A millisecond later it is still bad with exp(-1/20), or has come back: 0.8 * 0.95.
        assert!((again - 0.76).abs() < 0.03, "{again}");
        // What is lost for itself does not come together.
        let single = arrivals(Way { loss: 0.1, ..Way::default() });
        let single: Vec<bool> = single.iter().map(|arrival| arrival.first.is_none()).collect();
        let again: Vec<bool> = single.windows(2).filter(|pair| pair[0]).map(|pair| pair[1]).collect();
        assert!(share(&again) < 0.2, "{}", share(&again));
    }

    #[test]
    fn jitter_keeps_order_and_reordering_does_not() {
        let jitter = Duration::from_millis(40);
        let in_order = |seen: &[Arrivals]| count_pairs(seen, |a, b| b < a) == 0;
        let seen = arrivals(Way { jitter, ..Way::default() });
        assert!(in_order(&seen));
        assert!(seen.iter().any(|arrival| arrival.first > seen[0].first), "it does jitter");
        let seen = arrivals(Way { reorder: 0.1, ..Way::default() });
        let overtaken = count_pairs(&seen, |a, b| b < a);
        assert!((120..280).contains(&overtaken), "{overtaken}");
    }

    fn count_pairs(seen: &[Arrivals], test: impl Fn(Duration, Duration) -> bool) -> usize {
        seen.windows(2)
            .filter(|pair| matches!((pair[0].first, pair[1].first), (Some(a), Some(b)) if test(a, b)))
            .count()
    }

    #[test]
    fn the_two_ways_differ_when_told() {
        let link =
            Link { down: Way { delay: Duration::from_millis(90), ..Way::default() }, ..Link::default() };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let up = Carrier::new(link.up).carry(Duration::ZERO, &mut rng);
        let down = Carrier::new(link.down).carry(Duration::ZERO, &mut rng);
        assert_eq!((up.first, down.first), (Some(Duration::ZERO), Some(Duration::from_millis(90))));
    }
}
