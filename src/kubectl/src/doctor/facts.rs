//! All that is read, and the findings about it.

use std::collections::BTreeSet;

use cognito_reset_core::grants::Namespace;
use k8s_openapi::{
    api::{authentication::v1::UserInfo, coordination::v1::Lease},
    apimachinery::pkg::version::Info,
};
use kube::api::DynamicObject;
use serde_json::Value;

use super::{
    checks::{
        cluster::{self, Clock},
        grants::{self, Asked},
        identity::{self, Task},
        operator,
        policies::{self, Policies},
        requests::{self, Listed},
    },
    finding::{self, Finding, Severity},
    installation::Installation,
    read::Read,
};

/// All that was read.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The namespace of the command.
    pub namespace: String,
    /// True if the requests of every namespace were read.
    pub everywhere: bool,
    /// The pool that is asked about.
    pub pool: Option<String>,
    /// The version of Kubernetes.
    pub kubernetes: Info,
    /// The clocks.
    pub clock: Clock,
    /// The user.
    pub user: Read<UserInfo>,
    /// The tasks of the user that are allowed.
    pub may: Read<Vec<(Task, bool)>>,
    /// The plurals of the CRDs that are served.
    pub kinds: Read<BTreeSet<String>>,
    /// The schemas.
    pub schemas: Read<Value>,
    /// The installations.
    pub operators: Read<Vec<Installation>>,
    /// The accounts of the operators, and the permissions that each lacks.
    pub lacking: Vec<(String, Read<Vec<String>>)>,
    /// The Leases of the operators.
    pub leases: Read<Vec<Lease>>,
    /// The Pods of the operators with their number of restarts.
    pub restarts: Read<Vec<(String, i32)>>,
    /// The policies in force.
    pub policies: Read<Policies>,
    /// The grants.
    pub grants: Read<Vec<DynamicObject>>,
    /// The holds.
    pub holds: Read<Vec<DynamicObject>>,
    /// The namespace as grants see it.
    pub labels: Read<Namespace>,
    /// The requests that are pending.
    pub pending: Read<Listed>,
    /// The requests that failed.
    pub failed: Read<Listed>,
}

impl Facts {
    /// Returns the namespace or namespaces in words.
    #[must_use]
    pub fn place(&self) -> String {
        if self.everywhere { "all namespaces".into() } else { format!("namespace {}", self.namespace) }
    }

    /// Returns all findings, with what is wrong first.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.of_the_cluster();
        findings.extend(self.of_the_operator());
        findings.extend(self.of_the_requests());
        finding::sort(&mut findings);
        findings
    }

    fn of_the_cluster(&self) -> Vec<Finding> {
        let Info { major, minor, git_version, .. } = &self.kubernetes;
        let mut findings = vec![
            identity::user(&self.user),
            identity::permissions(&self.may, &self.place()),
            cluster::kubernetes(major, minor, git_version),
            cluster::clock(self.clock),
            cluster::crds(&self.kinds),
        ];
        findings.extend(cluster::schemas(&self.schemas));
        if !self.everywhere {
            findings.extend(cluster::namespace(&self.labels, &self.namespace));
        }
        findings
    }

    fn of_the_operator(&self) -> Vec<Finding> {
        let mut findings = operator::deployments(&self.operators);
        findings.extend(operator::restarts(&self.restarts));
        findings.extend(operator::version(&self.operators, env!("CARGO_PKG_VERSION")));
        findings.extend(self.leader());
        findings.extend(self.lacking.iter().map(|(account, lacking)| operator::permissions(account, lacking)));
        let needs_people = grants::requires_approval(&self.grants, self.pool.as_deref());
        findings.extend(policies::policies(&self.policies, needs_people));
        findings
    }

    fn leader(&self) -> Vec<Finding> {
        operator::leader(&self.leases, &self.operators, self.clock.now())
    }

    fn of_the_requests(&self) -> Vec<Finding> {
        let asked = Asked {
            pool: self.pool.as_deref(),
            namespace: &self.namespace,
            everywhere: self.everywhere,
            read: &self.labels,
        };
        let now = self.clock.now();
        let mut findings = grants::grants(&self.grants, asked);
        findings.extend(grants::holds(&self.holds, asked, now));
        findings.extend(self.pool.as_ref().map(|pool| operator::region(pool, &self.operators)));
        let is_led = self.leader().iter().all(|finding| finding.severity == Severity::Ok);
        findings.extend(requests::pending(&self.pending, &self.place(), now, is_led));
        findings.extend(requests::failed(&self.failed, &self.place()));
        findings
    }
}
