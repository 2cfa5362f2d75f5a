//! The requester of the spec, where a policy demands it and no component stamps it.

use cognito_reset_api::{RequestedBy, UserExtra};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use kube::{Api, Client, api::PostParams};

use crate::failure::Failure;

/// The words with which the component `refuse-unverified` demands the requester.
const DEMAND: &str = "into spec.requestedBy";

/// Returns true if a policy demands the requester.
#[must_use]
pub fn is_demanded(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.message.contains(DEMAND))
}

/// Asks the API server who this user is.
///
/// # Errors
/// When it does not say.
pub async fn of_this_user(client: &Client) -> Result<RequestedBy, Failure> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let review = review.map_err(|error| Failure::of_api(&error, "find out who you are"))?;
    let user = review.status.and_then(|status| status.user_info);
    Ok(requested_by(user.unwrap_or_default()))
}

/// Returns a user as the policies write it: of the extra attributes only those that identify a
/// person on Amazon EKS, and no value that the CRD rejects.
#[must_use]
pub fn requested_by(user: UserInfo) -> RequestedBy {
    let extra = user.extra.unwrap_or_default();
    let entry = |key: &str, longest: usize| {
        let value = extra.get(key).and_then(|values| values.first())?;
        let is_valid = (1..=longest).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
        is_valid.then(|| value.clone())
    };
    let extra = UserExtra {
        arn: entry("arn", 640),
        principal_id: entry("principalId", 128),
        session_name: entry("sessionName", 64),
    };
    RequestedBy {
        username: user.username.unwrap_or_default(),
        uid: user.uid.filter(|uid| !uid.is_empty()),
        extra: Some(extra).filter(|extra| *extra != UserExtra::default()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_user_is_written_as_the_policies_write_it() {
        for (user, wanted) in [
            (json!({"username": "jane"}), json!({"username": "jane"})),
            (json!({"username": "jane", "uid": ""}), json!({"username": "jane"})),
            (
                json!({"username": "jane", "uid": "1", "groups": ["a"], "extra": {
                    "arn": ["arn:aws:sts::1:assumed-role/a/jane", "second"], "principalId": ["has a blank"],
                    "sessionName": ["x".repeat(65)], "other": ["x"],
                }}),
                json!({"username": "jane", "uid": "1", "extra": {"arn": "arn:aws:sts::1:assumed-role/a/jane"}}),
            ),
            (json!({"username": "jane", "extra": {"arn": []}}), json!({"username": "jane"})),
        ] {
            let user = requested_by(serde_json::from_value(user).unwrap());
            assert_eq!(serde_json::to_value(user).unwrap(), wanted);
        }
    }
}
