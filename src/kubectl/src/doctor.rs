//! `doctor`: what is wrong with an installation, and what to do.
//!
//! `reader` reads, `checks` decide about what was read, and `print` and `bundle` show it.

pub mod bundle;
pub mod checks;
pub mod facts;
pub mod finding;
pub mod installation;
pub mod print;
pub mod read;
pub mod reader;
pub mod words;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use self::{facts::Facts, finding::Finding, reader::Reader};
use crate::{
    cluster::{Cluster, Target},
    document,
    exit::Exit,
    failure::Failure,
    rules::FieldRule,
    terminal::{line, print, remark, width},
};

/// The number of random bytes of the hashes of a bundle.
const SALT: usize = 32;

/// The arguments of `doctor`.
#[derive(Args, Debug)]
#[command(after_help = "\
Each line is one finding, what is wrong first: `fail` refuses resets, `warn` does not, and `skipped`
names the permission that the check needs.

Exit codes of doctor: 0 if nothing refuses resets, 5 if something does, 2 if the arguments cannot be
used. It changes nothing.

Examples:
  # Check the installation, and the requests of the namespace support
  kubectl cognito-reset doctor -n support

  # Show what grants and holds say about a pool
  kubectl cognito-reset doctor -n support --pool eu-west-1_Example01

  # Write a file for an issue report, in which names of people, tickets and reasons are hashes
  kubectl cognito-reset doctor --bundle report.json")]
pub struct Options {
    /// The user pool whose grants and holds are shown for the namespace
    #[arg(long, value_name = "ID")]
    pool: Option<String>,
    /// Looks at the requests of every namespace
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// The namespace of the operator, for users who may not list Deployments and Leases everywhere
    #[arg(long, value_name = "NAME", default_value = "cognito-reset-system")]
    operator_namespace: String,
    /// Writes findings, objects and logs into a new file, without the names of people
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Prints the findings in this format
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Json,
}

/// Runs `doctor`.
///
/// # Errors
/// When the API server cannot be reached, or the bundle cannot be written.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    if let Some(pool) = &options.pool {
        FieldRule::of("userPoolID")?.check(pool).map_err(|error| Failure::usage(format!("--pool: {error}")))?;
    }
    let cluster = Cluster::connect(target).await?;
    let (everywhere, operator_namespace) = (options.all_namespaces, options.operator_namespace.as_str());
    let reader = Reader { cluster: &cluster, everywhere, operator_namespace };
    let facts = reader.facts(options.pool.clone()).await?;
    let findings = facts.findings();
    // A bundle has no flags: the path of a kubeconfig has the name of its owner.
    options.print(&finding::with_flags(&findings, &cluster.cluster_flags))?;
    options.write(&reader, &facts, &findings).await?;
    Ok(finding::exit(&findings))
}

impl Options {
    fn print(&self, findings: &[Finding]) -> Result<(), Failure> {
        if self.output == Some(Output::Json) {
            line(&document::indented(&findings)?)
        } else {
            let width = width(std::io::stdout()).map(|width| u16::try_from(width).unwrap_or(u16::MAX));
            print(&print::coloured(&print::table(findings, width))).map(|_| ())
        }
    }

    async fn write(&self, reader: &Reader<'_>, facts: &Facts, findings: &[Finding]) -> Result<(), Failure> {
        let Some(path) = &self.bundle else { return Ok(()) };
        let file = bundle::create(path)?;
        let evidence = reader.evidence(facts).await;
        let bundle = bundle::bundle(facts, findings, &evidence, &salt()?, Timestamp::now())?;
        bundle::write(file, path, &bundle)?;
        remark!(
            "wrote {}: names of people, tickets, reasons and roles are hashes in it; read it before you publish it",
            path.display()
        );
        Ok(())
    }
}

/// Returns random bytes.
fn salt() -> Result<[u8; SALT], Failure> {
    let unavailable = || Failure::refused("--bundle: this machine provides no random numbers, which the hashes need");
    let provider = rustls::crypto::CryptoProvider::get_default().ok_or_else(unavailable)?;
    let mut salt = [0; SALT];
    provider.secure_random.fill(&mut salt).map_err(|_| unavailable())?;
    Ok(salt)
}
