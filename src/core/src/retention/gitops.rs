//! Detects requests that a GitOps tool tracks. The tool would create them again after a deletion.
//! Pure.

use cognito_reset_api::PasswordResetRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The mark that a tool writes on an object that it applies, in labels or annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracker {
    /// The annotation of Argo CD; the default since 3.0.
    ArgoTrackingId,
    /// The label that Argo CD's documentation suggests instead of the next one.
    ArgoInstance,
    /// The default label of Argo CD before 3.0. Helm charts write it, too; their next upgrade would
    /// create the object again.
    Instance,
    /// The mark of Flux's kustomize-controller.
    FluxKustomization,
    /// The mark of Flux's helm-controller.
    FluxHelmRelease,
    /// The mark of a `ResourceSet` of the Flux operator.
    FluxResourceSet,
    /// The mark of a `FluxInstance` of the Flux operator.
    FluxInstance,
}

impl Tracker {
    /// All marks, the most reliable first.
    pub const ALL: [Self; 7] = [
        Self::ArgoTrackingId,
        Self::FluxKustomization,
        Self::FluxHelmRelease,
        Self::FluxResourceSet,
        Self::FluxInstance,
        Self::ArgoInstance,
        Self::Instance,
    ];

    /// Returns the key of the label or annotation.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::ArgoTrackingId => "argocd.argoproj.io/tracking-id",
            Self::ArgoInstance => "argocd.argoproj.io/instance",
            Self::Instance => "app.kubernetes.io/instance",
            Self::FluxKustomization => "kustomize.toolkit.fluxcd.io/name",
            Self::FluxHelmRelease => "helm.toolkit.fluxcd.io/name",
            Self::FluxResourceSet => "resourceset.fluxcd.controlplane.io/name",
            Self::FluxInstance => "fluxcd.controlplane.io/name",
        }
    }

    /// Returns the name of the tool, for people.
    #[must_use]
    pub const fn tool(self) -> &'static str {
        match self {
            Self::ArgoTrackingId | Self::ArgoInstance => "Argo CD",
            Self::Instance => "Argo CD or Helm",
            Self::FluxKustomization | Self::FluxHelmRelease | Self::FluxResourceSet | Self::FluxInstance => "Flux",
        }
    }

    /// Returns the message about a request whose time to live is not applied because of this mark.
    #[must_use]
    pub fn note(self) -> String {
        format!(
            "ttlSecondsAfterFinished is not applied: {} tracks this request, as {} says, and would create it again; \
             remove it from the source that it is applied from",
            self.tool(),
            self.key()
        )
    }
}

/// Returns the tracker of the object, if a tool tracks it.
#[must_use]
pub fn tracker(metadata: &ObjectMeta) -> Option<Tracker> {
    let maps = [metadata.labels.as_ref(), metadata.annotations.as_ref()];
    let has = |tracker: &Tracker| maps.iter().flatten().any(|map| map.contains_key(tracker.key()));
    Tracker::ALL.into_iter().find(has)
}

/// Returns the tracker that exempts a request from its time to live; `None` if it has no time to
/// live, or no tool tracks it.
#[must_use]
pub fn exempt(request: &PasswordResetRequest) -> Option<Tracker> {
    request.spec.ttl_seconds_after_finished.and_then(|_| tracker(&request.metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracked_request_is_exempt_only_if_it_has_a_time_to_live() {
        for (ttl, tracked) in [(Some(0), true), (Some(60), true), (Some(60), false), (None, true)] {
            let spec = serde_json::json!({ "userPoolID": "p_1", "username": "alice", "ttlSecondsAfterFinished": ttl });
            let mut request = PasswordResetRequest::new("reset", serde_json::from_value(spec).unwrap());
            let found = Tracker::FluxHelmRelease;
            request.metadata.labels = tracked.then(|| [(found.key().to_owned(), String::new())].into());
            let wanted = (ttl.is_some() && tracked).then_some(found);
            assert_eq!(exempt(&request), wanted, "{ttl:?}, tracked: {tracked}");
        }
    }

    #[test]
    fn every_mark_is_found_as_label_and_as_annotation() {
        for wanted in Tracker::ALL {
            let map = || Some([(wanted.key().to_owned(), "anything".to_owned())].into());
            let labelled = ObjectMeta { labels: map(), ..ObjectMeta::default() };
            let annotated = ObjectMeta { annotations: map(), ..ObjectMeta::default() };
            assert_eq!((tracker(&labelled), tracker(&annotated)), (Some(wanted), Some(wanted)));
            let tool = if wanted.key().contains("flux") { "Flux" } else { "Argo CD" };
            let note = wanted.note();
            assert!(note.contains(wanted.key()) && note.contains(&format!(": {tool}")), "{note}");
        }
    }

    #[test]
    fn what_people_write_on_a_request_is_no_mark() {
        let keys = [
            "kubectl.kubernetes.io/last-applied-configuration",
            "app.kubernetes.io/name",
            "argocd.argoproj.io/sync-wave",
            "kustomize.toolkit.fluxcd.io/prune",
        ];
        let map = Some(keys.map(|key| (key.to_owned(), "anything".to_owned())).into());
        let metadata = ObjectMeta { labels: map.clone(), annotations: map, ..ObjectMeta::default() };
        assert_eq!(tracker(&metadata), None);
        assert_eq!(tracker(&ObjectMeta::default()), None);
    }
}
