//! Given these grants, this request is allowed, or not for that reason.

use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const ONE: &str = "arn:aws:iam::123456789012:role/one";
const TWO: &str = "arn:aws:iam::123456789012:role/two";

/// A grant of the pool, with what `more` says on top.
fn grant(name: &str, more: Value) -> UserPoolGrant {
    let mut spec = json!({ "userPoolID": "eu-west-1_Example01" });
    spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    let mut grant = UserPoolGrant::new(name, serde_json::from_value(spec).unwrap());
    grant.metadata.generation = Some(3);
    grant
}

/// A request from the namespace `support` for alice, with what `more` says on top.
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
    request(json!({ "expirationTime": "2030-01-01T00:00:00Z" }))
}

fn from(namespace: &str) -> PasswordResetRequest {
    let mut request = alice();
    request.metadata.namespace = Some(namespace.into());
    request
}

/// A cluster with the namespaces `support` (team: support, tier: gold) and `web` (team: web).
fn permissions(grants: &[UserPoolGrant]) -> Permissions {
    let permissions = Permissions::default();
    let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    permissions.put_namespace("support".into(), labels(&[("team", "support"), ("tier", "gold")]));
    permissions.put_namespace("web".into(), labels(&[("team", "web")]));
    for grant in grants {
        permissions.put_grant(grant.clone());
    }
    permissions
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

type Case = (&'static str, Vec<UserPoolGrant>, PasswordResetRequest, Result<Vec<&'static str>, Reason>);

/// Compares the names of the grants that allow, or the reason for which none does.
fn check(cases: Vec<Case>) {
    for (name, grants, request, wanted) in cases {
        let allowed = permissions(&grants).allowed(&request).map(|allowed| allowed.grants);
        assert_eq!(allowed, wanted.map(|names| names.into_iter().map(str::to_owned).collect()), "{name}");
    }
}

const NOT_GRANTED: Result<Vec<&str>, Reason> = Err(Reason::UserPoolNotGranted);

#[test]
fn nothing_is_allowed_but_what_a_grant_of_the_pool_and_namespace_allows() {
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
        ("all", vec![all("all", json!({}))], from("unheard-of"), Ok(vec!["all"])),
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
        ("labels of a namespace that is not known", vec![team()], from("unheard-of"), NOT_GRANTED),
        ("In", vec![expression("In", json!(["ops", "support"]))], alice(), labels()),
        ("In, but not", vec![expression("In", json!(["ops"]))], alice(), NOT_GRANTED),
        ("NotIn", vec![not_web()], alice(), labels()),
        ("NotIn, but in", vec![not_web()], from("web"), NOT_GRANTED),
        ("NotIn, of a namespace that is not known", vec![not_web()], from("unheard-of"), NOT_GRANTED),
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
        let result = permissions(&[matching(pattern)]).allowed(&of_user(username));
        assert_eq!(result.is_ok(), allowed, "{pattern:?} {username:?}");
    }
}

#[test]
fn a_pattern_that_cannot_be_used_never_matches_and_says_so() {
    let huge = "(a{1000}){1000}";
    for pattern in ["a)|(b", ".*)|(.*", "(", "alice\\", "[a", "(?=alice)", "(?x)alice # or anybody", huge] {
        let permissions = permissions(&[matching(pattern)]);
        for username in ["alice", "a", "b", "a)|(b"] {
            assert_eq!(permissions.allowed(&of_user(username)), Err(Reason::UserPoolNotGranted), "{pattern:?}");
        }
        let stale = permissions.stale_statuses(NOW);
        assert_eq!(said(&stale[0]), ["Ready False InvalidUsernamePattern", "Stalled True InvalidUsernamePattern"]);
        let told = serde_json::to_string(&stale[0].status).unwrap();
        assert!(!told.contains(pattern), "{told}");
    }
}

#[test]
fn a_suspended_grant_holds_back_what_it_concerns_whatever_others_say() {
    let kill = |more: Value| {
        let mut grant = all("kill", more);
        grant.spec.suspend = true;
        grant
    };
    let everyone = || all("everyone", json!({}));
    let suspended = Err(Reason::GrantSuspended);
    let mut broken = selecting(json!({ "matchExpressions": [{ "key": "team", "operator": "Nonsense" }] }));
    broken.spec.suspend = true;
    check(vec![
        ("alone", vec![kill(json!({}))], alice(), suspended.clone()),
        ("beside another", vec![everyone(), kill(json!({}))], alice(), suspended.clone()),
        ("with another role", vec![everyone(), kill(json!({ "roleARN": ONE }))], alice(), suspended.clone()),
        (
            "with a broken pattern",
            vec![everyone(), kill(json!({ "usernamePattern": "(" }))],
            alice(),
            suspended.clone(),
        ),
        ("with a broken selector", vec![everyone(), broken], alice(), suspended.clone()),
        ("that needs an expiration", vec![everyone(), kill(json!({ "requireExpiration": true }))], alice(), suspended),
        ("of other users", vec![everyone(), kill(json!({ "usernamePattern": "bob" }))], alice(), Ok(vec!["everyone"])),
        (
            "of another pool",
            vec![everyone(), kill(json!({ "userPoolID": "eu-west-1_Example02" }))],
            alice(),
            Ok(vec!["everyone"]),
        ),
    ]);
}

#[test]
fn grants_add_up_unless_they_differ_in_role_or_external_id() {
    let strict = |more: Value| {
        let mut grant = all("strict", more);
        grant.spec.require_expiration = true;
        grant
    };
    let role = |name: &str, arn: &str| all(name, json!({ "roleARN": arn }));
    let external = |id: &str| all("external", json!({ "roleARN": ONE, "externalID": id }));
    let elsewhere = grant("elsewhere", json!({ "namespaces": ["web"], "roleARN": TWO }));
    let ambiguous = Err(Reason::AmbiguousGrant);
    check(vec![
        ("two without role", vec![all("b", json!({})), all("a", json!({}))], alice(), Ok(vec!["a", "b"])),
        ("two of one role", vec![role("a", ONE), role("b", ONE)], alice(), Ok(vec!["a", "b"])),
        ("two roles", vec![role("a", ONE), role("b", TWO)], alice(), ambiguous.clone()),
        ("a role and none", vec![role("a", ONE), all("b", json!({}))], alice(), ambiguous.clone()),
        ("an external id and none", vec![role("a", ONE), external("id")], alice(), ambiguous.clone()),
        ("of which one does not match", vec![role("a", ONE), elsewhere], alice(), Ok(vec!["a"])),
        ("an expiration is required", vec![strict(json!({}))], alice(), Err(Reason::ExpirationRequired)),
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
    assert_eq!(permissions(&two_ids).allowed(&alice()), Err(Reason::AmbiguousGrant));
}

#[test]
fn what_allows_a_request_names_its_role_and_at_most_sixteen_grants() {
    let external = all("external", json!({ "roleARN": ONE, "externalID": "id" }));
    let role = Role { arn: ONE.into(), external_id: Some("id".into()) };
    assert_eq!(
        permissions(&[external]).allowed(&alice()),
        Ok(Allowed { role: Some(role), grants: vec!["external".into()] })
    );
    let many: Vec<_> = (0..20).map(|number| all(&format!("grant-{number:02}"), json!({}))).collect();
    let allowed = permissions(&many).allowed(&alice()).unwrap();
    assert_eq!((allowed.role, allowed.grants.len(), allowed.grants[15].as_str()), (None, 16, "grant-15"));
}

/// Type, status and reason of each condition.
fn said(grant: &UserPoolGrant) -> Vec<String> {
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
        ("empty selector", selecting(json!({})), never.clone()),
        ("neither names nor selector", grant("a", json!({})), never),
    ];
    for (name, grant, wanted) in cases {
        let stale = permissions(&[grant]).stale_statuses(NOW);
        assert_eq!(stale.iter().map(said).collect::<Vec<_>>(), [wanted], "{name}");
    }
}

#[test]
fn a_grants_status_is_stale_until_it_was_written_and_when_the_cluster_has_changed() {
    let later = NOW + jiff::SignedDuration::from_secs(60);
    let permissions = permissions(&[selecting(json!({ "matchLabels": { "team": "ops" } }))]);
    let first = permissions.stale_statuses(NOW).remove(0);
    assert_eq!(permissions.stale_statuses(later).len(), 1);
    permissions.status_written(&first);
    assert_eq!(permissions.stale_statuses(later), []);
    permissions.put_namespace("ops".into(), [("team".into(), "ops".into())].into());
    let second = permissions.stale_statuses(later).remove(0);
    assert_eq!(said(&second), ["Ready True Valid"]);
    permissions.status_written(&second);
    permissions.remove_namespace("ops");
    assert_eq!(said(&permissions.stale_statuses(later)[0]), ["Ready False NoNamespaceMatches"]);
    permissions.put_grant(UserPoolGrant { status: None, ..first });
    permissions.remove_grant("labels");
    assert_eq!(permissions.stale_statuses(later), []);
}

#[test]
fn a_late_reply_to_a_status_write_never_brings_an_older_grant_back() {
    let permissions = permissions(&[all("a", json!({}))]);
    let written = permissions.stale_statuses(NOW).remove(0);
    permissions.put_grant(all("a", json!({ "suspend": true })));
    permissions.status_written(&written);
    assert_eq!(permissions.allowed(&alice()), Err(Reason::GrantSuspended));
    permissions.remove_grant("a");
    permissions.status_written(&written);
    assert_eq!(permissions.allowed(&alice()), Err(Reason::UserPoolNotGranted));
}

#[test]
fn only_what_may_alter_what_is_allowed_is_a_change() {
    let permissions = permissions(&[all("a", json!({}))]);
    let mut changes = permissions.changes();
    let mut changed = |wanted: bool, what: &str| {
        assert_eq!(changes.has_changed().unwrap(), wanted, "{what}");
        changes.mark_unchanged();
    };
    changed(false, "nothing");
    permissions.put_grant(permissions.stale_statuses(NOW).remove(0));
    changed(false, "a status");
    permissions.put_namespace("web".into(), [("team".into(), "web".into())].into());
    changed(false, "the same labels");
    permissions.put_namespace("web".into(), Labels::new());
    changed(true, "other labels");
    permissions.put_grant(all("a", json!({ "suspend": true })));
    changed(true, "a spec");
    permissions.retain_grants(&["a".into()].into());
    permissions.retain_namespaces(&["support".into(), "web".into()].into());
    changed(false, "everything is still there");
    permissions.retain_namespaces(&["support".into()].into());
    changed(true, "a namespace is gone");
    permissions.retain_grants(&BTreeSet::new());
    changed(true, "a grant is gone");
    permissions.remove_grant("a");
    permissions.remove_namespace("web");
    changed(false, "what was not there is gone");
}
