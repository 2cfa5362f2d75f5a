//! Any sequence of what users, GitOps and nodes do to requests, compared with a model of one page.
//! The model says which users may have been reset, which must have been, and how each request may
//! end.
//!
//! `PROPTEST_CASES=200 cargo test --workspace --test e2e sequences` tries more sequences than `make
//! test` does.

mod model;

use anyhow::{Context, Result, bail, ensure};
use model::{Action, Applied, Model, NAMES, USERS};
use proptest::{
    collection,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use testbed::environment::{Environment, LIMIT};
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
    let env = runtime.block_on(Environment::start())?;
    let number = std::cell::Cell::new(0);
    let outcome = TestRunner::new(config).run(&actions(), |actions| {
        number.set(number.get() + 1);
        runtime
            .block_on(Sequence::run(&env, number.get(), &actions))
            .map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    outcome.map_err(|error| anyhow::anyhow!("{error}"))
}

/// One sequence, on names and users of its own.
struct Sequence<'a> {
    env: &'a Environment,
    number: u32,
    operator: Operator,
    model: Model,
}

impl<'a> Sequence<'a> {
    async fn run(env: &'a Environment, number: u32, actions: &[Action]) -> Result<()> {
        let mut this = Self { env, number, operator: env.run().await?, model: Model::default() };
        for user in USERS {
            if user.exists {
                env.users.create_user(&env.pool, &this.username(user.name)).await?;
            }
        }
        for (at, action) in actions.iter().enumerate() {
            this.step(action).await.with_context(|| format!("action {at}, {action:?}"))?;
        }
        this.step(&Action::Settle).await.context("at the end")?;
        for (index, user) in USERS.iter().enumerate() {
            let seen = env.cognito.resets_of(&env.pool, &this.username(user.name));
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
                let applied = self.apply(NAMES[name], USERS[user].name, &format!("suspend: {suspend}")).await?;
                self.model.applied(name, user, suspend, applied)?;
            }
            Action::Edit { name } => {
                let Some(user) = self.model.user_of(name) else { return Ok(()) };
                let applied = self.apply(NAMES[name], USERS[user].name, "reason: another").await?;
                ensure!(applied == Applied::Immutable, "{applied:?}");
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
                self.operator = self.env.run().await?;
            }
            Action::Grant { suspend } => {
                // A request that may go on from now on may be performed before the command returns.
                // The model is updated first.
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

    async fn apply(&self, name: &str, user: &str, spec: &str) -> Result<Applied> {
        let manifest = self.env.request(&self.name(name), &self.username(user), spec);
        let output = self.env.cluster.as_admin().apply(&manifest).await?;
        let Ok(refusal) = output.refusal() else { return Ok(Applied::Accepted) };
        if refusal.contains("is immutable: create a new request under a new name") {
            Ok(Applied::Immutable)
        } else if refusal.contains("suspend may change only while the outcome is Pending") {
            Ok(Applied::Finished)
        } else {
            bail!("{refusal}")
        }
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.env.kubectl(&["delete", "prr", "--ignore-not-found", &self.name(name)]).await?;
        Ok(())
    }

    /// Suspends the grant or takes that back, and waits until the operator has seen it.
    async fn grant(&self, suspend: bool) -> Result<()> {
        self.env.grant("everyone", &format!("namespaces: [\"*\"]\nsuspend: {suspend}")).await?;
        eventually(LIMIT, "the operator to see the grant", async || {
            let grant = self.env.get("poolgrant", "everyone").await?;
            ensure!(grant["status"]["observedGeneration"] == grant["metadata"]["generation"], "not yet");
            anyhow::Ok(())
        })
        .await
    }

    /// Waits until this request is in one of the states that it may end in, and notes that state in
    /// the model.
    async fn settle(&mut self, index: usize, name: &str) -> Result<()> {
        let Some(allowed) = self.model.allowed(index) else { return Ok(()) };
        let stands = eventually(LIMIT, format!("{name} to become one of {allowed:?}"), async || {
            let seen = self.env.state(name).await?;
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
