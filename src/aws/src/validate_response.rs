//! Checks that a response is a genuine one of Cognito. The SDK accepts more.

use std::fmt;

use aws_sdk_cognitoidentityprovider::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpResponse,
        interceptors::AfterDeserializationInterceptorContextRef,
    },
    error::BoxError,
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// The expected body of a response, according to the API reference.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// A success without content: empty, or an empty JSON object.
    Nothing,
    /// A success with content: a JSON object.
    Object,
    /// An error: a JSON object, or empty if a header names the error.
    Error,
}

impl Body {
    /// Returns true if the response has this body.
    pub(super) fn is_in(self, response: &HttpResponse) -> bool {
        let bytes = response.body().bytes().unwrap_or_default();
        // `IgnoredAny` would accept texts that are not Unicode, and numbers out of range.
        let members = || serde_json::from_slice::<Map<String, Value>>(bytes);
        match self {
            Self::Nothing => bytes.is_empty() || members().is_ok_and(|members| members.is_empty()),
            Self::Object => members().is_ok(),
            Self::Error => bytes.is_empty() || members().is_ok(),
        }
    }
}

/// Returns true if an error names this code and no other, in every place of the protocol that can
/// name one, even if it is named twice. One of two codes may prove what the other contradicts, and
/// it is arbitrary which of them the SDK uses.
pub(super) fn names_only(response: &HttpResponse, code: &str) -> bool {
    // As bytes, because the other accessors skip a value that is not UTF-8.
    let mut in_headers = response.headers().get_all_bytes("x-amzn-errortype").map(str::from_utf8);
    let in_headers = in_headers.all(|name| name.is_ok_and(|name| bare(name) == code));
    let bytes = response.body().bytes().unwrap_or_default();
    if bytes.is_empty() {
        return in_headers;
    }
    let Ok(Names(named)) = serde_json::from_slice(bytes) else { return false };
    in_headers && named.iter().all(|name| name.as_str().is_some_and(|name| bare(name) == code))
}

/// Returns a name without the namespace before it and the URL after it.
fn bare(name: &str) -> &str {
    let name = name.split(':').next().unwrap_or_default();
    name.split_once('#').map_or(name, |(_, name)| name)
}

/// The members of an object that name an error, including repeated names.
struct Names(Vec<Value>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(key) = members.next_key::<String>()? {
                    if key == "__type" || key == "code" {
                        names.push(members.next_value()?);
                    } else {
                        members.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Rejects a success that is not a genuine response of Cognito. The SDK accepts every 2xx status
/// and ignores a body that it does not need. An HTML page, or a 202 of an intermediary that will
/// call Cognito later, does not come from Cognito.
#[derive(Debug)]
pub(super) struct ValidateResponse(pub(super) Body);

impl Intercept for ValidateResponse {
    fn name(&self) -> &'static str {
        "ValidateResponse"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let status = response.status();
        if status.is_success() && !(status.as_u16() == 200 && self.0.is_in(response)) {
            return Err("the response is not a genuine one of Cognito".into());
        }
        Ok(())
    }
}
