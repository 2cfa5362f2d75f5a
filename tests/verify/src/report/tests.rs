use cognito_reset_api::UserStatus;

use super::*;

fn circumstances(emulated: bool, with_lambda: bool) -> Circumstances {
    Circumstances {
        date: "2026-01-31".into(),
        region: "eu-west-1".into(),
        emulated,
        watch: Duration::from_secs(20),
        plan: Plan { with_lambda },
    }
}

fn accepted(after: UserStatus) -> Result<Observation, String> {
    let trace = Trace { last: Ok(after), reset_required_after: Some(Duration::from_millis(120)) };
    let (response, took) = (ResetResponse::Accepted, Duration::from_millis(80));
    Ok(Observation { response, took, before: Ok(UserStatus::Confirmed), get: trace.clone(), list: trace })
}

fn report(circumstances: &Circumstances, result: Result<Observation, String>) -> Report {
    Report::new(circumstances, &[("accepted", result)], vec!["user pool mail".into()])
}

#[test]
fn a_report_names_every_row_and_every_exception_without_one() {
    let report = report(&circumstances(false, true), accepted(UserStatus::ResetRequired));
    assert_eq!(report.shown.len() + report.not_shown.len(), ROWS.len());
    let (markdown, json) = (report.markdown(), report.json().unwrap());
    for row in ROWS {
        assert!(markdown.contains(&format!("| `{}` | {} |", row.id, row.case)), "{}", row.id);
        assert!(json.contains(&format!("\"row\": \"{}\"", row.id)), "{}", row.id);
    }
    for (exception, why) in NOT_PROVOKED {
        assert!(markdown.contains(&format!("| `{}` | ", exception.code())) && json.contains(why));
    }
    let line = "| Accepted | Accepted | accepted | 80 ms | Confirmed | the password was reset | ResetRequired \
                after 120 ms | ResetRequired after 120 ms | agrees |";
    assert!(markdown.contains(line), "{markdown}");
    assert!(markdown.contains("Removed after the run: user pool mail."));
}

#[test]
fn a_run_agrees_only_if_every_row_that_it_could_try_does() {
    for (emulated, result, wanted) in
        [(false, accepted(UserStatus::ResetRequired), false), (true, accepted(UserStatus::ResetRequired), false)]
    {
        assert_eq!(report(&circumstances(emulated, true), result).agrees(), wanted, "rows were not tried");
    }
    let shown = |emulated, with_lambda, change: &dyn Fn(&Row) -> Result<Observation, String>| {
        let circumstances = circumstances(emulated, with_lambda);
        let tried = ROWS.iter().filter(|row| circumstances.excuse(row).is_none());
        let results: Vec<_> = tried.map(|row| (row.id, change(row))).collect();
        Report::new(&circumstances, &results, Vec::new()).agrees()
    };
    let as_documented = |row: &Row| {
        let response = match row.wanted {
            Wanted::Accepted => return accepted(UserStatus::ResetRequired),
            Wanted::NotSent => ResetResponse::NotSent(cognito_reset_api::FailureCause::Refused),
            Wanted::NoResponse => ResetResponse::NoResponse,
            Wanted::Exception(any) => ResetResponse::exception(400, any[0].code()),
        };
        accepted(UserStatus::Confirmed).map(|observation| Observation { response, ..observation })
    };
    for (emulated, with_lambda) in [(false, true), (false, false), (true, true), (true, false)] {
        assert!(shown(emulated, with_lambda, &as_documented), "{emulated} {with_lambda}");
        for bad in [accepted(UserStatus::Confirmed), Err("the preparation failed with NotMade".into())] {
            let one_is_bad = |row: &Row| if row.id == "accepted" { bad.clone() } else { as_documented(row) };
            assert!(!shown(emulated, with_lambda, &one_is_bad), "{emulated} {with_lambda} {bad:?}");
        }
    }
}

#[test]
fn text_that_identifies_the_account_is_found_in_any_case() {
    let secrets = ["".to_owned(), "123456789012".to_owned(), "eu-west-1_AbC".to_owned()];
    for (text, wanted) in [
        ("eu-west-1", None),
        ("arn:aws:iam::123456789012:role/x", Some("123456789012")),
        ("EU-WEST-1_ABCdef", Some("eu-west-1_AbC")),
    ] {
        assert_eq!(contains(text, &secrets), wanted, "{text}");
    }
}
