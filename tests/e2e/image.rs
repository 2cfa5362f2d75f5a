//! The image: built from scratch, kept by registries and archives, and run by runc as a Pod would
//! run it.

mod built;
mod container;
mod names;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::environment::{Environment, root};
use testbed::{Deployment, Operator, TlsFront};

use built::{END, Registry, Tools, build, built, output, program};
use container::{Bundle, inside};
use names::Names;

const NAME: &str = "cognito-reset-operator:0.1.0";
const PROGRAM: &str = "/usr/local/bin/cognito-reset-operator";

/// Returns the digest in the index of a layout.
fn digest(folder: &Path) -> Result<String> {
    let index: Value = serde_json::from_str(&fs::read_to_string(folder.join("index.json"))?)?;
    Ok(index["manifests"][0]["digest"].as_str().context("no digest")?.to_owned())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

/// Unpacks an archive into a new folder.
fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    fs::create_dir(folder)?;
    output(Command::new("tar").args(["-x", "-f", text(archive)?, "-C", text(folder)?]))?;
    Ok(())
}

#[tokio::test]
async fn the_image_has_one_digest_and_no_path_of_the_build() -> Result<()> {
    let (folder, image) = (tempfile::tempdir()?, built().await?);
    let again = folder.path().join("image");
    build(&program()?, &again)?;
    assert_eq!(digest(image)?, digest(&again)?);

    let binary = fs::read(program()?)?;
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))?;
    let source = fs::canonicalize(root(""))?;
    for path in [format!("{}/src", text(&source)?), format!("{}/release", text(&source.join("target"))?), home] {
        let found = binary.windows(path.len()).any(|window| window == path.as_bytes());
        assert!(!found, "the binary has {path}");
    }
    Ok(())
}

#[test]
fn a_binary_that_does_not_fit_is_refused_with_the_way_out() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (binary, message) in
        [("/bin/sh", "is linked dynamically"), (env!("CARGO_MANIFEST_DIR"), "directory"), ("main.rs", "64-bit Linux")]
    {
        let problem = build(Path::new(binary), &folder.path().join("image")).unwrap_err().to_string();
        assert!(problem.contains(message), "{binary}: {problem}");
    }
    Ok(())
}

#[tokio::test]
async fn registry_and_archive_keep_the_digest() -> Result<()> {
    let (folder, image, tools) = (tempfile::tempdir()?, built().await?, Tools::build()?);
    let registry = Registry::start(&tools, folder.path()).await?;
    let wanted = digest(image)?;
    let pushed = registry.named(NAME);
    tools.crane(&["push", text(image)?, &pushed])?;
    assert_eq!(tools.crane(&["digest", &pushed])?, wanted);
    tools.crane(&["validate", "--remote", &pushed])?;

    let archive = folder.path().join("image.tar");
    output(Command::new(root(".ci/image/archive.py")).arg(image).arg(NAME).arg(&archive))?;
    tools.crane(&["validate", "--tarball", text(&archive)?])?;
    let layout = folder.path().join("layout");
    unpack(&archive, &layout)?;
    let loaded = registry.named("mirror/operator:1");
    tools.crane(&["push", text(&layout)?, &loaded])?;
    assert_eq!(tools.crane(&["digest", &loaded])?, wanted);
    tools.crane(&["validate", "--remote", &loaded])?;
    // What docker reads of it is the same program with the same settings.
    let docker = registry.named("docker/operator:1");
    tools.crane(&["push", text(&archive)?, &docker])?;
    assert_eq!(tools.crane(&["config", &docker])?, tools.crane(&["config", &pushed])?);
    Ok(())
}

#[tokio::test]
async fn the_image_has_what_a_runtime_and_a_reader_need() -> Result<()> {
    let (folder, image, tools) = (tempfile::tempdir()?, built().await?, Tools::build()?);
    let registry = Registry::start(&tools, folder.path()).await?;
    let rootfs = pull(&tools, &registry, image, folder.path())?;
    let config: Value = serde_json::from_str(&tools.crane(&["config", &registry.named(NAME)])?)?;
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!([PROGRAM]));
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&config["os"], &config["architecture"]), (&"linux".into(), &built::architecture().into()));
    let read = |name: &str| fs::read_to_string(rootfs.join(name)).with_context(|| name.to_owned());
    assert!(read("etc/passwd")?.contains(":x:65532:65532:") && read("etc/group")?.contains(":x:65532:"));
    assert_eq!(read("licenses/LICENSE")?, fs::read_to_string(root("LICENSE"))?);
    assert!(read("etc/ssl/certs/ca-certificates.crt")?.matches("BEGIN CERTIFICATE").count() > 50);
    let licences = read("licenses/THIRD-PARTY")?;
    for crate_ in ["aws-lc-sys", "kube-client", "rustls", "tokio"] {
        assert!(licences.lines().any(|line| line.starts_with(&format!("{crate_} "))), "{crate_}");
    }
    assert!(licences.contains("Permission is hereby granted") && !licences.contains("proptest"));
    Ok(())
}

/// Pushes the image, and returns the folder of its files as they are pulled.
fn pull(tools: &Tools, registry: &Registry, image: &Path, folder: &Path) -> Result<std::path::PathBuf> {
    let (name, archive, rootfs) = (registry.named(NAME), folder.join("rootfs.tar"), folder.join("rootfs"));
    tools.crane(&["push", text(image)?, &name])?;
    tools.crane(&["export", &name, text(&archive)?])?;
    unpack(&archive, &rootfs)?;
    Ok(rootfs)
}

#[tokio::test]
async fn the_pulled_image_performs_a_reset_in_a_container() -> Result<()> {
    let env = Environment::start().await?;
    let (folder, image, tools) = (tempfile::tempdir()?, built().await?, Tools::build()?);
    let registry = Registry::start(&tools, folder.path()).await?;
    let rootfs = pull(&tools, &registry, image, folder.path())?;
    let config = serde_json::from_str(&tools.crane(&["config", &registry.named(NAME)])?)?;
    let bundle = Bundle { folder: folder.path(), tools: &tools };
    let base = Deployment::render(env.cluster.as_admin(), Path::new(&root("deploy/kustomize/base"))).await?;
    let pod = &base.of_kind("Deployment").next().context("no Deployment")?["spec"]["template"]["spec"];

    // Cognito is found by DNS, and trusted by the list of authorities in the image.
    let names = Names::start(TlsFront::HOST).await?;
    let front = TlsFront::start(&env.cognito.url()).await?;
    let authorities = rootfs.join("etc/ssl/certs/ca-certificates.crt");
    let trusted = fs::read_to_string(&authorities)? + &fs::read_to_string(front.authority())?;
    fs::remove_file(&authorities)?;
    fs::write(&authorities, trusted)?;
    bundle.names(&names.address())?;
    let token = env.cluster.service_account_token(&base.namespace, &base.service_account).await?;
    bundle.account(&token, env.cluster.ca_pem(), &base.namespace)?;
    bundle.configure(pod, &config)?;

    // The API server is found by the list of hosts, and trusted by the authority beside the token.
    let port = env.cluster.url().rsplit(':').next().context("no port")?.to_owned();
    let operator = Operator::builder(Path::new(&root("tests/testbed/container")))
        .deployment(&base)
        .cognito(&front.named_url())
        .sts(&front.named_url())
        .env("KUBERNETES_SERVICE_HOST", "localhost")
        .env("KUBERNETES_SERVICE_PORT", port)
        .env("CONTAINER_BUNDLE", folder.path())
        .env("CONTAINER_RUNC", tools.runc());
    let mut operator = env.run_with(operator).await?;
    env.ask("contained").await?;
    assert_eq!(env.ended("contained").await?, "Succeeded/ResetAccepted");
    assert_eq!(env.calls("contained"), 1);

    let asked: BTreeSet<_> = names.asked().into_iter().collect();
    assert!(asked.contains(TlsFront::HOST) && !asked.contains("localhost"), "{asked:?}");
    let process = inside(operator.pid().context("it has ended")?, PROGRAM)?;
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let filter = if tools.seccomp()?.is_null() { "0" } else { "2" };
    for (field, value) in
        [("CapEff", "0000000000000000"), ("CapBnd", "0000000000000000"), ("NoNewPrivs", "1"), ("Seccomp", filter)]
    {
        ensure!(status.lines().any(|line| line == format!("{field}:\t{value}")), "{field} is not {value}: {status}");
    }
    output(Command::new("kill").args(["-TERM", &process.to_string()]))?;
    assert!(operator.wait_exit(END).await?.success(), "{}", operator.logs());
    Ok(())
}

#[tokio::test]
async fn the_list_of_images_is_that_of_the_manifests() -> Result<()> {
    let env = Environment::start().await?;
    let base = Deployment::render(env.cluster.as_admin(), Path::new(&root("deploy/kustomize/base"))).await?;
    let named: BTreeSet<_> = base.yaml.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect();
    let list = fs::read_to_string(root("deploy/images.txt"))?;
    assert_eq!(named, list.lines().collect());
    assert_eq!(list.trim_end(), NAME);
    assert!(NAME.ends_with(env!("CARGO_PKG_VERSION")));
    Ok(())
}
