//! What an answer of Cognito's own looks like. The SDK is content with less.

use std::collections::BTreeMap;

use aws_sdk_cognitoidentityprovider::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpResponse,
        interceptors::AfterDeserializationInterceptorContextRef,
    },
    error::BoxError,
};
use serde::de::IgnoredAny;

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
