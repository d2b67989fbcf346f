#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scopegate::config::fuzz_configuration::run(data));
