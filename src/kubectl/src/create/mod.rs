//! `create`: a request for each user of a list.

pub mod budget;
mod creation;
pub mod manifest;
pub mod options;
mod output;
pub mod plan;
pub mod preview;
pub mod requester;
mod survey;
pub mod terms;

use std::io::IsTerminal as _;

pub use self::options::Options;
use self::{
    creation::Creation,
    options::DryRun,
    plan::{Found, Plan, Wanted},
    preview::Preview,
};
use crate::{
    cluster::{Cluster, Target},
    exit::Exit,
    failure::Failure,
    rules::FieldRule,
    watch::{Watch, attach, selection::Selection, show::Show},
    width,
};

/// Runs `create`.
///
/// # Errors
/// When the list cannot be used, or the cluster refuses something. Nothing was created then, except
/// for the requests that the message counts.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    FieldRule::of("userPoolID")?.check(&options.pool).map_err(|error| Failure::usage(format!("--pool: {error}")))?;
    let users = options.read_users()?;
    for note in &users.notes {
        anstream::eprintln!("{note}");
    }
    let wanted = options.named(users)?;
    if options.dry_run == Some(DryRun::Client) {
        let namespace = target.local_namespace().await?;
        return options.print(&wanted, &namespace);
    }
    let target = if options.wait { attach::patient(target) } else { target.clone() };
    let cluster = Cluster::connect(&target).await?;
    let selection = options.selection(&wanted);
    let found = creation::find(&cluster, &options.pool, &wanted).await?;
    let plan = Plan::new(wanted, &options.pool, &found.by_name)?;
    let mut creation = Creation::new(&cluster, &options);
    // The API server checks all rules of the CRD and the policies; they are the same for each user.
    let sample = creation.check(&plan.new).await?;
    let is_asked = !options.yes && !plan.new.is_empty();
    if !options.yes || options.dry_run.is_some() {
        let stop = options.again(&selection).command("suspend", &cluster.flags);
        preview(&cluster, &options, &plan, &found, sample, stop).await;
    }
    if options.dry_run.is_some() {
        creation.create(&plan.new, true).await?;
        anstream::eprintln!(
            "{} new, {} unchanged; nothing was created (--dry-run)",
            plan.new.len(),
            plan.unchanged.len()
        );
        return Ok(Exit::Succeeded);
    }
    if is_asked {
        ask(plan.new.len())?;
    }
    if creation.create_all(&plan.new).await? == Exit::Interrupted {
        return Ok(Exit::Interrupted);
    }
    anstream::eprintln!("{} created, {} unchanged", plan.new.len(), plan.unchanged.len());
    if options.wait { wait(&cluster, &options, selection).await } else { Ok(Exit::Succeeded) }
}

/// Waits until the requests of the list have ended.
async fn wait(cluster: &Cluster, options: &Options, selection: Selection) -> Result<Exit, Failure> {
    let show = Show::new(None, false, options.output.is_some());
    let again = options.again(&selection);
    Watch { cluster, selection, again, show, timeout: options.timeout, were_created: true }.follow().await
}

impl Options {
    /// Returns the requests that the command waits for: exactly those of its list.
    fn selection(&self, wanted: &[Wanted]) -> Selection {
        Selection { names: wanted.iter().map(|wanted| wanted.name.clone()).collect(), ..Selection::default() }
    }

    /// Returns the requests for a command that somebody types: those of the ticket, if any.
    fn again(&self, selection: &Selection) -> Selection {
        match &self.ticket {
            Some(ticket) if self.name.is_none() => Selection { ticket: Some(ticket.clone()), ..Selection::default() },
            _ => selection.clone(),
        }
    }
}

/// Shows what would be created.
async fn preview(
    cluster: &Cluster,
    options: &Options,
    plan: &Plan,
    found: &Found,
    sample: Option<serde_json::Value>,
    stop: Option<String>,
) {
    let (terms, budget) = survey::survey(cluster, &options.pool, &plan.new, sample).await;
    let preview = Preview {
        pool: &options.pool,
        namespace: &cluster.namespace,
        plan,
        earlier: &found.earlier,
        terms: &terms,
        budget: &budget,
        mail_quota: options.mail_quota,
        stop: stop.as_deref(),
    };
    anstream::eprintln!("{}", preview.text(width::of_stderr()));
}

/// Asks before requests are created.
fn ask(count: usize) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask in: pass --yes; nothing was created"));
    }
    anstream::eprint!("Create {count} requests? Enter goes on, anything else ends: ");
    let mut response = String::new();
    match std::io::stdin().read_line(&mut response) {
        Ok(1..) if matches!(response.trim(), "" | "y" | "yes") => Ok(()),
        _ => Err(Failure::refused("nothing was created")),
    }
}
