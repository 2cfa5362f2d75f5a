//! The rules of the CRDs for single fields, read from the schema that the CRD is generated from, so
//! that bad input is found before anything is sent.

mod cel;

use cognito_reset_api::PasswordResetRequest;
use kube::CustomResourceExt;
use regex::Regex;
use serde::Serialize;
use serde_json::Value;

use self::cel::Rule;
use crate::{failure::Failure, terminal::shown};

/// The place of the fields of the spec in the CRD.
const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
/// The rule of Kubernetes for the name of an object.
const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// The arguments of `create` that write fields of another name.
const ARGUMENTS: [(&str, &str); 7] = [
    ("userPoolID", "--pool"),
    ("username", "USER"),
    ("ticket", "--ticket"),
    ("reason", "--reason"),
    ("onBehalfOf", "--on-behalf-of"),
    ("notAfter", "--not-after"),
    ("ttlSecondsAfterFinished", "--ttl"),
];

/// The rules for one field of the spec of a request.
#[derive(Clone, Debug)]
pub struct FieldRule {
    field: String,
    shortest: usize,
    longest: usize,
    pattern: Option<Regex>,
    rules: Vec<Rule>,
    values: Vec<String>,
    least: Option<f64>,
    most: Option<f64>,
}

impl FieldRule {
    /// Returns the rules of a field.
    ///
    /// # Errors
    /// When the schema has no such field, which is a fault of this program.
    pub fn of(field: &str) -> Result<Self, Failure> {
        let crd = serde_json::to_value(PasswordResetRequest::crd()).map_err(|_| fault(field))?;
        let schema = crd.pointer(&format!("{SPEC}/{field}")).ok_or_else(|| fault(field))?;
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
        let pattern = schema.get("pattern").and_then(Value::as_str).map(Regex::new).transpose();
        let text = |rule: &Value, key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let list = |key: &str| schema.get(key).and_then(Value::as_array).into_iter().flatten();
        let rules = list("x-kubernetes-validations");
        Ok(Self {
            field: field.to_owned(),
            shortest: bound("minLength").unwrap_or(0),
            longest: bound("maxLength").unwrap_or(usize::MAX),
            pattern: pattern.map_err(|_| fault(field))?,
            rules: rules.filter_map(|rule| Rule::of(&text(rule, "rule"), &text(rule, "message"))).collect(),
            values: list("enum").filter_map(Value::as_str).map(str::to_owned).collect(),
            least: schema.get("minimum").and_then(Value::as_f64),
            most: schema.get("maximum").and_then(Value::as_f64),
        })
    }

    /// Checks a text.
    ///
    /// # Errors
    /// With what is wrong, in words that follow the value.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let (field, length) = (&self.field, value.chars().count());
        if length < self.shortest || length > self.longest {
            return Err(format!(
                "{field} has {length} characters, and {} to {} are allowed",
                self.shortest, self.longest
            ));
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(value)) {
            let found = value.chars().find(|it| it.is_whitespace() || it.is_control());
            return Err(found.map_or_else(
                || match field.as_str() {
                    "userPoolID" => format!("{field} is not the id of a user pool, such as eu-west-1_Example01"),
                    field => format!("{field} does not match {pattern}"),
                },
                |found| format!("{field} contains {found:?}, and neither spaces nor control characters are allowed"),
            ));
        }
        if let Some(rule) = self.rules.iter().find(|rule| !rule.allows(value)) {
            return Err(format!("{field} is {:?}: {}", shown(value), rule.message));
        }
        match self.values.as_slice() {
            [] => Ok(()),
            values if values.iter().any(|it| it == value) => Ok(()),
            values => Err(format!("{field} is one of {}", values.join(", "))),
        }
    }

    /// Checks a number.
    fn check_number(&self, number: f64) -> Result<(), String> {
        let (least, most) = (self.least.unwrap_or(f64::MIN), self.most.unwrap_or(f64::MAX));
        let field = &self.field;
        if number < least || number > most {
            return Err(format!("{field} is {number}, and {least} to {most} are allowed"));
        }
        Ok(())
    }

    fn check_value(&self, value: &Value) -> Result<(), String> {
        match value {
            Value::String(text) => self.check(text),
            Value::Number(number) => number.as_f64().map_or(Ok(()), |number| self.check_number(number)),
            // Absent, a boolean, or the requester, whom the API server checks.
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Ok(()),
        }
    }
}

/// Checks all texts and numbers of the spec of a request, as it would be sent.
///
/// # Errors
/// With a line for each field that breaks its rules, by the argument of `create` that writes it.
pub fn check(spec: &impl Serialize) -> Result<(), Failure> {
    let Ok(Value::Object(spec)) = serde_json::to_value(spec) else { return Err(fault("a spec")) };
    let mut wrong = Vec::new();
    for (field, value) in &spec {
        if let Err(message) = FieldRule::of(field)?.check_value(value) {
            wrong.push(format!("{}: {message}", argument(field)));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::usage(wrong.join("\n"))) }
}

/// Checks the name of a request.
///
/// # Errors
/// When Kubernetes does not allow it.
pub fn check_name(name: &str) -> Result<(), Failure> {
    let pattern = Regex::new(NAME).map_err(|_| fault("a name"))?;
    if name.len() <= 253 && pattern.is_match(name) {
        return Ok(());
    }
    let name = shown(name);
    Err(Failure::usage(format!(
        "--name: {name:?} is no name of an object: use up to 253 of a-z, 0-9, - and ., with a letter or digit at both ends"
    )))
}

/// Returns the argument that writes a field, or else the field.
fn argument(field: &str) -> &str {
    ARGUMENTS.iter().find(|(name, _)| *name == field).map_or(field, |(_, argument)| argument)
}

fn fault(field: &str) -> Failure {
    Failure::usage(format!("this plugin has no rule for {field}: report this as a bug"))
}

#[cfg(test)]
mod tests;
