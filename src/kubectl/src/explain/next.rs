//! The next command for each reason, and who can run it. Pure.

use cognito_reset_api::Outcome;

use crate::{request::Request, terminal::typable};

/// The namespace in which `deploy/` installs the operator.
const OPERATOR: &str = "cognito-reset-system";

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The person who has the permissions for it.
    pub who: &'static str,
    /// The command, ready to be typed. Words in capitals are to be replaced.
    pub command: String,
}

/// The flags of kubectl that lead to the cluster, without a namespace.
#[derive(Clone, Copy, Debug)]
pub struct Flags<'a>(pub &'a str);

impl Flags<'_> {
    /// Returns the flags for a namespace, after a blank.
    #[must_use]
    pub fn within(self, namespace: &str) -> String {
        format!("{} -n {namespace}", self.of_cluster())
    }

    /// Returns the flags for objects of the cluster, after a blank if there are any.
    #[must_use]
    pub fn of_cluster(self) -> String {
        if self.0.is_empty() { String::new() } else { format!(" {}", self.0) }
    }
}

/// Returns the next commands for a request with this reason, the first one first. After a reset
/// there is none: a user without a code gets one by "forgot password".
#[must_use]
pub fn next(request: &Request, reason: &str, flags: Flags<'_>) -> Vec<Next> {
    let on = On { request, flags };
    match (request.outcome(), reason) {
        (Outcome::Pending, reason) => on.waiting(reason),
        (Outcome::Succeeded, "AlreadyPerformed" | "AlreadyResetRequired") => {
            vec![on.create("to reset again, a requester")]
        }
        (Outcome::Succeeded, _) => Vec::new(),
        (Outcome::Failed, _) => vec![on.create("after the cause is fixed, a requester")],
        (Outcome::Unknown, _) => vec![on.create("after a look at the user in Cognito, and if in doubt, a requester")],
    }
}

#[derive(Clone, Copy)]
struct On<'a> {
    request: &'a Request,
    flags: Flags<'a>,
}

impl On<'_> {
    fn waiting(self, reason: &str) -> Vec<Next> {
        match reason {
            "Pending" => vec![
                self.of_operator("get deploy,pods"),
                self.of_operator("logs deploy/cognito-reset-operator --tail=50"),
            ],
            "Suspended" => vec![self.plugin("a requester", "resume")],
            "AwaitingApproval" => vec![self.plugin("an approver other than the requester", "approve")],
            "UserPoolHeld" => vec![self.of_cluster("a responder", "get poolhold -o wide")],
            "NoMatchingGrant" | "ConflictingGrants" | "GrantSuspended" | "UserStateNotRead" => {
                vec![self.of_cluster("a platform administrator", "get poolgrant -o wide")]
            }
            "NotAfterRequired" => {
                let Next { who, command } = self.create("a requester");
                vec![self.delete(), Next { who, command: format!("{command} --not-after 24h") }]
            }
            "RequesterUnverified" | "ApproverUnverified" => {
                vec![self.delete(), self.create("once an admission policy authenticates users, a requester")]
            }
            "RequesterNotIndependent" => vec![self.delete(), self.create("another requester")],
            "ApproverNotIndependent" | "SelfApproval" => {
                vec![self.delete(), self.create("a requester, for another approver")]
            }
            "PendingLimitReached" => vec![self.list("Pending")],
            "DeliveryFailing" => vec![self.list("Failed")],
            "RateLimited" | "Throttled" | "AwaitingPriorAttempt" | "ClaimTimedOut" => {
                vec![self.plugin("a requester", "watch")]
            }
            "RecordNotUsable" => vec![self.of_operator("get deploy cognito-reset-operator -o wide")],
            "ObjectTooLarge" | "InvalidObject" => vec![self.show()],
            "WriteRefused" => vec![self.of_cluster(
                "a platform administrator",
                "get validatingadmissionpolicies,validatingwebhookconfigurations,mutatingwebhookconfigurations",
            )],
            // Credentials, network, clocks, confirmations and the exceptions that block.
            _ => vec![self.of_operator("logs deploy/cognito-reset-operator --tail=50")],
        }
    }

    fn namespace(self) -> String {
        self.flags.within(self.request.metadata.namespace.as_deref().unwrap_or_default())
    }

    fn name(self) -> String {
        // The API server allows no other characters than those of a DNS name.
        self.request.metadata.name.clone().unwrap_or_default()
    }

    fn create(self, who: &'static str) -> Next {
        let spec = &self.request.spec;
        // A name that cannot be typed is not repeated.
        let [user, pool] = [(&spec.username, "USER"), (&spec.user_pool_id, "POOL")]
            .map(|(value, placeholder)| typable(value).unwrap_or_else(|| placeholder.to_owned()));
        let ticket = spec.ticket.as_deref().and_then(typable).map(|ticket| format!(" --ticket {ticket}"));
        let command = format!(
            "kubectl cognito-reset create {user} --pool {pool} --name NEW-NAME{}{}",
            ticket.unwrap_or_default(),
            self.namespace()
        );
        Next { who, command }
    }

    /// Returns the deletion of a request that waits, before another one takes its place: otherwise
    /// both are performed once the grants allow it.
    fn delete(self) -> Next {
        let command = format!("kubectl delete prr {}{}", self.name(), self.namespace());
        Next { who: "first, a requester", command }
    }

    fn plugin(self, who: &'static str, verb: &str) -> Next {
        Next { who, command: format!("kubectl cognito-reset {verb} {}{}", self.name(), self.namespace()) }
    }

    fn list(self, outcome: &str) -> Next {
        let pool = typable(&self.request.spec.user_pool_id).unwrap_or_else(|| "POOL".to_owned());
        let command = format!("kubectl cognito-reset list --outcome {outcome} --pool {pool}{}", self.namespace());
        Next { who: "a requester", command }
    }

    fn show(self) -> Next {
        let command = format!("kubectl get prr {} -o yaml --show-managed-fields{}", self.name(), self.namespace());
        Next { who: "a requester", command }
    }

    fn of_operator(self, command: &str) -> Next {
        let command = format!("kubectl {command}{}", self.flags.within(OPERATOR));
        Next { who: "a platform administrator", command }
    }

    fn of_cluster(self, who: &'static str, command: &str) -> Next {
        Next { who, command: format!("kubectl {command}{}", self.flags.of_cluster()) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::Cli,
        reasons::{explain, tests::states},
    };

    /// The commands of kubectl that are used, with the permissions that a role of `deploy/` gives.
    const OF_KUBECTL: [&str; 4] = ["delete", "get", "logs", "cognito-reset"];

    #[test]
    fn every_next_command_can_be_typed() {
        for (state, object) in states() {
            let request: Request = serde_json::from_value(object).expect("a request");
            let reason = if request.reason().is_empty() { "Pending" } else { request.reason() };
            for Next { command, .. } in next(&request, reason, Flags("--context prod")) {
                let words: Vec<_> = command.split(' ').collect();
                assert!(words[0] == "kubectl" && OF_KUBECTL.contains(&words[1]), "{state}: {command}");
                assert!(command.contains(" --context prod"), "{state}: {command}");
                if words[1] == "cognito-reset" {
                    let parsed = Cli::try_parse_from(&words[1..]);
                    assert!(parsed.is_ok(), "{state}: {command}: {:?}", parsed.err());
                }
            }
        }
    }

    #[test]
    fn only_a_reset_that_was_sent_now_has_no_next_command() {
        for (state, object) in states() {
            let request: Request = serde_json::from_value(object).expect("a request");
            let reason = if request.reason().is_empty() { "Pending" } else { request.reason() };
            let is_reset = ["ResetAccepted", "ConfirmedByProbe"].contains(&reason);
            assert_eq!(next(&request, reason, Flags("")).is_empty(), is_reset, "{state}");
            let action = explain(reason).and_then(|explanation| explanation.action).unwrap_or_default();
            assert_eq!(action.contains("forgot password"), is_reset, "{state}: {action}");
        }
    }

    #[test]
    fn the_first_command_ends_the_wait() {
        let mut request: Request = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "a", "namespace": "support", "uid": "u-1" },
            "spec": { "userPoolID": "eu-west-1_b", "username": "o'neil" },
        }))
        .expect("a request");
        let first = |request: &Request, reason: &str| next(request, reason, Flags("")).swap_remove(0).command;
        for (reason, wanted) in [
            ("Suspended", "kubectl cognito-reset resume a -n support"),
            ("AwaitingApproval", "kubectl cognito-reset approve a -n support"),
            ("RateLimited", "kubectl cognito-reset watch a -n support"),
            ("UserPoolHeld", "kubectl get poolhold -o wide"),
            ("AccessDeniedException", "kubectl logs deploy/cognito-reset-operator --tail=50 -n cognito-reset-system"),
            ("PendingLimitReached", "kubectl cognito-reset list --outcome Pending --pool eu-west-1_b -n support"),
        ] {
            assert_eq!(first(&request, reason), wanted);
        }
        request.status.outcome = Outcome::Failed;
        let again = r"kubectl cognito-reset create 'o'\''neil' --pool eu-west-1_b --name NEW-NAME -n support";
        assert_eq!(first(&request, "AccessDeniedException"), again, "the same reason, at the end");
    }
}
