//! The results of the preparation: acknowledged and refused steps.

use parking_lot::Mutex;

use crate::plan::Resource;

/// The results of all steps so far. It is read while everything is removed, also after a panic.
#[derive(Debug, Default)]
pub(crate) struct Made {
    resources: Mutex<Vec<(Resource, String)>>,
    refusals: Mutex<Vec<(Part, String)>>,
}

/// A part of the preparation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Resource(Resource),
    /// The user of the row of this id.
    User(&'static str),
}

impl Made {
    pub(crate) fn acknowledge(&self, resource: Resource, handle: String) {
        self.resources.lock().push((resource, handle));
    }

    pub(crate) fn refuse(&self, part: Part, code: String) {
        self.refusals.lock().push((part, code));
    }

    /// Returns the id of a pool, or the ARN of a role or the function.
    pub(crate) fn handle(&self, resource: Resource) -> Option<String> {
        self.resources.lock().iter().find(|(it, _)| *it == resource).map(|(_, handle)| handle.clone())
    }

    /// Returns the code with which the service refused a part.
    pub(crate) fn refusal(&self, part: Part) -> Option<String> {
        self.refusals.lock().iter().find(|(it, _)| *it == part).map(|(_, code)| code.clone())
    }

    pub(crate) fn resources(&self) -> Vec<(Resource, String)> {
        self.resources.lock().clone()
    }
}
