//! Any bytes as a keyring file, also with a checksum that holds: refused or decoded, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::digest::sha256;
use sealgate::keys::keyring::parse;

fuzz_target!(|data: &[u8]| {
    let _ = parse(data);
    let mut checked = data.to_vec();
    checked.extend_from_slice(&sha256(&[data]));
    // the length stands behind magic and version
    if let (Ok(len), Some(field)) = (u32::try_from(checked.len()), checked.get_mut(10..14)) {
        field.copy_from_slice(&len.to_be_bytes());
        let sum = sha256(&[checked.get(..data.len()).unwrap_or_default()]);
        if let Some(last) = checked.last_chunk_mut::<32>() {
            *last = sum;
        }
    }
    let _ = parse(&checked);
});
