//! Asks the API server for permissions: your own, and those of the operator's accounts.

use cognito_reset_api::PasswordResetRequest;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::{Api, Resource as _, api::PostParams};
use serde::Deserialize;

use super::Reader;
use crate::doctor::{
    checks::identity::Task,
    installation::{Installation, NAME},
    read::Read,
};

/// The number of reviews that are asked for at the same time.
const ABREAST: usize = 8;
/// The operator's permissions.
const PERMISSIONS: &str = include_str!("../../../../../deploy/permissions.yaml");

/// Some verbs on one resource, of `deploy/permissions.yaml`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Permission {
    api_group: String,
    resource: String,
    verbs: Vec<String>,
    #[serde(default)]
    own_lease: bool,
    #[serde(default)]
    by_namespace: bool,
    #[serde(default)]
    also_in_default: bool,
    #[serde(default)]
    with_retention: bool,
}

/// Returns the permissions that an installation needs, each as a question and in words.
fn needed(operator: &Installation) -> Result<Vec<(ResourceAttributes, String)>, String> {
    let all: Vec<Permission> = serde_saphyr::from_str(PERMISSIONS).map_err(|error| error.to_string())?;
    let is_needed = |permission: &&Permission| {
        (!permission.own_lease || operator.uses_lease) && (!permission.with_retention || operator.has_retention)
    };
    let mut needed = Vec::new();
    for permission in all.iter().filter(is_needed) {
        for namespace in namespaces(permission, operator) {
            needed.extend(permission.verbs.iter().map(|verb| question(permission, verb, namespace.as_deref())));
        }
    }
    Ok(needed)
}

/// Returns the namespaces in which a permission is needed; `None` for all.
fn namespaces(permission: &Permission, operator: &Installation) -> Vec<Option<String>> {
    if permission.own_lease {
        return vec![Some(operator.lease_namespace.clone())];
    }
    if !permission.by_namespace || operator.watched.is_empty() {
        return vec![None];
    }
    let also = permission.also_in_default.then(|| "default".to_owned());
    operator.watched.iter().cloned().chain(also).map(Some).collect()
}

fn question(permission: &Permission, verb: &str, namespace: Option<&str>) -> (ResourceAttributes, String) {
    let resource = &permission.resource;
    let (plain, subresource) = resource.split_once('/').map_or((resource.as_str(), None), |(a, b)| (a, Some(b)));
    let attributes = ResourceAttributes {
        group: Some(permission.api_group.clone()),
        resource: Some(plain.to_owned()),
        subresource: subresource.map(str::to_owned),
        verb: Some(verb.to_owned()),
        namespace: namespace.map(str::to_owned),
        // RBAC does not know the name of an object that is being created.
        name: (permission.own_lease && verb != "create").then(|| NAME.to_owned()),
        ..ResourceAttributes::default()
    };
    let place = namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
    (attributes, format!("{verb} {resource}{place}"))
}

impl Reader<'_> {
    /// Asks which tasks you may do.
    pub(super) async fn may(&self) -> Read<Vec<(Task, bool)>> {
        let asked = stream::iter(Task::ALL).map(async |task| {
            for verb in task.verbs {
                if !self.may_do(task, verb).await? {
                    return Ok((task, false));
                }
            }
            Ok((task, true))
        });
        Read::of(asked.buffered(ABREAST).try_collect().await)
    }

    async fn may_do(&self, task: Task, verb: &str) -> Result<bool, kube::Error> {
        let attributes = ResourceAttributes {
            group: Some(PasswordResetRequest::group(&()).into_owned()),
            resource: Some(task.resource.to_owned()),
            verb: Some(verb.to_owned()),
            namespace: task.is_namespaced.then(|| self.namespace_asked()).flatten(),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client());
        let review = reviews.create(&PostParams::default(), &review).await?;
        Ok(review.status.is_some_and(|status| status.allowed))
    }

    fn namespace_asked(&self) -> Option<String> {
        (!self.everywhere).then(|| self.cluster.namespace.clone())
    }

    /// Asks which permissions the accounts of the operators lack.
    pub(super) async fn lacking(&self, operators: &Read<Vec<Installation>>) -> Vec<(String, Read<Vec<String>>)> {
        let operators = operators.got().cloned();
        let operators = operators.unwrap_or_else(|| vec![Installation::assumed(self.operator_namespace)]);
        let mut all = Vec::new();
        for operator in operators {
            let lacking = match needed(&operator) {
                Ok(needed) => Read::of(self.denied(&operator.account(), needed).await),
                Err(error) => Read::Failed(error),
            };
            all.push((operator.account(), lacking));
        }
        all
    }

    async fn denied(
        &self,
        account: &str,
        needed: Vec<(ResourceAttributes, String)>,
    ) -> Result<Vec<String>, kube::Error> {
        let reviews: Api<SubjectAccessReview> = Api::all(self.client());
        let asked = stream::iter(needed).map(async |(attributes, words)| {
            let namespace = account.split(':').nth(2).unwrap_or_default();
            let groups = [
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".into(),
            ];
            let spec = SubjectAccessReviewSpec {
                user: Some(account.to_owned()),
                groups: Some(groups.into()),
                resource_attributes: Some(attributes),
                ..Default::default()
            };
            let review = SubjectAccessReview { spec, ..Default::default() };
            let review = reviews.create(&PostParams::default(), &review).await?;
            Ok::<_, kube::Error>((!review.status.is_some_and(|status| status.allowed)).then_some(words))
        });
        let denied: Vec<Option<String>> = asked.buffered(ABREAST).try_collect().await?;
        Ok(denied.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(operator: &Installation) -> Vec<String> {
        needed(operator).expect("a list").into_iter().map(|(_, words)| words).collect()
    }

    #[test]
    fn an_installation_needs_what_its_flags_use() {
        let all = Installation::assumed("ops");
        let words_of_all = words(&all);
        for wanted in ["list userpoolgrants", "update leases in namespace ops", "delete passwordresetrecords"] {
            assert!(words_of_all.iter().any(|it| it == wanted), "{wanted}: {words_of_all:?}");
        }
        let less = words(&Installation { uses_lease: false, has_retention: false, ..all.clone() });
        assert!(!less.iter().any(|it| it.contains("leases") || it == "delete passwordresetrecords"), "{less:?}");
        let some = words(&Installation { watched: ["a".to_owned()].into(), ..all });
        assert!(some.contains(&"list passwordresetrequests in namespace a".to_owned()), "{some:?}");
        assert!(some.contains(&"create events in namespace default".to_owned()), "{some:?}");
        assert!(some.contains(&"list passwordresetrecords".to_owned()), "{some:?}");
    }
}
