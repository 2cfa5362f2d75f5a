//! The pages of the documentation, whose commands tests run as they are written.
//!
//! A block of commands has a comment above it: `<!-- rehearsed: NAME -->` if a test runs it, or
//! `<!-- not-run: REASON -->`. `docs/style.md` explains both to writers.

mod output;

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::environment::root;

/// The line between the outputs of two commands of a block.
const BOUNDARY: &str = "----- the next command of the page -----";

/// A page, by its path in the repository.
#[derive(Clone, Debug)]
pub struct Page {
    path: String,
    text: String,
}

/// A fenced block of code, and the comment above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence<'a> {
    /// The number of the line that opens it.
    pub line: usize,
    /// The language.
    pub language: &'a str,
    /// The key and the value of the comment in the line above: `rehearsed`, `not-run` or `file`.
    pub mark: Option<(&'a str, &'a str)>,
    /// The lines between the fences, without the indentation of the fences.
    pub text: String,
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// If there is no such page.
    pub fn read(path: &str) -> Result<Self> {
        let text = std::fs::read_to_string(root(path)).with_context(|| format!("failed to read {path}"))?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// Returns the page with another text in place of this one, in its commands and outputs.
    #[must_use]
    pub fn with(self, from: &str, to: &str) -> Self {
        Self { text: self.text.replace(from, to), ..self }
    }

    /// Returns all fenced blocks.
    #[must_use]
    pub fn fences(&self) -> Vec<Fence<'_>> {
        fences(&self.text)
    }

    /// Returns the text of the block with this name.
    ///
    /// # Errors
    /// If the page has not exactly one such block.
    pub fn script(&self, name: &str) -> Result<String> {
        let found: Vec<_> = self.fences().into_iter().filter(|fence| fence.mark == Some(("rehearsed", name))).collect();
        match found.as_slice() {
            [fence] => Ok(fence.text.clone()),
            other => bail!("{} has {} blocks {name}", self.path, other.len()),
        }
    }

    /// Returns the commands of the block with this name, with their expected outputs.
    ///
    /// # Errors
    /// If the page has not exactly one such block, or it begins with an output.
    pub fn session(&self, name: &str) -> Result<Session> {
        Session::parse(&self.script(name)?).with_context(|| format!("{}: block {name}", self.path))
    }

    /// Writes the files that the page shows: each block with `<!-- file: NAME -->` above it.
    ///
    /// # Errors
    /// If there is none, or one cannot be written.
    pub fn write_files(&self, directory: &Path) -> Result<()> {
        let mut files = 0;
        for fence in self.fences() {
            let Some(("file", name)) = fence.mark else { continue };
            std::fs::write(directory.join(name), fence.text).with_context(|| format!("failed to write {name}"))?;
            files += 1;
        }
        ensure!(files > 0, "{} shows no file", self.path);
        Ok(())
    }
}

/// Returns all fenced blocks of a Markdown text.
fn fences(text: &str) -> Vec<Fence<'_>> {
    let mut found = Vec::new();
    let mut open: Option<(Fence<'_>, &str)> = None;
    let mut above = "";
    for (index, line) in text.lines().enumerate() {
        open = match (open, line.trim_start().strip_prefix("```")) {
            (None, None) => None,
            (None, Some(language)) => {
                let indentation = line.split('`').next().unwrap_or_default();
                Some((Fence { line: index + 1, language, mark: mark(above), text: String::new() }, indentation))
            }
            (Some((mut fence, indentation)), None) => {
                fence.text += line.strip_prefix(indentation).unwrap_or(line);
                fence.text += "\n";
                Some((fence, indentation))
            }
            (Some((fence, _)), Some(_)) => {
                found.push(fence);
                None
            }
        };
        above = line;
    }
    found
}

fn mark(line: &str) -> Option<(&str, &str)> {
    let comment = line.trim().strip_prefix("<!-- ")?.strip_suffix(" -->")?;
    comment.split_once(": ")
}

/// Commands as a person would type them one after the other, each with its expected output.
#[derive(Clone, Debug, Default)]
pub struct Session {
    steps: Vec<(String, Option<String>)>,
}

impl Session {
    /// Reads `$ COMMAND` and the output below each. A text without a line that begins with `$` is
    /// one command whose output is not compared.
    fn parse(text: &str) -> Result<Self> {
        if !text.lines().any(|line| line.starts_with("$ ")) {
            return Ok(Self { steps: vec![(text.to_owned(), None)] });
        }
        let mut steps: Vec<(String, Option<String>)> = Vec::new();
        for line in text.lines() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push((command.to_owned(), None)),
                (None, Some((command, None))) if command.ends_with('\\') => {
                    *command = format!("{command}\n{line}");
                }
                (None, Some((_, output))) => {
                    *output = Some(output.take().unwrap_or_default() + line + "\n");
                }
                (None, None) => bail!("begins with an output: {line}"),
            }
        }
        Ok(Self { steps })
    }

    /// Returns this session, followed by another one.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self
    }

    /// Returns the script that runs all commands, and marks where the output of each begins.
    #[must_use]
    pub fn script(&self) -> String {
        self.steps.iter().map(|(command, _)| format!("echo '{BOUNDARY}'\n{command}\n")).collect()
    }

    /// Compares the output of [`Self::script`] with the expected ones.
    ///
    /// # Errors
    /// If one differs, with the command and both outputs.
    pub fn compare(&self, output: &str) -> Result<()> {
        let shown: Vec<_> = output.split(&format!("{BOUNDARY}\n")).skip(1).collect();
        ensure!(shown.len() == self.steps.len(), "{} of {} commands ran", shown.len(), self.steps.len());
        for ((command, expected), shown) in self.steps.iter().zip(shown) {
            let Some(expected) = expected else { continue };
            ensure!(
                output::matches(expected, shown),
                "$ {command}\nthe page shows:\n{expected}\nthe output is:\n{shown}"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "A\n\n<!-- rehearsed: a -->\n```console\n$ one \\\n  more\nx\n$ two\n```\n  <!-- file: f.yaml -->\n  ```yaml\n  k: v\n  ```\n";

    fn page() -> Page {
        Page { path: "page".into(), text: TEXT.into() }
    }

    #[test]
    fn blocks_are_found_by_their_mark() {
        let marks: Vec<_> = page().fences().iter().map(|fence| (fence.line, fence.language.to_owned())).collect();
        assert_eq!(marks, [(4, "console".to_owned()), (11, "yaml".to_owned())]);
        assert_eq!(page().script("a").unwrap(), "$ one \\\n  more\nx\n$ two\n");
        assert!(page().script("b").is_err());
    }

    #[test]
    fn a_session_compares_the_output_of_each_command() {
        let session = page().session("a").unwrap();
        let output = |first: &str| format!("{BOUNDARY}\n{first}\n{BOUNDARY}\nnot compared\n");
        session.compare(&output("x")).unwrap();
        let problem = session.compare(&output("y")).unwrap_err().to_string();
        assert!(problem.contains("$ one") && problem.contains("the page shows:\nx"), "{problem}");
        assert!(session.compare(&format!("{BOUNDARY}\nx\n")).is_err(), "the second command did not run");
        assert!(session.script().contains("\none \\\n  more\n"));
    }

    #[test]
    fn files_are_written_under_their_names() {
        let directory = tempfile::tempdir().unwrap();
        page().with("v", "w").write_files(directory.path()).unwrap();
        assert_eq!(std::fs::read_to_string(directory.path().join("f.yaml")).unwrap(), "k: w\n");
    }
}
