//! `make fuzz TARGET=records`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: fuzz::records::Record| fuzz::records::check(&input));
