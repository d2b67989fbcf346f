#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scopegate::route::fuzz_path::run(data));
