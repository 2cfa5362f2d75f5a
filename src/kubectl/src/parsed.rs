//! Lists in which an object that this version cannot parse hides no other.

use kube::{
    Api, Resource, ResourceExt as _,
    api::{DynamicObject, ListParams, Request},
    core::{ListMeta, ObjectList},
};
use serde::de::DeserializeOwned;

/// The objects of a kind, and the names of those that this plugin cannot parse.
#[derive(Clone, Debug)]
pub struct Parsed<K> {
    /// The objects.
    pub objects: Vec<K>,
    /// The names of the others, with their namespaces.
    pub unreadable: Vec<String>,
}

/// Parses objects one by one.
#[must_use]
pub fn parsed<K: DeserializeOwned>(objects: &[DynamicObject]) -> Parsed<K> {
    let mut parsed = Parsed { objects: Vec::new(), unreadable: Vec::new() };
    for object in objects {
        match serde_json::to_value(object).and_then(serde_json::from_value) {
            Ok(object) => parsed.objects.push(object),
            Err(_) => parsed.unreadable.push(id(object)),
        }
    }
    parsed
}

fn id(object: &DynamicObject) -> String {
    let name = object.name_any();
    object.namespace().map_or(name.clone(), |namespace| format!("{namespace}/{name}"))
}

/// Lists a page, and returns it with the metadata of the list.
///
/// # Errors
/// When the API server refuses or does not respond. An object that cannot be parsed is no error.
pub async fn list<K: Resource + Clone + DeserializeOwned>(
    api: &Api<K>,
    params: &ListParams,
) -> Result<(Parsed<K>, ListMeta), kube::Error> {
    let request = Request::new(api.resource_url()).list(params).map_err(kube::Error::BuildRequest)?;
    let page: ObjectList<DynamicObject> = api.clone().into_client().request(request).await?;
    Ok((parsed(&page.items), page.metadata))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{cluster::Cluster, ledger::tests::responding};

    #[tokio::test]
    async fn an_object_that_cannot_be_parsed_hides_no_other() {
        let cluster: Cluster = responding(|url| {
            assert!(url.contains("/namespaces/support/passwordresetrequests?&limit=9"), "{url}");
            let object = |name: &str, outcome: &str| json!({"metadata": {"name": name, "namespace": "support"}, "status": {"outcome": outcome}});
            let items = [object("a", "Failed"), object("b", "Postponed"), object("c", "Succeeded")];
            (200, json!({"metadata": {"continue": "next"}, "items": items}))
        });
        let api: Api<crate::request::Request> = Api::namespaced(cluster.client, "support");
        let (page, metadata) = list(&api, &ListParams::default().limit(9)).await.expect("a page");
        assert_eq!(page.objects.iter().map(|object| object.name_any()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!((page.unreadable, metadata.continue_.as_deref()), (vec!["support/b".to_owned()], Some("next")));
    }
}
