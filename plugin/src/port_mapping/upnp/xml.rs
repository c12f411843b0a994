//! Reads the XML of devices, mistakes included: what is well formed counts, prefixes and unclosed elements do not matter.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Elements of a document that are looked at. Descriptions have some hundreds.
const MOST: usize = 20_000;

/// This is a piece of a document, without prefixes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Start(String),
    End(String),
    /// The text is not empty, and has no white space around it.
    Text(String),
}

/// Returns the pieces of a document up to the first place where nothing can be made of it.
pub(super) fn pieces(document: &str) -> Vec<Piece> {
    let mut reader = Reader::from_str(document);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_dangling_amp = true;
    config.allow_unmatched_ends = true;
    let mut pieces = Vec::new();
    let mut text = String::new();
    while pieces.len() < MOST {
        let event = reader.read_event();
        match &event {
            Ok(Event::Text(part)) => text.push_str(part),
            Ok(Event::CData(part)) => text.push_str(part),
            Ok(Event::GeneralRef(name)) => match name.resolve_char_ref() {
                Ok(Some(character)) => text.push(character),
                _ => {
                    text.push_str(quick_xml::escape::resolve_predefined_entity(name).unwrap_or("?"));
                }
            },
            _ => {
                let whole = std::mem::take(&mut text);
                if !whole.trim().is_empty() {
                    pieces.push(Piece::Text(whole.trim().to_owned()));
                }
            }
        }
        match event {
            Ok(Event::Start(start)) => pieces.push(Piece::Start(start.local_name().as_ref().to_owned())),
            Ok(Event::End(end)) => pieces.push(Piece::End(end.local_name().as_ref().to_owned())),
            Ok(Event::Empty(empty)) => {
                let name = empty.local_name().as_ref().to_owned();
                pieces.extend([Piece::Start(name.clone()), Piece::End(name)]);
            }
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    pieces
}

/// Returns the text of the first element of this name that has any.
pub(super) fn text<'a>(pieces: &'a [Piece], name: &str) -> Option<&'a str> {
    pieces.windows(2).find_map(|pair| match pair {
        [Piece::Start(start), Piece::Text(text)] if start == name => Some(text.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_well_formed_counts_and_mistakes_around_it_do_not() {
        let broken = "<?xml version=\"1.0\"?>\n<s:Envelope><s:Body><u:Answer xmlns:u=bare>\
                      <NewName> AT&T &amp; sons </NewName><Open><NewPort>80</NewPort></u:Answer>";
        let pieces = pieces(broken);
        assert_eq!(text(&pieces, "NewPort"), Some("80"));
        assert_eq!(text(&pieces, "NewName"), Some("AT&T & sons"));
        assert_eq!(text(&pieces, "Open"), None);
    }

    #[test]
    fn however_deep_or_long_it_is_it_is_read_within_bounds() {
        for document in
            ["<a>".repeat(100_000), "</a>".repeat(100_000), "&a;".repeat(100_000), "<".repeat(100_000)]
        {
            assert!(pieces(&document).len() <= MOST + 2);
        }
    }
}
