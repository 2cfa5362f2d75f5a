//! The documentation names what there is.

use cognito_reset_operator::cognito::outcome::Exception;

#[test]
fn every_exception_and_reason_is_documented() {
    let page = include_str!("../docs/reasons.md");
    for exception in Exception::ALL {
        assert!(page.contains(&format!("| `{}` |", exception.code())), "{}", exception.code());
    }
    // The names stand in the one list of reasons, behind `=> "`.
    let list = include_str!("../src/api/conditions.rs");
    let names =
        list.split("impl Reason {").nth(1).and_then(|rest| rest.split("impl fmt::Display").next()).unwrap_or_default();
    let names: Vec<_> = names.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}
