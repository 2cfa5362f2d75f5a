//! Tests which requests are allowed by which grants, and for what reason others are not.

use cognito_reset_api::{SessionTags, UserStateSource};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{action::user_names::UserNames, shared::Shared};

mod holds;
mod sources;
mod watched;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const ONE: &str = "arn:aws:iam::123456789012:role/one";
const TWO: &str = "arn:aws:iam::123456789012:role/two";

/// A grant of the pool, with the additional fields `more`.
fn grant(name: &str, more: Value) -> UserPoolGrant {
    let mut spec = json!({ "userPoolID": "eu-west-1_Example01" });
    spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    let mut grant = UserPoolGrant::new(name, serde_json::from_value(spec).unwrap());
    grant.metadata.generation = Some(3);
    grant
}

/// A request of the namespace `support` for alice, with the additional fields `more`.
fn request(more: Value) -> PasswordResetRequest {
    let mut spec = json!({ "userPoolID": "eu-west-1_Example01", "username": "alice" });
    spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    let mut request = PasswordResetRequest::new("reset", serde_json::from_value(spec).unwrap());
    request.metadata.namespace = Some("support".into());
    request
}

fn alice() -> PasswordResetRequest {
    request(json!({}))
}

fn of_user(username: &str) -> PasswordResetRequest {
    request(json!({ "username": username }))
}

fn expiring() -> PasswordResetRequest {
    request(json!({ "notAfter": "2030-01-01T00:00:00Z" }))
}

fn from(namespace: &str) -> PasswordResetRequest {
    let mut request = alice();
    request.metadata.namespace = Some(namespace.into());
    request
}

/// A namespace with these labels, and the first value among them as its uid.
fn namespace(labels: &[(&str, &str)]) -> Namespace {
    let uid = labels.first().map(|(_, value)| format!("uid-of-{value}"));
    Namespace { uid, labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect() }
}

/// A cluster with the namespaces `support` (team: support, tier: gold) and `web` (team: web).
fn index_of(grants: &[UserPoolGrant]) -> GrantIndex {
    let mut index = GrantIndex::default();
    index.put_namespace("support".into(), namespace(&[("team", "support"), ("tier", "gold")]));
    index.put_namespace("web".into(), namespace(&[("team", "web")]));
    for grant in grants {
        index.put_grant(grant.clone());
    }
    index
}

/// The grants whose status has to change, with the new status.
fn stale(index: &GrantIndex, now: Timestamp) -> Vec<UserPoolGrant> {
    index.stale_statuses(now).into_iter().map(|stale| stale.object).collect()
}

fn all(name: &str, more: Value) -> UserPoolGrant {
    let mut grant = grant(name, more);
    grant.spec.namespaces = Some(vec!["*".into()]);
    grant
}

fn selecting(selector: Value) -> UserPoolGrant {
    grant("labels", json!({ "namespaceSelector": selector }))
}

fn matching(pattern: &str) -> UserPoolGrant {
    all("pattern", json!({ "usernamePattern": pattern }))
}

type Case = (&'static str, Vec<UserPoolGrant>, PasswordResetRequest, Result<Vec<&'static str>, WaitReason>);

/// Compares the names of the grants that allow, or the reason why none does.
fn check(cases: Vec<Case>) {
    for (name, grants, request, wanted) in cases {
        let allowed =
            index_of(&grants).evaluate(&request, &KnownUser::NotRead).authorization.map(|allowed| allowed.grants);
        assert_eq!(allowed, wanted.map(|names| names.into_iter().map(str::to_owned).collect()), "{name}");
    }
}

const NOT_GRANTED: Result<Vec<&str>, WaitReason> = Err(WaitReason::NoMatchingGrant);

#[test]
fn only_a_grant_of_the_pool_and_namespace_allows_a_request() {
    let named = || grant("named", json!({ "namespaces": ["support", "ops"] }));
    let mut both = named();
    both.spec.namespace_selector =
        Some(serde_json::from_value(json!({ "matchLabels": { "team": "support" } })).unwrap());
    check(vec![
        ("no grant", vec![], alice(), NOT_GRANTED),
        ("of another pool", vec![all("other", json!({ "userPoolID": "eu-west-1_Example02" }))], alice(), NOT_GRANTED),
        ("named", vec![named()], alice(), Ok(vec!["named"])),
        ("named and not there yet", vec![named()], from("ops"), Ok(vec!["named"])),
        ("not named", vec![named()], from("web"), NOT_GRANTED),
        ("part of a name", vec![named()], from("supp"), NOT_GRANTED),
        ("all", vec![all("all", json!({}))], from("unknown-team"), Ok(vec!["all"])),
        ("neither names nor selector", vec![grant("nothing", json!({}))], alice(), NOT_GRANTED),
        ("both names and selector", vec![both], alice(), NOT_GRANTED),
        ("no names", vec![grant("nothing", json!({ "namespaces": [] }))], alice(), NOT_GRANTED),
    ]);
}

#[test]
fn a_selector_allows_the_namespaces_whose_labels_it_matches() {
    let team = || selecting(json!({ "matchLabels": { "team": "support" } }));
    let expression = |operator: &str, values: Value| {
        selecting(json!({ "matchExpressions": [{ "key": "team", "operator": operator, "values": values }] }))
    };
    let not_web = || expression("NotIn", json!(["web"]));
    let both = json!({ "matchLabels": { "team": "support" }, "matchExpressions": [{ "key": "tier", "operator": "DoesNotExist" }] });
    let labels = || Ok(vec!["labels"]);
    check(vec![
        ("label", vec![team()], alice(), labels()),
        ("another label", vec![team()], from("web"), NOT_GRANTED),
        ("labels of a namespace that is not known", vec![team()], from("unknown-team"), NOT_GRANTED),
        ("In", vec![expression("In", json!(["ops", "support"]))], alice(), labels()),
        ("In, but not", vec![expression("In", json!(["ops"]))], alice(), NOT_GRANTED),
        ("NotIn", vec![not_web()], alice(), labels()),
        ("NotIn, but in", vec![not_web()], from("web"), NOT_GRANTED),
        ("NotIn, of a namespace that is not known", vec![not_web()], from("unknown-team"), NOT_GRANTED),
        ("Exists", vec![expression("Exists", json!(null))], from("web"), labels()),
        ("DoesNotExist", vec![expression("DoesNotExist", json!(null))], alice(), NOT_GRANTED),
        ("all of it has to match", vec![selecting(both)], alice(), NOT_GRANTED),
        ("empty", vec![selecting(json!({}))], alice(), NOT_GRANTED),
        ("empty lists", vec![selecting(json!({ "matchLabels": {}, "matchExpressions": [] }))], alice(), NOT_GRANTED),
        ("an operator that there is not", vec![expression("Near", json!(["support"]))], alice(), NOT_GRANTED),
    ]);
}

#[test]
fn a_pattern_has_to_match_the_whole_user_name() {
    let cases = [
        ("alice", "alice", true),
        ("alice", "malice", false),
        ("alice", "alices", false),
        ("alice", "Alice", false),
        ("alice", "alice@example.com", false),
        ("josé", "jose\u{301}", false),
        ("alice", "alice\n", false),
        ("alice", "bob\nalice", false),
        ("(?m)alice", "bob\nalice", false),
        ("(?m)^alice$", "alice\nbob", false),
        ("alice|bob", "alice", true),
        ("alice|bob", "bob", true),
        ("alice|bob", "alice-the-admin", false),
        ("alice|bob", "the-admin-bob", false),
        (".*@example\\.com", "alice@example.com", true),
        (".*@example\\.com", "alice@example.community", false),
        (".*", "alice\nbob", false),
        ("(?i)ÅSA", "åsa", true),
        ("\\p{Greek}+", "Σοφία", true),
        ("[\\p{L}.]+", "Åsa.漢字", true),
        ("", "alice", false),
    ];
    for (pattern, username, allowed) in cases {
        let result =
            index_of(&[matching(pattern)]).evaluate(&of_user("any"), &user_names(username, "", "")).authorization;
        assert_eq!(result.is_ok(), allowed, "{pattern:?} {username:?}");
    }
}

/// A user who was read, without the attributes that are empty here.
fn user_names(username: &str, sub: &str, email: &str) -> KnownUser {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    KnownUser::Read(UserNames { username: some(username), sub: some(sub), email: some(email), ..UserNames::default() })
}

#[test]
fn pattern_has_to_match_the_name_by_any_spelling() {
    let read = user_names;
    let not_an_address = "[^@]+";
    for (what, pattern, spelling, user, allowed) in [
        ("the name", "alice", "alice", read("alice", "7", "a@x"), true),
        ("not read yet", "alice", "alice", KnownUser::NotRead, true),
        ("not read yet, spelled otherwise", "alice", "7", KnownUser::NotRead, true),
        ("the sub", "alice", "7", read("alice", "7", "a@x"), true),
        ("an alias", "alice", "a@x", read("alice", "7", "a@x"), true),
        ("the sub of an address that matches", ".*@x", "7", read("7", "7", "a@x"), true),
        ("not readable", "alice", "alice", KnownUser::Unreadable, false),
        ("not readable, no pattern", "", "alice", KnownUser::Unreadable, true),
        ("the sub of an address", not_an_address, "7", read("7", "7", "ceo@corp.example"), false),
        ("the sub of a name", not_an_address, "7", read("alice", "7", "ceo@corp.example"), true),
        ("an alias of another name", "al", "al", read("alice", "7", "a@x"), false),
        ("an address", ".*@x", "a@x", read("7", "7", "a@x"), true),
        ("an address of a name", ".*@x", "a@x", read("alice", "7", "a@x"), false),
        ("no name", ".*", "a@x", read("", "7", ""), false),
    ] {
        let grant = if pattern.is_empty() { all("a", json!({})) } else { matching(pattern) };
        let evaluation = index_of(&[grant]).evaluate(&of_user(spelling), &user);
        let wanted = if allowed { Ok(()) } else { Err(WaitReason::NoMatchingGrant) };
        assert_eq!(evaluation.authorization.map(drop), wanted, "{what}");
        assert_eq!(evaluation.user_required, allowed && !pattern.is_empty(), "{what}");
    }
    let both = index_of(&[all("all", json!({})), matching("alice")]).evaluate(&alice(), &KnownUser::NotRead);
    assert!(!both.user_required, "another grant asks for no user");
}

#[test]
fn user_is_read_by_the_role_of_the_probable_grant() {
    let with =
        |name: &str, pattern: &str, role: &str| all(name, json!({ "usernamePattern": pattern, "roleARN": role }));
    let [one, two] = [with("one", "bob", ONE), with("two", "alice", TWO)];
    let plain = all("plain", json!({}));
    let own = |role: Option<&str>| role.map(str::to_owned);
    let unknown = KnownUser::NotRead;
    let is_bob = user_names("bob", "7", "");
    for (what, grants, spelling, user, role, names) in [
        ("the spelling matches", vec![one.clone(), two.clone()], "alice", &unknown, own(Some(TWO)), vec!["two"]),
        ("no spelling matches", vec![one.clone(), two.clone()], "7", &unknown, own(Some(ONE)), vec!["one"]),
        ("the user is known", vec![one.clone(), two.clone()], "alice", &is_bob, own(Some(ONE)), vec!["one"]),
        ("one without a pattern", vec![plain.clone(), two], "alice", &unknown, None, vec!["plain"]),
    ] {
        let allowed = index_of(&grants).evaluate(&of_user(spelling), user).authorization.unwrap();
        assert_eq!((allowed.role.map(|role| role.arn), allowed.grants), (role, own_names(&names)), "{what}");
    }
    let both = index_of(&[plain, one]).evaluate(&of_user("7"), &is_bob).authorization;
    assert_eq!(both, Err(WaitReason::ConflictingGrants), "the user decides");
}

#[test]
fn user_is_read_before_approval_where_all_else_is_met() {
    let strict = |more: Value| {
        let mut spec = json!({ "requireApproval": true, "roleARN": ONE });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all("strict", spec)
    };
    let asked = || of_mallory(json!({}));
    let by = |arn: &str| Some(Some(arn.to_owned()));
    let pattern = |name: &str, pattern: &str, role: &str| {
        let spec = strict(json!({ "usernamePattern": pattern, "roleARN": role })).spec;
        UserPoolGrant { spec, ..all(name, json!({})) }
    };
    let read = user_names("alice", "7", "");
    let unread = KnownUser::NotRead;
    for (what, grants, request, user, wanted) in [
        ("not approved", vec![strict(json!({}))], asked(), &unread, by(ONE)),
        ("read already", vec![strict(json!({}))], asked(), &read, None),
        ("not readable", vec![strict(json!({}))], asked(), &KnownUser::Unreadable, None),
        ("approved", vec![strict(json!({}))], approved_by(json!({ "username": "bob" })), &unread, None),
        ("by a requester who does not count", vec![strict(json!({}))], alice(), &unread, None),
        ("suspended", vec![strict(json!({ "suspend": true }))], asked(), &unread, None),
        ("without an expiration", vec![strict(json!({ "requireNotAfter": true }))], asked(), &unread, None),
        ("after too many others", vec![strict(json!({ "maxPendingPerNamespace": 1 }))], asked(), &unread, None),
        ("allowed by another", vec![strict(json!({})), all("plain", json!({}))], asked(), &unread, None),
        ("no grant", vec![], asked(), &unread, None),
        ("of a pattern", vec![pattern("one", "bob", ONE), pattern("two", "alice", TWO)], asked(), &unread, by(TWO)),
    ] {
        let mut index = index_of(&grants);
        let mut earlier = waiting("support", "earlier", 0, json!({}));
        earlier.metadata.creation_timestamp = None;
        earlier.metadata.name = Some("0".into());
        put(&mut index, &earlier);
        let access = index.evaluate(&request, user).read_before_approval;
        assert_eq!(access.map(|access| access.role.map(|role| role.arn)), wanted, "{what}");
    }
    let mut held = index_of(&[strict(json!({}))]);
    let hold = json!({ "metadata": { "name": "stop" }, "spec": { "reason": "incident" } });
    held.put_hold(serde_json::from_value(hold).unwrap());
    assert_eq!(held.evaluate(&asked(), &unread).read_before_approval, None, "held");
}

fn own_names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_pattern_that_cannot_be_used_never_matches_and_says_so() {
    let huge = "(a{1000}){1000}";
    for pattern in ["a)|(b", ".*)|(.*", "(", "alice\\", "[a", "(?=alice)", "(?x)alice # or anybody", huge] {
        let index = index_of(&[matching(pattern)]);
        for username in ["alice", "a", "b", "a)|(b"] {
            for user in [KnownUser::NotRead, user_names(username, "", "")] {
                let authorization = index.evaluate(&of_user(username), &user).authorization;
                assert_eq!(authorization, Err(WaitReason::NoMatchingGrant), "{pattern:?}");
            }
        }
        let stale = stale(&index, NOW);
        assert_eq!(shown(&stale[0]), ["Ready False InvalidUsernamePattern", "Stalled True InvalidUsernamePattern"]);
        let text = serde_json::to_string(&stale[0].status).unwrap();
        assert!(!text.contains(pattern), "{text}");
    }
}

#[test]
fn turns_count_for_the_grant_that_limits_least() {
    let limited = |name: &str, rate: Option<i64>, share: Option<i64>| {
        all(name, json!({ "maxResetsPerMinute": rate, "maxSharePercent": share }))
    };
    let slow = || limited("slow", Some(6), None);
    let mut suspended = all("suspended", json!({}));
    suspended.spec.suspend = true;
    let waits = all("waits", json!({ "requireApproval": true, "maxResetsPerMinute": 7 }));
    for (what, grants, wanted) in [
        ("one", vec![slow()], Some(("slow", Some(6), None))),
        ("none", vec![all("everyone", json!({}))], None),
        ("one beside one without limits", vec![slow(), all("everyone", json!({}))], None),
        ("beside a suspended one", vec![slow(), suspended], Some(("slow", Some(6), None))),
        ("the higher rate", vec![slow(), limited("fast", Some(60), Some(1))], Some(("fast", Some(60), Some(1)))),
        ("a share alone", vec![slow(), limited("z", None, Some(1))], Some(("z", None, Some(1)))),
        (
            "the higher share",
            vec![limited("a", None, Some(1)), limited("b", None, Some(2))],
            Some(("b", None, Some(2))),
        ),
        ("the first name", vec![limited("b", Some(6), None), limited("a", Some(6), None)], Some(("a", Some(6), None))),
        ("before an approval", vec![waits], Some(("waits", Some(7), None))),
    ] {
        let index = index_of(&grants);
        let of =
            |limits: Option<Arc<GrantLimits>>| limits.map(|it| (it.grant.to_string(), it.per_minute, it.share_percent));
        let wanted = wanted.map(|(name, rate, share): (&str, _, _)| (name.to_owned(), rate, share));
        assert_eq!(of(index.outlook(&watched(&of_mallory(json!({})))).limits), wanted, "{what}");
        let evaluation = index.evaluate(&of_mallory(json!({})), &KnownUser::NotRead);
        let before_approval = evaluation.read_before_approval.and_then(|access| access.limits);
        let limits = evaluation.authorization.map_or(before_approval, |authorization| authorization.limits);
        assert_eq!(of(limits), wanted, "{what}");
    }
}

#[test]
fn suspended_grant_allows_nothing_and_holds_nothing() {
    let suspended = |more: Value| {
        let mut grant = all("suspended", more);
        grant.spec.suspend = true;
        grant
    };
    let everyone = || all("everyone", json!({}));
    let alone = Err(WaitReason::GrantSuspended);
    let by_another = || Ok(vec!["everyone"]);
    let mut of_labels = selecting(json!({ "matchLabels": { "team": "support" } }));
    of_labels.spec.suspend = true;
    check(vec![
        ("alone", vec![suspended(json!({}))], alice(), alone.clone()),
        ("that needs an expiration", vec![suspended(json!({ "requireNotAfter": true }))], alice(), alone.clone()),
        ("of labels", vec![of_labels.clone()], alice(), alone.clone()),
        ("of labels that are not known", vec![of_labels.clone()], from("unheard-of"), NOT_GRANTED),
        ("of labels, beside another", vec![of_labels, everyone()], from("unheard-of"), by_another()),
        ("with a broken pattern", vec![suspended(json!({ "usernamePattern": "(" }))], alice(), NOT_GRANTED),
        ("of a user to be read", vec![suspended(json!({ "usernamePattern": "bob" }))], alice(), alone.clone()),
        ("beside another", vec![everyone(), suspended(json!({}))], alice(), by_another()),
        ("with another role", vec![everyone(), suspended(json!({ "roleARN": ONE }))], alice(), by_another()),
        (
            "beside one that is closer",
            vec![suspended(json!({})), all("b", json!({ "requireNotAfter": true }))],
            alice(),
            Err(WaitReason::NotAfterRequired),
        ),
    ]);
}

#[test]
fn grants_add_up_unless_they_differ_in_role_or_external_id() {
    let strict = |more: Value| {
        let mut grant = all("strict", more);
        grant.spec.require_not_after = true;
        grant
    };
    let role = |name: &str, arn: &str| all(name, json!({ "roleARN": arn }));
    let external = |id: &str| all("external", json!({ "roleARN": ONE, "externalID": id }));
    let elsewhere = grant("elsewhere", json!({ "namespaces": ["web"], "roleARN": TWO }));
    let ambiguous = Err(WaitReason::ConflictingGrants);
    check(vec![
        ("two without role", vec![all("b", json!({})), all("a", json!({}))], alice(), Ok(vec!["a", "b"])),
        ("two of one role", vec![role("a", ONE), role("b", ONE)], alice(), Ok(vec!["a", "b"])),
        ("two roles", vec![role("a", ONE), role("b", TWO)], alice(), ambiguous.clone()),
        ("a role and none", vec![role("a", ONE), all("b", json!({}))], alice(), ambiguous.clone()),
        ("an external id and none", vec![role("a", ONE), external("id")], alice(), ambiguous.clone()),
        ("of which one does not match", vec![role("a", ONE), elsewhere], alice(), Ok(vec!["a"])),
        ("an expiration is required", vec![strict(json!({}))], alice(), Err(WaitReason::NotAfterRequired)),
        ("and given", vec![strict(json!({}))], expiring(), Ok(vec!["strict"])),
        ("or not by another", vec![strict(json!({})), all("lax", json!({}))], alice(), Ok(vec!["lax"])),
        ("both allow", vec![strict(json!({})), all("lax", json!({}))], expiring(), Ok(vec!["lax", "strict"])),
        (
            "one of two roles needs an expiration",
            vec![strict(json!({ "roleARN": TWO })), role("a", ONE)],
            alice(),
            Ok(vec!["a"]),
        ),
        ("and it is given", vec![strict(json!({ "roleARN": TWO })), role("a", ONE)], expiring(), ambiguous),
    ]);
    let two_ids = [external("one"), UserPoolGrant { spec: external("two").spec, ..role("b", ONE) }];
    assert_eq!(
        index_of(&two_ids).evaluate(&alice(), &KnownUser::NotRead).authorization,
        Err(WaitReason::ConflictingGrants)
    );
}

#[test]
fn authorization_names_its_role_and_at_most_sixteen_grants() {
    let external = all("external", json!({ "roleARN": ONE, "externalID": "id" }));
    let role = Role { arn: ONE.into(), external_id: Some("id".into()), session_tags: SessionTags::Full };
    assert_eq!(
        index_of(&[external]).evaluate(&alice(), &KnownUser::NotRead).authorization,
        Ok(Authorization {
            role: Some(role),
            source: UserStateSource::AdminGetUser,
            grants: vec!["external".into()],
            limits: None
        })
    );
    let many: Vec<_> = (0..20).map(|number| all(&format!("grant-{number:02}"), json!({}))).collect();
    let allowed = index_of(&many).evaluate(&alice(), &KnownUser::NotRead).authorization.unwrap();
    assert_eq!((allowed.role, allowed.grants.len(), allowed.grants[15].as_str()), (None, 16, "grant-15"));
}

const AWAITING: Result<Vec<&str>, WaitReason> = Err(WaitReason::AwaitingApproval);
const NO_REQUESTER: Result<Vec<&str>, WaitReason> = Err(WaitReason::RequesterUnverified);
const NO_APPROVER: Result<Vec<&str>, WaitReason> = Err(WaitReason::ApproverUnverified);
const BY_THE_REQUESTER: Result<Vec<&str>, WaitReason> = Err(WaitReason::SelfApproval);

/// A request for mallory, with the additional fields `more`.
fn of_mallory(more: Value) -> PasswordResetRequest {
    let mut spec = json!({ "requestedBy": { "username": "mallory", "uid": "1" } });
    spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    request(spec)
}

fn approved_by(who: Value) -> PasswordResetRequest {
    of_mallory(json!({ "approved": true, "approvedBy": who }))
}

#[test]
fn an_approval_counts_where_it_is_proven_and_by_somebody_else() {
    let strict = || vec![all("strict", json!({ "requireApproval": true }))];
    let unverified = json!({ "username": "unverified" });
    let stamped = json!({ "approved": true, "approvedBy": { "username": "bob" }, "requestedBy": unverified });
    let ok = || Ok(vec!["strict"]);
    check(vec![
        ("approved by another", strict(), approved_by(json!({ "username": "bob", "uid": "2" })), ok()),
        ("by a user without uid", strict(), approved_by(json!({ "username": "bob" })), ok()),
        ("not approved", strict(), of_mallory(json!({})), AWAITING),
        ("named, but not approved", strict(), of_mallory(json!({ "approvedBy": { "username": "bob" } })), AWAITING),
        ("approved by nobody", strict(), of_mallory(json!({ "approved": true })), NO_APPROVER),
        ("by the requester", strict(), approved_by(json!({ "username": "mallory", "uid": "1" })), BY_THE_REQUESTER),
        (
            "by one of the same name",
            strict(),
            approved_by(json!({ "username": "mallory", "uid": "2" })),
            BY_THE_REQUESTER,
        ),
        ("by one of the same uid", strict(), approved_by(json!({ "username": "bob", "uid": "1" })), BY_THE_REQUESTER),
        ("asked by nobody who is proven", strict(), alice(), NO_REQUESTER),
        ("the same, and approved", strict(), request(stamped), NO_REQUESTER),
    ]);
}

/// A request by one user of Amazon EKS in the role `support`, approved by another.
fn in_sessions(requester: &str, approver: &str) -> PasswordResetRequest {
    let user = |session: &str| {
        json!({ "username": "support", "uid": "aws-iam-authenticator:123456789012:AROAEXAMPLE",
            "extra": { "principalId": "AROAEXAMPLE", "sessionName": session } })
    };
    request(json!({ "requestedBy": user(requester), "approved": true, "approvedBy": user(approver) }))
}

#[test]
fn colleagues_in_one_role_approve_only_if_a_grant_says_so() {
    let strict = || vec![all("strict", json!({ "requireApproval": true }))];
    let by_session = || vec![all("strict", json!({ "requireApproval": true, "approvalIdentity": ["SessionName"] }))];
    let ok = || Ok(vec!["strict"]);
    check(vec![
        ("two sessions", by_session(), in_sessions("alice", "bob"), ok()),
        ("two sessions, by default", strict(), in_sessions("alice", "bob"), BY_THE_REQUESTER),
        ("one session", by_session(), in_sessions("alice", "alice"), BY_THE_REQUESTER),
        ("a session of a tool", by_session(), in_sessions("alice", "EKSGetTokenAuth"), BY_THE_REQUESTER),
        ("without a session", by_session(), approved_by(json!({ "username": "bob", "uid": "2" })), BY_THE_REQUESTER),
    ]);
}

#[test]
fn service_account_of_the_namespace_counts_only_if_named() {
    const RUNNER: &str = "system:serviceaccount:support:runner";
    let runner = || json!({ "username": RUNNER, "uid": "3" });
    let elsewhere = json!({ "username": "system:serviceaccount:argocd:argo", "uid": "4" });
    let bob = || json!({ "username": "bob", "uid": "2" });
    let strict = || vec![all("strict", json!({ "requireApproval": true }))];
    let naming = || vec![all("strict", json!({ "requireApproval": true, "approvalServiceAccounts": [RUNNER] }))];
    let by = |requester: Value, approver: Value| {
        request(json!({ "requestedBy": requester, "approved": true, "approvedBy": approver }))
    };
    let requester = || Err(WaitReason::RequesterNotIndependent);
    let approver = || Err(WaitReason::ApproverNotIndependent);
    let ok = || Ok(vec!["strict"]);
    check(vec![
        ("it asks", strict(), by(runner(), bob()), requester()),
        ("it asks, before any approval", strict(), request(json!({ "requestedBy": runner() })), requester()),
        ("it approves", strict(), by(bob(), runner()), approver()),
        ("it asks, and is named", naming(), by(runner(), bob()), ok()),
        ("it approves, and is named", naming(), by(bob(), runner()), ok()),
        ("it asks and approves", naming(), by(runner(), runner()), BY_THE_REQUESTER),
        ("one of another namespace asks", strict(), by(elsewhere, bob()), ok()),
    ]);
}

#[test]
fn namespace_created_again_does_not_inherit_a_grant_by_uid() {
    let by_uid = |more: Value| {
        let mut spec = json!({ "namespaces": ["support"], "namespaceUIDs": ["uid-of-support"] });
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        grant("by-uid", spec)
    };
    let selector =
        json!({ "namespaceUIDs": ["uid-of-support"], "namespaceSelector": { "matchLabels": { "tier": "gold" } } });
    let elsewhere = json!({ "namespaces": ["web"], "namespaceUIDs": ["uid-of-support"] });
    check(vec![
        ("the namespace", vec![by_uid(json!({}))], alice(), Ok(vec!["by-uid"])),
        ("with a selector", vec![grant("by-uid", selector)], alice(), Ok(vec!["by-uid"])),
        ("another namespace", vec![by_uid(json!({}))], from("web"), NOT_GRANTED),
        ("another uid", vec![grant("by-uid", elsewhere)], from("web"), NOT_GRANTED),
    ]);
    let mut index = index_of(&[by_uid(json!({}))]);
    let again = Namespace { uid: Some("another".into()), ..namespace(&[("team", "support"), ("tier", "gold")]) };
    assert!(index.put_namespace("support".into(), again.clone()));
    assert_eq!(
        index.evaluate(&alice(), &KnownUser::NotRead).authorization,
        Err(WaitReason::NoMatchingGrant),
        "created again"
    );
    index.remove_namespace("support");
    assert_eq!(
        index.evaluate(&alice(), &KnownUser::NotRead).authorization,
        Err(WaitReason::NoMatchingGrant),
        "not known"
    );
    let first = Namespace { uid: Some("uid-of-support".into()), ..again };
    index.put_namespace("support".into(), first);
    assert!(index.evaluate(&alice(), &KnownUser::NotRead).authorization.is_ok(), "restored");
}

#[test]
fn reason_is_that_of_the_grant_closest_to_allowing() {
    let expiring = || all("expiring", json!({ "requireNotAfter": true }));
    let approved = || all("approved", json!({ "requireApproval": true }));
    let both = || all("both", json!({ "requireNotAfter": true, "requireApproval": true }));
    let full = || all("full", json!({ "maxPendingPerNamespace": 0 }));
    let held = all("held", json!({ "requireApproval": true, "suspend": true }));
    let until = json!({ "notAfter": "2030-01-01T00:00:00Z" });
    check(vec![
        ("both in one", vec![both()], of_mallory(json!({})), Err(WaitReason::NotAfterRequired)),
        ("both in one, and it expires", vec![both()], of_mallory(until.clone()), AWAITING),
        ("one of each", vec![expiring(), approved()], of_mallory(json!({})), AWAITING),
        ("one of each, unverified", vec![expiring(), approved()], alice(), NO_REQUESTER),
        ("one of each, and it expires", vec![expiring(), approved()], of_mallory(until), Ok(vec!["expiring"])),
        ("or its turn", vec![approved(), full()], of_mallory(json!({})), Err(WaitReason::PendingLimitReached)),
        ("none of it where another allows", vec![approved(), full(), all("lax", json!({}))], alice(), Ok(vec!["lax"])),
        ("not of a suspended one", vec![held.clone(), expiring()], alice(), Err(WaitReason::NotAfterRequired)),
        ("a suspended one", vec![held], alice(), Err(WaitReason::GrantSuspended)),
        (
            "of another namespace",
            vec![grant("a", json!({ "namespaces": ["web"], "requireApproval": true }))],
            alice(),
            NOT_GRANTED,
        ),
    ]);
}

/// A pending request of a namespace, created at a second.
fn waiting(namespace: &str, name: &str, second: i64, more: Value) -> PasswordResetRequest {
    let mut waiting = request(more);
    waiting.metadata.namespace = Some(namespace.into());
    waiting.metadata.name = Some(name.into());
    waiting.metadata.uid = Some(format!("{namespace}/{name}"));
    let created = Timestamp::from_second(second).unwrap();
    waiting.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created));
    waiting
}

/// The key of a request that `waiting` returns.
fn named(namespace: &str, name: &str) -> Key {
    Key::of_uid(&format!("{namespace}/{name}"))
}

/// Adds a pending request to the index, as a watch shows it.
fn watched(request: &PasswordResetRequest) -> Watched {
    Watched::of(request, &mut Shared::default())
}

fn put(index: &mut GrantIndex, request: &PasswordResetRequest) -> Vec<Key> {
    index.put_pending(&Arc::new(watched(request)))
}

fn at_most(limit: i64) -> UserPoolGrant {
    all("limited", json!({ "maxPendingPerNamespace": limit, "usernamePattern": "alice" }))
}

#[test]
fn place_belongs_to_the_last_request_of_a_name() {
    let mut index = index_of(&[at_most(1)]);
    let [first, next] = ["a", "b"].map(|name| waiting("support", name, 10, json!({})));
    let mut again = first.clone();
    again.metadata.uid = Some("another".into());
    for request in [&first, &next, &again] {
        put(&mut index, request);
    }
    // A list shows the new request before it shows that the old one is gone.
    assert_eq!(index.remove_pending(watched(&first).key), []);
    let stand = |request| index.evaluate(request, &KnownUser::NotRead).authorization.map(drop);
    assert_eq!((stand(&again), stand(&next)), (Ok(()), Err(WaitReason::PendingLimitReached)));
}

#[test]
fn oldest_pending_requests_proceed_and_an_end_names_the_next() {
    let mut index = index_of(&[at_most(2)]);
    let limited = Err(WaitReason::PendingLimitReached);
    let [c, b, a, late] =
        [("c", 10), ("b", 11), ("a", 11), ("0", 12)].map(|(name, second)| waiting("support", name, second, json!({})));
    for request in [&late, &a, &b, &c] {
        assert_eq!(put(&mut index, request), [], "nobody's turn comes by a new one");
    }
    // Others do not count: another namespace, another pool, another user.
    for other in [
        waiting("web", "old", 1, json!({})),
        waiting("support", "old", 1, json!({ "userPoolID": "eu-west-1_Example02" })),
        waiting("support", "older", 1, json!({ "username": "bob" })),
    ] {
        put(&mut index, &other);
    }
    index.learn_user(named("support", "older"), &user_names("bob", "7", ""));
    let stand = |index: &GrantIndex| {
        [&c, &a, &b, &late].map(|request| index.evaluate(request, &KnownUser::NotRead).authorization.is_ok())
    };
    assert_eq!(stand(&index), [true, true, false, false], "by creation, then by name");
    assert_eq!(index.evaluate(&late, &KnownUser::NotRead).authorization.map(drop), limited);
    assert!(
        index.evaluate(&waiting("web", "new", 99, json!({})), &KnownUser::NotRead).authorization.is_ok(),
        "each namespace for itself"
    );
    assert_eq!(
        index.evaluate(&waiting("support", "unseen", 99, json!({})), &KnownUser::NotRead).authorization.map(drop),
        limited
    );
    assert!(
        index.evaluate(&waiting("support", "unseen", 9, json!({})), &KnownUser::NotRead).authorization.is_ok(),
        "nothing older is known"
    );

    assert_eq!(index.remove_pending(named("support", "b")), [], "it was not its turn");
    assert_eq!(put(&mut index, &b), []);
    assert_eq!(index.remove_pending(named("support", "c")), [named("support", "b")]);
    assert_eq!(stand(&index)[1..], [true, true, false]);
    assert_eq!(index.remove_pending(named("support", "c")), [], "it is gone already");
    // After deletion and creation it is the youngest.
    assert_eq!(put(&mut index, &waiting("support", "a", 20, json!({}))), [named("support", "0")]);
    assert_eq!(index.retain_pending(&[named("support", "a")].into()), [named("support", "a")]);
    assert!(index.evaluate(&waiting("support", "a", 20, json!({})), &KnownUser::NotRead).authorization.is_ok());
}

#[test]
fn limit_counts_no_request_of_a_user_with_another_name() {
    let mut index = index_of(&[at_most(1)]);
    let [first, second] = [1, 2].map(|at| waiting("support", &format!("at-{at}"), at, json!({ "username": "7" })));
    put(&mut index, &first);
    put(&mut index, &second);
    let is_allowed = |index: &GrantIndex| index.evaluate(&second, &KnownUser::NotRead).authorization.is_ok();
    let name = named("support", "at-1");
    let learned = |is_new, moved_up| Learned { is_new, moved_up };
    assert_eq!(index.learn_user(name, &KnownUser::Unreadable), learned(true, vec![]), "it may be alice");
    assert!(!is_allowed(&index));
    let second_moves_up = learned(true, vec![named("support", "at-2")]);
    assert_eq!(index.learn_user(name, &user_names("bob", "7", "")), second_moves_up);
    assert!(is_allowed(&index));
    index.put_grant(at_most(2));
    index.put_grant(at_most(1));
    assert!(is_allowed(&index), "a changed grant counts by the user, too");
    assert_eq!(index.learn_user(name, &user_names("alice", "7", "")), learned(true, vec![]), "of the new name");
    assert!(!is_allowed(&index));
}

#[test]
fn limit_counts_waiting_requests_and_ends_with_its_grant() {
    let mut index = index_of(&[]);
    let [first, second] = [1, 2].map(|at| waiting("support", &format!("at-{at}"), at, json!({})));
    put(&mut index, &first);
    put(&mut index, &second);
    index.put_grant(at_most(1));
    assert_eq!(index.evaluate(&second, &KnownUser::NotRead).authorization, Err(WaitReason::PendingLimitReached));
    index.put_grant(at_most(2));
    assert!(index.evaluate(&second, &KnownUser::NotRead).authorization.is_ok());
    index.put_grant(at_most(1));
    index.put_grant(all("unlimited", json!({})));
    assert_eq!(
        index.evaluate(&second, &KnownUser::NotRead).authorization.unwrap().grants,
        ["unlimited"],
        "grants add up"
    );
    index.remove_grant("unlimited");
    assert_eq!(index.remove_pending(named("support", "at-1")), [named("support", "at-2")]);
}

proptest! {
    /// For any sequence of changes, the oldest requests proceed, and each request that may proceed
    /// from then on is returned.
    #[test]
    fn whose_turn_it_is_follows_from_who_waits(
        limit in 1..4_usize,
        steps in proptest::collection::vec((any::<bool>(), 0..8_i64, 0..4_i64), 0..60),
    ) {
        let mut index = index_of(&[at_most(i64::try_from(limit).unwrap())]);
        let mut model: BTreeMap<String, i64> = BTreeMap::new();
        for (comes, number, second) in steps {
            let name = format!("request-{number}");
            let before = turns(&model, limit);
            let moved_up = if comes {
                model.insert(name.clone(), second);
                put(&mut index, &waiting("support", &name, second, json!({})))
            } else {
                model.remove(&name);
                index.remove_pending(named("support", &name))
            };
            let after = turns(&model, limit);
            for (name, second) in &model {
                let allowed = index.evaluate(&waiting("support", name, *second, json!({})), &KnownUser::NotRead).authorization.is_ok();
                prop_assert_eq!(allowed, after.contains(name), "{}", name);
            }
            // The new request is reconciled in any case.
            for new in after.difference(&before).filter(|new| **new != name) {
                prop_assert!(moved_up.contains(&named("support", new)), "{} is not in {:?}", new, moved_up);
            }
            prop_assert!(moved_up.len() <= 1);
        }
    }
}

/// Returns the requests that may proceed, by sorting all that wait.
fn turns(waiting: &BTreeMap<String, i64>, limit: usize) -> BTreeSet<String> {
    let mut all: Vec<_> = waiting.iter().map(|(name, second)| (second, name)).collect();
    all.sort();
    all.into_iter().take(limit).map(|(_, name)| name.clone()).collect()
}

/// Type, status and reason of each condition.
fn shown(grant: &UserPoolGrant) -> Vec<String> {
    let status = grant.status.as_ref().unwrap();
    assert_eq!(status.observed_generation, Some(3));
    let conditions = status.conditions.iter();
    conditions
        .map(|condition| {
            assert_eq!(condition.observed_generation, Some(3));
            format!("{} {} {}", condition.type_, condition.status, condition.reason)
        })
        .collect()
}

#[test]
fn a_grant_says_whether_it_can_allow_anything() {
    let ready = vec!["Ready True Valid"];
    let nowhere = vec!["Ready False NoNamespaceMatches"];
    let never = vec!["Ready False InvalidNamespaceSelector", "Stalled True InvalidNamespaceSelector"];
    let cases = [
        ("all", all("a", json!({})), ready.clone()),
        ("named", grant("a", json!({ "namespaces": ["ops", "web"] })), ready.clone()),
        ("selected", selecting(json!({ "matchLabels": { "team": "web" } })), ready.clone()),
        ("valid pattern", matching("alice|bob"), ready),
        ("named, but not there", grant("a", json!({ "namespaces": ["ops"] })), nowhere.clone()),
        ("selects none", selecting(json!({ "matchLabels": { "team": "ops" } })), nowhere),
        ("suspended", all("a", json!({ "suspend": true })), vec!["Ready False GrantSuspended"]),
        (
            "suspended, with a bad pattern",
            all("a", json!({ "suspend": true, "usernamePattern": "(" })),
            vec!["Ready False InvalidUsernamePattern", "Stalled True InvalidUsernamePattern"],
        ),
        ("empty selector", selecting(json!({})), never.clone()),
        ("neither names nor selector", grant("a", json!({})), never),
    ];
    for (name, grant, wanted) in cases {
        let stale = stale(&index_of(&[grant]), NOW);
        assert_eq!(stale.iter().map(shown).collect::<Vec<_>>(), [wanted], "{name}");
    }
}

#[test]
fn grant_status_is_stale_until_written_and_after_changes() {
    let later = NOW + jiff::SignedDuration::from_secs(60);
    let mut index = index_of(&[selecting(json!({ "matchLabels": { "team": "ops" } }))]);
    let first = stale(&index, NOW).remove(0);
    assert_eq!(stale(&index, later).len(), 1);
    index.status_written(&first);
    assert_eq!(stale(&index, later), []);
    index.put_namespace("ops".into(), namespace(&[("team", "ops")]));
    let second = stale(&index, later).remove(0);
    assert_eq!(shown(&second), ["Ready True Valid"]);
    index.status_written(&second);
    index.remove_namespace("ops");
    assert_eq!(shown(&stale(&index, later)[0]), ["Ready False NoNamespaceMatches"]);
    index.put_grant(UserPoolGrant { status: None, ..first });
    index.remove_grant("labels");
    assert_eq!(stale(&index, later), []);
}

#[test]
fn approval_is_required_where_any_matching_grant_requires_it() {
    let strict = |name: &str, more: serde_json::Value| {
        let mut spec = json!({ "requireApproval": true });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all(name, spec)
    };
    for (what, grants, required) in [
        ("no grant", vec![], false),
        ("a grant without approval", vec![all("a", json!({}))], false),
        ("a grant with approval", vec![strict("a", json!({}))], true),
        ("one of two", vec![all("a", json!({})), strict("b", json!({}))], true),
        ("a suspended grant with approval", vec![strict("a", json!({ "suspend": true }))], true),
        ("a grant with approval for maybe others", vec![strict("a", json!({ "usernamePattern": "bob" }))], true),
        (
            "a grant with approval elsewhere",
            vec![grant("a", json!({ "namespaces": ["web"], "requireApproval": true }))],
            false,
        ),
    ] {
        assert_eq!(index_of(&grants).evaluate(&alice(), &KnownUser::NotRead).approval_required, required, "{what}");
    }
    let of_bob = index_of(&[strict("a", json!({ "usernamePattern": "bob" }))]);
    assert!(!of_bob.evaluate(&alice(), &user_names("alice", "7", "")).approval_required, "for others");
}

#[test]
fn late_response_to_a_status_write_restores_no_older_grant() {
    let mut index = index_of(&[all("a", json!({}))]);
    let written = stale(&index, NOW).remove(0);
    index.put_grant(all("a", json!({ "suspend": true })));
    index.status_written(&written);
    assert_eq!(index.evaluate(&alice(), &KnownUser::NotRead).authorization, Err(WaitReason::GrantSuspended));
    index.remove_grant("a");
    index.status_written(&written);
    assert_eq!(index.evaluate(&alice(), &KnownUser::NotRead).authorization, Err(WaitReason::NoMatchingGrant));
}

#[test]
fn only_what_may_alter_what_is_allowed_is_a_change() {
    let mut index = index_of(&[all("a", json!({}))]);
    let stale = stale(&index, NOW).remove(0);
    assert!(!index.put_grant(stale), "a status");
    let web = namespace(&[("team", "web")]);
    assert!(!index.put_namespace("web".into(), web.clone()), "the same namespace");
    assert!(index.put_namespace("web".into(), Namespace { uid: None, ..web.clone() }), "another uid");
    assert!(index.put_namespace("web".into(), Namespace { labels: Labels::new(), ..web }), "other labels");
    assert!(index.put_grant(all("a", json!({ "suspend": true }))), "a spec");
    assert!(!index.retain_grants(&["a".into()].into()), "every grant is still there");
    let both = ["support".into(), "web".into()].into();
    assert!(!index.retain_namespaces(&both), "every namespace is still there");
    assert!(index.retain_namespaces(&["support".into()].into()), "a namespace is gone");
    assert!(index.retain_grants(&BTreeSet::new()), "a grant is gone");
    assert!(!index.remove_grant("a"), "a grant that was not there is gone");
    assert!(!index.remove_namespace("web"), "a namespace that was not there is gone");
}

/// Returns the conditions and counts of each grant's status.
fn statuses(grants: &[UserPoolGrant]) -> Vec<(String, Vec<String>, Option<i64>)> {
    let stale = stale(&index_of(grants), NOW);
    let found = stale.iter().map(|grant| {
        let status = grant.status.clone().unwrap();
        (shown(grant)[0].clone(), status.conflicts_with, status.matched_namespaces)
    });
    found.collect()
}

#[test]
fn grants_name_those_that_they_are_in_conflict_with() {
    let one = |more: Value| {
        let mut spec = json!({ "roleARN": ONE });
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        all("one", spec)
    };
    let two = |more: Value| {
        let mut grant = one(more);
        grant.metadata.name = Some("two".into());
        grant.spec.role_arn = Some(TWO.into());
        grant
    };
    let in_namespace = |mut grant: UserPoolGrant, name: &str| {
        grant.spec.namespaces = Some(vec![name.into()]);
        grant
    };
    let pattern = |text: &str| json!({ "usernamePattern": text });
    let pool = json!({ "userPoolID": "eu-west-1_Example02" });
    for (name, grants, wanted) in [
        ("two roles", [one(json!({})), two(json!({}))], true),
        ("a role and none", [one(json!({})), all("two", json!({}))], true),
        ("two external ids", [one(json!({ "externalID": "id" })), all("two", json!({ "roleARN": ONE }))], true),
        ("one role", [one(json!({})), all("two", json!({ "roleARN": ONE }))], false),
        ("two pools", [one(pool), two(json!({}))], false),
        ("a namespace in common", [one(json!({})), in_namespace(two(json!({})), "web")], true),
        ("the same one", [in_namespace(one(json!({})), "web"), in_namespace(two(json!({})), "web")], true),
        ("none in common", [in_namespace(one(json!({})), "support"), in_namespace(two(json!({})), "web")], false),
        ("one that is not there", [one(json!({})), in_namespace(two(json!({})), "ops")], false),
        ("the same pattern", [one(pattern("a.*")), two(pattern("a.*"))], true),
        ("one pattern", [one(pattern("a.*")), two(json!({}))], true),
        ("two patterns", [one(pattern("a.*")), two(pattern("b.*"))], false),
        ("a pattern that cannot be used and none", [one(pattern("(")), two(json!({}))], false),
        ("a pattern that cannot be used", [one(pattern("(")), two(pattern("("))], false),
        ("one that is suspended", [one(json!({ "suspend": true })), two(json!({}))], false),
    ] {
        let conflicts: Vec<_> = statuses(&grants).into_iter().map(|(_, conflicts, _)| conflicts).collect();
        let names = if wanted { [vec!["two"], vec!["one"]] } else { [vec![], vec![]] };
        assert_eq!(conflicts, names, "{name}");
    }
    let ambiguous = statuses(&[one(json!({})), two(json!({}))]);
    assert!(ambiguous.iter().all(|(shown, ..)| shown == "Ready False ConflictingGrants"), "{ambiguous:?}");
    let held = statuses(&[one(json!({ "suspend": true })), two(json!({}))]);
    assert_eq!((held[0].0.as_str(), held[1].0.as_str()), ("Ready False GrantSuspended", "Ready True Valid"));
    let many: Vec<_> =
        (0..20).map(|number| all(&format!("grant-{number:02}"), json!({}))).chain([one(json!({}))]).collect();
    let (_, conflicts, _) = statuses(&many).pop().unwrap();
    assert_eq!((conflicts.len(), conflicts[15].as_str()), (16, "grant-15"));
}

#[test]
fn a_grant_says_how_many_namespaces_it_selects() {
    for (name, grant, wanted) in [
        ("all", all("a", json!({})), 2),
        ("named", grant("a", json!({ "namespaces": ["web", "ops"] })), 1),
        ("selected", selecting(json!({ "matchLabels": { "tier": "gold" } })), 1),
        ("none", selecting(json!({ "matchLabels": { "tier": "iron" } })), 0),
        ("cannot be used", grant("a", json!({})), 0),
    ] {
        assert_eq!(statuses(&[grant])[0].2, Some(wanted), "{name}");
    }
}

/// The grant as it is stored, with the status that it should have.
fn stored(index: &mut GrantIndex) -> UserPoolGrant {
    let grant = stale(&*index, NOW).remove(0);
    index.status_written(&grant);
    grant
}

#[test]
fn grant_status_reports_the_last_role_check() {
    let with = |arn: &str, generation: i64, suspend: bool| {
        let mut grant = all("a", json!({ "roleARN": arn, "suspend": suspend }));
        grant.metadata.generation = Some(generation);
        grant
    };
    let mut index = index_of(&[with(ONE, 3, false)]);
    let tried = index.roles().remove(0);
    assert_eq!(tried.role.arn, ONE);
    assert_eq!(shown(&stored(&mut index)), ["Ready True Valid"], "not tried yet");
    assert!(index.role_checked(&tried, Ok(())));
    assert_eq!(shown(&stored(&mut index))[1], "RoleAssumable True RoleAssumed");
    assert!(!index.role_checked(&tried, Ok(())), "nothing new");
    assert_eq!(stale(&index, NOW), []);
    assert!(index.role_checked(&tried, Err(SessionFailure::NoResponse)));
    let refused = stored(&mut index);
    assert_eq!(shown(&refused), ["Ready True Valid", "RoleAssumable False RoleNotAssumable"]);
    assert!(!serde_json::to_string(&refused.status).unwrap().contains(ONE));

    // The result of another process is kept while the spec is the same, and that of this process
    // while the role is.
    let mut other = index_of(&[]);
    other.put_grant(refused.clone());
    assert_eq!(stale(&other, NOW), []);
    index.put_grant(with(ONE, 3, true));
    assert_eq!(shown(&stored(&mut index))[1], "RoleAssumable False RoleNotAssumable");
    index.put_grant(UserPoolGrant { status: refused.status.clone(), ..with(TWO, 4, true) });
    let conditions = stale(&index, NOW).remove(0).status.unwrap().conditions;
    assert_eq!(conditions.len(), 1, "the new role was not tried yet: {conditions:?}");
    index.role_checked(&tried, Ok(()));
    let conditions = stale(&index, NOW).remove(0).status.unwrap().conditions;
    assert_eq!(conditions.len(), 1, "of the old role: {conditions:?}");
    let without = all("b", json!({}));
    assert_eq!(index_of(&[without]).roles(), []);
}

#[test]
fn changed_conditions_are_new_reasons_or_initial_problems() {
    let reasons = |index: &mut GrantIndex| {
        let stale = index.stale_statuses(NOW).remove(0);
        index.status_written(&stale.object);
        stale.changed.into_iter().map(|condition| condition.reason).collect::<Vec<_>>()
    };
    let with = |suspend: bool| all("a", json!({ "roleARN": ONE, "suspend": suspend }));
    let mut index = index_of(&[with(false)]);
    let tried = index.roles().remove(0);
    assert!(reasons(&mut index).is_empty(), "well from the start");
    index.role_checked(&tried, Ok(()));
    assert!(reasons(&mut index).is_empty(), "well at the first try");
    index.role_checked(&tried, Err(SessionFailure::NoResponse));
    assert_eq!(reasons(&mut index), ["RoleNotAssumable"]);
    index.put_grant(UserPoolGrant { status: stored_status(&index), ..with(true) });
    assert_eq!(reasons(&mut index), ["GrantSuspended"]);
    index.role_checked(&tried, Ok(()));
    assert_eq!(reasons(&mut index), ["RoleAssumed"]);
    index.put_namespace("ops".into(), Namespace::default());
    assert!(reasons(&mut index).is_empty(), "a number is not reported");
    let mut broken = index_of(&[matching("(")]);
    assert_eq!(reasons(&mut broken), ["InvalidUsernamePattern"], "reported once, and not of Stalled too");
}

/// The status as it is stored in the API server.
fn stored_status(index: &GrantIndex) -> Option<cognito_reset_api::UserPoolGrantStatus> {
    index.grants["a"].object.status.clone()
}
