//! Any text as a part's ETag: only what was issued verifies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::crypto::wrap::DataKey;
use sealgate::format::parts::PartTag;
use sealgate::object::PartNumber;
use sealgate::secret::Secret;

fuzz_target!(|data: &[u8]| {
    let (Ok(text), Ok(part_no)) = (str::from_utf8(data), PartNumber::new(1)) else { return };
    if let Some(tag) = PartTag::split(text) {
        assert_eq!(tag.upstream_etag().len() + 69, text.len());
        let dek = DataKey::new(Secret::from_bytes([7; 32]));
        assert!(tag.verify(&dek, part_no, Some(data)).is_err(), "nothing was issued under this key");
    }
});
