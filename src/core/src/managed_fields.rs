//! Reads when an object was written, as the API server keeps it in `managedFields`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

/// Returns the time when the API server last stored a write by these managers, or the creation of
/// the object if that is later.
pub(crate) fn written(metadata: &ObjectMeta, of: impl Fn(&ManagedFieldsEntry) -> bool) -> Option<Timestamp> {
    let managed = metadata.managed_fields.iter().flatten().filter(|entry| of(entry));
    let changed = managed.filter_map(|entry| entry.time.as_ref());
    changed.chain(metadata.creation_timestamp.as_ref()).map(|time| time.0).max()
}
