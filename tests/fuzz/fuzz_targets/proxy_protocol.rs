#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scopegate::server::fuzz_proxy_protocol::run(data));
