use super::*;

const DURATION: Duration = Duration::from_secs(15);

fn lease(holder: &str, version: &str) -> Lease {
    let mut lease = held_by(holder, DURATION, None, Move::Take);
    lease.metadata.resource_version = Some(version.into());
    lease
}

#[test]
fn lease_expires_unchanged_for_its_duration_by_the_own_clock() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut observer = Observer::new("me".into(), DURATION);
    let mut stale = lease("other", "1");
    // The times of the holder's clock have no effect.
    stale.spec.as_mut().unwrap().renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
    for (seconds, version, wanted) in [
        (0, "1", Move::Leave),
        (14, "1", Move::Leave),
        (15, "2", Move::Leave),
        (29, "2", Move::Leave),
        (30, "2", Move::Take),
    ] {
        stale.metadata.resource_version = Some(version.into());
        assert_eq!(observer.see(Some(&stale), at(seconds)), wanted, "after {seconds} s");
    }
}

#[test]
fn absent_or_released_lease_is_taken_and_an_own_one_renewed() {
    let now = Instant::now();
    let mut observer = Observer::new("me".into(), DURATION);
    assert_eq!(observer.see(None, now), Move::Take);
    assert_eq!(observer.see(Some(&Lease::default()), now), Move::Take);
    assert_eq!(observer.see(Some(&lease("", "1")), now), Move::Take);
    assert_eq!(observer.see(Some(&lease("me", "1")), now), Move::Renew);
    assert_eq!(observer.see(Some(&lease("other", "1")), now), Move::Leave);
    observer.renewed = Some(now);
    assert_eq!(observer.see(Some(&lease("other", "2")), now), Move::Lost);
}

#[test]
fn replica_observes_if_there_is_a_leader() {
    let now = Instant::now();
    let mut observer = Observer::new("me".into(), DURATION);
    assert_eq!(observer.leadership(now), Leadership::NoLeaderSeen);
    let _ = observer.see(Some(&lease("other", "1")), now);
    assert_eq!(observer.leadership(now), Leadership::Standby);
    assert_eq!(observer.leadership(now + DURATION), Leadership::NoLeaderSeen);
    observer.renewed = Some(now);
    assert_eq!(observer.leadership(now), Leadership::Leader);
    assert!(observer.must_stop_at().unwrap() < now + DURATION);
}

#[test]
fn renewal_keeps_the_acquire_time_and_taking_counts() {
    let first = held_by("one", DURATION, None, Move::Take).spec.unwrap();
    let current = Lease { spec: Some(first.clone()), ..Lease::default() };
    let renewed = held_by("one", DURATION, Some(current.clone()), Move::Renew).spec.unwrap();
    assert_eq!((renewed.acquire_time, renewed.lease_transitions), (first.acquire_time, Some(1)));
    let taken = held_by("two", Duration::from_millis(1500), Some(current), Move::Take).spec.unwrap();
    assert_eq!((taken.holder_identity.as_deref(), taken.lease_transitions), (Some("two"), Some(2)));
    assert_eq!(taken.lease_duration_seconds, Some(2), "rounded up");
}

#[test]
fn lease_names_the_namespaces_that_its_holder_watches() {
    let mut current = lease("one", "1");
    assert_eq!(watched_by(&current), None);
    current.metadata.annotations.get_or_insert_default().insert("a".into(), "kept".into());
    for watched in [Some("shops,support".to_owned()), Some("support".into()), None] {
        name_watched(&mut current, watched.as_ref());
        assert_eq!(watched_by(&current), watched);
        assert_eq!(current.metadata.annotations.as_ref().unwrap()["a"], "kept");
    }
}
