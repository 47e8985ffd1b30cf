//! Generates the Kotlin and Swift sources from the built `roundsman` library.

fn main() {
    uniffi::uniffi_bindgen_main();
}
