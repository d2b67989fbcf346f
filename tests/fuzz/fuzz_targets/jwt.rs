#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scopegate::verify::fuzz_jwt::run(data));
