#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rancher_client::fuzzing::errors(data));
