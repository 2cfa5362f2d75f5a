//! The demonstration: it checks its outcomes itself, and shows the list of the kubectl plugin.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use testbed::environment::{binary, plugin, root};

#[test]
fn the_demonstration_resets_a_list_and_reports_it() -> Result<()> {
    // Built beside the testbed.
    plugin();
    let output = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .arg("demo")
        .current_dir(root(""))
        .env("COGNITO_RESET_OPERATOR_BIN", binary())
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .output()
        .context("the testbed cannot be run")?;
    let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{shown}");
    for words in [
        "\n50 created, 0 unchanged\n",
        "\n0 created, 50 unchanged\n",
        "\n50 succeeded, 0 failed, 0 unknown, 0 pending\n",
        "\n50 records (of all times): 50 Performed, 0 NotPerformed, 0 Unknown, 0 open\n",
        "\nEvery outcome was the expected one, and nobody was reset twice.\n",
    ] {
        ensure!(shown.contains(words), "{words:?} is missing: {shown}");
    }
    Ok(())
}
