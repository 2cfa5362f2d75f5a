//! `UserPoolGrant`: the namespaces that may reset users of a pool, and the role for the calls.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Allows namespaces to reset users of one pool. Grants add up; without a grant nothing is reset.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "cognito-reset.dev",
    version = "v1alpha1",
    kind = "UserPoolGrant",
    shortname = "poolgrant",
    category = "cognito",
    status = "UserPoolGrantStatus",
    derive = "PartialEq",
    doc = "Allows namespaces to reset users of one Amazon Cognito user pool. Grants add up, as roles do in RBAC; without a grant nothing is reset.",
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
        description = "true while the grant allows nothing"
    ),
    printcolumn(
        name = "Namespaces",
        type_ = "integer",
        json_path = ".status.matchedNamespaces",
        description = "the number of namespaces of the cluster that are selected at present"
    ),
    printcolumn(
        name = "Assumable",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"RoleAssumable\")].status",
        description = "True if the role could be assumed at the last check",
        priority = 1
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "True if the grant can allow requests"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "the reason, in one word"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "the reason, in one sentence",
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
    validation = Rule::new("!has(self.namespaces) || !('*' in self.namespaces) || size(self.namespaces) == 1").message("\"*\" means all namespaces: list it alone").field_path(".namespaces"),
    validation = Rule::new("!has(self.namespaceSelector) || (has(self.namespaceSelector.matchLabels) && size(self.namespaceSelector.matchLabels) > 0) || (has(self.namespaceSelector.matchExpressions) && size(self.namespaceSelector.matchExpressions) > 0)").message("an empty selector would select every namespace: say namespaces: [\"*\"] if that is meant").field_path(".namespaceSelector"),
    validation = Rule::new("!has(self.externalID) || has(self.roleARN)").message("externalID is only used to assume a role: give roleARN too").field_path(".externalID"),
    validation = Rule::new("self.requireApproval || (!has(self.approvalIdentity) && !has(self.approvalServiceAccounts))").message("approvalIdentity and approvalServiceAccounts only apply to an approval: set requireApproval too").field_path(".requireApproval"),
    validation = Rule::new("!has(self.sessionTags) || has(self.roleARN)").message("sessionTags are only used to assume a role: give roleARN too").field_path(".sessionTags"),
    validation = Rule::new("!has(self.usernamePattern) || !has(self.userStateSource) || self.userStateSource != 'None'").message("usernamePattern needs the user: set userStateSource to AdminGetUser or ListUsers").field_path(".userStateSource")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserPoolGrantSpec {
    /// The id of the user pool.
    #[serde(rename = "userPoolID")]
    #[schemars(length(min = 1, max = 55), regex(pattern = r"^[\w-]+_[0-9a-zA-Z]+$"))]
    pub user_pool_id: String,

    /// The names of the allowed namespaces; `["*"]` allows all. Set either this or `namespaceSelector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        inner(length(min = 1, max = 63), regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$"))
    )]
    pub namespaces: Option<Vec<String>>,

    /// Selects the allowed namespaces by their labels. Set either this or `namespaces`. An empty selector is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub namespace_selector: Option<LabelSelector>,

    /// Restricts the grant to namespaces with one of these uids (`metadata.uid`), in addition to `namespaces` or `namespaceSelector`. A namespace that is deleted and created again has another uid, so it does not inherit the grant.
    #[serde(default, rename = "namespaceUIDs", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 64), regex(pattern = r"^[0-9A-Za-z-]+$")))]
    pub namespace_uids: Option<Vec<String>>,

    /// Allows only users whose name this regular expression matches from beginning to end. The name is the user name that Cognito stores or, if that is the `sub`, the e-mail address, else the phone number. A request may spell the user in any way that Cognito accepts. The user is read before every claim (`userStateSource`), and the grant allows nothing while that fails. The syntax is that of Rust's regex crate, which is close to RE2 and takes linear time. One line of visible characters. If absent, every user of the pool is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new(schema::ONE_LINE).message(schema::NOT_ONE_LINE))]
    pub username_pattern: Option<String>,

    /// The role to assume for the calls. If absent, the operator's own credentials are used. The session is named and tagged after the request.
    #[serde(default, rename = "roleARN", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 20, max = 2048), regex(pattern = r"^arn:[a-z0-9-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+$"))]
    pub role_arn: Option<String>,

    /// The external id that the role's trust policy requires.
    #[serde(default, rename = "externalID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224), regex(pattern = r"^[\w+=,.@:/-]+$"))]
    pub external_id: Option<String>,

    // The CRD has the description of the type.
    /// The session tags of the role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_tags: Option<SessionTags>,

    // The CRD has the description of the type.
    /// The call by which a user is read before a reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_state_source: Option<UserStateSource>,

    /// Allows only requests with a `notAfter`.
    #[serde(default)]
    pub require_not_after: bool,

    /// Allows only requests that a user with the verb `approve`, other than the requester, has approved (`spec.approved`). Both users have to be authenticated: by the component `stamp-requester` (Kubernetes 1.36 or newer), or by writing their own names, as the component `refuse-unverified` requires. A service account of the request's own namespace counts as neither requester nor approver, unless `approvalServiceAccounts` names it.
    #[serde(default)]
    pub require_approval: bool,

    /// The attributes by which requester and approver are compared: each one that both users have has to differ, and at least one has to be present in both. If absent, these are `Username` and `UID`. On Amazon EKS, `[SessionName]` lets two sessions of one role approve each other. Use it only if every session name is the name of a person, as in IAM Identity Center. Regardless of this field, two sessions of the same name are one person, sessions whose names tools set are never two, and a service account is compared by `Username` and `UID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3))]
    pub approval_identity: Option<Vec<IdentityAttribute>>,

    /// The service accounts that count as requester or approver of requests in their own namespace, such as `system:serviceaccount:team-a:flux`. Any user who may impersonate such an account or create its token, as the roles `edit` and `admin` allow in its namespace, can act as a second person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(min = 1, max = 340),
            regex(pattern = r"^system:serviceaccount:[a-z0-9]([-a-z0-9]*[a-z0-9])?:[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
        )
    )]
    pub approval_service_accounts: Option<Vec<String>>,

    /// The number of pending requests per namespace that proceed at a time, oldest first, among the requests that this grant matches. Later requests wait until earlier ones end. 1 to 1000; if absent, there is no limit. Requests that are suspended or wait for another reason count too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_pending_per_namespace: Option<i64>,

    /// The number of resets per minute that this grant allows, in all namespaces together and evenly spaced. A reset that is tried again counts again, and so does the read of a user before an approval. A request that several grants allow counts for the one with the highest limit, and is not limited if one of them has no limit. 1 to 1800; if absent, only the operator's rate for the account and Region (`--rate`) applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1800))]
    pub max_resets_per_minute: Option<i64>,

    /// The share that this grant takes of the resets of the account and Region while requests of other grants wait, in percent. While no others wait, it takes all. A request that several grants allow counts for one of them, as with `maxResetsPerMinute`. 1 to 100; if absent, the namespaces take turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_share_percent: Option<i64>,

    /// While it is true, this grant allows nothing. Other grants still allow requests: to hold requests back regardless of grants, create a UserPoolHold.
    #[serde(default)]
    pub suspend: bool,
}

/// An attribute by which requester and approver are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum IdentityAttribute {
    /// The authenticated user name.
    Username,
    /// The uid of the authenticated user. On Amazon EKS it identifies a role or an IAM user.
    #[serde(rename = "UID")]
    Uid,
    /// The name of the session of a role, `extra.sessionName`.
    SessionName,
}

/// The session tags that the role is assumed with, for CloudTrail and policies. `Full`, the default, sets the request's namespace, name (its first 64 characters) and uid. `UID` sets only the uid. `None` sets no tags; the role's trust policy then needs no sts:TagSession. Use fewer tags if STS rejects them as too large, as it may together with large session policies or inherited transitive tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
pub enum SessionTags {
    /// The request's namespace, name and uid.
    #[default]
    Full,
    /// Only the request's uid.
    #[serde(rename = "UID")]
    Uid,
    /// No tags.
    None,
}

/// The call by which a user is read before a reset. `AdminGetUser` is the only one that can prove after a lost response that the call reset the user, and makes each user a monthly active user. `ListUsers` does not, but may return an older state: it decides about `ifResetRequired: Skip`, patterns and holds, and a call without a clear response ends as Unknown. With `None` nothing is read: a call without a clear response ends as Unknown at once, `usernamePattern` allows nothing, holds that name users hold every user, and `ifResetRequired: Skip` waits. After a call without a clear response the user is read by AdminGetUser, except with `None`. Of the grants that allow a request, the one with the strongest source decides: `AdminGetUser`, then `ListUsers`, then `None`. A grant with a `usernamePattern` counts only if no grant without one allows the request. For a grant without the field, the operator's `--user-state-source` applies, by default `AdminGetUser`. A record without the field is of `AdminGetUser`.
// The order is that of their evidence, strongest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
pub enum UserStateSource {
    /// AdminGetUser, which returns the current state.
    #[default]
    AdminGetUser,
    /// ListUsers, which may return an older state.
    ListUsers,
    /// No call.
    None,
}

impl UserStateSource {
    /// All sources, strongest first.
    pub const ALL: [Self; 3] = [Self::AdminGetUser, Self::ListUsers, Self::None];

    /// Returns the name as it is written in a grant.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AdminGetUser => "AdminGetUser",
            Self::ListUsers => "ListUsers",
            Self::None => "None",
        }
    }
}

/// The state of a grant. Only the operator writes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserPoolGrantStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The number of namespaces of the cluster that the grant selects at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub matched_namespaces: Option<i64>,

    /// The first 16 other grants of this pool, by name, that differ in role, external id or session tags, share a namespace with this grant, and have the same `usernamePattern` or none on either side. Grants with two different patterns are not compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub conflicts_with: Vec<String>,

    /// The conditions Ready; Stalled, if the grant can never match; and RoleAssumable, after the role has been checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
