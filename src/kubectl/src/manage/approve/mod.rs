//! `approve`: shows what would be approved, asks, and approves exactly that.

pub mod review;

use std::collections::HashMap;

use clap::Args;
use cognito_reset_api::{ApprovedBy, UserPoolGrant};
use http::StatusCode;
use jiff::Timestamp;
use kube::{
    Api,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::json;

use self::review::{Review, Unseen, Verdict};
use crate::{
    PROGRAM,
    ask::{self, Enter},
    cluster::{Cluster, Target},
    exit::Exit,
    failure::Failure,
    manage::{
        chosen::{self, Chosen, Found, Selected},
        suspend::code,
    },
    me, parsed,
    terminal::{counted, line, remark, shown},
};

/// The number of times that an approval is sent again because only the reason of the wait changed.
const ATTEMPTS: usize = 10;
const NOTHING: &str = "nothing was approved";

/// The arguments of `approve`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # Show what one request is for, and ask whether to approve it
  kubectl cognito-reset approve reset-help-4712 -n payroll

  # Show the requests of a ticket that can be approved, and ask
  kubectl cognito-reset approve --ticket INC-7 -n payroll")]
pub struct Options {
    #[command(flatten)]
    chosen: Chosen,
    /// Approves requests whose status does not show the user. The approval then counts for any user
    /// that the name in the request means when it is sent
    #[arg(long)]
    unseen_user: bool,
    /// Approves without asking. It requires the names of the requests
    #[arg(long, short)]
    yes: bool,
}

/// Runs `approve`.
///
/// # Errors
/// When something that was named cannot be approved, or the cluster or the user refuses.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    let Options { chosen, yes, .. } = &options;
    let is_named = !chosen.names.is_empty();
    if *yes && !is_named {
        return Err(Failure::usage(format!("--yes approves only requests that are named, one by one; {NOTHING}")));
    }
    let cluster = Cluster::connect(target).await?;
    let found = chosen.read(&cluster, |found| found).await?;
    chosen.require(&found, &cluster)?;
    found.report(&cluster, "it cannot be approved");
    let reviews = options.review(&cluster, &found).await?;
    let refused = found.left_out() + report(&reviews);
    if is_named && refused > 0 {
        return Err(Failure::refused(NOTHING));
    }
    let approvable: Vec<&Review> = reviews.iter().filter(|review| review.verdict == Verdict::Approve).collect();
    if !approvable.is_empty() {
        let (now, namespace) = (Timestamp::now(), &cluster.namespace);
        approvable.iter().for_each(|review| remark!("{}", review.text(namespace, now)));
        if !yes {
            ask::confirm(&format!("Approve {}?", counted(approvable.len(), "request")), Enter::Ends, NOTHING)?;
        }
        options.approve(&cluster, &approvable).await?;
    }
    Ok(if refused > 0 { Exit::NothingSent } else { Exit::Succeeded })
}

/// Prints why requests are not approved, and returns the number of those that lack something.
fn report(reviews: &[Review]) -> usize {
    let mut refused = 0;
    for review in reviews {
        let name = &review.name;
        match &review.verdict {
            Verdict::Approve => continue,
            Verdict::Already(Some(by)) => remark!("{name}: approved before, by {}", shown(by)),
            Verdict::Already(None) => {
                remark!("{name}: approved before, by a user who is not authenticated")
            }
            Verdict::Ended(outcome) => {
                remark!("{name}: it has ended as {outcome}, and cannot be approved");
                refused += 1;
            }
            Verdict::NoUser => {
                remark!(
                    "{name}: the pool {} has no user {}, as the status says, so an approved request fails: check the user name and the pool",
                    shown(review.pool()),
                    shown(review.user())
                );
                refused += 1;
            }
            Verdict::Unseen(problem) => {
                remark!(
                    "{name}: {}; if nobody may read users of this pool, --unseen-user approves it nevertheless",
                    shown(problem)
                );
                refused += 1;
            }
        }
    }
    refused
}

impl Options {
    /// Reviews requests. The grants are read only if one depends on them.
    async fn review(&self, cluster: &Cluster, found: &Selected<Found>) -> Result<Vec<Review>, Failure> {
        let first = if self.unseen_user { Unseen::Accepted } else { Unseen::Refused };
        let mut reviews: Vec<_> = found.items.iter().map(|found| Review::new(found, first)).collect();
        let mut rules: HashMap<String, Unseen> = HashMap::new();
        if reviews.iter().any(|review| matches!(review.verdict, Verdict::Unseen(_))) {
            let grants = grants(cluster).await?;
            rules.extend(reviews.iter().map(|review| (review.pool().to_owned(), Unseen::of(&grants, review.pool()))));
        }
        for (review, found) in reviews.iter_mut().zip(&found.items) {
            if rules.get(review.pool()) == Some(&Unseen::Accepted) {
                *review = Review::new(found, Unseen::Accepted);
            }
        }
        Ok(reviews)
    }

    async fn approve(&self, cluster: &Cluster, reviews: &[&Review]) -> Result<(), Failure> {
        // A policy that stamps the approver writes the same.
        let approver = me::approved_by(&me::of_this_user(&cluster.client).await?);
        for (done, review) in reviews.iter().enumerate() {
            let by = approve_one(cluster, review, approver.as_ref()).await.map_err(|failure| Failure {
                message: format!("{failure}{}", approved_before(done, reviews.len())),
                ..failure
            })?;
            line(&format!("passwordresetrequest.cognito-reset.dev/{} approved", review.name))?;
            match by {
                Some(by) => remark!("{}: approved as {}", review.name, shown(&by)),
                None => remark!("{}: approved, but the approver is not authenticated", review.name),
            }
        }
        Ok(())
    }
}

/// Returns what is known of the others after a failure, in a line of its own.
fn approved_before(done: usize, total: usize) -> String {
    match (done, total) {
        (_, 1) => String::new(),
        (0, _) => "\nno other request was approved".to_owned(),
        _ => format!("\nat least {done} of {total} were approved"),
    }
}

/// Returns the grants; none if the user may not read them, or this plugin cannot parse one.
async fn grants(cluster: &Cluster) -> Result<Vec<UserPoolGrant>, Failure> {
    let grants: Api<UserPoolGrant> = Api::all(cluster.client.clone());
    match parsed::list(&grants, &ListParams::default()).await {
        Ok((grants, _)) if grants.unreadable.is_empty() => Ok(grants.objects),
        Ok(_) => Ok(Vec::new()),
        Err(error) if code(&error) == Some(StatusCode::FORBIDDEN) => Ok(Vec::new()),
        Err(error) => Err(Failure::of_api(&error, "list grants")),
    }
}

/// Approves the object that was shown, for the user that was shown. Returns the approver as it is
/// stored.
async fn approve_one(
    cluster: &Cluster,
    review: &Review,
    approver: Option<&ApprovedBy>,
) -> Result<Option<String>, Failure> {
    let (api, what) = (chosen::api(cluster), format!("approve the request {}", review.name));
    let failed = |error: &kube::Error| Failure::of_api(error, &what);
    let params = PatchParams { field_manager: Some(PROGRAM.into()), ..PatchParams::default() };
    let mut version = review.resource_version.clone();
    for _ in 0..ATTEMPTS {
        let body = json!({
            "metadata": { "uid": review.uid, "resourceVersion": version },
            "spec": { "approved": true, "approvedBy": approver },
        });
        match api.patch(&review.name, &params, &Patch::Merge(&body)).await {
            Ok(object) => return Ok(approver_of(&object)),
            Err(error) if code(&error) == Some(StatusCode::CONFLICT) => {
                let current = api.get_opt(&review.name).await.map_err(|error| failed(&error))?;
                version = Some(still_the_same(review, current)?);
            }
            Err(error) => return Err(failed(&error)),
        }
    }
    Err(Failure::refused(format!("cannot {what}: it changes all the time; run the command again")))
}

fn approver_of(object: &DynamicObject) -> Option<String> {
    Some(object.data.pointer("/spec/approvedBy/username")?.as_str()?.to_owned())
}

/// Returns the version of a request that changed after it was shown, if the approval is still for
/// what was shown.
fn still_the_same(review: &Review, current: Option<DynamicObject>) -> Result<String, Failure> {
    let name = &review.name;
    let changed =
        |how: &str| Failure::refused(format!("the request {name} {how} since it was shown, so it was not approved"));
    let object = current.ok_or_else(|| changed("was deleted"))?;
    let request = serde_json::to_value(&object).and_then(serde_json::from_value);
    let found = Found { object, request: request.map_err(|_| changed("was changed"))? };
    // The rule for an unseen user was decided before: that the user is not shown is a part of what
    // is compared.
    let now = Review::new(&found, Unseen::Accepted);
    match (&now.verdict, now.shows_the_same_as(review), now.resource_version) {
        (Verdict::Already(_), true, _) => Err(changed("was approved by another user")),
        (Verdict::Ended(_), true, _) => Err(changed("has ended")),
        (_, true, Some(version)) => Ok(version),
        _ if now.uid != review.uid => Err(changed("was deleted and created again")),
        _ => Err(changed("got another user in its status")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(uid: &str, version: &str, user: Option<&str>, more: serde_json::Value) -> DynamicObject {
        let mut spec = json!({ "userPoolID": "p_1", "username": "alice" });
        for (key, value) in more.as_object().expect("fields") {
            spec[key] = value.clone();
        }
        let metadata = json!({ "name": "a", "namespace": "n", "uid": uid, "resourceVersion": version });
        let status = json!({ "outcome": "Pending", "userName": user });
        serde_json::from_value(json!({
            "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest", "metadata": metadata,
            "spec": spec, "status": status,
        }))
        .expect("an object")
    }

    #[test]
    fn a_failure_counts_only_the_other_approvals() {
        for (done, total, wanted) in
            [(0, 1, ""), (0, 3, "\nno other request was approved"), (2, 3, "\nat least 2 of 3 were approved")]
        {
            assert_eq!(approved_before(done, total), wanted);
        }
    }

    #[test]
    fn a_changed_request_is_approved_only_if_it_shows_the_same() {
        let first = object("u", "1", Some("ceo"), json!({}));
        let request = serde_json::to_value(&first).and_then(serde_json::from_value).expect("a request");
        let review = Review::new(&Found { object: first, request }, Unseen::Refused);
        let same = |current| still_the_same(&review, current).map_err(|failure| failure.message);
        assert_eq!(same(Some(object("u", "2", Some("ceo"), json!({ "suspend": true })))), Ok("2".to_owned()));
        for (current, says) in [
            (None, "was deleted"),
            (Some(object("v", "2", Some("ceo"), json!({}))), "deleted and created again"),
            (Some(object("u", "2", Some("clerk"), json!({}))), "another user in its status"),
            (
                Some(object("u", "2", Some("ceo"), json!({ "approved": true, "approvedBy": { "username": "eve" } }))),
                "approved by another user",
            ),
        ] {
            let said = same(current).expect_err("it differs");
            assert!(said.contains(says) && said.contains("was not approved"), "{said}");
        }
    }
}
