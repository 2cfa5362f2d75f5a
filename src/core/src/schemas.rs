//! Compares the schemas that the API server serves with those of this version. A field or value
//! that a CRD does not have is dropped or rejected.

use std::collections::BTreeSet;

use cognito_reset_api::PasswordResetRecord;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Resource;
use serde_json::Value;

/// The most fields that a message names.
const NAMED: usize = 5;
/// The fields of a schema that describe what an object, a list and a map contain.
const PROPERTIES: &str = "properties";
const ITEMS: &str = "items";
const ENUM: &str = "enum";
const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";
const KINDS: &str = "x-kubernetes-group-version-kind";

/// The parts that the CRDs of the cluster lack, as `RESOURCE FIELD` or `RESOURCE FIELD=VALUE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// The fields and values of the ledger.
    pub ledger: BTreeSet<String>,
    /// All others.
    pub others: BTreeSet<String>,
}

impl Missing {
    /// Returns true if they lack nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ledger.is_empty() && self.others.is_empty()
    }
}

/// Returns what the served schemas lack. A kind that the document does not have lacks nothing:
/// whether its CRD exists is seen elsewhere.
#[must_use]
pub fn compare(own: &[CustomResourceDefinition], document: &Value) -> Missing {
    let mut missing = Missing::default();
    for crd in own {
        let names = &crd.spec.names;
        let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
        let own = schema.and_then(|schema| serde_json::to_value(schema).ok()).unwrap_or_default();
        let mut found = BTreeSet::new();
        if let Some(served) = served(document, &crd.spec.group, &names.kind) {
            add(&own, served, "", &mut found);
        }
        let is_ledger = names.plural == PasswordResetRecord::plural(&());
        let into = if is_ledger { &mut missing.ledger } else { &mut missing.others };
        into.extend(found.into_iter().map(|field| format!("{} {field}", names.plural)));
    }
    missing
}

fn served<'a>(document: &'a Value, group: &str, kind: &str) -> Option<&'a Value> {
    let is_it = |schema: &&Value| {
        let kinds = schema.get(KINDS).and_then(Value::as_array);
        kinds.into_iter().flatten().any(|one| one["group"] == group && one["kind"] == kind)
    };
    let has_fields = |schema: &&Value| schema.pointer("/properties/items/items").is_none();
    document.pointer("/components/schemas")?.as_object()?.values().filter(has_fields).find(is_it)
}

/// Adds the fields and values of `own` that `served` does not have. Of a field that is missing, the
/// fields within are not named.
fn add(own: &Value, served: &Value, path: &str, missing: &mut BTreeSet<String>) {
    if served[PRESERVES] == true {
        return;
    }
    let values = |schema: &Value| schema[ENUM].as_array().cloned();
    if let (Some(own), Some(served)) = (values(own), values(served)) {
        let lacking = own.iter().filter(|value| !served.contains(value)).filter_map(Value::as_str);
        missing.extend(lacking.map(|value| format!("{path}={value}")));
    }
    for (name, own) in own[PROPERTIES].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match served[PROPERTIES].get(name) {
            Some(served) => add(own, served, &path, missing),
            None => {
                missing.insert(path);
            }
        }
    }
    if let (Some(own), Some(served)) = (own.get(ITEMS), served.get(ITEMS)) {
        add(own, served, &format!("{path}[]"), missing);
    }
}

/// Returns the list for a message.
#[must_use]
pub fn listed(missing: &BTreeSet<String>) -> String {
    let named: Vec<_> = missing.iter().take(NAMED).map(String::as_str).collect();
    match missing.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The document of an API server that has the CRDs of this version.
    fn document() -> Value {
        let schemas = cognito_reset_api::crds().into_iter().map(|crd| {
            let mut schema =
                serde_json::to_value(&crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema).unwrap();
            schema[KINDS] = json!([{ "group": crd.spec.group, "version": "v1alpha1", "kind": crd.spec.names.kind }]);
            (crd.spec.names.kind, schema)
        });
        json!({ "components": { "schemas": Value::Object(schemas.collect()) } })
    }

    fn without(place: &str, name: &str) -> Missing {
        let mut document = document();
        let place = document.pointer_mut(&format!("/components/schemas/{place}")).unwrap();
        match place {
            Value::Object(fields) => assert!(fields.remove(name).is_some(), "{name}"),
            Value::Array(values) => values.retain(|value| value != name),
            other => panic!("{other}"),
        }
        compare(&cognito_reset_api::crds(), &document)
    }

    #[test]
    fn the_schemas_of_this_version_lack_nothing() {
        assert_eq!(compare(&cognito_reset_api::crds(), &document()), Missing::default());
        assert_eq!(compare(&cognito_reset_api::crds(), &json!({})), Missing::default());
    }

    #[test]
    fn a_field_or_value_of_the_ledger_differs_from_others() {
        let attempt = "PasswordResetRecord/properties/attempts/items/properties";
        let evidence = format!("{attempt}/evidence/enum");
        let source = "UserPoolGrant/properties/spec/properties/userStateSource/enum";
        for (place, name, ledger, others) in [
            (attempt, "sentAt", "passwordresetrecords attempts[].sentAt", ""),
            ("PasswordResetRecord/properties", "closed", "passwordresetrecords closed", ""),
            (&evidence, "UserStatusCheck", "passwordresetrecords attempts[].evidence=UserStatusCheck", ""),
            ("UserPoolGrant/properties/spec/properties", "sessionTags", "", "userpoolgrants spec.sessionTags"),
            (source, "ListUsers", "", "userpoolgrants spec.userStateSource=ListUsers"),
            (
                "PasswordResetRequest/properties/status/properties",
                "password",
                "",
                "passwordresetrequests status.password",
            ),
        ] {
            let missing = without(place, name);
            assert_eq!((listed(&missing.ledger).as_str(), listed(&missing.others).as_str()), (ledger, others));
        }
    }

    #[test]
    fn newer_schemas_and_schemas_that_keep_every_field_lack_nothing() {
        let mut newer = document();
        newer["components"]["schemas"]["UserPoolGrant"][PROPERTIES]["spec"][PROPERTIES]["weekdays"] = json!({});
        assert_eq!(compare(&cognito_reset_api::crds(), &newer), Missing::default());
        let record = &mut newer["components"]["schemas"]["PasswordResetRecord"];
        record[PRESERVES] = true.into();
        record[PROPERTIES] = json!({});
        assert_eq!(compare(&cognito_reset_api::crds(), &newer), Missing::default());
    }

    #[test]
    fn long_lists_are_cut() {
        let many: BTreeSet<_> = (0..7).map(|number| format!("field{number}")).collect();
        assert_eq!(listed(&many), "field0, field1, field2, field3, field4 and 2 more");
    }
}
