//! The pages of the documentation: their links, their commands, and their place in the book.

mod commands;
mod links;
mod summary;

use std::path::Path;

use anyhow::{Context as _, Result};
use testbed::environment::root;

/// Returns the paths of all Markdown pages in the repository, sorted.
fn pages() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for top in ["", "docs", "deploy"] {
        collect(top, !top.is_empty(), &mut found)?;
    }
    found.sort();
    assert!(found.len() > 20, "{found:?}");
    Ok(found)
}

fn collect(folder: &str, deep: bool, found: &mut Vec<String>) -> Result<()> {
    let entries = std::fs::read_dir(root(folder)).with_context(|| format!("failed to list {folder}"))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = Path::new(folder).join(name).display().to_string();
        if entry.file_type()?.is_dir() {
            if deep {
                collect(&path, deep, found)?;
            }
        } else if Path::new(&path).extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    Ok(())
}
