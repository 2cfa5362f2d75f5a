//! Prints requests in the formats of `-o`.

use super::{
    options::{Options, Output},
    plan::Wanted,
};
use crate::{
    document,
    exit::Exit,
    failure::Failure,
    terminal::{line, shown},
};

impl Options {
    /// Prints the manifests of `--dry-run=client`.
    ///
    /// # Errors
    /// When one cannot be written.
    pub(super) fn print(&self, wanted: &[Wanted], namespace: &str) -> Result<Exit, Failure> {
        for wanted in wanted {
            let manifest = self.manifest(wanted, namespace, None);
            match self.output {
                Some(_) => self.print_one(&manifest)?,
                None => line(&format!("{} for {} (dry run)", wanted.name, shown(&wanted.username)))?,
            }
        }
        Ok(Exit::Succeeded)
    }

    /// Prints a request as `-o` says.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn print_one(&self, object: &impl serde::Serialize) -> Result<(), Failure> {
        match self.output {
            None => Ok(()),
            Some(Output::Yaml) => line(&format!("---\n{}", document::yaml(object)?.trim_end())),
            Some(Output::Json) => line(&document::json(object)?),
            Some(Output::Name) => {
                let name = serde_json::json!(object).pointer("/metadata/name").cloned().unwrap_or_default();
                line(&format!("passwordresetrequest.cognito-reset.dev/{}", name.as_str().unwrap_or_default()))
            }
        }
    }
}
