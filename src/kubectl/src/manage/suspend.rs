//! `suspend` and `resume`: change `spec.suspend` of pending requests.

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

use crate::{
    cluster::{Cluster, Target},
    exit::Exit,
    failure::Failure,
    manage::{
        ABREAST, FIELD_MANAGER,
        selection::{self, Found, Selected, Selection},
    },
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
  kubectl cognito-reset resume --all -n support";

/// The arguments of `suspend` and `resume`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    selection: Selection,
}

/// Runs `suspend`.
///
/// # Errors
/// When nothing is selected, or the cluster refuses. The message counts what was changed.
pub async fn suspend(options: Options, target: &Target) -> Result<Exit, Failure> {
    run(&options, target, true).await
}

/// Runs `resume`.
///
/// # Errors
/// When nothing is selected, or the cluster refuses. The message counts what was changed.
pub async fn resume(options: Options, target: &Target) -> Result<Exit, Failure> {
    run(&options, target, false).await
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

/// The result for one request.
enum Change {
    Changed {
        /// A claim was made before.
        was_claimed: bool,
    },
    /// It ended before the change.
    Ended,
    /// It was deleted before the change.
    Gone,
    /// It was deleted and created again before the change.
    Replaced,
}

/// The number of requests of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    changed: usize,
    claimed: usize,
    already: usize,
    ended: usize,
    gone: usize,
    replaced: usize,
    tracked: usize,
}

impl Counts {
    const fn add(&mut self, change: &Change) {
        match change {
            Change::Changed { was_claimed } => {
                self.changed += 1;
                if *was_claimed {
                    self.claimed += 1;
                }
            }
            Change::Ended => self.ended += 1,
            Change::Gone => self.gone += 1,
            Change::Replaced => self.replaced += 1,
        }
    }

    /// Returns the counts in words. What did not occur is left out, except for the changes.
    fn described(&self, wanted: bool) -> String {
        let (done, was) = if wanted { ("suspended", "suspended") } else { ("resumed", "not suspended") };
        let mut text = format!("{} {done}", self.changed);
        for (count, words) in [
            (self.already, format!("{was} before")),
            (self.ended, "had ended and cannot be changed".to_owned()),
            (self.gone, "deleted in the meantime".to_owned()),
            (
                self.replaced,
                "deleted and created again in the meantime, and not changed: run the command again".to_owned(),
            ),
        ] {
            if count > 0 {
                text = format!("{text}, {count} {words}");
            }
        }
        text
    }

    /// Returns the remarks about what the change does not do.
    fn remarks(&self, wanted: bool) -> Vec<String> {
        let mut remarks = Vec::new();
        if wanted && self.changed > 0 {
            remarks.push(
                "a suspend does not stop a call that is in flight, or whose claim was made within 1 s of it: look at status.outcome again in a moment"
                    .to_owned(),
            );
        }
        if wanted && self.claimed > 0 {
            let claimed = self.claimed;
            remarks
                .push(format!("{claimed} of them had an attempt before, whose call may be in flight or have happened"));
        }
        if self.tracked > 0 {
            remarks.push(format!(
                "a GitOps tool tracks {} of them, and changes suspend back if their manifests contain it: change it there, too",
                self.tracked
            ));
        }
        remarks
    }

    /// Returns the result. Requests that had ended matter only if they were named.
    const fn exit(&self, named: bool, unreadable: usize) -> Exit {
        if self.replaced > 0 || unreadable > 0 || (named && (self.ended > 0 || self.gone > 0)) {
            Exit::NothingSent
        } else {
            Exit::Succeeded
        }
    }
}

async fn run(options: &Options, target: &Target, wanted: bool) -> Result<Exit, Failure> {
    let cluster = Cluster::connect(target).await?;
    let selected = options.selection.read(&cluster, |found| Item::of(&found, wanted)).await?;
    options.selection.require(&selected, &cluster)?;
    selected.report_unreadable("it was not changed");
    let counts = change(&cluster, &selected, wanted).await?;
    anstream::eprintln!("{}", counts.described(wanted));
    for remark in counts.remarks(wanted) {
        anstream::eprintln!("{remark}");
    }
    Ok(counts.exit(!options.selection.names.is_empty(), selected.unreadable.len()))
}

/// Changes those whose value differs, a few at a time.
async fn change(cluster: &Cluster, selected: &Selected<Item>, wanted: bool) -> Result<Counts, Failure> {
    let of = |step| selected.items.iter().filter(move |item| item.step == step);
    let mut counts = Counts { already: of(Step::Already).count(), ended: of(Step::Ended).count(), ..Counts::default() };
    let (api, total) = (&selection::api(cluster), of(Step::Patch).count());
    let mut patches =
        stream::iter(of(Step::Patch).map(async |item| (item, patch(api, item, wanted).await))).buffered(ABREAST);
    while let Some((item, change)) = patches.next().await {
        let change = change.map_err(|failure| Failure {
            message: format!("{failure}\n{} of {total} were changed; the same command goes on", counts.changed),
            ..failure
        })?;
        counts.add(&change);
        if matches!(change, Change::Changed { .. }) {
            counts.tracked += usize::from(item.is_tracked);
            let done = if wanted { "suspended" } else { "resumed" };
            anstream::println!("passwordresetrequest.cognito-reset.dev/{} {done}", item.name);
        }
    }
    Ok(counts)
}

/// Changes one, unless another request has taken its name.
async fn patch(api: &Api<DynamicObject>, item: &Item, wanted: bool) -> Result<Change, Failure> {
    let body = json!({ "metadata": { "uid": item.uid }, "spec": { "suspend": wanted } });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
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

    #[test]
    fn counts_name_what_occurred() {
        let counts = Counts { changed: 3, claimed: 1, already: 2, ended: 4, ..Counts::default() };
        let wanted = "3 suspended, 2 suspended before, 4 had ended and cannot be changed";
        assert_eq!(counts.described(true), wanted);
        assert_eq!(Counts::default().described(false), "0 resumed");
        assert_eq!((counts.remarks(true).len(), counts.remarks(false).len()), (2, 0));
        assert!(Counts { already: 1, ..Counts::default() }.remarks(true).is_empty());
    }

    #[test]
    fn a_request_that_had_ended_fails_only_if_named() {
        let ended = Counts { changed: 1, ended: 1, ..Counts::default() };
        assert_eq!((ended.exit(true, 0), ended.exit(false, 0)), (Exit::NothingSent, Exit::Succeeded));
        assert_eq!(ended.exit(false, 1), Exit::NothingSent);
        assert_eq!(Counts { replaced: 1, ..ended }.exit(false, 0), Exit::NothingSent);
    }
}
