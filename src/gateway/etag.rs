//! ETags as clients see them: the store's, marked so that nobody takes them for the MD5 of the plaintext; or, where a bucket's
//! rule says so, that MD5 itself.
//!
//! A store's ETag without a dash gets `-0` behind it; clients that compare an ETag with an MD5 do so only if it has no dash.
//! The way back is exact, so that conditions can be judged by the store.

use crate::digest::{ChecksumAlgorithm, ChecksumType, hex};
use crate::format::metadata::Metadata;
use crate::format::trailer::Digests;
use crate::s3::conditional::EtagCondition;

/// An ETag that no object has.
const NONE: &str = "none-of-a-plaintext";

/// The ETag shown for a store's ETag; both without quotes.
#[must_use]
pub fn downstream(upstream: &str) -> String {
    if upstream.contains('-') { upstream.to_owned() } else { format!("{upstream}-0") }
}

/// The store's ETag for one that a client sends; both without quotes. One that was never shown fits no object.
#[must_use]
pub fn upstream(downstream: &str) -> String {
    match downstream.strip_suffix("-0") {
        Some(plain) if !plain.contains('-') => plain.to_owned(),
        // MD5s and the like: no object of ours is shown with one, and the store learns none
        None if !downstream.contains('-') => NONE.to_owned(),
        _ => downstream.to_owned(),
    }
}

/// Whether an ETag can only be one that was made of the store's, never one of a plaintext.
#[must_use]
pub fn is_marked(downstream: &str) -> bool {
    downstream.ends_with("-0")
}

/// The ETag that S3 gives a plaintext, without quotes, as far as it is known: the MD5 of the whole, or that of the parts' MD5s
/// with their number. `digests` are those of the object's trailer, if that was read.
#[must_use]
pub fn of_plaintext(metadata: &Metadata, digests: Option<&Digests>) -> Option<String> {
    if let Some(md5) = metadata.content_md5().or_else(|| digests?.md5) {
        return Some(hex(&md5));
    }
    let in_trailer = digests.and_then(|digests| digests.checksum.clone());
    let (checksum, parts) = in_trailer.or_else(|| Some((metadata.checksum()?, 0)))?;
    let value = hex(checksum.value());
    match checksum.over() {
        _ if checksum.algorithm() != ChecksumAlgorithm::Md5 => None,
        ChecksumType::FullObject => Some(value),
        ChecksumType::Composite => (parts > 0).then(|| format!("{value}-{parts}")),
    }
}

/// The store's condition for one of the client's: a list of quoted ETags, each mapped, or `*`.
#[must_use]
pub fn upstream_condition(condition: &EtagCondition) -> String {
    match condition {
        EtagCondition::Any => "*".to_owned(),
        EtagCondition::OneOf(tags) => {
            tags.iter().map(|tag| format!("\"{}\"", upstream(tag))).collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_shown_is_mapped_back_exactly_and_has_a_dash() {
        for store in ["d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e-3", "x", "a-b-0"] {
            let shown = downstream(store);
            assert!(shown.contains('-'));
            assert_eq!(upstream(&shown), store);
        }
    }

    #[test]
    fn an_md5_fits_no_object() {
        assert_eq!(upstream("d41d8cd98f00b204e9800998ecf8427e"), NONE);
        let mapped = |header: &[u8]| upstream_condition(&EtagCondition::parse(header).unwrap());
        assert_eq!(mapped(b"*"), "*");
        assert_eq!(mapped(b"\"a-0\", b-2,W/\"c\""), "\"a\", \"b-2\", \"none-of-a-plaintext\"");
        assert_eq!(mapped(b"\"a,b-0\""), "\"a,b\"", "a comma within quotes is the ETag's own");
    }
}
