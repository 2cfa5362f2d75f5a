//! The page of a kind.

use std::{error::Error, fmt::Write as _};

use serde_json::{Map, Value};

use crate::text::{GENERATED, cell, code, wrapped};

/// Returns the page of the kind that a CRD defines.
pub(crate) fn page(crd: &Value) -> Result<String, Box<dyn Error>> {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).ok_or(format!("no {pointer}"));
    let version = "/spec/versions/0";
    let schema = crd.pointer(&format!("{version}/schema/openAPIV3Schema")).ok_or("no schema")?;
    let kind = text("/spec/names/kind")?;
    let mut page = format!("{GENERATED}# {kind}\n\n{}\n", wrapped("", string(schema, "description")));
    page += "| | |\n|---|---|\n";
    writeln!(page, "| `apiVersion` | `{}/{}` |", text("/spec/group")?, text(&format!("{version}/name"))?)?;
    writeln!(page, "| scope | {} |", text("/spec/scope")?)?;
    let mut names = vec![text("/spec/names/plural")?, text("/spec/names/singular")?];
    names.extend(strings(crd.pointer("/spec/names/shortNames")));
    names.extend(strings(crd.pointer("/spec/names/categories")));
    let names: Vec<_> = names.into_iter().map(code).collect();
    writeln!(page, "| names for `kubectl get` | {} |", names.join(", "))?;
    let selectable = list(crd.pointer(&format!("{version}/selectableFields")));
    let fields: Vec<_> = selectable.map(|field| code(string(field, "jsonPath").trim_start_matches('.'))).collect();
    writeln!(page, "| `--field-selector` | {} |", fields.join(", "))?;
    let file = kind.to_lowercase();
    writeln!(page, "| JSON schema for editors | [crds/schemas/{file}.json](../../crds/schemas/{file}.json) |")?;
    page += "\n## Columns\n\n| column | field | shown | meaning |\n|---|---|---|---|\n";
    for column in list(crd.pointer(&format!("{version}/additionalPrinterColumns"))) {
        let is_wide = column.get("priority").and_then(Value::as_i64).unwrap_or(0) > 0;
        let shown = if is_wide { "with `-o wide`" } else { "always" };
        let field = cell(&code(string(column, "jsonPath")));
        let meaning = cell(string(column, "description"));
        writeln!(page, "| {} | {field} | {shown} | {meaning} |", string(column, "name"))?;
    }
    page += "\n## Fields\n";
    rules(&mut page, schema)?;
    fields_of(&mut page, schema, "")?;
    Ok(page)
}

/// Writes a section for each field of an object, and for the fields in it.
fn fields_of(page: &mut String, schema: &Value, prefix: &str) -> Result<(), Box<dyn Error>> {
    let required: Vec<_> = strings(schema.get("required")).collect();
    for (name, field) in object(schema, "properties") {
        let path = format!("{prefix}{name}");
        writeln!(page, "\n### `{path}`\n")?;
        page.push_str(&wrapped("", &facts(field, required.contains(&name.as_str()))));
        writeln!(page, "\n{}", wrapped("", string(field, "description")).trim_end())?;
        rules(page, field)?;
        // One heading for a list and its items; most items are plain values.
        let (inner, mark) = match (field.get("items"), field.get("additionalProperties")) {
            (Some(items), _) => (items, "[]"),
            (_, Some(values)) => (values, ".*"),
            _ => (field, ""),
        };
        if !mark.is_empty() {
            let of = if mark == "[]" { "Each item: " } else { "Each value: " };
            let facts = facts(inner, true).replace(", required", "");
            writeln!(page, "\n{}", wrapped("", &format!("{of}{}", lower(&facts))).trim_end())?;
            rules(page, inner)?;
        }
        fields_of(page, inner, &format!("{path}{mark}."))?;
    }
    Ok(())
}

/// Returns type, presence, default and bounds as sentences.
fn facts(field: &Value, is_required: bool) -> String {
    let kind = match (string(field, "type"), string(field, "format")) {
        ("array", _) => "List",
        ("object", _) if field.get("additionalProperties").is_some() => "Map",
        ("object", _) => "Object",
        ("string", "date-time") => "Time (RFC 3339)",
        ("string", _) => "String",
        ("integer", _) => "Integer",
        ("boolean", _) => "Boolean",
        (other, _) => other,
    };
    let mut facts = format!("{kind}, {}.", if is_required { "required" } else { "optional" });
    if let Some(default) = field.get("default") {
        facts += &format!(" Default: `{default}`.");
    }
    let allowed: Vec<_> = list(field.get("enum")).filter_map(Value::as_str).map(code).collect();
    if !allowed.is_empty() {
        facts += &format!(" One of {}.", allowed.join(", "));
    }
    for (bounds, unit) in [("Length", " characters"), ("Items", " items"), ("Properties", " entries"), ("imum", "")] {
        let bound = |which: &str| field.get(format!("{which}{bounds}")).and_then(Value::as_f64);
        facts += &match (bound("min"), bound("max")) {
            (Some(least), Some(most)) => format!(" {least} to {most}{unit}."),
            (Some(least), None) => format!(" At least {least}{unit}."),
            (None, Some(most)) => format!(" At most {most}{unit}."),
            (None, None) => continue,
        };
    }
    if let Some(pattern) = field.get("pattern").and_then(Value::as_str) {
        facts += &format!(" Pattern: {}", code(pattern));
    }
    facts
}

/// Writes the rules with the messages of the API server.
fn rules(page: &mut String, schema: &Value) -> Result<(), Box<dyn Error>> {
    let rules: Vec<_> = list(schema.get("x-kubernetes-validations")).collect();
    if rules.is_empty() {
        return Ok(());
    }
    page.push_str("\nThe API server rejects a value with this message unless the rule holds:\n\n");
    for rule in rules {
        let at = rule.get("fieldPath").and_then(Value::as_str).map(|path| format!(" (at {})", code(path)));
        let message = code(string(rule, "message"));
        let line = format!("{message}{}: {}", at.unwrap_or_default(), code(string(rule, "rule")));
        write!(page, "{}", wrapped("- ", &line))?;
    }
    Ok(())
}

fn string<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn strings(value: Option<&Value>) -> impl Iterator<Item = &str> {
    list(value).filter_map(Value::as_str)
}

fn object<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.get(key).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
