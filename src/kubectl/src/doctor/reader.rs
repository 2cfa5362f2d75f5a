//! Reads what the findings are about. Nothing is written, except for reviews, which store nothing.

mod permissions;

use std::{collections::BTreeSet, fmt::Debug};

use cognito_reset_api::{PasswordResetRequest, UserPoolGrant, UserPoolHold};
use cognito_reset_core::grants::Namespace;
use futures::future::join_all;
use http::Request as HttpRequest;
use jiff::{Timestamp, fmt::rfc2822};
use k8s_openapi::{
    ClusterResourceScope,
    api::{
        apps::v1::Deployment,
        authentication::v1::{SelfSubjectReview, UserInfo},
        coordination::v1::Lease,
        core::v1::{Namespace as NamespaceObject, Pod},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, ListParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    checks::{
        cluster::Clock,
        policies::{Policies, in_force},
        requests::Listed,
    },
    facts::Facts,
    installation::{Installation, LABEL, NAME},
    read::Read,
};
use crate::{cluster::Cluster, failure::Failure, parsed::list};

/// The number of objects of one page of a list, and the number of pages that are read.
const PAGE: u32 = 500;
const PAGES: u32 = 10;
/// The API group of the admission policies.
const ADMISSION: &str = "admissionregistration.k8s.io";

/// Reads from a cluster.
#[derive(Clone)]
pub struct Reader<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// True if the requests of every namespace are read.
    pub everywhere: bool,
    /// The namespace in which the operator is looked for if you may not list Deployments in all.
    pub operator_namespace: &'a str,
}

impl Reader<'_> {
    fn client(&self) -> Client {
        self.cluster.client.clone()
    }

    /// Reads everything that the findings are about.
    ///
    /// # Errors
    /// When the API server does not respond, or does not accept the credentials.
    pub async fn facts(&self, pool: Option<String>) -> Result<Facts, Failure> {
        let version = self.client().apiserver_version().await;
        let kubernetes = version.map_err(|error| Failure::of_api(&error, "read the version of the cluster"))?;
        let clock = self.clock().await;
        let (user, may, kinds, schemas) = futures::join!(self.user(), self.may(), self.kinds(), self.schemas());
        let (policies, grants, holds, labels) = futures::join!(
            self.policies(),
            self.objects::<UserPoolGrant>(),
            self.objects::<UserPoolHold>(),
            self.labels()
        );
        let (pending, failed, operators) =
            futures::join!(self.requests("Pending", PAGES), self.requests("Failed", 1), self.operators());
        let places = self.places(&operators);
        let (leases, restarts, lacking) =
            futures::join!(self.leases(&places), self.restarts(&places), self.lacking(&operators));
        Ok(Facts {
            namespace: self.cluster.namespace.clone(),
            everywhere: self.everywhere,
            pool,
            kubernetes,
            clock,
            user,
            may,
            kinds,
            schemas,
            operators,
            lacking,
            leases,
            restarts,
            policies,
            grants,
            holds,
            labels,
            pending,
            failed,
        })
    }

    /// Reads the API server's time, by a request of its own: the connection exists already.
    async fn clock(&self) -> Clock {
        let before = Timestamp::now();
        let response = match HttpRequest::get("/version").body(kube::client::Body::empty()) {
            Ok(request) => self.client().send(request).await.ok(),
            Err(_) => None,
        };
        let after = Timestamp::now();
        let date = response.as_ref().and_then(|response| response.headers().get(http::header::DATE));
        let date = date.and_then(|date| rfc2822::parse(date.to_str().ok()?).ok());
        Clock { before, after, date: date.map(|date| date.timestamp()) }
    }

    async fn user(&self) -> Read<UserInfo> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client());
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
        Read::of(review).map(|review| review.status.and_then(|status| status.user_info).unwrap_or_default())
    }

    async fn kinds(&self) -> Read<BTreeSet<String>> {
        let version = format!("{}/{}", UserPoolGrant::group(&()), UserPoolGrant::version(&()));
        let list = self.client().list_api_group_resources(&version).await;
        Read::of(list).map(|list| list.resources.into_iter().map(|resource| resource.name).collect())
    }

    async fn schemas(&self) -> Read<Value> {
        let path = format!("/openapi/v3/apis/{}/{}", UserPoolGrant::group(&()), UserPoolGrant::version(&()));
        match HttpRequest::get(path).body(Vec::new()) {
            Ok(request) => Read::of(self.client().request(request).await),
            Err(error) => Read::Failed(error.to_string()),
        }
    }

    async fn policies(&self) -> Read<Policies> {
        let in_force = async |version: &str, kind: &str| {
            let list = async |kind: &str| {
                let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(ADMISSION, version, kind));
                let objects: Api<DynamicObject> = Api::all_with(self.client(), &resource);
                Read::of(objects.list(&ListParams::default()).await.map(|list| list.items))
            };
            let binding = format!("{kind}Binding");
            let (policies, bindings) = futures::join!(list(kind), list(&binding));
            match (policies, bindings) {
                (Read::Got(policies), Read::Got(bindings)) => Read::Got(in_force(&policies, &bindings)),
                (Read::Got(_), unread) | (unread, _) => unread.map(|_| BTreeSet::new()),
            }
        };
        let (validating, mutating) =
            futures::join!(in_force("v1", "ValidatingAdmissionPolicy"), in_force("v1", "MutatingAdmissionPolicy"));
        match (validating, mutating) {
            (Read::Got(validating), Read::Got(mutating)) => Read::Got(Policies { validating, mutating }),
            // Before Kubernetes 1.36 there are none.
            (Read::Got(validating), Read::Absent) => Read::Got(Policies { validating, mutating: BTreeSet::new() }),
            (Read::Got(_), unread) | (unread, _) => unread.map(|_| Policies::default()),
        }
    }

    /// Lists the objects of a kind in any shape.
    pub async fn objects<K>(&self) -> Read<Vec<DynamicObject>>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
    {
        let objects: Api<DynamicObject> = Api::all_with(self.client(), &ApiResource::erase::<K>(&()));
        Read::of(objects.list(&ListParams::default()).await.map(|list| list.items))
    }

    async fn labels(&self) -> Read<Namespace> {
        let namespaces: Api<NamespaceObject> = Api::all(self.client());
        Read::of(namespaces.get(&self.cluster.namespace).await)
            .map(|namespace| Namespace { uid: namespace.uid(), labels: namespace.metadata.labels.unwrap_or_default() })
    }

    async fn requests(&self, outcome: &str, pages: u32) -> Read<Listed> {
        let api = if self.everywhere { self.cluster.all_requests() } else { self.cluster.requests() };
        let mut params = ListParams::default().limit(PAGE).fields(&format!("status.outcome={outcome}"));
        let mut listed = Listed::default();
        for _ in 0..pages {
            let (page, metadata) = match Read::of(list(&api, &params).await) {
                Read::Got(page) => page,
                unread => return unread.map(|_| Listed::default()),
            };
            listed.requests.extend(page.objects);
            listed.unreadable.extend(page.unreadable);
            params.continue_token = metadata.continue_.filter(|token| !token.is_empty());
            listed.is_cut = params.continue_token.is_some();
            if !listed.is_cut {
                break;
            }
        }
        Read::Got(listed)
    }

    /// Lists by labels or fields in all namespaces, or else in these alone.
    async fn somewhere<K>(&self, params: &ListParams, namespaces: &[String]) -> Read<Vec<K>>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        match Read::of(Api::<K>::all(self.client()).list(params).await) {
            Read::Got(all) => return Read::Got(all.items),
            Read::Forbidden => {}
            unread => return unread.map(|_| Vec::new()),
        }
        let mut found = Vec::new();
        for namespace in namespaces {
            match Read::of(Api::<K>::namespaced(self.client(), namespace).list(params).await) {
                Read::Got(some) => found.extend(some.items),
                unread => return unread.map(|_| Vec::new()),
            }
        }
        Read::Got(found)
    }

    async fn operators(&self) -> Read<Vec<Installation>> {
        let here = [self.operator_namespace.to_owned()];
        let deployments: Read<Vec<Deployment>> = self.somewhere(&ListParams::default().labels(LABEL), &here).await;
        deployments.map(|all| all.iter().map(Installation::of).collect())
    }

    /// Returns the installations that were read, or else the one that is assumed.
    fn places(&self, operators: &Read<Vec<Installation>>) -> Vec<Installation> {
        match operators.got() {
            Some(operators) if !operators.is_empty() => operators.clone(),
            _ => vec![Installation::assumed(self.operator_namespace)],
        }
    }

    async fn leases(&self, places: &[Installation]) -> Read<Vec<Lease>> {
        let named = ListParams::default().fields(&format!("metadata.name={NAME}"));
        match Read::of(Api::<Lease>::all(self.client()).list(&named).await) {
            Read::Got(all) => return Read::Got(all.items),
            Read::Forbidden => {}
            unread => return unread.map(|_| Vec::new()),
        }
        let reads = places.iter().map(async |place| {
            Read::of(Api::<Lease>::namespaced(self.client(), &place.lease_namespace).get_opt(NAME).await)
        });
        let mut found = Vec::new();
        for read in join_all(reads).await {
            match read {
                Read::Got(lease) => found.extend(lease),
                unread => return unread.map(|_| Vec::new()),
            }
        }
        Read::Got(found)
    }

    /// Lists the Pods of the operators.
    pub async fn pods(&self, places: &[Installation]) -> Read<Vec<Pod>> {
        let namespaces: Vec<_> = places.iter().map(|place| place.namespace.clone()).collect();
        self.somewhere(&ListParams::default().labels(LABEL), &namespaces).await
    }

    async fn restarts(&self, places: &[Installation]) -> Read<Vec<(String, i32)>> {
        let restarts = |pod: &Pod| {
            let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
            (pod.name_any(), containers.map(|container| container.restart_count).sum())
        };
        self.pods(places).await.map(|pods| pods.iter().map(restarts).collect())
    }

    /// Returns the requests of the namespace, or of all, in any shape: the first page, and the
    /// number of the others.
    pub async fn all_requests(&self) -> Read<(Vec<DynamicObject>, i64)> {
        let resource = ApiResource::erase::<PasswordResetRequest>(&());
        self.first(if self.everywhere {
            Api::all_with(self.client(), &resource)
        } else {
            Api::namespaced_with(self.client(), &self.cluster.namespace, &resource)
        })
        .await
    }

    /// Returns the first page of objects, and the number of the others.
    pub async fn first(&self, api: Api<DynamicObject>) -> Read<(Vec<DynamicObject>, i64)> {
        let page = Read::of(api.list(&ListParams::default().limit(PAGE)).await);
        page.map(|page| (page.items, page.metadata.remaining_item_count.unwrap_or(0)))
    }

    /// Returns the first page of records, and the number of the others.
    pub async fn records(&self) -> Read<(Vec<DynamicObject>, i64)> {
        let resource = ApiResource::erase::<cognito_reset_api::PasswordResetRecord>(&());
        self.first(Api::all_with(self.client(), &resource)).await
    }
}
