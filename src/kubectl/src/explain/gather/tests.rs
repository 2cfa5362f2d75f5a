use serde_json::{Value, json};

use super::*;
use crate::ledger::tests::responding;

const POOL: &str = "eu-west-1_Example01";

fn request(namespace: &str) -> Value {
    json!({ "metadata": { "name": "a", "namespace": namespace }, "spec": { "userPoolID": POOL, "username": "alice" } })
}

/// A record of a request that is gone.
fn record(namespace: &str) -> Value {
    json!({ "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRecord",
        "metadata": { "name": format!("r2-{namespace}") }, "schema": 1, "action": "PasswordReset", "userPoolID": POOL,
        "request": { "namespace": namespace, "name": "gone" }, "username": "alice", "attempts": [] })
}

/// Returns what a user finds who may list the requests of all namespaces or only of one.
async fn found(lists_all: bool, only_local: bool) -> (Vec<String>, Vec<String>) {
    let cluster = responding(move |url| {
        let path = url.split('?').next().unwrap_or_default();
        let list = |items: Vec<Value>| (200, json!({ "metadata": {}, "items": items }));
        let failure = |code: u16, reason: &str| {
            (code, json!({ "status": "Failure", "message": "no", "reason": reason, "code": code }))
        };
        match path.rsplit_once("/v1alpha1/").unwrap_or_default().1 {
            "passwordresetrequests" if lists_all => list(vec![request("payroll"), request("support")]),
            "passwordresetrequests" => failure(403, "Forbidden"),
            "namespaces/support/passwordresetrequests" => list(vec![request("support")]),
            "passwordresetrecords" => list(vec![record("payroll"), record("support")]),
            _ => failure(404, "NotFound"),
        }
    });
    let cluster = Cluster { namespace: "support".into(), ..cluster };
    let OfUser { cases, remarks } = of_user(&cluster, "alice", POOL, only_local).await.expect("requests");
    (cases.iter().map(|case| case.id.to_string()).collect(), remarks)
}

#[tokio::test]
async fn a_namespace_restricts_requests_and_records_of_a_user() {
    let everything = ["payroll/a", "payroll/gone", "support/a", "support/gone"];
    for (lists_all, only_local, wanted, why) in [
        (true, false, &everything[..], None),
        (true, true, &["support/a", "support/gone"], Some("-n was given")),
        (false, true, &["support/a", "support/gone"], Some("-n was given")),
        (false, false, &["payroll/gone", "support/a", "support/gone"], Some("you may not list")),
    ] {
        let (cases, remarks) = found(lists_all, only_local).await;
        assert_eq!(cases, wanted, "{lists_all} {only_local}");
        assert_eq!(remarks.len(), usize::from(why.is_some()), "{remarks:?}");
        assert!(remarks.iter().all(|remark| remark.contains(why.unwrap_or_default())), "{remarks:?}");
    }
}
