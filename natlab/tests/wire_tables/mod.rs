//! The tables of messages in `docs/protocol.md`, compared with the types in the source: numbers, names, order, types.

use std::collections::BTreeSet;

use traversal_core::id::MatchId;
use traversal_core::wire::codec;
use traversal_core::wire::message::{Frame, Method, ToPlayer, ToServer};
use traversal_core::wire::pair::PairMessage;

use super::{named, read};

/// It is a variant or a field, and what it carries: in the page and in the source in one form.
type Row = (String, String);

/// Returns the text up to the bracket that closes the one which `text` begins with.
fn inside(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[1..at];
        }
    }
    panic!("no end: {text}");
}

/// Returns the parts between commas that stand in no bracket.
fn parts(text: &str) -> Vec<String> {
    let (mut depth, mut all) = (0, vec![String::new()]);
    for c in text.chars() {
        match c {
            '{' | '(' | '[' | '<' => depth += 1,
            '}' | ')' | ']' | '>' => depth -= 1,
            ',' if depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.last_mut().unwrap().push(c);
    }
    all.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Takes documentation and attributes away.
fn bare(text: &str) -> String {
    let mut bare = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        bare.push_str(line.split(" //").next().unwrap());
        bare.push('\n');
    }
    while let Some(at) = bare.find("#[") {
        // An attribute's text may hold brackets, each with its other one.
        let end = at + 1 + inside(&bare[at + 1..]).len() + 2;
        bare.replace_range(at..end, "");
    }
    bare
}

/// Returns a type without paths, visibility and boxes, which leave nothing on the wire.
fn plain_type(text: &str) -> String {
    let mut plain: String = text.split_whitespace().collect();
    plain = plain.replace("crate::wire::RELAY_HEADER-1", "15");
    for name in ["MAC", "CHALLENGE", "PROOF"] {
        plain = plain.replace(&format!("[u8;{name}]"), "[u8;16]");
    }
    while let Some(end) = plain.find("::") {
        let start = plain[..end].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        plain.replace_range(start..end + 2, "");
    }
    match plain.strip_prefix("Box<") {
        Some(boxed) => boxed.trim_end_matches('>').to_owned(),
        None => plain,
    }
}

fn field(text: &str) -> Row {
    let text = text.strip_prefix("pub ").unwrap_or(text);
    match text.split_once(':').filter(|(name, _)| name.chars().all(|c| c.is_alphanumeric() || c == '_')) {
        Some((name, kind)) if !kind.starts_with(':') => (name.to_owned(), plain_type(kind)),
        _ => (String::new(), plain_type(text)),
    }
}

fn content(fields: &str) -> String {
    let fields = parts(fields).into_iter().map(|text| {
        let (name, kind) = field(&text);
        if name.is_empty() { kind } else { format!("{name}:{kind}") }
    });
    fields.collect::<Vec<_>>().join(",")
}

/// Returns the variants of an enum or the fields of a struct, in their order.
fn of_source(path: &str, name: &str) -> (bool, Vec<Row>) {
    let source = read(path);
    let find = |kind: &str| {
        let begins = format!("pub {kind} {name}");
        let ends = |at: &usize| source[at + begins.len()..].starts_with([' ', '<', '(']);
        source.match_indices(&begins).map(|(at, _)| at).find(ends)
    };
    let is_enum = find("enum").is_some();
    let at = find("enum").or_else(|| find("struct")).unwrap_or_else(|| panic!("no {name} in {path}"));
    let rest = &source[at..];
    let body = bare(inside(&rest[rest.find(['{', '(']).unwrap()..]));
    let rows = parts(&body).into_iter().map(|part| {
        let split = part.find(['{', '(']).filter(|_| is_enum);
        match split {
            Some(at) => (part[..at].trim().to_owned(), content(inside(&part[at..]))),
            None if is_enum => (part, String::new()),
            None => field(&part),
        }
    });
    (is_enum, rows.collect())
}

/// Returns the rows of the table after a heading.
fn of_page(section: &str) -> Vec<Row> {
    let cell = |cell: &str| cell.trim().trim_matches('`').split_whitespace().collect::<String>();
    let lines = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let table = lines.take_while(|line| line.starts_with('|'));
    let rows = table.enumerate().map(|(index, line)| {
        let cells: Vec<&str> = line.split('|').collect();
        if cells.len() == 6 {
            assert_eq!(cell(cells[1]), index.to_string(), "the number in {line}");
            (cell(cells[2]), cell(cells[3]))
        } else {
            (cell(cells[1]), cell(cells[2]))
        }
    });
    rows.collect()
}

#[test]
fn the_protocols_tables_are_those_of_the_source() {
    let page = read("docs/protocol.md");
    let (mut wrong, mut tables) = (Vec::new(), 0);
    for section in page.split("\n#### ").skip(1) {
        let (name, text) = section.split_once('\n').unwrap();
        let found = named(text);
        let (path, found_name) =
            *found.names.first().unwrap_or_else(|| panic!("{name} says not where it is"));
        assert_eq!(found_name, name);
        let ((is_enum, source), table) = (of_source(path, name), of_page(text));
        let numbered = text.lines().any(|line| line.starts_with("| # |"));
        assert_eq!(is_enum, numbered, "{name}");
        if source != table {
            wrong.push(format!("{name} ({path})\n  source: {source:?}\n  page:   {table:?}"));
        }
        tables += 1;
    }
    assert!(
        wrong.is_empty(),
        "docs/protocol.md differs from the source; see there how a wire change is made:\n{}",
        wrong.join("\n")
    );
    assert!(tables >= 40, "{tables} tables");
}

#[test]
fn the_protocols_examples_are_what_the_codec_writes() {
    let page = read("docs/protocol.md");
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let pong = Frame::<ToPlayer>::Pong { id: 7, observed: "192.0.2.1:40000".parse().unwrap() };
    let again = Frame::Reliable { seq: 0, body: ToServer::PunchAgain { match_id: MatchId(1) } };
    let test = PairMessage::Test { tag: 0x0102_0304, method: Method::Bubble };
    let numbers = [250u32, 251, 65_535, 65_536].map(|number| hex(codec::encode(&number).unwrap()));
    let signed = [-1i32, 1, -64].map(|number| hex(codec::encode(&number).unwrap()));
    for (line, written) in [
        ("| `250u32`,", numbers.map(|hex| format!("`{hex}`")).join("; ")),
        ("| `-1i32`,", signed.map(|hex| format!("`{hex}`")).join("; ")),
        ("| `Frame::Ping", format!("`{}`", hex(codec::encode(&Frame::<ToServer>::Ping { id: 7 }).unwrap()))),
        ("| `Frame::Pong", format!("`{}`", hex(codec::encode(&pong).unwrap()))),
        ("| `Frame::Reliable", format!("`{}`", hex(codec::encode(&again).unwrap()))),
        ("| `PairMessage::Test", format!("`{}`", hex(codec::encode(&test).unwrap()))),
    ] {
        let found = page.lines().find(|found| found.starts_with(line)).unwrap_or_else(|| panic!("no {line}"));
        assert!(found.ends_with(&format!("| {written} |")), "{written} is not in {found}");
    }
}

#[test]
fn every_variant_of_the_tables_has_its_bytes_nailed_down() {
    let (page, bytes) = (read("docs/protocol.md"), read("traversal/src/wire/samples/bytes.txt"));
    let names: BTreeSet<&str> = bytes.lines().filter_map(|line| line.split(' ').next()).collect();
    let mut missing = Vec::new();
    for section in page.split("\n#### ").skip(1) {
        let (name, text) = section.split_once('\n').unwrap();
        let path = named(text).names.first().unwrap().0;
        let (is_enum, rows) = of_source(path, name);
        let wanted = if is_enum {
            rows.into_iter().map(|(variant, _)| format!("{name}::{variant}")).collect()
        } else {
            vec![name.to_owned()]
        };
        missing.extend(wanted.into_iter().filter(|wanted| !names.contains(wanted.as_str())));
    }
    assert!(missing.is_empty(), "traversal/src/wire/samples/values.rs has no value of {missing:?}");
}
