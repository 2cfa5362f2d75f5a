//! `watch`: follows requests until each has ended.

pub mod attach;
pub mod progress;
pub mod show;
pub mod text;
pub mod watched;

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, MissedTickBehavior};

use self::{
    attach::{Attachment, Step},
    progress::Progress,
    show::{Format, Show},
    watched::Watched,
};
use crate::{
    cluster::{Cluster, Target, duration},
    exit::Exit,
    failure::Failure,
    selection::{self, Selection},
    tally::State,
};

/// The time between two drawings of the bar.
const TICK: Duration = Duration::from_millis(200);

/// The arguments of `watch`.
#[derive(Args, Debug)]
#[command(after_help = "\
`kubectl cognito-reset --help` has the exit codes.
It ends when each of the requests has ended. Ctrl-C ends only the watch, never a request.
A --request-timeout below 60s counts as 60s, because a watch is quiet while nothing changes.

Examples:
  # Follow the requests of a ticket
  kubectl cognito-reset watch --ticket HELP-4711

  # Give up after ten minutes with exit code 3; the operator goes on
  kubectl cognito-reset watch --ticket HELP-4711 --timeout 10m

  # One JSON object for each request that ends, and one with the counts
  kubectl cognito-reset watch -l team=support -o json")]
pub struct Options {
    /// The names of the requests; without names and selectors, all of the namespace
    #[arg(value_name = "NAME", value_parser = selection::name, conflicts_with = "all_namespaces")]
    names: Vec<String>,
    #[command(flatten)]
    selection: Selection,
    /// The time after which the command ends with exit code 3, such as 10m; 0 looks once
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Prints in this format
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Runs `watch`.
///
/// # Errors
/// When the requests cannot be watched, or there are none.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    let cluster = Cluster::connect(&attach::patient(target)).await?;
    let watched = Watched { names: options.names.into_iter().collect(), selection: options.selection };
    let show = Show::new(options.output, &watched.selection, false);
    let again = watched.clone();
    let watch = Watch { cluster: &cluster, watched, again, show, timeout: options.timeout, were_created: false };
    watch.follow().await
}

/// A watch of requests until each has ended.
pub struct Watch<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The requests.
    pub watched: Watched,
    /// The requests that the command to go on with selects.
    pub again: Watched,
    /// The output.
    pub show: Show,
    /// The time after which it ends.
    pub timeout: Option<Duration>,
    /// True if this command has just created the requests: those that are not there were deleted.
    pub were_created: bool,
}

/// The end of a watch.
enum End {
    Over,
    TimedOut,
    Interrupted,
}

impl Watch<'_> {
    /// Follows the requests.
    ///
    /// # Errors
    /// When they cannot be watched, or there are none.
    pub async fn follow(&self) -> Result<Exit, Failure> {
        let mut progress = Progress::default();
        let end = self.until_end(&mut progress).await.inspect_err(|_| self.show.clear())?;
        if progress.is_complete() {
            self.show.end(&progress)?;
        } else {
            self.show.clear();
            self.show.remark("not all requests were listed yet, so there are no counts");
        }
        let exit = match end {
            End::Over => return Ok(Exit::of(&progress.tally())),
            End::TimedOut => Exit::TimedOut,
            End::Interrupted => Exit::Interrupted,
        };
        let again = self.again.command("watch", &self.cluster.flags).map_or_else(
            || "the same command goes on".to_owned(),
            |command| format!("to go on watching:\n  {command}"),
        );
        self.show.remark(&format!("{}; {again}", text::ended_early(exit, &progress)));
        Ok(exit)
    }

    async fn until_end(&self, progress: &mut Progress) -> Result<End, Failure> {
        let start = Instant::now();
        let mut attachment = Attachment::new(self.cluster, &self.watched, self.were_created);
        let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = &mut interrupt => return Ok(End::Interrupted),
                step = attachment.next() => {
                    let was_listed = matches!(step, Ok(Step::ListEnds));
                    self.take(step?, progress, start.elapsed())?;
                    if was_listed && attachment.is_back() {
                        self.show.remark("the connection is back");
                    }
                }
                _ = ticks.tick() => self.tick(progress, start.elapsed()),
            }
            // Nobody reads the lines of a watch; `create --wait` still waits for its users.
            if self.show.is_unread() && !self.were_created {
                return Ok(End::Interrupted);
            }
            if progress.is_over() {
                return Ok(End::Over);
            }
            if self.timeout.is_some_and(|timeout| self.is_up(timeout, progress, start.elapsed())) {
                return Ok(End::TimedOut);
            }
        }
    }

    /// Returns true if the time is up. One of 0 is up after the first look.
    const fn is_up(&self, timeout: Duration, progress: &Progress, now: Duration) -> bool {
        if timeout.is_zero() { progress.is_complete() } else { now.as_millis() >= timeout.as_millis() }
    }

    fn take(&self, step: Step, progress: &mut Progress, now: Duration) -> Result<(), Failure> {
        match step {
            Step::ListBegins => progress.list_begins(),
            Step::Put(request) => {
                if progress.put(&request, now) {
                    self.show.ended(&request, progress)?;
                }
            }
            Step::Deleted(request) => match progress.delete(&request, now) {
                None => {}
                Some(State::Deleted) => self.show.deleted(&request.id())?,
                Some(_) => self.show.ended(&request, progress)?,
            },
            Step::ListEnds => self.listed(progress, now)?,
            Step::Lost(cause) => self.show.remark(&format!(
                "the connection to the API server is lost ({cause}); the operator goes on, and this command tries again"
            )),
        }
        Ok(())
    }

    fn listed(&self, progress: &mut Progress, now: Duration) -> Result<(), Failure> {
        let was_complete = progress.is_complete();
        for id in progress.list_ends(now) {
            self.show.deleted(&id)?;
        }
        if was_complete {
            return Ok(());
        }
        self.show.listed(progress)?;
        let missed = progress.miss(self.watched.ids(self.cluster), now);
        if self.were_created {
            missed.iter().try_for_each(|id| self.show.deleted(id))
        } else if let Some(id) = missed.first() {
            Err(Failure::refused(format!(
                "there is no request {} in namespace {}; `kubectl get prr -n {1}` lists those that exist",
                id.name, id.namespace
            )))
        } else if progress.tally().total() == 0 {
            let these = self.watched.selection.described(self.cluster);
            Err(Failure::refused(format!(
                "there are no requests {these}: check -n; `kubectl cognito-reset list -A` shows those of all namespaces"
            )))
        } else {
            Ok(())
        }
    }

    fn tick(&self, progress: &mut Progress, now: Duration) {
        progress.measure(now);
        self.show.draw(progress);
        if progress.reports(now) {
            self.show.waits(progress);
        }
        if progress.warns(now) {
            self.show.remark(
                "nothing has changed for a minute, and there are requests without a status of the operator: it may not run; `kubectl cognito-reset doctor` checks it",
            );
        }
    }
}
