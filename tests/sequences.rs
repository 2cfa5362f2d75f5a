//! Any sequence of what people, GitOps and nodes do to requests, against a model of a page: who may have been reset,
//! who must have been, and how each request may end.
//!
//! `PROPTEST_CASES=200 cargo test --test sequences` tries more of them than CI does.

#![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

mod common;
#[path = "sequences/model.rs"]
mod model;

use anyhow::{Context, Result, bail, ensure};
use common::{Bench, LIMIT};
use model::{Action, Answer, Model, NAMES, USERS};
use proptest::{
    collection,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use testbed::{Operator, eventually};

const CASES_IN_CI: u32 = 12;

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let (name, user) = (0..NAMES.len(), 0..USERS.len());
    let action = prop_oneof![
        6 => (name.clone(), user, prop::bool::weighted(0.25)).prop_map(|(name, user, suspend)| Action::Apply { name, user, suspend }),
        3 => name.clone().prop_map(|name| Action::Delete { name }),
        1 => name.prop_map(|name| Action::Edit { name }),
        2 => any::<bool>().prop_map(|kill| Action::Restart { kill }),
        1 => any::<bool>().prop_map(|suspend| Action::Grant { suspend }),
        3 => Just(Action::Settle),
    ];
    collection::vec(action, 4..20)
}

#[test]
fn any_sequence_of_actions_ends_as_the_model_says() -> Result<()> {
    let mut config = Config { max_shrink_iters: 20, failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES_IN_CI;
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let bench = runtime.block_on(Bench::start())?;
    let number = std::cell::Cell::new(0);
    let outcome = TestRunner::new(config).run(&actions(), |actions| {
        number.set(number.get() + 1);
        runtime
            .block_on(Sequence::run(&bench, number.get(), &actions))
            .map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    outcome.map_err(|error| anyhow::anyhow!("{error}"))
}

/// One sequence, on names and users of its own.
struct Sequence<'a> {
    bench: &'a Bench,
    number: u32,
    operator: Operator,
    model: Model,
}

impl<'a> Sequence<'a> {
    async fn run(bench: &'a Bench, number: u32, actions: &[Action]) -> Result<()> {
        let mut this = Self { bench, number, operator: bench.run().await?, model: Model::default() };
        for user in USERS {
            if user.exists {
                bench.users.create_user(&bench.pool, &this.username(user.name)).await?;
            }
        }
        for (at, action) in actions.iter().enumerate() {
            this.step(action).await.with_context(|| format!("action {at}, {action:?}"))?;
        }
        this.step(&Action::Settle).await.context("at the end")?;
        for (index, user) in USERS.iter().enumerate() {
            let seen = bench.cognito.resets_of(&bench.pool, &this.username(user.name));
            let bounds = this.model.resets(index);
            ensure!(bounds.contains(&seen.received), "{}: {seen:?}, not within {bounds:?}", user.name);
            ensure!(!user.exists || seen.accepted == seen.received, "{}: {seen:?}", user.name);
        }
        this.grant(false).await?;
        for name in NAMES {
            this.delete(name).await?;
        }
        this.operator.sigterm()?;
        this.operator.wait_exit(LIMIT).await?;
        Ok(())
    }

    fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.number)
    }

    fn username(&self, user: &str) -> String {
        format!("{user}{}", self.number)
    }

    async fn step(&mut self, action: &Action) -> Result<()> {
        match *action {
            Action::Apply { name, user, suspend } => {
                let answer = self.apply(NAMES[name], USERS[user].name, &format!("suspend: {suspend}")).await?;
                self.model.applied(name, user, suspend, answer)?;
            }
            Action::Edit { name } => {
                let Some(user) = self.model.user_of(name) else { return Ok(()) };
                let answer = self.apply(NAMES[name], USERS[user].name, "reason: another").await?;
                ensure!(answer == Answer::Immutable, "{answer:?}");
            }
            Action::Delete { name } => {
                self.delete(NAMES[name]).await?;
                self.model.deleted(name);
            }
            Action::Restart { kill } => {
                if kill {
                    self.operator.sigkill().await?;
                    self.model.killed();
                } else {
                    self.operator.sigterm()?;
                    self.operator.wait_exit(LIMIT).await?;
                }
                self.operator = self.bench.run().await?;
            }
            Action::Grant { suspend } => {
                // Who may go on from now on may be reset before the command returns, so that the model hears of it first.
                self.model.grant(suspend);
                self.grant(suspend).await?;
            }
            Action::Settle => {
                for (index, name) in NAMES.iter().enumerate() {
                    self.settle(index, &self.name(name)).await?;
                }
            }
        }
        Ok(())
    }

    async fn apply(&self, name: &str, user: &str, spec: &str) -> Result<Answer> {
        let manifest = self.bench.request(&self.name(name), &self.username(user), spec);
        let output = self.bench.cluster.as_admin().apply(&manifest).await?;
        let Ok(refusal) = output.refusal() else { return Ok(Answer::Accepted) };
        if refusal.contains("is immutable: create a new request under a new name") {
            Ok(Answer::Immutable)
        } else if refusal.contains("suspend may change only while the outcome is Pending") {
            Ok(Answer::Finished)
        } else {
            bail!("{refusal}")
        }
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.bench.kubectl(&["delete", "prr", "--ignore-not-found", &self.name(name)]).await?;
        Ok(())
    }

    /// Suspends the grant or takes that back, and waits until the operator has seen it.
    async fn grant(&self, suspend: bool) -> Result<()> {
        self.bench.grant("everyone", &format!("namespaces: [\"*\"]\nsuspend: {suspend}")).await?;
        eventually(LIMIT, "the operator to see the grant", async || {
            let grant = self.bench.get("poolgrant", "everyone").await?;
            ensure!(grant["status"]["observedGeneration"] == grant["metadata"]["generation"], "not yet");
            anyhow::Ok(())
        })
        .await
    }

    /// Waits until this request stands as it has to in the end, and tells the model what that is.
    async fn settle(&mut self, index: usize, name: &str) -> Result<()> {
        let Some(allowed) = self.model.allowed(index) else { return Ok(()) };
        let stands = eventually(LIMIT, format!("{name} to become one of {allowed:?}"), async || {
            let seen = self.bench.stands(name).await?;
            ensure!(allowed.contains(&seen), "{seen}");
            anyhow::Ok(seen)
        })
        .await?;
        if !stands.starts_with("Pending") {
            self.model.ended(index);
        }
        Ok(())
    }
}
