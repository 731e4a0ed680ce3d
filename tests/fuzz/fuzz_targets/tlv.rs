//! Any bytes as metadata: what is accepted has exactly one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::format::metadata::{Metadata, Place};

fuzz_target!(|data: &[u8]| {
    for place in [Place::Object, Place::UploadState] {
        if let Ok(metadata) = Metadata::parse(data, place) {
            assert_eq!(metadata.encode().ok().as_deref(), Some(data));
            for (name, _) in metadata.user() {
                assert!(!name.is_empty() && !name.iter().any(u8::is_ascii_uppercase));
            }
        }
    }
});
