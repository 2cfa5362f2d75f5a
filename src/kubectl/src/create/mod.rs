//! `create`: a request for each user of a list.

pub mod budget;
mod creation;
pub mod found;
pub mod manifest;
pub mod options;
mod output;
pub mod plan;
pub mod preview;
mod search;
mod survey;
pub mod terms;

use jiff::Timestamp;

pub use self::options::Options;
use self::{
    creation::Creation,
    options::DryRun,
    plan::{Plan, Wanted},
    preview::Preview,
};
use crate::{
    ask::{self, Enter},
    cluster::{Cluster, Target},
    exit::Exit,
    failure::Failure,
    request::Spec,
    rules,
    selection::{Filter, Selection},
    terminal::{counted, remark, width},
    watch::{Watch, attach, show::Show, watched::Watched},
};

/// Runs `create`.
///
/// # Errors
/// When the list cannot be used, or the cluster refuses something. Nothing was created then, except
/// for the requests that the message counts.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    let users = options.read_users()?;
    for note in &users.notes {
        remark!("{note}");
    }
    let wanted = options.named(users)?;
    // Users are checked in their list. All other fields are the same.
    if let Some(Wanted { name, username }) = wanted.first() {
        rules::check_name(name)?;
        rules::check(&Spec { username: username.clone(), ..options.spec() })?;
    }
    if options.dry_run == Some(DryRun::Client) {
        options.refuse_past(Timestamp::now())?;
        let namespace = target.local_namespace().await?;
        return options.print(&wanted, &namespace);
    }
    let target = if options.wait { attach::patient(target) } else { target.clone() };
    let cluster = Cluster::connect(&target).await?;
    let watched = options.watched(&wanted);
    let mut found = search::find(&cluster, &options, &wanted).await?;
    let plan = Plan::new(wanted, &options.pool, &found.by_name)?;
    if !plan.new.is_empty() {
        options.refuse_past(Timestamp::now())?;
    }
    let mut creation = Creation::new(&cluster, &options);
    // The API server checks all rules of the CRD and the policies; they are the same for each user.
    let sample = creation.check(&plan.new).await?;
    let is_shown = !options.yes || options.dry_run.is_some();
    if is_shown && !plan.new.is_empty() {
        search::add_records(&cluster, &options.pool, &plan.new, &mut found).await;
    }
    let sending = found.sending(&plan.new);
    let (terms, budget) = survey::survey(&cluster, &options.pool, &sending, sample).await;
    let stop = options.again(&watched).command("suspend", &cluster.flags);
    let preview = Preview {
        pool: &options.pool,
        namespace: &cluster.namespace,
        plan: &plan,
        sending: &sending,
        found: &found,
        terms: &terms,
        budget: &budget,
        mail_quota: options.mail_quota,
        skips: options.skip_if_reset_required,
        stop: stop.as_deref(),
    };
    if is_shown {
        remark!("{}", preview.text(width(std::io::stderr())));
    } else {
        preview.warnings().iter().for_each(|(label, text)| remark!("{label}: {text}"));
    }
    if options.dry_run.is_some() {
        if creation.create(&plan.new, true).await?.is_interrupted {
            remark!("interrupted: nothing was created (--dry-run)");
            return Ok(Exit::Interrupted);
        }
        remark!("{} new, {} unchanged; nothing was created (--dry-run)", plan.new.len(), plan.unchanged.len());
        return Ok(Exit::Succeeded);
    }
    if !options.yes && !plan.new.is_empty() {
        let enter = if preview.warnings().is_empty() { Enter::GoesOn } else { Enter::Ends };
        ask::confirm(&format!("Create {}?", counted(plan.new.len(), "request")), enter, "nothing was created")?;
    }
    let made = creation.create(&plan.new, false).await?;
    if made.is_interrupted {
        remark!("interrupted: {}; the same command goes on", made.of(plan.new.len()));
        return Ok(Exit::Interrupted);
    }
    remark!("{} created, {} unchanged", made.created, made.existed + plan.unchanged.len());
    if options.wait { wait(&cluster, &options, watched).await } else { Ok(Exit::Succeeded) }
}

/// Waits until the requests of the list have ended.
async fn wait(cluster: &Cluster, options: &Options, watched: Watched) -> Result<Exit, Failure> {
    let show = Show::new(None, &watched.selection, options.output.is_some());
    let again = options.again(&watched);
    Watch { cluster, watched, again, show, timeout: options.timeout, were_created: true }.follow().await
}

impl Options {
    /// Refuses to create what cannot be sent any more.
    fn refuse_past(&self, now: Timestamp) -> Result<(), Failure> {
        match self.not_after {
            Some(not_after) if not_after <= now => Err(Failure::usage(format!(
                "--not-after: {not_after} has passed, so that nothing would be sent; nothing was created"
            ))),
            _ => Ok(()),
        }
    }

    /// Returns the requests that the command waits for: exactly those of its list.
    fn watched(&self, wanted: &[Wanted]) -> Watched {
        Watched { names: wanted.iter().map(|wanted| wanted.name.clone()).collect(), ..Watched::default() }
    }

    /// Returns the requests for a command that somebody types: those of ticket and pool, if there
    /// is a ticket.
    fn again(&self, watched: &Watched) -> Watched {
        match &self.ticket {
            Some(ticket) if self.name.is_none() => {
                let filter = Filter { ticket: Some(ticket.clone()), pool: Some(self.pool.clone()), selector: None };
                let selection = Selection { filter, ..Selection::default() };
                Watched { selection, ..Watched::default() }
            }
            _ => watched.clone(),
        }
    }
}
