//! The pages name files, names in them and tests: they exist, where the pages say. Links between pages lead somewhere, every
//! method has its paragraph, and `docs/timing.md` has every short constant.

#![allow(clippy::unwrap_used)]

mod wire_tables;
mod wire_transcript;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

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

/// Tells whether a test of this name is in this text, and is not ignored.
fn has_test(text: &str, name: &str) -> bool {
    // A property test has arguments.
    let Some(place) = text.find(&format!("fn {name}(")) else { return false };
    let mut attributes = text[..place].lines().rev().skip_while(|line| line.trim().is_empty());
    let attributes: Vec<&str> =
        attributes.by_ref().take_while(|line| line.trim().starts_with("#[")).collect();
    attributes.iter().any(|line| line.contains("#[test]"))
        && !attributes.iter().any(|line| line.contains("#[ignore"))
}

/// This name stands in this text as a word of its own.
fn has_word(text: &str, name: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(place, _)| {
        !text[..place].ends_with(in_word) && !text[place + name.len()..].starts_with(in_word)
    })
}

#[test]
fn every_test_that_the_pages_name_exists() {
    let mut files = Vec::new();
    for package in ["traversal", "udp", "lobby_server", "plugin", "natlab", "fuzz_targets", "examples/peer"] {
        sources(&root().join(package).join("src"), &mut files);
        let tests = root().join(package).join("tests");
        if tests.is_dir() {
            sources(&tests, &mut files);
        }
    }
    let page = ["docs/proofs.md", "docs/threat-model.md"].map(read).join("\n");
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

/// Whether a word between backticks is a path from the root of the repository.
fn is_path(word: &str) -> bool {
    let known = [".rs", ".md", ".toml", ".yml", ".service", "/"].iter().any(|end| word.ends_with(end));
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    known && word.contains('/') && !word.starts_with('/') && word.chars().all(plain)
}

/// It is a page, read by this rule: after a path that ends with `.rs`, `: ` and names between backticks, parted by `,
/// `, are names in that file.
#[derive(Debug, Default)]
struct Named<'a> {
    paths: BTreeSet<&'a str>,
    names: Vec<(&'a str, &'a str)>,
}

fn named(page: &str) -> Named<'_> {
    let mut found = Named::default();
    let mut file = None;
    let mut parts = page.split('`');
    let mut between = parts.next().unwrap_or_default();
    while let (Some(word), Some(after)) = (parts.next(), parts.next()) {
        let parting = between.split_whitespace().collect::<Vec<_>>().join(" ");
        if is_path(word) {
            found.paths.insert(word);
            file = word.ends_with(".rs").then_some((word, ":"));
        } else if let Some((path, _)) = file.filter(|(_, expected)| *expected == parting) {
            found.names.push((path, word));
            file = Some((path, ","));
        } else {
            file = None;
        }
        between = after;
    }
    found
}

/// What of these does not exist.
fn missing(found: &Named<'_>) -> Vec<String> {
    let paths = found.paths.iter().filter(|path| !root().join(path).exists()).map(|path| (*path).to_owned());
    let of_file = |(path, name): &&(&str, &str)| {
        let last = name.rsplit("::").next().unwrap_or(name);
        !std::fs::read_to_string(root().join(path)).is_ok_and(|text| has_word(&text, last))
    };
    let names = found.names.iter().filter(of_file).map(|(path, name)| format!("{path}: {name}"));
    paths.chain(names).collect()
}

#[test]
fn every_method_has_its_paragraph_and_what_is_named_there_exists() {
    let page = read("docs/methods.md");
    let wanted: Vec<String> = [('M', 40), ('S', 4), ('E', 4)]
        .into_iter()
        .flat_map(|(letter, last)| (1..=last).map(move |number| format!("{letter}{number}")))
        .collect();
    let sections: Vec<(&str, &str)> =
        page.split("\n### ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    let (mut wrong, mut tests) = (Vec::new(), 0);
    for id in &wanted {
        let found: Vec<&str> =
            sections.iter().filter(|(section, _)| section == id).map(|(_, text)| *text).collect();
        let [text] = found.as_slice() else {
            wrong.push(format!("{id} has {} paragraphs", found.len()));
            continue;
        };
        let text = text.split("\n## ").next().unwrap();
        if !text.trim_start().starts_with("**") {
            wrong.push(format!("{id} does not say what it is"));
        }
        for part in ["- Source: ", "- Kin: ", "- Code: ", "- Tests: "] {
            if text.matches(part).count() != 1 {
                wrong.push(format!("{id} has not one line \"{part}\""));
            }
        }
        let Some((_, of_tests)) = text.split_once("- Tests: ") else { continue };
        let found = named(of_tests);
        for (path, name) in &found.names {
            if !has_test(&read(path), name) {
                wrong.push(format!("{id}: {path} has no test {name}"));
            }
        }
        if found.names.is_empty() && !of_tests.starts_with("none") {
            wrong.push(format!("{id} names no test"));
        }
        tests += found.names.len();
    }
    let found = named(&page);
    wrong.extend(missing(&found));
    assert!(wrong.is_empty(), "docs/methods.md:\n{}", wrong.join("\n"));
    assert!(tests >= 80 && found.names.len() >= 150, "{tests} tests, {} names", found.names.len());
}

#[test]
fn every_file_and_name_of_the_map_exists() {
    for (page, least) in [("docs/architecture.md", 80), ("docs/protocol.md", 20), ("CONTRIBUTING.md", 10)] {
        let text = read(page);
        let found = named(&text);
        let missing = missing(&found);
        assert!(missing.is_empty(), "{page} names what is not there:\n{}", missing.join("\n"));
        assert!(found.paths.len() >= least, "{page} names {} files", found.paths.len());
    }
}

/// Returns the anchor that a heading gets where pages are shown.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    heading.trim().to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Returns the text without what stands in code blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    let mut pages: Vec<String> =
        ["README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md"].map(String::from).into();
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    let (mut dead, mut links) = (Vec::new(), 0);
    for page in &pages {
        let text = prose(&read(page));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            links += 1;
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let own = root().join(page);
            let target = if path.is_empty() { own } else { own.parent().unwrap().join(path) };
            let there = if fragment.is_empty() {
                target.exists()
            } else {
                std::fs::read_to_string(&target).is_ok_and(|text| {
                    let mut headings = text.lines().filter(|line| line.starts_with('#'));
                    headings.any(|line| anchor(line.trim_start_matches('#')) == fragment)
                })
            };
            if !there {
                dead.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "links that lead nowhere:\n{}", dead.join("\n"));
    assert!(links >= 60, "{links} links");
}

/// Returns the shortest time that is spelled out in this line, in milliseconds.
fn milliseconds(line: &str) -> Option<u64> {
    [("Duration::from_millis(", 1), ("Duration::from_secs(", 1000)]
        .into_iter()
        .flat_map(|(call, unit)| line.split(call).skip(1).map(move |rest| (rest, unit)))
        .filter_map(|(rest, unit)| Some(rest.split(')').next()?.replace('_', "").parse::<u64>().ok()? * unit))
        .min()
}

/// Returns the times that a row of the page names, in milliseconds: `30, 80 ms`, `250 ms to 30 s`.
fn times(value: &str) -> Vec<u64> {
    let words: Vec<&str> = value.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let unit = |at: usize| words[at..].iter().find(|word| ["ms", "s"].contains(word));
    let time = |(at, word): (usize, &&str)| {
        let number: f64 = word.parse().ok()?;
        Some((number * if *unit(at)? == "s" { 1000.0 } else { 1.0 }) as u64)
    };
    words.iter().enumerate().filter_map(time).collect()
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
    let mut named: BTreeSet<[String; 3]> = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let columns: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [file, name, value, why] = columns[..] else { panic!("{row}") };
        assert!(!value.is_empty() && why.len() > 10, "{row}");
        named.insert([file, name, value].map(|text| text.trim_matches('`').into()));
    }
    let mut found = BTreeSet::new();
    let mut missing = Vec::new();
    for part in ["traversal/src", "lobby_server/src/server", "plugin/src", "udp/src"] {
        let mut files = Vec::new();
        sources(&root.join(part), &mut files);
        let of_tests = |path: &Path| {
            let name = path.file_stem().unwrap().to_string_lossy();
            path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "model")
                || name.ends_with("tests")
                || ["model", "fake"].contains(&name.as_ref())
        };
        for (path, text) in files.iter().filter(|(path, _)| !of_tests(path)) {
            let lines: Vec<&str> = text.lines().take_while(|line| !line.starts_with("mod tests {")).collect();
            for (at, line) in lines.iter().enumerate() {
                let code = !line.trim_start().starts_with("//");
                if let Some(ms) = milliseconds(line).filter(|ms| code && *ms < 2000) {
                    let name = name_of(&lines, at);
                    let row = named.iter().find(|[file, known, _]| path.ends_with(file) && *known == name);
                    let said = row.map(|[_, _, value]| (times(value), value.contains(" to ")));
                    if said.is_some_and(|(times, range)| {
                        times.contains(&ms) || range && times[0] < ms && ms < times[1]
                    }) {
                        found.extend(row.cloned());
                    } else {
                        missing.push(format!("{}: {name}, {ms} ms", path.display()));
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

#[test]
fn the_game_on_the_readme_is_the_example_word_for_word() {
    let readme = read("README.md");
    let (_, behind) = readme.split_once("<!-- squares -->\n```rust,ignore\n").expect("the game begins");
    let (shown, _) = behind.split_once("```\n<!-- /squares -->").expect("the game ends");
    assert_eq!(shown, read("examples/squares/src/main.rs"));
    for game in ["examples/squares/src/main.rs", "examples/squares/src/bin/squares_datagrams.rs"] {
        assert!(read(game).lines().count() <= 60, "{game}: the smallest game fits a screen");
    }
}

#[test]
fn the_readme_is_a_landing_page_and_the_book_has_every_other_page() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 250, "README.md has {lines} lines: what is longer has a page of its own");
    let summary = read("docs/SUMMARY.md");
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") && name != "SUMMARY.md" {
            assert!(summary.contains(&format!("]({name})")), "docs/SUMMARY.md lacks {name}");
        }
    }
}
