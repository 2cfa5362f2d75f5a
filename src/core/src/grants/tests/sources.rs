//! Tables of the call by which a user is read before a reset.

use cognito_reset_api::{UserPoolHold, conditions::GrantReason};

use super::*;

/// An index of an operator with this default source.
fn index(default: UserStateSource, grants: &[UserPoolGrant]) -> GrantIndex {
    let mut index = GrantIndex::default().with_default_source(default);
    index.put_namespace("support".into(), namespace(&[]));
    grants.iter().for_each(|grant| assert!(index.put_grant(grant.clone())));
    index
}

fn with(name: &str, source: &str) -> UserPoolGrant {
    all(name, json!({ "userStateSource": source }))
}

fn matching_by(pattern: &str, source: &str) -> UserPoolGrant {
    all(&format!("pattern-{source}"), json!({ "usernamePattern": pattern, "userStateSource": source }))
}

fn known(username: &str) -> KnownUser {
    KnownUser::Read(UserNames { username: Some(username.into()), ..UserNames::default() })
}

#[test]
fn strongest_source_of_the_grants_that_allow_decides() {
    use UserStateSource::{AdminGetUser, ListUsers, None as Nothing};
    let (strong, listed, nothing) = (with("a", "AdminGetUser"), with("b", "ListUsers"), with("c", "None"));
    let default = all("d", json!({}));
    let suspended = all("e", json!({ "suspend": true, "userStateSource": "AdminGetUser" }));
    let pattern = |source| matching_by("alice", source);
    let unread = KnownUser::NotRead;
    for (case, flag, grants, user, wanted) in [
        ("the default", AdminGetUser, vec![&default], &unread, Ok(AdminGetUser)),
        ("the flag", ListUsers, vec![&default], &unread, Ok(ListUsers)),
        ("the flag None", Nothing, vec![&default], &unread, Ok(Nothing)),
        ("the grant over the flag", AdminGetUser, vec![&nothing], &unread, Ok(Nothing)),
        ("the grant over the flag None", Nothing, vec![&listed], &unread, Ok(ListUsers)),
        ("all three", Nothing, vec![&nothing, &listed, &strong], &unread, Ok(AdminGetUser)),
        ("two", Nothing, vec![&nothing, &listed], &unread, Ok(ListUsers)),
        ("the default beside a grant", ListUsers, vec![&nothing, &default], &unread, Ok(ListUsers)),
        ("a suspended grant allows nothing", ListUsers, vec![&nothing, &suspended], &unread, Ok(Nothing)),
        ("a pattern alone", Nothing, vec![&pattern("ListUsers")], &unread, Ok(ListUsers)),
        ("a pattern that is not compared yet", Nothing, vec![&nothing, &pattern("ListUsers")], &unread, Ok(Nothing)),
        ("a pattern that matches", Nothing, vec![&listed, &pattern("AdminGetUser")], &known("alice"), Ok(ListUsers)),
        ("an unreadable user", Nothing, vec![&listed, &pattern("AdminGetUser")], &KnownUser::Unreadable, Ok(ListUsers)),
        (
            "two patterns that match",
            Nothing,
            vec![&pattern("ListUsers"), &pattern("AdminGetUser")],
            &known("alice"),
            Ok(AdminGetUser),
        ),
        ("a pattern of others", Nothing, vec![&listed, &pattern("AdminGetUser")], &known("bob"), Ok(ListUsers)),
        ("a pattern without a read", Nothing, vec![&pattern("None")], &unread, Err(WaitReason::NoMatchingGrant)),
        (
            "a pattern without a read, of a user who was read",
            Nothing,
            vec![&pattern("None")],
            &known("alice"),
            Err(WaitReason::NoMatchingGrant),
        ),
    ] {
        let grants: Vec<_> = grants.into_iter().cloned().collect();
        let index = index(flag, &grants);
        assert_eq!(index.evaluate(&alice(), user).authorization.map(|it| it.source), wanted, "{case}");
        if *user == KnownUser::NotRead {
            let outlook = index.outlook(&watched(&alice()));
            let expected = outlook.blocked.map_or(Ok(outlook.source), Err);
            assert_eq!(expected, wanted, "{case}: the outlook");
        }
    }
}

#[test]
fn pattern_that_nobody_may_compare_is_reported() {
    let ready = |index: &GrantIndex| {
        let stale = stale(index, NOW);
        let condition = &stale[0].status.as_ref().unwrap().conditions[0];
        (condition.reason.clone(), condition.message.contains("userStateSource"))
    };
    let pattern = [matching("alice")];
    let reason = GrantReason::UserStateNotRead.as_str().to_owned();
    assert_eq!(ready(&index(UserStateSource::None, &pattern)), (reason, true));
    assert_eq!(ready(&index(UserStateSource::ListUsers, &pattern)).0, GrantReason::Valid.as_str());
    // A pattern that cannot be compiled stays the reason.
    let invalid = GrantReason::InvalidUsernamePattern.as_str();
    assert_eq!(ready(&index(UserStateSource::None, &[matching("(")])).0, invalid);
}

#[test]
fn hold_that_names_users_holds_everyone_whom_nobody_reads() {
    let hold = |more: Value| {
        let spec = json!({ "reason": "incident", "usernames": ["bob"] });
        let mut hold = UserPoolHold::new("stop", serde_json::from_value(spec).unwrap());
        hold.spec.user_pool_id = serde_json::from_value(more).unwrap();
        hold
    };
    for (case, source, pool, user, wanted) in [
        ("read later", "ListUsers", json!(null), KnownUser::NotRead, None),
        ("never read", "None", json!(null), KnownUser::NotRead, Some(HoldCause::UserNotRead)),
        // What is known of a user who was read for another grant may be out of date.
        ("read before", "None", json!(null), known("alice"), Some(HoldCause::UserNotRead)),
        ("another pool", "None", json!("eu-west-1_Example02"), KnownUser::NotRead, None),
        ("unreadable", "ListUsers", json!(null), KnownUser::Unreadable, Some(HoldCause::UserUnreadable)),
    ] {
        let mut index = index(UserStateSource::AdminGetUser, &[with("grant", source)]);
        put(&mut index, &alice());
        assert!(index.put_hold(hold(pool)));
        let held_by = index.evaluate(&alice(), &user).held_by;
        assert_eq!(held_by.map(|by| by.cause), wanted, "{case}");
        let counted = index.stale_hold_statuses(NOW)[0].object.status.as_ref().unwrap().held_requests;
        assert_eq!(counted, Some(i64::from(wanted == Some(HoldCause::UserNotRead))), "{case}: the status of the hold");
        let blocked = index.outlook(&watched(&alice())).blocked;
        assert_eq!(blocked.is_some(), wanted == Some(HoldCause::UserNotRead), "{case}: the outlook");
    }
    let suspended = all("suspended", json!({ "suspend": true, "userStateSource": "AdminGetUser" }));
    let mut beside = index(UserStateSource::None, &[all("grant", json!({})), suspended]);
    put(&mut beside, &alice());
    assert!(beside.put_hold(hold(json!(null))));
    let counted = beside.stale_hold_statuses(NOW)[0].object.status.as_ref().unwrap().held_requests;
    assert_eq!(counted, Some(1), "a grant that allows nothing lets nobody read");
    let mut index = index(UserStateSource::None, &[all("grant", json!({}))]);
    index.put_hold(hold(json!(null)));
    let held = index.evaluate(&of_user("BOB"), &KnownUser::NotRead).held_by.unwrap();
    assert_eq!(held.cause, HoldCause::Matches("incident".into()), "the spelling is compared in any case");
}

#[test]
fn user_is_read_before_an_approval_by_the_source_of_the_grants() {
    let request = request(json!({ "requestedBy": { "username": "carol", "uid": "1", "level": "Authenticated" } }));
    let approved_by = |source: &str| all(source, json!({ "requireApproval": true, "userStateSource": source }));
    for (case, grants, wanted) in [
        ("AdminGetUser", vec!["AdminGetUser"], Some(UserStateSource::AdminGetUser)),
        ("ListUsers", vec!["ListUsers"], Some(UserStateSource::ListUsers)),
        ("None", vec!["None"], None),
        ("two", vec!["None", "ListUsers"], Some(UserStateSource::ListUsers)),
    ] {
        let grants: Vec<_> = grants.into_iter().map(approved_by).collect();
        let index = index(UserStateSource::AdminGetUser, &grants);
        let evaluation = index.evaluate(&request, &KnownUser::NotRead);
        assert_eq!(evaluation.authorization, Err(WaitReason::AwaitingApproval), "{case}");
        assert_eq!(evaluation.read_before_approval.map(|access| access.source), wanted, "{case}");
        // Without a read, the request needs no turn before it is approved.
        let blocked = index.outlook(&watched(&request)).blocked;
        assert_eq!(blocked, wanted.is_none().then_some(WaitReason::AwaitingApproval), "{case}");
    }
}

#[test]
fn skip_is_blocked_where_nobody_may_read_the_user() {
    let skipping = request(json!({ "ifResetRequired": "Skip" }));
    for (source, wanted) in [("AdminGetUser", None), ("ListUsers", None), ("None", Some(WaitReason::UserStateNotRead))]
    {
        let index = index(UserStateSource::AdminGetUser, &[with("grant", source)]);
        assert_eq!(index.outlook(&watched(&skipping)).blocked, wanted, "{source}");
    }
}
