//! The connection to the cluster, by kubectl's own flags.

pub(crate) mod kubeconfig;
mod patience;
mod proxy;
mod tunnel;

use std::{io::IsTerminal as _, path::PathBuf, time::Duration};

use clap::Args;
use cognito_reset_api::PasswordResetRecord;
use jiff::{Span, SpanRelativeTo};
use kube::{
    Api, Client, Config,
    client::ClientBuilder,
    config::{ExecInteractiveMode, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tower::{buffer::BufferLayer, retry::RetryLayer};

pub use self::patience::NOTICED;
use self::{kubeconfig::Source, patience::Patience, proxy::Variables};
use crate::{failure::Failure, request::Request, shell::quoted};

/// The most requests that wait for the client at a time.
const ABREAST: usize = 1_024;

/// The flags that kubectl has as well, with the same meaning.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster")]
pub struct Target {
    /// The kubeconfig file, instead of KUBECONFIG and ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The namespace, instead of that of the context
    #[arg(long, short, global = true, value_name = "NAME", value_parser = namespace)]
    pub namespace: Option<String>,
    /// The user to impersonate
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// A group to impersonate; may be repeated
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "as_user")]
    pub as_group: Vec<String>,
    /// The time for one request to the API server, such as 10s; 0 means no limit
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, default_value = "0")]
    pub request_timeout: Duration,
}

impl Target {
    /// Refuses `-n`, for a command that is about the whole cluster, for this reason.
    ///
    /// # Errors
    /// When the flag is there.
    pub fn refuse_namespace(&self, reason: &str) -> Result<(), Failure> {
        match &self.namespace {
            Some(_) => Err(Failure::usage(format!("-n: {reason}: leave -n out"))),
            None => Ok(()),
        }
    }

    /// Returns the namespace of the flags, or that of the context.
    ///
    /// # Errors
    /// When neither names one.
    pub async fn local_namespace(&self) -> Result<String, Failure> {
        match &self.namespace {
            Some(namespace) => Ok(namespace.clone()),
            None => Cluster::connect(self).await.map(|cluster| cluster.namespace).map_err(|failure| Failure {
                message: format!("{failure}; with -n no kubeconfig is needed"),
                ..failure
            }),
        }
    }
}

/// Parses the name of a namespace, so that no other path of the API server is read.
fn namespace(text: &str) -> Result<String, String> {
    let is_part = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
    if (1..=63).contains(&text.len()) && text.chars().all(is_part) && !text.starts_with('-') && !text.ends_with('-') {
        return Ok(text.to_owned());
    }
    Err("the name of a namespace has up to 63 lower case letters, digits and `-`".to_owned())
}

/// Parses a duration with a unit, such as 90s, 5m, 12h or 7d, or a number of seconds. A day has 24
/// hours.
///
/// # Errors
/// When the text is neither.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let parsed: Option<Span> = text.parse().ok();
    let parsed = parsed.and_then(|it| it.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    parsed.and_then(|it| it.try_into().ok()).ok_or_else(|| format!("not a duration such as 90s, 5m or 12h: {text:?}"))
}

/// A connected cluster.
#[derive(Clone)]
pub struct Cluster {
    /// The client.
    pub client: Client,
    /// The namespace of the command.
    pub namespace: String,
    /// The host of the API server, with its port.
    pub server: String,
    /// The flags that lead to the same cluster and namespace, for the commands that are shown to
    /// the user.
    pub flags: String,
    /// The same without the namespace.
    pub cluster_flags: String,
    /// The same for commands of other people: without the user whom this one impersonates.
    pub shared_flags: String,
}

impl Cluster {
    /// Connects as the flags say. Nothing is sent yet.
    ///
    /// # Errors
    /// When there is no usable kubeconfig, or no such context.
    pub async fn connect(target: &Target) -> Result<Self, Failure> {
        let config = match kubeconfig::source(target).map_err(|error| Failure::of_kubeconfig(&error))? {
            Source::Kubeconfig(kubeconfig) => of_kubeconfig(*kubeconfig, target.context.as_deref())
                .await
                .map_err(|error| Failure::of_kubeconfig(&error))?,
            Source::Pod => Config::incluster().map_err(|error| Failure::of_pod(&error))?,
        };
        Self::with(config, target)
    }

    fn with(mut config: Config, target: &Target) -> Result<Self, Failure> {
        impersonate(&mut config, target);
        keep_input(&mut config);
        // `Patience` waits instead, and says so.
        config.default_retry = false;
        if !target.request_timeout.is_zero() {
            config.read_timeout = Some(target.request_timeout);
        }
        let namespace = target.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server =
            config.cluster_url.authority().map(|it| it.as_str().rsplit('@').next().unwrap_or_default().to_owned());
        let client = client(config, Patience::new(target.request_timeout));
        Ok(Self {
            client: client.map_err(|error| Failure::of_connection(&error))?,
            flags: flags(target, Some(&namespace)),
            cluster_flags: flags(target, None),
            shared_flags: flags(&shared(target), None),
            namespace,
            server: server.unwrap_or_default(),
        })
    }

    /// Returns the requests of the command's namespace.
    #[must_use]
    pub fn requests(&self) -> Api<Request> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Returns the requests of all namespaces.
    #[must_use]
    pub fn all_requests(&self) -> Api<Request> {
        Api::all(self.client.clone())
    }

    /// Returns the records.
    #[must_use]
    pub fn records(&self) -> Api<PasswordResetRecord> {
        Api::all(self.client.clone())
    }
}

fn client(mut config: Config, patience: Patience) -> Result<Client, kube::Error> {
    if let Some(proxy) = config.proxy_url.take() {
        return tunnel::client(&config, &proxy, patience);
    }
    let stack = ClientBuilder::try_from(config)?;
    Ok(stack.with_layer(&BufferLayer::new(ABREAST)).with_layer(&RetryLayer::new(patience)).build())
}

async fn of_kubeconfig(kubeconfig: Kubeconfig, context: Option<&str>) -> Result<Config, KubeconfigError> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let proxy = proxy::of(&kubeconfig, context);
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    let proxy = proxy::proxy(proxy.as_deref(), &Variables::of_environment(), &config.cluster_url);
    config.proxy_url = proxy.map_err(KubeconfigError::ParseProxyUrl)?;
    Ok(config)
}

/// Acts as another user. Without the flag, the kubeconfig decides whom its user impersonates.
fn impersonate(config: &mut Config, target: &Target) {
    if let Some(user) = &target.as_user {
        config.auth_info.impersonate = Some(user.clone());
        config.auth_info.impersonate_groups = None;
    }
    if !target.as_group.is_empty() {
        config.auth_info.impersonate_groups = Some(target.as_group.clone());
    }
}

/// Keeps standard input, such as a list of users, from the program that gets the credentials, as
/// kubectl does: it asks a person only in a terminal.
fn keep_input(config: &mut Config) {
    if let Some(exec) = config.auth_info.exec.as_mut().filter(|_| !std::io::stdin().is_terminal()) {
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
    }
}

/// Returns the target for another person. The kubeconfig stays: where the file is missing, the
/// command fails, and without the flag it could reach another cluster.
fn shared(target: &Target) -> Target {
    Target { as_user: None, as_group: Vec::new(), ..target.clone() }
}

/// Returns the flags of the same target, as they are typed.
fn flags(target: &Target, namespace: Option<&str>) -> String {
    let kubeconfig = target.kubeconfig.as_ref().map(|file| ("--kubeconfig", file.display().to_string()));
    let context = target.context.iter().map(|context| ("--context", context.clone()));
    let namespace = namespace.map(|namespace| ("-n", namespace.to_owned()));
    let user = target.as_user.iter().map(|user| ("--as", user.clone()));
    let groups = target.as_group.iter().map(|group| ("--as-group", group.clone()));
    let flags = kubeconfig.into_iter().chain(context).chain(namespace).chain(user).chain(groups);
    flags.map(|(flag, value)| format!("{flag} {}", quoted(&value))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_a_target_lead_to_it_again() {
        assert_eq!(flags(&Target::default(), Some("default")), "-n default");
        let target = Target {
            kubeconfig: Some("/my files/config".into()),
            context: Some("dev".into()),
            as_user: Some("jane".into()),
            as_group: vec!["a".into(), "b c".into()],
            ..Target::default()
        };
        let wanted = "--kubeconfig '/my files/config' --context dev -n support --as jane --as-group a --as-group 'b c'";
        assert_eq!(flags(&target, Some("support")), wanted);
        assert_eq!(flags(&shared(&target), None), "--kubeconfig '/my files/config' --context dev");
    }

    #[test]
    fn a_namespace_is_one_word_of_a_path() {
        for (text, is_one) in [
            ("support", true),
            ("eu-1", true),
            ("", false),
            ("No Name", false),
            ("a/b", false),
            ("..", false),
            ("-a", false),
            ("a-", false),
        ] {
            assert_eq!(namespace(text).is_ok(), is_one, "{text}");
        }
        assert!(namespace(&"a".repeat(63)).is_ok() && namespace(&"a".repeat(64)).is_err());
    }

    #[test]
    fn a_duration_has_a_unit_or_is_of_seconds() {
        for (text, seconds) in [
            ("90", Some(90)),
            ("90s", Some(90)),
            ("12h", Some(43_200)),
            ("7d", Some(604_800)),
            ("1d12h", Some(129_600)),
            ("-1s", None),
            ("1y", None),
            ("soon", None),
        ] {
            assert_eq!(duration(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
