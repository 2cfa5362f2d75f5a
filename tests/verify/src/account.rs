//! The account of the user, and the clients for it.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_sdk_cognitoidentityprovider::config::SharedHttpClient;
use cognito_reset_aws::{
    client::{Aws, Timeouts},
    transport,
};

use crate::{iam::Iam, signed::Signed};

/// The timeouts of the operator, by its defaults.
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(3), call: Duration::from_secs(30), read: Duration::from_secs(5) };

/// The account, and the clients for it.
pub(crate) struct Account {
    pub(crate) cognito: aws_sdk_cognitoidentityprovider::Client,
    pub(crate) iam: Option<Iam>,
    /// The operator's own client, which makes and classifies the calls of the rows.
    pub(crate) operator: Aws,
    pub(crate) config: SdkConfig,
    pub(crate) http: SharedHttpClient,
    pub(crate) id: String,
    /// The caller, as STS names it.
    pub(crate) caller: String,
    pub(crate) region: String,
    /// True for an emulator.
    pub(crate) emulated: bool,
}

impl Account {
    /// Reads the configuration, and asks STS for the account.
    pub(crate) async fn connect(with_lambda: bool, test_endpoints: bool) -> Result<Self> {
        let operator = Aws::from_environment(TIMEOUTS).await?;
        operator.check(test_endpoints)?;
        let emulated = test_endpoints && operator.check(false).is_err();
        let ca_bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()).map(PathBuf::from);
        let http = transport::client(ca_bundle.as_deref().map(|path| ("AWS_CA_BUNDLE", path)))?;
        let config = defaults(&http).load().await;
        let region = config.region().map(ToString::to_string).filter(|region| !region.is_empty());
        let region = region.context("no Region is configured; set AWS_REGION")?;
        let caller = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await;
        let caller = caller.map_err(|error| {
            let cause = aws_sdk_sts::error::DisplayErrorContext(error).to_string();
            anyhow!("failed to ask STS for the account: {cause}; set the AWS_ variables or AWS_PROFILE")
        })?;
        let (id, arn) = (caller.account().unwrap_or_default(), caller.arn().unwrap_or_default());
        ensure!(!id.is_empty() && !arn.is_empty(), "STS named no account");
        let account = Self {
            cognito: aws_sdk_cognitoidentityprovider::Client::new(&config),
            iam: None,
            operator,
            http,
            id: id.to_owned(),
            caller: arn.to_owned(),
            region,
            emulated,
            config,
        };
        let iam = if with_lambda {
            let signed = Signed::new(account.config.clone(), ca_bundle.as_deref())?;
            Some(Iam::new(signed, &account.config, account.partition(), &account.region)?)
        } else {
            None
        };
        Ok(Self { iam, ..account })
    }

    /// Returns the partition of AWS, such as `aws`.
    pub(crate) fn partition(&self) -> &str {
        self.caller.split(':').nth(1).unwrap_or_default()
    }

    /// Returns the ARN of something of this account.
    pub(crate) fn arn(&self, service: &str, region: &str, rest: &str) -> String {
        format!("arn:{}:{service}:{region}:{}:{rest}", self.partition(), self.id)
    }

    /// Returns the clients of IAM and Lambda.
    pub(crate) fn iam(&self) -> Result<&Iam> {
        self.iam.as_ref().context("the run makes no role and no function")
    }

    /// Returns the operator's client with a shorter timeout of a reset.
    pub(crate) async fn impatient(&self, call: Duration) -> Result<Aws> {
        Ok(Aws::from_environment(Timeouts { call, ..TIMEOUTS }).await?)
    }

    /// Returns the operator's client with another configuration.
    pub(crate) async fn with(
        &self,
        change: impl Fn(ConfigLoader) -> ConfigLoader + Send + Sync + 'static,
    ) -> Result<Aws> {
        let http = self.http.clone();
        Ok(Aws::load(move || change(defaults(&http)), TIMEOUTS).await?)
    }
}

fn defaults(http: &SharedHttpClient) -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http.clone())
}
