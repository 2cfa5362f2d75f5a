//! Requests that a change wakes while they wait to repeat a refused write.

use anyhow::Result;
use http::Method;
use testbed::eventually;

use super::{Environment, LIMIT, Refusing, labelled, policy};

#[tokio::test]
async fn a_request_woken_early_causes_no_call_and_no_write() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run_with(env.operator().args(["--retry-initial=1h", "--retry-max=1h"])).await?;
    let refusing = Refusing { env: &env, operator: &operator };
    let wants_label = "has(object.metadata.labels) && 'owner' in object.metadata.labels";
    let yaml = policy("owner-label", &["CREATE"], &["*"], wants_label);
    let unlabelled = env.request("probe", "probe", "");
    refusing.enforce(&yaml, &["create", "--dry-run=server", "-f", "-"], &unlabelled).await?;
    env.users.create_user(&env.pool, "held").await?;
    env.apply(&labelled(&env.request("held", "held", ""))).await?;
    refusing.says("held", &["rejected by the ValidatingAdmissionPolicy owner-label"]).await?;
    let sent = |method: &Method, end: &str| {
        let is_it = |path: &str| path.split('?').next().is_some_and(|path| path.ends_with(end));
        env.api.requests().iter().filter(|sent| sent.seen.method == *method && is_it(&sent.seen.path)).count()
    };
    let reads = || sent(&Method::GET, "/passwordresetrequests/held");
    // The change of its own status has woken it already.
    for number in 0..3 {
        let so_far = reads();
        env.kubectl(&["label", "prr", "held", "--overwrite", &format!("woken={number}")]).await?;
        eventually(LIMIT, "another look at it", async || (reads() > so_far).then_some(())).await?;
    }
    let snapshots = env.cognito.operation("AdminGetUser").len();
    let status_writes = sent(&Method::PUT, "/passwordresetrequests/held/status");
    assert_eq!((refusing.claims("held"), snapshots, status_writes), (1, 1, 1), "{}", operator.logs());
    Ok(())
}
