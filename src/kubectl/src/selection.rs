//! The requests that a command reads: by namespace, labels, pool and ticket, in pages.

use clap::Args;
use cognito_reset_api::PasswordResetRequest;
use kube::{
    Api, Resource,
    api::{DynamicObject, ListParams},
    core::{ApiResource, ObjectList},
};

use crate::{cluster::Cluster, failure::Failure, request::Request};

/// The number of objects of one page of a list.
pub const PAGE: u32 = 500;

/// The flags that select requests.
#[derive(Args, Clone, Debug, Default)]
pub struct Selection {
    /// Requests with these labels, as in `kubectl get -l`
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Requests of all namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Requests of this user pool
    #[arg(long, value_name = "ID")]
    pub pool: Option<String>,
    /// Requests whose `spec.ticket` is this ticket
    #[arg(long, value_name = "TEXT")]
    pub ticket: Option<String>,
}

/// A request as it is stored, and as far as this plugin can parse it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The object, without managed fields.
    pub object: serde_json::Value,
    /// The request; `None` if this plugin cannot parse it.
    pub request: Option<Request>,
}

impl Selection {
    /// Returns the pages of the selected requests, one after the other as they are asked for.
    #[must_use]
    pub fn pages<'a>(&'a self, cluster: &'a Cluster, more: &[(&str, &str)]) -> Pages<'a> {
        let mut fields: Vec<String> = self.pool.iter().map(|pool| field("spec.userPoolID", pool)).collect();
        fields.extend(more.iter().map(|(name, value)| field(name, value)));
        let mut params = ListParams::default().limit(PAGE).fields(&fields.join(","));
        if let Some(selector) = &self.selector {
            params = params.labels(selector);
        }
        let resource = ApiResource::erase::<PasswordResetRequest>(&());
        let api = if self.all_namespaces {
            Api::all_with(cluster.client.clone(), &resource)
        } else {
            Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource)
        };
        Pages { selection: self, api, params: Some(params), what: self.what(cluster) }
    }

    fn what(&self, cluster: &Cluster) -> String {
        if self.all_namespaces {
            "list requests in all namespaces".to_owned()
        } else {
            format!("list requests in namespace {}", cluster.namespace)
        }
    }

    fn has_ticket(&self, object: &serde_json::Value) -> bool {
        let ticket = object.pointer("/spec/ticket").and_then(serde_json::Value::as_str);
        self.ticket.as_deref().is_none_or(|wanted| ticket == Some(wanted))
    }
}

/// Returns a selector of a field. A value may contain the characters that separate selectors.
#[must_use]
pub fn field(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
    format!("{name}={value}")
}

/// The pages of a list.
#[derive(Debug)]
pub struct Pages<'a> {
    selection: &'a Selection,
    api: Api<DynamicObject>,
    params: Option<ListParams>,
    what: String,
}

impl Pages<'_> {
    /// Returns the next page; `None` after the last one. A page may be empty.
    ///
    /// # Errors
    /// When the API server refuses or does not respond.
    pub async fn next(&mut self) -> Result<Option<Vec<Listed>>, Failure> {
        let Some(params) = self.params.take() else { return Ok(None) };
        let page: ObjectList<DynamicObject> =
            self.api.list(&params).await.map_err(|error| Failure::of_api(&error, &self.what))?;
        let token = page.metadata.continue_.filter(|token| !token.is_empty());
        self.params = token.map(|token| ListParams { continue_token: Some(token), ..params });
        let listed = page.items.into_iter().map(listed).collect::<Result<Vec<_>, _>>();
        let listed = listed.map_err(|error| Failure::refused(format!("cannot {}: {error}", self.what)))?;
        Ok(Some(listed.into_iter().filter(|listed| self.selection.has_ticket(&listed.object)).collect()))
    }
}

/// Items of a list have neither kind nor version.
fn listed(mut object: DynamicObject) -> Result<Listed, serde_json::Error> {
    object.metadata.managed_fields = None;
    object.types = Some(kube::core::TypeMeta {
        api_version: Request::api_version(&()).into_owned(),
        kind: Request::kind(&()).into_owned(),
    });
    let object = serde_json::to_value(object)?;
    let request = serde_json::from_value(object.clone()).ok();
    Ok(Listed { object, request })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_end_its_selector() {
        assert_eq!(field("spec.username", r"a,b=c\d"), r"spec.username=a\,b\=c\\d");
    }
}
