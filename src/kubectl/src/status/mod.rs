//! `status`: the numbers of a namespace, a ticket or the cluster.

pub mod summary;

use clap::Args;
use cognito_reset_api::UserPoolHold;
use jiff::Timestamp;
use kube::{Api, api::ListParams};

use self::summary::{Summary, holds};
use crate::{
    cluster::{Cluster, Target},
    exit::Exit,
    failure::Failure,
    parsed,
    selection::Selection,
    terminal::{print, remark, shown, width},
};

/// The arguments of `status`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # Count the requests of the namespace
  kubectl cognito-reset status

  # Count the requests of a ticket in all namespaces
  kubectl cognito-reset status -A --ticket INC-7")]
pub struct Options {
    #[command(flatten)]
    selection: Selection,
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
    print(&summary.text(&selection.described(&cluster), Timestamp::now()))?;
    let namespace = (!selection.all_namespaces).then_some(cluster.namespace.as_str());
    let all: Api<UserPoolHold> = Api::all(cluster.client.clone());
    match parsed::list(&all, &ListParams::default()).await {
        Ok((all, _)) => {
            let pool = selection.filter.pool.as_deref();
            print(&format!("\n{}", holds(&all.objects, pool, namespace, width(std::io::stdout()))))?;
            for name in all.unreadable {
                remark!(
                    "the hold {}, which may concern them, cannot be parsed by this plugin: update it",
                    shown(&name)
                );
            }
        }
        Err(kube::Error::Api(status)) if status.code == 403 => remark!(
            "\nHolds are not shown: you may not list them; a responder or auditor sees them with `kubectl get poolhold`"
        ),
        Err(error) => return Err(Failure::of_api(&error, "list holds")),
    }
    Ok(Exit::Succeeded)
}
