//! The documentation says what the code decides.

use cognito_reset_api::Exception;
use cognito_reset_core::action::response::Class;

const fn name(class: Class) -> &'static str {
    match class {
        Class::Refused => "refused",
        Class::Throttled => "throttled",
        Class::Blocked => "blocked",
        Class::Ambiguous => "ambiguous",
        Class::AmbiguousFailure => "ambiguous failure",
    }
}

#[test]
fn every_exception_is_documented_with_its_class() {
    let page = include_str!("../../../docs/reasons.md");
    for exception in Exception::ALL {
        let row = format!("| `{}` | {} | ", exception.code(), name(Class::of(*exception)));
        assert_eq!(page.matches(&row).count(), 1, "docs/reasons.md has no row that begins with {row}");
    }
}
