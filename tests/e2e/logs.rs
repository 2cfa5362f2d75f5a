//! The form that every log of the operator has, regardless of its content.

use anyhow::{Context, Result, ensure};
use cognito_reset_core::escape::is_hidden;
use serde_json::Value;

/// Checks that a log in JSON has one object per line, of a length that people can read, and shows
/// all that it holds.
pub fn is_sound(log: &str) -> Result<()> {
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).with_context(|| format!("no entry of a log: {line:?}"))?;
        ensure!(entry["timestamp"].is_string() && entry["level"].is_string(), "no entry of a log: {line:?}");
        ensure!(!line.chars().any(is_hidden), "hidden characters: {line:?}");
        ensure!(line.len() < 16 << 10, "{} bytes: {:.300}", line.len(), line);
    }
    Ok(())
}
