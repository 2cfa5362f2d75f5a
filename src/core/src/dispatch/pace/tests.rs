mod properties;

use super::*;

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number)
}

/// A pace of this many turns per second, and the time of its beginning.
fn pace(per_second: f64) -> (Pace, Instant) {
    let start = Instant::now();
    (Pace::new(Rate::per_second(per_second), start), start)
}

/// Takes each turn as soon as it is due, until this time. Returns the times.
fn taken_until(pace: &mut Pace, end: Instant) -> Vec<Instant> {
    std::iter::from_fn(|| {
        let due = pace.due();
        (due <= end && pace.take(due)).then_some(due)
    })
    .collect()
}

#[test]
fn turns_are_evenly_spaced() {
    let (mut pace, start) = pace(10.0);
    assert!(pace.take(start));
    assert!(!pace.take(start + millis(100)), "a period is rounded up");
    assert!(!pace.take(start + millis(99)));
    assert!(pace.take(start + millis(101)));
    assert_eq!(taken_until(&mut pace, start + millis(1005)).len(), 9);
}

#[test]
fn rate_is_kept_within_what_is_possible() {
    for (wanted, kept) in [
        (10.0, 10.0),
        (0.001, 0.001),
        (0.0, 0.001),
        (-1.0, 0.001),
        (f64::NAN, 0.001),
        (f64::NEG_INFINITY, 0.001),
        (10_000.0, 10_000.0),
        (1e9, 10_000.0),
        (f64::INFINITY, 10_000.0),
    ] {
        assert_eq!(Rate::per_second(wanted).as_per_second(), kept, "{wanted}");
    }
}

#[test]
fn lateness_is_made_up_for_up_to_a_limit() {
    for (late, next) in [(0, 100), (1, 100), (20, 100), (21, 101), (100, 180), (3_600_000, 3_600_080)] {
        let (mut pace, start) = pace(10.0);
        assert!(pace.take(start + millis(late)));
        let due = pace.due() - start;
        assert!((millis(next)..millis(next) + millis(1)).contains(&due), "{late}: {due:?}");
    }
}

#[test]
fn calls_begun_before_the_rate_was_halved_do_not_halve_it_again() {
    let (mut pace, start) = pace(16.0);
    assert!(pace.take(start));
    let halved = start + millis(100);
    for (begun, now, rate) in [
        (start, halved, 8.0),
        (start, start + millis(200), 8.0),
        (start + millis(50), start + millis(300), 8.0),
        (halved, start + millis(400), 8.0),
        (start + millis(101), start + millis(500), 4.0),
        (start + millis(499), start + millis(600), 4.0),
        (start + millis(501), start + millis(700), 2.0),
    ] {
        pace.throttled(begun, None, now);
        assert_eq!(pace.rate_at(now).as_per_second(), rate, "{:?}", begun - start);
    }
    assert!(pace.is_slowed(start + millis(700)) && !pace.is_at_rest(start + millis(700)));
}

#[test]
fn turn_after_throttling_waits_for_a_period_or_as_demanded() {
    for (retry_after, wait) in [
        (None, 200),
        (Some(millis(1)), 200),
        (Some(millis(200)), 200),
        (Some(millis(5000)), 5000),
        (Some(Duration::MAX), 300_000),
    ] {
        let (mut pace, start) = pace(10.0);
        pace.throttled(start, retry_after, start);
        let wait = millis(wait);
        assert!((wait..wait + millis(1)).contains(&(pace.due() - start)), "{retry_after:?}");
        assert_eq!(pace.not_before(), pace.due());
        let due = pace.due();
        assert!(!pace.take(due - Duration::from_nanos(1)) && pace.take(due));
    }
}

#[test]
fn later_response_never_shortens_the_pause() {
    let (mut pace, start) = pace(10.0);
    pace.throttled(start, Some(millis(2000)), start);
    pace.throttled(start, Some(millis(2000)), start + millis(500));
    assert_eq!(pace.due(), start + millis(2500));
    pace.throttled(start, Some(millis(100)), start + millis(600));
    pace.throttled(start, None, start + millis(700));
    assert_eq!(pace.due(), start + millis(2500));
}

#[test]
fn rate_has_a_floor() {
    for (budget, floor) in [(1000.0, 0.1), (10.0, 0.1), (0.1, 0.1), (0.05, 0.05), (0.01, 0.01)] {
        let (mut pace, start) = pace(budget);
        let mut now = start;
        for _ in 0..100 {
            pace.throttled(now, None, now);
            now = pace.due() + millis(1);
            assert!(pace.take(now));
        }
        assert_eq!(pace.rate_at(now).as_per_second(), floor, "{budget}");
    }
}

#[test]
fn rate_grows_by_a_step_each_second_once_a_call_was_accepted() {
    let (mut pace, start) = pace(30.0);
    pace.throttled(start, None, start);
    let hour = start + seconds(3600.0);
    assert_eq!(pace.rate_at(hour).as_per_second(), 15.0, "time alone shows nothing");
    pace.accepted(start, hour);
    assert_eq!(pace.rate_at(hour + RAMP).as_per_second(), 15.0, "the call began before the rate was halved");
    pace.accepted(start + millis(1), hour);
    pace.accepted(start + millis(2), hour + seconds(2.0));
    for (second, rate) in [(0.0, 15.0), (0.9, 15.0), (1.0, 17.0), (5.5, 25.0), (7.9, 29.0), (8.0, 30.0), (1e6, 30.0)] {
        assert_eq!(pace.rate_at(hour + seconds(second)).as_per_second(), rate, "{second}");
    }
    assert!(pace.is_slowed(hour + seconds(7.9)) && !pace.is_slowed(hour + seconds(8.0)));
    // Throttled while it grows: half of what it has grown to, and no growth before another call.
    pace.throttled(hour + seconds(5.0), None, hour + seconds(5.0));
    assert_eq!(pace.rate_at(hour + seconds(1000.0)).as_per_second(), 12.5);
}

#[test]
fn growth_moves_up_a_turn_that_was_far_away() {
    let (mut pace, start) = pace(10.0);
    let mut now = start;
    for _ in 0..20 {
        pace.throttled(now, None, now);
        now = pace.due() + millis(1);
        assert!(pace.take(now));
    }
    assert!(pace.due() > now + millis(9990));
    pace.accepted(now, now);
    // 0.1 + 0.67 a second after one step: a period of 1.3 s.
    assert!((millis(1290)..millis(1310)).contains(&(pace.due() - now)), "{:?}", pace.due() - now);
}

#[test]
fn another_budget_takes_effect_at_once() {
    let (mut pace, start) = pace(10.0);
    assert!(pace.take(start));
    for (budget, period) in [(1.0, 1000), (100.0, 10), (10.0, 100)] {
        pace.set_budget(Rate::per_second(budget));
        assert!((millis(period)..millis(period) + millis(1)).contains(&(pace.due() - start)), "{budget}");
    }
    pace.throttled(start, None, start);
    pace.set_budget(Rate::per_second(20.0));
    assert_eq!(pace.rate_at(start).as_per_second(), 5.0, "what throttling has shown is still true");
    pace.set_budget(Rate::per_second(2.0));
    assert_eq!(pace.rate_at(start).as_per_second(), 2.0);
}

#[test]
fn pace_is_at_rest_once_its_last_turn_is_over() {
    let (mut pace, start) = pace(10.0);
    assert!(pace.is_at_rest(start));
    assert!(pace.take(start));
    assert!(!pace.is_at_rest(start + millis(100)) && pace.is_at_rest(start + millis(101)));
}
