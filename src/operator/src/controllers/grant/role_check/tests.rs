//! Tests when the roles of grants are checked, and with which sessions. Time only passes while
//! waiting.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use cognito_reset_api::{SessionTags, UserPoolGrant};
use cognito_reset_core::{
    action::port::{ReadError, Reply, SessionError, User, UserRef},
    grants::Namespace,
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::sleep;

use super::*;
use crate::telemetry::metrics::ProcessMetrics;

const PERIOD: Duration = Duration::from_secs(600);
/// The time that a response takes.
const ANSWER: Duration = Duration::from_secs(1);

/// Records the requests that it receives, and responds as configured.
#[derive(Default)]
struct Sts {
    asked: Mutex<Vec<Access>>,
    refuses: AtomicBool,
    panics: AtomicBool,
    busy: AtomicUsize,
    busiest: AtomicUsize,
}

impl Sts {
    /// Returns the requests since the last call.
    fn asked(&self) -> Vec<Access> {
        std::mem::take(&mut *self.asked.lock())
    }
}

impl Cognito for Sts {
    type Session = ();

    async fn session(&self, access: &Access) -> Result<(), SessionError> {
        self.asked.lock().push(access.clone());
        self.busiest.fetch_max(self.busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        sleep(ANSWER).await;
        assert!(!self.panics.load(Ordering::SeqCst), "as a library may");
        self.busy.fetch_sub(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            Err(SessionError { failure: SessionFailure::AccessDenied, detail: "refused".into() })
        } else {
            Ok(())
        }
    }

    async fn user(&self, (): &(), _: UserRef<'_>) -> Result<User, ReadError> {
        panic!("nobody is looked up to try a role")
    }

    async fn listed_user(&self, (): &(), _: UserRef<'_>) -> Result<User, ReadError> {
        panic!("nobody is looked up to try a role")
    }

    async fn reset(&self, (): &(), _: UserRef<'_>, _: Option<&BTreeMap<String, String>>) -> Reply {
        panic!("nobody is reset to try a role")
    }

    fn own_account(&self) -> Option<String> {
        None
    }
}

fn grant(name: &str, role: Option<&str>) -> UserPoolGrant {
    let arn = role.map(|role| format!("arn:aws:iam::123456789012:role/{role}"));
    let spec = json!({ "userPoolID": "eu-west-1_Example01", "namespaces": ["*"], "roleARN": arn });
    let mut grant = UserPoolGrant::new(name, serde_json::from_value(spec).unwrap());
    grant.metadata.uid = Some(format!("uid-of-{name}"));
    grant
}

/// Returns the requests within this time.
async fn within(sts: &Sts, grants: &SharedGrants, time: Duration) -> Vec<Access> {
    let metrics = Metrics::new(ProcessMetrics::default());
    tokio::select! {
        () = check(sts, grants, &metrics, PERIOD) => unreachable!("it runs for ever"),
        () = sleep(time) => sts.asked(),
    }
}

fn names_of(asked: &[Access]) -> Vec<&str> {
    let name = |access: &Access| match &access.purpose {
        Purpose::RoleCheck { grant, .. } => Some(grant.clone()),
        Purpose::Reset { .. } => None,
    };
    asked.iter().map(|access| name(access).map_or("", |name| name.leak())).collect()
}

#[tokio::test(start_paused = true)]
async fn role_is_checked_at_once_and_again_after_the_interval() {
    let (sts, grants) = (Sts::default(), SharedGrants::default());
    grants.change(|index| index.put_grant(grant("with", Some("one"))));
    grants.change(|index| index.put_grant(grant("without", None)));
    let asked = within(&sts, &grants, PERIOD * 2 - ANSWER).await;
    assert_eq!(names_of(&asked), ["with", "with"]);
    let role =
        Role { arn: "arn:aws:iam::123456789012:role/one".into(), external_id: None, session_tags: SessionTags::Full };
    let purpose = Purpose::RoleCheck { grant: "with".into(), uid: "uid-of-with".into() };
    assert_eq!(asked[0], Access { region: "eu-west-1".into(), role: Some(role), purpose });
}

#[tokio::test(start_paused = true)]
async fn failed_role_check_is_reported_and_repeated_earlier() {
    let (sts, grants) = (Sts::default(), SharedGrants::default());
    grants.change(|index| index.put_grant(grant("a", Some("one"))));
    let reason = || {
        let stale = grants.read(|index| index.stale_statuses(jiff::Timestamp::UNIX_EPOCH)).remove(0);
        stale.object.status.unwrap_or_default().conditions.pop().map(|condition| condition.reason)
    };
    sts.refuses.store(true, Ordering::SeqCst);
    let (mut to_tell, changes) = (grants.status_changes(), grants.changes());
    to_tell.mark_unchanged();
    assert_eq!(within(&sts, &grants, PERIOD / 10 * 3 - ANSWER).await.len(), 3);
    assert_eq!(reason().as_deref(), Some("RoleNotAssumable"));
    let message = grants.read(|index| index.stale_statuses(jiff::Timestamp::UNIX_EPOCH)).remove(0).object.status;
    let message = message.unwrap_or_default().conditions.pop().map(|condition| condition.message).unwrap_or_default();
    assert!(message.contains("STS denies the operator access to the role"), "{message}");
    assert!(to_tell.has_changed().unwrap() && !changes.has_changed().unwrap(), "it alters nothing that is allowed");
    sts.refuses.store(false, Ordering::SeqCst);
    within(&sts, &grants, PERIOD / 10).await;
    assert_eq!(reason().as_deref(), Some("RoleAssumed"));
}

#[tokio::test(start_paused = true)]
async fn panic_in_a_role_check_fails_that_role_only() {
    let (sts, grants) = (Sts::default(), SharedGrants::default());
    grants.change(|index| index.put_grant(grant("a", Some("one"))));
    sts.panics.store(true, Ordering::SeqCst);
    assert_eq!(within(&sts, &grants, PERIOD / 10 * 3 - ANSWER).await.len(), 3);
    let stale = grants.read(|index| index.stale_statuses(jiff::Timestamp::UNIX_EPOCH)).remove(0);
    let reason = stale.object.status.unwrap_or_default().conditions.pop().map(|condition| condition.reason);
    assert_eq!(reason.as_deref(), Some("RoleNotAssumable"));
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_is_tried_at_once_and_nothing_else_with_it() {
    let (sts, grants) = (Sts::default(), SharedGrants::default());
    grants.change(|index| index.put_grant(grant("a", Some("one"))));
    grants.change(|index| index.put_grant(grant("b", Some("one"))));
    let changes = async {
        sleep(ANSWER * 10).await;
        assert_eq!(names_of(&sts.asked()).len(), 2);
        grants.change(|index| index.put_namespace("web".into(), Namespace::default()));
        sleep(ANSWER * 10).await;
        assert_eq!(names_of(&sts.asked()).len(), 0, "another namespace is no other role");
        grants.change(|index| index.put_grant(grant("a", Some("two"))));
        sleep(ANSWER * 10).await;
        assert_eq!(names_of(&sts.asked()), ["a"], "another role");
        let mut anew = grant("b", Some("one"));
        anew.metadata.uid = Some("another".into());
        grants.change(|index| index.put_grant(anew));
        sleep(ANSWER * 10).await;
        assert_eq!(names_of(&sts.asked()), ["b"], "deleted and created again");
        grants.change(|index| index.remove_grant("b"));
        grants.change(|index| index.put_grant(grant("b", Some("one"))));
        sleep(ANSWER * 10).await;
        assert_eq!(names_of(&sts.asked()), ["b"]);
    };
    let metrics = Metrics::new(ProcessMetrics::default());
    tokio::select! {
        () = check(&sts, &grants, &metrics, PERIOD) => unreachable!("it runs for ever"),
        () = changes => {}
    }
}

#[tokio::test(start_paused = true)]
async fn few_roles_are_checked_at_a_time_and_new_ones_come_first() {
    let (sts, grants) = (Sts::default(), SharedGrants::default());
    for number in 0..200 {
        grants.change(|index| index.put_grant(grant(&format!("grant-{number:03}"), Some("one"))));
    }
    sts.refuses.store(true, Ordering::SeqCst);
    let new = async {
        sleep(ANSWER * 110).await;
        grants.change(|index| index.put_grant(grant("zebra", Some("one"))));
        sleep(ANSWER * 20).await;
    };
    let metrics = Metrics::new(ProcessMetrics::default());
    tokio::select! {
        () = check(&sts, &grants, &metrics, PERIOD) => unreachable!("it runs for ever"),
        () = new => {}
    }
    assert_eq!(sts.busiest.load(Ordering::SeqCst), 2);
    let asked = sts.asked();
    assert!(asked.len() > 200, "the first are tried anew: {}", asked.len());
    assert!(names_of(&asked).contains(&"zebra"));
}
