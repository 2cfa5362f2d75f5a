//! The bundle for an issue report: findings, objects and logs, without the names of people.

pub mod log_names;
pub mod redact;

use std::{collections::BTreeSet, fmt::Display, io::Write as _, path::Path};

use cognito_reset_api::{UserPoolGrant, UserPoolHold};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, LogParams},
};
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use self::redact::{Kind, Redactor, Vocabulary};
use super::{facts::Facts, finding::Finding, installation::Installation, read::Read, reader::Reader};
use crate::{document, failure::Failure};

/// The most lines of the log of a Pod, its last ones.
const LINES: i64 = 2_000;

/// Objects of a kind as they were read, and the number of those that were left out.
type Page = Read<(Vec<DynamicObject>, i64)>;

/// All that a bundle contains beside the findings.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Requests.
    pub requests: Page,
    /// Records.
    pub records: Page,
    /// Grants.
    pub grants: Page,
    /// Holds.
    pub holds: Page,
    /// The Pods of the operator with their logs.
    pub logs: Read<Vec<(String, Read<String>)>>,
}

/// Begins the file of a bundle, beside its final place. Only its owner may read it. It gets its
/// name when it is complete, and one that exists is not overwritten.
///
/// # Errors
/// When it cannot be created.
pub fn create(path: &Path) -> Result<NamedTempFile, Failure> {
    if path.exists() {
        return Err(uncreatable(path, &"it exists"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    NamedTempFile::with_prefix_in(".bundle-", folder).map_err(|error| uncreatable(path, &error))
}

fn uncreatable(path: &Path, error: &dyn Display) -> Failure {
    Failure::usage(format!("--bundle {}: the file cannot be created ({error}): name a new one", path.display()))
}

impl Reader<'_> {
    /// Reads the objects and logs of a bundle.
    pub async fn evidence(&self, facts: &Facts) -> Evidence {
        let all = |objects: Read<Vec<DynamicObject>>| objects.map(|objects| (objects, 0));
        let places = match facts.operators.got() {
            Some(operators) if !operators.is_empty() => operators.clone(),
            _ => vec![Installation::assumed(self.operator_namespace)],
        };
        let (requests, records, grants, holds, logs) = futures::join!(
            self.all_requests(),
            self.records(),
            self.objects::<UserPoolGrant>(),
            self.objects::<UserPoolHold>(),
            self.logs(&places)
        );
        Evidence { requests, records, grants: all(grants), holds: all(holds), logs }
    }

    async fn logs(&self, places: &[Installation]) -> Read<Vec<(String, Read<String>)>> {
        let pods = match self.pods(places).await {
            Read::Got(pods) => pods,
            unread => return unread.map(|_| Vec::new()),
        };
        let mut logs = Vec::new();
        for pod in pods {
            let restarts = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
            let restarted = restarts.map(|container| container.restart_count).sum::<i32>() > 0;
            logs.push((pod.name_any(), self.log(&pod, false).await));
            if restarted {
                logs.push((format!("{}, before its restart", pod.name_any()), self.log(&pod, true).await));
            }
        }
        Read::Got(logs)
    }

    async fn log(&self, pod: &Pod, previous: bool) -> Read<String> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &pod.namespace().unwrap_or_default());
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.iter().find(|it| it.name == "operator"));
        let container = container.map(|container| container.name.clone());
        let params = LogParams { container, previous, tail_lines: Some(LINES), ..LogParams::default() };
        Read::of(pods.logs(&pod.name_any(), &params).await)
    }
}

/// Returns the bundle. `salt` is random and kept nowhere: the hashes of two bundles cannot be
/// compared, and a hash cannot be found by trying names.
///
/// # Errors
/// When the names cannot be searched for.
pub fn bundle(
    facts: &Facts,
    findings: &[Finding],
    evidence: &Evidence,
    salt: &[u8],
    now: Timestamp,
) -> Result<Value, Failure> {
    let redactor = vocabulary(facts, evidence).redactor(salt)?;
    let operator = |operator: &Installation| {
        let Installation { namespace, name, image, replicas: (wanted, ready), .. } = operator;
        json!({ "namespace": namespace, "name": name, "image": image, "replicas": wanted, "ready": ready })
    };
    let operators: Option<Vec<_>> = facts.operators.got().map(|operators| operators.iter().map(operator).collect());
    let shown = |finding: &Finding| {
        let remedy = finding.remedy.as_ref().map(|remedy| redactor.text(remedy));
        Finding { text: redactor.text(&finding.text), remedy, ..finding.clone() }
    };
    Ok(json!({
        "kind": "Bundle",
        "createdAt": now.to_string(),
        "plugin": env!("CARGO_PKG_VERSION"),
        "kubernetes": facts.kubernetes.git_version,
        "namespace": facts.namespace,
        "allNamespaces": facts.everywhere,
        "operators": operators,
        "findings": findings.iter().map(shown).collect::<Vec<_>>(),
        "requests": page(&redactor, &evidence.requests, Kind::OfPeople),
        "records": page(&redactor, &evidence.records, Kind::OfPeople),
        "grants": page(&redactor, &evidence.grants, Kind::OfAdministrators),
        "holds": page(&redactor, &evidence.holds, Kind::OfAdministrators),
        "logs": logs(&redactor, &evidence.logs),
    }))
}

/// Collects what is replaced, in all that was read.
fn vocabulary(facts: &Facts, evidence: &Evidence) -> Vocabulary {
    let mut vocabulary = Vocabulary::default();
    if let Some(user) = facts.user.got() {
        let groups = user.groups.iter().flatten().filter(|group| !group.starts_with("system:"));
        let extra = user.extra.iter().flat_map(|extra| extra.values().flatten());
        user.username.iter().chain(&user.uid).chain(groups).chain(extra).for_each(|value| vocabulary.learn(value));
    }
    for listed in [&facts.pending, &facts.failed].into_iter().filter_map(Read::got) {
        listed.requests.iter().for_each(|request| vocabulary.collect(request, Kind::OfPeople));
        let names = listed.unreadable.iter().filter_map(|id| id.rsplit('/').next());
        names.for_each(|name| vocabulary.learn(name));
    }
    for (page, kind) in [
        (&evidence.requests, Kind::OfPeople),
        (&evidence.records, Kind::OfPeople),
        (&evidence.grants, Kind::OfAdministrators),
        (&evidence.holds, Kind::OfAdministrators),
    ] {
        page.got().into_iter().flat_map(|(objects, _)| objects).for_each(|object| vocabulary.collect(object, kind));
    }
    learn_logs(evidence, &mut vocabulary);
    vocabulary
}

/// Adds the names of requests and records in the logs, but not those of grants and holds.
fn learn_logs(evidence: &Evidence, vocabulary: &mut Vocabulary) {
    let of_administrators = [&evidence.grants, &evidence.holds].into_iter().filter_map(Read::got);
    let kept: BTreeSet<String> =
        of_administrators.flat_map(|(objects, _)| objects).map(ResourceExt::name_any).collect();
    let logs = evidence.logs.got().into_iter().flatten().filter_map(|(_, log)| log.got());
    let names = logs.flat_map(|log| log.lines()).flat_map(log_names::names);
    names.filter(|name| !kept.contains(name)).for_each(|name| vocabulary.learn(&name));
}

/// Returns the cause for which something is not in the bundle.
fn absence<T>(read: &Read<T>) -> &str {
    match read {
        Read::Got(_) => "read",
        Read::Absent => "the cluster does not have them",
        Read::Forbidden => "you lack the permission",
        Read::Failed(_) => "the API server returned an error",
    }
}

fn page(redactor: &Redactor, page: &Page, kind: Kind) -> Value {
    page.got().map_or_else(
        || json!({ "notRead": absence(page) }),
        |(objects, left_out)| {
            let items: Vec<_> = objects.iter().map(|object| redactor.object(object, kind)).collect();
            json!({ "items": items, "leftOut": left_out })
        },
    )
}

fn logs(redactor: &Redactor, logs: &Read<Vec<(String, Read<String>)>>) -> Value {
    let Some(logs) = logs.got() else { return json!({ "notRead": absence(logs) }) };
    let entry = |(pod, log): &(String, Read<String>)| {
        let lines = log.got().map(|log| log.lines().map(|line| redactor.text(line)).collect::<Vec<_>>());
        (pod.clone(), lines.map_or_else(|| json!({ "notRead": absence(log) }), Value::from))
    };
    Value::Object(logs.iter().map(entry).collect::<Map<_, _>>())
}

/// Writes a bundle.
///
/// # Errors
/// When the file cannot be written.
pub fn write(mut file: NamedTempFile, path: &Path, bundle: &Value) -> Result<(), Failure> {
    let unwritable = |error: &dyn Display| {
        Failure::usage(format!("--bundle {}: the file cannot be written: {error}", path.display()))
    };
    let text = document::indented(bundle)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n"));
    written.and_then(|()| file.as_file().sync_all()).map_err(|error| unwritable(&error))?;
    file.persist_noclobber(path).map_err(|error| uncreatable(path, &error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests;
