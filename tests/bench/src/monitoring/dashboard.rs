//! Reads the dashboard for Grafana, as far as its panels are evaluated and drawn here.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// The variables of Grafana, and what a load of a minute has in their place.
const VARIABLES: [(&str, &str); 4] =
    [("$__rate_interval", "15s"), ("$__range", "5m"), ("$job", ".*"), ("$namespace", ".*")];

/// The dashboard.
#[derive(Debug, Deserialize)]
pub struct Dashboard {
    /// The panels.
    pub panels: Vec<Panel>,
}

/// A panel.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Panel {
    /// The title.
    pub title: String,
    /// The place.
    pub grid_pos: Place,
    /// The expressions.
    pub targets: Vec<Expression>,
    field_config: FieldConfig,
}

impl Panel {
    /// Returns the unit, as Grafana names it.
    pub fn unit(&self) -> &str {
        &self.field_config.defaults.unit
    }
}

/// The place of a panel in the grid, which is 24 wide.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Place {
    /// The distance from the left.
    pub x: u32,
    /// The distance from the top.
    pub y: u32,
    /// The width.
    pub w: u32,
    /// The height.
    pub h: u32,
}

#[derive(Clone, Debug, Deserialize)]
struct FieldConfig {
    defaults: Defaults,
}

#[derive(Clone, Debug, Deserialize)]
struct Defaults {
    unit: String,
}

/// An expression of a panel.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expression {
    /// The expression with variables of Grafana.
    pub expr: String,
    legend_format: String,
}

impl Expression {
    /// Returns the expression without variables.
    ///
    /// # Errors
    /// Returns an error if it has an unknown variable.
    pub fn expression(&self) -> Result<String> {
        let replace = |text: String, (name, value): &(&str, &str)| text.replace(name, value);
        let text = VARIABLES.iter().fold(self.expr.clone(), replace);
        ensure!(!text.contains('$'), "an unknown variable in {}", self.expr);
        Ok(text)
    }

    /// Returns the name of a series with these labels.
    pub fn legend(&self, labels: &Value) -> String {
        let labels = labels.as_object().into_iter().flatten();
        labels.fold(self.legend_format.clone(), |text, (name, value)| {
            text.replace(&format!("{{{{{name}}}}}"), value.as_str().unwrap_or_default())
        })
    }
}

impl Dashboard {
    /// Reads the file.
    ///
    /// # Errors
    /// Returns an error if it is no dashboard.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("unable to read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no dashboard", path.display()))
    }
}

/// Returns the selectors of the operator's metrics in an expression.
pub fn selectors(expression: &str) -> Vec<String> {
    let starts = expression.match_indices("cognito_reset_").map(|(start, _)| &expression[start..]);
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let selector = |text: &str| {
        let name = text.find(|letter| !is_name(letter)).unwrap_or(text.len());
        let labels = text[name..].starts_with('{').then(|| text[name..].find('}').map_or(0, |end| end + 1));
        text[..name + labels.unwrap_or(0)].to_owned()
    };
    starts.map(selector).collect()
}
