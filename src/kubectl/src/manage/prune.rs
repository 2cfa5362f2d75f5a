//! `prune`: deletes requests that ended some time ago, and never a record.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use cognito_reset_core::retention::policy::{self, Guard, KEEP, KeepReason, Life, Verdict};
use futures::{StreamExt as _, stream};
use http::StatusCode;
use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, DynamicObject, Preconditions},
};

use crate::{
    ask::{self, Enter},
    cluster::{Cluster, Target, duration},
    exit::Exit,
    failure::Failure,
    manage::{
        ABREAST,
        chosen::{self, Chosen, Found, Selected},
        suspend::code,
    },
    terminal::{counted, line, remark},
};

/// The arguments of `prune`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # Show what would be deleted: the requests of a namespace that ended more than 30 days ago
  kubectl cognito-reset prune --all --keep-since 30d -n support \\
      --dry-run=server

  # Delete the requests of a ticket that ended before 31 January 2026
  kubectl cognito-reset prune --ticket INC-7 --keep-since 2026-01-31T00:00:00Z")]
pub struct Options {
    #[command(flatten)]
    chosen: Chosen,
    /// Keeps the requests that ended since then: a time such as 2026-01-31T00:00:00Z, or a duration
    /// before now such as 30d
    #[arg(long, value_name = "TIME", value_parser = since)]
    keep_since: Timestamp,
    /// Deletes without asking
    #[arg(long, short)]
    yes: bool,
    /// Deletes nothing: `server` lets the API server check each deletion
    #[arg(long, value_enum, value_name = "WHERE")]
    dry_run: Option<DryRun>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DryRun {
    Server,
}

fn since(text: &str) -> Result<Timestamp, String> {
    since_at(text, Timestamp::now())
}

fn since_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let before = || duration(text).ok().and_then(|before| now.checked_sub(before).ok());
    let time = text.parse().ok().or_else(before);
    let time = time.ok_or_else(|| "not a time such as 2026-01-31T00:00:00Z, or a duration such as 30d".to_owned())?;
    if time > now { Err("in the future: requests that end until then would be deleted".to_owned()) } else { Ok(time) }
}

/// A selected request.
struct Item {
    name: String,
    verdict: Verdict,
}

impl Item {
    fn of(Found { object, request }: &Found, keep_since: Timestamp) -> Self {
        let completed = request.ended();
        // The rule of the retention, for a time to live that ends with the request, at the
        // moment since when requests are kept.
        let life = Life { seconds: Some(0), outcome: request.outcome(), completed };
        Self { name: object.name_any(), verdict: policy::request(&object.metadata, life, Some(keep_since)) }
    }

    const fn deletion(&self) -> Option<(&String, &Guard)> {
        match &self.verdict {
            Verdict::Delete(guard) => Some((&self.name, guard)),
            Verdict::Keep(_) | Verdict::ReadFurther => None,
        }
    }
}

/// Returns the cause for which a request is kept, in words that follow "kept:".
fn kept(verdict: &Verdict) -> Option<String> {
    let Verdict::Keep(reason) = verdict else { return None };
    Some(match reason {
        KeepReason::Unfinished => "not finished".to_owned(),
        KeepReason::Alive => "finished since the time of --keep-since".to_owned(),
        KeepReason::Labelled => format!("with the label {KEEP}"),
        KeepReason::Tracked(tracker) => {
            format!("tracked by {} ({}), which would create it again", tracker.tool(), tracker.key())
        }
        KeepReason::BeingDeleted => "being deleted already".to_owned(),
        // None of these is about a request, or about one with a time to live.
        KeepReason::ClockUnknown
        | KeepReason::Nameless
        | KeepReason::Young
        | KeepReason::OfNewerOperator
        | KeepReason::Misnamed
        | KeepReason::Open
        | KeepReason::Unexpired
        | KeepReason::Requested
        | KeepReason::Elsewhere
        | KeepReason::Unlimited => "without a complete identity".to_owned(),
    })
}

/// Returns the number of requests that are kept for each cause.
fn kept_counts(items: &[Item]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for cause in items.iter().filter_map(|item| kept(&item.verdict)) {
        *counts.entry(cause).or_default() += 1;
    }
    counts
}

/// The result of one deletion.
enum Deletion {
    Deleted,
    Gone,
    /// The object is not the one that was read any more.
    Changed,
}

/// Runs `prune`.
///
/// # Errors
/// When the cluster or the user refuses. The message counts what was deleted.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    let cluster = Cluster::connect(target).await?;
    let selected = options.chosen.read(&cluster, |found| Item::of(&found, options.keep_since)).await?;
    selected.report(&cluster, "it is kept");
    // A prune that runs every day finds nothing on some.
    if !options.chosen.all {
        options.chosen.require(&selected, &cluster)?;
    }
    for (cause, count) in kept_counts(&selected.items) {
        remark!("{count} kept: {cause}");
    }
    let total = selected.items.iter().filter_map(Item::deletion).count();
    let requests = counted(total, "request");
    remark!("{requests} ended before {:.0}", options.keep_since);
    if total > 0 && options.dry_run.is_none() && !options.yes {
        let question = format!("Delete {requests} of namespace {}? Their records stay.", cluster.namespace);
        ask::confirm(&question, Enter::Ends, "nothing was deleted")?;
    }
    options.delete_all(&cluster, &selected, total).await
}

impl Options {
    /// Deletes a few at a time.
    async fn delete_all(&self, cluster: &Cluster, selected: &Selected<Item>, total: usize) -> Result<Exit, Failure> {
        let (api, dry_run) = (&chosen::api(cluster), self.dry_run.is_some());
        let deletions = selected.items.iter().filter_map(Item::deletion);
        let deletions = deletions.map(async |(name, guard)| (name, delete(api, name, guard, dry_run).await));
        let mut deletions = stream::iter(deletions).buffered(ABREAST);
        let (mut deleted, mut gone, mut changed, mut failures) = (0, 0, 0, Vec::new());
        let suffix = if dry_run { " (server dry run)" } else { "" };
        while let Some((name, deletion)) = deletions.next().await {
            match deletion {
                Err(failure) => failures.push(failure),
                Ok(Deletion::Deleted) => {
                    deleted += 1;
                    line(&format!("passwordresetrequest.cognito-reset.dev/{name} deleted{suffix}"))?;
                }
                Ok(Deletion::Gone) => gone += 1,
                Ok(Deletion::Changed) => changed += 1,
            }
        }
        remark!(
            "{deleted} deleted{suffix}, {gone} deleted by somebody else, {changed} changed in the meantime and kept"
        );
        let failed = failures.len();
        if let Some(failure) = failures.into_iter().next() {
            let deleted = format!("at least {deleted} of {total} were deleted{suffix}, and {failed} got an error");
            return Err(Failure { message: format!("{failure}\n{deleted}; the same command goes on"), ..failure });
        }
        let all = changed == 0 && selected.left_out() == 0;
        Ok(if all { Exit::Succeeded } else { Exit::NothingSent })
    }
}

/// Deletes the object that was read, if it has not changed since.
async fn delete(api: &Api<DynamicObject>, name: &str, guard: &Guard, dry_run: bool) -> Result<Deletion, Failure> {
    let Guard { uid, resource_version } = guard.clone();
    let same = Preconditions { uid: Some(uid), resource_version: Some(resource_version) };
    let params = DeleteParams { dry_run, ..DeleteParams::default().preconditions(same) };
    match api.delete(name, &params).await {
        Ok(_) => Ok(Deletion::Deleted),
        Err(error) => match code(&error) {
            Some(StatusCode::NOT_FOUND) => Ok(Deletion::Gone),
            Some(StatusCode::CONFLICT) => Ok(Deletion::Changed),
            _ => Err(Failure::of_api(&error, &format!("delete the request {name}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use cognito_reset_core::retention::gitops::Tracker;
    use serde_json::{Value, json};

    use super::*;

    fn item(outcome: &str, completed: Option<&str>, labels: Value) -> Item {
        let object = json!({
            "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest",
            "metadata": { "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1", "labels": labels,
                "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "userPoolID": "p_1", "username": "alice" },
            "status": { "outcome": outcome, "completionTime": completed },
        });
        let request = serde_json::from_value(object.clone()).expect("a request");
        let found = Found { request, object: serde_json::from_value(object).expect("an object") };
        Item::of(&found, "2026-01-10T00:00:00Z".parse().expect("a time"))
    }

    #[test]
    fn only_old_finished_requests_of_nobody_are_deleted() {
        let (old, new) = (Some("2026-01-02T00:00:00Z"), Some("2026-01-10T00:00:01Z"));
        let tracked = Tracker::ArgoTrackingId;
        for (item, reason) in [
            (item("Succeeded", old, json!({})), None),
            (item("Failed", old, json!({})), None),
            (item("Unknown", old, json!({ "other": "label" })), None),
            (item("Succeeded", new, json!({})), Some(KeepReason::Alive)),
            (item("Pending", None, json!({})), Some(KeepReason::Unfinished)),
            (item("Pending", old, json!({})), Some(KeepReason::Unfinished)),
            (item("Succeeded", None, json!({})), Some(KeepReason::Unfinished)),
            (item("Succeeded", old, json!({ "cognito-reset.dev/keep": "" })), Some(KeepReason::Labelled)),
            (item("Succeeded", old, json!({ (tracked.key()): "x" })), Some(KeepReason::Tracked(tracked))),
        ] {
            match reason {
                None => assert!(item.deletion().is_some() && kept(&item.verdict).is_none(), "{:?}", item.verdict),
                Some(reason) => assert_eq!(item.verdict, Verdict::Keep(reason)),
            }
        }
    }

    #[test]
    fn what_is_kept_is_counted_by_cause() {
        let counts = kept_counts(&[
            item("Pending", None, json!({})),
            item("Pending", None, json!({})),
            item("Succeeded", Some("2026-01-02T00:00:00Z"), json!({ (KEEP): "" })),
            item("Succeeded", Some("2026-01-02T00:00:00Z"), json!({})),
        ]);
        let wanted = [("not finished", 2), ("with the label cognito-reset.dev/keep", 1)];
        assert_eq!(counts, wanted.map(|(cause, count)| (cause.to_owned(), count)).into());
    }

    #[test]
    fn the_time_is_a_moment_or_a_duration_before_now() {
        let now: Timestamp = "2026-01-31T00:00:00Z".parse().expect("a time");
        for (text, wanted) in [
            ("2026-01-02T00:00:00Z", Some("2026-01-02T00:00:00Z")),
            ("30d", Some("2026-01-01T00:00:00Z")),
            ("2w", Some("2026-01-17T00:00:00Z")),
            ("1d12h", Some("2026-01-29T12:00:00Z")),
            ("90m", Some("2026-01-30T22:30:00Z")),
            ("0", Some("2026-01-31T00:00:00Z")),
            ("2026-02-01T00:00:00Z", None),
            ("-1h", None),
            ("soon", None),
        ] {
            let time = since_at(text, now).ok().map(|time| time.to_string());
            assert_eq!(time.as_deref(), wanted, "{text}");
        }
    }
}
