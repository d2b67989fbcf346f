#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scopegate::reject::fuzz_challenge::run(data));
