//! Answers of AWS end here where they are longer than any of its own: the SDK would read whatever comes into memory.

use aws_sdk_cognitoidentityprovider::error::BoxError;
use aws_smithy_runtime::client::defaults::default_http_client_plugin_v2;
use aws_smithy_runtime_api::client::{
    behavior_version::BehaviorVersion,
    connector_metadata::ConnectorMetadata,
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    runtime_components::{RuntimeComponents, RuntimeComponentsBuilder},
    runtime_plugin::RuntimePlugin,
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag};
use http_body_util::Limited;

/// The most bytes that are read of an answer's body. The longest of Cognito's own, a user with 67 attributes of 2,048
/// characters each, is shorter even where every character takes the six bytes of an escape.
pub const MAX_ANSWER: usize = 1 << 20;

/// The SDK's own HTTP client, with its TLS and its proxies, reading no more than [`MAX_ANSWER`]. `None` in a build without one.
#[must_use]
pub fn default_client(version: BehaviorVersion) -> Option<SharedHttpClient> {
    let plugin = default_http_client_plugin_v2(version)?;
    let client = plugin.runtime_components(&RuntimeComponentsBuilder::new("bounded")).http_client()?;
    Some(bounded(client))
}

/// The same client, but an answer that goes on after [`MAX_ANSWER`] bytes fails there, as if the connection were lost.
#[must_use]
pub fn bounded(client: SharedHttpClient) -> SharedHttpClient {
    SharedHttpClient::new(Bounded(client))
}

#[derive(Debug)]
struct Bounded<T>(T);

impl HttpClient for Bounded<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Bounded(self.0.http_connector(settings, components)))
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        settings: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_base_client_config(components, settings)
    }

    fn validate_final_config(&self, components: &RuntimeComponents, settings: &ConfigBag) -> Result<(), BoxError> {
        self.0.validate_final_config(components, settings)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

impl HttpConnector for Bounded<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let call = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let mut response: HttpResponse = call.await?;
            let body = Limited::new(response.take_body(), MAX_ANSWER);
            *response.body_mut() = SdkBody::from_body_1_x(body);
            Ok(response)
        })
    }
}
