//! The explanation as text, wrapped to the terminal. Pure.

use cognito_reset_api::{Evidence, Origin, Outcome, Password, PasswordResetRecord};

use super::{
    case::{Case, Seen},
    next::{Flags, next},
    sent::sentences,
    timeline::{approver, entries, person, requester},
};
use crate::{
    list::password,
    reasons::{Explanation, explain},
    request::{Request, Spec},
    terminal::{moment, shown, typable, wrapped},
};

/// The way in which an explanation is printed.
#[derive(Clone, Copy, Debug)]
pub struct Style<'a> {
    /// The columns of the terminal; `None` if lines are not wrapped.
    pub width: Option<usize>,
    /// The flags of kubectl that lead to the cluster.
    pub flags: Flags<'a>,
}

/// Returns the whole explanation of one request.
#[must_use]
pub fn full(case: &Case, style: Style<'_>) -> String {
    let mut page = Page { text: format!("{}\n", shown(&case.id.to_string())), style };
    page.facts(case);
    page.timeline(case);
    if let (Some(request), Some(reason)) = (&case.request, case.reason()) {
        page.text += &format!("\nWhy: {}\n", shown(reason));
        page.line("Message", &shown(request.message()));
        page.why(case, reason);
        page.advice(request, reason);
    }
    page.hidden(case);
    page.text
}

/// Returns the explanations of several requests of a user, newest first. What to do is a part of
/// the newest and of those that are pending: any of them replaces an older one that has ended.
#[must_use]
pub fn several(cases: &[Case], style: Style<'_>) -> String {
    let is_pending = |case: &Case| case.outcome() == Some(Outcome::Pending);
    let pages = cases.iter().enumerate();
    let pages = pages.map(|(index, case)| brief(case, index == 0 || is_pending(case), style));
    pages.collect::<Vec<_>>().join("\n")
}

/// Returns the explanation of one request among several.
fn brief(case: &Case, is_advised: bool, style: Style<'_>) -> String {
    let began = case.began().map_or_else(|| "-".to_owned(), moment);
    let mut page = Page { text: format!("{began}  {}\n", shown(&case.id.to_string())), style };
    page.outcome(case);
    page.sent(case);
    page.line("Asked by", &asked_by(case));
    if let (Some(request), Some(reason)) = (&case.request, case.reason()) {
        page.why(case, reason);
        if is_advised {
            page.advice(request, reason);
        }
    }
    page.text
}

struct Page<'a> {
    text: String,
    style: Style<'a>,
}

impl Page<'_> {
    fn line(&mut self, label: &str, text: &str) {
        if !text.is_empty() {
            self.text += &wrapped(&format!("  {label:<10}"), text, self.style.width);
            self.text.push('\n');
        }
    }

    fn facts(&mut self, case: &Case) {
        let request = case.request.as_ref();
        let spec = request.map(|request| &request.spec);
        let of_record = case.record().map(|record| [&record.spec.username, &record.spec.user_pool_id]);
        if let Some([user, pool]) = spec.map(|spec| [&spec.username, &spec.user_pool_id]).or(of_record) {
            let sub = request.and_then(|request| request.status.user_sub.as_ref());
            let sub = sub.or_else(|| case.record().and_then(|record| record.spec.user_sub.as_ref()));
            let sub = sub.map(|sub| format!(" (sub {})", shown(sub))).unwrap_or_default();
            self.line("User", &format!("{}{sub}", shown(user)));
            let name = request.and_then(|request| request.status.user_name.as_ref());
            self.line("Named", &name.map(|name| format!("{} in Cognito", shown(name))).unwrap_or_default());
            self.line("Pool", &shown(pool));
        }
        self.outcome(case);
        self.sent(case);
        self.line("Asked by", &asked_by(case));
        self.line("Claimed", &claims(case));
        self.line("Approved", &approved(case));
        let not_after = spec.and_then(|spec| spec.not_after.as_ref());
        self.line("Not after", &not_after.map(|time| moment(time.0)).unwrap_or_default());
    }

    fn outcome(&mut self, case: &Case) {
        match (&case.request, case.reason()) {
            (Some(request), Some(reason)) => {
                self.line("Outcome", &format!("{}, {}", request.outcome().as_str(), shown(reason)));
                let known = request.status.password;
                self.line("Password", &format!("{}: {}", password(known), in_words(known, request.outcome())));
            }
            _ => {
                let request = if case.is_gone { "the request is gone" } else { "you may not read the request" };
                self.line("Outcome", &format!("{request}; {}", effect(case.record())));
            }
        }
    }

    fn sent(&mut self, case: &Case) {
        self.line("Sent", &sentences(case).join(" "));
    }

    fn timeline(&mut self, case: &Case) {
        self.text += "\nTimeline\n";
        for entry in entries(case) {
            let at = if entry.is_dated { moment(entry.at) } else { String::new() };
            self.text += &wrapped(&format!("  {at:<20}  "), &entry.text, self.style.width);
            self.text.push('\n');
        }
    }

    fn why(&mut self, case: &Case, reason: &str) {
        self.line("Meaning", &explained(reason).meaning);
        self.line("Cause", &cause(case, reason).unwrap_or_default());
    }

    fn advice(&mut self, request: &Request, reason: &str) {
        self.line("To do", &explained(reason).action.unwrap_or_default());
        let (mut label, mut who) = ("Next", "");
        for next in next(request, reason, self.style.flags) {
            // The commands of one person have one heading.
            if next.who != who {
                self.line(label, &format!("{}:", next.who));
            }
            self.text += &format!("            {}\n", next.command);
            (label, who) = ("", next.who);
        }
    }

    /// Names what was not read, and who can.
    fn hidden(&mut self, case: &Case) {
        let record = match &case.record {
            Seen::Hidden(why) => Some((
                "Record",
                why,
                "each attempt with its requester, approver and grants, when its call was sent, what Cognito responded, the state of the user before and after, and earlier request objects of this name",
            )),
            Seen::Shown(_) => None,
        };
        let events = match &case.events {
            Seen::Hidden(why) => {
                Some(("Events", why, "what the operator reported besides the status, with permission to list Events"))
            }
            Seen::Shown(_) => None,
        };
        if record.is_none() && events.is_none() {
            return;
        }
        self.text += "\nNot shown\n";
        for (label, why, content) in record.into_iter().chain(events) {
            self.line(label, &format!("{why}; an auditor sees {content}"));
        }
        if record.is_some() {
            self.line("Next", "an auditor (ClusterRole cognito-reset-auditor):");
            let name = typable(&case.id.name).unwrap_or_else(|| "NAME".to_owned());
            let flags = self.style.flags.within(&case.id.namespace);
            self.text += &format!("            kubectl cognito-reset explain {name}{flags}\n");
        }
    }
}

/// Returns the explanation of a reason, also of one that this release does not know.
fn explained(reason: &str) -> Explanation {
    explain(reason).unwrap_or_else(|| Explanation {
        meaning: "This release of the plugin does not know the reason: a newer operator wrote it.".to_owned(),
        action: Some("read the message, and upgrade the plugin".to_owned()),
    })
}

const fn in_words(password: Password, outcome: Outcome) -> &'static str {
    match (password, outcome) {
        (Password::Invalidated, _) => {
            "the password from before the reset no longer works; it is not known here if the user has set a new one"
        }
        (Password::Unchanged, _) => "this request did not and will not change it",
        (Password::Unknown, Outcome::Pending) => "not known yet",
        (Password::Unknown, _) => "it cannot be determined if the reset invalidated it",
    }
}

/// Returns the effect in a record, in words.
fn effect(record: Option<&PasswordResetRecord>) -> String {
    let Some(record) = record else { return "no record is shown".to_owned() };
    match (&record.spec.closed, record.spec.effect) {
        (Some(closed), _) => format!("its record was closed without a call: {}", super::timeline::closing(closed)),
        (None, Some(effect)) => format!("its record has the effect {}", effect.as_str()),
        (None, None) => "its record has a claim that is not settled".to_owned(),
    }
}

/// Returns the origin of the newest attempt or closing for this request object.
fn origin(case: &Case) -> Option<&Origin> {
    let closed = case.record().and_then(|record| record.spec.closed.as_ref()).map(|closed| &closed.origin);
    let ours = |origin: &&Origin| case.is_ours(origin);
    let attempts: Vec<_> = case.attempts().map(|(_, attempt)| &attempt.origin).filter(ours).collect();
    attempts.last().copied().or_else(|| closed.filter(ours))
}

fn asked_by(case: &Case) -> String {
    match (origin(case), &case.request) {
        (Some(origin), _) => requester(&origin.requested_by),
        (None, Some(request)) => person(request.spec.requested_by.as_ref().map(requester)),
        (None, None) => String::new(),
    }
}

/// Returns who approved.
fn approved(case: &Case) -> String {
    let by = origin(case).and_then(|origin| origin.approved_by.as_ref()).map(approver);
    let spec = case.request.as_ref().map(|request| &request.spec);
    by.or_else(|| spec.filter(|spec| spec.approved).map(|spec| person(spec.approved_by.as_ref().map(approver))))
        .unwrap_or_else(|| "nobody".to_owned())
}

/// Returns the claims of the requester, which nobody verifies.
fn claims(case: &Case) -> String {
    let none = Spec::default();
    let spec = case.request.as_ref().map_or(&none, |request| &request.spec);
    let origin = origin(case);
    let [ticket, behalf, reason] = [
        spec.ticket.as_ref().or_else(|| origin?.ticket.as_ref()),
        spec.on_behalf_of.as_ref().or_else(|| origin?.on_behalf_of.as_ref()),
        spec.reason.as_ref().or_else(|| origin?.reason.as_ref()),
    ];
    let said = [("ticket", ticket), ("on behalf of", behalf), ("reason", reason)]
        .into_iter()
        .filter_map(|(name, text)| Some(format!("{name} {}", shown(text?))))
        .collect::<Vec<_>>()
        .join(", ");
    if said.is_empty() { said } else { format!("{said} (not verified)") }
}

/// Returns the likely cause of a reason that is only a consequence: what the last attempt met.
fn cause(case: &Case, reason: &str) -> Option<String> {
    let (number, last) = case.attempts().last()?;
    if last.evidence == Some(Evidence::Unreachable) {
        let cause = last.cause.map_or("no connection to Cognito", |cause| cause.in_words());
        return Some(format!("attempt {number}: {cause}"));
    }
    let code = last.exception_code.as_deref().filter(|code| *code != reason)?;
    let meaning = explain(code).map(|explanation| format!(" {}", explanation.meaning)).unwrap_or_default();
    Some(format!("attempt {number} ended with {}.{meaning}", shown(code)))
}

#[cfg(test)]
mod tests;
