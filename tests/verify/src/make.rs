//! Makes roles, function, pools and users.

use std::{future::Future, time::Duration};

use anyhow::{Context as _, Result};
use aws_sdk_cognitoidentityprovider::{
    error::{ProvideErrorMetadata, SdkError},
    types::{
        AccountRecoverySettingType, AttributeType, LambdaConfigType, MessageActionType, RecoveryOptionNameType,
        RecoveryOptionType, SmsConfigurationType, VerifiedAttributeType,
    },
};
use cognito_reset_core::action::response::Code;
use serde_json::json;
use uuid::Uuid;

use crate::{
    account::Account,
    iam::Refusal,
    made::{Made, Part},
    output::{say, warn},
    plan::{Plan, Resource, Role, RunId, TAG},
    rows::{Pool, Row, User},
    stop::{Interrupted, Stop},
};

/// The time that IAM may take to make a role known to other services.
const PROPAGATION: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(2);

/// The parts of a step: the account, the run and what was made so far.
pub(crate) struct Maker<'a> {
    pub(crate) account: &'a Account,
    pub(crate) run: &'a RunId,
    pub(crate) made: &'a Made,
    pub(crate) stop: &'a Stop,
}

impl Maker<'_> {
    /// Makes everything of the plan. A step that the service refuses is noted, and the rows that
    /// need it are not shown.
    pub(crate) async fn all(&self, plan: Plan) -> Result<(), Interrupted> {
        for resource in plan.resources() {
            self.stop.check()?;
            match self.resource(resource).await {
                Ok(handle) => {
                    self.made.acknowledge(resource, handle);
                    say(format!("made {}", described(resource)));
                }
                Err(error) => self.failed(Part::Resource(resource), &described(resource), &error)?,
            }
        }
        for row in plan.rows() {
            self.stop.check()?;
            let Some(pool) = self.made.handle(Resource::Pool(row.pool)) else { continue };
            if let Err(error) = self.user(row, &pool).await {
                self.failed(Part::User(row.id), &format!("the user of {}", row.id), &error)?;
            }
        }
        say("made the users");
        Ok(())
    }

    /// Notes a refusal, unless the run is to stop.
    fn failed(&self, part: Part, what: &str, error: &anyhow::Error) -> Result<(), Interrupted> {
        self.stop.check()?;
        warn(format!("unable to make {what}: {error:#}"));
        let code = error.downcast_ref().map_or("no response", |refusal: &Refusal| refusal.code.as_str());
        self.made.refuse(part, code.to_owned());
        Ok(())
    }

    async fn resource(&self, resource: Resource) -> Result<String> {
        match resource {
            Resource::Role(role) => self.role(role).await,
            Resource::Function => self.function().await,
            Resource::Pool(pool) => {
                let refused_for_a_while = "InvalidSmsRoleTrustRelationshipException";
                self.until_known(refused_for_a_while, || self.pool(pool)).await
            }
        }
    }

    async fn role(&self, role: Role) -> Result<String> {
        let (principal, condition) = match role {
            Role::Function => (json!({ "Service": "lambda.amazonaws.com" }), json!({})),
            Role::Sms => {
                let external_id = json!({ "StringEquals": { "sts:ExternalId": self.run.as_str() } });
                (json!({ "Service": "cognito-idp.amazonaws.com" }), external_id)
            }
            Role::Caller => (json!({ "AWS": self.account.arn("iam", "", "root") }), json!({})),
        };
        let statement =
            json!({ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition });
        let trust = json!({ "Version": "2012-10-17", "Statement": [statement] });
        self.account.iam()?.create_role(&self.run.role(role), &trust, self.run).await
    }

    async fn function(&self) -> Result<String> {
        let (iam, name) = (self.account.iam()?, self.run.function());
        let role = self.handle(Resource::Role(Role::Function))?;
        let refused_for_a_while = "InvalidParameterValueException";
        let create = || iam.create_function(&name, &role, self.run);
        let arn = self.until_known(refused_for_a_while, create).await?;
        // From here on there is a function, regardless of how the rest ends.
        self.made.acknowledge(Resource::Function, arn.clone());
        let pools = self.account.arn("cognito-idp", &self.account.region, "userpool/*");
        iam.let_cognito_invoke(&name, &pools).await?;
        let deadline = tokio::time::Instant::now() + PROPAGATION;
        while iam.function_state(&name, self.run).await?.as_deref() != Some("Active") {
            if tokio::time::Instant::now() > deadline {
                return Err(Refusal { operation: "GetFunction", code: "NotActive".into() }.into());
            }
            self.stop.pause(PAUSE).await?;
        }
        Ok(arn)
    }

    async fn pool(&self, pool: Pool) -> Result<String> {
        let by = match pool {
            Pool::AdminOnly => RecoveryOptionNameType::AdminOnly,
            Pool::Sms => RecoveryOptionNameType::VerifiedPhoneNumber,
            Pool::Mail | Pool::ForbiddenTrigger | Pool::FailingTrigger | Pool::Missing => {
                RecoveryOptionNameType::VerifiedEmail
            }
        };
        let recovery = RecoveryOptionType::builder().priority(1).name(by).build()?;
        let verified =
            if pool == Pool::Sms { VerifiedAttributeType::PhoneNumber } else { VerifiedAttributeType::Email };
        let mut call = self
            .account
            .cognito
            .create_user_pool()
            .pool_name(self.run.pool(pool).context("a pool without a name")?)
            .user_pool_tags(TAG, self.run.as_str())
            .auto_verified_attributes(verified)
            .account_recovery_setting(AccountRecoverySettingType::builder().recovery_mechanisms(recovery).build());
        let trigger = |arn: String| LambdaConfigType::builder().custom_message(arn).build();
        match pool {
            Pool::ForbiddenTrigger => {
                let name = format!("function:{}", self.run.missing_function());
                call = call.lambda_config(trigger(self.account.arn("lambda", &self.account.region, &name)));
            }
            Pool::FailingTrigger => call = call.lambda_config(trigger(self.handle(Resource::Function)?)),
            Pool::Sms => {
                let role = self.handle(Resource::Role(Role::Sms))?;
                let sms = SmsConfigurationType::builder().sns_caller_arn(role).external_id(self.run.as_str());
                call = call.sms_configuration(sms.build());
            }
            Pool::Mail | Pool::AdminOnly | Pool::Missing => {}
        }
        let pool = call.send().await.map_err(|error| refusal("CreateUserPool", &error))?;
        Ok(pool.user_pool().and_then(|pool| pool.id()).context("a pool without an id")?.to_owned())
    }

    async fn user(&self, row: &Row, pool: &str) -> Result<()> {
        let (cognito, name) = (&self.account.cognito, self.run.user(row));
        let password = format!("Aa1-{}", Uuid::new_v4());
        let attribute = |(name, value): &(&str, &str)| AttributeType::builder().name(*name).value(*value).build();
        let attributes: Vec<_> = row.user.attributes().iter().map(attribute).collect::<Result<_, _>>()?;
        match row.user {
            User::Missing => return Ok(()),
            User::Unconfirmed => {
                let client = cognito.create_user_pool_client().user_pool_id(pool).client_name("verify").send().await;
                let client = client.map_err(|error| refusal("CreateUserPoolClient", &error))?;
                let client = client.user_pool_client().and_then(|client| client.client_id()).context("no client id")?;
                let sign_up = cognito.sign_up().client_id(client).username(name).password(password);
                sign_up
                    .set_user_attributes(Some(attributes))
                    .send()
                    .await
                    .map_err(|error| refusal("SignUp", &error))?;
                return Ok(());
            }
            User::Confirmed
            | User::Bouncing
            | User::Phone
            | User::NoAddress
            | User::Disabled
            | User::ResetRequired
            | User::ForceChangePassword => {}
        }
        let create = cognito.admin_create_user().user_pool_id(pool).username(&name).temporary_password(&password);
        let create = create.message_action(MessageActionType::Suppress).set_user_attributes(Some(attributes));
        create.send().await.map_err(|error| refusal("AdminCreateUser", &error))?;
        if row.user != User::ForceChangePassword {
            let set = cognito.admin_set_user_password().user_pool_id(pool).username(&name);
            let set = set.password(&password).permanent(true);
            set.send().await.map_err(|error| refusal("AdminSetUserPassword", &error))?;
        }
        if row.user == User::Disabled {
            let disable = cognito.admin_disable_user().user_pool_id(pool).username(&name);
            disable.send().await.map_err(|error| refusal("AdminDisableUser", &error))?;
        }
        if row.user == User::ResetRequired {
            let reset = cognito.admin_reset_user_password().user_pool_id(pool).username(&name);
            reset.send().await.map_err(|error| refusal("AdminResetUserPassword", &error))?;
        }
        Ok(())
    }

    fn handle(&self, resource: Resource) -> Result<String> {
        let missing = || Refusal { operation: "an earlier step", code: "NotMade".into() };
        Ok(self.made.handle(resource).ok_or_else(missing)?)
    }

    /// Repeats a step while the service refuses it because it does not know a new role.
    async fn until_known<T, F: Future<Output = Result<T>>>(&self, code: &str, step: impl Fn() -> F) -> Result<T> {
        let deadline = tokio::time::Instant::now() + PROPAGATION;
        loop {
            match step().await {
                Err(error)
                    if error.downcast_ref().is_some_and(|refusal: &Refusal| refusal.code == code)
                        && tokio::time::Instant::now() < deadline =>
                {
                    self.stop.pause(PAUSE).await?;
                }
                result => return result,
            }
        }
    }
}

/// Returns what is made, in words.
pub(crate) fn described(resource: Resource) -> String {
    match resource {
        Resource::Role(role) => format!("role {}", role.suffix()),
        Resource::Function => "function trigger".to_owned(),
        Resource::Pool(pool) => format!("user pool {}", pool.suffix().unwrap_or("missing")),
    }
}

/// Returns the error of a call by its code, without the text of the service.
pub(crate) fn refusal<E: ProvideErrorMetadata, R>(operation: &'static str, error: &SdkError<E, R>) -> Refusal {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).and_then(Code::parse);
    Refusal { operation, code: code.map_or_else(|| "no response".to_owned(), |code| code.as_str().to_owned()) }
}
