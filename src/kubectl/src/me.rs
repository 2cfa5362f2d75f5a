//! The user of the plugin as the API server sees them, and as the policies write users.

use cognito_reset_api::{ApprovedBy, RequestedBy, UserExtra};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use kube::{Api, Client, api::PostParams};

use crate::failure::Failure;

/// Asks the API server who this user is.
///
/// # Errors
/// When it does not say.
pub async fn of_this_user(client: &Client) -> Result<UserInfo, Failure> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let review = review.map_err(|error| Failure::of_api(&error, "ask the API server who you are"))?;
    Ok(review.status.and_then(|status| status.user_info).unwrap_or_default())
}

/// Returns `requestedBy` for a user, exactly as the policies write it; `None` for a user without a
/// name.
#[must_use]
pub fn requested_by(user: &UserInfo) -> Option<RequestedBy> {
    let (username, uid, extra) = (name(user)?, uid(user), extra(user));
    Some(RequestedBy { username, uid, extra })
}

/// Returns `approvedBy` for a user, exactly as the policy `cognito-reset-approval` requires it;
/// `None` for a user without a name.
#[must_use]
pub fn approved_by(user: &UserInfo) -> Option<ApprovedBy> {
    let (username, uid, extra) = (name(user)?, uid(user), extra(user));
    Some(ApprovedBy { username, uid, extra })
}

fn name(user: &UserInfo) -> Option<String> {
    user.username.clone().filter(|name| !name.is_empty())
}

fn uid(user: &UserInfo) -> Option<String> {
    user.uid.clone().filter(|uid| !uid.is_empty())
}

/// Returns the extra attributes that identify a person on Amazon EKS, without the values that the
/// CRDs reject.
fn extra(user: &UserInfo) -> Option<UserExtra> {
    let entry = |key: &str, longest: usize| {
        let value = user.extra.as_ref()?.get(key)?.first()?;
        let is_valid = (1..=longest).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
        is_valid.then(|| value.clone())
    };
    let extra = UserExtra {
        arn: entry("arn", 640),
        principal_id: entry("principalId", 128),
        session_name: entry("sessionName", 64),
    };
    Some(extra).filter(|extra| *extra != UserExtra::default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_user_is_written_as_the_policies_write_it() {
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
            assert_eq!(serde_json::to_value(requested_by(&user)).expect("JSON"), wanted);
            assert_eq!(serde_json::to_value(approved_by(&user)).expect("JSON"), wanted);
        }
    }
}
