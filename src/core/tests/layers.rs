//! Checks the dependencies of each crate. The compiler enforces the layers between the crates, but
//! a new dependency could still bypass them.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Result, ensure};

/// The names of everything that a package is built from, itself included, on any platform.
fn dependencies(package: &str) -> Result<BTreeSet<String>> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--target", "all", "--prefix", "none", "--format", "{p}"])
        .args(["--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    ensure!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout)?;
    Ok(tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

#[test]
fn a_crate_is_built_without_what_its_layer_leaves_to_others() -> Result<()> {
    // A name that ends with a hyphen refuses every crate whose name begins with it.
    let pure: &[&str] = &["kube-client", "kube-runtime", "hyper", "reqwest", "aws-", "tokio", "tracing"];
    for (package, needed, refused) in [
        ("cognito-reset-api", "kube-core", pure),
        ("cognito-reset-core", "cognito-reset-api", pure),
        ("cognito-reset-aws", "aws-sdk-sts", &["kube-client", "kube-runtime", "cognito-reset-operator"]),
        (
            "cognito-reset-kubectl",
            "cognito-reset-core",
            &["aws-config", "aws-sdk-", "cognito-reset-operator", "testbed"],
        ),
        ("cognito-reset-operator", "cognito-reset-aws", &["testbed", "fuzz", "clock"]),
    ] {
        let all = dependencies(package)?;
        assert!(all.contains(package) && all.contains(needed), "the tree of {package} is not as it is known: {all:?}");
        let found: Vec<_> = all.iter().filter(|name| refused.iter().any(|refused| is_refused(name, refused))).collect();
        assert_eq!(found, Vec::<&String>::new(), "{package} is built from these");
    }
    Ok(())
}

fn is_refused(name: &str, refused: &str) -> bool {
    if refused.ends_with('-') { name.starts_with(refused) } else { name == refused }
}

#[test]
fn every_crate_of_aws_is_refused_and_no_other() {
    let refused = ["aws-config", "aws-lc-rs", "awscreds", "a-aws-", "tokio", "tokio-util"];
    let found = refused.map(|name| is_refused(name, "aws-") || is_refused(name, "tokio"));
    assert_eq!(found, [true, true, false, false, true, false]);
}
