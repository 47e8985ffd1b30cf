#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roundsman_fuzz::rescue_photo(bytes));
