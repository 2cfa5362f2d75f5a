use proptest::prelude::*;

use super::{super::*, millis, pace, seconds, taken_until};

/// Budgets from 0.01 to 1000 per second.
fn budgets() -> impl Strategy<Value = f64> {
    (-2.0..3.0f64).prop_map(|exponent| 10f64.powf(exponent))
}

/// Asserts that no window has more turns than it may have.
fn assert_bounded(turns: &[Instant], budget: f64, late: Duration) {
    for (first, begin) in turns.iter().enumerate() {
        for (number, end) in turns[first..].iter().enumerate() {
            let window = (*end - *begin + late).as_secs_f64();
            let most = budget.mul_add(window, 1.0) + 1e-6;
            assert!((number + 1) as f64 <= most, "{} turns in {window} s, at most {most}", number + 1);
        }
    }
}

/// An event in the life of a pace.
#[derive(Clone, Debug)]
enum Step {
    /// This share of a period passes, and a turn is taken.
    Take(f64),
    /// A gap without work.
    Gap(f64),
    /// A call that began this long ago is throttled.
    Throttled(u64, Option<u64>),
    /// A call that began this long ago is accepted.
    Accepted(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0.0..2.5f64).prop_map(Step::Take),
        1 => (0.0..1e6f64).prop_map(Step::Gap),
        1 => (0..2000u64, proptest::option::of(0..20_000u64)).prop_map(|(ago, after)| Step::Throttled(ago, after)),
        1 => (0..2000u64).prop_map(Step::Accepted),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn turns_never_exceed_the_budget_in_any_window(budget in budgets(), steps in steps()) {
        let (mut pace, start) = pace(budget);
        let (mut now, mut turns, mut pause) = (start + seconds(10.0), Vec::new(), start);
        for step in steps {
            match step {
                Step::Take(share) => now += seconds(share / budget),
                Step::Gap(gap) => now += seconds(gap),
                Step::Throttled(ago, retry_after) => {
                    let retry_after = retry_after.map(millis);
                    pace.throttled(now - millis(ago), retry_after, now);
                    pause = pause.max(now + retry_after.unwrap_or_default());
                }
                Step::Accepted(ago) => pace.accepted(now - millis(ago), now),
            }
            let due = pace.due();
            prop_assert!(due >= pause, "no call begins before the pause is over");
            let is_taken = pace.take(now);
            prop_assert_eq!(is_taken, now >= due, "a turn that is due is given");
            turns.extend(is_taken.then_some(now));
            prop_assert!(pace.rate_at(now).as_per_second() <= budget);
        }
        assert_bounded(&turns, budget, LATE);
    }

    #[test]
    fn turns_on_time_have_no_burst_at_all(budget in budgets(), number in 2..200usize) {
        let (mut pace, start) = pace(budget);
        let end = start + seconds(number as f64 / budget);
        let turns = taken_until(&mut pace, end);
        assert_bounded(&turns, budget, Duration::ZERO);
        prop_assert!(turns.len() >= number);
    }

    #[test]
    fn budget_is_kept_when_each_turn_is_taken_late(
        budget in budgets(),
        late in proptest::collection::vec(0..20_000u64, 1..50),
    ) {
        let (mut pace, start) = pace(budget);
        let number = 2000;
        let mut now = start;
        for late in late.iter().cycle().take(number) {
            now = now.max(pace.due() + Duration::from_micros(*late));
            prop_assert!(pace.take(now));
        }
        let wanted = seconds((number - 1) as f64 / budget) + LATE;
        prop_assert!((now - start).as_secs_f64() * 0.999 <= wanted.as_secs_f64(), "{:?} of {wanted:?}", now - start);
    }

    #[test]
    fn full_pace_is_back_within_30_s_after_throttling_of_any_depth(
        budget in budgets(),
        throttled in 1..300usize,
        latency in 0..4000u64,
    ) {
        let (mut pace, start) = pace(budget);
        let mut now = start;
        for _ in 0..throttled {
            now = pace.due();
            prop_assert!(pace.take(now));
            pace.throttled(now, None, now + millis(1));
        }
        let over = now + millis(1);
        let mut begun = pace.due();
        // At a lower budget the next turn alone is further away than that.
        let first_wait = (begun - over).max(SLOWEST);
        while begun < over + first_wait + RAMP + seconds(5.0) {
            now = now.max(begun);
            prop_assert!(pace.take(begun));
            pace.accepted(begun, begun + millis(latency));
            begun = pace.due();
        }
        let full = over + first_wait + RAMP + millis(latency);
        prop_assert!(full <= over + first_wait + seconds(20.0));
        prop_assert_eq!(pace.rate_at(full + STEP).as_per_second(), budget);
        prop_assert!(!pace.is_slowed(full + STEP));
        let turns = taken_until(&mut pace, begun + seconds(100.0 / budget));
        prop_assert!(turns.len() >= 99, "{}", turns.len());
    }
}
