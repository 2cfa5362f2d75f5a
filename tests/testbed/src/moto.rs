//! The emulator of Cognito and STS, and a client for the actions of an administrator of Cognito.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Tools,
    http_client::HttpClient,
    port::Port,
    process::{Process, server},
};

const START_LIMIT: Duration = Duration::from_secs(60);
const PASSWORD: &str = "Correct-horse-9";

/// A running emulator. It ends when dropped, and its users are deleted.
#[derive(Debug)]
pub struct Moto {
    process: Process,
    _port: Port,
    url: String,
    client: HttpClient,
    directory: TempDir,
}

impl Moto {
    /// Starts an emulator, and waits until it responds.
    ///
    /// # Errors
    /// When it does not, with the end of its log.
    pub async fn start(tools: &Tools) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("moto-").tempdir().context("no temporary directory")?;
        let port = Port::reserve()?;
        let mut command = server(tools.moto_server(), directory.path());
        command.args(["--host", "127.0.0.1", "--port", &port.number().to_string()]);
        let mut process =
            Process::spawn("moto", &mut command, &directory.path().join("moto.log"), Some(directory.path()))?;
        let (url, client) = (port.url(), HttpClient::new(None)?);
        let page = status_page(&url);
        process.ready(START_LIMIT, async || client.is_ok(&page, None).await).await?;
        Ok(Self { process, _port: port, url, client, directory })
    }

    /// Returns true if it responds.
    pub(crate) async fn is_alive(&self) -> bool {
        self.client.is_ok(&status_page(&self.url), None).await
    }

    /// `http://127.0.0.1:PORT`, for Cognito and STS alike.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A temporary directory that lives as long as this.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns its output: a line for every request.
    #[must_use]
    pub fn logs(&self) -> String {
        self.process.logs()
    }

    /// A client for an administrator of its pools, past any proxy.
    #[must_use]
    pub fn cognito(&self) -> Cognito {
        Cognito::new(self.client.clone(), self.url.clone())
    }
}

fn status_page(url: &str) -> String {
    format!("{url}/moto-api/data.json")
}

/// The actions of an administrator of Cognito, in the emulator.
#[derive(Clone, Debug)]
pub struct Cognito {
    client: HttpClient,
    url: String,
}

impl Cognito {
    fn new(client: HttpClient, url: String) -> Self {
        Self { client, url }
    }

    /// A client for an emulator at this address, such as one another process has started.
    ///
    /// # Errors
    /// None that is expected: the TLS library's set-up.
    pub fn at(url: &str) -> Result<Self> {
        Ok(Self::new(HttpClient::new(None)?, url.to_owned()))
    }

    /// Makes a pool and returns its id, which begins with the Region.
    ///
    /// # Errors
    /// When the emulator refuses or does not respond; so for all methods here.
    pub async fn create_pool(&self, region: &str) -> Result<String> {
        let pool = self.call(region, "CreateUserPool", &json!({ "PoolName": "testbed" })).await?;
        let id = pool.pointer("/UserPool/Id").and_then(Value::as_str);
        Ok(id.context("the emulator made a pool without an id")?.to_owned())
    }

    /// A user who can be reset: confirmed, with a verified address. Returns the `sub`.
    pub async fn create_user(&self, pool: &str, username: &str) -> Result<String> {
        let address = json!([
            { "Name": "email", "Value": "user@example.com" },
            { "Name": "email_verified", "Value": "true" },
        ]);
        let sub = self.create(pool, username, &address).await?;
        self.confirm(pool, username).await?;
        Ok(sub)
    }

    /// A confirmed user who was disabled.
    pub async fn create_disabled_user(&self, pool: &str, username: &str) -> Result<String> {
        let sub = self.create_user(pool, username).await?;
        self.on_user(pool, username, "AdminDisableUser", json!({})).await?;
        Ok(sub)
    }

    /// A user who has not yet chosen a password (`FORCE_CHANGE_PASSWORD`).
    pub async fn create_unconfirmed_user(&self, pool: &str, username: &str) -> Result<String> {
        let address = json!([
            { "Name": "email", "Value": "user@example.com" },
            { "Name": "email_verified", "Value": "true" },
        ]);
        self.create(pool, username, &address).await
    }

    /// A confirmed user with neither an e-mail address nor a telephone number.
    pub async fn create_user_without_address(&self, pool: &str, username: &str) -> Result<String> {
        let sub = self.create(pool, username, &json!([])).await?;
        self.confirm(pool, username).await?;
        Ok(sub)
    }

    /// Gives a user a permanent password: `CONFIRMED`, also after a reset.
    pub async fn confirm(&self, pool: &str, username: &str) -> Result<()> {
        let password = json!({ "Password": PASSWORD, "Permanent": true });
        self.on_user(pool, username, "AdminSetUserPassword", password).await?;
        Ok(())
    }

    /// Removes a user.
    pub async fn delete_user(&self, pool: &str, username: &str) -> Result<()> {
        self.on_user(pool, username, "AdminDeleteUser", json!({})).await?;
        Ok(())
    }

    /// Resets a user, as somebody other than the operator.
    pub async fn reset(&self, pool: &str, username: &str) -> Result<()> {
        self.on_user(pool, username, "AdminResetUserPassword", json!({})).await?;
        Ok(())
    }

    /// The user's status, such as `CONFIRMED` or `RESET_REQUIRED`.
    pub async fn user_status(&self, pool: &str, username: &str) -> Result<String> {
        let user = self.on_user(pool, username, "AdminGetUser", json!({})).await?;
        let status = user.get("UserStatus").and_then(Value::as_str);
        Ok(status.context("the emulator has a user without a status")?.to_owned())
    }

    async fn create(&self, pool: &str, username: &str, attributes: &Value) -> Result<String> {
        let body = json!({ "UserAttributes": attributes, "MessageAction": "SUPPRESS", "TemporaryPassword": PASSWORD });
        let user = self.on_user(pool, username, "AdminCreateUser", body).await?;
        let attributes = user.pointer("/User/Attributes").and_then(Value::as_array);
        let mut attributes = attributes.into_iter().flatten();
        let sub = attributes.find(|attribute| attribute["Name"] == "sub").and_then(|sub| sub["Value"].as_str());
        Ok(sub.context("the emulator made a user without a sub")?.to_owned())
    }

    async fn on_user(&self, pool: &str, username: &str, operation: &str, mut body: Value) -> Result<Value> {
        body["UserPoolId"] = pool.into();
        body["Username"] = username.into();
        let (region, _) = pool.split_once('_').with_context(|| format!("{pool} is not the id of a pool"))?;
        self.call(region, operation, &body).await
    }

    /// Calls any operation of Cognito.
    pub async fn call(&self, region: &str, operation: &str, body: &Value) -> Result<Value> {
        // The emulator takes the service and the Region from here, and checks nothing.
        let scope = format!("AWS4-HMAC-SHA256 Credential=testbed/20260101/{region}/cognito-idp/aws4_request");
        let request = Request::post(&self.url)
            .header(header::AUTHORIZATION, format!("{scope}, SignedHeaders=host, Signature=0"))
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.1")
            .header("x-amz-target", format!("AWSCognitoIdentityProviderService.{operation}"))
            .body(Full::new(Bytes::from(body.to_string())))?;
        let response = self.client.exchange(request).await?;
        if !response.status().is_success() {
            let shown = String::from_utf8_lossy(response.body());
            bail!("the emulator refused {operation} with {}: {shown}", response.status());
        }
        Ok(serde_json::from_slice(response.body()).unwrap_or_default())
    }
}
