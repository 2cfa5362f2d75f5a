//! `UserPoolGrant`: which namespaces may reset users of which pool, and with which role.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Allows namespaces to reset users of one pool. Grants add up; without one nothing is reset.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "cognito-reset.dev",
    version = "v1alpha1",
    kind = "UserPoolGrant",
    shortname = "upg",
    category = "cognito",
    status = "UserPoolGrantStatus",
    derive = "PartialEq",
    doc = "Allows namespaces to reset users of one Amazon Cognito user pool. Grants add up, as RBAC does; without one nothing is reset.",
    selectable = ".spec.userPoolID",
    printcolumn(name = "Pool", type_ = "string", json_path = ".spec.userPoolID", description = "the user pool"),
    printcolumn(
        name = "Role",
        type_ = "string",
        json_path = ".spec.roleARN",
        description = "the role to assume",
        priority = 1
    ),
    printcolumn(
        name = "Suspended",
        type_ = "boolean",
        json_path = ".spec.suspend",
        description = "true while the grant holds everything back"
    ),
    printcolumn(
        name = "Namespaces",
        type_ = "integer",
        json_path = ".status.matchedNamespaces",
        description = "how many namespaces of the cluster are selected at present"
    ),
    printcolumn(
        name = "Assumable",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"RoleAssumable\")].status",
        description = "whether the role could be assumed at the last try",
        priority = 1
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "whether the grant can allow anything"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "why, in one word"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "why, in one sentence",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "time since creation"
    )
)]
#[x_kube(
    validation = Rule::new("has(self.namespaces) != has(self.namespaceSelector)").message("give either namespaces (names, or [\"*\"] for all) or namespaceSelector, not both"),
    validation = Rule::new("!has(self.namespaces) || !('*' in self.namespaces) || size(self.namespaces) == 1").message("\"*\" stands for all namespaces: list it alone").field_path(".namespaces"),
    validation = Rule::new("!has(self.namespaceSelector) || (has(self.namespaceSelector.matchLabels) && size(self.namespaceSelector.matchLabels) > 0) || (has(self.namespaceSelector.matchExpressions) && size(self.namespaceSelector.matchExpressions) > 0)").message("an empty selector would select every namespace: say namespaces: [\"*\"] if that is meant").field_path(".namespaceSelector"),
    validation = Rule::new("!has(self.externalID) || has(self.roleARN)").message("externalID is only used to assume a role: give roleARN too").field_path(".externalID"),
    validation = Rule::new("!has(self.sessionTags) || has(self.roleARN)").message("sessionTags are only used to assume a role: give roleARN too").field_path(".sessionTags")
)]
#[serde(rename_all = "camelCase")]
pub struct UserPoolGrantSpec {
    /// The id of the user pool.
    #[serde(rename = "userPoolID")]
    #[schemars(length(min = 1, max = 55), regex(pattern = r"^[\w-]+_[0-9a-zA-Z]+$"))]
    pub user_pool_id: String,

    /// The names of the namespaces that are allowed; `["*"]` allows all. Either this or `namespaceSelector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        inner(length(min = 1, max = 63), regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$"))
    )]
    pub namespaces: Option<Vec<String>>,

    /// Selects the namespaces that are allowed by their labels. Either this or `namespaces`; an empty selector is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub namespace_selector: Option<LabelSelector>,

    /// Allows only user names that match this regular expression as a whole (the syntax of Rust's regex crate, close to RE2; linear time). One line of visible characters. Absent: every user of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new(schema::ONE_LINE).message(schema::NOT_ONE_LINE))]
    pub username_pattern: Option<String>,

    /// The role to assume for the calls; absent: the operator's own credentials. The session is named and tagged after the request.
    #[serde(default, rename = "roleARN", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 20, max = 2048), regex(pattern = r"^arn:[a-z0-9-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+$"))]
    pub role_arn: Option<String>,

    /// The external id that the role's trust policy asks for.
    #[serde(default, rename = "externalID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224), regex(pattern = r"^[\w+=,.@:/-]+$"))]
    pub external_id: Option<String>,

    /// Which session tags the role is assumed with, for CloudTrail and policies. `Full`, the default: the request's namespace, name (its first 64 characters) and uid. `UID`: the uid alone. `None`: no tags; the role's trust policy then needs no sts:TagSession. Choose less where STS refuses the tags as too large, as it does beside large session policies or inherited transitive tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_tags: Option<SessionTags>,

    /// Allows only requests with an `expirationTime`.
    #[serde(default)]
    pub require_expiration: bool,

    /// Allows only requests that somebody with the verb `approve`, other than their requester, has approved (`spec.approved`). Needs the component `stamp-requester` (Kubernetes 1.36 or newer): without its stamp it allows none.
    #[serde(default)]
    pub require_approval: bool,

    /// How many of one namespace's pending requests that this grant concerns go on at a time, the oldest first; later ones wait until earlier ones end. 1 to 1000; absent: no limit. Requests that are suspended or wait for anything else count too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_pending_per_namespace: Option<i64>,

    /// The kill switch: while true, every request that this grant concerns waits, whatever it lacks and whatever other grants say.
    #[serde(default)]
    pub suspend: bool,
}

/// Which session tags a role is assumed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
pub enum SessionTags {
    /// The request's namespace, name and uid.
    #[default]
    Full,
    /// The request's uid alone.
    #[serde(rename = "UID")]
    Uid,
    /// None at all.
    None,
}

/// Whether a grant can allow anything. Written by the operator alone.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserPoolGrantStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// How many namespaces of the cluster the grant selects at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub matched_namespaces: Option<i64>,

    /// Other grants of this pool that differ in role or external id and have a namespace in common, with the same usernamePattern or with none on either side; the first 16 by name. Whether two different patterns can match one user is not decided here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub conflicts_with: Vec<String>,

    /// Ready; Stalled where the grant can never match; RoleAssumable once the role has been tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
