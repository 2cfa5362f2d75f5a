//! `explain`: what happened to a request, why, and what to do next.

pub mod case;
mod gather;
pub mod next;
pub mod sent;
pub mod timeline;
pub mod view;

use clap::{ArgGroup, Args};

use self::{
    gather::OfUser,
    next::Flags,
    view::{Style, full, several},
};
use crate::{
    cluster::{Cluster, Target},
    exit::Exit,
    failure::Failure,
    style::{Tone, word},
    terminal::{print, remark, shown, width},
};

/// The label of the outcome.
const OUTCOME: &str = "  Outcome   ";

/// The arguments of `explain`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("whom").required(true).args(["request", "user"]))]
#[command(after_help = "\
Examples:
  # Explain one request: who asked, what was sent when, what follows
  kubectl cognito-reset explain help-4711-35583deaeb7f

  # Explain every request and record of a user, newest first, with what to
  # do for the newest and for those that are pending
  kubectl cognito-reset explain --user alice@example.com \\
      --pool eu-west-1_Example01")]
pub struct Options {
    /// The name of the request
    #[arg(id = "request", value_name = "NAME")]
    name: Option<String>,
    /// The user whose requests and records are explained, those of all namespaces unless -n is
    /// given
    #[arg(long, value_name = "USER", requires = "pool")]
    user: Option<String>,
    /// The user pool of the user
    #[arg(long, value_name = "ID", requires = "user")]
    pool: Option<String>,
}

/// Runs `explain`.
///
/// # Errors
/// When there is nothing to explain, or the cluster refuses.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    let cluster = Cluster::connect(target).await?;
    // Each command names the person who can run it.
    let style = Style { width: width(std::io::stdout()), flags: Flags(&cluster.shared_flags) };
    match (&options.name, &options.user, &options.pool) {
        (Some(name), _, _) => {
            let cases = gather::one(&cluster, name).await?;
            let pages: Vec<_> = cases.iter().map(|case| full(case, style)).collect();
            print(&coloured(&pages.join("\n")))?;
        }
        (None, Some(user), Some(pool)) => {
            let only_local = target.namespace.is_some();
            print_all(&gather::of_user(&cluster, user, pool, only_local).await?, user, pool, style)?;
        }
        // The command line requires one of the two.
        (None, _, _) => return Err(Failure::usage("give NAME, or --user and --pool")),
    }
    Ok(Exit::Succeeded)
}

/// Colours the outcomes.
fn coloured(text: &str) -> String {
    let coloured = |line: &str| match line.starts_with(OUTCOME) {
        true => word(line, OUTCOME.len(), Tone::of_outcome) + "\n",
        false => format!("{line}\n"),
    };
    text.lines().map(coloured).collect()
}

fn print_all(OfUser { cases, remarks }: &OfUser, user: &str, pool: &str, style: Style<'_>) -> Result<(), Failure> {
    print(&coloured(&several(cases, style)))?;
    for remark in remarks {
        remark!("note: {remark}");
    }
    if cases.is_empty() {
        let (user, pool) = (shown(user), shown(pool));
        return Err(Failure::refused(format!("no request or record of user {user} in pool {pool} was found")));
    }
    Ok(())
}
