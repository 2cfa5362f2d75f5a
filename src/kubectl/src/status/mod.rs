//! `status`: the numbers of a namespace, a ticket or the cluster.

pub mod holds;
pub mod summary;

use clap::{Args, ValueEnum};
use cognito_reset_api::UserPoolHold;
use jiff::Timestamp;
use kube::{Api, api::ListParams};

use self::{holds::Holds, summary::Summary};
use crate::{
    cluster::{Cluster, Target},
    document,
    exit::Exit,
    failure::Failure,
    parsed::{self, Parsed},
    selection::Selection,
    terminal::{line, print, remark, shown, width},
};

/// The arguments of `status`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # Count the requests of the namespace
  kubectl cognito-reset status

  # Count the requests of a ticket in all namespaces
  kubectl cognito-reset status -A --ticket INC-7

  # Print the numbers of a ticket for a program
  kubectl cognito-reset status --ticket INC-7 -o json")]
pub struct Options {
    #[command(flatten)]
    selection: Selection,
    /// Prints the numbers in this format
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Json,
}

/// Runs `status`.
///
/// # Errors
/// When the cluster refuses to list requests.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    let selection = options.selection;
    let cluster = Cluster::connect(target).await?;
    let mut pages = selection.pages(&cluster, None);
    let mut summary = Summary::default();
    while let Some(page) = pages.next().await? {
        page.iter().for_each(|listed| summary.add(listed));
    }
    let is_text = options.output.is_none();
    if is_text {
        print(&summary.text(&selection.described(&cluster), Timestamp::now()))?;
    }
    let all = list_holds(&cluster).await?;
    let namespace = (!selection.all_namespaces).then_some(cluster.namespace.as_str());
    let holds = all.as_ref().map(|all| Holds::of(all, selection.filter.pool.as_deref(), namespace));
    if !is_text {
        line(&document::indented(&summary.json(holds.as_ref()))?)?;
    } else if let Some(holds) = holds {
        print(&format!("\n{}", holds.text(width(std::io::stdout()))))?;
    }
    Ok(Exit::Succeeded)
}

/// Lists the holds; `None` if the user may not.
async fn list_holds(cluster: &Cluster) -> Result<Option<Parsed<UserPoolHold>>, Failure> {
    let all: Api<UserPoolHold> = Api::all(cluster.client.clone());
    match parsed::list(&all, &ListParams::default()).await {
        Ok((all, _)) => {
            for name in &all.unreadable {
                remark!("the hold {}, which may concern them, cannot be parsed by this plugin: update it", shown(name));
            }
            Ok(Some(all))
        }
        Err(kube::Error::Api(status)) if status.code == 403 => {
            remark!(
                "\nHolds are not shown: you may not list them; a responder or auditor sees them with `kubectl get poolhold`"
            );
            Ok(None)
        }
        Err(error) => Err(Failure::of_api(&error, "list holds")),
    }
}
