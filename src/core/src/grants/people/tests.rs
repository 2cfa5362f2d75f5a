//! Tests which pairs of users are two people, and which users do not count.

use cognito_reset_api::IdentityAttribute::{SessionName, Uid, Username};

use super::*;

/// A user of Amazon EKS in a session of a role. The mapping names the role alone.
const fn session<'a>(role: &'a str, name: &'a str) -> Person<'a> {
    Person { username: role, uid: Some(role), session_name: Some(name) }
}

/// A user without a session: of another authenticator, or an IAM user.
const fn user<'a>(username: &'a str, uid: Option<&'a str>) -> Person<'a> {
    Person { username, uid, session_name: None }
}

const ALICE: Person<'_> = session("support", "alice@example.com");
const BOB: Person<'_> = session("support", "bob@example.com");
const ALICE_AS_ADMIN: Person<'_> = session("admin", "alice@example.com");
const ALICE_IN_CAPITALS: Person<'_> = session("admin", "Alice@Example.com");
const BOB_AS_ADMIN: Person<'_> = session("admin", "bob@example.com");
const BY_CLI: Person<'_> = session("support", "EKSGetTokenAuth");
const BY_CLI_AS_ADMIN: Person<'_> = session("admin", "EKSGetTokenAuth");
const FLUX: Person<'_> = user("system:serviceaccount:flux-system:flux", Some("1"));
const ARGO: Person<'_> = user("system:serviceaccount:argocd:argo", Some("2"));

const SESSION: &[IdentityAttribute] = &[SessionName];
const NAME: &[IdentityAttribute] = &[Username];

/// Returns the sentence that a person reads about the pair.
fn sentence(one: Person<'_>, other: Person<'_>, identity: Option<&[IdentityAttribute]>) -> &'static str {
    let differ = one.differs_from(other, identity);
    assert_eq!(differ, other.differs_from(one, identity), "{one:?} and {other:?} depend on the order");
    if differ { "two people" } else { "one person" }
}

#[test]
fn two_users_are_two_people_only_if_shown_to_be() {
    let two = "two people";
    let one = "one person";
    for (what, a, b, by_default, by_session, by_name) in [
        ("colleagues in one role", ALICE, BOB, one, two, one),
        ("colleagues in two roles", ALICE, BOB_AS_ADMIN, two, two, two),
        ("one person in two roles", ALICE, ALICE_AS_ADMIN, one, one, one),
        ("the same, in other case", ALICE, ALICE_IN_CAPITALS, one, one, one),
        ("the same session", ALICE, ALICE, one, one, one),
        ("a name of a tool in two roles", BY_CLI, BY_CLI_AS_ADMIN, one, one, one),
        ("a name of a tool and a person", BY_CLI_AS_ADMIN, ALICE, one, one, one),
        ("a name of a tool in one role", BY_CLI, ALICE, one, one, one),
        ("a name of a tool and a user without session", BY_CLI, user("carol", Some("3")), one, one, one),
        ("a session and a user without", ALICE, user("carol", Some("3")), two, one, two),
        ("a session and one that was not stamped", ALICE, user("support", Some("support")), one, one, one),
        ("two users without session", user("a", Some("1")), user("b", Some("2")), two, one, two),
        ("without uid", user("a", None), user("b", None), two, one, two),
        ("one of them without uid", user("a", Some("1")), user("b", None), two, one, two),
        ("one name", user("a", Some("1")), user("a", Some("2")), one, one, one),
        ("one uid", user("a", Some("1")), user("b", Some("1")), one, one, two),
        ("a service account and a session", FLUX, ALICE, two, two, two),
        ("a service account and a session of a tool", FLUX, BY_CLI, two, two, two),
        ("two service accounts", FLUX, ARGO, two, two, two),
        ("one service account", FLUX, FLUX, one, one, one),
        ("one uid of two accounts", FLUX, user(ARGO.username, FLUX.uid), one, one, one),
    ] {
        assert_eq!(sentence(a, b, None), by_default, "{what}, by default");
        assert_eq!(sentence(a, b, Some(SESSION)), by_session, "{what}, by session");
        assert_eq!(sentence(a, b, Some(NAME)), by_name, "{what}, by name");
    }
    assert_eq!(sentence(ALICE, BOB, Some(&[Username, SessionName])), one, "every attribute has to differ");
    assert_eq!(sentence(ALICE, BOB, Some(&[SessionName, Uid])), one, "in either order");
    assert_eq!(sentence(ALICE, BOB_AS_ADMIN, Some(&[])), one, "nothing is compared");
}

#[test]
fn names_that_tools_set_or_generate_identify_nobody() {
    for name in [
        "EKSGetTokenAuth",
        "eksgettokenauth",
        "AWSCLI-Session",
        "GitHubActions",
        "botocore-session-1700000000",
        "aws-go-sdk-1700000000000000000",
        "aws-sdk-java-170",
        "1700000000000000000",
        "i-0e6c1f51d6dd34b3f",
    ] {
        assert!(session("support", name).has_a_session_of_a_tool(), "{name}");
    }
    for name in ["alice@example.com", "alice", "alice-2026", "EKSGetTokenAuth-alice", "i-alice", "a.b+c=d,e@f"] {
        assert!(!session("support", name).has_a_session_of_a_tool(), "{name}");
    }
}

#[test]
fn policy_and_operator_agree_on_names_of_tools() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kustomize/base/approval-policy.yaml");
    let policy = std::fs::read_to_string(path).unwrap();
    assert_eq!(policy.matches(&format!("'{NAMED_BY_TOOLS}'")).count(), 1, "{path}");
}

/// Returns the variables of a policy that describe the user.
fn who(policy: &str) -> String {
    let path = format!("{}/../../deploy/kustomize/{policy}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let begin = text.find("    # The user as requestedBy and approvedBy name them.").unwrap();
    let user = begin + text[begin..].find("    - name: user\n").unwrap();
    let end = text[user + 1..].find("    - name: ").map_or(text.len(), |next| user + 1 + next);
    text[begin..end].trim_end().to_owned()
}

#[test]
fn every_policy_describes_a_user_in_the_same_way() {
    let wanted = who("components/stamp-requester/mutatingadmissionpolicy.yaml");
    assert!(wanted.contains("sessionName") && wanted.ends_with("optional.ofNonZeroValue(dyn(variables.awsIdentity))}"));
    for policy in [
        "base/requester-policy.yaml",
        "base/approval-policy.yaml",
        "components/refuse-unverified/validatingadmissionpolicy.yaml",
    ] {
        assert_eq!(who(policy), wanted, "{policy}");
    }
}

#[test]
fn service_account_of_the_own_namespace_depends_on_others() {
    let named = ["system:serviceaccount:team-a:flux".to_owned()];
    for (username, dependent) in [
        ("system:serviceaccount:team-a:runner", true),
        ("system:serviceaccount:team-a:default", true),
        ("system:serviceaccount:team-a:", true),
        ("system:serviceaccount:team-a:flux", false),
        ("system:serviceaccount:team-a:flux-2", true),
        ("system:serviceaccount:team-b:runner", false),
        ("system:serviceaccount:team-aa:runner", false),
        ("system:serviceaccount:team:a:runner", false),
        ("system:serviceaccount:team-a", false),
        ("team-a:runner", false),
        ("alice", false),
    ] {
        assert_eq!(user(username, None).is_dependent("team-a", &named), dependent, "{username}");
    }
    assert!(user("system:serviceaccount:team-a:flux", None).is_dependent("team-a", &[]));
}
