//! Generates the manifests in `crds/` from the types, and adds the parts of a schema that derives
//! cannot express.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

use crate::{PasswordResetRecord, PasswordResetRequest, UserPoolGrant, UserPoolHold, conditions::UNSEEN};

/// A CEL rule for text that people and auditors read in tables and logs: one line without hidden
/// characters. Zero-width joiners are allowed, because some languages and emoji need them.
pub(super) const ONE_LINE: &str = r"self.matches(r'^([^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|[\x{200c}\x{200d}])*$')";

/// The message about text that violates [`ONE_LINE`].
pub(super) const NOT_ONE_LINE: &str = "write one line of visible characters; line breaks, control characters and characters that hide or reverse text are rejected";

/// Returns the four CustomResourceDefinitions, as they are written in `crds/`.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut request = PasswordResetRequest::crd();
    default_status(&mut request);
    let mut crds = vec![request, PasswordResetRecord::crd(), UserPoolGrant::crd(), UserPoolHold::crd()];
    for crd in &mut crds {
        crd.metadata.labels = Some([("app.kubernetes.io/name".into(), "cognito-reset-operator".into())].into());
    }
    crds
}

/// Sets the status that a request has before the operator has seen it, and after a restore that
/// dropped its status.
fn default_status(crd: &mut CustomResourceDefinition) {
    let status = crd.spec.versions.iter_mut().filter_map(|version| {
        version.schema.as_mut()?.open_api_v3_schema.as_mut()?.properties.as_mut()?.get_mut("status")
    });
    for status in status {
        status.default = Some(JSON(json!({
            "outcome": "Pending",
            "observedGeneration": UNSEEN,
            "conditions": [{
                "type": "Ready",
                "status": "Unknown",
                "reason": "Pending",
                "message": "waiting for the operator; if this stays for a minute, check that the operator runs",
                "observedGeneration": UNSEEN,
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            }],
        })));
    }
}

/// The accepted spelling of a time, as a literal of CEL: the rules here, CEL's `timestamp` and the
/// operator's parser all read it.
///
/// The format `date-time` does not guarantee this. It accepts years, offsets and fractions that the
/// operator cannot represent, and spellings (lower case `t`, an offset of 99:99, text after the
/// time) that make CEL fail at every later write of the object.
pub(super) const SPELLED_TIME: &str = r"r'^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$'";

/// Returns the schema of a time that people write. It is a plain string to CEL, so no rule fails on
/// an invalid time.
pub(super) fn moment(_: &mut SchemaGenerator) -> Schema {
    let spelled = format!("self.matches({SPELLED_TIME})");
    // Years are compared as text. The operator's times end a day before the year 9999 does.
    let written = format!("{spelled} && self >= '1970' && self < '9999'");
    let year = "int(self.substring(0, 4))";
    let month = "self.substring(5, 7)";
    let leap = format!("{year} % 4 == 0 && ({year} % 100 != 0 || {year} % 400 == 0)");
    let days = format!("{month} in ['04', '06', '09', '11'] ? 30 : {month} != '02' ? 31 : {leap} ? 29 : 28");
    json_schema!({
        "type": "string",
        "nullable": true,
        "maxLength": 64,
        "x-kubernetes-validations": [{
            "rule": written,
            "message": "write the time as 2036-01-01T00:00:00Z or 2036-01-01T02:00:00+02:00: years 1970 to 9998, T and Z in upper case, seconds up to 59, at most nine digits of a fraction after a dot, offsets up to 23:59; for no limit, leave it out",
        }, {
            "rule": format!("!{spelled} || int(self.substring(8, 10)) <= ({days})"),
            "message": "the month has no such day",
        }],
    })
}

/// Returns a rule that a time stays the same moment, in any spelling. A value that was stored
/// before these rules may not be a time to CEL, so the text is compared first.
pub(super) fn same_moment(field: &str) -> String {
    let (now, before) = (format!("self.{field}"), format!("oldSelf.{field}"));
    let spelled = format!("[{now}, {before}].all(time, time.matches({SPELLED_TIME}))");
    format!(
        "has({now}) == has({before}) && (!has({now}) || {now} == {before} || ({spelled} && timestamp({now}) == timestamp({before})))"
    )
}

/// Returns the schema of `clientMetadata`. A pattern and `maxLength` count characters, of up to 4
/// bytes each, so rules bound the bytes.
pub(super) fn client_metadata(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 20,
        "additionalProperties": { "type": "string", "maxLength": 2048 },
        "x-kubernetes-validations": [{
            "rule": "self.all(key, size(key) >= 1 && size(key) <= 128)",
            "message": "keys have 1 to 128 characters",
        }, {
            "rule": "self.map(key, size(bytes(key)) + size(bytes(self[key]))).sum() <= 8192",
            "message": "all keys and values together have at most 8192 bytes of UTF-8",
        }],
    })
}

/// Returns the schema of the standard conditions, with limits, as a map list by type.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the state.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string", "maxLength": 64, "pattern": "^[A-Z][A-Za-z]*$",
                    "description": "The aspect, in CamelCase.",
                },
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"],
                    "description": "True, False or Unknown.",
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": -1,
                    "description": "The generation of the spec that this condition describes.",
                },
                "lastTransitionTime": {
                    "type": "string", "format": "date-time",
                    "description": "The time when the status of this condition last changed.",
                },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Z][A-Za-z0-9]*$",
                    "description": "The reason, in one CamelCase word: the exact exception of Cognito, or one of the operator's reasons.",
                },
                "message": {
                    "type": "string", "maxLength": 1024,
                    "description": "The reason, in one sentence for people.",
                },
            },
        },
    })
}

/// The syntax of a label's key and value in Kubernetes, as literals of CEL. No namespace can have
/// others.
const LABEL_KEY: &str = "'^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'";
const LABEL_VALUE: &str = "'^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'";

/// Returns the schema of the standard label selector, with limits.
pub(super) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    let key = json!({
        "type": "string", "minLength": 1, "maxLength": 317, "description": "The label's key.",
        "x-kubernetes-validations": [{ "rule": format!("self.matches({LABEL_KEY})"), "message": "this is not a valid label key" }],
    });
    let value = json!({
        "type": "string", "maxLength": 63,
        "x-kubernetes-validations": [{ "rule": format!("self.matches({LABEL_VALUE})"), "message": "this is not a valid label value" }],
    });
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "type": "object", "maxProperties": 16,
                "additionalProperties": value,
                "description": "Labels that a namespace must have, with exactly these values.",
                "x-kubernetes-validations": [{
                    "rule": format!("self.all(key, size(key) <= 317 && key.matches({LABEL_KEY}))"),
                    "message": "the keys have to be valid label keys",
                }],
            },
            "matchExpressions": {
                "type": "array", "maxItems": 16, "x-kubernetes-list-type": "atomic",
                "description": "Requirements on labels that a namespace must all meet.",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "description": "One requirement on a label.",
                    "x-kubernetes-validations": [{
                        "rule": "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
                        "message": "In and NotIn need values; Exists and DoesNotExist take none",
                    }],
                    "properties": {
                        "key": key,
                        "operator": {
                            "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                            "description": "The comparison of the label with the values.",
                        },
                        "values": {
                            "type": "array", "maxItems": 64, "x-kubernetes-list-type": "atomic",
                            "items": value,
                            "description": "The values to compare with.",
                        },
                    },
                },
            },
        },
    })
}
