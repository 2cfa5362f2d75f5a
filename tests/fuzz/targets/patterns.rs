//! `make fuzz TARGET=patterns`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: fuzz::patterns::Match| fuzz::patterns::check(&input));
