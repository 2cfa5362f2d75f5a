use std::collections::HashMap;

use cognito_reset_api::PasswordResetRecord;
use serde_json::{Value, json};

use super::*;
use crate::{
    ledger::tests::{attempt, stored},
    snapshot::snapshot,
};

fn record(fields: Value) -> PasswordResetRecord {
    Entry::new(stored("one", fields)).record.unwrap()
}

/// Returns the cells of the rows that are not empty, by column.
fn cells(record: &PasswordResetRecord) -> Vec<HashMap<&'static str, String>> {
    let named = |row: &Row<'_>| {
        let cells = row.cells();
        assert_eq!(cells.len(), COLUMNS.len());
        COLUMNS.iter().map(|column| column.name).zip(cells).filter(|(_, cell)| !cell.is_empty()).collect()
    };
    rows(record).iter().map(named).collect()
}

fn failed(id: &str) -> Value {
    attempt(
        id,
        json!({"evidence": "CognitoResponse", "exceptionCode": "TooManyRequestsException",
        "sentAt": "2030-01-01T10:00:01Z", "settledAt": "2030-01-01T10:00:02Z", "awsRequestID": format!("aws-{id}")}),
    )
}

#[test]
fn an_attempt_has_claims_and_authenticated_people_apart() {
    let performed = attempt(
        "a",
        json!({
            "approvedBy": {"username": "erin", "extra": {"sessionName": "erin@example.com"}},
            "onBehalfOf": "dave", "ticket": "INC-1", "reason": "phished", "grants": ["g1", "g2"], "roleARN": "arn:role",
            "sentAt": "2030-01-01T10:00:01Z", "settledAt": "2030-01-01T10:00:02Z",
            "evidence": "CognitoResponse", "awsRequestID": "aws-a",
        }),
    );
    let record = record(json!({"effect": "Performed", "attempts": [performed]}));
    let [row] = &cells(&record)[..] else { panic!("one row") };
    let mut wanted = HashMap::from([
        ("record", "one"),
        ("row", "attempt"),
        ("sent", "2030-01-01T10:00:01Z"),
        ("namespace", "support"),
        ("request", "one"),
        ("pool", "eu-west-1_Example01"),
        ("user", "alice"),
        ("user-sub", "sub-1"),
        ("effect", "Performed"),
        ("password", "Invalidated"),
        ("evidence", "CognitoResponse"),
        ("requester", "carol"),
        ("requester-authenticated", "yes"),
        ("approver", "erin"),
        ("approver-authenticated", "yes"),
        ("approver-session", "erin@example.com"),
        ("on-behalf-of-claimed", "dave"),
        ("ticket-claimed", "INC-1"),
        ("reason-claimed", "phished"),
        ("grants", "g1 g2"),
        ("role", "arn:role"),
        ("time", "2030-01-01T10:00:00.5Z"),
        ("settled", "2030-01-01T10:00:02Z"),
        ("aws-request-id", "aws-a"),
    ]);
    for (column, cell) in row {
        assert_eq!(wanted.remove(column), Some(cell.as_str()), "{column}");
    }
    assert!(wanted.is_empty(), "{wanted:?}");
}

#[test]
fn each_kind_of_record_has_its_rows() {
    let origin = |fields: Value| {
        let mut closed = json!({"operatorInstance": "pod", "requestUID": "u", "requestedBy": {"username": "unverified"},
            "closedAt": "2030-01-02T00:00:00Z"});
        closed.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        closed
    };
    let expired = origin(json!({"cause": "Expired"}));
    let unreadable = origin(json!({"cause": "UserReadRefused", "exceptionCode": "UserNotFoundException"}));
    let skipped = origin(json!({"cause": "AlreadyResetRequired"}));
    let unsent = attempt("n", json!({"evidence": "NeverSent", "settledAt": "2030-01-01T10:00:02Z"}));
    let lost = attempt("l", json!({"evidence": "Inconclusive", "settledAt": "2030-01-01T10:00:02Z"}));
    for (fields, wanted) in [
        (json!({"attempts": [attempt("o", json!({}))]}), &["attempt open - - Unknown"][..]),
        (json!({"effect": "Unknown", "attempts": [lost]}), &["attempt Unknown - - Unknown"]),
        (json!({"effect": "NotPerformed", "attempts": [unsent]}), &["attempt NotPerformed - - Unchanged"]),
        (
            json!({"effect": "Performed", "attempts": [failed("a"), attempt("b", json!({}))]}),
            &["attempt NotPerformed TooManyRequestsException - Unchanged", "attempt Performed - - Invalidated"],
        ),
        (
            json!({"effect": "NotPerformed", "attempts": [failed("a")], "closed": expired}),
            &["attempt NotPerformed TooManyRequestsException - Unchanged", "closing NotPerformed - Expired Unchanged"],
        ),
        (
            json!({"effect": "NotPerformed", "closed": unreadable}),
            &["closing NotPerformed UserNotFoundException UserReadRefused Unchanged"],
        ),
        (
            json!({"effect": "NotPerformed", "closed": skipped}),
            &["closing NotPerformed - AlreadyResetRequired Invalidated"],
        ),
    ] {
        let record = record(fields.clone());
        let rows = cells(&record);
        let cell = |row: &HashMap<_, String>, name| row.get(name).cloned().unwrap_or_else(|| "-".into());
        let shown = |row| ["row", "effect", "exception", "closed", "password"].map(|name| cell(row, name)).join(" ");
        assert_eq!(rows.iter().map(shown).collect::<Vec<_>>(), wanted, "{fields}");
        for row in rows.iter().filter(|row| row["row"] == "closing") {
            assert_eq!((row["requester"].as_str(), row["requester-authenticated"].as_str()), ("unverified", "no"));
            assert_eq!(row["settled"], "2030-01-02T00:00:00Z");
        }
    }
}

#[test]
fn the_totals_are_those_of_the_records() {
    let mut report = Report::new(Selection::default());
    for stored in [
        stored("one", json!({"effect": "Performed", "omittedAttempts": 3, "attempts": [failed("a"), failed("b")]})),
        stored("two", json!({"effect": "Unknown", "attempts": [failed("a")]})),
        stored("three", json!({"effect": "NotPerformed", "attempts": [failed("a")]})),
        stored("four", json!({"attempts": [failed("a")]})),
        stored("five", json!({"attempts": 5})),
    ] {
        report.add(Entry::new(stored)).unwrap();
    }
    let totals = report.totals.clone();
    let mut output = Vec::new();
    report.write(Sheet::new(Format::Json, COLUMNS, &mut output).unwrap()).unwrap();
    let json: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len(), totals.rows());
    assert_eq!(json["totals"]["effects"], json!({"Performed": 1, "NotPerformed": 1, "Unknown": 1, "open": 1}));
    assert_eq!((totals.rows(), totals.earlier, totals.omitted), (5, 1, 3));
    let lines = totals.lines(&Range::default());
    assert_eq!(lines[0], "4 records (of all times): 1 Performed, 1 NotPerformed, 1 Unknown, 1 open");
    assert!(lines.iter().any(|line| line.starts_with("five: ")), "{lines:?}");
}

#[test]
fn a_row_is_in_one_of_two_adjacent_ranges() {
    let tickets = |id: &str, ticket: &str, time: &str| attempt(id, json!({"ticket": ticket, "claimedAt": time}));
    let attempts = [tickets("a", "T-1", "2030-01-01T00:00:00Z"), tickets("b", "T-2", "2030-01-02T00:00:00Z")];
    let record = record(json!({"effect": "Performed", "attempts": attempts}));
    let taken = |selection: &Selection| rows(&record).iter().filter(|row| selection.takes(row)).count();
    let middle = Some("2030-01-02T00:00:00Z".parse().unwrap());
    let of = |since, until| Selection { range: Range { since, until }, ..Selection::default() };
    assert_eq!((taken(&of(None, middle)), taken(&of(middle, None))), (1, 1));
    let ticket = |ticket: &str| Selection { ticket: Some(ticket.into()), ..Selection::default() };
    assert_eq!((taken(&ticket("t-1")), taken(&ticket("T"))), (1, 0));
    let namespace = |name: &str| Selection { namespace: Some(name.into()), ..Selection::default() };
    assert_eq!((taken(&namespace("support")), taken(&namespace("default"))), (2, 0));
}

/// A pipe whose reader is gone.
struct Gone;

impl std::io::Write for Gone {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_unreadable_record_fails_a_report_that_nobody_reads() {
    for (fields, wanted) in [(json!({"schema": 2}), Exit::SomeFailed), (json!({}), Exit::Succeeded)] {
        let mut report = Report::new(Selection::default());
        report.add(Entry::new(stored("one", fields))).unwrap();
        assert_eq!(report.write(Sheet::new(Format::Csv, COLUMNS, Gone).unwrap()).unwrap(), wanted);
    }
}

/// Returns records of each kind: closed, performed at the second attempt, unknown, and of a newer
/// version. The first one is the last by time.
fn entries() -> Vec<Entry> {
    let claims = json!({"ticket": "INC-1", "reason": "=cmd|' /C calc'!A0", "onBehalfOf": "a|b", "grants": ["everyone"],
        "sentAt": "2030-01-01T10:00:05Z", "settledAt": "2030-01-01T10:00:06Z", "evidence": "CognitoResponse",
        "awsRequestID": "aws-b", "approvedBy": {"username": "erin"}});
    let lost = json!({"ticket": "INC-1", "evidence": "Inconclusive", "sentAt": "2030-01-01T10:00:01Z",
        "settledAt": "2030-01-01T10:00:02Z", "exceptionCode": "LimitExceededException"});
    let closed = json!({"cause": "Expired", "closedAt": "2030-01-01T11:00:00Z", "operatorInstance": "pod",
        "requestUID": "request-a", "requestedBy": {"username": "unverified"}});
    [
        ("closed", json!({"effect": "NotPerformed", "attempts": [], "closed": closed})),
        ("performed", json!({"effect": "Performed", "attempts": [failed("a"), attempt("b", claims)]})),
        ("unknown", json!({"effect": "Unknown", "attempts": [attempt("a", lost)]})),
        ("newer", json!({"schema": 2})),
    ]
    .into_iter()
    .map(|(name, fields)| Entry::new(stored(name, fields)))
    .collect()
}

#[test]
fn a_report_looks_like_its_snapshots() {
    for (file, format) in [
        ("table.txt", Format::Table),
        ("report.csv", Format::Csv),
        ("report.md", Format::Md),
        ("report.json", Format::Json),
    ] {
        let mut report = Report::new(Selection::default());
        for entry in entries() {
            report.add(entry).unwrap();
        }
        let lines = report.totals.lines(&Range::default());
        let mut output = Vec::new();
        report.write(Sheet::new(format, COLUMNS, &mut output).unwrap()).unwrap();
        snapshot(&format!("report/snapshots/{file}"), &String::from_utf8(output).unwrap());
        snapshot("report/snapshots/totals.txt", &format!("{}\n", lines.join("\n")));
    }
}
