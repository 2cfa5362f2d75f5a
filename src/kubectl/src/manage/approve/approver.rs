//! The approver as the policies write users.

use cognito_reset_api::{ApprovedBy, UserExtra};
use k8s_openapi::api::authentication::v1::UserInfo;

/// Returns `approvedBy` for a user of the API server, exactly as the policy
/// `cognito-reset-approval` requires it; `None` for a user without a name.
#[must_use]
pub fn approved_by(user: &UserInfo) -> Option<ApprovedBy> {
    let extra = UserExtra {
        arn: extra(user, "arn", 640),
        principal_id: extra(user, "principalId", 128),
        session_name: extra(user, "sessionName", 64),
    };
    Some(ApprovedBy {
        username: user.username.clone().filter(|name| !name.is_empty())?,
        uid: user.uid.clone().filter(|uid| !uid.is_empty()),
        extra: Some(extra).filter(|extra| *extra != UserExtra::default()),
    })
}

/// Returns the first value of an entry, unless it is one that the policies leave out.
fn extra(user: &UserInfo, key: &str, longest: usize) -> Option<String> {
    let value = user.extra.as_ref()?.get(key)?.first()?;
    let is_kept = (1..=longest).contains(&value.len()) && value.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    is_kept.then(|| value.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_approver_is_named_as_the_policy_requires() {
        let long = "x".repeat(65);
        for (user, wanted) in [
            (json!({ "username": "bob", "groups": ["system:authenticated"] }), json!({ "username": "bob" })),
            (json!({ "username": "bob", "uid": "" }), json!({ "username": "bob" })),
            (json!({ "username": "bob", "uid": "7" }), json!({ "username": "bob", "uid": "7" })),
            (
                json!({ "username": "r", "extra": { "arn": ["a", "b"], "principalId": ["P"], "sessionName": ["s"], "x": ["y"] } }),
                json!({ "username": "r", "extra": { "arn": "a", "principalId": "P", "sessionName": "s" } }),
            ),
            (json!({ "username": "r", "extra": { "sessionName": [long] } }), json!({ "username": "r" })),
            (json!({ "username": "r", "extra": { "arn": ["a b"], "sessionName": [] } }), json!({ "username": "r" })),
            (json!({}), Value::Null),
        ] {
            let user: UserInfo = serde_json::from_value(user).expect("a user");
            assert_eq!(serde_json::to_value(approved_by(&user)).expect("JSON"), wanted);
        }
    }
}
