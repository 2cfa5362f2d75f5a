//! The result of reading something of the cluster, and the findings of what was not read.

use crate::doctor::finding::Finding;

/// The result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read<T> {
    /// The content.
    Got(T),
    /// The API server does not have it.
    Absent,
    /// You lack the permission.
    Forbidden,
    /// The read failed in another way.
    Failed(String),
}

impl<T> Read<T> {
    /// Sorts the response to a read.
    pub fn of(response: Result<T, kube::Error>) -> Self {
        match response {
            Ok(content) => Self::Got(content),
            Err(kube::Error::Api(status)) => match status.code {
                404 => Self::Absent,
                403 => Self::Forbidden,
                _ => Self::Failed(status.message.clone()),
            },
            Err(error) => Self::Failed(error.to_string()),
        }
    }

    /// Returns the content, if it was read.
    pub const fn got(&self) -> Option<&T> {
        match self {
            Self::Got(content) => Some(content),
            Self::Absent | Self::Forbidden | Self::Failed(_) => None,
        }
    }

    /// Changes the content.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Read<U> {
        match self {
            Self::Got(content) => Read::Got(change(content)),
            Self::Absent => Read::Absent,
            Self::Forbidden => Read::Forbidden,
            Self::Failed(message) => Read::Failed(message),
        }
    }

    /// Returns the content, or the finding of a check that could not be made. `what` completes "you
    /// may not …", and `role` names the permission that would allow it.
    ///
    /// # Errors
    /// With that finding.
    pub fn needed(&self, subject: &'static str, what: &str, role: &str) -> Result<&T, Finding> {
        match self {
            Self::Got(content) => Ok(content),
            Self::Absent => Err(Finding::skipped(
                subject,
                format!("cannot {what}: the cluster does not have them"),
                "the other findings name what is missing",
            )),
            Self::Forbidden => {
                Err(Finding::skipped(subject, format!("you may not {what}"), format!("{role} allows it")))
            }
            Self::Failed(message) => Err(Finding::skipped(
                subject,
                format!("cannot {what}: {message}"),
                "run the command again, with --request-timeout if the API server is slow",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::doctor::finding::Severity;

    #[test]
    fn what_is_not_read_is_skipped_and_says_what_allows_it() {
        let status = |code| Status { message: "no".into(), code, ..Status::default() };
        for (code, read, remedy) in [
            (404, Read::Absent, "the other findings"),
            (403, Read::Forbidden, "the ClusterRole x allows it"),
            (500, Read::Failed("no".into()), "run the command again"),
        ] {
            let found = Read::<()>::of(Err(kube::Error::Api(Box::new(status(code)))));
            assert_eq!(found, read);
            let finding = found.needed("holds", "list holds", "the ClusterRole x").expect_err("it was not read");
            assert_eq!(finding.severity, Severity::Skipped);
            assert!(finding.remedy.is_some_and(|it| it.starts_with(remedy)), "{code}");
        }
        assert_eq!(Read::of(Ok(1)).map(|it| it + 1).needed("a", "b", "c"), Ok(&2));
    }
}
