//! Implements the port with the AWS SDK: one attempt per call, with timeouts, and no hidden
//! retries.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error as StdError,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use aws_config::{
    BehaviorVersion, ConfigLoader, Region, SdkConfig, profile, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_credential_types::Credentials;
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_sdk_cognitoidentityprovider::{
    Client,
    config::{Builder, SharedHttpClient, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
    types::{AttributeType, UserStatusType},
};
use aws_types::{
    os_shim_internal::{Env, Fs},
    service_config::ServiceConfigKey,
};
use cognito_reset_api::{FailureCause, UserStatus};
use cognito_reset_core::{
    action::{
        port::{Access, Cognito, Purpose, ReadError, Reply, SessionError, SessionFailure, User, UserRef},
        response::{Class, Code, ResetResponse},
        user_names::UserNames,
    },
    panics::caught,
};
use parking_lot::Mutex;
use tracing::warn;

use crate::{
    credentials::{Loader, OwnCredentials, assume},
    endpoint::{Service, Unusable},
    transport::{self, Witness, cause_of, described, witnessed},
    validate_response::{Body, ValidateResponse, names_only},
};

mod listed;

/// The maximum length of a request id that is kept. Request ids of AWS have 36 characters.
const MAX_REQUEST_ID: usize = 64;
/// The replacement for a code that repeats the user's name.
const WITHHELD: &str = "Withheld";
const SHORTEST_NAME: usize = 6;

const CA_BUNDLE_VARIABLE: &str = "AWS_CA_BUNDLE";

/// The timeouts of calls to AWS.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// The timeout to connect.
    pub connect: Duration,
    /// The timeout of a whole call of AdminResetUserPassword. A Lambda trigger may take 15 s.
    pub call: Duration,
    /// The timeout of a whole call of AdminGetUser or ListUsers, and of loading credentials.
    pub read: Duration,
}

/// Amazon Cognito through the AWS SDK.
pub struct Aws {
    base: SdkConfig,
    http: SharedHttpClient,
    timeouts: Timeouts,
    /// The clients by Region. Each call brings its own credentials.
    clients: Mutex<HashMap<String, Client>>,
    own: OwnCredentials,
    /// The account of these credentials, as their provider names it.
    own_account: Mutex<Option<String>>,
    /// The Region whose STS is called; `None` for the Region of the pool.
    sts_region: Option<String>,
    /// The Region of the endpoint configured for Cognito, if its name contains one.
    endpoint_region: Option<String>,
}

/// The credentials loaded for one request, and the client that uses them.
pub struct AwsSession {
    client: Client,
    credentials: Credentials,
}

impl AwsSession {
    /// Returns the settings of one call, including the check of a successful response.
    fn settings(&self, body: Body) -> Builder {
        Builder::new().credentials_provider(self.credentials.clone()).interceptor(ValidateResponse(body))
    }
}

impl Aws {
    /// Reads the environment, profile, endpoints and certificate authorities as every AWS SDK does.
    ///
    /// # Errors
    /// Returns an error that names the setting to change if one cannot be used.
    pub async fn from_environment(timeouts: Timeouts) -> Result<Self, Unusable> {
        for ignored in ["AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS"] {
            if std::env::var_os(ignored).is_some() {
                warn!("{ignored} is set and has no effect: a reset is never repeated by the SDK");
            }
        }
        let bundle = caught(ca_bundle()).await.map_err(|_| Unusable::Configuration)?;
        let http = transport::client(bundle.as_ref().map(|(source, path)| (*source, path.as_path())))?;
        let loader = move || aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http.clone());
        caught(Self::load(loader, timeouts)).await.map_err(|_| Unusable::Configuration)?
    }

    /// Builds the clients from the loader, and reads other settings from the environment. The
    /// loader may set an HTTP client, so that tests need no network.
    ///
    /// # Errors
    /// Returns an error if no HTTP client can be built.
    pub async fn load(
        loader: impl Fn() -> ConfigLoader + Send + Sync + 'static,
        timeouts: Timeouts,
    ) -> Result<Self, Unusable> {
        // These are set here because reading some values of them from the environment ends the
        // process.
        let settings =
            TimeoutConfig::builder().connect_timeout(timeouts.connect).operation_timeout(timeouts.read).build();
        let loader: Loader =
            Arc::new(move || loader().timeout_config(settings.clone()).retry_config(RetryConfig::standard()));
        let base = loader().load().await;
        let http = match base.http_client() {
            Some(client) => client,
            None => transport::client(None)?,
        };
        let base = base.into_builder().http_client(http.clone()).build();
        let own = OwnCredentials::new(loader, timeouts.read, timeouts.call + timeouts.read * 4);
        let region_of = |service: Service| configured(&base, service).and_then(|url| service.region_of(&url));
        let (endpoint_region, of_sts) = (region_of(Service::Cognito), region_of(Service::Sts));
        let sts_region = region(&base).map(str::to_owned).or(of_sts);
        let (clients, own_account) = (Mutex::default(), Mutex::default());
        Ok(Self { base, http, timeouts, clients, own, own_account, sts_region, endpoint_region })
    }

    /// Checks that calls can be made with the configuration. Unless this is a test, it also checks
    /// that all endpoints belong to AWS, whether environment, profile or web identity set them.
    ///
    /// # Errors
    /// Names the first setting with which nothing could ever be sent, or the first endpoint that
    /// does not belong to the service.
    pub fn check(&self, test_endpoints: bool) -> Result<(), Unusable> {
        let region = region(&self.base);
        if !region.unwrap_or_default().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(Unusable::Region);
        }
        let of_sts = configured(&self.base, Service::Sts).and_then(|url| Service::Sts.region_of(&url));
        if let (Some(of_sts), Some(region)) = (of_sts, region)
            && of_sts != region
        {
            return Err(Unusable::RegionOfSts { endpoint: of_sts, region: region.to_owned() });
        }
        for service in Service::ALL {
            let Some(url) = configured(&self.base, service) else { continue };
            for (is_set, setting) in [
                (self.base.use_fips(), "AWS_USE_FIPS_ENDPOINT"),
                (self.base.use_dual_stack(), "AWS_USE_DUALSTACK_ENDPOINT"),
            ] {
                if is_set == Some(true) {
                    return Err(Unusable::VariantOfEndpoint { setting, endpoint: service.variable() });
                }
            }
            if !test_endpoints {
                service.accepts(&url)?;
            }
        }
        Ok(())
    }

    fn client(&self, region: &str) -> Client {
        self.clients.lock().entry(region.to_owned()).or_insert_with(|| self.new_client(region)).clone()
    }

    fn new_client(&self, region: &str) -> Client {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.timeouts.connect)
            .operation_timeout(self.timeouts.call)
            .build();
        let config = Builder::from(&self.base)
            .region(Region::new(region.to_owned()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .build();
        Client::from_conf(config)
    }

    async fn credentials(&self, access: &Access) -> Result<Credentials, SessionError> {
        let region = self.sts_region.as_ref().unwrap_or(&access.region);
        let own = self.own.get(region).await?;
        if let Some(account) = own.account_id() {
            *self.own_account.lock() = Some(account.as_str().to_owned());
        }
        let Some(role) = &access.role else { return Ok(own) };
        let assumed = assume(&self.base, region, own.clone(), role, &access.purpose, self.timeouts.read).await;
        if matches!(&assumed, Err(error) if error.failure == SessionFailure::CredentialsRefused) {
            self.own.refused(&own);
        }
        assumed
    }

    /// Reads the user once.
    async fn read(&self, session: &AwsSession, user: UserRef<'_>) -> Result<User, ReadError> {
        let timeouts = TimeoutConfig::builder().operation_timeout(self.timeouts.read).build();
        let (http, witness) = witnessed(self.http.clone());
        let call = session
            .client
            .admin_get_user()
            .user_pool_id(user.pool)
            .username(user.username)
            .customize()
            .config_override(session.settings(Body::Object).timeout_config(timeouts).http_client(http))
            .send();
        let output = self.read_result(call, &witness, session, user.username).await?;
        let status = output.user_status().map(user_status).ok_or(ReadError::NoResponse)?;
        Ok(User { status, names: names_of(Some(output.username()), output.user_attributes()) })
    }

    /// Sends a read, and returns its output.
    async fn read_result<T, E: ProvideErrorMetadata + StdError + 'static>(
        &self,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        witness: &Witness,
        session: &AwsSession,
        username: &str,
    ) -> Result<T, ReadError> {
        let error = match caught(call).await {
            Ok(Ok(output)) => return Ok(output),
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        if let Some(cause) = witness.not_sent() {
            return Err(ReadError::NotSent(cause));
        }
        Err(error.map_or(ReadError::NoResponse, |error| self.read_error(&error, session, username)))
    }

    /// Returns the error of a read that may have been sent.
    fn read_error<E: ProvideErrorMetadata + StdError + 'static>(
        &self,
        error: &SdkError<E, HttpResponse>,
        session: &AwsSession,
        username: &str,
    ) -> ReadError {
        match error {
            SdkError::DispatchFailure(failure) => {
                ReadError::Connection(failure.as_connector_error().map_or(FailureCause::Network, |it| cause_of(it)))
            }
            error => match self.invalidate_refused(without_name(classify(error), username), session) {
                ResetResponse::Exception(code) if has_failed(error) && code.class() != Class::Throttled => {
                    ReadError::ServerError(code)
                }
                ResetResponse::Exception(code) => ReadError::Exception(code),
                ResetResponse::Accepted | ResetResponse::NotSent(_) | ResetResponse::NoResponse => {
                    ReadError::NoResponse
                }
            },
        }
    }

    /// Drops the credentials if the response refuses them, and returns the response unchanged.
    fn invalidate_refused(&self, response: ResetResponse, session: &AwsSession) -> ResetResponse {
        if matches!(response.code(), Some(Code::Known(exception)) if exception.refuses_credentials()) {
            self.own.refused(&session.credentials);
        }
        response
    }
}

/// Returns the configured Region. An empty one, which a manifest may contain, counts as none.
fn region(base: &SdkConfig) -> Option<&str> {
    base.region().map(AsRef::as_ref).filter(|region| !region.is_empty())
}

/// Returns the endpoint that the environment or the profile names for a service.
fn configured(base: &SdkConfig, service: Service) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(service.id())
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let own = base.service_config().and_then(|config| config.load_config(key));
    own.or_else(|| base.endpoint_url().map(str::to_owned))
}

/// Returns the file of certificate authorities that the environment or the profile names, and the
/// name of the setting.
async fn ca_bundle() -> Option<(&'static str, PathBuf)> {
    if let Some(path) = std::env::var_os(CA_BUNDLE_VARIABLE).filter(|path| !path.is_empty()) {
        return Some((CA_BUNDLE_VARIABLE, path.into()));
    }
    // A profile that cannot be read is reported when credentials are loaded from it.
    let profiles = profile::load(&Fs::real(), &Env::real(), &EnvConfigFiles::default(), None).await.ok()?;
    Some(("the profile's ca_bundle", profiles.get("ca_bundle")?.into()))
}

impl Cognito for Aws {
    type Session = AwsSession;

    async fn session(&self, access: &Access) -> Result<AwsSession, SessionError> {
        let of_another = |region: &String| *region != access.region && matches!(access.purpose, Purpose::Reset { .. });
        if let Some(region) = self.endpoint_region.as_ref().filter(|region| of_another(region)) {
            let detail = format!("the endpoint is of {region} and the pool of {}", access.region);
            return Err(SessionError { failure: SessionFailure::RegionNotServed, detail });
        }
        let credentials = self.credentials(access).await?;
        Ok(AwsSession { client: self.client(&access.region), credentials })
    }

    async fn user(&self, session: &AwsSession, user: UserRef<'_>) -> Result<User, ReadError> {
        match self.read(session, user).await {
            // A connection that the server has closed while idle fails at its next use. A read may
            // be repeated.
            Err(ReadError::NotSent(_) | ReadError::Connection(_)) => self.read(session, user).await,
            read => read,
        }
    }

    async fn listed_user(&self, session: &AwsSession, user: UserRef<'_>) -> Result<User, ReadError> {
        self.find(session, user).await
    }

    async fn reset(
        &self,
        session: &AwsSession,
        user: UserRef<'_>,
        client_metadata: Option<&BTreeMap<String, String>>,
    ) -> Reply {
        let metadata = client_metadata.map(|metadata| metadata.clone().into_iter().collect());
        let (http, witness) = witnessed(self.http.clone());
        let call = session
            .client
            .admin_reset_user_password()
            .user_pool_id(user.pool)
            .username(user.username)
            .set_client_metadata(metadata)
            .customize()
            .config_override(session.settings(Body::Nothing).http_client(http))
            .send();
        let result = caught(call).await;
        let request_id = |id: Option<&str>| id.filter(|id| !repeats(id, user.username)).and_then(identifier);
        match result {
            Ok(Ok(output)) => {
                Reply { request_id: request_id(output.request_id()), ..Reply::of(ResetResponse::Accepted) }
            }
            Ok(Err(error)) => {
                if let Some(cause) = witness.not_sent() {
                    let detail = without_name_in(described(&error), user.username);
                    warn!(cause = cause.in_words(), %detail, "a reset could not be sent");
                    return Reply::of(ResetResponse::NotSent(cause));
                }
                let response = self.invalidate_refused(without_name(classify(&error), user.username), session);
                let retry_after = error.raw_response().and_then(retry_after);
                Reply { response, request_id: request_id(error.request_id()), retry_after }
            }
            Err(_) => Reply::of(witness.not_sent().map_or(ResetResponse::NoResponse, ResetResponse::NotSent)),
        }
    }

    fn own_account(&self) -> Option<String> {
        self.own_account.lock().clone()
    }
}

/// Returns the pause in the header Retry-After, if it is a number of seconds. The other form, a
/// date, depends on the clocks of both sides, and no service of AWS sends it.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    response.headers().get("retry-after")?.trim().parse().ok().map(Duration::from_secs)
}

/// Classifies an error of the SDK for a call that may have been sent. An unverified result is
/// `NoResponse`.
fn classify<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> ResetResponse {
    match error {
        // The SDK also reads a code from a body that only begins like a response.
        SdkError::ServiceError(error) if Body::Error.is_in(error.raw()) => {
            let status = error.raw().status().as_u16();
            let code = error.err().code().filter(|code| names_only(error.raw(), code));
            code.map_or(ResetResponse::NoResponse, |code| ResetResponse::exception(status, code))
        }
        _ => ResetResponse::NoResponse,
    }
}

/// Returns true if the response has a status of 5xx.
fn has_failed<E>(error: &SdkError<E, HttpResponse>) -> bool {
    error.raw_response().is_some_and(|response| response.status().is_server_error())
}

/// Replaces an unknown code that contains the user's name, because that name must stay in the
/// resources. The code does not change the classification.
fn without_name(response: ResetResponse, username: &str) -> ResetResponse {
    match response {
        ResetResponse::Exception(Code::Unrecognized(code)) if repeats(&code, username) => {
            ResetResponse::Exception(Code::Unrecognized(WITHHELD.into()))
        }
        response => response,
    }
}

/// Returns true if a text of a response repeats a user's name, comparing only ASCII letters and
/// digits. Names with fewer than [`SHORTEST_NAME`] of these occur in many texts by chance.
fn repeats(text: &str, username: &str) -> bool {
    let plain = |text: &str| {
        let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
        plain.to_ascii_lowercase()
    };
    let name = plain(username);
    name.len() >= SHORTEST_NAME && plain(text).contains(&name)
}

/// Returns a text for the log, or a replacement if it repeats the user's name.
fn without_name_in(text: String, username: &str) -> String {
    if text.contains(username) || repeats(&text, username) { WITHHELD.to_owned() } else { text }
}

/// Returns an identifier from a response if it consists of letters, digits and hyphens.
fn identifier(text: &str) -> Option<String> {
    let fits = (1..=MAX_REQUEST_ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    fits.then(|| text.to_owned())
}

/// Returns the names of a user with these attributes.
fn names_of(username: Option<&str>, attributes: &[AttributeType]) -> UserNames {
    let attribute = |name: &str| {
        let found = attributes.iter().find(|attribute| attribute.name() == name);
        found.and_then(|attribute| attribute.value()).map(str::to_owned)
    };
    UserNames {
        username: username.filter(|username| !username.is_empty()).map(str::to_owned),
        sub: attribute("sub").as_deref().and_then(identifier),
        email: attribute("email"),
        phone_number: attribute("phone_number"),
        preferred_username: attribute("preferred_username"),
    }
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
mod tests;
