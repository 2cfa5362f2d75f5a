use std::collections::BTreeSet;

use super::*;

#[test]
fn every_exception_has_a_row_or_a_reason_why_not() {
    let first = |row: &Row| match row.wanted {
        Wanted::Exception([first, ..]) => Some(first.code()),
        Wanted::Exception([]) | Wanted::Accepted | Wanted::NotSent | Wanted::NoResponse => None,
    };
    let shown: BTreeSet<_> = ROWS.iter().filter_map(first).collect();
    for exception in Exception::ALL {
        let reasons = NOT_PROVOKED.iter().filter(|(it, _)| it == exception).count();
        let entries = reasons + usize::from(shown.contains(exception.code()));
        assert_eq!(entries, 1, "{} is not once in ROWS or NOT_PROVOKED", exception.code());
    }
    for wanted in [Wanted::Accepted, Wanted::NotSent, Wanted::NoResponse] {
        assert!(ROWS.iter().any(|row| row.wanted == wanted), "{wanted:?}");
    }
}

#[test]
fn every_row_and_every_exception_without_one_is_documented() {
    let page = include_str!("../../../../docs/verification/README.md");
    for row in ROWS {
        let documented = match row.wanted {
            Wanted::Accepted => "accepted".to_owned(),
            Wanted::NotSent => "no connection".to_owned(),
            Wanted::NoResponse => "no response".to_owned(),
            Wanted::Exception(any) => any.iter().map(|it| format!("`{}`", it.code())).collect::<Vec<_>>().join(" or "),
        };
        let emulator = if row.emulated { "yes" } else { "no" };
        let line = format!("| `{}` | {} | {documented} | {emulator} |\n", row.id, row.case);
        assert_eq!(page.matches(&line).count(), 1, "docs/verification/README.md has no row {line}");
    }
    for (exception, why) in NOT_PROVOKED {
        let line = format!("| `{}` | {why} |\n", exception.code());
        assert_eq!(page.matches(&line).count(), 1, "docs/verification/README.md has no row {line}");
    }
    let (_, tables) = page.split_once("## Rows").unwrap();
    let rows = tables.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, ROWS.len() + NOT_PROVOKED.len(), "docs/verification/README.md has a row too many");
    let emulated = ROWS.iter().filter(|row| row.emulated).count();
    assert!(page.contains(&format!("shows {emulated} of its {} rows", ROWS.len())));
    let with_iam = ROWS.iter().filter(|row| row.needs_iam()).count();
    assert!(page.contains(&format!("nor a Lambda function; {with_iam} rows are not shown")));
}

#[test]
fn every_row_has_a_name_of_its_own() {
    let names: BTreeSet<_> = ROWS.iter().map(|row| row.id).collect();
    assert_eq!(names.len(), ROWS.len());
    assert!(ROWS.iter().all(|row| !row.id.is_empty() && !row.case.is_empty()));
}

#[test]
fn every_state_that_the_admin_api_can_make_has_a_row() {
    for user in [
        User::Confirmed,
        User::Bouncing,
        User::Phone,
        User::NoAddress,
        User::Disabled,
        User::ResetRequired,
        User::ForceChangePassword,
        User::Unconfirmed,
        User::Missing,
    ] {
        assert!(ROWS.iter().any(|row| row.user == user), "{user:?}");
    }
}

#[test]
fn only_calls_that_can_send_a_mail_count_as_mails() {
    let counted: Vec<_> = ROWS.iter().filter(|row| row.mails() > 0).map(|row| row.id).collect();
    assert_eq!(
        counted,
        [
            "accepted",
            "accepted-again",
            "accepted-bounce",
            "disabled",
            "force-change-password",
            "unconfirmed",
            "recovery-off",
            "trigger-forbidden",
            "trigger-throws",
            "trigger-nonsense",
            "trigger-late",
            "no-response",
        ]
    );
}
