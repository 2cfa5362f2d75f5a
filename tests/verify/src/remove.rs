//! Removes what a run made: after every run, however it ends, and for a run that was killed.
//!
//! It looks for the names of the run in the account, so it needs no memory of the run. What exists
//! under such a name without the tag of the run belongs to somebody else, and stays.

use std::time::Duration;

use anyhow::{Result, ensure};
use aws_sdk_cognitoidentityprovider::error::ProvideErrorMetadata as _;

use crate::{
    account::Account,
    made::Made,
    make::{described, refusal},
    output::warn,
    plan::{Plan, Resource, RunId, TAG},
};

/// The passes over everything, and the pause between two.
const PASSES: u32 = 8;
const PAUSE: Duration = Duration::from_secs(2);
/// The most pools that a page has.
const PAGE: i32 = 60;

/// The result.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// The resources that were removed.
    pub(crate) resources: Vec<Resource>,
    /// The resources that may be left, and the reasons.
    pub(crate) left: Vec<String>,
}

/// Something has a name of the run and not its tag.
#[derive(Debug, thiserror::Error)]
#[error("it has no tag of this run, so it is not removed")]
pub(crate) struct Foreign;

/// Removes everything of a run. It ends when a pass finds nothing, and all that the service has
/// acknowledged was found once.
pub(crate) async fn all(account: &Account, plan: Plan, run: &RunId, made: &Made) -> Removed {
    let mut removed = Removed::default();
    for pass in 1..=PASSES {
        let (mut found, mut problems) = (false, Vec::new());
        removed.left.clear();
        for resource in plan.resources().into_iter().rev() {
            match one(account, resource, run, made).await {
                Ok(true) => {
                    found = true;
                    removed.resources.retain(|it| *it != resource);
                    removed.resources.push(resource);
                }
                Ok(false) if made.handle(resource).is_some() && !removed.resources.contains(&resource) => {
                    problems.push(format!("{}: not found", described(resource)));
                }
                Ok(false) => {}
                Err(error) => {
                    let problem = format!("{}: {error:#}", described(resource));
                    if error.is::<Foreign>() { removed.left.push(problem) } else { problems.push(problem) }
                }
            }
        }
        let is_done = !found && problems.is_empty();
        if !problems.is_empty() && pass < PASSES {
            warn(format!("trying again: {}", problems.join("; ")));
            tokio::time::sleep(PAUSE).await;
        }
        removed.left.append(&mut problems);
        if is_done {
            break;
        }
        if pass == PASSES && found {
            removed.left.push("something was found in the last pass".to_owned());
        }
    }
    removed
}

/// Removes one resource. Returns true if it existed.
async fn one(account: &Account, resource: Resource, run: &RunId, made: &Made) -> Result<bool> {
    match resource {
        Resource::Role(role) => {
            let (iam, name) = (account.iam()?, run.role(role));
            let found = iam.has_role(&name, run).await?;
            if found {
                iam.delete_role(&name).await?;
            }
            Ok(found)
        }
        Resource::Function => {
            let (iam, name) = (account.iam()?, run.function());
            let found = iam.function_state(&name, run).await?.is_some();
            if found {
                iam.delete_function(&name).await?;
            }
            Ok(found)
        }
        Resource::Pool(pool) => {
            let mut ids = match run.pool(pool) {
                Some(name) => ids_of(account, &name).await?,
                None => Vec::new(),
            };
            ids.extend(made.handle(resource).filter(|id| !ids.contains(id)));
            let mut found = false;
            for id in ids {
                found |= delete_pool(account, &id, run).await?;
            }
            Ok(found)
        }
    }
}

/// Returns the ids of the pools of this name. Names of pools are not unique.
async fn ids_of(account: &Account, name: &str) -> Result<Vec<String>> {
    let mut pages = account.cognito.list_user_pools().max_results(PAGE).into_paginator().send();
    let mut ids = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| refusal("ListUserPools", &error))?;
        let named = page.user_pools().iter().filter(|pool| pool.name() == Some(name));
        ids.extend(named.filter_map(|pool| pool.id()).map(str::to_owned));
    }
    Ok(ids)
}

/// Deletes a pool of the run. Returns true if it existed.
async fn delete_pool(account: &Account, id: &str, run: &RunId) -> Result<bool> {
    const GONE: Option<&str> = Some("ResourceNotFoundException");
    let pool = match account.cognito.describe_user_pool().user_pool_id(id).send().await {
        Ok(output) => output.user_pool,
        Err(error) if error.code() == GONE => return Ok(false),
        Err(error) => return Err(refusal("DescribeUserPool", &error).into()),
    };
    let tag = pool.as_ref().and_then(|pool| pool.user_pool_tags()?.get(TAG)).map(String::as_str);
    ensure!(tag == Some(run.as_str()), Foreign);
    match account.cognito.delete_user_pool().user_pool_id(id).send().await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == GONE => Ok(true),
        Err(error) => Err(refusal("DeleteUserPool", &error).into()),
    }
}
