//! The calls of AWS IAM and AWS Lambda.

use anyhow::{Result, bail, ensure};
use aws_config::SdkConfig;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cognito_reset_core::action::response::Code;
use serde_json::{Value, json};

use crate::{
    archive::archive,
    plan::{RunId, TAG},
    remove::Foreign,
    signed::{Endpoint, Response, Signed},
};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
const FUNCTIONS: &str = "/2015-03-31/functions";
/// Longer than the trigger sleeps.
const FUNCTION_TIMEOUT: u32 = 15;
const NOT_FOUND: u16 = 404;

/// A failed call, by its exception.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed with {code}")]
pub(crate) struct Refusal {
    pub(crate) operation: &'static str,
    pub(crate) code: String,
}

/// The clients of both services.
#[derive(Debug)]
pub(crate) struct Iam {
    signed: Signed,
    iam: Endpoint,
    lambda: Endpoint,
}

impl Iam {
    /// Returns the clients for a partition and a Region. An endpoint in the configuration, as of an
    /// emulator, replaces both addresses.
    pub(crate) fn new(signed: Signed, config: &SdkConfig, partition: &str, region: &str) -> Result<Self> {
        let (suffix, iam_host, iam_region) = match partition {
            "aws" => ("amazonaws.com", "iam.amazonaws.com", "us-east-1"),
            "aws-us-gov" => ("amazonaws.com", "iam.us-gov.amazonaws.com", "us-gov-west-1"),
            "aws-cn" => ("amazonaws.com.cn", "iam.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            other => bail!("the endpoints of IAM in the partition {other} are not known; set WITHOUT_LAMBDA=1"),
        };
        let url = |host: String| config.endpoint_url().map_or(format!("https://{host}"), str::to_owned);
        let iam = Endpoint { service: "iam", region: iam_region.into(), url: url(iam_host.into()) };
        let lambda =
            Endpoint { service: "lambda", region: region.into(), url: url(format!("lambda.{region}.{suffix}")) };
        Ok(Self { signed, iam, lambda })
    }

    /// Makes a role without a policy. Returns its ARN.
    pub(crate) async fn create_role(&self, name: &str, trust: &Value, run: &RunId) -> Result<String> {
        let trust = trust.to_string();
        let fields = [
            ("RoleName", name),
            ("AssumeRolePolicyDocument", &trust),
            ("Tags.member.1.Key", TAG),
            ("Tags.member.1.Value", run.as_str()),
        ];
        let response = self.query("CreateRole", &fields).await?;
        let response = successful("CreateRole", response)?;
        Ok(between(&response.body, "<Arn>", "</Arn>").unwrap_or_default().to_owned())
    }

    /// Returns true if there is a role of this name that belongs to the run.
    pub(crate) async fn has_role(&self, name: &str, run: &RunId) -> Result<bool> {
        let response = self.query("GetRole", &[("RoleName", name)]).await?;
        if response.status == NOT_FOUND {
            return Ok(false);
        }
        let body = successful("GetRole", response)?.body;
        let tag =
            body.split_once(&format!("<Key>{TAG}</Key>")).and_then(|(_, rest)| between(rest, "<Value>", "</Value>"));
        ensure!(tag == Some(run.as_str()), Foreign);
        Ok(true)
    }

    /// Deletes a role. One that does not exist is deleted.
    pub(crate) async fn delete_role(&self, name: &str) -> Result<()> {
        deleted("DeleteRole", self.query("DeleteRole", &[("RoleName", name)]).await?)
    }

    /// Makes the function of the trigger. Returns its ARN.
    pub(crate) async fn create_function(&self, name: &str, role: &str, run: &RunId) -> Result<String> {
        let code = STANDARD.encode(archive("trigger.py", include_str!("trigger.py")));
        let body = json!({
            "FunctionName": name,
            "Runtime": "python3.13",
            "Role": role,
            "Handler": "trigger.handler",
            "Code": { "ZipFile": code },
            "Timeout": FUNCTION_TIMEOUT,
            "MemorySize": 128,
            "Tags": { TAG: run.as_str() },
        });
        let made = self.lambda("POST", FUNCTIONS, &body).await?;
        let made: Value = serde_json::from_str(&successful("CreateFunction", made)?.body)?;
        Ok(made.get("FunctionArn").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Lets the pools of the account invoke a function.
    pub(crate) async fn let_cognito_invoke(&self, name: &str, pools: &str) -> Result<()> {
        let body = json!({
            "StatementId": "cognito",
            "Action": "lambda:InvokeFunction",
            "Principal": "cognito-idp.amazonaws.com",
            "SourceArn": pools,
        });
        let path = format!("{FUNCTIONS}/{name}/policy");
        successful("AddPermission", self.lambda("POST", &path, &body).await?).map(drop)
    }

    /// Returns the state of a function that belongs to the run, such as `Active`; `None` if there
    /// is none of this name.
    pub(crate) async fn function_state(&self, name: &str, run: &RunId) -> Result<Option<String>> {
        let response = self.lambda("GET", &format!("{FUNCTIONS}/{name}"), &Value::Null).await?;
        if response.status == NOT_FOUND {
            return Ok(None);
        }
        let found: Value = serde_json::from_str(&successful("GetFunction", response)?.body)?;
        let tag = found.get("Tags").and_then(|tags| tags.get(TAG)).and_then(Value::as_str);
        ensure!(tag == Some(run.as_str()), Foreign);
        let state = found.pointer("/Configuration/State").and_then(Value::as_str);
        Ok(Some(state.unwrap_or("Active").to_owned()))
    }

    /// Deletes a function. One that does not exist is deleted.
    pub(crate) async fn delete_function(&self, name: &str) -> Result<()> {
        let path = format!("{FUNCTIONS}/{name}");
        deleted("DeleteFunction", self.lambda("DELETE", &path, &Value::Null).await?)
    }

    async fn query(&self, action: &str, fields: &[(&str, &str)]) -> Result<Response> {
        let mut body = format!("Action={action}&Version=2010-05-08");
        for (name, value) in fields {
            body += &format!("&{name}={}", percent_encoded(value));
        }
        self.signed.send(&self.iam, "POST", "/", FORM, body).await
    }

    async fn lambda(&self, method: &str, path: &str, body: &Value) -> Result<Response> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.signed.send(&self.lambda, method, path, JSON, body).await
    }
}

fn successful(operation: &'static str, response: Response) -> Result<Response> {
    if (200..300).contains(&response.status) {
        return Ok(response);
    }
    let code = response.error.as_deref().or(between(&response.body, "<Code>", "</Code>")).and_then(Code::parse);
    let code = code.map_or_else(|| format!("status {}", response.status), |code| code.as_str().to_owned());
    Err(Refusal { operation, code }.into())
}

fn deleted(operation: &'static str, response: Response) -> Result<()> {
    if response.status == NOT_FOUND { Ok(()) } else { successful(operation, response).map(drop) }
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    text.split_once(begin)?.1.split_once(end).map(|(found, _)| found)
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_is_named_by_its_code_and_not_by_its_text() {
        let xml = "<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>secret</Message></Error></ErrorResponse>";
        for (error, body, wanted) in [
            (None, xml, "CreateRole failed with NoSuchEntity"),
            (Some("ResourceConflictException"), "{}", "CreateRole failed with ResourceConflictException"),
            (None, "secret", "CreateRole failed with status 409"),
        ] {
            let response = Response { status: 409, error: error.map(str::to_owned), body: body.to_owned() };
            assert_eq!(successful("CreateRole", response).unwrap_err().to_string(), wanted);
        }
    }

    #[test]
    fn what_does_not_exist_is_deleted() {
        for (status, wanted) in [(200, true), (204, true), (404, true), (403, false), (500, false)] {
            let response = Response { status, error: None, body: String::new() };
            assert_eq!(deleted("DeleteRole", response).is_ok(), wanted, "{status}");
        }
    }

    #[test]
    fn fields_of_a_query_are_percent_encoded() {
        assert_eq!(percent_encoded("a-Z.0_~ {\"é"), "a-Z.0_~%20%7B%22%C3%A9");
    }
}
