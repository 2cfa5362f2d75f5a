//! `UserPoolHold`: holds back requests, in one pool or in all. It never allows anything.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

// An operator that does not know a field of a newer version holds more, never less, because a field
// can only narrow a hold.
/// The requests that are held. Each field except `reason` narrows the hold, and one that is absent narrows nothing.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "cognito-reset.dev",
    version = "v1alpha1",
    kind = "UserPoolHold",
    shortname = "poolhold",
    category = "cognito",
    status = "UserPoolHoldStatus",
    derive = "PartialEq",
    doc = "Holds back every request that it matches, regardless of grants and approvals, until it is deleted. A hold allows nothing. A claim whose call has not begun is settled as never sent; a call that has begun is not stopped.",
    selectable = ".spec.userPoolID",
    printcolumn(
        name = "Pool",
        type_ = "string",
        json_path = ".spec.userPoolID",
        description = "the user pool; empty if every pool is held"
    ),
    printcolumn(
        name = "Namespaces",
        type_ = "string",
        json_path = ".spec.namespaces",
        description = "the namespaces; empty if every namespace is held",
        priority = 1
    ),
    printcolumn(
        name = "Held",
        type_ = "integer",
        json_path = ".status.heldRequests",
        description = "the number of pending requests that the hold holds back at present"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "True if the operator applies the hold"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".spec.reason",
        description = "the reason for the hold, as its author wrote it"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "the state of the hold, in one sentence",
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
    validation = Rule::new("has(self.userPoolID) == has(oldSelf.userPoolID) && (!has(self.userPoolID) || self.userPoolID == oldSelf.userPoolID)").message("userPoolID is immutable, because a change would release requests: create another hold, then delete this one").field_path(".userPoolID"),
    validation = Rule::new("has(self.namespaces) == has(oldSelf.namespaces) && (!has(self.namespaces) || self.namespaces == oldSelf.namespaces)").message("namespaces is immutable, because a change would release requests: create another hold, then delete this one").field_path(".namespaces"),
    validation = Rule::new("has(self.usernames) == has(oldSelf.usernames) && (!has(self.usernames) || self.usernames == oldSelf.usernames)").message("usernames is immutable, because a change would release requests: create another hold, then delete this one").field_path(".usernames")
)]
#[serde(rename_all = "camelCase")]
pub struct UserPoolHoldSpec {
    /// The id of the user pool. If absent, requests of every pool are held.
    #[serde(default, rename = "userPoolID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 55), regex(pattern = r"^[\w-]+_[0-9a-zA-Z]+$"))]
    pub user_pool_id: Option<String>,

    /// The names of the namespaces whose requests are held. If absent, requests of every namespace are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub namespaces: Option<Vec<String>>,

    /// The users whose requests are held, by the user name that Cognito stores. A request is held if it spells the user like this, or if AdminGetUser returns such a user name, `sub`, e-mail address, phone number or preferred user name; upper and lower case are the same. A request whose user cannot be read is held as well. If absent, the requests of every user are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        inner(length(min = 1, max = 128), regex(pattern = r"^[\p{L}\p{M}\p{S}\p{N}\p{P}]+$"))
    )]
    pub usernames: Option<Vec<String>>,

    /// The reason for the hold, in one line of visible characters. The status of every request that is held shows it: write nothing confidential.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new(schema::ONE_LINE).message(schema::NOT_ONE_LINE))]
    pub reason: String,
}

/// The state of a hold. Only the operator writes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserPoolHoldStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The number of pending requests that the hold holds back at present. Requests that no grant matches are not counted: they wait for a grant. Another hold may hold the same requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub held_requests: Option<i64>,

    /// The conditions Ready, and Stalled if the operator cannot read the hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
