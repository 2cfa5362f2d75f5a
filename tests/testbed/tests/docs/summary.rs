//! The table of contents of the book.

use anyhow::Result;
use testbed::environment::root;

use crate::pages;

#[test]
fn the_book_has_every_page_once() -> Result<()> {
    let summary = std::fs::read_to_string(root("docs/SUMMARY.md"))?;
    for page in pages()? {
        let Some(page) = page.strip_prefix("docs/").filter(|page| *page != "SUMMARY.md") else { continue };
        assert_eq!(summary.matches(&format!("({page})")).count(), 1, "docs/SUMMARY.md does not have {page} once");
    }
    Ok(())
}
