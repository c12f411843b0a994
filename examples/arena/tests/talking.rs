//! What players write to each other, through the built program without a window.

mod programs;

use programs::{all, arena};

fn says(text: &str, line: &str) -> bool {
    text.lines().any(|said| said == line)
}

#[test]
fn what_one_says_the_others_read_and_who_only_watches_reads_why_it_cannot() {
    let server = test_support::lobby();
    let lobby = server.addresses().first[0].to_string();
    let rules = ["--rounds", "1", "--points", "3", "--round-seconds", "20"];
    let host = ["--lobby", &lobby, "--host", "den", "--name", "Ann", "--begin-with", "2", "--say", "welcome"];
    let host = arena(&[&host[..], &rules[..]].concat());
    let guest = ["--lobby", &lobby, "--join", "den", "--rounds", "1", "--name"];
    let watcher = arena(&[&guest[..], &["Eve", "--watch", "--say", "psst"]].concat());
    let guest = arena(&[&guest[..], &["Ben", "--say", "what a nice caf\u{e9}"]].concat());
    let (guest, watcher, host) = (all(guest), all(watcher), all(host));
    for (who, text) in [("the guest", &guest), ("the host", &host)] {
        assert!(says(text, "[chat] Ann: welcome"), "{who}: {text}");
        assert!(says(text, "[chat] Ben: what a nice caf\u{e9}"), "{who}: {text}");
        assert!(!text.contains("psst"), "{who}: {text}");
    }
    assert!(watcher.contains("[chat] Not sent: who watches a room does not write"), "{watcher}");
}

#[test]
fn who_writes_too_fast_reads_when_to_go_on() {
    let server = test_support::lobby();
    let lobby = server.addresses().first[0].to_string();
    let rules = ["--rounds", "1", "--points", "3", "--round-seconds", "20"];
    let host = ["--lobby", &lobby, "--host", "den", "--name", "Ann", "--begin-with", "2"];
    let host = arena(&[&host[..], &rules[..]].concat());
    let texts: Vec<String> = (0..20).map(|number| format!("--say=text {number}")).collect();
    let guest = ["--lobby", &lobby, "--join", "den", "--name", "Ben", "--rounds", "1"];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let guest = arena(&[&guest[..], &texts[..]].concat());
    let (guest, host) = (all(guest), all(host));
    assert!(guest.contains("[chat] Not sent: too fast; write again in "), "{guest}");
    assert!(says(&host, "[chat] Ben: text 0"), "{host}");
    assert!(!says(&host, "[chat] Ben: text 19"), "what was refused is not read: {host}");
}
