//! A rehearsal of `docs/runbooks/etcd-restore.md`: etcd is restored from a snapshot. The commands
//! of the runbook are run as they are.

use anyhow::{Result, ensure};
use testbed::environment::{Environment, LIMIT, condition};
use testbed::{Fault, Matcher, Operator, Page, Reply, Rule};

/// Resets that were made after the snapshot: one of a request that the snapshot does not contain,
/// one that it contains as suspended, and one that it contains as refused for now.
const LOST: [&str; 3] = ["new", "suspended", "refused"];

/// Starts an operator whose waits after a refusal are long enough to be shown.
async fn run(env: &Environment) -> Result<Operator> {
    env.run_with(env.operator().args(["--retry-initial=5s", "--retry-max=5s"])).await
}

/// Returns the block of the runbook that has this name.
fn block(name: &str) -> Result<String> {
    Page::read("docs/runbooks/etcd-restore.md")?.script(name)
}

/// A cluster that has made resets since its snapshot, and a pipeline that applies the same requests
/// again and again.
struct Rehearsal {
    env: Environment,
    snapshot: String,
}

impl Rehearsal {
    async fn begin() -> Result<(Self, Operator)> {
        let env = Environment::start().await?;
        let operator = run(&env).await?;
        env.ask("before").await?;
        ensure!(env.ended("before").await? == "Succeeded/ResetAccepted");
        let refusal = Fault::Respond(Reply::aws_error(400, "AccessDeniedException"));
        let refused = env.cognito.always(Matcher::reset_of("refused"), refusal);
        for name in LOST {
            env.users.create_user(&env.pool, name).await?;
        }
        env.apply(&env.request("suspended", "suspended", "suspend: true")).await?;
        env.apply(&env.request("refused", "refused", "")).await?;
        env.becomes("suspended", "Pending/Suspended").await?;
        env.becomes("refused", "Pending/AccessDeniedException").await?;
        let snapshot = env.cluster.file("snapshot.db").display().to_string();
        env.cluster.script("etcdctl snapshot save \"$SNAPSHOT\"", &[("SNAPSHOT", &snapshot)]).await?;
        refused.remove();
        let this = Self { env, snapshot };
        this.git_ops().await?;
        for name in LOST {
            ensure!(this.env.ended(name).await? == "Succeeded/ResetAccepted", "{name}");
        }
        // A second reset would show in Cognito as well.
        this.choose_passwords().await?;
        Ok((this, operator))
    }

    /// Lets all users choose a new password after a reset.
    async fn choose_passwords(&self) -> Result<()> {
        for name in LOST {
            self.env.users.confirm(&self.env.pool, name).await?;
        }
        Ok(())
    }

    /// Applies the manifests in Git.
    async fn git_ops(&self) -> Result<()> {
        let all = ["before"].into_iter().chain(LOST);
        let manifests: String = all.map(|name| format!("---\n{}", self.env.request(name, name, ""))).collect();
        self.env.apply(&manifests).await?;
        Ok(())
    }

    /// Acts like the policy of step 1.
    fn close_the_door(&self) -> Rule {
        let denial = Fault::Respond(Reply::aws_error(400, "AccessDeniedException"));
        self.env.cognito.always(Matcher::operation("AdminResetUserPassword"), denial)
    }

    async fn follow(&self, step: &str) -> Result<()> {
        self.env.cluster.script(&block(step)?, &[]).await?;
        Ok(())
    }

    /// Runs a step that stops the operator: the Deployment by the runbook, and here the process,
    /// since no kubelet does it.
    async fn stop(&self, step: &str, operator: Operator) -> Result<()> {
        operator.sigterm()?;
        let mut operator = operator;
        operator.wait_exit(LIMIT).await?;
        self.follow(step).await
    }

    async fn restore(&mut self) -> Result<()> {
        self.env.cluster.restore_etcd(&block("restore")?, &[("SNAPSHOT", &self.snapshot)]).await?;
        ensure!(self.env.record("new").await?.is_none(), "the restore has not gone back");
        Ok(())
    }

    /// Checks that the operator works on the restored requests and cannot call.
    async fn waits_before_the_door(&self) -> Result<()> {
        self.git_ops().await?;
        for name in LOST {
            self.env.becomes(name, "Pending/AccessDeniedException").await?;
        }
        Ok(())
    }

    /// Checks how each request ends once the operator may work, and that a new request still works.
    async fn ends(&self, wanted: [&str; 3]) -> Result<()> {
        for (name, wanted) in LOST.into_iter().zip(wanted) {
            let ended = self.env.ended(name).await?;
            ensure!(ended == wanted, "{name}: {ended}");
        }
        self.env.ask("afterwards").await?;
        ensure!(self.env.ended("afterwards").await? == "Succeeded/ResetAccepted");
        Ok(())
    }

    fn resets(&self) -> [usize; 3] {
        LOST.map(|name| self.env.cognito.resets_of(&self.env.pool, name).accepted)
    }
}

#[tokio::test]
async fn a_restore_with_the_saved_ledger_resets_nothing_twice() -> Result<()> {
    let (mut rehearsal, operator) = Rehearsal::begin().await?;
    let door = rehearsal.close_the_door();
    rehearsal.stop("save", operator).await?;
    rehearsal.restore().await?;
    let restarted_by_a_kubelet = run(&rehearsal.env).await?;
    rehearsal.waits_before_the_door().await?;
    rehearsal.stop("stop", restarted_by_a_kubelet).await?;
    rehearsal.follow("put-back").await?;
    door.remove();
    let _operator = run(&rehearsal.env).await?;
    let the_same_object = "Succeeded/ResetAccepted";
    rehearsal.ends(["Succeeded/AlreadyPerformed", the_same_object, the_same_object]).await?;
    assert_eq!(rehearsal.resets(), [1, 1, 1]);
    for name in LOST {
        assert_eq!(rehearsal.env.users.user_status(&rehearsal.env.pool, name).await?, "CONFIRMED", "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_restore_without_a_saved_ledger_ends_unknown() -> Result<()> {
    let (mut rehearsal, never_stopped) = Rehearsal::begin().await?;
    let door = rehearsal.close_the_door();
    rehearsal.restore().await?;
    rehearsal.waits_before_the_door().await?;
    rehearsal.stop("stop", never_stopped).await?;
    rehearsal.follow("close").await?;
    rehearsal.follow("close").await?;
    let left = std::fs::read_to_string(rehearsal.env.cluster.file("close.json"))?;
    assert_eq!(left, "", "the runbook's check");
    door.remove();
    let _operator = run(&rehearsal.env).await?;
    rehearsal.ends(["Unknown/OutcomeUnknown"; 3]).await?;
    assert_eq!(rehearsal.resets(), [1, 1, 1]);
    let request = rehearsal.env.get("prr", "new").await?;
    let message = condition(&request, "Ready")["message"].to_string();
    assert!(message.contains("it is unknown whether the reset was made"), "{message}");
    assert_eq!(rehearsal.env.state("before").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn a_restore_that_skips_a_step_is_seen_to_reset_twice() -> Result<()> {
    let (mut rehearsal, operator) = Rehearsal::begin().await?;
    rehearsal.stop("save", operator).await?;
    rehearsal.restore().await?;
    let restarted_by_a_kubelet = run(&rehearsal.env).await?;
    rehearsal.git_ops().await?;
    rehearsal.ends(["Succeeded/ResetAccepted"; 3]).await?;
    assert_eq!(rehearsal.resets(), [2, 2, 2], "step 1 was left out");
    rehearsal.stop("stop", restarted_by_a_kubelet).await?;
    // Without the ledger only the state of a user could show that a reset has happened.
    rehearsal.choose_passwords().await?;

    let door = rehearsal.close_the_door();
    rehearsal.restore().await?;
    rehearsal.git_ops().await?;
    door.remove();
    let _operator = run(&rehearsal.env).await?;
    for name in LOST {
        rehearsal.env.ended(name).await?;
    }
    assert_eq!(rehearsal.resets(), [3, 3, 3], "step 5 was left out");
    Ok(())
}
