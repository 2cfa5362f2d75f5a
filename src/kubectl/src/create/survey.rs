//! Reads what the preview needs from the cluster. What cannot be read is a remark, never a failure.

use cognito_reset_api::{PasswordResetRequest, UserPoolGrant, UserPoolHold};
use cognito_reset_core::grants::{self, GrantIndex, UnreadableHold};
use k8s_openapi::{api::apps::v1::Deployment, api::core::v1::Namespace};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DynamicObject, ListParams},
    core::ApiResource,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{budget::Budget, plan::Wanted, terms::Terms};
use crate::{cluster::Cluster, failure::sources, pages::Pages};

/// The label of the operator's Deployment.
const OPERATOR: &str = "app.kubernetes.io/name=cognito-reset-operator";

/// Reads the terms of new requests and the budget of the operator.
pub(super) async fn survey(cluster: &Cluster, pool: &str, wanted: &[Wanted], sample: Option<Value>) -> (Terms, Budget) {
    let sample = sample
        .filter(|_| !wanted.is_empty())
        .and_then(|sample| serde_json::from_value::<PasswordResetRequest>(sample).ok());
    let Some(sample) = sample else { return (Terms::default(), Budget::default_because("nothing is sent")) };
    let client = &cluster.client;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let deployments: Api<Deployment> = Api::all(client.clone());
    let params = ListParams::default().labels(OPERATOR);
    let (grants, holds, namespace, deployments) = futures::join!(
        all::<UserPoolGrant>(cluster),
        all::<UserPoolHold>(cluster),
        namespaces.get(&cluster.namespace),
        deployments.list(&params),
    );
    let mut index = GrantIndex::default();
    let mut notes = Vec::new();
    match namespace {
        Ok(namespace) => {
            let labels = namespace.metadata.labels.unwrap_or_default();
            index.put_namespace(cluster.namespace.clone(), grants::Namespace { uid: namespace.metadata.uid, labels });
        }
        Err(error) => notes.push(format!(
            "grants that select namespaces by label or uid count as not matching, because the namespace cannot be read ({})",
            cause(&error)
        )),
    }
    let grants_unknown = put_grants(&mut index, grants, pool, &mut notes);
    if !index.selects_by_namespaces() {
        notes.retain(|note| !note.starts_with("grants that select"));
    }
    let holds_unknown = holds.map(|holds| holds.into_iter().for_each(|hold| put_hold(&mut index, hold)));
    let holds_unknown = holds_unknown.err().map(|error| cause(&error));
    let terms = Terms { grants_unknown, holds_unknown, notes, ..Terms::new(&index, wanted, &sample) };
    let budget = deployments.map_or_else(
        |error| Budget::default_because(&format!("its Deployment cannot be read ({})", cause(&error))),
        |deployments| Budget::of(&deployments.items),
    );
    (terms, budget)
}

/// Puts grants into the index. Where they are not known, one that allows everything takes their
/// place, so that the holds that apply are found. Returns the cause then.
fn put_grants(
    index: &mut GrantIndex,
    grants: kube::Result<Vec<DynamicObject>>,
    pool: &str,
    notes: &mut Vec<String>,
) -> Option<String> {
    let grants = match grants {
        Ok(grants) => grants,
        Err(error) => {
            let any = json!({
                "metadata": {"name": "any"}, "spec": {"userPoolID": pool, "namespaces": ["*"]},
            });
            if let Some(grant) = parsed(any) {
                index.put_grant(grant);
            }
            return Some(cause(&error));
        }
    };
    for grant in grants {
        let name = grant.name_any();
        match serde_json::to_value(grant).ok().and_then(parsed) {
            Some(grant) => {
                index.put_grant(grant);
            }
            None => notes.push(format!("the grant {name} counts as not matching, because this version cannot read it")),
        }
    }
    None
}

fn put_hold(index: &mut GrantIndex, hold: DynamicObject) {
    let (name, uid) = (hold.name_any(), hold.uid());
    let value = serde_json::to_value(hold).unwrap_or_default();
    let spec = value.get("spec").cloned().unwrap_or_default();
    match parsed(value) {
        Some(hold) => index.put_hold(hold),
        None => index.put_unreadable_hold(UnreadableHold { name, uid, spec, held_requests: None }),
    };
}

fn parsed<K: DeserializeOwned>(object: Value) -> Option<K> {
    serde_json::from_value(object).ok()
}

/// Lists all objects of a kind in any shape, so that one that cannot be parsed hides no other.
async fn all<K: Resource<DynamicType = ()>>(cluster: &Cluster) -> kube::Result<Vec<DynamicObject>> {
    let api: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &ApiResource::erase::<K>(&()));
    Pages::new(api, &[], None).all(|_| true).await
}

/// Returns the cause of an error in a few words.
fn cause(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.is_forbidden() => "you lack the permission".to_owned(),
        error => sources(error),
    }
}
