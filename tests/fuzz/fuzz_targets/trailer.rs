//! Any bytes as a trailer, sealed with the right keys, and any footer: refused or read, never a panic.
#![no_main]
#![allow(dead_code)]

#[path = "../../support/forge.rs"]
mod forge;

use libfuzzer_sys::fuzz_target;
use sealgate::crypto::wrap::DataKey;
use sealgate::format::geometry::object_len;
use sealgate::format::layout::Layout;
use sealgate::format::trailer::Footer;
use sealgate::secret::Secret;

fuzz_target!(|data: &[u8]| {
    let Some((&[p_high, p_low, record], trailer)) = data.split_first_chunk::<3>() else { return };
    // up to 1 TiB, around the multiples of 4 MiB
    let p = (u64::from(p_high) << 32) + u64::from(p_low) * (4 << 20) + trailer.len() as u64;
    let Some(total) = object_len(p) else { return };
    let dek = DataKey::new(Secret::from_bytes([7; 32]));
    let record = vec![1; usize::from(record % 2) * 88];
    let mut tail = forge::ForgedTail::new(trailer.to_vec(), &record).seal(&dek, total);
    if let Some(last) = tail.last_chunk::<32>()
        && let Ok(footer) = Footer::parse(last, total)
        && let Ok(opened) = footer.open(&dek, &mut tail)
    {
        let trailer = opened.trailer();
        assert_eq!(trailer.plaintext_len(), p);
        assert_eq!(trailer.entries().iter().map(|entry| entry.p).sum::<u64>(), p);
        if let Ok(layout) = Layout::recovered(&opened) {
            assert_eq!(layout.total(), total);
            assert!(layout.segments_end() + footer.tail_len() <= total);
        }
    }
    if let Some(bytes) = data.first_chunk::<32>() {
        let _ = Footer::parse(bytes, total);
    }
});
