//! `docs/proofs.md` and `docs/threat-model.md` name tests: they exist, in the files that they say. `docs/timing.md` has every
//! short constant.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, into: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            into.push((path, text));
        }
    }
}

/// A test of this name is in this text, and is not ignored.
fn has_test(text: &str, name: &str) -> bool {
    // A property test has arguments.
    let Some(place) = text.find(&format!("fn {name}(")) else { return false };
    let before = text[..place].trim_end();
    before.ends_with("#[test]") && !before.ends_with("#[ignore]")
}

#[test]
fn every_test_that_the_pages_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for package in ["traversal", "lobby_server", "natlab"] {
        sources(&root.join(package).join("src"), &mut files);
        let tests = root.join(package).join("tests");
        if tests.is_dir() {
            sources(&tests, &mut files);
        }
    }
    let pages = ["docs/proofs.md", "docs/threat-model.md"];
    let page = pages.map(|page| std::fs::read_to_string(root.join(page)).unwrap()).join("\n");
    let (mut named, mut missing) = (0, Vec::new());
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let mut file = None;
        // Every second part stands between backticks.
        for word in line.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                file = Some(word);
            } else if let Some(file) = file
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            {
                named += 1;
                let of_file = |(path, _): &&(PathBuf, String)| path.ends_with(file);
                if !files.iter().filter(of_file).any(|(_, text)| has_test(text, word)) {
                    missing.push(format!("{file}: {word}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not there:\n{}", missing.join("\n"));
    assert!(named >= 80, "{named} tests are named");
}

/// The shortest time that is spelled out in this line, in milliseconds.
fn milliseconds(line: &str) -> Option<u64> {
    [("Duration::from_millis(", 1), ("Duration::from_secs(", 1000)]
        .into_iter()
        .flat_map(|(call, unit)| line.split(call).skip(1).map(move |rest| (rest, unit)))
        .filter_map(|(rest, unit)| Some(rest.split(')').next()?.replace('_', "").parse::<u64>().ok()? * unit))
        .min()
}

/// What the time in this line is called: the constant, or else the field.
fn name_of(lines: &[&str], at: usize) -> String {
    for line in lines[..=at].iter().rev() {
        if let Some((_, rest)) = line.split_once("const ")
            && let Some((name, _)) = rest.split_once(':')
        {
            return name.into();
        }
        if line.contains("fn ") {
            break;
        }
    }
    let line = lines[at].trim();
    line.split_once(": Duration::").map_or(line, |(field, _)| field).into()
}

#[test]
fn every_constant_under_two_seconds_stands_in_the_page_of_times_with_its_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/timing.md")).unwrap();
    let mut named: BTreeSet<(String, String)> = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let columns: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [file, name, value, why] = columns[..] else { panic!("{row}") };
        assert!(!value.is_empty() && why.len() > 10, "{row}");
        named.insert((file.trim_matches('`').into(), name.trim_matches('`').into()));
    }
    let mut found = BTreeSet::new();
    let mut missing = Vec::new();
    for part in ["traversal/src", "lobby_server/src/server", "plugin/src"] {
        let mut files = Vec::new();
        sources(&root.join(part), &mut files);
        let of_tests = |path: &Path| {
            let name = path.file_stem().unwrap().to_string_lossy();
            path.components().any(|part| part.as_os_str() == "tests")
                || name.ends_with("tests")
                || ["model", "fake"].contains(&name.as_ref())
        };
        for (path, text) in files.iter().filter(|(path, _)| !of_tests(path)) {
            let lines: Vec<&str> = text.lines().take_while(|line| !line.starts_with("mod tests {")).collect();
            for (at, line) in lines.iter().enumerate() {
                let code = !line.trim_start().starts_with("//");
                if code && milliseconds(line).is_some_and(|ms| ms < 2000) {
                    let name = name_of(&lines, at);
                    let row = named.iter().find(|(file, of)| path.ends_with(file) && *of == name);
                    match row {
                        Some(row) => drop(found.insert(row.clone())),
                        None => missing.push(format!("{}: {name}", path.display())),
                    }
                }
            }
        }
    }
    assert!(
        missing.is_empty(),
        "say in docs/timing.md why the network has no part in it:\n{}",
        missing.join("\n")
    );
    assert_eq!(found, named, "what is not there any more has no row");
}
