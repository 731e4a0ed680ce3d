//! Request ids, and W3C trace contexts that pass through.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::digest::hex;

/// The trace that a request belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// Trace id and flags, as they came, and our own span.
    of: Option<(String, String, String)>,
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl TraceContext {
    /// Reads a `traceparent`; one that is malformed is as good as none. `span` is drawn for this request.
    #[must_use]
    pub fn parse(header: Option<&[u8]>, span: [u8; 8]) -> Self {
        let of = header.and_then(|header| {
            let mut fields = str::from_utf8(header).ok()?.trim().split('-');
            let (version, trace, parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            let good = is_hex(version, 2)
                && version != "ff"
                && is_hex(trace, 32)
                && is_hex(parent, 16)
                && is_hex(flags, 2)
                && trace.bytes().any(|b| b != b'0')
                && parent.bytes().any(|b| b != b'0')
                && (version != "00" || fields.next().is_none());
            good.then(|| (trace.to_owned(), hex(&span), flags.to_owned()))
        });
        Self { of }
    }

    /// The trace id.
    #[must_use]
    pub fn trace_id(&self) -> Option<String> {
        self.of.as_ref().map(|(trace, _, _)| trace.clone())
    }

    /// The `traceparent` of requests that are made for this one.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        self.of.as_ref().map(|(trace, span, flags)| format!("00-{trace}-{span}-{flags}"))
    }
}

/// Where ids of requests and spans come from: a keyed hash of a counter, with a key that the process drew. They tell requests
/// of all replicas apart, are no secrets, and guard nothing.
#[derive(Default)]
pub struct Ids {
    key: RandomState,
    counter: AtomicU64,
}

impl Ids {
    /// The id of a request, 20 characters, as S3's look; and that of its span.
    #[must_use]
    pub fn next(&self) -> (String, [u8; 8]) {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let word = |which: u8| self.key.hash_one((number, which)).to_be_bytes();
        let mut id = hex(&word(0));
        id.push_str(hex(&word(1)).get(..4).unwrap_or_default());
        id.make_ascii_uppercase();
        (id, word(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_on_with_our_span() {
        let header = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceContext::parse(Some(header), [0xab; 8]);
        assert_eq!(trace.trace_id().as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(trace.traceparent().as_deref(), Some("00-4bf92f3577b34da6a3ce929d0e0e4736-abababababababab-01"));
    }

    #[test]
    fn what_is_no_traceparent_is_dropped() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "a secret",
        ] {
            assert_eq!(TraceContext::parse(Some(bad.as_bytes()), [1; 8]), TraceContext::default(), "{bad}");
        }
        assert_eq!(TraceContext::parse(None, [1; 8]).traceparent(), None);
    }

    #[test]
    fn no_two_requests_have_one_id_whichever_process_they_are_of() {
        let processes = [Ids::default(), Ids::default()];
        let drawn: std::collections::HashSet<_> =
            (0..2000).flat_map(|_| processes.iter().map(Ids::next).collect::<Vec<_>>()).collect();
        assert_eq!(drawn.len(), 4000);
        let spans: std::collections::HashSet<_> = drawn.iter().map(|(_, span)| span).collect();
        assert_eq!(spans.len(), 4000);
        assert!(
            drawn.iter().all(|(id, _)| id.len() == 20 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')))
        );
    }
}
