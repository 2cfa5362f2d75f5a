use super::*;

const SHOWN: TurnId = TurnId(0);

fn minutes(number: u64) -> Duration {
    seconds(number * 60)
}

/// Lets one turn after the other try and fail as soon as it may. Returns the pauses.
fn pauses(brake: &mut Brake, closed: Instant, number: u64) -> Vec<u64> {
    let mut now = closed;
    (1..=number)
        .map(|turn| {
            let next = brake.next_try().unwrap();
            let pause = next - now;
            brake.begin_try(TurnId(turn));
            assert_eq!(brake.next_try(), None, "one try at a time");
            assert!(brake.admits(TurnId(turn)) && !brake.admits(TurnId(turn - 1)));
            now = next + seconds(3);
            brake.failed(TurnId(turn), now);
            pause.as_secs()
        })
        .collect()
}

#[test]
fn delivery_is_tried_after_1_5_15_and_then_each_60_minutes() {
    let start = Instant::now();
    let mut brake = Brake::new(&DELIVERY);
    assert!(brake.is_at_rest() && brake.admits(SHOWN) && brake.next_try().is_none());
    brake.failed(SHOWN, start);
    assert!(brake.is_closed() && !brake.admits(SHOWN) && !brake.is_at_rest());
    assert_eq!(pauses(&mut brake, start, 6), [1, 5, 15, 60, 60, 60].map(|minute| minute * 60));
}

#[test]
fn outage_is_tried_after_growing_pauses_of_at_most_a_minute() {
    let start = Instant::now();
    let mut brake = Brake::new(&OUTAGE);
    for _ in 0..2 {
        brake.failed(SHOWN, start);
        assert!(!brake.is_closed() && !brake.is_at_rest() && brake.admits(SHOWN));
    }
    brake.failed(SHOWN, start);
    assert!(brake.is_closed());
    assert_eq!(pauses(&mut brake, start, 9), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn one_response_between_failures_begins_the_count_again() {
    let start = Instant::now();
    let mut brake = Brake::new(&OUTAGE);
    for _ in 0..5 {
        brake.failed(SHOWN, start);
        brake.failed(SHOWN, start);
        brake.open();
    }
    assert!(brake.is_at_rest());
}

#[test]
fn failures_of_calls_in_flight_do_not_lengthen_the_pause() {
    let start = Instant::now();
    let mut brake = Brake::new(&DELIVERY);
    for second in 0..30 {
        brake.failed(TurnId(second), start + seconds(second));
    }
    assert_eq!(brake.next_try(), Some(start + minutes(1)));
    brake.begin_try(TurnId(30));
    brake.failed(TurnId(29), start + minutes(2));
    assert!(brake.admits(TurnId(30)), "the try goes on");
}

#[test]
fn try_without_a_result_lets_another_one_try_at_once() {
    let start = Instant::now();
    let mut brake = Brake::new(&DELIVERY);
    brake.failed(SHOWN, start);
    for turn in 1..10 {
        let now = start + minutes(turn);
        brake.begin_try(TurnId(turn));
        brake.ended(TurnId(turn - 1), now);
        assert_eq!(brake.next_try(), None, "another turn has ended");
        brake.ended(TurnId(turn), now);
        assert_eq!(brake.next_try(), Some(now));
        assert!(brake.is_closed());
    }
    brake.begin_try(TurnId(10));
    brake.failed(TurnId(10), start + minutes(10));
    assert_eq!(brake.next_try(), Some(start + minutes(15)), "tries without a result are not counted");
    brake.ended(TurnId(10), start + minutes(11));
    assert_eq!(brake.next_try(), Some(start + minutes(15)), "its turn ends after its response");
}

#[test]
fn try_with_an_unclear_result_repeats_the_pause() {
    let start = Instant::now();
    let mut brake = Brake::new(&DELIVERY);
    brake.failed(SHOWN, start);
    for (turn, result_at, next) in [(1, 1, 2), (2, 5, 6)] {
        brake.begin_try(TurnId(turn));
        brake.unclear(TurnId(turn - 1), start);
        assert_eq!(brake.next_try(), None);
        brake.unclear(TurnId(turn), start + minutes(result_at));
        assert_eq!(brake.next_try(), Some(start + minutes(next)));
    }
    for (turn, failed_at, unclear_at, next) in [(3, 10, 20, 25), (4, 30, 50, 65), (5, 70, 200, 260), (6, 300, 400, 460)]
    {
        brake.begin_try(TurnId(turn));
        brake.failed(TurnId(turn), start + minutes(failed_at));
        brake.begin_try(TurnId(turn));
        brake.unclear(TurnId(turn), start + minutes(unclear_at));
        assert_eq!(brake.next_try(), Some(start + minutes(next)), "{turn}");
    }
}

#[test]
fn success_opens_unless_its_call_began_before_the_brake_closed() {
    let start = Instant::now();
    for (begun, opens) in [(0, false), (10, false), (11, true)] {
        let mut brake = Brake::new(&DELIVERY);
        brake.failed(SHOWN, start + seconds(10));
        brake.succeeded(start + seconds(begun));
        assert_eq!(brake.is_at_rest(), opens, "{begun}");
        brake.open();
        assert!(brake.is_at_rest());
    }
    let mut brake = Brake::new(&OUTAGE);
    brake.failed(SHOWN, start + seconds(10));
    brake.succeeded(start);
    assert!(brake.is_at_rest());
}

#[test]
fn next_failure_after_success_begins_with_the_first_pause() {
    let start = Instant::now();
    let mut brake = Brake::new(&DELIVERY);
    brake.failed(SHOWN, start);
    pauses(&mut brake, start, 4);
    brake.succeeded(start + minutes(1));
    let later = start + minutes(500);
    brake.failed(SHOWN, later);
    assert_eq!(brake.next_try(), Some(later + minutes(1)));
}
