#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scopegate::credential::fuzz_credential::run(data));
