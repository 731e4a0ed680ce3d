//! ETags as clients see them: the store's, marked so that nobody takes them for the MD5 of the plaintext.
//!
//! A store's ETag without a dash gets `-0` behind it; clients that compare an ETag with an MD5 do so only if it has no dash.
//! The way back is exact, so that conditions can be judged by the store.

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

/// `If-Match` or `If-None-Match` as the store must judge it: a list of quoted ETags, each mapped, or `*`.
#[must_use]
pub fn upstream_condition(header: &[u8]) -> Option<String> {
    let text = str::from_utf8(header).ok()?.trim();
    if text == "*" {
        return Some("*".to_owned());
    }
    let mapped = text.split(',').map(|etag| {
        let etag = etag.trim();
        let etag = etag.strip_prefix("W/").unwrap_or(etag);
        format!("\"{}\"", upstream(crate::s3::xml::unquoted(etag)))
    });
    Some(mapped.collect::<Vec<_>>().join(", "))
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
        assert_eq!(upstream_condition(b"*").as_deref(), Some("*"));
        assert_eq!(upstream_condition(b"\"a-0\", b-2,W/\"c\"").as_deref(), Some("\"a\", \"b-2\", \"c-none\""));
    }
}
