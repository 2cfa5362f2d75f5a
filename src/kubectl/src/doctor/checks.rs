//! The checks. Each is a pure function of what was read, and returns its findings.

pub mod cluster;
pub mod grants;
pub mod identity;
pub mod operator;
pub mod policies;
pub mod requests;

use super::{finding::Finding, words::list};

/// The way to install the CRDs.
const INSTALL_CRDS: &str =
    "install the CRDs (Helm: set crds.enabled; kustomize: kubectl apply -k deploy/kustomize/crds)";
/// The permission to read what only administrators of the operator's namespace read.
const READS_THE_OPERATOR: &str = "the ClusterRole view, bound in the operator's namespace (--operator-namespace),";
/// The permission to read the objects of this project.
const AUDITOR: &str = "the ClusterRole cognito-reset-auditor";

/// Reports objects that cannot be parsed, by name.
fn unreadable(subject: &'static str, names: &[String]) -> Option<Finding> {
    let text = || format!("this plugin cannot parse {}", list(names));
    (!names.is_empty()).then(|| Finding::warn(subject, text(), "use the plugin of the operator's version"))
}
