//! `docs/proofs.md` and `docs/threat-model.md` name tests: they exist, in the files that they say.

#![allow(clippy::unwrap_used)]

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
    for package in ["traversal", "lobby_server", "natlab", "fuzz_targets"] {
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
