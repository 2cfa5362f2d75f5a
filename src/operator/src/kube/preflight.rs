//! Checks at the start that the cluster has what the operator needs: an API server that responds
//! and is new enough, every permission of `deploy/permissions.yaml`, and the CRDs of this version.

mod schemas;

use std::{collections::BTreeSet, time::Duration};

use cognito_reset_api::{PasswordResetRecord, PasswordResetRequest, UserPoolGrant, UserPoolHold};
use cognito_reset_core::{
    ledger::OLD_NAME_PREFIX,
    schemas::listed,
    watched_namespaces::{Scope, WatchedNamespaces},
};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::Namespace,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, PostParams},
};
use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;
use tracing::warn;

use crate::kube::{
    lease,
    store::{StoreError, within},
};

/// The namespace of Events about objects without a namespace.
const EVENTS_OF_THE_CLUSTER: &str = "default";
/// The list of the operator's permissions.
const PERMISSIONS: &str = include_str!("../../../../deploy/permissions.yaml");

/// The oldest minor release of Kubernetes 1 that has selectable fields of CRDs without a feature
/// gate.
const OLDEST_MINOR: u32 = 32;

/// A permission: some verbs on one resource. Its purpose and its test scenario, which the list also
/// has, are not needed here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Permission {
    /// The API group; empty for the core group.
    pub(crate) api_group: String,
    /// The resource, with a subresource after a slash.
    pub(crate) resource: String,
    /// The verbs.
    pub(crate) verbs: Vec<String>,
    /// True if the permission only covers the operator's own Lease, in its own namespace.
    #[serde(default)]
    pub(crate) own_lease: bool,
    /// True if the permission is needed in the namespaces of requests only.
    #[serde(default)]
    pub(crate) by_namespace: bool,
    /// True if it is needed in the namespace `default`, too.
    #[serde(default)]
    pub(crate) also_in_default: bool,
    /// True if the permission is not needed when records are kept forever.
    #[serde(default)]
    pub(crate) with_retention: bool,
}

/// The optional features of this start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs<'a> {
    /// The namespace of the Lease, if one is used.
    pub(crate) lease: Option<&'a str>,
    /// True if records are deleted after their retention.
    pub(crate) retention: bool,
    /// The namespaces whose requests are handled.
    pub(crate) watched: &'a WatchedNamespaces,
}

impl Needs<'_> {
    const fn permission(&self, permission: &Permission) -> bool {
        (!permission.own_lease || self.lease.is_some()) && (!permission.with_retention || self.retention)
    }

    /// Returns the namespaces in which a permission is needed, of those that exist; `None` for all
    /// namespaces.
    fn places<'a>(&'a self, permission: &Permission, absent: &BTreeSet<&str>) -> Vec<Option<&'a str>> {
        match (self.lease.filter(|_| permission.own_lease), self.watched.names()) {
            (Some(lease), _) => vec![Some(lease)],
            (None, Some(names)) if permission.by_namespace => {
                let also = permission.also_in_default.then_some(EVENTS_OF_THE_CLUSTER);
                let existing = names.iter().map(String::as_str).filter(|name| !absent.contains(name));
                existing.chain(also).collect::<BTreeSet<_>>().into_iter().map(Some).collect()
            }
            (None, _) => vec![None],
        }
    }
}

/// An error that prevents the start.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// The list that is compiled into the operator cannot be parsed.
    #[error("failed to read the operator's own list of permissions: {0}")]
    List(String),
    /// The API server cannot be reached.
    #[error(
        "failed to reach the Kubernetes API server at {url}: {cause}; check KUBECONFIG, or for a Pod the NetworkPolicies of its namespace and the proxy (docs/network.md)"
    )]
    Unreachable {
        /// The address of the API server.
        url: String,
        /// The cause.
        cause: StoreError,
    },
    /// The API server is too old.
    #[error(
        "failed to start: the Kubernetes API server at {url} has version {version}, and this operator needs 1.{OLDEST_MINOR} or newer; upgrade the cluster"
    )]
    OldCluster {
        /// The address of the API server.
        url: String,
        /// The version of Kubernetes.
        version: String,
    },
    /// The API server responds, but not with the objects of a kind.
    #[error("failed to list {resource} at the Kubernetes API server at {url}: {cause}")]
    NotListed {
        /// The resource with its API group.
        resource: String,
        /// The address of the API server.
        url: String,
        /// The cause.
        cause: StoreError,
    },
    /// A CRD is not installed.
    #[error(
        "failed to find the resource {0}: install the CRDs first (Helm: set crds.enabled; kustomize: kubectl apply -k deploy/kustomize/crds)"
    )]
    MissingCrd(String),
    /// The CRD of the ledger is older than this version.
    #[error(
        "failed to start: the CRDs are older than this operator, and the ledger would lose {0}; install the CRDs of version {version} first (Helm: set crds.enabled; kustomize: kubectl apply -k deploy/kustomize/crds), or run the operator's earlier version", version = env!("CARGO_PKG_VERSION")
    )]
    OldLedger(String),
    /// The cluster has records of an earlier version, under names that this version never reads.
    #[error(
        "failed to start: the record {0} was written by an earlier, unreleased version; this one would not find it and could repeat its reset. Delete the requests, then the records: kubectl delete prr --all -A, kubectl delete prrec --all"
    )]
    OldRecords(String),
    /// Permissions are missing.
    #[error(
        "failed to start: missing permissions: {0}; bind the operator's ClusterRole and Role to this account (Helm: set rbac.create; kustomize: deploy/kustomize/base)"
    )]
    MissingPermissions(String),
    /// Permissions are missing, and some are needed in the watched namespaces only.
    #[error(
        "failed to start: missing permissions: {0}; bind the operator's roles to this account, in the cluster and in each namespace of --watch-namespaces (Helm: set config.watchNamespaces; kustomize: deploy/kustomize/components/watch-namespaces)"
    )]
    MissingInNamespaces(String),
}

/// Returns the operator's permissions.
///
/// # Errors
/// Returns an error if the list cannot be parsed; a test checks that it can.
pub(crate) fn permissions() -> Result<Vec<Permission>, StartError> {
    serde_saphyr::from_str(PERMISSIONS).map_err(|error| StartError::List(error.to_string()))
}

/// Checks the cluster, in the order in which people would fix it.
///
/// # Errors
/// Returns the first missing item, or all missing permissions.
pub(crate) async fn check(
    client: &Client,
    url: &str,
    needs: Needs<'_>,
    api_timeout: Duration,
) -> Result<(), StartError> {
    let unreachable = |cause| StartError::Unreachable { url: url.to_owned(), cause };
    let version = within(api_timeout, client.apiserver_version()).await.map_err(unreachable)?;
    if is_too_old(&version.major, &version.minor) {
        return Err(StartError::OldCluster { url: url.to_owned(), version: version.git_version });
    }
    let absent = absent_namespaces(client, needs.watched, api_timeout).await.map_err(unreachable)?;
    let needed: Vec<_> = permissions()?.into_iter().filter(|permission| needs.permission(permission)).collect();
    let missing = missing_permissions(client, &needed, |it| needs.places(it, &absent), api_timeout).await;
    let missing = missing.map_err(unreachable)?;
    match needs.watched.names() {
        _ if missing.is_empty() => {}
        None => return Err(StartError::MissingPermissions(missing.join(", "))),
        Some(_) => return Err(StartError::MissingInNamespaces(missing.join(", "))),
    }
    for name in &absent {
        warn!(
            namespace = name,
            "a namespace of --watch-namespaces does not exist; its requests are handled once it exists and this account has its permissions there"
        );
    }
    let exists = |scope: &Scope| scope.as_deref().is_none_or(|name| !absent.contains(name));
    if let Some(scope) = needs.watched.scopes().into_iter().find(exists) {
        let api = match scope {
            Some(namespace) => Api::<PasswordResetRequest>::namespaced(client.clone(), &namespace),
            None => Api::all(client.clone()),
        };
        first(api, url, api_timeout).await?;
    }
    first(Api::<UserPoolGrant>::all(client.clone()), url, api_timeout).await?;
    first(Api::<UserPoolHold>::all(client.clone()), url, api_timeout).await?;
    match first(Api::<PasswordResetRecord>::all(client.clone()), url, api_timeout).await? {
        Some(record) if record.starts_with(OLD_NAME_PREFIX) => return Err(StartError::OldRecords(record)),
        Some(_) | None => {}
    }
    let missing = schemas::missing(client, api_timeout).await;
    if !missing.ledger.is_empty() {
        return Err(StartError::OldLedger(listed(&missing.ledger)));
    }
    if !missing.others.is_empty() {
        warn!(
            missing = listed(&missing.others),
            "the CRDs are older than this operator: the API server rejects or drops these fields and values; install the CRDs of this version"
        );
    }
    Ok(())
}

/// Returns true if this version of Kubernetes is known to be too old. Vendors append letters.
fn is_too_old(major: &str, minor: &str) -> bool {
    let number = |text: &str| text.trim_end_matches(|end: char| !end.is_ascii_digit()).parse::<u32>().ok();
    match (number(major), number(minor)) {
        (Some(0), _) => true,
        (Some(1), Some(minor)) => minor < OLDEST_MINOR,
        (Some(_) | None, _) => false,
    }
}

/// Returns the name of the first object of a kind. The API server sorts cluster-scoped objects by
/// name.
async fn first<K>(api: Api<K>, url: &str, api_timeout: Duration) -> Result<Option<String>, StartError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let params = ListParams::default().limit(1);
    let resource = format!("{}.{}", K::plural(&()), K::group(&()));
    match within(api_timeout, api.list_metadata(&params)).await {
        Ok(list) => Ok(list.items.into_iter().next().map(|object| object.name_any())),
        Err(error) if error.is_not_found() => Err(StartError::MissingCrd(resource)),
        Err(cause) => Err(StartError::NotListed { resource, url: url.to_owned(), cause }),
    }
}

/// Returns the watched namespaces that do not exist. One that cannot be read counts as existing:
/// the missing permission is reported with the others.
async fn absent_namespaces<'a>(
    client: &Client,
    watched: &'a WatchedNamespaces,
    api_timeout: Duration,
) -> Result<BTreeSet<&'a str>, StoreError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut absent = BTreeSet::new();
    for name in watched.names().into_iter().flatten() {
        match within(api_timeout, namespaces.get_metadata(name)).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {
                absent.insert(name.as_str());
            }
            Err(error) if error.refuser().is_some() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(absent)
}

/// Returns the needed permissions that the operator lacks, each with the namespace in which it is
/// needed.
async fn missing_permissions<'a>(
    client: &Client,
    needed: &[Permission],
    places: impl Fn(&Permission) -> Vec<Option<&'a str>>,
    api_timeout: Duration,
) -> Result<Vec<String>, StoreError> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut missing = Vec::new();
    for permission in needed {
        for place in places(permission) {
            for verb in &permission.verbs {
                let review = review(permission, verb, place);
                let response = within(api_timeout, reviews.create(&PostParams::default(), &review)).await?;
                if !response.status.is_some_and(|status| status.allowed) {
                    let place = place.filter(|_| permission.by_namespace);
                    let place = place.map(|name| format!(" in the namespace {name}")).unwrap_or_default();
                    missing.push(format!("{verb} {}{place}", permission.resource));
                }
            }
        }
    }
    Ok(missing)
}

/// Returns the question whether this account has a permission, in a namespace or in all.
fn review(permission: &Permission, verb: &str, namespace: Option<&str>) -> SelfSubjectAccessReview {
    let (resource, subresource) =
        permission.resource.split_once('/').map_or((permission.resource.as_str(), None), |(a, b)| (a, Some(b)));
    let attributes = ResourceAttributes {
        group: Some(permission.api_group.clone()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(str::to_owned),
        verb: Some(verb.to_owned()),
        namespace: namespace.map(str::to_owned),
        // RBAC does not know the name of an object that is being created.
        name: (permission.own_lease && verb != "create").then(|| lease::NAME.to_owned()),
        ..ResourceAttributes::default()
    };
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::is_too_old;

    #[test]
    fn versions_before_the_oldest_supported_one_are_too_old() {
        for (major, minor, too_old) in [
            ("1", "31", true),
            ("1", "31+", true),
            ("1", "9", true),
            ("0", "40", true),
            ("1", "32", false),
            ("1", "32+", false),
            ("1", "40", false),
            ("2", "0", false),
            ("1", "", false),
            ("", "", false),
        ] {
            assert_eq!(is_too_old(major, minor), too_old, "{major}.{minor}");
        }
    }
}
