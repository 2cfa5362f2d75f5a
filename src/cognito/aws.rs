//! The port by the AWS SDK: one attempt a call, within time limits, and no hidden retries.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error as StdError,
    time::{Duration, SystemTime},
};

use aws_config::{
    BehaviorVersion, ConfigLoader, Region, SdkConfig, retry::RetryConfig, sts::AssumeRoleProvider,
    timeout::TimeoutConfig,
};
use aws_credential_types::{Credentials, provider::ProvideCredentials};
use aws_sdk_cognitoidentityprovider::{
    Client,
    config::{Builder, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
    types::UserStatusType,
};
use aws_types::service_config::ServiceConfigKey;
use tokio::sync::Mutex;

use super::{
    bounded::default_client,
    endpoint::{NotAws, Service},
    genuine::{Body, Genuine, names_only},
    outcome::{Answer, Code},
    port::{Access, Cognito, CredentialsError, Purpose, Reply, Role, Unreadable, User, UserRef},
};
use crate::api::UserStatus;

/// The longest request id that is kept; AWS's have 36 characters.
const MAX_REQUEST_ID: usize = 64;

/// The longest text of a credentials' provider that is kept for the log, in characters.
const MAX_TEXT: usize = 1000;
/// What stands in place of a code that repeats the user's name.
const WITHHELD: &str = "Withheld";
const SHORTEST_NAME: usize = 6;

/// Time limits of calls to AWS.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To connect.
    pub connect: Duration,
    /// For a whole call of AdminResetUserPassword; a Lambda trigger may take 15 s.
    pub call: Duration,
    /// For a whole call of AdminGetUser, and to load credentials.
    pub read: Duration,
}

/// Amazon Cognito through the AWS SDK.
pub struct Aws {
    base: SdkConfig,
    limits: Limits,
    clients: Mutex<HashMap<(Option<Role>, String), Client>>,
    own: Mutex<Option<Credentials>>,
}

/// Credentials loaded for one request, and the client that they are used with.
pub struct AwsSession {
    client: Client,
    credentials: Credentials,
}

impl AwsSession {
    /// What one call is made with, and what its success has to look like.
    fn settings(&self, body: Body) -> Builder {
        Builder::new().credentials_provider(self.credentials.clone()).interceptor(Genuine(body))
    }
}

impl Aws {
    /// Reads the environment, profile and endpoints as every AWS SDK does.
    pub async fn from_environment(limits: Limits) -> Self {
        let version = BehaviorVersion::v2026_01_12();
        let mut loader = aws_config::defaults(version);
        if let Some(client) = default_client(version) {
            loader = loader.http_client(client);
        }
        Self::load(loader, limits).await
    }

    /// Reads from the environment what the loader does not set: an HTTP client that is no network, for one.
    pub async fn load(loader: ConfigLoader, limits: Limits) -> Self {
        let base = loader
            .timeout_config(
                TimeoutConfig::builder().connect_timeout(limits.connect).operation_timeout(limits.read).build(),
            )
            .load()
            .await;
        Self { base, limits, clients: Mutex::default(), own: Mutex::default() }
    }

    /// Checks that no configuration leads calls anywhere but to AWS: environment, profile and web identity alike.
    ///
    /// # Errors
    /// Names the first endpoint that is not the service's own.
    pub fn check_endpoints(&self) -> Result<(), NotAws> {
        let configured = |service: Service| {
            let key = ServiceConfigKey::builder()
                .service_id(service.id())
                .env("AWS_ENDPOINT_URL")
                .profile("endpoint_url")
                .build()
                .ok()?;
            let own = self.base.service_config().and_then(|config| config.load_config(key));
            own.or_else(|| self.base.endpoint_url().map(str::to_owned))
        };
        Service::ALL.into_iter().try_for_each(|service| configured(service).map_or(Ok(()), |url| service.accepts(&url)))
    }

    async fn client(&self, access: &Access) -> Client {
        let key = (access.role.clone(), access.region.clone());
        self.clients.lock().await.entry(key).or_insert_with(|| self.new_client(&access.region)).clone()
    }

    fn new_client(&self, region: &str) -> Client {
        let timeouts =
            TimeoutConfig::builder().connect_timeout(self.limits.connect).operation_timeout(self.limits.call).build();
        let config = Builder::from(&self.base)
            .region(Region::new(region.to_owned()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .build();
        Client::from_conf(config)
    }

    /// The operator's own credentials, loaded again well before they expire.
    async fn own_credentials(&self) -> Result<Credentials, CredentialsError> {
        let mut own = self.own.lock().await;
        if let Some(credentials) = own.as_ref()
            && self.outlive_a_call(credentials)
        {
            return Ok(credentials.clone());
        }
        let provider =
            self.base.credentials_provider().ok_or_else(|| CredentialsError("no provider is configured".into()))?;
        let loaded = self.in_time(provider.provide_credentials()).await?;
        *own = Some(loaded.clone());
        Ok(loaded)
    }

    async fn assume(&self, role: &Role, access: &Access) -> Result<Credentials, CredentialsError> {
        let mut assume = AssumeRoleProvider::builder(&role.arn)
            .configure(&self.base)
            .session_name(session_name(&access.purpose))
            .tags(session_tags(&access.purpose));
        if self.base.region().is_none() {
            assume = assume.region(Region::new(access.region.clone()));
        }
        if let Some(external_id) = &role.external_id {
            assume = assume.external_id(external_id);
        }
        let provider = assume.build_from_provider(self.own_credentials().await?).await;
        self.in_time(provider.provide_credentials()).await
    }

    async fn in_time(
        &self,
        load: impl Future<Output = aws_credential_types::provider::Result>,
    ) -> Result<Credentials, CredentialsError> {
        tokio::time::timeout(self.limits.read, load)
            .await
            .map_err(|_| CredentialsError(format!("no answer within {:?}", self.limits.read)))?
            .map_err(|error| CredentialsError(chain(&error)))
    }

    fn outlive_a_call(&self, credentials: &Credentials) -> bool {
        let margin = self.limits.call + self.limits.read * 4;
        credentials.expiry().is_none_or(|expiry| expiry > SystemTime::now() + margin)
    }
}

impl Cognito for Aws {
    type Session = AwsSession;

    async fn session(&self, access: &Access) -> Result<AwsSession, CredentialsError> {
        let credentials = match &access.role {
            Some(role) => self.assume(role, access).await?,
            None => self.own_credentials().await?,
        };
        Ok(AwsSession { client: self.client(access).await, credentials })
    }

    async fn user(&self, session: &AwsSession, user: UserRef<'_>) -> Result<User, Unreadable> {
        let limits = TimeoutConfig::builder().operation_timeout(self.limits.read).build();
        let answer = session
            .client
            .admin_get_user()
            .user_pool_id(user.pool)
            .username(user.username)
            .customize()
            .config_override(session.settings(Body::Object).timeout_config(limits))
            .send()
            .await
            .map_err(|error| Unreadable(unreadable(&error, user.username)))?;
        let status = answer.user_status().map(user_status).ok_or_else(|| Unreadable("no UserStatus".into()))?;
        let sub = answer.user_attributes().iter().find(|attribute| attribute.name() == "sub");
        Ok(User { status, sub: sub.and_then(|sub| sub.value()).and_then(identifier) })
    }

    async fn reset(
        &self,
        session: &AwsSession,
        user: UserRef<'_>,
        client_metadata: Option<&BTreeMap<String, String>>,
    ) -> Reply {
        let metadata = client_metadata.map(|metadata| metadata.clone().into_iter().collect());
        let result = session
            .client
            .admin_reset_user_password()
            .user_pool_id(user.pool)
            .username(user.username)
            .set_client_metadata(metadata)
            .customize()
            .config_override(session.settings(Body::Nothing))
            .send()
            .await;
        let request_id = |id: Option<&str>| id.filter(|id| !repeats(id, user.username)).and_then(identifier);
        match result {
            Ok(output) => Reply { answer: Answer::Accepted, request_id: request_id(output.request_id()) },
            Err(error) => {
                let answer = without_name(answer(&error), user.username);
                Reply { answer, request_id: request_id(error.request_id()) }
            }
        }
    }
}

/// For CloudTrail. STS takes up to 64 letters, digits and `_=,.@-`: a uid of the API server has 36.
fn session_name(purpose: &Purpose) -> String {
    match purpose {
        Purpose::Reset { uid, .. } => format!("prr-{uid}"),
        Purpose::Trial { uid, .. } => format!("upg-{uid}"),
    }
}

/// For CloudTrail. STS takes keys of up to 128 characters and values of up to 256: names in Kubernetes have 253.
fn session_tags(purpose: &Purpose) -> Vec<(&'static str, &String)> {
    const UID: &str = "cognito-reset.dev/uid";
    match purpose {
        Purpose::Reset { namespace, name, uid } => {
            vec![("cognito-reset.dev/namespace", namespace), ("cognito-reset.dev/name", name), (UID, uid)]
        }
        Purpose::Trial { grant, uid } => vec![("cognito-reset.dev/grant", grant), (UID, uid)],
    }
}

/// What an error of the SDK says about the call. Whatever is not proven is lost.
fn answer<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Answer {
    match error {
        SdkError::ConstructionFailure(_) => Answer::NotSent,
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(error) if never_connected(error) => Answer::NotSent,
            _ => Answer::Lost,
        },
        // The SDK reads a code out of what only begins like an answer, too.
        SdkError::ServiceError(error) if Body::Error.is_in(error.raw()) => {
            let status = error.raw().status().as_u16();
            let code = error.err().code().filter(|code| names_only(error.raw(), code));
            code.map_or(Answer::Lost, |code| Answer::exception(status, code))
        }
        _ => Answer::Lost,
    }
}

/// Whether the failure belongs to setting up a connection, so that no request can have left.
fn never_connected(error: &(dyn StdError + 'static)) -> bool {
    sources(error)
        .filter_map(|error| error.downcast_ref::<hyper_util::client::legacy::Error>())
        .any(hyper_util::client::legacy::Error::is_connect)
}

/// A code that nobody knows may hold anything, also the user's name, which stays in the resources. What it says of the
/// reset is not in its letters.
fn without_name(answer: Answer, username: &str) -> Answer {
    match answer {
        Answer::Exception(Code::Unrecognized(code)) if repeats(&code, username) => {
            Answer::Exception(Code::Unrecognized(WITHHELD.into()))
        }
        answer => answer,
    }
}

/// Whether a text of an answer repeats a user's name, as far as letters and digits of ASCII tell. Names of less than
/// [`SHORTEST_NAME`] of those stand in many texts by chance.
fn repeats(text: &str, username: &str) -> bool {
    let plain = |text: &str| {
        let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
        plain.to_ascii_lowercase()
    };
    let name = plain(username);
    name.len() >= SHORTEST_NAME && plain(text).contains(&name)
}

fn unreadable<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, username: &str) -> String {
    let code = error.code().filter(|code| !repeats(code, username)).and_then(Code::parse);
    code.map_or_else(|| "no readable answer".to_owned(), |code| code.as_str().to_owned())
}

fn sources<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

/// What went wrong and why, cut: a server may have written most of it.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let whole = sources(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    whole.chars().take(MAX_TEXT).collect()
}

/// An identifier from the wire, if it looks like one: letters, digits and hyphens.
fn identifier(text: &str) -> Option<String> {
    let fits = (1..=MAX_REQUEST_ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    fits.then(|| text.to_owned())
}

fn user_status(status: &UserStatusType) -> UserStatus {
    match status {
        UserStatusType::Archived => UserStatus::Archived,
        UserStatusType::Compromised => UserStatus::Compromised,
        UserStatusType::Confirmed => UserStatus::Confirmed,
        UserStatusType::ExternalProvider => UserStatus::ExternalProvider,
        UserStatusType::ForceChangePassword => UserStatus::ForceChangePassword,
        UserStatusType::ResetRequired => UserStatus::ResetRequired,
        UserStatusType::Unconfirmed => UserStatus::Unconfirmed,
        _ => UserStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Code, Purpose, repeats, session_name, session_tags, without_name};

    #[test]
    fn a_user_name_is_found_in_a_code_and_a_code_that_repeats_it_is_withheld() {
        for (text, username, wanted) in [
            ("AliceSmithException", "alice.smith", true),
            ("no-alice-smith", "Alice.Smith@example.com", false),
            ("0f-alicesmithexamplecom-9", "Alice.Smith@example.com", true),
            ("UserBlockedException", "user", false),
            ("BrandNewException", "名前", false),
        ] {
            assert_eq!(repeats(text, username), wanted, "{text} {username}");
        }
        let answer = |code| Answer::Exception(Code::parse(code).unwrap());
        assert_eq!(without_name(answer("NoAliceSmithException"), "alice-smith"), answer("Withheld"));
        assert_eq!(without_name(answer("BrandNewException"), "alice-smith"), answer("BrandNewException"));
        assert_eq!(without_name(answer("UserNotFoundException"), "usernotfound"), answer("UserNotFoundException"));
    }

    #[test]
    fn the_longest_names_of_kubernetes_fit_into_a_session() {
        let longest = format!("{}.{}", "a".repeat(126), "b-0".repeat(42));
        let uid = "00000000-0000-4000-8000-000000000000".to_owned();
        for purpose in [
            Purpose::Reset { namespace: "n".repeat(63), name: longest.clone(), uid: uid.clone() },
            Purpose::Trial { grant: longest, uid },
        ] {
            let name = session_name(&purpose);
            let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
            assert!((2..=64).contains(&name.len()) && name.bytes().all(of_name), "{name}");
            for (key, value) in session_tags(&purpose) {
                assert!(key.len() <= 128 && (1..=256).contains(&value.len()), "{key}={value}");
                let of_tag = |byte: u8| of_name(byte) || b" :/".contains(&byte);
                assert!(key.bytes().chain(value.bytes()).all(of_tag), "{key}={value}");
            }
        }
    }
}
