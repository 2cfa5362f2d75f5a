//! The records as the API server stores them, page by page, so that memory does not grow with the
//! ledger.

use cognito_reset_api::{PasswordResetRecord, record::SCHEMA};
use kube::{
    Resource as _,
    api::{ListMeta, ListParams},
    core::Request,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{cluster::Cluster, failure::Failure, pages::PAGE};

/// One page of the ledger.
#[derive(Debug, Deserialize)]
struct Page {
    metadata: ListMeta,
    items: Vec<Value>,
}

/// A record of the ledger: as it is stored, and as this plugin reads it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name of the record.
    pub name: String,
    /// The content, without managed fields.
    pub stored: Value,
    /// The record, or the reason why this plugin cannot read it.
    pub record: Result<PasswordResetRecord, String>,
}

impl Entry {
    /// Reads a record.
    #[must_use]
    pub fn new(mut stored: Value) -> Self {
        if let Some(metadata) = stored.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        Self { name: name_of(&stored).unwrap_or_default().to_owned(), record: parsed(&stored), stored }
    }

    /// Returns the line of the record in an export, with sorted keys.
    #[must_use]
    pub fn line(&self) -> String {
        self.stored.to_string()
    }
}

/// Returns the name of a stored object.
#[must_use]
pub fn name_of(stored: &Value) -> Option<&str> {
    stored.pointer("/metadata/name").and_then(Value::as_str)
}

/// Returns the effect of a stored record, or `open` for an open claim.
#[must_use]
pub fn effect_of(stored: &Value) -> String {
    stored.get("effect").and_then(Value::as_str).unwrap_or("open").to_owned()
}

fn parsed(stored: &Value) -> Result<PasswordResetRecord, String> {
    let schema = stored.get("schema").and_then(Value::as_i64);
    if let Some(schema) = schema.filter(|schema| *schema > SCHEMA) {
        return Err(format!("it has schema {schema}, and this plugin knows {SCHEMA}: use a newer plugin"));
    }
    PasswordResetRecord::deserialize(stored).map_err(|error| error.to_string())
}

/// Passes each record to a function, of one pool or of all, in the order of the API server. Returns
/// the resource version of the list, which is the same for all of its pages.
///
/// # Errors
/// When the API server refuses a page, or the function fails.
pub async fn each(
    cluster: &Cluster,
    pool: Option<&str>,
    mut take: impl FnMut(Entry) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let mut params = ListParams::default().limit(PAGE);
    if let Some(pool) = pool {
        params = params.fields(&format!("userPoolID={pool}"));
    }
    loop {
        let page = page(cluster, &params).await?;
        page.items.into_iter().map(Entry::new).try_for_each(&mut take)?;
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok(page.metadata.resource_version.unwrap_or_default());
        }
    }
}

async fn page(cluster: &Cluster, params: &ListParams) -> Result<Page, Failure> {
    let what = "list the records";
    let list = Request::new(PasswordResetRecord::url_path(&(), None)).list(params);
    let list = list.map_err(|error| Failure::refused(format!("cannot {what}: {error}")))?;
    match cluster.client.request(list).await {
        Err(kube::Error::Api(status)) if status.code == 410 => Err(Failure::refused(format!(
            "cannot {what}: the API server no longer has the state in which the first page was read; run the same command again"
        ))),
        page => page.map_err(|error| Failure::of_api(&error, what)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the stored form of a record with these further fields.
    pub(crate) fn stored(name: &str, fields: Value) -> Value {
        let mut record = json!({
            "apiVersion": "cognito-reset.dev/v1alpha1",
            "kind": "PasswordResetRecord",
            "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "7",
                "creationTimestamp": "2030-01-01T10:00:00Z", "managedFields": [{"manager": "x"}]},
            "schema": 1, "action": "PasswordReset", "omittedAttempts": 0,
            "request": {"namespace": "support", "name": name},
            "userPoolID": "eu-west-1_Example01", "username": "alice", "userSub": "sub-1",
        });
        let (Value::Object(record_fields), Value::Object(fields)) = (&mut record, fields) else { panic!("no objects") };
        record_fields.extend(fields);
        record
    }

    /// Returns an attempt with these further fields.
    pub(crate) fn attempt(id: &str, fields: Value) -> Value {
        let mut attempt = json!({
            "id": id, "operatorInstance": "pod", "requestUID": format!("request-{id}"),
            "requestedBy": {"username": "carol"}, "claimedAt": "2030-01-01T10:00:00.5Z",
        });
        let (Value::Object(attempt_fields), Value::Object(fields)) = (&mut attempt, fields) else {
            panic!("no objects")
        };
        attempt_fields.extend(fields);
        attempt
    }

    #[test]
    fn a_line_is_what_is_stored_without_managed_fields() {
        let fields = json!({"effect": "Performed", "unknownField": 1.0, "attempts": [attempt("a", json!({}))]});
        let entry = Entry::new(stored("one", fields));
        assert_eq!(entry.name, "one");
        assert!(entry.record.is_ok(), "{:?}", entry.record);
        let line = entry.line();
        assert!(!line.contains("managedFields") && line.contains("\"unknownField\":1.0"), "{line}");
        assert_eq!(line, Entry::new(serde_json::from_str(&line).unwrap()).line());
    }

    /// Returns a cluster that responds to each URL as the function says.
    pub(crate) fn responding(respond: impl Fn(&str) -> (u16, Value) + Clone + Send + 'static) -> Cluster {
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (status, body) = respond(&request.uri().to_string());
            let response =
                http::Response::builder().status(status).body(kube::client::Body::from(body.to_string().into_bytes()));
            async move { response }
        });
        let client = kube::Client::new(service, "default");
        let none = String::new;
        Cluster {
            client,
            namespace: none(),
            server: none(),
            flags: none(),
            cluster_flags: none(),
            shared_flags: none(),
        }
    }

    async fn names(cluster: &Cluster, pool: Option<&str>) -> Result<(Vec<String>, String), Failure> {
        let mut names = Vec::new();
        let version = each(cluster, pool, |entry| {
            names.push(entry.name);
            Ok(())
        })
        .await?;
        Ok((names, version))
    }

    #[tokio::test]
    async fn all_pages_are_read_or_the_list_fails() {
        let list = |next: &str, name: &str| json!({"metadata": {"resourceVersion": "42", "continue": next}, "items": [stored(name, json!({}))]});
        let pages = responding(move |url| {
            assert!(url.contains("limit=500") && url.contains("fieldSelector=userPoolID%3Dp"), "{url}");
            (200, if url.contains("continue=next") { list("", "b") } else { list("next", "a") })
        });
        assert_eq!(names(&pages, Some("p")).await.unwrap(), (vec!["a".into(), "b".into()], "42".into()));
        let expired = responding(move |url| {
            let gone =
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired"});
            if url.contains("continue=next") { (410, gone) } else { (200, list("next", "a")) }
        });
        assert!(names(&expired, None).await.unwrap_err().message.contains("run the same command again"));
    }

    #[test]
    fn a_record_that_cannot_be_read_has_its_name_and_the_reason() {
        for (fields, reason) in [(json!({"schema": 2}), "newer plugin"), (json!({"effect": "Perhaps"}), "Perhaps")] {
            let entry = Entry::new(stored("odd", fields));
            assert_eq!(entry.name, "odd");
            assert!(entry.record.unwrap_err().contains(reason), "{reason}");
        }
    }
}
