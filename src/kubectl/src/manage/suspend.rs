//! `suspend` and `resume`: change `spec.suspend` of pending requests.

mod counts;

use clap::Args;
use cognito_reset_api::Outcome;
use cognito_reset_core::retention::gitops;
use futures::{StreamExt as _, stream};
use http::StatusCode;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::json;

use self::counts::{Change, Counts};
use crate::{
    PROGRAM,
    ask::{self, Enter},
    cluster::{Cluster, Target},
    exit::Exit,
    failure::Failure,
    manage::{
        ABREAST,
        chosen::{self, Chosen, Found, Selected},
    },
    terminal::{counted, line, remark},
};

/// The examples of `suspend`.
pub const SUSPEND_EXAMPLES: &str = "\
Examples:
  # Hold back what has not been sent for a ticket
  kubectl cognito-reset suspend --ticket INC-7

  # Hold back one request
  kubectl cognito-reset suspend inc-7-35583deaeb7f -n support";

/// The examples of `resume`.
pub const RESUME_EXAMPLES: &str = "\
Examples:
  # Let the requests of a ticket go on
  kubectl cognito-reset resume --ticket INC-7

  # Let every request of a namespace go on
  kubectl cognito-reset resume --all -n support --yes";

/// The arguments of `suspend`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    chosen: Chosen,
}

/// The arguments of `resume`.
#[derive(Args, Debug)]
pub struct ResumeOptions {
    #[command(flatten)]
    chosen: Chosen,
    /// Resumes without asking. Requests that are named are resumed without it
    #[arg(long, short)]
    yes: bool,
}

/// Runs `suspend`.
///
/// # Errors
/// When nothing is selected, or the cluster refuses. The message counts what was changed.
pub async fn suspend(options: Options, target: &Target) -> Result<Exit, Failure> {
    run(&options.chosen, target, true, true).await
}

/// Runs `resume`.
///
/// # Errors
/// When nothing is selected, or the cluster refuses. The message counts what was changed.
pub async fn resume(options: ResumeOptions, target: &Target) -> Result<Exit, Failure> {
    run(&options.chosen, target, false, options.yes).await
}

/// The work on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The value differs.
    Patch,
    /// The request has the value.
    Already,
    /// The request has ended, and cannot be changed.
    Ended,
}

impl Step {
    fn of(outcome: Outcome, suspended: bool, wanted: bool) -> Self {
        match outcome {
            Outcome::Pending if suspended == wanted => Self::Already,
            Outcome::Pending => Self::Patch,
            Outcome::Succeeded | Outcome::Failed | Outcome::Unknown => Self::Ended,
        }
    }
}

/// A selected request.
struct Item {
    name: String,
    uid: Option<String>,
    step: Step,
    is_tracked: bool,
}

impl Item {
    fn of(found: &Found, wanted: bool) -> Self {
        let Found { object, request } = found;
        Self {
            name: object.name_any(),
            uid: object.uid(),
            step: Step::of(request.outcome(), request.spec.suspend, wanted),
            is_tracked: gitops::tracker(&object.metadata).is_some(),
        }
    }
}

async fn run(chosen: &Chosen, target: &Target, wanted: bool, yes: bool) -> Result<Exit, Failure> {
    let cluster = Cluster::connect(target).await?;
    let selected = chosen.read(&cluster, |found| Item::of(&found, wanted)).await?;
    chosen.require(&selected, &cluster)?;
    selected.report(&cluster, "it was not changed");
    let total = selected.items.iter().filter(|item| item.step == Step::Patch).count();
    // A selection may have requests that somebody has taken out for good reasons.
    if !yes && chosen.names.is_empty() && total > 0 {
        let question = format!("Let {} go on, also those that another user has suspended?", counted(total, "request"));
        ask::confirm(&question, Enter::Ends, "nothing was resumed")?;
    }
    let counts = change(&cluster, &selected, wanted).await?;
    remark!("{}", counts.described(wanted));
    for remark in counts.remarks(wanted) {
        remark!("{remark}");
    }
    Ok(counts.exit(!chosen.names.is_empty(), selected.left_out()))
}

/// Changes those whose value differs, a few at a time. A failure ends none of the others.
async fn change(cluster: &Cluster, selected: &Selected<Item>, wanted: bool) -> Result<Counts, Failure> {
    let of = |step| selected.items.iter().filter(move |item| item.step == step);
    let mut counts = Counts { already: of(Step::Already).count(), ended: of(Step::Ended).count(), ..Counts::default() };
    let (api, total) = (&chosen::api(cluster), of(Step::Patch).count());
    let mut patches =
        stream::iter(of(Step::Patch).map(async |item| (item, patch(api, item, wanted).await))).buffered(ABREAST);
    let mut failures = Vec::new();
    while let Some((item, change)) = patches.next().await {
        let change = match change {
            Ok(change) => change,
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        };
        counts.add(&change);
        if matches!(change, Change::Changed { .. }) {
            counts.tracked += usize::from(item.is_tracked);
            let done = if wanted { "suspended" } else { "resumed" };
            line(&format!("passwordresetrequest.cognito-reset.dev/{} {done}", item.name))?;
        }
    }
    let failed = failures.len();
    failures.into_iter().next().map_or(Ok(counts), |failure| {
        let changed = format!("at least {} of {total} were changed, and {failed} got an error", counts.changed);
        Err(Failure { message: format!("{failure}\n{changed}; run the same command again"), ..failure })
    })
}

/// Changes one, unless another request has taken its name.
async fn patch(api: &Api<DynamicObject>, item: &Item, wanted: bool) -> Result<Change, Failure> {
    let body = json!({ "metadata": { "uid": item.uid }, "spec": { "suspend": wanted } });
    let params = PatchParams { field_manager: Some(PROGRAM.into()), ..PatchParams::default() };
    match api.patch(&item.name, &params, &Patch::Merge(&body)).await {
        Ok(object) => Ok(Change::Changed { was_claimed: object.data.pointer("/status/startTime").is_some() }),
        Err(error) => match code(&error) {
            Some(StatusCode::NOT_FOUND) => Ok(Change::Gone),
            Some(StatusCode::CONFLICT) => Ok(Change::Replaced),
            // The CRD refuses the change of a request that has ended.
            Some(StatusCode::UNPROCESSABLE_ENTITY) if has_ended(api, &item.name).await => Ok(Change::Ended),
            _ => Err(Failure::of_api(&error, &format!("change the request {}", item.name))),
        },
    }
}

/// Returns the code of a response of the API server.
pub(super) fn code(error: &kube::Error) -> Option<StatusCode> {
    match error {
        kube::Error::Api(status) => StatusCode::from_u16(status.code).ok(),
        _ => None,
    }
}

async fn has_ended(api: &Api<DynamicObject>, name: &str) -> bool {
    let outcome = |object: DynamicObject| object.data.pointer("/status/outcome").cloned();
    let outcome = api.get(name).await.ok().and_then(outcome);
    outcome.is_some_and(|outcome| outcome != Outcome::Pending.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pending_requests_whose_value_differs_are_changed() {
        for (outcome, suspended, wanted, step) in [
            (Outcome::Pending, false, true, Step::Patch),
            (Outcome::Pending, true, true, Step::Already),
            (Outcome::Pending, true, false, Step::Patch),
            (Outcome::Pending, false, false, Step::Already),
            (Outcome::Succeeded, false, true, Step::Ended),
            (Outcome::Failed, true, true, Step::Ended),
            (Outcome::Unknown, true, false, Step::Ended),
        ] {
            assert_eq!(Step::of(outcome, suspended, wanted), step, "{outcome:?} {suspended} {wanted}");
        }
    }
}
