//! Requests that are woken while they wait for a refused write to be tried again.

use anyhow::Result;
use http::Method;
use testbed::eventually;

use super::{Bench, LIMIT, Refusing, labelled, policy};

#[tokio::test]
async fn a_request_that_is_woken_before_the_pause_is_over_asks_nothing_of_aws_and_writes_nothing() -> Result<()> {
    let bench = Bench::start().await?;
    let operator = bench.run_with(bench.operator().args(["--retry-initial=1h", "--retry-max=1h"])).await?;
    let refusing = Refusing { bench: &bench, operator: &operator };
    let wants_label = "has(object.metadata.labels) && 'owner' in object.metadata.labels";
    let yaml = policy("owner-label", &["CREATE"], &["*"], wants_label);
    let unlabelled = bench.request("probe", "probe", "");
    refusing.enforce(&yaml, &["create", "--dry-run=server", "-f", "-"], &unlabelled).await?;
    bench.users.create_user(&bench.pool, "held").await?;
    bench.apply(&labelled(&bench.request("held", "held", ""))).await?;
    refusing.says("held", &["refused by the ValidatingAdmissionPolicy owner-label"]).await?;
    let sent = |method: &Method, end: &str| {
        let is_it = |path: &str| path.split('?').next().is_some_and(|path| path.ends_with(end));
        bench.api.requests().iter().filter(|sent| sent.seen.method == *method && is_it(&sent.seen.path)).count()
    };
    let reads = || sent(&Method::GET, "/passwordresetrequests/held");
    // Its own status has woken it already.
    for number in 0..3 {
        let so_far = reads();
        bench.kubectl(&["label", "prr", "held", "--overwrite", &format!("woken={number}")]).await?;
        eventually(LIMIT, "another look at it", async || (reads() > so_far).then_some(())).await?;
    }
    let snapshots = bench.cognito.operation("AdminGetUser").len();
    let tellings = sent(&Method::PUT, "/passwordresetrequests/held/status");
    assert_eq!((refusing.claims("held"), snapshots, tellings), (1, 1, 1), "{}", operator.logs());
    Ok(())
}
