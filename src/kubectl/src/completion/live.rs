//! Values of the cluster for completion: requests, holds, pools, namespaces, and the contexts of
//! the kubeconfig.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    time::Duration,
};

use clap::{Arg, Args as _, Command, FromArgMatches as _};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use cognito_reset_api::{UserPoolGrant, UserPoolHold};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{
    cluster::{
        Cluster, NOTICED, Target,
        kubeconfig::{Source, source},
    },
    parsed::list,
    request::Request,
};

/// The time for the values of the cluster: a person waits for the next letter.
const TIMEOUT: Duration = NOTICED;
/// The greatest number of candidates.
const MOST: u32 = 500;

/// The kind of value that an argument takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Live {
    Requests,
    Holds,
    Pools,
    Namespaces,
    Contexts,
}

/// The arguments with live values, by the ids that all commands use.
const LIVE: [(&str, Live); 8] = [
    ("names", Live::Requests),
    ("request", Live::Requests),
    ("holds", Live::Holds),
    ("pool", Live::Pools),
    ("namespace", Live::Namespaces),
    ("namespaces", Live::Namespaces),
    ("operator_namespace", Live::Namespaces),
    ("context", Live::Contexts),
];

/// Returns the command line with completers for the arguments that name something of the cluster.
/// `words` are those typed so far, whose flags say which cluster that is.
#[must_use]
pub fn with_values(command: Command, words: &[OsString]) -> Command {
    let target = target(words);
    completed(command, &target)
}

/// Returns the flags of the cluster among the words. Words that cannot be parsed yet are ignored.
fn target(words: &[OsString]) -> Target {
    let parser = Target::augment_args(Command::new("words").no_binary_name(true).ignore_errors(true))
        .arg(Arg::new("others").num_args(0..).trailing_var_arg(false));
    let matches = parser.try_get_matches_from(words);
    matches.ok().and_then(|matches| Target::from_arg_matches(&matches).ok()).unwrap_or_default()
}

fn completed(command: Command, target: &Target) -> Command {
    let completed = command.mut_args(|argument| {
        let live = LIVE.iter().find(|(id, _)| argument.get_id() == *id).map(|(_, live)| *live);
        let Some(live) = live else { return argument };
        let target = target.clone();
        argument.add(ArgValueCompleter::new(move |typed: &OsStr| candidates(live, &target, typed)))
    });
    completed.mut_subcommands(|subcommand| self::completed(subcommand, target))
}

fn candidates(live: Live, target: &Target, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let values = match live {
        Live::Contexts => contexts(target),
        live => in_cluster(live, target),
    };
    let matching = values.into_iter().filter(|(value, _)| value.starts_with(&*typed));
    matching
        .map(|(value, help)| CompletionCandidate::new(value).help((!help.is_empty()).then(|| help.into())))
        .collect()
}

/// A value and its description.
type Value = (String, String);

fn contexts(target: &Target) -> BTreeSet<Value> {
    let Ok(Source::Kubeconfig(kubeconfig)) = source(target) else { return BTreeSet::new() };
    kubeconfig.contexts.into_iter().map(|context| (context.name, String::new())).collect()
}

fn in_cluster(live: Live, target: &Target) -> BTreeSet<Value> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return BTreeSet::new();
    };
    let read = async { tokio::time::timeout(TIMEOUT, read(live, target)).await.ok().flatten() };
    runtime.block_on(read).unwrap_or_default()
}

/// Returns the values, or nothing where they cannot be read.
async fn read(live: Live, target: &Target) -> Option<BTreeSet<Value>> {
    // A server that is busy is not waited for aloud, in the middle of a line.
    let target = Target { request_timeout: TIMEOUT, ..target.clone() };
    let cluster = Cluster::connect(&target).await.ok()?;
    let params = ListParams::default().limit(MOST);
    match live {
        Live::Requests => {
            let requests = list(&cluster.requests(), &params).await.ok()?.0.objects;
            Some(requests.iter().map(|request| (request.name_any(), described(request))).collect())
        }
        Live::Holds => {
            let holds: Api<UserPoolHold> = Api::all(cluster.client);
            let holds = list(&holds, &params).await.ok()?.0.objects;
            Some(holds.iter().map(|hold| (hold.name_any(), pool(hold))).collect())
        }
        Live::Pools => {
            let grants: Api<UserPoolGrant> = Api::all(cluster.client);
            let grants = list(&grants, &params).await.ok()?.0.objects;
            Some(grants.into_iter().map(|grant| (grant.spec.user_pool_id, String::new())).collect())
        }
        Live::Namespaces => {
            let namespaces: Api<Namespace> = Api::all(cluster.client);
            let namespaces = namespaces.list_metadata(&params).await.ok()?.items;
            Some(namespaces.iter().map(|namespace| (namespace.name_any(), String::new())).collect())
        }
        Live::Contexts => None,
    }
}

/// Describes a hold by its pool. Its reason is not shown: it may name people.
fn pool(hold: &UserPoolHold) -> String {
    hold.spec.user_pool_id.clone().unwrap_or_else(|| "every pool".to_owned())
}

/// Describes a request by its state. The user is not shown: a shell may keep what it completes.
fn described(request: &Request) -> String {
    match request.reason() {
        "" => request.outcome().as_str().to_owned(),
        reason => format!("{}/{reason}", request.outcome().as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_the_cluster_are_found_among_the_words() {
        for (words, namespace, context) in [
            (&["explain", "-n", "support", ""][..], Some("support"), None),
            (&["--context", "blue", "watch", "--namespace=a", "x"], Some("a"), Some("blue")),
            (&["create", "--unknown", "-n"], None, None),
        ] {
            let words: Vec<OsString> = words.iter().map(Into::into).collect();
            let target = target(&words);
            assert_eq!((target.namespace.as_deref(), target.context.as_deref()), (namespace, context), "{words:?}");
        }
    }

    /// Returns the arguments of all commands that satisfy a condition, as `COMMAND ID`.
    fn arguments(command: &Command, wanted: &dyn Fn(&Arg) -> bool) -> Vec<String> {
        let own = command.get_arguments().filter(|argument| argument.get_action().takes_values() && wanted(argument));
        let own = own.map(|argument| format!("{} {}", command.get_name(), argument.get_id()));
        own.chain(command.get_subcommands().flat_map(|subcommand| arguments(subcommand, wanted))).collect()
    }

    #[test]
    fn what_names_something_of_the_cluster_is_completed() {
        use clap::CommandFactory as _;
        // These name something that does not exist yet, or a user.
        const FREE: [&str; 4] = ["create name", "create column", "hold name", "hold usernames"];
        let is_live = |argument: &Arg| LIVE.iter().any(|(id, _)| argument.get_id() == *id);
        let names = |argument: &Arg| {
            let values = argument.get_value_names().unwrap_or_default();
            values.iter().any(|name| ["NAME", "NAMES", "REQUEST", "POOL", "ID", "NAMESPACE"].contains(&name.as_str()))
        };
        let command = crate::cli::Cli::command();
        let missed = arguments(&command, &|argument| names(argument) && !is_live(argument));
        let missed: Vec<_> = missed.iter().filter(|it| !FREE.contains(&it.as_str())).collect();
        assert!(missed.is_empty(), "{missed:?}");
        for (id, _) in LIVE {
            assert!(!arguments(&command, &|argument| argument.get_id() == id).is_empty(), "no command has {id}");
        }
    }
}
