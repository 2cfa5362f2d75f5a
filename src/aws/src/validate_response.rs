//! What an answer of Cognito's own looks like. The SDK is content with less.

use std::{collections::BTreeMap, fmt};

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
use serde_json::Value;

/// What the body of an answer is: by the API reference, and nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// Of a success that says nothing more: empty, or an empty JSON object.
    Nothing,
    /// Of a success that says something: a JSON object.
    Object,
    /// Of an error: a JSON object, or empty where a header names the error.
    Error,
}

impl Body {
    /// Whether this is what came.
    pub(super) fn is_in(self, response: &HttpResponse) -> bool {
        let bytes = response.body().bytes().unwrap_or_default();
        let members = || serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(bytes);
        match self {
            Self::Nothing => bytes.is_empty() || members().is_ok_and(|members| members.is_empty()),
            Self::Object => members().is_ok(),
            Self::Error => bytes.is_empty() || members().is_ok(),
        }
    }
}

/// Whether an error says this code and no other, in every place of the protocol that names one, also where it is named
/// twice. Of two codes one may prove what the other denies, and which one the SDK takes is chance.
pub(super) fn names_only(response: &HttpResponse, code: &str) -> bool {
    let in_headers = response.headers().get_all("x-amzn-errortype").all(|name| bare(name) == code);
    let bytes = response.body().bytes().unwrap_or_default();
    if bytes.is_empty() {
        return in_headers;
    }
    // `Body::Error` passes over values, so that one which cannot be read (a number without bounds, say) is met here first.
    let Ok(Names(named)) = serde_json::from_slice(bytes) else { return false };
    in_headers && named.iter().all(|name| name.as_str().is_some_and(|name| bare(name) == code))
}

/// A name without the namespace before it and the URL after it.
fn bare(name: &str) -> &str {
    let name = name.split(':').next().unwrap_or_default();
    name.split_once('#').map_or(name, |(_, name)| name)
}

/// The members of an object that name an error; of the same name, all.
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

/// Refuses a success that is not Cognito's own: the SDK takes any status of 2xx for one, and looks at no body that it
/// needs nothing of. A page of HTML, or a 202 of something that will ask Cognito later, comes from elsewhere.
#[derive(Debug)]
pub(super) struct Genuine(pub(super) Body);

impl Intercept for Genuine {
    fn name(&self) -> &'static str {
        "Genuine"
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
            return Err("the answer is not one of Cognito's".into());
        }
        Ok(())
    }
}
