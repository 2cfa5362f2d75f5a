//! Decides whether a request can be approved, and shows exactly what an approval is for.

use std::fmt::Write as _;

use cognito_reset_api::{Exception, Outcome, UserPoolGrant, UserStateSource, WaitReason};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::Value;

use crate::{
    manage::chosen::Found,
    request::{Request, Spec},
    terminal::{age, shown},
};

/// A request as an approver sees it.
#[derive(Clone, Debug)]
pub struct Review {
    /// The name.
    pub name: String,
    /// The uid, which the approval is bound to.
    pub uid: Option<String>,
    /// The version that was shown.
    pub resource_version: Option<String>,
    /// The parts that the approval is for.
    pub approved: Approved,
    /// The decision.
    pub verdict: Verdict,
    created: Option<Timestamp>,
    waits: (String, String),
}

/// The parts of a request that an approval is for. They are equal as long as the same is approved.
#[derive(Clone, Debug, PartialEq)]
pub struct Approved {
    spec: Spec,
    client_metadata: Option<Value>,
    user_name: Option<String>,
    user_sub: Option<String>,
}

/// The decision about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can be approved.
    Approve,
    /// It is approved, by this user if that is known.
    Already(Option<String>),
    /// It has ended with this outcome.
    Ended(&'static str),
    /// The pool has no such user, as the status says.
    NoUser,
    /// The status does not show the user yet, with what to do.
    Unseen(String),
}

/// The rule for a request whose status does not show the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// It is refused.
    Refused,
    /// Nobody reads users of the pool, or the approver accepts it.
    Accepted,
}

impl Unseen {
    /// Returns the rule for a pool: a user is never shown if no grant of the pool lets anybody read
    /// users.
    #[must_use]
    pub fn of(grants: &[UserPoolGrant], pool: &str) -> Self {
        let mut grants = grants.iter().filter(|grant| grant.spec.user_pool_id == pool).peekable();
        let some = grants.peek().is_some();
        let nobody_reads = grants.all(|grant| grant.spec.user_state_source == Some(UserStateSource::None));
        if some && nobody_reads { Self::Accepted } else { Self::Refused }
    }
}

impl Review {
    /// Reviews a request.
    #[must_use]
    pub fn new(found: &Found, unseen: Unseen) -> Self {
        let Found { object, request } = found;
        Self {
            name: object.name_any(),
            uid: object.uid(),
            resource_version: object.resource_version(),
            approved: Approved {
                // None of these is a part of what is approved.
                spec: Spec { suspend: false, approved: false, approved_by: None, ..request.spec.clone() },
                client_metadata: object.data.pointer("/spec/clientMetadata").cloned(),
                user_name: request.status.user_name.clone(),
                user_sub: request.status.user_sub.clone(),
            },
            verdict: judge(request, unseen),
            created: object.creation_timestamp().map(|time| time.0),
            waits: (request.reason().to_owned(), request.message().to_owned()),
        }
    }

    /// Returns the user pool.
    #[must_use]
    pub fn pool(&self) -> &str {
        &self.approved.spec.user_pool_id
    }

    /// Returns the user as the request names it.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.approved.spec.username
    }

    /// Returns true if this is the same object as another review shows, for the same user.
    #[must_use]
    pub fn shows_the_same_as(&self, other: &Self) -> bool {
        self.uid == other.uid && self.approved == other.approved
    }

    /// Returns the text that an approver reads.
    #[must_use]
    pub fn text(&self, namespace: &str, now: Timestamp) -> String {
        let mut text = format!("{} in namespace {namespace}\n", shown(&self.name));
        for (name, value) in self.fields(now) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {:<16} {}", format!("{name}:"), shown(&value));
        }
        text.trim_end().to_owned()
    }

    fn fields(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let Approved { spec, client_metadata, .. } = &self.approved;
        let mut fields = vec![
            ("user", spec.username.clone()),
            ("means the user", self.canonical()),
            ("pool", spec.user_pool_id.clone()),
            ("requester", self.requester()),
        ];
        let optional = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        fields.push(("ticket", format!("{} (a claim of the requester)", optional(&spec.ticket))));
        fields.push(("reason", format!("{} (a claim of the requester)", optional(&spec.reason))));
        if let Some(on_behalf_of) = &spec.on_behalf_of {
            fields.push(("on behalf of", format!("{on_behalf_of} (a claim of the requester)")));
        }
        if let Some(metadata) = client_metadata {
            fields.push(("client metadata", metadata.to_string()));
        }
        if let Some(not_after) = &spec.not_after {
            fields.push(("not after", not_after.0.to_string()));
        }
        fields.push(("age", self.created.map_or_else(|| "unknown".to_owned(), |created| age(created, now))));
        fields.push(("waits for", format!("{}: {}", self.waits.0, self.waits.1)));
        fields.push(("uid", self.uid.clone().unwrap_or_default()));
        fields
    }

    fn canonical(&self) -> String {
        match (&self.approved.user_name, &self.approved.user_sub) {
            (Some(name), Some(sub)) => format!("{name} (sub {sub})"),
            (Some(name), None) => format!("{name} (without a sub)"),
            (None, Some(sub)) => format!("sub {sub}"),
            (None, None) => "not shown: the approval counts for any user that the name above means".to_owned(),
        }
    }

    fn requester(&self) -> String {
        let requester = self.approved.spec.requested_by.as_ref();
        let Some(requester) = requester.filter(|requester| requester.is_authenticated()) else {
            return "unverified (not authenticated)".to_owned();
        };
        let session = requester.extra.as_ref().and_then(|extra| extra.session_name.as_ref());
        let session = session.map(|session| format!(", session {session}")).unwrap_or_default();
        format!("{}{session} (authenticated)", requester.username)
    }
}

/// Decides whether a request can be approved.
fn judge(request: &Request, unseen: Unseen) -> Verdict {
    let is_shown = request.status.user_name.is_some() || request.status.user_sub.is_some();
    match request.outcome() {
        ended @ (Outcome::Succeeded | Outcome::Failed | Outcome::Unknown) => Verdict::Ended(ended.as_str()),
        Outcome::Pending if request.spec.approved => {
            Verdict::Already(request.spec.approved_by.as_ref().map(|user| user.username.clone()))
        }
        Outcome::Pending if is_shown || unseen == Unseen::Accepted => Verdict::Approve,
        Outcome::Pending if request.message().contains(Exception::UserNotFound.code()) => Verdict::NoUser,
        Outcome::Pending => Verdict::Unseen(not_shown(request)),
    }
}

/// Returns the cause for which the status does not show the user, and what to do.
fn not_shown(request: &Request) -> String {
    let (reason, message) = (request.reason(), request.message());
    let wait = if reason == WaitReason::AwaitingApproval.as_str() {
        format!("run the command again in a moment; the status says: {message}")
    } else if message.is_empty() {
        "the operator has not written a status of the request".to_owned()
    } else {
        format!(
            "the operator reads the user once the request lacks nothing but the approval, and now it waits as {reason}: {message}"
        )
    };
    format!("the status does not show yet whom the name means, so the approval would be for an unseen user: {wait}")
}

#[cfg(test)]
mod tests;
