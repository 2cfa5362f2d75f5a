//! The resources as the API server may send them: near the valid ones, and anything.

use std::{collections::BTreeSet, fmt::Debug, sync::LazyLock};

use arbitrary::Arbitrary;
use cognito_reset_api::{
    PasswordResetRecord, PasswordResetRequest, UserPoolGrant, UserPoolHold, conditions::WaitReason,
};
use cognito_reset_core::{
    action::user_names::KnownUser,
    grants::{GrantIndex, Namespace, UnreadableHold},
    invalid_objects::{self, Kind},
    ledger::Identity,
    machine::status,
};
use cognito_reset_operator::StoreError;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{Resource, core::DeserializeGuard};
use regex::Regex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    edits::{ByteEdit, Edit, SECRET, SECRET_NUMBER, apply, apply_bytes},
    records, statuses,
};

/// The parts of an object.
#[derive(Clone, Debug, Arbitrary)]
pub struct Object {
    kind: u8,
    seed: u8,
    source: Source,
}

#[derive(Clone, Debug, Arbitrary)]
enum Source {
    Edited(Vec<Edit>),
    EditedBytes(Vec<ByteEdit>),
    Bytes(Vec<u8>),
}

const REQUESTS: [&str; 2] = [include_str!("seeds/request.json"), include_str!("seeds/request-ended.json")];
const RECORDS: [&str; 2] = [include_str!("seeds/record.json"), include_str!("seeds/record-open.json")];
const GRANTS: [&str; 2] = [include_str!("seeds/grant.json"), include_str!("seeds/grant-selector.json")];

const HOLDS: [&str; 2] = [include_str!("seeds/hold.json"), include_str!("seeds/hold-of-users.json")];

static FRACTION: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\.\d+Z\)").unwrap());

/// Checks what holds for every object of every kind.
pub fn check(object: &Object) {
    match object.kind % 4 {
        0 => object.check(REQUESTS, check_request),
        1 => object.check(RECORDS, check_record),
        2 => object.check(HOLDS, check_hold),
        _ => object.check(GRANTS, check_grant),
    }
}

impl Object {
    fn check<K>(&self, seeds: [&str; 2], judge: impl FnOnce(K))
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Serialize + PartialEq + Debug,
    {
        let seed = seeds[usize::from(self.seed) % seeds.len()];
        let valid: Value = serde_json::from_str(seed).unwrap();
        let bytes = match &self.source {
            Source::Edited(edits) => {
                let mut document = valid.clone();
                apply(&mut document, edits);
                document.to_string().into_bytes()
            }
            Source::EditedBytes(edits) => {
                let mut bytes = valid.to_string().into_bytes();
                apply_bytes(&mut bytes, edits);
                bytes
            }
            Source::Bytes(bytes) => bytes.clone(),
        };
        let read = serde_json::from_slice::<DeserializeGuard<K>>(&bytes);
        // An object that is read without a watch is an error of the store.
        if let Err(error) = serde_json::from_slice::<K>(&bytes) {
            check_error(&StoreError::Client(kube::Error::SerdeError(error)).to_string());
        }
        let sound = |document: &Value| document["metadata"] == valid["metadata"];
        match read {
            Ok(DeserializeGuard(Ok(object))) => {
                check_round_trip(&object);
                judge(object);
            }
            Ok(DeserializeGuard(Err(invalid))) => check_report(&invalid.error),
            // The API server ensures that an object is one, and its metadata too.
            Err(error) => {
                assert!(!serde_json::from_slice(&bytes).is_ok_and(|it| sound(&it)), "the watch stops: {error}")
            }
        }
    }
}

/// Checks that an object is written back as it was read, except for fractions of a second, which
/// Kubernetes' times do not have.
fn check_round_trip<K: DeserializeOwned + Serialize + PartialEq + Debug>(object: &K) {
    let written = serde_json::to_string(object).unwrap();
    let again: K = serde_json::from_str(&written).unwrap();
    let whole_seconds = |object: &K| FRACTION.replace_all(&format!("{object:?}"), "Z)").into_owned();
    assert!(*object == again || whole_seconds(object) == whole_seconds(&again), "{object:?} becomes {again:?}");
    let stable: K = serde_json::from_str(&serde_json::to_string(&again).unwrap()).unwrap();
    assert_eq!(stable, again);
}

/// Checks that the report of an object that cannot be read quotes none of its values.
fn check_report(error: &str) {
    let error = invalid_objects::without_values(error);
    check_error(&error);
    for kind in [Kind::Request, Kind::Grant, Kind::Hold] {
        let patch = invalid_objects::patch(kind, &ObjectMeta::default(), &Value::Null, &error, Timestamp::UNIX_EPOCH)
            .unwrap_or_default();
        let conditions: Vec<Condition> = serde_json::from_value(patch["status"]["conditions"].clone()).unwrap();
        statuses::check(&conditions);
    }
}

fn check_error(text: &str) {
    assert!(!text.contains(SECRET), "{text}");
    assert!(!text.contains(&SECRET_NUMBER.to_string()), "{text}");
    assert!(!text.is_empty() && text.chars().count() <= 300, "{text}");
    assert!(text.chars().all(|it| it == ' ' || it.is_ascii_graphic()), "{text}");
}

fn check_request(request: PasswordResetRequest) {
    let name = Identity::of_request(&request).record_name();
    assert!(
        name.len() == 67 && name.strip_prefix("r2-").is_some_and(|hash| hash.bytes().all(|it| it.is_ascii_hexdigit()))
    );
    let status = status::status(&request, None, &status::waiting(WaitReason::Suspended), Timestamp::UNIX_EPOCH);
    statuses::check(&status.conditions);
}

fn check_record(record: PasswordResetRecord) {
    records::check_record(&record, &Identity::of_record(&record), Timestamp::UNIX_EPOCH);
}

/// Checks that a hold holds at least as much if its spec cannot be parsed as if it can.
fn check_hold(hold: UserPoolHold) {
    let spec = serde_json::to_value(&hold.spec).unwrap();
    let everyone = json!({ "userPoolID": "eu-west-1_Example01", "namespaces": ["*"] });
    let everyone = UserPoolGrant::new("everyone", serde_json::from_value(everyone).unwrap());
    let asked = json!({ "userPoolID": "eu-west-1_Example01", "username": "alice" });
    let mut asked = PasswordResetRequest::new("reset", serde_json::from_value(asked).unwrap());
    asked.metadata.namespace = Some("team-a".into());
    let mut index = GrantIndex::default();
    index.put_grant(everyone);
    index.put_hold(hold);
    for stale in index.stale_hold_statuses(Timestamp::UNIX_EPOCH) {
        statuses::check(&stale.object.status.unwrap_or_default().conditions);
    }
    let read = index.evaluate(&asked, &KnownUser::NotRead).authorization;
    index.retain_holds(&BTreeSet::new());
    let hold = UnreadableHold { name: "unreadable".into(), spec: spec.clone(), ..UnreadableHold::default() };
    index.put_unreadable_hold(hold);
    let unread = index.evaluate(&asked, &KnownUser::NotRead).authorization;
    assert!(read.is_ok() || unread.is_err(), "{spec}");
    index.retain_holds(&BTreeSet::new());
    assert!(index.evaluate(&asked, &KnownUser::NotRead).authorization.is_ok(), "{spec}");
}

fn check_grant(grant: UserPoolGrant) {
    let mut index = GrantIndex::default();
    index.put_namespace("team-a".into(), Namespace { uid: None, labels: [("team".into(), "a".into())].into() });
    index.put_grant(grant);
    for stale in index.stale_statuses(Timestamp::UNIX_EPOCH) {
        statuses::check(&stale.object.status.unwrap_or_default().conditions);
    }
}
