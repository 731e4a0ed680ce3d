//! Request ids, and W3C trace contexts that pass through.

/// The trace that a request belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// Trace id and flags, as they came, and our own span.
    of: Option<(String, String, String)>,
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
        out
    })
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

/// A request's id: 20 characters, as S3's look.
#[must_use]
pub fn request_id(random: [u8; 10]) -> String {
    hex(&random).to_ascii_uppercase()
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
        assert_eq!(request_id([0xab; 10]), "ABABABABABABABABABAB");
    }
}
