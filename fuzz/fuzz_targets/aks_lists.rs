#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aks_client::fuzzing::lists(data));
