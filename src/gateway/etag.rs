//! ETags as clients see them: the store's, marked so that nobody takes them for the MD5 of the plaintext.
//!
//! A store's ETag without a dash gets `-0` behind it; clients that compare an ETag with an MD5 do so only if it has no dash.
//! The way back is exact, so that conditions can be judged by the store.

use crate::s3::conditional::EtagCondition;

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
        // MD5s and the like: no object of ours is shown with one
        None if !downstream.contains('-') => format!("{downstream}-none"),
        _ => downstream.to_owned(),
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
        assert_eq!(upstream("d41d8cd98f00b204e9800998ecf8427e"), "d41d8cd98f00b204e9800998ecf8427e-none");
        let mapped = |header: &[u8]| upstream_condition(&EtagCondition::parse(header).unwrap());
        assert_eq!(mapped(b"*"), "*");
        assert_eq!(mapped(b"\"a-0\", b-2,W/\"c\""), "\"a\", \"b-2\", \"c-none\"");
        assert_eq!(mapped(b"\"a,b-0\""), "\"a,b\"", "a comma within quotes is the ETag's own");
    }
}
