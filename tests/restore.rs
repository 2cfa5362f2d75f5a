//! etcd is put back from a snapshot: `docs/runbooks/etcd-restore.md`, rehearsed. Its commands are run as they stand there.

#![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

mod common;

use anyhow::{Context, Result, ensure};
use common::{Bench, LIMIT, condition};
use testbed::{Fault, Matcher, Operator, Reply, Rule};

const RUNBOOK: &str = include_str!("../docs/runbooks/etcd-restore.md");

/// Resets made after the snapshot: of a request that it does not know, of one that it knows as suspended, and of one
/// that it knows as refused for now.
const LOST: [&str; 3] = ["new", "suspended", "refused"];

/// Starts an operator whose waits after a refusal are long enough to be shown.
async fn run(bench: &Bench) -> Result<Operator> {
    bench.run_with(bench.operator().args(["--retry-initial=5s", "--retry-max=5s"])).await
}

/// The block of the runbook that is marked so.
fn block(name: &str) -> Result<&'static str> {
    let marked = RUNBOOK.split(&format!("<!-- rehearsed: {name} -->\n```sh\n")).nth(1);
    marked.and_then(|rest| rest.split("```").next()).with_context(|| format!("the runbook has no block {name}"))
}

/// A cluster that has made resets since its snapshot, and whoever applies the same requests again and again.
struct Rehearsal {
    bench: Bench,
    snapshot: String,
}

impl Rehearsal {
    async fn begin() -> Result<(Self, Operator)> {
        let bench = Bench::start().await?;
        let operator = run(&bench).await?;
        bench.ask("before").await?;
        ensure!(bench.ended("before").await? == "Succeeded/ResetAccepted");
        let refusal = Fault::Respond(Reply::aws_error(400, "AccessDeniedException"));
        let refused = bench.cognito.always(Matcher::reset_of("refused"), refusal);
        for name in LOST {
            bench.users.create_user(&bench.pool, name).await?;
        }
        bench.apply(&bench.request("suspended", "suspended", "suspend: true")).await?;
        bench.apply(&bench.request("refused", "refused", "")).await?;
        bench.becomes("suspended", "Pending/Suspended").await?;
        bench.becomes("refused", "Pending/AccessDeniedException").await?;
        let snapshot = bench.cluster.file("snapshot.db").display().to_string();
        bench.cluster.script("etcdctl snapshot save \"$SNAPSHOT\"", &[("SNAPSHOT", &snapshot)]).await?;
        refused.remove();
        let this = Self { bench, snapshot };
        this.git_ops().await?;
        for name in LOST {
            ensure!(this.bench.ended(name).await? == "Succeeded/ResetAccepted", "{name}");
            // A second reset would show in Cognito as well.
            this.bench.users.confirm(&this.bench.pool, name).await?;
        }
        Ok((this, operator))
    }

    /// Applies what is in Git.
    async fn git_ops(&self) -> Result<()> {
        let all = ["before"].into_iter().chain(LOST);
        let manifests: String = all.map(|name| format!("---\n{}", self.bench.request(name, name, ""))).collect();
        self.bench.apply(&manifests).await?;
        Ok(())
    }

    /// What the policy of step 1 does.
    fn close_the_door(&self) -> Rule {
        let denial = Fault::Respond(Reply::aws_error(400, "AccessDeniedException"));
        self.bench.cognito.always(Matcher::operation("AdminResetUserPassword"), denial)
    }

    async fn follow(&self, step: &str) -> Result<()> {
        self.bench.cluster.script(block(step)?, &[]).await?;
        Ok(())
    }

    /// A step that stops the operator: the Deployment by the runbook, its process here, where no kubelet does it.
    async fn stop(&self, step: &str, operator: Operator) -> Result<()> {
        operator.sigterm()?;
        let mut operator = operator;
        operator.wait_exit(LIMIT).await?;
        self.follow(step).await
    }

    async fn restore(&mut self) -> Result<()> {
        self.bench.cluster.restore_etcd(block("restore")?, &[("SNAPSHOT", &self.snapshot)]).await?;
        ensure!(self.bench.record("new").await?.is_none(), "the restore has not gone back");
        Ok(())
    }

    /// The operator works on what was restored, and gets nowhere.
    async fn waits_before_the_door(&self) -> Result<()> {
        self.git_ops().await?;
        for name in LOST {
            self.bench.becomes(name, "Pending/AccessDeniedException").await?;
        }
        Ok(())
    }

    /// How each request ends once the operator may work, and that something new still works.
    async fn ends(&self, wanted: [&str; 3]) -> Result<()> {
        for (name, wanted) in LOST.into_iter().zip(wanted) {
            let ended = self.bench.ended(name).await?;
            ensure!(ended == wanted, "{name}: {ended}");
        }
        self.bench.ask("afterwards").await?;
        ensure!(self.bench.ended("afterwards").await? == "Succeeded/ResetAccepted");
        Ok(())
    }

    fn resets(&self) -> [usize; 3] {
        LOST.map(|name| self.bench.cognito.resets_of(&self.bench.pool, name).accepted)
    }
}

#[tokio::test]
async fn with_the_ledger_saved_before_the_restore_nothing_is_reset_twice_and_every_outcome_is_known() -> Result<()> {
    let (mut rehearsal, operator) = Rehearsal::begin().await?;
    let door = rehearsal.close_the_door();
    rehearsal.stop("save", operator).await?;
    rehearsal.restore().await?;
    let restarted_by_a_kubelet = run(&rehearsal.bench).await?;
    rehearsal.waits_before_the_door().await?;
    rehearsal.stop("stop", restarted_by_a_kubelet).await?;
    rehearsal.follow("put-back").await?;
    door.remove();
    let _operator = run(&rehearsal.bench).await?;
    let the_same_object = "Succeeded/ResetAccepted";
    rehearsal.ends(["Succeeded/AlreadyPerformed", the_same_object, the_same_object]).await?;
    assert_eq!(rehearsal.resets(), [1, 1, 1]);
    for name in LOST {
        assert_eq!(rehearsal.bench.users.user_status(&rehearsal.bench.pool, name).await?, "CONFIRMED", "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn with_the_cluster_lost_nothing_is_reset_twice_and_what_nobody_knows_is_told_as_unknown() -> Result<()> {
    let (mut rehearsal, never_stopped) = Rehearsal::begin().await?;
    let door = rehearsal.close_the_door();
    rehearsal.restore().await?;
    rehearsal.waits_before_the_door().await?;
    rehearsal.stop("stop", never_stopped).await?;
    rehearsal.follow("close").await?;
    rehearsal.follow("close").await?;
    let left = std::fs::read_to_string(rehearsal.bench.cluster.file("close.json"))?;
    assert_eq!(left, "", "the runbook's check");
    door.remove();
    let _operator = run(&rehearsal.bench).await?;
    rehearsal.ends(["Unknown/OutcomeUnknown"; 3]).await?;
    assert_eq!(rehearsal.resets(), [1, 1, 1]);
    let told = rehearsal.bench.get("prr", "new").await?;
    let message = condition(&told, "Ready")["message"].to_string();
    assert!(message.contains("nothing proves whether the reset was made"), "{message}");
    assert_eq!(rehearsal.bench.stands("before").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn without_the_closed_door_or_without_the_ledger_the_rehearsal_sees_a_second_reset() -> Result<()> {
    let (mut rehearsal, operator) = Rehearsal::begin().await?;
    rehearsal.stop("save", operator).await?;
    rehearsal.restore().await?;
    let restarted_by_a_kubelet = run(&rehearsal.bench).await?;
    rehearsal.git_ops().await?;
    rehearsal.ends(["Succeeded/ResetAccepted"; 3]).await?;
    assert_eq!(rehearsal.resets(), [2, 2, 2], "step 1 was left out");
    rehearsal.stop("stop", restarted_by_a_kubelet).await?;

    let door = rehearsal.close_the_door();
    rehearsal.restore().await?;
    rehearsal.git_ops().await?;
    door.remove();
    let _operator = run(&rehearsal.bench).await?;
    for name in LOST {
        rehearsal.bench.ended(name).await?;
    }
    assert_eq!(rehearsal.resets(), [3, 3, 3], "step 5 was left out");
    Ok(())
}
