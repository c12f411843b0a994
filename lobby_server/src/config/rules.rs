//! What each setting may be. A value outside is refused with the rule in the message.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use tracing_subscriber::EnvFilter;
use traversal_core::text;
use traversal_core::wire::message::{MAX_CONTACTS, MAX_TOKEN};

use super::settings::{ConfigError, Settings};
use crate::cluster;
use crate::tickets::MOST_KEYS;

/// The server may be bound to so many addresses at the most: a machine's own, each with up to three sockets.
const MAX_BINDS: usize = 16;
/// So many games may be named.
const MAX_GAMES: usize = 1024;
/// So many connections or sessions may be allowed: a process of Linux can have about a million descriptors
/// (`fs.nr_open` is 1,048,576), and a session takes about 1 kB.
const MANY: RangeInclusive<u64> = 1..=1_000_000;
/// Less than what systems give unasked helps nobody, and the kernel counts bytes in 31 bits, twice.
const SOCKET_BUFFER: RangeInclusive<u64> = 64..=1_000_000;
/// 100 Gbit/s, more than one program forwards.
const KILOBYTES: RangeInclusive<u64> = 1..=12_500_000;
/// A petabyte, more than a hundred gigabits a second send in a day; 0 is no budget.
const GIGABYTES: RangeInclusive<u64> = 0..=1_000_000;
/// Each game with a budget has numbers of its own in the metrics, of which there are no more.
const MAX_BUDGETS: usize = 32;
/// A match may use the relay for a minute to 30 days.
const RELAY_LIFETIME: RangeInclusive<u64> = 60..=30 * 24 * 3600;
/// Two keepalives of a player (each 5 s or more apart) may be lost; who is silent for ten minutes is gone.
const SESSION_TIMEOUT: RangeInclusive<u64> = 10..=600;
/// Longer than somebody waits for another player, nobody does.
const KEEP_SEAT: RangeInclusive<u64> = 10..=600;
/// A near player logs in within a second, and no network takes two minutes.
const TCP_LOGIN_TIMEOUT: RangeInclusive<u64> = 1..=120;
/// Players send no longer lists.
const CONTACTS: RangeInclusive<u64> = 1..=MAX_CONTACTS as u64;
/// Ten rings a second are no calls any more.
const RINGS: RangeInclusive<u64> = 1..=600;
/// No pool of a NAT is wider than the blocks that registries gave out: /8 of IPv4, /16 of IPv6.
const MASK_V4: RangeInclusive<u64> = 8..=32;
const MASK_V6: RangeInclusive<u64> = 16..=128;
/// Who waits longer than an hour for players to finish waits for good.
const DRAIN: RangeInclusive<u64> = 0..=3600;

fn wrong(text: String) -> ConfigError {
    ConfigError::Value(text)
}

fn number(name: &str, value: u64, allowed: RangeInclusive<u64>) -> Result<(), ConfigError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(wrong(format!("{name} is {value}: from {} to {}", allowed.start(), allowed.end())))
}

fn numbers(settings: &Settings) -> Result<(), ConfigError> {
    number("relay_kilobytes_per_s", settings.relay_kilobytes_per_s.into(), KILOBYTES)?;
    number("relay_total_kilobytes_per_s", settings.relay_total_kilobytes_per_s.into(), KILOBYTES)?;
    number("relay_gigabytes_per_day", settings.relay_gigabytes_per_day.into(), GIGABYTES)?;
    number("relay_gigabytes_per_month", settings.relay_gigabytes_per_month.into(), GIGABYTES)?;
    number("relay_lifetime_s", settings.relay_lifetime_s, RELAY_LIFETIME)?;
    number("session_timeout_s", settings.session_timeout_s, SESSION_TIMEOUT)?;
    number("keep_seat_s", settings.keep_seat_s, KEEP_SEAT)?;
    number("socket_buffer_kilobytes", settings.socket_buffer_kilobytes.into(), SOCKET_BUFFER)?;
    number("max_tcp", settings.max_tcp as u64, MANY)?;
    number("max_tcp_per_address", settings.max_tcp_per_address as u64, MANY)?;
    number("tcp_login_timeout_s", settings.tcp_login_timeout_s, TCP_LOGIN_TIMEOUT)?;
    number("max_sessions", settings.max_sessions as u64, MANY)?;
    number("max_sessions_per_address", settings.max_sessions_per_address as u64, MANY)?;
    number("max_rooms", settings.max_rooms as u64, MANY)?;
    number("max_rooms_per_address", settings.max_rooms_per_address as u64, MANY)?;
    number("max_queued_per_address", settings.max_queued_per_address as u64, MANY)?;
    number("max_contacts", settings.max_contacts as u64, CONTACTS)?;
    number("rings_per_minute", settings.rings_per_minute.into(), RINGS)?;
    number("stranger_rings_per_minute", settings.stranger_rings_per_minute.into(), RINGS)?;
    number("same_nat_mask_v4", settings.same_nat_mask_v4.into(), MASK_V4)?;
    number("same_nat_mask_v6", settings.same_nat_mask_v6.into(), MASK_V6)?;
    number("drain_s", settings.drain_s, DRAIN)?;
    if settings.relay_total_kilobytes_per_s < settings.relay_kilobytes_per_s {
        return Err(wrong(format!(
            "relay_total_kilobytes_per_s is {}: at least relay_kilobytes_per_s ({}), or no side could use what it may",
            settings.relay_total_kilobytes_per_s, settings.relay_kilobytes_per_s
        )));
    }
    Ok(())
}

fn texts(settings: &Settings) -> Result<(), ConfigError> {
    if cfg!(not(unix)) && settings.admin_socket.is_some() {
        return Err(wrong("admin_socket: this system has no Unix sockets; leave it out".into()));
    }
    if let Err(error) = EnvFilter::try_new(&settings.log) {
        return Err(wrong(format!("log \"{}\": {error}", settings.log.escape_debug())));
    }
    if let Some(token) = &settings.token
        && !(1..=MAX_TOKEN).contains(&token.len())
    {
        return Err(wrong(format!(
            "token has {} bytes: from 1 to {MAX_TOKEN}, or leave it out to let everybody in",
            token.len()
        )));
    }
    if settings.token_key.len() > MOST_KEYS {
        return Err(wrong(format!("token_key: at most {MOST_KEYS} files")));
    }
    if settings.token.is_some() && !settings.token_key.is_empty() {
        return Err(wrong("token, token_key: one of the two, players show one token".into()));
    }
    match text::REGION.check(&settings.region) {
        Ok(kept) if kept == settings.region => {}
        Ok(kept) => return Err(wrong(format!("region: write \"{kept}\" without space at its ends"))),
        Err(error) => return Err(wrong(format!("{error}"))),
    }
    if settings.games.len() > MAX_GAMES || settings.relay_games.len() > MAX_GAMES {
        return Err(wrong(format!("games, relay_games: at most {MAX_GAMES}")));
    }
    let of_day = &settings.relay_games_gigabytes_per_day;
    let of_month = &settings.relay_games_gigabytes_per_month;
    for (name, budgets) in
        [("relay_games_gigabytes_per_day", of_day), ("relay_games_gigabytes_per_month", of_month)]
    {
        if budgets.len() > MAX_BUDGETS {
            return Err(wrong(format!("{name}: at most {MAX_BUDGETS}")));
        }
        for gigabytes in budgets.values() {
            number(name, (*gigabytes).into(), GIGABYTES)?;
        }
    }
    let lists = [
        ("games", settings.games.iter().collect::<Vec<_>>()),
        ("relay_games", settings.relay_games.keys().collect()),
        ("relay_games_gigabytes_per_day", of_day.keys().collect()),
        ("relay_games_gigabytes_per_month", of_month.keys().collect()),
    ];
    for (name, games) in lists {
        for game in games {
            match text::GAME.check(game) {
                Ok(kept) if kept == *game => {}
                Ok(kept) => {
                    return Err(wrong(format!(
                        "{name}: write \"{kept}\" without space at its ends, in Unicode's normal form C"
                    )));
                }
                Err(error) => return Err(wrong(format!("{name}: \"{}\": {error}", game.escape_debug()))),
            }
        }
    }
    Ok(())
}

/// One host can have it, and others can reach it.
fn is_host(ip: &IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_unspecified() || ip.is_multicast() || broadcast)
}

fn one_per_family(name: &str, addresses: &[IpAddr]) -> Result<(), ConfigError> {
    if let Some(ip) = addresses.iter().find(|ip| !is_host(ip)) {
        return Err(wrong(format!("{name} {ip}: this is no address of one machine")));
    }
    for v4 in [true, false] {
        if addresses.iter().filter(|ip| ip.is_ipv4() == v4).count() > 1 {
            return Err(wrong(format!("{name}: at most one of IPv4 and one of IPv6")));
        }
    }
    Ok(())
}

fn addresses(settings: &Settings) -> Result<(), ConfigError> {
    if settings.bind.len() > MAX_BINDS {
        return Err(wrong(format!("bind: at most {MAX_BINDS} addresses")));
    }
    for (index, bind) in settings.bind.iter().enumerate() {
        if !bind.ip().is_unspecified() && !is_host(&bind.ip()) {
            return Err(wrong(format!("bind {bind}: this is no address of one machine")));
        }
        if bind.port() != 0 && settings.bind[..index].contains(bind) {
            return Err(wrong(format!("bind {bind}: it is given twice")));
        }
    }
    one_per_family("second_address", &settings.second_address)?;
    one_per_family("public_address", &settings.public_address)?;
    one_per_family("second_public_address", &settings.second_public_address)?;
    for second in &settings.second_address {
        let first = main_bind(settings, second.is_ipv4());
        if !first.is_some_and(|first| !first.ip().is_unspecified() && first.ip() != *second) {
            return Err(wrong(format!(
                "second_address {second}: give the first address too, for example --bind 198.18.0.10:3478 \
                 --second-address 198.18.0.11"
            )));
        }
    }
    for public in &settings.second_public_address {
        if !settings.second_address.iter().any(|second| second.is_ipv4() == public.is_ipv4()) {
            return Err(wrong(format!(
                "second_public_address {public}: it says what players know second_address as, and there is none of \
                 its family"
            )));
        }
        if settings.public_address.contains(public) {
            return Err(wrong(format!("second_public_address {public}: it is public_address already")));
        }
    }
    neighbour(settings)?;
    second_port(settings)
}

fn neighbour(settings: &Settings) -> Result<(), ConfigError> {
    for (name, given) in
        [("neighbour_link", settings.neighbour_link.is_some()), ("link_bind", settings.link_bind.is_some())]
    {
        if given && settings.neighbour.is_none() {
            return Err(wrong(format!("{name} is about the link to a neighbour: give neighbour too")));
        }
    }
    if settings.resolver()?.is_some() && !settings.second_address.is_empty() {
        return Err(wrong(
            "neighbour: its address would be a second one beside second_address; leave one of them out"
                .into(),
        ));
    }
    Ok(())
}

/// Finds the first address of a family to serve; beside it are the second port and address.
fn main_bind(settings: &Settings, v4: bool) -> Option<SocketAddr> {
    settings.addresses().into_iter().map(|(bind, _)| bind).find(|bind| bind.is_ipv4() == v4)
}

/// Other nodes tell players where this one is: it has to be known.
fn registry(settings: &Settings) -> Result<(), ConfigError> {
    let shared = cluster::address(&settings.registry).map_err(|error| wrong(error.to_string()))?.is_some();
    let known = |bind: &SocketAddr| {
        !bind.ip().is_unspecified()
            || settings.public_address.iter().any(|public| public.is_ipv4() == bind.is_ipv4())
    };
    if shared && !settings.addresses().iter().any(|(bind, _)| known(bind)) {
        return Err(wrong(String::from(
            "registry: the other nodes send players here, so say at which address they reach this machine: \
             --public-address 203.0.113.5, or --bind 203.0.113.5:3478",
        )));
    }
    Ok(())
}

fn second_port(settings: &Settings) -> Result<(), ConfigError> {
    let Some(port) = settings.second_port.filter(|port| *port != 0) else { return Ok(()) };
    for main in [true, false].into_iter().filter_map(|v4| main_bind(settings, v4)) {
        let beside = SocketAddr::new(main.ip(), port);
        if settings.addresses().iter().any(|(bind, _)| *bind == beside) {
            return Err(wrong(format!(
                "second_port {port}: {beside} is served as a first address already; choose another port, or leave it \
                 out"
            )));
        }
    }
    Ok(())
}

/// TLS wants both files, and is TCP.
fn tls(settings: &Settings) -> Result<(), ConfigError> {
    match (&settings.tls_cert, &settings.tls_key) {
        (None, None) => return Ok(()),
        (Some(_), Some(_)) => {}
        (Some(_), None) => return Err(wrong("tls_cert: give its key too, with tls_key".into())),
        (None, Some(_)) => return Err(wrong("tls_key: give the certificate too, with tls_cert".into())),
    }
    if settings.no_tcp {
        return Err(wrong(
            "tls_cert: TLS is TCP, and no_tcp says that there is none; leave one of them out".into(),
        ));
    }
    let taken = settings
        .addresses()
        .into_iter()
        .find(|(bind, _)| bind.port() != 0 && bind.port() == settings.tls_port);
    match taken {
        Some((bind, _)) => Err(wrong(format!(
            "tls_port {}: {bind} serves TCP without TLS already; choose another port",
            settings.tls_port
        ))),
        None => Ok(()),
    }
}

/// Checks every setting.
pub(super) fn check(settings: &Settings) -> Result<(), ConfigError> {
    numbers(settings)?;
    texts(settings)?;
    addresses(settings)?;
    registry(settings)?;
    tls(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::RelayMode;

    type Change = fn(&mut Settings);

    fn changed(change: Change) -> Settings {
        let mut settings = Settings::default();
        change(&mut settings);
        settings
    }

    #[test]
    fn a_value_outside_its_range_is_refused_and_the_rule_is_said() {
        let cases: [(Change, &str); 46] = [
            (|s| s.tls_cert = Some("c".into()), "tls_key"),
            (|s| s.tls_key = Some("k".into()), "tls_cert"),
            (|s| (s.tls_cert, s.tls_key, s.no_tcp) = (Some("c".into()), Some("k".into()), true), "no_tcp"),
            (|s| (s.tls_cert, s.tls_key, s.tls_port) = (Some("c".into()), Some("k".into()), 3478), "3478"),
            (|s| s.neighbour = Some("https://x".into()), "HOST:PORT"),
            (|s| s.neighbour = Some("x:65534".into()), "neighbour_link"),
            (|s| s.neighbour_link = Some("x:3480".into()), "give neighbour too"),
            (|s| s.link_bind = Some("127.0.0.1:3480".parse().unwrap()), "give neighbour too"),
            (|s| s.drain_s = 3601, "drain_s is 3601: from 0 to 3600"),
            (|s| s.log = "lobby_server=loud".into(), "log \"lobby_server=loud\""),
            (|s| s.registry = "redis://x".into(), "--public-address"),
            (|s| s.registry = "postgres://x".into(), "redis://"),
            (|s| s.registry = "rediss://x".into(), "TLS"),
            (|s| s.session_timeout_s = 9, "10 to 600"),
            (|s| s.keep_seat_s = 601, "10 to 600"),
            (|s| s.session_timeout_s = u64::MAX, "10 to 600"),
            // An instant so far ahead cannot be told: the sum panicked at the first match.
            (|s| s.relay_lifetime_s = i64::MAX as u64, "relay_lifetime_s"),
            (|s| s.relay_lifetime_s = 0, "60 to"),
            (|s| s.relay_kilobytes_per_s = 0, "relay_kilobytes_per_s"),
            (|s| s.relay_total_kilobytes_per_s = u32::MAX, "12500000"),
            (|s| s.relay_total_kilobytes_per_s = 511, "at least relay_kilobytes_per_s"),
            (|s| s.max_tcp = 0, "max_tcp is 0: from 1"),
            (|s| s.max_tcp_per_address = 0, "max_tcp_per_address"),
            (|s| s.tcp_login_timeout_s = 0, "tcp_login_timeout_s is 0: from 1 to 120"),
            (|s| s.max_sessions = 0, "max_sessions is 0"),
            (|s| s.max_sessions = usize::MAX, "to 1000000"),
            (|s| s.max_sessions_per_address = 0, "max_sessions_per_address"),
            (|s| s.max_rooms = 0, "max_rooms"),
            (|s| s.max_rooms_per_address = 0, "max_rooms_per_address"),
            (|s| s.max_queued_per_address = 0, "max_queued_per_address"),
            (|s| s.max_contacts = 1001, "max_contacts is 1001: from 1 to 1000"),
            (|s| s.stranger_rings_per_minute = 601, "stranger_rings_per_minute"),
            (|s| s.same_nat_mask_v4 = 33, "8 to 32"),
            (|s| s.same_nat_mask_v6 = 129, "16 to 128"),
            (|s| s.token = Some("x".repeat(600).into()), "512"),
            (|s| s.token = Some("".into()), "leave it out"),
            (|s| s.region = "far far far far away".into(), "region: at most 16"),
            (|s| s.games = vec!["g".repeat(70)], "64 bytes"),
            (|s| s.games = vec!["a\u{1b}[2J".into()], "control"),
            (|s| s.relay_games = [(String::new(), RelayMode::Never)].into(), "relay_games"),
            (|s| s.second_port = Some(3478), "second_port 3478"),
            (|s| s.bind = vec!["127.0.0.1:9".parse().unwrap(); 2], "twice"),
            (|s| s.bind = vec!["224.0.0.1:9".parse().unwrap()], "no address of one machine"),
            (|s| s.public_address = vec!["0.0.0.0".parse().unwrap()], "public_address"),
            (|s| s.second_public_address = vec!["203.0.113.6".parse().unwrap()], "there is none"),
            (|s| s.public_address = vec!["203.0.113.6".parse().unwrap(); 2], "at most one"),
        ];
        for (change, rule) in cases {
            let text = check(&changed(change)).unwrap_err().to_string();
            assert!(text.contains(rule), "{rule}: {text}");
        }
        assert!(check(&Settings::default()).is_ok());
    }

    #[test]
    fn a_second_address_wants_a_first_one() {
        let second = changed(|s| s.second_address = vec!["198.18.0.11".parse().unwrap()]);
        assert!(check(&second).unwrap_err().to_string().contains("--bind"));
        let both = Settings { bind: vec!["198.18.0.10:3478".parse().unwrap()], ..second };
        assert!(check(&both).is_ok());
        let same = Settings { bind: vec!["198.18.0.11:3478".parse().unwrap()], ..both };
        assert!(check(&same).is_err());
    }

    /// A number that is added without a rule is found here: zero serves nobody, and the greatest ones overflow.
    #[test]
    fn every_number_has_a_rule() {
        use figment::providers::{Format, Serialized, Toml};
        let defaults = figment::value::Value::serialize(Settings::default()).unwrap().into_dict().unwrap();
        let numbers: Vec<String> =
            defaults.into_iter().filter(|(_, value)| value.to_num().is_some()).map(|(key, _)| key).collect();
        assert!(numbers.len() >= 12, "{numbers:?}");
        for key in numbers {
            for value in [0, i64::MAX] {
                // Not to wait, to have no budget, and any free port are choices.
                if value == 0
                    && (key == "drain_s" || key == "tls_port" || key.starts_with("relay_gigabytes_per_"))
                {
                    continue;
                }
                let settings = figment::Figment::from(Serialized::defaults(Settings::default()))
                    .merge(Toml::string(&format!("{key} = {value}")))
                    .extract::<Settings>();
                // What does not fit the number's type is refused before.
                assert!(settings.is_err() || check(&settings.unwrap()).is_err(), "{key} = {value}");
            }
        }
    }
}
