//! The rules of the CRDs for single fields, read from the schema that the CRD is generated from, so
//! that bad input is found before anything is sent.

use cognito_reset_api::PasswordResetRequest;
use kube::CustomResourceExt;
use regex::Regex;
use serde_json::Value;

use crate::failure::Failure;

/// The rule for one text field of the spec of a request.
#[derive(Clone, Debug)]
pub struct FieldRule {
    field: &'static str,
    shortest: usize,
    longest: usize,
    pattern: Option<Regex>,
}

impl FieldRule {
    /// Returns the rule of a field.
    ///
    /// # Errors
    /// When the schema has no such field, which is a fault of this program.
    pub fn of(field: &'static str) -> Result<Self, Failure> {
        let fault = || Failure::usage(format!("this plugin has no rule for {field}: report this as a bug"));
        let crd = serde_json::to_value(PasswordResetRequest::crd()).map_err(|_| fault())?;
        let path = format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{field}");
        let schema = crd.pointer(&path).ok_or_else(fault)?;
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
        let pattern = schema.get("pattern").and_then(Value::as_str).map(Regex::new).transpose().map_err(|_| fault())?;
        Ok(Self {
            field,
            shortest: bound("minLength").unwrap_or(0),
            longest: bound("maxLength").unwrap_or(usize::MAX),
            pattern,
        })
    }

    /// Checks a value.
    ///
    /// # Errors
    /// With what is wrong, in words that follow the value.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let length = value.chars().count();
        if length < self.shortest || length > self.longest {
            return Err(format!(
                "{} has {length} characters, and {} to {} are allowed",
                self.field, self.shortest, self.longest
            ));
        }
        let unmatched = self.pattern.as_ref().filter(|pattern| !pattern.is_match(value));
        unmatched.map_or(Ok(()), |pattern| {
            let found = value.chars().find(|it| it.is_whitespace() || it.is_control());
            Err(found.map_or_else(
                || format!("{} does not match {pattern}", self.field),
                |found| {
                    format!("{} contains {found:?}, and neither spaces nor control characters are allowed", self.field)
                },
            ))
        })
    }
}
