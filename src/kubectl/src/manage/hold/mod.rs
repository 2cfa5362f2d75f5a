//! `hold`: holds back the requests of a pool, and waits until the operator applies it.

pub mod wanted;

use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use cognito_reset_api::{UserPoolHold, UserPoolHoldSpec, conditions::ConditionType};
use kube::{Api, ResourceExt as _, api::PostParams};

use self::wanted::State;
use crate::{
    PROGRAM,
    cluster::{Cluster, Target, duration},
    exit::Exit,
    explain::next::Flags,
    failure::Failure,
    rules::FieldRule,
    terminal::{counted, line, remark, shown},
};

/// The time between two reads of the status.
const PAUSE: Duration = Duration::from_millis(250);
/// The time after which a read without a response says something about the API server.
const SLOW: Duration = Duration::from_secs(1);
const NO_RESPONSE: &str = "the API server has not responded";

/// The arguments of `hold`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("pools").required(true).args(["pool", "all_pools"]))]
#[command(after_help = "\
Examples:
  # Stop all resets of a pool whose calls have not begun
  kubectl cognito-reset hold eu-west-1_Example01 \\
      --reason 'incident 1042, ask the on-call engineer'

  # Stop all resets of the cluster
  kubectl cognito-reset hold --all-pools \\
      --reason 'incident 1042, ask the on-call engineer'

  # Hold back the requests of one namespace for two users
  kubectl cognito-reset hold eu-west-1_Example01 --namespaces support \\
      --usernames alice,bob --reason 'HELP-9'")]
pub struct Options {
    /// The user pool
    #[arg(value_name = "POOL")]
    pool: Option<String>,
    /// Holds the requests of every pool
    #[arg(long)]
    all_pools: bool,
    /// The reason. The status of every request that is held shows it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Holds only the requests of these namespaces, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Holds only the requests of these users, separated by commas
    #[arg(long, value_name = "USERS", value_delimiter = ',')]
    usernames: Vec<String>,
    /// The name of the hold. By default it is made of what is held and the reason
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The time to wait until the operator applies the hold
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    timeout: Duration,
}

/// Runs `hold`.
///
/// # Errors
/// When the hold cannot be created, another one has its name, or it is not in force in time.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    if let Some(pool) = &options.pool {
        FieldRule::of("userPoolID")?.check(pool).map_err(|error| Failure::usage(format!("POOL: {error}")))?;
    }
    let wanted = wanted::in_order(options.spec());
    let name = options.name.clone().map_or_else(|| wanted::name(&wanted), Ok)?;
    target.refuse_namespace("holds are objects of the cluster; --namespaces names those that one is for")?;
    let cluster = Cluster::connect(target).await?;
    let holds: Api<UserPoolHold> = Api::all(cluster.client.clone());
    let created = tokio::time::timeout(options.timeout, create(&holds, &name, &wanted)).await;
    let created = created.map_err(|_| not_in_force(&name, options.timeout, NO_RESPONSE))?;
    let verb = if created? { "created" } else { "unchanged" };
    line(&format!("userpoolhold.cognito-reset.dev/{name} {verb}"))?;
    let hold = in_force(&holds, &name, options.timeout).await?;
    report(&hold, &cluster.cluster_flags)
}

impl Options {
    fn spec(&self) -> UserPoolHoldSpec {
        UserPoolHoldSpec {
            user_pool_id: self.pool.clone(),
            namespaces: Some(self.namespaces.clone()),
            usernames: Some(self.usernames.clone()),
            reason: self.reason.clone(),
        }
    }
}

/// Creates the hold. Returns false if it exists.
async fn create(holds: &Api<UserPoolHold>, name: &str, wanted: &UserPoolHoldSpec) -> Result<bool, Failure> {
    let what = format!("create the hold {name}");
    let params = PostParams { field_manager: Some(PROGRAM.into()), ..PostParams::default() };
    match holds.create(&params, &UserPoolHold::new(name, wanted.clone())).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let existing = holds.get(name).await.map_err(|error| Failure::of_api(&error, &what))?;
            wanted::check(name, &existing, wanted).map(|()| false)
        }
        Err(error) => Err(Failure::of_api(&error, &what)),
    }
}

/// Waits until an operator has applied the hold. A read that fails is repeated.
async fn in_force(holds: &Api<UserPoolHold>, name: &str, timeout: Duration) -> Result<UserPoolHold, Failure> {
    let begun = Instant::now();
    let mut seen = None;
    loop {
        let left = timeout.saturating_sub(begun.elapsed());
        let Ok(read) = tokio::time::timeout(left, holds.get_opt(name)).await else {
            return Err(not_in_force(name, timeout, cut_off(left, seen.as_deref())));
        };
        seen = Some(match read {
            Ok(Some(hold)) if State::of(&hold) != State::NotApplied => return Ok(hold),
            Ok(Some(_)) => "its status does not say yet that an operator applies it".to_owned(),
            Ok(None) => return Err(Failure::refused(format!("the hold {name} was deleted before it was in force"))),
            Err(error) => Failure::of_api(&error, "read its status").message,
        });
        tokio::time::sleep(PAUSE.min(timeout.saturating_sub(begun.elapsed()))).await;
    }
}

/// Returns the problem at the end of the time, when the last read had this time to end: what was
/// seen before, unless the API server is silent for longer than a busy one.
fn cut_off(left: Duration, seen: Option<&str>) -> &str {
    seen.filter(|_| left < SLOW).unwrap_or(NO_RESPONSE)
}

fn not_in_force(name: &str, timeout: Duration, problem: &str) -> Failure {
    let message = format!(
        "the hold {name} was not seen in force within {timeout:?}: {problem}. Calls may go on until an operator applies it; check that the operator runs, and look at it with `kubectl get poolhold {name}`"
    );
    Failure { exit: Exit::TimedOut, message }
}

/// Returns the command that releases the hold.
fn release(name: &str, flags: &str) -> String {
    format!("kubectl cognito-reset release {name}{}", Flags(flags).of_cluster())
}

/// Prints what the status says, and how to release the hold.
fn report(hold: &UserPoolHold, flags: &str) -> Result<Exit, Failure> {
    let name = hold.name_any();
    let release = release(&name, flags);
    match State::of(hold) {
        State::InForce(held) => {
            let held = held.map(|held| counted(held, "pending request"));
            remark!(
                "in force: it holds {} at present",
                held.unwrap_or_else(|| "an unknown number of requests".to_owned())
            );
            remark!("a call that has begun goes on. To release the hold: {release}");
            Ok(Exit::Succeeded)
        }
        State::NotApplied | State::Ineffective => {
            let conditions = hold.status.iter().flat_map(|status| &status.conditions);
            let mut ready = conditions.filter(|condition| condition.type_ == ConditionType::Ready.as_str());
            let message = ready.next().map_or("", |ready| &ready.message);
            Err(Failure::refused(format!("the hold {name} is not ready: {}; to delete it: {release}", shown(message))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_the_flags_and_no_blank_without_them() {
        assert_eq!(release("stop-1", ""), "kubectl cognito-reset release stop-1");
        assert_eq!(release("stop-1", "--context dev"), "kubectl cognito-reset release stop-1 --context dev");
    }

    #[test]
    fn only_a_silent_api_server_is_blamed_for_a_hold_not_applied() {
        let seen = Some("not applied yet");
        for (left, seen, wanted) in [
            (Duration::ZERO, seen, "not applied yet"),
            (Duration::from_millis(10), seen, "not applied yet"),
            (SLOW, seen, NO_RESPONSE),
            (Duration::ZERO, None, NO_RESPONSE),
            (Duration::from_secs(5), None, NO_RESPONSE),
        ] {
            assert_eq!(cut_off(left, seen), wanted, "{left:?} {seen:?}");
        }
    }
}
