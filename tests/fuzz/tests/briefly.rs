//! Every target on random input, for some seconds each. `make fuzz` runs the same ones guided by
//! coverage.

use fuzz::{briefly::run, patterns, records, replies, resources};

#[test]
fn a_reply_of_any_kind_proves_no_more_than_it_says() {
    run(replies::check);
}

#[test]
fn a_resource_is_read_or_reported_without_its_values() {
    run(resources::check);
}

#[test]
fn a_record_of_any_kind_lets_nobody_send_without_proof() {
    run(records::check);
}

#[test]
fn a_pattern_of_any_kind_matches_whole_user_names_or_none() {
    run(patterns::check);
}
