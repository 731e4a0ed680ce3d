//! A view of header fields, so that any HTTP library can feed this code without a copy.

use thiserror::Error;

/// A header field: name (compared without regard to case) and value as received.
pub type HeaderField<'a> = (&'a str, &'a [u8]);

/// A header that may stand once stands twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a header field is repeated")]
pub struct RepeatedHeader;

/// The header fields of one request, in the order of arrival. It has no `Debug`: it holds names and secrets.
///
/// The caller hands over **every** field that was received, and `host` (HTTP/2: from `:authority`): what is not in the
/// view is neither verified nor seen.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    fields: &'a [HeaderField<'a>],
}

impl<'a> Headers<'a> {
    /// A view of `fields`.
    #[must_use]
    pub const fn new(fields: &'a [HeaderField<'a>]) -> Self {
        Self { fields }
    }

    /// All fields.
    pub fn iter(self) -> impl Iterator<Item = HeaderField<'a>> {
        self.fields.iter().copied()
    }

    /// All values of a name.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether the name stands in it.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The only value of a name, without surrounding blanks; repeated names are refused, not chosen from.
    pub fn one(self, name: &str) -> Result<Option<&'a [u8]>, RepeatedHeader> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { Err(RepeatedHeader) } else { Ok(first.map(<[u8]>::trim_ascii)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_repetition_is_refused() {
        let fields: [HeaderField<'_>; 3] = [("Host", b" a "), ("x-amz-date", b"1"), ("X-Amz-Date", b"2")];
        let headers = Headers::new(&fields);
        assert_eq!(headers.one("host"), Ok(Some(&b"a"[..])));
        assert_eq!(headers.one("x-amz-date"), Err(RepeatedHeader));
        assert_eq!(headers.one("absent"), Ok(None));
        assert!(headers.has("HOST"));
    }
}
