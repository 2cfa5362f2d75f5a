//! The kubeconfig, by the rules of kubectl.

use std::{env, io::ErrorKind, path::PathBuf};

use kube::config::{Kubeconfig, KubeconfigError};

use super::Target;

/// The source of the connection.
#[derive(Debug)]
pub(crate) enum Source {
    /// A kubeconfig.
    Kubeconfig(Box<Kubeconfig>),
    /// The service account of the Pod in which this process runs.
    Pod,
}

/// The files that were read.
#[derive(Debug, Default)]
struct Files {
    merged: Kubeconfig,
    /// The first file that is not there.
    missing: Option<KubeconfigError>,
}

/// Returns the kubeconfig. In a Pod, its service account is taken if no kubeconfig says anything,
/// and the flags choose none: one that cannot be used could be of another cluster.
///
/// # Errors
/// When the kubeconfig cannot be read or parsed, or, outside a Pod, is not there.
pub(crate) fn source(target: &Target) -> Result<Source, KubeconfigError> {
    let files = match &target.kubeconfig {
        Some(file) => Files { merged: Kubeconfig::read_from(file)?, missing: None },
        None => read(files())?,
    };
    let is_chosen = target.kubeconfig.is_some() || target.context.is_some();
    chosen(files, is_chosen, env::var_os("KUBERNETES_SERVICE_HOST").is_some())
}

fn chosen(files: Files, is_chosen: bool, is_in_pod: bool) -> Result<Source, KubeconfigError> {
    match files {
        Files { merged, .. } if is_empty(&merged) && is_in_pod && !is_chosen => Ok(Source::Pod),
        Files { merged, missing: Some(missing) } if is_empty(&merged) => Err(missing),
        Files { merged, .. } => Ok(Source::Kubeconfig(Box::new(merged))),
    }
}

/// Returns the files of KUBECONFIG, or else the one of the user.
fn files() -> Vec<PathBuf> {
    let named = env::var_os("KUBECONFIG").unwrap_or_default();
    let named: Vec<_> = env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    if named.is_empty() { env::home_dir().map(|home| home.join(".kube/config")).into_iter().collect() } else { named }
}

/// Reads the files that are there. The first one that sets a value decides.
fn read(files: Vec<PathBuf>) -> Result<Files, KubeconfigError> {
    let mut found = Files::default();
    for file in files {
        match Kubeconfig::read_from(file) {
            Ok(kubeconfig) => found.merged = found.merged.merge(kubeconfig)?,
            Err(error) if is_missing(&error) => found.missing = found.missing.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn is_missing(error: &KubeconfigError) -> bool {
    matches!(error, KubeconfigError::ReadConfig(error, _) if error.kind() == ErrorKind::NotFound)
}

fn is_empty(kubeconfig: &Kubeconfig) -> bool {
    let Kubeconfig { current_context, clusters, contexts, auth_infos, .. } = kubeconfig;
    let names_none = current_context.as_ref().is_none_or(String::is_empty);
    names_none && clusters.is_empty() && contexts.is_empty() && auth_infos.is_empty()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_without_a_kubeconfig_the_pod_says_how() {
        let gone = "current-context: gone\n";
        let empty = "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\ncurrent-context: ''\n";
        for (texts, is_chosen, is_in_pod, wanted) in [
            (&[None][..], false, true, "pod"),
            (&[], false, true, "pod"),
            (&[Some("")], false, true, "pod"),
            (&[Some(empty)], false, true, "pod"),
            (&[None, Some(gone)], false, true, "kubeconfig"),
            (&[Some(gone)], false, true, "kubeconfig"),
            (&[Some("contexts: [{name: a}]")], false, true, "kubeconfig"),
            (&[Some("{")], false, true, "error"),
            (&[Some(gone), Some("{")], false, true, "error"),
            (&[None], true, true, "error"),
            (&[None], false, false, "error"),
            (&[Some("")], false, false, "kubeconfig"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let paths = (0..texts.len()).map(|number| folder.path().join(number.to_string()));
            let paths: Vec<_> = paths.collect();
            for (path, text) in paths.iter().zip(texts).filter_map(|(path, text)| Some((path, text.as_ref()?))) {
                fs::write(path, text).expect("a file");
            }
            let found = match read(paths).and_then(|files| chosen(files, is_chosen, is_in_pod)) {
                Ok(Source::Pod) => "pod",
                Ok(Source::Kubeconfig(_)) => "kubeconfig",
                Err(_) => "error",
            };
            assert_eq!(found, wanted, "{texts:?} {is_chosen} {is_in_pod}");
        }
    }
}
