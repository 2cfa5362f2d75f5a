//! Every block of commands is run by a test, or its comment says why not.

use anyhow::Result;
use testbed::{Fence, Page, environment::root};

use crate::pages;

/// The languages of commands.
const COMMANDS: [&str; 5] = ["sh", "console", "bash", "shell", "terminal"];
/// The folders with the tests that run commands of pages.
const TESTS: [&str; 2] = ["tests/e2e", "tests/testbed/tests"];

#[test]
fn every_command_is_run_by_a_test_or_marked() -> Result<()> {
    let tests = tests()?;
    let (mut wrong, mut run) = (Vec::new(), 0);
    for path in pages()? {
        let page = Page::read(&path)?;
        for fence in page.fences() {
            run += usize::from(fence.mark.is_some_and(|(key, _)| key == "rehearsed"));
            wrong.extend(problem(&path, &fence, &tests).map(|problem| format!("{path}:{}: {problem}", fence.line)));
        }
    }
    assert!(run > 20, "only {run} blocks are run");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Says what is wrong with a block, given the text of all tests.
fn problem(path: &str, fence: &Fence<'_>, tests: &[String]) -> Option<String> {
    let way_out = "write <!-- rehearsed: NAME --> above it and run it in a test, or <!-- not-run: REASON -->";
    let Fence { language, mark, text, .. } = fence;
    if !COMMANDS.contains(language) {
        let is_command = |line: &str| ["$ ", "kubectl ", "make ", "helm "].iter().any(|start| line.starts_with(start));
        let hidden = language.is_empty() && text.lines().any(is_command);
        return hidden.then(|| "commands need the language sh or console".to_owned());
    }
    match mark {
        Some(("rehearsed", name)) => {
            let (path, name) = (format!("\"{path}\""), format!("\"{name}\""));
            let runs = tests.iter().any(|test| test.contains(&path) && test.contains(&name));
            (!runs).then(|| format!("no test names both {path} and {name}"))
        }
        Some(("not-run", reason)) if reason.split_whitespace().count() > 2 => None,
        Some(("not-run", _)) => Some("not-run needs a reason".to_owned()),
        _ => Some(format!("the commands are neither run nor marked: {way_out}")),
    }
}

/// Returns the text of each file with tests.
fn tests() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in TESTS {
        for entry in std::fs::read_dir(root(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(std::fs::read_to_string(path)?);
            }
        }
    }
    Ok(found)
}

#[test]
fn a_command_without_a_mark_is_found() {
    let fence = |language, mark| Fence { line: 1, language, mark, text: "$ kubectl get prr\n".to_owned() };
    let tests = ["Page::read(\"docs/a.md\")?.script(\"one\")".to_owned()];
    for (fence, is_right) in [
        (fence("sh", Some(("rehearsed", "one"))), true),
        (fence("sh", Some(("rehearsed", "two"))), false),
        (fence("console", Some(("not-run", "needs an AWS account"))), true),
        (fence("console", Some(("not-run", "no"))), false),
        (fence("console", None), false),
        (fence("", None), false),
        (fence("yaml", None), true),
    ] {
        assert_eq!(problem("docs/a.md", &fence, &tests).is_none(), is_right, "{fence:?}");
        assert!(fence.mark.is_none_or(|(key, _)| key != "rehearsed") || problem("docs/b.md", &fence, &tests).is_some());
    }
}
