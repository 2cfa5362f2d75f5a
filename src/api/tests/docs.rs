//! The documentation names what there is.

use cognito_reset_api::Exception;

#[test]
fn every_exception_and_reason_is_documented() {
    let page = include_str!("../../../docs/reasons.md");
    for exception in Exception::ALL {
        assert!(page.contains(&format!("| `{}` |", exception.code())), "docs/reasons.md has no {}", exception.code());
    }
    // The one list of reasons has the names, each behind `=> "`.
    let list = include_str!("../src/conditions.rs");
    let names = list
        .split("impl WaitReason {")
        .nth(1)
        .and_then(|rest| rest.split("impl fmt::Display").next())
        .unwrap_or_default();
    let names: Vec<_> = names.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("| `{name}` |")), "docs/reasons.md has no {name}");
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() -> anyhow::Result<()> {
    let page = include_str!("../../../docs/threat-model.md");
    let threats = page.split("\n## Threats\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
    every_row_names_a_test(threats, Some("| no test: "))
}

#[test]
fn every_failure_mode_names_a_test_that_exists() -> anyhow::Result<()> {
    every_row_names_a_test(include_str!("../../../docs/failure-modes.md"), None)
}

/// Checks a table with more than 20 rows. Each row names tests as `FILE::TEST`, or has the text
/// before the reason why none shows it.
fn every_row_names_a_test(table: &str, without: Option<&str>) -> anyhow::Result<()> {
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows {
        let named: Vec<_> = row.split('`').filter_map(|text| text.split_once("::")).collect();
        assert!(!named.is_empty() || without.is_some_and(|text| row.contains(text)), "no test shows it: {row}");
        for (file, test) in named {
            let text = std::fs::read_to_string(format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR")))?;
            let before = text.split(&format!("fn {test}(")).next().filter(|before| before.len() < text.len());
            let attribute = before.and_then(|before| before.trim_end_matches("async ").trim_end().lines().last());
            let is_test = attribute.is_some_and(|line| line.contains("test]") || line.contains("::test("));
            assert!(is_test, "{file} has no test {test}");
        }
    }
    Ok(())
}
