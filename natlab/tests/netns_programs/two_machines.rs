//! Two shipped lobby servers with one address each, which are each other's second address.

use std::fs;

use crate::{event, run};

#[test]
fn two_servers_with_one_address_each_classify_in_full_and_players_meet() {
    for (left, right, told) in [
        ("restricted", "as", ["restricted cone", "address-sensitive symmetric"]),
        ("portrestricted", "fullcone", ["port-restricted cone", "full cone"]),
    ] {
        let nats = ["--left", left, "--right", right, "--two-lobbies", "--after", "nat"];
        let Some(report) = run(&nats, &["--for", "3"]) else { return };
        assert_eq!((&report["ok"], &report["path"]), (&true.into(), &"direct".into()), "{report}");
        for (role, kind) in [("host", told[0]), ("join", told[1])] {
            let nat = event(&report, role, "nat");
            assert_eq!(nat["confidence"], "full", "{report}");
            assert!(nat["kind"].as_str().is_some_and(|said| said == kind), "{kind}: {nat}");
        }
        let directory = report["log_dir"].as_str().expect("a directory");
        for name in ["lobby", "neighbour"] {
            let log = fs::read_to_string(format!("{directory}/{name}.err")).expect("the server's log");
            assert!(log.contains("linked") && !log.contains("WARN"), "{log}");
        }
    }
}
