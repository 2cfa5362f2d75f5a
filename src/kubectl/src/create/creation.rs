//! Creates requests.

use std::{cell::Cell, collections::HashMap, pin::pin};

use cognito_reset_api::RequestedBy;
use futures::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kube::{
    Api,
    api::{DynamicObject, PostParams},
};
use serde_json::Value;

use super::{
    options::Options,
    plan::{Existing, Plan, Wanted, unparsed},
};
use crate::{
    PROGRAM,
    cluster::Cluster,
    failure::Failure,
    me,
    selection::{self, Listed},
};

/// The number of requests that are created at the same time.
const ABREAST: usize = 8;
/// The words with which the component `refuse-unverified` demands the requester.
const DEMAND: &str = "into spec.requestedBy";

/// The requests that were created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// The number of those that this command created.
    pub(super) created: usize,
    /// The number of those that somebody else created in the meantime.
    pub(super) existed: usize,
    /// True if Ctrl-C ended it.
    pub(super) is_interrupted: bool,
    /// The number of those that the API server refused.
    refused: usize,
    /// The number of those that were begun.
    begun: usize,
}

impl Made {
    /// Returns the numbers in words, such as "3 of 9 requests were created".
    pub(super) fn of(&self, total: usize) -> String {
        let unknown = self.begun.saturating_sub(self.created + self.existed + self.refused);
        let mut text = format!("{} of {total} were created", self.created);
        if self.existed > 0 {
            text = format!("{text}, {} existed", self.existed);
        }
        if unknown > 0 {
            text = format!("{text}, and of {unknown} it is not known");
        }
        text
    }
}

/// A request that is there now.
enum There {
    Created(Value),
    Existed(Value),
}

/// The failure of a creation.
struct Refused {
    failure: Failure,
    /// True if the API server has responded: the request was not created.
    is_known: bool,
}

impl Refused {
    fn by(error: &kube::Error, what: &str) -> Self {
        Self { failure: Failure::of_api(error, what), is_known: matches!(error, kube::Error::Api(_)) }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, is_known: true }
    }
}

/// Returns a bar, which is hidden where standard error is no terminal.
fn bar(requests: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(requests as u64), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("creating {bar:20} {pos}/{len}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The creation of requests in a cluster.
#[derive(Clone)]
pub(super) struct Creation<'a> {
    cluster: &'a Cluster,
    options: &'a Options,
    /// The requester, if a policy demands the name.
    requested_by: Option<RequestedBy>,
}

impl<'a> Creation<'a> {
    pub(super) const fn new(cluster: &'a Cluster, options: &'a Options) -> Self {
        Self { cluster, options, requested_by: None }
    }

    /// Lets the API server check the first request, and returns it as it would be stored. Where a
    /// policy demands the requester, the name is filled in.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub(super) async fn check(&mut self, wanted: &[Wanted]) -> Result<Option<Value>, Failure> {
        let Some(first) = wanted.first() else { return Ok(None) };
        if let Err(kube::Error::Api(status)) = self.post(first, true).await
            && status.message.contains(DEMAND)
        {
            self.requested_by = me::requested_by(&me::of_this_user(&self.cluster.client).await?);
        }
        let there = self.create_one(first, true).await.map_err(|refused| refused.failure)?;
        let (There::Created(first) | There::Existed(first)) = there;
        Ok(Some(first))
    }

    /// Creates requests, a few at a time, and prints them as `-o` says. Ctrl-C or a failure begins
    /// no further one; a second Ctrl-C does not wait for those that have begun.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub(super) async fn create(&self, wanted: &[Wanted], dry_run: bool) -> Result<Made, Failure> {
        let (goes_on, begun) = (Cell::new(true), Cell::new(0));
        let rest = wanted.iter().take_while(|_| goes_on.get()).inspect(|_| begun.set(begun.get() + 1));
        let bar = bar(wanted.len());
        let mut creations = stream::iter(rest.map(|wanted| self.create_one(wanted, dry_run))).buffered(ABREAST);
        let mut interrupt = pin!(tokio::signal::ctrl_c());
        let (mut made, mut failed) = (Made::default(), Vec::new());
        loop {
            tokio::select! {
                biased;
                _ = &mut interrupt => {
                    goes_on.set(false);
                    if std::mem::replace(&mut made.is_interrupted, true) {
                        break;
                    }
                    interrupt.set(tokio::signal::ctrl_c());
                }
                there = creations.next() => {
                    let Some(there) = there else { break };
                    bar.inc(1);
                    if let Err(failure) = bar.suspend(|| self.take(there, &mut made)) {
                        goes_on.set(false);
                        failed.push(failure);
                    }
                }
            }
        }
        bar.finish_and_clear();
        made.begun = begun.get();
        failed.into_iter().next().map_or(Ok(made), |failure| {
            let message = match dry_run {
                true => format!("{failure}\nnothing was created"),
                false => format!("{failure}\n{}; the same command goes on", made.of(wanted.len())),
            };
            Err(Failure { message, ..failure })
        })
    }

    /// Counts a request, and prints it if this command created it.
    fn take(&self, there: Result<There, Refused>, made: &mut Made) -> Result<(), Failure> {
        match there {
            Ok(There::Created(object)) => {
                made.created += 1;
                self.options.print_one(&object)
            }
            Ok(There::Existed(_)) => {
                made.existed += 1;
                Ok(())
            }
            Err(Refused { failure, is_known }) => {
                made.refused += usize::from(is_known);
                Err(failure)
            }
        }
    }

    /// Creates a request. One that somebody else created in the meantime for the same user is there
    /// as well.
    async fn create_one(&self, wanted: &Wanted, dry_run: bool) -> Result<There, Refused> {
        let Self { cluster, options, .. } = self;
        let what = format!("create the request {} in namespace {}", wanted.name, cluster.namespace);
        match self.post(wanted, dry_run).await {
            Ok(stored) => Ok(There::Created(serde_json::json!(Listed::from(stored).object))),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let there = self.requests().get(&wanted.name).await;
                let there = Listed::from(there.map_err(|error| Refused::by(&error, &what))?);
                let request = there.request.ok_or_else(|| unparsed(&wanted.name))?;
                let existing = Existing::new(&request, &options.spec());
                Plan::new(vec![wanted.clone()], &options.pool, &HashMap::from([(wanted.name.clone(), existing)]))?;
                Ok(There::Existed(serde_json::json!(there.object)))
            }
            Err(error) => Err(Refused::by(&error, &what)),
        }
    }

    async fn post(&self, wanted: &Wanted, dry_run: bool) -> kube::Result<DynamicObject> {
        let Self { cluster, options, requested_by } = self;
        let manifest = options.manifest(wanted, &cluster.namespace, requested_by.as_ref());
        let manifest = serde_json::to_value(manifest).and_then(serde_json::from_value::<DynamicObject>);
        let manifest = manifest.map_err(kube::Error::SerdeError)?;
        let params = PostParams { dry_run, field_manager: Some(PROGRAM.into()) };
        self.requests().create(&params, &manifest).await
    }

    fn requests(&self) -> Api<DynamicObject> {
        selection::api(self.cluster, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_that_was_begun_is_counted() {
        for (created, existed, refused, begun, wanted) in [
            (9, 0, 0, 9, "9 of 40 were created"),
            (9, 2, 1, 12, "9 of 40 were created, 2 existed"),
            // A lost connection, and a second Ctrl-C.
            (7, 0, 1, 16, "7 of 40 were created, and of 8 it is not known"),
            (0, 0, 1, 1, "0 of 40 were created"),
        ] {
            let made = Made { created, existed, refused, begun, is_interrupted: false };
            assert_eq!(made.of(40), wanted);
        }
    }
}
