//! The status page for a person: one document without anything from elsewhere, whose script asks for the numbers.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("dashboard/style.css");
const SCRIPT: &str = include_str!("dashboard/script.js");

/// This is the page, and what browsers are to let it do.
pub(super) struct Page {
    pub(super) html: String,
    /// Nothing but this very style and script counts, and the script asks this server alone.
    pub(super) policy: String,
}

/// It never changes: what does comes by `/status.json` and `/history.json`.
pub(super) static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let html = include_str!("dashboard/page.html").replace("/*STYLE*/", STYLE).replace("/*SCRIPT*/", SCRIPT);
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    Page { html, policy }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_from_the_server_becomes_markup() {
        let html = &PAGE.html;
        assert!(html.contains(STYLE) && html.contains(SCRIPT));
        // The name of SVG's elements is no address that anybody asks.
        let foreign = html.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !foreign.contains("http:") && !foreign.contains("https:") && !foreign.contains("//cdn"),
            "{foreign}"
        );
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
        {
            assert!(!SCRIPT.contains(markup), "{markup}");
        }
        // The policy forbids them, so they would do nothing.
        assert!(!html.contains(" style=") && !html.contains(" onclick="), "attributes");
        assert!(!PAGE.policy.contains("unsafe"));
    }
}
