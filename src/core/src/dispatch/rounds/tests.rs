use proptest::prelude::*;

use super::*;

/// Members in the order of their positions.
#[derive(Default)]
struct Table {
    rounds: Rounds<u32>,
    seats: HashMap<u32, Position>,
}

impl Table {
    fn join(&mut self, member: u32) {
        let seat = self.rounds.join(&member);
        self.seats.insert(member, seat);
    }

    fn leave(&mut self, member: u32) {
        if let Some(seat) = self.seats.remove(&member) {
            self.rounds.leave(member, seat);
        }
    }

    fn serve(&mut self) -> Option<u32> {
        let (&member, &seat) = self.seats.iter().min_by_key(|(_, seat)| **seat)?;
        self.seats.insert(member, self.rounds.served(seat));
        Some(member)
    }

    fn turns(&mut self, number: usize) -> Vec<u32> {
        (0..number).filter_map(|_| self.serve()).collect()
    }
}

#[test]
fn members_take_turns_in_the_order_in_which_they_came() {
    let mut table = Table::default();
    [1, 2, 3].into_iter().for_each(|member| table.join(member));
    assert_eq!(table.turns(7), [1, 2, 3, 1, 2, 3, 1]);
}

#[test]
fn new_member_is_first_once() {
    let mut table = Table::default();
    [1, 2, 3].into_iter().for_each(|member| table.join(member));
    table.turns(4);
    table.join(4);
    table.join(5);
    assert_eq!(table.turns(10), [4, 5, 2, 3, 1, 4, 5, 2, 3, 1]);
}

#[test]
fn member_that_leaves_and_comes_back_keeps_its_position() {
    let mut table = Table::default();
    [1, 2, 3].into_iter().for_each(|member| table.join(member));
    assert_eq!(table.turns(3), [1, 2, 3]);
    // Two has had its turn in this round, and is not new.
    table.leave(2);
    table.join(2);
    assert_eq!(table.turns(3), [1, 2, 3]);
    // It is away while its turn passes.
    table.leave(2);
    assert_eq!(table.turns(4), [1, 3, 1, 3]);
    table.join(2);
    assert_eq!(table.turns(4), [2, 1, 3, 2]);
}

#[test]
fn member_whose_turn_is_yet_to_come_gains_nothing_by_leaving() {
    for leaves_before in [true, false] {
        let mut table = Table::default();
        [1, 2, 3].into_iter().for_each(|member| table.join(member));
        assert_eq!(table.turns(3), [1, 2, 3]);
        if leaves_before {
            table.leave(3);
        }
        assert_eq!(table.turns(1), [1], "the next round begins");
        table.leave(3);
        table.join(3);
        assert_eq!(table.turns(3), [2, 3, 1], "{leaves_before}");
    }
}

#[test]
fn member_that_has_one_request_at_a_time_has_every_other_turn() {
    let mut table = Table::default();
    table.join(1);
    let mut served = Vec::new();
    for _ in 0..10 {
        table.join(2);
        served.extend(table.turns(1));
        table.leave(2);
    }
    let of_two = served.iter().filter(|member| **member == 2).count();
    assert!((4..=5).contains(&of_two), "{served:?}");
}

#[test]
fn member_that_was_kept_out_saves_up_no_turns() {
    let mut table = Table::default();
    [1, 2, 3].into_iter().for_each(|member| table.join(member));
    table.turns(3);
    let kept_out = table.seats.remove(&3).unwrap();
    table.turns(20);
    table.seats.insert(3, kept_out);
    assert_eq!(table.turns(6), [3, 1, 2, 3, 1, 2]);
}

#[test]
fn members_that_are_gone_are_forgotten() {
    let mut table = Table::default();
    table.join(0);
    for member in 1..1000 {
        table.join(member);
        table.turns(2);
        table.leave(member);
        assert!(table.rounds.left.len() <= 3, "{}", table.rounds.left.len());
    }
    for member in 1000..2000 {
        table.join(member);
        table.leave(member);
    }
    assert!(table.rounds.left.len() <= 3, "those without a turn: {}", table.rounds.left.len());
    table.leave(0);
    table.rounds.reset();
    assert!(table.rounds.is_reset());
}

proptest! {
    /// Members 0 and 1 are always there. The others come and go.
    #[test]
    fn turns_of_two_members_never_differ_by_more_than_one(
        steps in proptest::collection::vec((0..4u32, 2..8u32), 0..300),
    ) {
        let mut table = Table::default();
        [0, 1].into_iter().for_each(|member| table.join(member));
        let (mut difference, mut least, mut most) = (0i32, 0, 0);
        for (step, member) in steps {
            match step {
                0 if !table.seats.contains_key(&member) => table.join(member),
                1 => table.leave(member),
                _ => {
                    let served = table.serve().unwrap();
                    difference += i32::from(served == 0) - i32::from(served == 1);
                    (least, most) = (least.min(difference), most.max(difference));
                }
            }
            // The turns of any window differ by the difference at its end less that at its begin.
            prop_assert!(most - least <= 1, "{least} to {most}");
        }
    }

    #[test]
    fn no_member_has_two_turns_while_another_waits_for_its_second(
        steps in proptest::collection::vec((0..4u32, 0..6u32), 0..300),
    ) {
        let mut table = Table::default();
        // The turns of others, by member, since each member that is there waits.
        let mut overtaken: HashMap<u32, HashMap<u32, u32>> = HashMap::new();
        for (step, member) in steps {
            match step {
                0 | 1 if !table.seats.contains_key(&member) => {
                    table.join(member);
                    overtaken.insert(member, HashMap::new());
                }
                2 => {
                    table.leave(member);
                    overtaken.remove(&member);
                }
                _ => if let Some(served) = table.serve() {
                    overtaken.insert(served, HashMap::new());
                    for (waiting, by) in &mut overtaken {
                        if *waiting != served {
                            *by.entry(served).or_default() += 1;
                            prop_assert!(by[&served] <= 2, "{served} overtakes {waiting}");
                        }
                    }
                }
            }
        }
    }
}
