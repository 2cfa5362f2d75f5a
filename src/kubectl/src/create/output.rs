//! Prints requests in the formats of `-o`.

use super::{
    options::{Options, Output},
    plan::Wanted,
};
use crate::{exit::Exit, failure::Failure};

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
                None => anstream::println!("{} for {} (dry run)", wanted.name, wanted.username),
            }
        }
        Ok(Exit::Succeeded)
    }

    /// Prints a request as `-o` says.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn print_one(&self, object: &impl serde::Serialize) -> Result<(), Failure> {
        let unwritable =
            |error: &dyn std::error::Error| Failure::usage(format!("a request cannot be written: {error}"));
        match self.output {
            None => {}
            Some(Output::Yaml) => {
                let yaml = serde_saphyr::to_string(object).map_err(|error| unwritable(&error))?;
                anstream::println!("---\n{}", yaml.trim_end());
            }
            Some(Output::Json) => {
                anstream::println!("{}", serde_json::to_string(object).map_err(|error| unwritable(&error))?);
            }
            Some(Output::Name) => {
                let object = serde_json::to_value(object).map_err(|error| unwritable(&error))?;
                let name = object.pointer("/metadata/name").and_then(serde_json::Value::as_str).unwrap_or_default();
                anstream::println!("passwordresetrequest.cognito-reset.dev/{name}");
            }
        }
        Ok(())
    }
}
