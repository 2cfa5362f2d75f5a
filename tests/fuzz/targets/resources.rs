//! `make fuzz TARGET=resources`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: fuzz::resources::Object| fuzz::resources::check(&input));
