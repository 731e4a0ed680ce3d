//! Percent-encoding as S3 does it, and the query string.
//!
//! UriEncode of AWS's pages: every byte but `A-Z a-z 0-9 - . _ ~` becomes `%XX` with upper-case digits; `/` is kept in
//! paths. A path is decoded **once** and never normalised: `//`, `.`, `..` and a trailing `/` are parts of names.

use thiserror::Error;

/// Greatest number of query parameters of one request.
pub const MAX_QUERY_PARAMETERS: usize = 128;

/// A path or query string that is not well-formed percent-encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UriError {
    /// `%` is not followed by two hexadecimal digits.
    #[error("a percent sign is not followed by two hexadecimal digits")]
    Percent,
    /// A byte that must not stand in a URI as it is: a control character, a space, `#`, or one outside of ASCII.
    #[error("a character that must be percent-encoded")]
    Character,
    /// The path does not begin with `/`.
    #[error("the path does not begin with a slash")]
    Path,
    /// More parameters than [`MAX_QUERY_PARAMETERS`].
    #[error("too many query parameters")]
    TooManyParameters,
}

/// Whether `/` is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slash {
    /// In paths.
    Keep,
    /// In query names and values.
    Encode,
}

/// Whether `+` means itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plus {
    /// In paths.
    Literal,
    /// In query strings, where S3 reads it as a space.
    Space,
}

/// Appends UriEncode(`bytes`) to `out`.
pub fn encode_into(out: &mut String, bytes: &[u8], slash: Slash) {
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(*byte)),
            b'/' if slash == Slash::Keep => out.push('/'),
            _ => {
                out.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    out.push(char::from_digit(u32::from(nibble), 16).unwrap_or_default().to_ascii_uppercase());
                }
            }
        }
    }
}

/// UriEncode(`bytes`).
#[must_use]
pub fn encode(bytes: &[u8], slash: Slash) -> String {
    let mut out = String::with_capacity(bytes.len());
    encode_into(&mut out, bytes, slash);
    out
}

/// Decodes once, strictly. The inverse of [`encode`]; also takes characters that need not have been encoded.
pub fn decode(text: &str, plus: Plus) -> Result<Vec<u8>, UriError> {
    let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let high = digit(bytes.next()).ok_or(UriError::Percent)?;
                let low = digit(bytes.next()).ok_or(UriError::Percent)?;
                high << 4 | low
            }
            b'+' if plus == Plus::Space => b' ',
            b'#' => return Err(UriError::Character),
            0x21..=0x7e => byte,
            _ => return Err(UriError::Character),
        });
    }
    Ok(out)
}

/// One query parameter, decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: Vec<u8>,
    /// Its value, empty if there is none.
    pub value: Vec<u8>,
    /// Whether an `=` stood between them.
    pub has_value: bool,
}

/// A query string, decoded, in the order of arrival. It has no `Debug`: it holds names and signatures.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query {
    parameters: Vec<Parameter>,
}

impl Query {
    /// Reads what stands behind `?`. Empty parameters (`a&&b`) are dropped, as S3 does.
    pub fn parse(raw: &str) -> Result<Self, UriError> {
        let mut parameters = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            if parameters.len() == MAX_QUERY_PARAMETERS {
                return Err(UriError::TooManyParameters);
            }
            let (name, value, has_value) = match pair.split_once('=') {
                Some((name, value)) => (name, value, true),
                None => (pair, "", false),
            };
            let (name, value) = (decode(name, Plus::Space)?, decode(value, Plus::Space)?);
            parameters.push(Parameter { name, value, has_value });
        }
        Ok(Self { parameters })
    }

    /// All parameters.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Adds a parameter.
    pub fn push(&mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.parameters.push(Parameter { name: name.into(), value: value.into(), has_value: true });
    }

    /// All values of a name; names are compared exactly.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.parameters.iter().filter(move |p| p.name == name.as_bytes()).map(|p| p.value.as_slice())
    }

    /// The first value of a name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().find(|p| p.name == name.as_bytes()).map(|p| p.value.as_slice())
    }

    /// Whether the name stands in it.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// The query string: UriEncode(name) `=` UriEncode(value), joined by `&`, in the present order. A sub-resource
    /// without value keeps its `=`, which S3 takes for the same.
    #[must_use]
    pub fn to_encoded(&self) -> String {
        let mut out = String::new();
        for parameter in &self.parameters {
            if !out.is_empty() {
                out.push('&');
            }
            encode_into(&mut out, &parameter.name, Slash::Encode);
            out.push('=');
            encode_into(&mut out, &parameter.value, Slash::Encode);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unreserved_characters_stay_and_all_others_are_upper_case_hex() {
        assert_eq!(encode(b"AZaz09-._~", Slash::Encode), "AZaz09-._~");
        assert_eq!(encode(b"a/b c+d%\xc3\xbc*", Slash::Keep), "a/b%20c%2Bd%25%C3%BC%2A");
        assert_eq!(encode(b"a/b", Slash::Encode), "a%2Fb");
    }

    #[test]
    fn decoding_is_strict_and_happens_once() {
        assert_eq!(decode("%252F", Plus::Literal).unwrap(), b"%2F");
        assert_eq!(decode("/../a//b/.", Plus::Literal).unwrap(), b"/../a//b/.");
        assert_eq!(decode("a+b", Plus::Literal).unwrap(), b"a+b");
        assert_eq!(decode("a+b%2b", Plus::Space).unwrap(), b"a b+");
        for bad in ["%", "%4", "%4g", "%+1", "a%"] {
            assert_eq!(decode(bad, Plus::Literal), Err(UriError::Percent), "{bad}");
        }
        for bad in ["a b", "ü", "\0", "a\r\nb", "#", "\x7f", "\t"] {
            assert_eq!(decode(bad, Plus::Literal), Err(UriError::Character), "{bad:?}");
        }
    }

    #[test]
    fn queries_keep_order_repetition_and_emptiness() {
        let query = Query::parse("acl&b=1&b=&=x&&c=d=e").unwrap();
        assert!(query.has("acl"));
        assert_eq!(query.all("b").collect::<Vec<_>>(), [&b"1"[..], b""]);
        assert_eq!(query.first("c"), Some(&b"d=e"[..]));
        assert_eq!(query.to_encoded(), "acl=&b=1&b=&=x&c=d%3De");
        assert!(!query.parameters()[0].has_value);
        assert!(Query::parse("").unwrap().parameters().is_empty());
    }

    #[test]
    fn a_flood_of_parameters_is_refused() {
        assert!(Query::parse(&"a&".repeat(MAX_QUERY_PARAMETERS)).is_ok());
        assert!(matches!(Query::parse(&"a&".repeat(MAX_QUERY_PARAMETERS + 1)), Err(UriError::TooManyParameters)));
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            for slash in [Slash::Keep, Slash::Encode] {
                for plus in [Plus::Literal, Plus::Space] {
                    prop_assert_eq!(&decode(&encode(&bytes, slash), plus).unwrap(), &bytes);
                }
            }
        }

        #[test]
        fn hostile_text_never_panics(text in ".*") {
            let _ = decode(&text, Plus::Space);
            let _ = Query::parse(&text);
        }
    }
}
