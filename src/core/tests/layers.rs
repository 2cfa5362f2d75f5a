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
    let client: &[&str] = &["kube-client", "kube-runtime", "hyper", "reqwest"];
    let aws: &[&str] = &["aws-config", "aws-smithy-types", "aws-sdk-cognitoidentityprovider", "aws-sdk-sts"];
    let runtime: &[&str] = &["tokio", "tracing"];
    for (package, needed, refused) in [
        ("cognito-reset-api", "kube-core", [client, aws, runtime].concat()),
        ("cognito-reset-core", "cognito-reset-api", [client, aws, runtime].concat()),
        ("cognito-reset-aws", "aws-sdk-sts", ["kube-client", "kube-runtime", "cognito-reset-operator"].to_vec()),
        ("cognito-reset-operator", "cognito-reset-aws", ["testbed", "fuzz", "clock"].to_vec()),
    ] {
        let all = dependencies(package)?;
        assert!(all.contains(package) && all.contains(needed), "the tree of {package} is not as it is known: {all:?}");
        let found: Vec<_> = refused.into_iter().filter(|name| all.contains(*name)).collect();
        assert_eq!(found, Vec::<&str>::new(), "{package} is built from these");
    }
    Ok(())
}
