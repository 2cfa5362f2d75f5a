use clap::Parser;
use futures::future::BoxFuture;

use super::*;
use crate::cli::{Cli, Command};

#[tokio::test]
async fn where_probes_are_not_answered_any_more_the_work_is_stopped_and_finishes_and_the_end_says_why() {
    let broken = || async { Err(io::Error::other("the listener is gone")) };
    let rows: [(BoxFuture<'static, io::Result<()>>, &str); 3] = [
        (Box::pin(async { Ok(()) }), "it has ended"),
        (Box::pin(broken()), "the listener is gone"),
        (Box::pin(async { panic!("a test") }), "a panic ended the call; the log has its place in the code"),
    ];
    for (serving, why) in rows {
        let (stop, mut finished) = (CancellationToken::new(), false);
        let work = async {
            stop.cancelled().await;
            finished = true;
            Ok(())
        };
        let ended = beside(serving, work, &stop).await.map_err(|error| error.to_string());
        assert_eq!(ended, Err(format!("failed to serve /livez, /readyz and /metrics any longer: {why}")));
        assert!(finished, "{why}");
    }
}

#[tokio::test]
async fn work_that_ends_by_itself_ends_as_it_does_while_probes_are_answered() {
    let stop = CancellationToken::new();
    let serving = std::future::pending;
    assert!(beside(serving(), async { Ok(()) }, &stop).await.is_ok());
    let lost = beside(serving(), async { Err(RunError::LeaseLost) }, &stop).await;
    assert!(matches!(lost, Err(RunError::LeaseLost)) && !stop.is_cancelled());
}

#[test]
fn the_whole_operator_is_a_small_value_which_a_stack_has_room_for_many_times() {
    let Command::Run(args) = Cli::parse_from(["cognito-reset-operator", "run"]).command else { unreachable!() };
    let size = size_of_val(&run(*args));
    assert!(size < 16 << 10, "{size} bytes");
}
