//! The configuration of the container, as a runtime derives it from the Pod and the image.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::built::Tools;

const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The folder from which runc starts the container: its files, and those that a kubelet mounts.
#[derive(Debug)]
pub(super) struct Bundle<'a> {
    pub(super) folder: &'a Path,
    pub(super) tools: &'a Tools,
}

impl Bundle<'_> {
    pub(super) fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.file(name);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        Ok(fs::write(path, text)?)
    }

    /// Writes the token of the account, as a projected volume has it.
    pub(super) fn account(&self, token: &str, authority: &str, namespace: &str) -> Result<()> {
        [("token", token), ("ca.crt", authority), ("namespace", namespace)]
            .iter()
            .try_for_each(|(name, text)| self.write(&format!("account/{name}"), text))
    }

    /// Writes what a kubelet writes about names of hosts.
    pub(super) fn names(&self, server: &str) -> Result<()> {
        self.write("hosts", "127.0.0.1 localhost\n")?;
        let search = "cognito-reset-system.svc.cluster.local svc.cluster.local cluster.local";
        self.write("resolv.conf", &format!("search {search}\nnameserver {server}\noptions ndots:5\n"))
    }

    /// Writes the configuration by the specification of the Pod and the configuration of the image.
    /// The container uses the host's network, in which the servers of the test are.
    pub(super) fn configure(&self, pod: &Value, image: &Value) -> Result<()> {
        let container = &pod["containers"][0];
        let (whole, own) = (&pod["securityContext"], &container["securityContext"]);
        assert_eq!(own["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(own["capabilities"], json!({ "drop": ["ALL"] }));
        let mount = |source: &str, destination: &str| {
            let source = self.file(source);
            json!({ "destination": destination, "type": "bind", "source": source, "options": ["rbind", "ro"] })
        };
        let namespaces: Vec<_> = ["pid", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind })).to_vec();
        let none: Value = ["bounding", "effective", "permitted", "inheritable", "ambient"]
            .map(|set| (set.to_owned(), json!([])))
            .into_iter()
            .collect::<serde_json::Map<_, _>>()
            .into();
        let config = json!({
            "ociVersion": "1.2.0",
            "process": {
                "user": { "uid": whole["runAsUser"], "gid": whole["runAsGroup"] },
                "args": image["config"]["Entrypoint"],
                "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "cwd": "/",
                "capabilities": none,
                "noNewPrivileges": own["allowPrivilegeEscalation"] == false,
            },
            "root": { "path": "rootfs", "readonly": own["readOnlyRootFilesystem"] },
            "hostname": "operator",
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
                mount("hosts", "/etc/hosts"),
                mount("resolv.conf", "/etc/resolv.conf"),
                mount("account", ACCOUNT),
            ],
            "linux": { "namespaces": namespaces, "seccomp": self.tools.seccomp()? },
        });
        self.write("config.json", &config.to_string())
    }
}

/// Returns the process id of the program in the container, whose first process has this id.
pub(super) fn inside(outermost: u32, program: &str) -> Result<u32> {
    let mut process = outermost;
    while !fs::read_to_string(format!("/proc/{process}/cmdline"))?.starts_with(program) {
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
        // runc's threads may be the parents, so each of them is looked at.
        let of_threads = || {
            let tasks = fs::read_dir(format!("/proc/{process}/task")).ok()?;
            let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
            lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).next()
        };
        let child = children.split_whitespace().next().map(str::to_owned).or_else(of_threads);
        process = child.with_context(|| format!("{process} has no child, and {program} does not run"))?.parse()?;
    }
    Ok(process)
}
