//! Each named NAT, and all axes crossed with each other, through RFC 5780's procedure.

use super::*;

/// It holds what RFC 5780 sections 4.3 and 4.4 find out, from a client with a socket for mapping and a fresh one for
/// filtering, and a server with two addresses and two ports.
#[derive(Debug, PartialEq)]
struct Found {
    udp: bool,
    translated: bool,
    mapping: Mapping,
    filtering: Filtering,
}

fn rfc5780(nat: &mut Nat) -> Found {
    const A1P1: &str = "198.18.0.10:3478";
    const A2P1: &str = "198.18.0.11:3478";
    const A2P2: &str = "198.18.0.11:3479";
    const A1P2: &str = "198.18.0.10:3479";
    let mut found = Found {
        udp: false,
        translated: false,
        mapping: Mapping::EndpointIndependent,
        filtering: Filtering::EndpointIndependent,
    };
    let client = if nat.config().translates() { IN } else { "198.18.1.1:40000" };
    let mut seen = Vec::new();
    for server in [A1P1, A2P1, A2P2] {
        match nat.outbound(ms(0), Header::udp(addr(client), addr(server))) {
            Verdict::Forward(header) => seen.push(header.src),
            _ => return found,
        }
    }
    found.udp = comes_in(nat, ms(50), A1P1, seen[0]);
    found.translated = seen[0] != addr(client);
    found.mapping = match (seen[0] == seen[1], seen[1] == seen[2]) {
        (true, _) => Mapping::EndpointIndependent,
        (false, true) => Mapping::AddressDependent,
        (false, false) => Mapping::AddressAndPortDependent,
    };
    // The filter test needs a socket that has not sent to the other address.
    let fresh = addr(client).ip().to_string() + ":41000";
    let external = out(nat, ms(100), &fresh, A1P1);
    found.filtering = if comes_in(nat, ms(150), A2P2, external) {
        Filtering::EndpointIndependent
    } else if comes_in(nat, ms(150), A1P2, external) {
        Filtering::AddressDependent
    } else {
        Filtering::AddressAndPortDependent
    };
    found
}

#[test]
fn every_preset_is_what_its_name_says() {
    use Filtering::{AddressAndPortDependent as Apdf, AddressDependent as Adf, EndpointIndependent as Eif};
    use Mapping::{AddressAndPortDependent as Apdm, AddressDependent as Adm, EndpointIndependent as Eim};
    let expected = [
        ("none", true, false, Eim, Eif),
        ("firewall", true, false, Eim, Apdf),
        ("fullcone", true, true, Eim, Eif),
        ("restricted", true, true, Eim, Adf),
        ("portrestricted", true, true, Eim, Apdf),
        ("as", true, true, Adm, Adf),
        ("ps", true, true, Apdm, Apdf),
        ("psrandom", true, true, Apdm, Apdf),
        ("cgn", true, true, Eim, Eif),
        ("linux", true, true, Eim, Apdf),
        ("udpblocked", false, false, Eim, Eif),
    ];
    assert_eq!(PRESETS.map(|preset| preset.name), expected.map(|row| row.0));
    for (name, udp, translated, mapping, filtering) in expected {
        assert_eq!(rfc5780(&mut nat(name)), Found { udp, translated, mapping, filtering }, "{name}");
    }
}

/// No axis moves another one: all of them crossed, each found as it was set.
#[test]
fn the_axes_are_independent() {
    let mappings = [
        ("eim", Mapping::EndpointIndependent),
        ("adm", Mapping::AddressDependent),
        ("apdm", Mapping::AddressAndPortDependent),
    ];
    let filters = [
        ("eif", Filtering::EndpointIndependent),
        ("adf", Filtering::AddressDependent),
        ("apdf", Filtering::AddressAndPortDependent),
    ];
    for (mapping_name, mapping) in mappings {
        for (filter_name, filtering) in filters {
            for ports in ["preserving", "preserving:sequential", "sequential:3", "random", "block:1024"] {
                for hairpin in ["no", "yes", "internal"] {
                    for rest in
                        ["", ",pool=3,pooling=arbitrary", ",parity=yes,quota=99,clash=yes,blacklist=50"]
                    {
                        let spec = format!(
                            "mapping={mapping_name},filtering={filter_name},ports={ports},hairpin={hairpin}{rest}"
                        );
                        let found = rfc5780(&mut nat(&spec));
                        let expected = Found { udp: true, translated: true, mapping, filtering };
                        assert_eq!(found, expected, "{spec}");
                        assert_eq!(hairpins(&mut nat(&spec)), hairpin != "no", "{spec}");
                    }
                }
            }
        }
    }
}

/// A socket sends to another one's external address, which has sent to it before, so that no filter matters.
fn hairpins(nat: &mut Nat) -> bool {
    let (one, other) = ("192.168.1.2:41000", "192.168.1.3:42000");
    // Both towards each other's port as far as it can be known; a lenient axis needs less.
    let seen = out(nat, ms(0), other, "198.18.0.1:1");
    match nat.outbound(ms(1), Header::udp(addr(one), seen)) {
        Verdict::Hairpin(header) => header.dst == addr(other),
        Verdict::Drop(reason) => reason != DropReason::NoHairpin,
        Verdict::Forward(_) => panic!("an own address does not leave"),
    }
}
