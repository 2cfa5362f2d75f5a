//! Loads the credentials of calls: the operator's own from the SDK's default chain, and those of
//! the roles that grants name.

use std::{
    collections::HashMap,
    error::Error as StdError,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{ConfigLoader, Region, SdkConfig, imds::client::error::ImdsError, sts::AssumeRoleProvider};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError},
};
use aws_sdk_cognitoidentityprovider::error::{ConnectorError, ProvideErrorMetadata};
use aws_sdk_sts::operation::{
    assume_role::AssumeRoleError, assume_role_with_web_identity::AssumeRoleWithWebIdentityError,
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use cognito_reset_api::{Exception, SessionTags};
use cognito_reset_core::{
    action::port::{Purpose, Role, SessionError, SessionFailure},
    panics::caught,
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;

use crate::transport::{cause_of, described, sources};

/// The maximum length of a request's name in a session tag. STS limits the packed size of all tags,
/// and reports the excess only afterwards. The uid identifies the request.
const MAX_TAG: usize = 64;
/// The maximum length of a namespace in Kubernetes.
const LONGEST_NAMESPACE: usize = 63;

/// The codes with which STS refuses the credentials of the caller, in addition to those that
/// Cognito uses too.
const STS_REFUSALS: [&str; 2] = ["InvalidClientTokenId", "SignatureDoesNotMatch"];

/// Builds the SDK's configuration again, and reads its files again.
pub(super) type Loader = Arc<dyn Fn() -> ConfigLoader + Send + Sync>;

type Loading = Shared<BoxFuture<'static, Result<Credentials, SessionError>>>;

/// The credentials of the operator itself, by the Region of the STS that may be called for them.
///
/// Each load runs the whole default chain again, so a corrected file takes effect. Requests that
/// need credentials while they are being loaded wait for that load.
pub(super) struct OwnCredentials {
    loader: Loader,
    timeout: Duration,
    /// The minimum time for which the credentials have to stay valid.
    margin: Duration,
    by_region: Mutex<HashMap<String, Slot>>,
}

enum Slot {
    Loading(Loading),
    Loaded(Credentials),
}

impl OwnCredentials {
    pub(super) fn new(loader: Loader, timeout: Duration, margin: Duration) -> Self {
        Self { loader, timeout, margin, by_region: Mutex::default() }
    }

    /// Returns the cached credentials, or loads them. They are loaded again well before they
    /// expire.
    pub(super) async fn get(&self, region: &str) -> Result<Credentials, SessionError> {
        let loading = match self.by_region.lock().entry(region.to_owned()).or_insert_with(|| self.begin(region)) {
            Slot::Loaded(credentials) if self.outlive_a_call(credentials) => return Ok(credentials.clone()),
            Slot::Loading(loading) => loading.clone(),
            slot @ Slot::Loaded(_) => {
                let loading = self.load(region);
                *slot = Slot::Loading(loading.clone());
                loading
            }
        };
        let loaded = loading.clone().await;
        let mut by_region = self.by_region.lock();
        if matches!(by_region.get(region), Some(Slot::Loading(current)) if current.ptr_eq(&loading)) {
            match &loaded {
                Ok(credentials) => by_region.insert(region.to_owned(), Slot::Loaded(credentials.clone())),
                Err(_) => by_region.remove(region),
            };
        }
        loaded
    }

    fn begin(&self, region: &str) -> Slot {
        Slot::Loading(self.load(region))
    }

    fn load(&self, region: &str) -> Loading {
        let (loader, region) = (Arc::clone(&self.loader), Region::new(region.to_owned()));
        let load = async move {
            let config = loader().region(region).load().await;
            let provider = config.credentials_provider().ok_or_else(CredentialsError::not_loaded_no_source)?;
            provider.provide_credentials().await
        };
        in_time(self.timeout, load).boxed().shared()
    }

    /// Drops these credentials because AWS refuses them, regardless of their expiry.
    pub(super) fn refused(&self, credentials: &Credentials) {
        let is_it = |slot: &Slot| match slot {
            Slot::Loaded(known) => {
                known.access_key_id() == credentials.access_key_id()
                    && known.session_token() == credentials.session_token()
            }
            Slot::Loading(_) => false,
        };
        self.by_region.lock().retain(|_, slot| !is_it(slot));
    }

    fn outlive_a_call(&self, credentials: &Credentials) -> bool {
        credentials.expiry().is_none_or(|expiry| expiry > SystemTime::now() + self.margin)
    }
}

/// Assumes a role for this purpose at the STS of this Region, with the operator's own credentials.
pub(super) async fn assume(
    base: &SdkConfig,
    region: &str,
    own: Credentials,
    role: &Role,
    purpose: &Purpose,
    timeout: Duration,
) -> Result<Credentials, SessionError> {
    let mut assume = AssumeRoleProvider::builder(&role.arn)
        .configure(base)
        .region(Region::new(region.to_owned()))
        .session_name(session_name(purpose));
    let tags = session_tags(purpose, role.session_tags);
    if !tags.is_empty() {
        assume = assume.tags(tags);
    }
    if let Some(external_id) = &role.external_id {
        assume = assume.external_id(external_id);
    }
    in_time(timeout, async { assume.build_from_provider(own).await.provide_credentials().await }).await
}

/// Loads credentials that a request can carry, with a timeout.
async fn in_time(
    timeout: Duration,
    load: impl Future<Output = aws_credential_types::provider::Result>,
) -> Result<Credentials, SessionError> {
    let failed = |failure, detail| SessionError { failure, detail };
    let Ok(loaded) = tokio::time::timeout(timeout, caught(load)).await else {
        return Err(failed(SessionFailure::NoResponse, format!("not within {timeout:?}")));
    };
    let credentials = loaded
        .map_err(|panicked| failed(SessionFailure::Other, panicked.to_string()))?
        .map_err(|error| failed(failure_of(&error), described(&error)))?;
    match misfit(&credentials) {
        None => Ok(credentials),
        Some(misfit) => Err(failed(SessionFailure::Malformed, misfit)),
    }
}

/// Returns the part of the credentials that no header can carry, so that no request could be built.
/// The SDK assumes that there is none. The text names the part and not its value.
fn misfit(credentials: &Credentials) -> Option<String> {
    let texts = [
        ("access key id", Some(credentials.access_key_id())),
        ("secret access key", Some(credentials.secret_access_key())),
        ("session token", credentials.session_token()),
    ];
    texts.into_iter().find_map(|(name, text)| {
        let text = text?;
        if text.is_empty() {
            return Some(format!("the {name} is empty"));
        }
        let place = text.chars().position(|character| !character.is_ascii_graphic())?;
        let (place, length) = (place + 1, text.chars().count());
        Some(format!(
            "character {place} of {length} of the {name} is a space, a line break or not ASCII; a line break at the end comes from echo without -n"
        ))
    })
}

fn failure_of(error: &CredentialsError) -> SessionFailure {
    let code = sources(error).find_map(|error| {
        let of_role = error.downcast_ref::<AssumeRoleError>().and_then(ProvideErrorMetadata::code);
        of_role.or_else(|| error.downcast_ref::<AssumeRoleWithWebIdentityError>().and_then(ProvideErrorMetadata::code))
    });
    if let Some(code) = code {
        return failure_of_code(code);
    }
    if let Some(connector) = sources(error).find_map(|error| error.downcast_ref::<ConnectorError>()) {
        return SessionFailure::Connection(cause_of(connector));
    }
    match error {
        CredentialsError::CredentialsNotLoaded(_) => SessionFailure::NoCredentials,
        CredentialsError::ProviderTimedOut(_) => SessionFailure::NoResponse,
        CredentialsError::InvalidConfiguration(_) => SessionFailure::Other,
        _ if sources(error).any(has_no_response) => SessionFailure::NoResponse,
        _ => SessionFailure::Other,
    }
}

/// Returns true for the error of an issuer that did not respond in time: STS, an HTTP endpoint for
/// credentials, or the metadata service of EC2.
fn has_no_response(error: &(dyn StdError + 'static)) -> bool {
    is_timeout::<AssumeRoleError>(error)
        || is_timeout::<AssumeRoleWithWebIdentityError>(error)
        || is_timeout::<CredentialsError>(error)
        || matches!(error.downcast_ref(), Some(ImdsError::IoError(_)))
}

fn is_timeout<E: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    matches!(error.downcast_ref::<SdkError<E, HttpResponse>>(), Some(SdkError::TimeoutError(_)))
}

/// Classifies a failure of STS by its code.
fn failure_of_code(code: &str) -> SessionFailure {
    if refuses_credentials(code) {
        return SessionFailure::CredentialsRefused;
    }
    match code {
        "AccessDenied" | "AccessDeniedException" => SessionFailure::AccessDenied,
        "PackedPolicyTooLarge" | "PackedPolicyTooLargeException" => SessionFailure::TagsTooLarge,
        _ => SessionFailure::Rejected,
    }
}

fn refuses_credentials(code: &str) -> bool {
    STS_REFUSALS.contains(&code) || Exception::from_code(code).is_some_and(Exception::refuses_credentials)
}

/// Returns the session name, for CloudTrail. STS accepts up to 64 letters, digits and `_=,.@-`. A
/// uid of the API server has 36 characters.
fn session_name(purpose: &Purpose) -> String {
    match purpose {
        Purpose::Reset { uid, .. } => format!("prr-{uid}"),
        Purpose::RoleCheck { uid, .. } => format!("role-check-{uid}"),
    }
}

/// Returns the session tags, for CloudTrail. A role check uses tags as long as the longest of a
/// reset, so it fails if a reset would.
fn session_tags(purpose: &Purpose, which: SessionTags) -> Vec<(&'static str, String)> {
    const UID: &str = "cognito-reset.dev/uid";
    let padded = |text: &str, length: usize| format!("{:-<length$}", cut(text, length));
    let (namespace, name, uid) = match purpose {
        Purpose::Reset { namespace, name, uid } => (namespace.clone(), cut(name, MAX_TAG), uid.clone()),
        Purpose::RoleCheck { grant, uid } => (padded(grant, LONGEST_NAMESPACE), padded(grant, MAX_TAG), uid.clone()),
    };
    match which {
        SessionTags::Full => {
            vec![("cognito-reset.dev/namespace", namespace), ("cognito-reset.dev/name", name), (UID, uid)]
        }
        SessionTags::Uid => vec![(UID, uid)],
        SessionTags::None => Vec::new(),
    }
}

fn cut(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

#[cfg(test)]
mod tests;
