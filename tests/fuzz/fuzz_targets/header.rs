//! Any bytes and any text as a header: refused or read, never a panic; what is read is what was written.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use sealgate::format::context::Context;
use sealgate::format::envelope::Unverified;
use sealgate::object::{Address, ObjectKey};

fuzz_target!(|data: &[u8]| {
    let Ok(key) = ObjectKey::new(*b"k") else { return };
    let (Ok(tenant), Ok(bucket)) = ("t".parse(), "b".parse()) else { return };
    let context = Context::object(&Address { tenant, bucket, key });
    if let Ok(text) = str::from_utf8(data) {
        let _ = Unverified::parse_text(text);
    }
    if let Ok(header) = Unverified::parse(data) {
        let wrapped = header.wrapped();
        let binding = header.binding(&context);
        let len = u16::try_from(wrapped.bytes.len()).unwrap_or_default();
        let prefix = binding.header_prefix(wrapped.kek_id, wrapped.alg, len);
        assert_eq!(data.get(..23), Some(&prefix[..]), "the prefix that the wrap authenticates is the header's own");
        assert!(Unverified::parse_text(&URL_SAFE_NO_PAD.encode(data)).is_ok());
    }
});
