//! Makes the call of a row with the operator's own client, and reads the user before and after.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use aws_credential_types::{Credentials, provider::ProvideCredentials as _};
use cognito_reset_api::{SessionTags, UserStatus};
use cognito_reset_aws::client::{Aws, AwsSession};
use cognito_reset_core::action::port::{self, Access, Cognito as _, Purpose, ReadError, User, UserRef};
use tokio::time::Instant;

use crate::{
    account::Account,
    compare::{Observation, Seen, Trace},
    iam::Refusal,
    made::{Made, Part},
    plan::{Resource, Role, RunId},
    rows::{Pool, Row, Way},
    stop::Stop,
};

/// Shorter than the trigger sleeps that is asked to be slow.
const IMPATIENT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(1);
/// The time that IAM may take until a new role can be assumed.
const PROPAGATION: Duration = Duration::from_secs(60);
/// A port that is reserved, and on which nothing listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A key that has the form of one, and that AWS did not issue.
const NO_KEY: &str = "AKIAVERIFYAWSNOTAKEY";
const NO_SECRET: &str = "not the secret of any key";

/// The circumstances that the rows share.
pub(crate) struct Trial<'a> {
    pub(crate) account: &'a Account,
    pub(crate) run: &'a RunId,
    pub(crate) made: &'a Made,
    pub(crate) stop: &'a Stop,
    /// The time for which a user is read after a call.
    pub(crate) watch: Duration,
}

impl Trial<'_> {
    /// Tries a row.
    ///
    /// # Errors
    /// Returns a [`Refusal`] if the row cannot be tried.
    pub(crate) async fn row(&self, row: &Row) -> Result<Observation> {
        self.stop.check()?;
        for part in [Part::Resource(Resource::Pool(row.pool)), Part::User(row.id)] {
            if let Some(code) = self.made.refusal(part) {
                return Err(Refusal { operation: "the preparation", code }.into());
            }
        }
        let pool = match self.made.handle(Resource::Pool(row.pool)) {
            Some(pool) => pool,
            None if row.pool == Pool::Missing => format!("{}_verify{}", self.account.region, self.run),
            None => return Err(Refusal { operation: "the preparation", code: "NotMade".into() }.into()),
        };
        let username = self.run.user(row);
        let user = UserRef { pool: &pool, username: &username };
        let reader = self.session(&self.account.operator, None).await?;
        let before = self.get(&reader, user).await;
        let other = self.other_client(row.way).await?;
        let caller = other.as_ref().unwrap_or(&self.account.operator);
        let session = self.session(caller, self.role(row.way)).await?;
        let metadata = behaviour(row.way).map(|value| BTreeMap::from([("behaviour".to_owned(), value.to_owned())]));
        let start = Instant::now();
        let reply = caller.reset(&session, user, metadata.as_ref()).await;
        let took = start.elapsed();
        let (get, list) = self.watched(&reader, user).await?;
        Ok(Observation { response: reply.response, took, before, get, list })
    }

    /// Returns the client of a way that is not the operator's usual one.
    async fn other_client(&self, way: Way) -> Result<Option<Aws>> {
        Ok(match way {
            Way::Plain | Way::Trigger(_) | Way::RoleWithoutPermission => None,
            Way::Impatient => Some(self.account.impatient(IMPATIENT).await?),
            Way::NoConnection => Some(self.account.with(|loader| loader.endpoint_url(NOWHERE)).await?),
            Way::UnknownKey => {
                Some(self.with_key(Credentials::new(NO_KEY, NO_SECRET, None, None, "verify-aws")).await?)
            }
            Way::WrongSecret => {
                let none = || Refusal { operation: "loading credentials", code: "NoCredentials".into() };
                let provider = self.account.config.credentials_provider().ok_or_else(none)?;
                let own = provider.provide_credentials().await.map_err(|_| none())?;
                let (key, token) = (own.access_key_id(), own.session_token().map(str::to_owned));
                Some(self.with_key(Credentials::new(key, NO_SECRET, token, None, "verify-aws")).await?)
            }
        })
    }

    async fn with_key(&self, credentials: Credentials) -> Result<Aws> {
        self.account.with(move |loader| loader.credentials_provider(credentials.clone())).await
    }

    fn role(&self, way: Way) -> Option<port::Role> {
        let handle = match way {
            Way::RoleWithoutPermission => self.made.handle(Resource::Role(Role::Caller))?,
            Way::Plain | Way::Trigger(_) | Way::Impatient | Way::NoConnection | Way::UnknownKey | Way::WrongSecret => {
                return None;
            }
        };
        Some(port::Role { arn: handle, external_id: None, session_tags: SessionTags::None })
    }

    /// Loads credentials as the operator does. A new role cannot be assumed for some seconds.
    async fn session(&self, client: &Aws, role: Option<port::Role>) -> Result<AwsSession> {
        let purpose = Purpose::RoleCheck { grant: "verify-aws".into(), uid: self.run.to_string() };
        let is_new = role.is_some();
        let access = Access { region: self.account.region.clone(), role, purpose };
        let deadline = Instant::now() + PROPAGATION;
        loop {
            match client.session(&access).await {
                Ok(session) => return Ok(session),
                Err(_) if is_new && Instant::now() < deadline => self.stop.pause(PAUSE).await?,
                Err(error) => {
                    let code = error.failure.as_str().to_owned();
                    return Err(Refusal { operation: "loading credentials", code }.into());
                }
            }
        }
    }

    async fn get(&self, session: &AwsSession, user: UserRef<'_>) -> Seen {
        seen(self.account.operator.user(session, user).await)
    }

    /// Reads the user by both operations, until both find RESET_REQUIRED or the time is over.
    async fn watched(&self, session: &AwsSession, user: UserRef<'_>) -> Result<(Trace, Trace)> {
        let start = Instant::now();
        let (mut get, mut list) = (None, None);
        loop {
            self.stop.check()?;
            get = Some(after(get, self.get(session, user).await, start));
            list = Some(after(list, seen(self.account.operator.listed_user(session, user).await), start));
            if let (Some(get), Some(list)) = (&get, &list) {
                let both = get.reset_required_after.is_some() && list.reset_required_after.is_some();
                if both || start.elapsed() >= self.watch {
                    return Ok((get.clone(), list.clone()));
                }
            }
            self.stop.pause(PAUSE.min(self.watch)).await?;
        }
    }
}

const fn behaviour(way: Way) -> Option<&'static str> {
    match way {
        Way::Trigger(behaviour) => Some(behaviour),
        Way::Impatient => Some("slow"),
        Way::Plain | Way::NoConnection | Way::UnknownKey | Way::WrongSecret | Way::RoleWithoutPermission => None,
    }
}

fn seen(read: Result<User, ReadError>) -> Seen {
    read.map(|user| user.status).map_err(|error| error.word().to_owned())
}

/// Returns a trace with one more read.
fn after(trace: Option<Trace>, last: Seen, start: Instant) -> Trace {
    let now = (last == Ok(UserStatus::ResetRequired)).then(|| start.elapsed());
    let earlier = trace.and_then(|trace| trace.reset_required_after);
    Trace { last, reset_required_after: earlier.or(now) }
}
