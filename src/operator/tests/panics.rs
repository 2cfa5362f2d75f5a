//! A panic of code that is called ends one command of one reconcile, and nothing else: here Cognito
//! is a stand-in that panics, behind the whole operator and a real API server.

#![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use cognito_reset_api::{RequestRef, UserStatus, record::Action};
use cognito_reset_core::{
    action::{
        port::{Access, Cognito, ReadError, Reply, SessionError, User, UserRef},
        response::ResetResponse,
        user_names::UserNames,
    },
    ledger::{self, Identity},
};
use cognito_reset_operator::{Cli, Command, Health, Metrics, Prepared, Tasks, serve};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use testbed::environment::{Environment, LIMIT, QUICK};
use testbed::eventually;
use tokio_util::sync::CancellationToken;

/// A Cognito that panics on request. It has one user, whose status after a reset is that of a real
/// one.
#[derive(Clone, Default)]
struct Panicking(Arc<State>);

#[derive(Default)]
struct State {
    /// The number of sessions that still panic.
    sessions: AtomicUsize,
    /// Makes resets panic after they were performed.
    resets: AtomicBool,
    performed: AtomicUsize,
}

impl Panicking {
    fn performed(&self) -> usize {
        self.0.performed.load(Ordering::SeqCst)
    }
}

impl Cognito for Panicking {
    type Session = ();

    async fn session(&self, _: &Access) -> Result<(), SessionError> {
        let left = self.0.sessions.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(left.is_err(), "a session that panics");
        Ok(())
    }

    async fn user(&self, (): &(), _: UserRef<'_>) -> Result<User, ReadError> {
        let status = if self.performed() == 0 { UserStatus::Confirmed } else { UserStatus::ResetRequired };
        Ok(User { status, names: UserNames { sub: Some("sub".to_owned()), ..UserNames::default() } })
    }

    async fn listed_user(&self, (): &(), user: UserRef<'_>) -> Result<User, ReadError> {
        self.user(&(), user).await
    }

    async fn reset(&self, (): &(), _: UserRef<'_>, _: Option<&BTreeMap<String, String>>) -> Reply {
        self.0.performed.fetch_add(1, Ordering::SeqCst);
        assert!(!self.0.resets.load(Ordering::SeqCst), "a reset that panics");
        Reply::of(ResetResponse::Accepted)
    }

    fn own_account(&self) -> Option<String> {
        None
    }
}

/// Runs the operator in this process while `scenario` lasts, which is given its metrics.
async fn beside<T>(
    env: &Environment,
    cognito: &Panicking,
    scenario: impl AsyncFnOnce(&Registry) -> Result<T>,
) -> Result<T> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(&env.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let Command::Run(args) = Cli::parse_from(["cognito-reset-operator", "run"].iter().chain(QUICK)).command else {
        bail!("another command");
    };
    let metrics = Metrics::default();
    let registry = Arc::new(metrics.registry());
    let (health, stop) =
        (Health::new(Arc::clone(&registry), metrics.api_requests.clone(), Duration::MAX), CancellationToken::new());
    let prepared = Prepared { client: Client::try_from(config)?, cognito: cognito.clone(), lease: None };
    let stopped = stop.clone();
    let mut serving =
        tokio::spawn(async move { serve(Tasks::default(), *args, prepared, &metrics, health, stopped).await });
    let result = tokio::select! {
        ended = &mut serving => bail!("the operator ended: {ended:?}"),
        result = scenario(&registry) => result,
    };
    stop.cancel();
    serving.await??;
    result
}

/// A thread of a test has a quarter of the stack that the operator's first thread has, and a debug
/// build needs more.
fn on_a_stack_like_the_operators(scenario: impl AsyncFnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(move || runtime.block_on(scenario()))?;
    thread.join().map_err(|_| anyhow::anyhow!("the scenario has panicked"))?
}

#[test]
fn a_panic_ends_one_reconcile_and_the_request_is_retried() -> Result<()> {
    on_a_stack_like_the_operators(request_that_panics)
}

async fn request_that_panics() -> Result<()> {
    let env = Environment::start().await?;
    let cognito = Panicking::default();
    cognito.0.sessions.store(3, Ordering::SeqCst);
    beside(&env, &cognito, async |registry| {
        env.apply(&env.request("panics", "panics", "")).await?;
        assert_eq!(env.ended("panics").await?, "Succeeded/ResetAccepted");
        let mut text = String::new();
        encode(&mut text, registry)?;
        ensure!(text.contains("cognito_reset_reconcile_errors_total 3"), "{text}");
        ensure!(text.contains("cognito_reset_requests_in_flight 0"), "{text}");
        Ok(())
    })
    .await?;
    assert_eq!(cognito.performed(), 1);
    Ok(())
}

#[test]
fn a_panic_during_the_call_is_resolved_by_a_probe() -> Result<()> {
    on_a_stack_like_the_operators(call_that_panics)
}

async fn call_that_panics() -> Result<()> {
    let env = Environment::start().await?;
    let cognito = Panicking::default();
    cognito.0.resets.store(true, Ordering::SeqCst);
    beside(&env, &cognito, async |_| {
        env.apply(&env.request("called", "called", "")).await?;
        assert_eq!(env.ended("called").await?, "Succeeded/ConfirmedByProbe");
        Ok(())
    })
    .await?;
    assert_eq!(cognito.performed(), 1);
    Ok(())
}

#[test]
fn a_panic_over_an_orphaned_claim_costs_one_probe() -> Result<()> {
    on_a_stack_like_the_operators(claim_that_panics)
}

async fn claim_that_panics() -> Result<()> {
    let env = Environment::start().await?;
    let cognito = Panicking::default();
    cognito.0.performed.store(1, Ordering::SeqCst);
    cognito.0.sessions.store(2, Ordering::SeqCst);
    let identity = Identity {
        action: Action::PasswordReset,
        request: RequestRef { namespace: "default".to_owned(), name: "orphaned".to_owned() },
        user_pool_id: env.pool.clone(),
        username: "orphaned".to_owned(),
    };
    let attempt = serde_json::from_value(serde_json::json!({
        "id": "of-a-dead-process", "operatorInstance": "dead", "requestUID": "gone", "claimedAt": "2036-01-01T00:00:00Z",
        "requestedBy": { "username": "unverified" }, "userStatusBefore": "CONFIRMED",
        "stateReadAfter": "2036-01-01T00:00:00Z",
    }))?;
    let mut record = ledger::claimed(None, &identity, attempt);
    record.spec.user_sub = Some("sub".to_owned());
    env.apply(&serde_json::to_string(&record)?).await?;
    beside(&env, &cognito, async |_| {
        eventually(LIMIT, "the claim to be settled", async || {
            let record = env.record("orphaned").await?.context("no record")?;
            let evidence = record.pointer("/attempts/0/evidence");
            ensure!(evidence.is_some_and(|evidence| evidence == "UserStatusCheck"), "{record}");
            anyhow::Ok(())
        })
        .await?;
        ensure!(cognito.0.sessions.load(Ordering::SeqCst) == 0, "no session has panicked");
        Ok(())
    })
    .await?;
    assert_eq!(cognito.performed(), 1);
    Ok(())
}
