//! The commands and outputs that a person at a terminal would type and see.

use std::path::Path;

use anyhow::{Result, bail};
use testbed::Kubectl;

/// Prints what happens next.
pub(crate) fn say(text: &str) {
    println!("\n# {text}");
}

/// A `kubectl` that prints its command line and its output.
pub(crate) struct Terminal {
    kubectl: Kubectl,
}

impl Terminal {
    /// Returns a terminal whose relative paths start at `directory`.
    pub(crate) fn new(kubectl: &Kubectl, directory: &Path) -> Self {
        Self { kubectl: kubectl.in_directory(directory) }
    }

    /// Returns the same terminal with this folder first in PATH, where kubectl looks for plugins.
    pub(crate) fn with_plugins(&self, folder: &Path) -> Self {
        Self { kubectl: self.kubectl.with_plugins(folder) }
    }

    /// Runs a command line as in a terminal, if this process has one: with a bar.
    pub(crate) async fn live(&self, line: &str) -> Result<()> {
        println!("$ kubectl {line}");
        if !self.kubectl.show(&line.split_whitespace().collect::<Vec<_>>()).await? {
            bail!("`kubectl {line}` failed");
        }
        Ok(())
    }

    /// Runs a command line, and shows the first lines of its output and its remarks, which
    /// are returned.
    pub(crate) async fn beginning(&self, line: &str, lines: usize) -> Result<String> {
        println!("$ kubectl {line}");
        let result = self.kubectl.run(&line.split_whitespace().collect::<Vec<_>>()).await?;
        let more = result.stdout.lines().count().saturating_sub(lines);
        result.stdout.lines().take(lines).for_each(|line| println!("{line}"));
        println!("… and {more} more lines\n{}", result.stderr.trim_end());
        if !result.ok {
            bail!("`kubectl {line}` failed");
        }
        Ok(result.stderr)
    }

    /// Runs a command line, whose words have no spaces in them, and shows it with its output.
    pub(crate) async fn kubectl(&self, line: &str) -> Result<()> {
        println!("$ kubectl {line}");
        // A shell would take the quotes away.
        let unquoted = line.replace('\'', "");
        let result = self.kubectl.run(&unquoted.split_whitespace().collect::<Vec<_>>()).await?;
        print!("{}{}", result.stdout, result.stderr);
        if !result.ok {
            bail!("`kubectl {line}` failed");
        }
        Ok(())
    }
}
