//! The operator: its Deployment, its version, its permissions, its leader, and its
//! Region.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

use super::READS_THE_OPERATOR;
use crate::{
    doctor::{
        finding::Finding,
        installation::{Installation, NAME},
        read::Read,
        words::list,
    },
    terminal::{age, counted, seconds},
};

/// The annotation of a Lease with the namespaces that its holder watches.
const WATCHED: &str = "cognito-reset.dev/watch-namespaces";
/// The time, in seconds, by which the operator's clock may be ahead of the API server's.
const SKEW: i64 = 5;

/// Checks that there is an operator in each namespace of a request once, and that it is ready.
#[must_use]
pub fn deployments(operators: &Read<Vec<Installation>>) -> Vec<Finding> {
    const SUBJECT: &str = "operator";
    let operators = match operators.needed(SUBJECT, "read the operator's Deployment", READS_THE_OPERATOR) {
        Ok(operators) => operators,
        Err(finding) => return vec![finding],
    };
    let mut findings: Vec<Finding> = operators.iter().map(readiness).collect();
    if operators.is_empty() {
        findings.push(Finding::warn(
            SUBJECT,
            "no Deployment has the labels of the operator",
            "install the operator (Helm, or kubectl apply -k deploy/kustomize/base), or name its namespace with --operator-namespace",
        ));
    }
    let overlap = operators.iter().enumerate().find_map(|(index, first)| {
        let second = operators.iter().skip(index + 1).find(|second| overlaps(&first.watched, &second.watched))?;
        Some(format!("{} and {}", place(first), place(second)))
    });
    if let Some(both) = overlap {
        let text =
            format!("{both} handle the same requests; nothing is reset twice, but they claim against each other");
        findings.push(Finding::warn(SUBJECT, text, "remove one of them, or set --watch-namespaces of each"));
    }
    findings
}

fn place(operator: &Installation) -> String {
    format!("{}/{}", operator.namespace, operator.name)
}

fn overlaps(first: &BTreeSet<String>, second: &BTreeSet<String>) -> bool {
    first.is_empty() || second.is_empty() || !first.is_disjoint(second)
}

fn readiness(operator: &Installation) -> Finding {
    const SUBJECT: &str = "operator";
    let (wanted, ready) = operator.replicas;
    let place = place(operator);
    let logs = format!("kubectl -n {} logs deploy/{} --tail=5 shows the cause", operator.namespace, operator.name);
    match ready {
        None => Finding::warn(
            SUBJECT,
            format!("the cluster has not reported how many replicas of {place} are ready"),
            "check that kube-controller-manager runs",
        ),
        Some(0) if wanted == 0 => Finding::fail(
            SUBJECT,
            format!("{place} is scaled to 0 replicas"),
            format!("kubectl -n {} scale deploy/{} --replicas=2", operator.namespace, operator.name),
        ),
        Some(0) => Finding::fail(SUBJECT, format!("0 of {wanted} replicas of {place} are ready"), logs),
        Some(ready) if ready < wanted => {
            Finding::warn(SUBJECT, format!("{ready} of {wanted} replicas of {place} are ready"), logs)
        }
        Some(ready) => {
            let watched: Vec<_> = operator.watched.iter().collect();
            let scope =
                if watched.is_empty() { String::new() } else { format!("; it handles namespaces {}", list(&watched)) };
            Finding::ok(SUBJECT, format!("{ready} of {wanted} replicas of {place} are ready{scope}"))
        }
    }
}

/// Compares the version of the operator's image with the plugin's.
#[must_use]
pub fn version(operators: &Read<Vec<Installation>>, plugin: &str) -> Vec<Finding> {
    const SUBJECT: &str = "version";
    // `deployments` reports what could not be read.
    let compared = operators.got().into_iter().flatten().map(|operator| {
        let image = &operator.image;
        match tag(image) {
            Some(tag) if tag == plugin => Finding::ok(SUBJECT, format!("operator and plugin are {plugin}")),
            Some(tag) if numbers(tag).is_some() => {
                let way = if numbers(tag) > numbers(plugin) { "upgrade the plugin" } else { "upgrade the operator" };
                Finding::warn(
                    SUBJECT,
                    format!("the operator is {tag}, and this plugin is {plugin}"),
                    format!("{way}: fields that one of them does not know are not shown or have no effect"),
                )
            }
            _ => Finding::skipped(
                SUBJECT,
                format!("the image {image} does not name a version, and this plugin is {plugin}"),
                "the operator's documentation of that image says which version it has",
            ),
        }
    });
    compared.collect()
}

/// Returns the tag of an image, without a leading `v`.
fn tag(image: &str) -> Option<&str> {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    let (_, tag) = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
    Some(tag.strip_prefix('v').unwrap_or(tag))
}

fn numbers(version: &str) -> Option<Vec<u32>> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Option<Vec<u32>> = core.split('.').map(|part| part.parse().ok()).collect();
    parts.filter(|parts| parts.len() == 3)
}

/// Reports the permissions that the operator's account lacks.
#[must_use]
pub fn permissions(account: &str, missing: &Read<Vec<String>>) -> Finding {
    const SUBJECT: &str = "account";
    let role = "the ClusterRole system:auth-delegator";
    let missing = match missing.needed(SUBJECT, "ask for the permissions of another account", role) {
        Ok(missing) => missing,
        Err(finding) => return finding,
    };
    if missing.is_empty() {
        return Finding::ok(SUBJECT, format!("{account} has every permission that it needs"));
    }
    Finding::fail(
        SUBJECT,
        format!("{account} lacks {}", list(missing)),
        "bind the operator's ClusterRole and Role to it (Helm: set rbac.create; kustomize: deploy/kustomize/base)",
    )
}

/// Checks that an operator leads, by the API server's time.
#[must_use]
pub fn leader(leases: &Read<Vec<Lease>>, operators: &Read<Vec<Installation>>, now: Timestamp) -> Vec<Finding> {
    const SUBJECT: &str = "leader";
    let known = operators.got().filter(|operators| !operators.is_empty());
    if known.is_some_and(|operators| operators.iter().all(|operator| !operator.uses_lease)) {
        return vec![Finding::ok(SUBJECT, "the operator runs without a Lease (--lease=false), so every replica works")];
    }
    let role = "a Role with get on leases in the operator's namespace (--operator-namespace)";
    match leases.needed(SUBJECT, "read the operator's Lease", role) {
        Err(finding) => vec![finding],
        Ok(leases) if leases.is_empty() => vec![Finding::fail(
            SUBJECT,
            format!("there is no Lease {NAME}: no operator has started here"),
            "check the operator: kubectl get pods -A -l app.kubernetes.io/part-of=cognito-reset-operator",
        )],
        Ok(leases) => {
            let mut findings: Vec<_> = leases.iter().flat_map(|lease| held(lease, now)).collect();
            let leading: Vec<_> = leases.iter().filter(|lease| is_held(lease, now)).collect();
            if let [first, second, ..] = leading.as_slice()
                && overlaps(&watched(first), &watched(second))
            {
                findings.push(Finding::warn(
                    SUBJECT,
                    format!("operators lead in the namespaces {} and {}", namespace(first), namespace(second)),
                    "remove one installation: they claim the same requests against each other",
                ));
            }
            findings
        }
    }
}

fn namespace(lease: &Lease) -> &str {
    lease.metadata.namespace.as_deref().unwrap_or_default()
}

fn watched(lease: &Lease) -> BTreeSet<String> {
    let annotation = lease.metadata.annotations.as_ref().and_then(|all| all.get(WATCHED));
    annotation.into_iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_owned()).collect()
}

fn renewed(lease: &Lease) -> Option<Timestamp> {
    lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0)
}

fn duration(lease: &Lease) -> i64 {
    lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(15).into()
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).filter(|holder| !holder.is_empty())
}

fn is_held(lease: &Lease, now: Timestamp) -> bool {
    let until = |renewed: Timestamp| renewed.as_second().saturating_add(duration(lease)).saturating_add(SKEW);
    holder(lease).is_some() && renewed(lease).is_some_and(|renewed| until(renewed) >= now.as_second())
}

fn held(lease: &Lease, now: Timestamp) -> Vec<Finding> {
    const SUBJECT: &str = "leader";
    let namespace = namespace(lease);
    let when = renewed(lease).map_or_else(|| "never".into(), |renewed| format!("{} ago", age(renewed, now)));
    let Some(holder) = holder(lease).filter(|_| is_held(lease, now)) else {
        return vec![Finding::fail(
            SUBJECT,
            format!("no operator leads: the Lease {namespace}/{NAME} was last renewed {when}"),
            format!("check its Pods: kubectl -n {namespace} get pods, and the last line of their logs"),
        )];
    };
    let ahead = renewed(lease).map_or(0, |renewed| renewed.as_second().saturating_sub(now.as_second()));
    let mut findings = vec![Finding::ok(SUBJECT, format!("{holder} in namespace {namespace}, renewed {when}"))];
    if ahead > SKEW {
        findings.push(Finding::warn(
            "clock",
            format!("the operator's clock is {} ahead of that of the API server", seconds(ahead)),
            "set the clock of its node right: requests with notAfter wait as ClockSkew",
        ));
    }
    findings
}

/// Reports Pods of the operator that were restarted. `restarts` contains their names and numbers.
#[must_use]
pub fn restarts(restarts: &Read<Vec<(String, i32)>>) -> Option<Finding> {
    let restarted: Vec<_> = restarts.got()?.iter().filter(|(_, number)| *number > 0).collect();
    let named: Vec<_> = restarted.iter().map(|(name, number)| format!("{name} ({number})")).collect();
    let text = format!("{} restarted: {}", counted(named.len(), "Pod"), list(&named));
    let logs = "kubectl logs --previous of that Pod shows the last line before the restart";
    (!named.is_empty()).then(|| Finding::warn("operator", text, logs))
}

/// Compares the Region of a pool with the endpoint of Cognito that the operator is configured with.
#[must_use]
pub fn region(pool: &str, operators: &Read<Vec<Installation>>) -> Finding {
    const SUBJECT: &str = "region";
    let region = pool.rsplit_once('_').map_or("", |(region, _)| region);
    let operators = match operators.needed(SUBJECT, "read the operator's endpoint", READS_THE_OPERATOR) {
        Ok(operators) => operators,
        Err(finding) => return finding,
    };
    if operators.is_empty() {
        let text = format!("the pool is in {region}; no operator was found, so it is not known where its calls go");
        return Finding::skipped(SUBJECT, text, "see the finding about the operator");
    }
    let other = operators.iter().find_map(|operator| {
        let endpoint = operator.endpoint.as_ref().filter(|endpoint| !endpoint.contains(&format!(".{region}.")))?;
        Some((operator, endpoint))
    });
    other.map_or_else(
        || {
            Finding::ok(
                SUBJECT,
                format!("the pool is in {region}, and no value in the operator's Deployment names another endpoint"),
            )
        },
        |(operator, endpoint)| {
            Finding::fail(
                SUBJECT,
                format!("the pool is in {region}, and {}/{} sends to {endpoint}", operator.namespace, operator.name),
                "remove AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER or AWS_ENDPOINT_URL, or run an operator for that Region",
            )
        },
    )
}

#[cfg(test)]
mod tests;
