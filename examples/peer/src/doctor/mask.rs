//! Takes out of texts what tells where a player is. Of an address the kind is left, and its port: `203.0.113.9:4000` becomes
//! `203.x.x.x:4000`, `192.168.1.20` becomes `192.168.x.x`, `2001:db8::1` becomes `2001:x`. Loopback and unspecified addresses are
//! everybody's, and stay.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

/// Masks all addresses in a text.
pub(super) fn text(text: &str) -> String {
    let part_of_address = |c: char| c.is_ascii_hexdigit() || ".:[]%".contains(c);
    let (mut masked, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(begin) = rest.find(part_of_address) {
        let (before, from) = rest.split_at(begin);
        masked.push_str(before);
        let mut end = from.find(|c| !part_of_address(c)).unwrap_or(from.len());
        if from[..end].contains('%') {
            // The name of an interface follows (RFC 4007 section 11).
            end += from[end..].find(|c: char| !c.is_alphanumeric()).unwrap_or(from.len() - end);
        }
        let (word, after) = from.split_at(end);
        // In a word of other letters ("interface"), there is none.
        let alone = !masked.ends_with(char::is_alphanumeric);
        masked.push_str(&word_masked(word).filter(|_| alone).unwrap_or_else(|| word.to_owned()));
        rest = after;
    }
    masked.push_str(rest);
    masked
}

/// Masks all addresses in the texts of a value.
pub(super) fn value(value: Value) -> Value {
    match value {
        Value::String(string) => Value::String(text(&string)),
        Value::Array(values) => values.into_iter().map(self::value).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, field)| (name, self::value(field))).collect())
        }
        other => other,
    }
}

/// Returns the same word with its address masked; `None`: it has none. What ends a sentence stays behind it.
fn word_masked(word: &str) -> Option<String> {
    let bare = word.trim_end_matches(['.', ':']);
    let behind = &word[bare.len()..];
    // The colons of an address without its last groups belong to it.
    [(word, ""), (bare, behind)].into_iter().find_map(|(word, behind)| Some(masked(word)? + behind))
}

fn masked(word: &str) -> Option<String> {
    if let Ok(ip) = word.parse() {
        return Some(ip_masked(ip));
    }
    if let Ok(address) = word.parse::<SocketAddr>() {
        let (ip, port) = (ip_masked(address.ip()), address.port());
        return Some(if address.is_ipv4() { format!("{ip}:{port}") } else { format!("[{ip}]:{port}") });
    }
    // [2001:db8::1], and fe80::1%3.
    let inner = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
    inner.and_then(masked).or_else(|| word.split_once('%').and_then(|(address, _)| masked(address)))
}

fn ip_masked(ip: IpAddr) -> String {
    match ip.to_canonical() {
        ip if ip.is_loopback() || ip.is_unspecified() => ip.to_string(),
        IpAddr::V4(v4) => match v4.octets() {
            // Private, shared and link-local ranges are told by two octets, and nobody is found by these.
            [a, b, ..] if v4.is_private() || v4.is_link_local() || a == 100 && b & 0xc0 == 64 => {
                format!("{a}.{b}.x.x")
            }
            [a, ..] => format!("{a}.x.x.x"),
        },
        IpAddr::V6(v6) => format!("{:x}:x", v6.segments()[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_address_is_left_in_a_text() {
        for (with, without) in [
            ("it sees this machine at 203.0.113.9:4000.", "it sees this machine at 203.x.x.x:4000."),
            ("192.168.1.20, 10.1.2.3 and 100.64.9.9", "192.168.x.x, 10.1.x.x and 100.64.x.x"),
            ("[2001:db8:1:2::3]:3478: refused", "[2001:x]:3478: refused"),
            ("at [2001:db8::1], fe80::1%eth0", "at 2001:x, fe80:x"),
            ("::ffff:203.0.113.9 and 2001:db8::", "203.x.x.x and 2001:x"),
            ("(198.51.100.7)", "(198.x.x.x)"),
            ("127.0.0.1:80, [::1]:80, 0.0.0.0:0", "127.0.0.1:80, [::1]:80, 0.0.0.0:0"),
        ] {
            let found = text(with);
            assert_eq!(found, without, "{with:?}");
        }
    }

    #[test]
    fn other_words_stay_as_they_are() {
        for same in [
            "version 0.1.0, at 12:30, took 1.5 s",
            "the interface added: a bad face.",
            "std::net is code",
            "é: 1.2",
        ] {
            assert_eq!(text(same), same);
        }
    }

    #[test]
    fn values_are_masked_to_their_last_field() {
        let with = json!({"a": ["10.9.8.7", {"b": "on 203.0.113.9"}], "n": 5});
        assert_eq!(value(with), json!({"a": ["10.9.x.x", {"b": "on 203.x.x.x"}], "n": 5}));
    }
}
