//! Every link within the repository leads to a file, and its anchor to a heading. Anchors are those
//! that GitHub makes; `make book` checks those of the book.

use std::{
    collections::{HashMap, HashSet},
    path::{Component, Path, PathBuf},
};

use anyhow::Result;
use testbed::environment::root;

use crate::pages;

#[test]
fn every_link_leads_to_a_file_and_a_heading() -> Result<()> {
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for page in pages()? {
        let text = std::fs::read_to_string(root(&page))?;
        for (line, target) in targets(&text) {
            checked += 1;
            wrong.extend(problem(&page, &text, &target)?.map(|problem| format!("{page}:{line}: {target}: {problem}")));
        }
    }
    assert!(checked > 100, "only {checked} links were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Says what is wrong with a link of a page.
fn problem(page: &str, text: &str, target: &str) -> Result<Option<String>> {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let file = if path.is_empty() { PathBuf::from(page) } else { resolve(page, path) };
    let on_disk = PathBuf::from(root(&file.display().to_string()));
    if !on_disk.exists() {
        return Ok(Some(format!("there is no {}", file.display())));
    }
    let Some(anchor) = anchor else { return Ok(None) };
    if file.extension().is_none_or(|extension| extension != "md") {
        return Ok(Some("an anchor of a file that is no page".to_owned()));
    }
    let linked = if path.is_empty() { text.to_owned() } else { std::fs::read_to_string(on_disk)? };
    Ok((!anchors(&linked).contains(anchor)).then(|| format!("{} has no such heading", file.display())))
}

/// Returns the path in the repository of a link from a page.
fn resolve(page: &str, link: &str) -> PathBuf {
    let mut path = Path::new(page).parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// Returns the targets of the links of a page outside code, except addresses.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let line: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let local = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
        found.extend(local.map(|target| (number, target.to_owned())));
    }
    found
}

/// Returns the lines outside fenced blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((index + 1, line))
    })
}

/// Returns the anchors of the headings of a page.
fn anchors(text: &str) -> HashSet<String> {
    let mut times: HashMap<String, usize> = HashMap::new();
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    let anchors = headings.map(|(_, line)| {
        let anchor = anchor(line.trim_start_matches('#').trim());
        let seen = times.entry(anchor.clone()).or_default();
        *seen += 1;
        if *seen == 1 { anchor } else { format!("{anchor}-{}", *seen - 1) }
    });
    anchors.collect()
}

fn anchor(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let kept = lower.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn a_broken_link_is_found() -> Result<()> {
    let text = "# One\n\n# One\n[a](b.md) `[c](d)` [e](https://f)\n```\n[g](h)\n```\n";
    assert_eq!(targets(text), [(4, "b.md".to_owned())]);
    for (target, is_right) in [
        ("#one", true),
        ("#one-1", true),
        ("#two", false),
        ("style.md#avoided-words", true),
        ("style.md#no-such-heading", false),
        ("../Makefile", true),
        ("../Makefile#up", false),
        ("no-such-page.md", false),
    ] {
        assert_eq!(problem("docs/style.md", text, target)?.is_none(), is_right, "{target}");
    }
    Ok(())
}
