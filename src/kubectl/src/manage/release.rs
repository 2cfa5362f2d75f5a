//! `release`: shows holds, asks, and deletes them.

use clap::Args;
use cognito_reset_api::UserPoolHold;
use http::StatusCode;
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Preconditions},
};

use crate::{
    ask::{self, Enter},
    cluster::{Cluster, Target},
    exit::Exit,
    failure::Failure,
    manage::suspend::code,
    parsed::{self, Parsed},
    terminal::{age, counted, line, remark, shown, table},
};

/// The arguments of `release`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # Release one hold
  kubectl cognito-reset release stop-example01

  # Release every hold of a pool
  kubectl cognito-reset release --pool eu-west-1_Example01")]
pub struct Options {
    #[command(flatten)]
    chosen: Chosen,
    /// Releases without asking
    #[arg(long, short)]
    yes: bool,
}

/// The flags that select holds. One of them is required.
#[derive(Args, Clone, Debug, Default)]
#[group(required = true, multiple = false)]
struct Chosen {
    /// The names of the holds
    #[arg(id = "holds", value_name = "NAME")]
    names: Vec<String>,
    /// Every hold of this user pool. Holds of all pools are not among them
    #[arg(long, value_name = "ID")]
    pool: Option<String>,
}

/// The holds that are released, and those that remain and may hold the same requests.
#[derive(Debug, PartialEq)]
struct Plan {
    released: Vec<UserPoolHold>,
    remaining: Vec<String>,
}

impl Chosen {
    /// Divides the holds of the cluster.
    ///
    /// # Errors
    /// When one that is named does not exist, or there is none.
    fn divide(&self, holds: Vec<UserPoolHold>) -> Result<Plan, Failure> {
        let exists = |name: &&String| holds.iter().any(|hold| hold.name_any() == **name);
        let missing: Vec<&str> = self.names.iter().filter(|name| !exists(name)).map(String::as_str).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(Failure::refused(format!("there is no hold {missing}; nothing was released")));
        }
        let (released, others): (Vec<_>, Vec<_>) = holds.into_iter().partition(|hold| self.matches(hold));
        if released.is_empty() {
            let pool = self.pool.as_deref().unwrap_or_default();
            return Err(Failure::refused(format!(
                "no hold is of the pool {pool:?} alone; nothing was released: `kubectl get poolhold` lists all"
            )));
        }
        let remains = |hold: &&UserPoolHold| released.iter().any(|released| may_hold_the_same(released, hold));
        let remaining = others.iter().filter(remains).map(ResourceExt::name_any).collect();
        Ok(Plan { released, remaining })
    }

    fn matches(&self, hold: &UserPoolHold) -> bool {
        let in_pool = self.pool.is_some() && self.pool == hold.spec.user_pool_id;
        in_pool || self.names.contains(&hold.name_any())
    }
}

fn may_hold_the_same(one: &UserPoolHold, other: &UserPoolHold) -> bool {
    let pools = one.spec.user_pool_id.as_ref().zip(other.spec.user_pool_id.as_ref());
    pools.is_none_or(|(one, other)| one == other)
}

/// Runs `release`.
///
/// # Errors
/// When a hold does not exist, or the cluster or the user refuses.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    target.refuse_namespace("holds are objects of the cluster")?;
    let cluster = Cluster::connect(target).await?;
    let api: Api<UserPoolHold> = Api::all(cluster.client.clone());
    let holds = parsed::list(&api, &ListParams::default()).await;
    let (Parsed { objects, unreadable }, _) = holds.map_err(|error| Failure::of_api(&error, "list holds"))?;
    for name in unreadable {
        let name = shown(&name);
        remark!("the hold {name} cannot be parsed by this plugin: update it, or `kubectl delete poolhold {name}`");
    }
    let Plan { released, remaining } = options.chosen.divide(objects)?;
    remark!("{}", shown_holds(&released, Timestamp::now()));
    if !options.yes {
        let question = format!("Release {}?", counted(released.len(), "hold"));
        ask::confirm(&question, Enter::Ends, "nothing was released")?;
    }
    let mut exit = Exit::Succeeded;
    for (done, hold) in released.iter().enumerate() {
        let (name, deletion) = (hold.name_any(), delete(&api, hold).await);
        let is_released = deletion.map_err(|failure| Failure {
            message: format!("{failure}\n{done} of {} were released; the same command goes on", released.len()),
            ..failure
        })?;
        if is_released {
            line(&format!("userpoolhold.cognito-reset.dev/{name} released"))?;
        } else {
            remark!("the hold {name} was created again since it was shown, and was not released");
            exit = Exit::NothingSent;
        }
    }
    if !remaining.is_empty() {
        remark!("these holds remain, and may hold the same requests: {}", remaining.join(", "));
    }
    Ok(exit)
}

/// Deletes the hold that was shown. Returns false if another one has its name.
async fn delete(api: &Api<UserPoolHold>, hold: &UserPoolHold) -> Result<bool, Failure> {
    let name = hold.name_any();
    let same = Preconditions { uid: hold.uid(), resource_version: None };
    match api.delete(&name, &DeleteParams::default().preconditions(same)).await {
        Ok(_) => Ok(true),
        Err(error) => match code(&error) {
            // Somebody else has released it.
            Some(StatusCode::NOT_FOUND) => Ok(true),
            Some(StatusCode::CONFLICT) => Ok(false),
            _ => Err(Failure::of_api(&error, &format!("delete the hold {name}"))),
        },
    }
}

fn shown_holds(holds: &[UserPoolHold], now: Timestamp) -> String {
    let header = ["NAME", "POOL", "NAMESPACES", "USERS", "HELD", "AGE", "REASON"];
    let list = |names: &Option<Vec<String>>| names.as_ref().map_or_else(|| "all".to_owned(), |names| names.join(","));
    let rows = holds.iter().map(|hold| {
        let held = hold.status.as_ref().and_then(|status| status.held_requests);
        let created = hold.creation_timestamp().map(|time| age(time.0, now));
        vec![
            hold.name_any().into(),
            hold.spec.user_pool_id.clone().unwrap_or_else(|| "all".to_owned()).into(),
            list(&hold.spec.namespaces).into(),
            list(&hold.spec.usernames).into(),
            held.map_or_else(|| "unknown".to_owned(), |held| held.to_string()).into(),
            created.unwrap_or_default().into(),
            hold.spec.reason.as_str().into(),
        ]
    });
    table(&header, rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hold(name: &str, pool: Option<&str>) -> UserPoolHold {
        let spec = json!({ "userPoolID": pool, "reason": "incident 1042" });
        UserPoolHold::new(name, serde_json::from_value(spec).expect("a hold"))
    }

    #[test]
    fn only_the_chosen_holds_are_released() {
        let all = || vec![hold("a", Some("p_1")), hold("b", Some("p_1")), hold("c", Some("p_2")), hold("all", None)];
        let named = |names: &[&str]| Chosen { names: names.iter().map(|&name| name.to_owned()).collect(), pool: None };
        let of = |pool: &str| Chosen { names: Vec::new(), pool: Some(pool.to_owned()) };
        for (chosen, released, remaining) in [
            (named(&["a"]), &["a"][..], &["b", "all"][..]),
            (of("p_1"), &["a", "b"], &["all"]),
            (of("p_2"), &["c"], &["all"]),
            (named(&["all"]), &["all"], &["a", "b", "c"]),
            (named(&["all", "a", "b", "c"]), &["a", "b", "c", "all"], &[]),
        ] {
            let plan = chosen.divide(all()).expect("a plan");
            assert_eq!(plan.released.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), released);
            assert_eq!(plan.remaining, remaining);
        }
        for wrong in [named(&["a", "x"]), of("p_3"), of("p_")] {
            assert_eq!(wrong.divide(all()).expect_err("nothing").exit, Exit::NothingSent);
        }
    }

    #[test]
    fn a_hold_is_shown_with_its_extent() {
        let wanted = "\
NAME   POOL   NAMESPACES   USERS   HELD      AGE   REASON
a      p_1    all          all     unknown         incident 1042";
        assert_eq!(shown_holds(&[hold("a", Some("p_1"))], Timestamp::UNIX_EPOCH), wanted);
    }
}
