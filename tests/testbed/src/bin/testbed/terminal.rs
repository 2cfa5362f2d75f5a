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
