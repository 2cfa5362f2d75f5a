//! `make fuzz TARGET=replies`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: fuzz::replies::Reply| fuzz::replies::check(&input));
