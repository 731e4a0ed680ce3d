//! The canonical request and the string to sign, in the flavour of S3.
//!
//! ```text
//! canonical request = method ⏎ UriEncode(path) ⏎ query ⏎ (name ":" values ⏎)* ⏎ signed names ⏎ payload hash
//! ```
//!
//! S3 differs from other services: the path is encoded once and not normalised. Query parameters are sorted by their
//! encoded bytes. Header names are in lower case, values trimmed with runs of spaces folded, values of repeated names
//! joined by `,` in their order. Source: "Signature Calculations for the Authorization Header: Transferring Payload in
//! a Single Chunk".

use super::date::AmzDate;
use super::error::AuthError;
use super::headers::Headers;
use super::scope::CredentialScope;
use super::uri::{self, Plus, Query, Slash, UriError};
use crate::digest::{SHA256_LEN, hex, sha256, unhex};

/// The name of the signature's algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What `x-amz-content-sha256` says about the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentSha256 {
    /// The body's SHA-256; whoever reads the body must compare it.
    Hash([u8; SHA256_LEN]),
    /// The signature does not cover the body.
    Unsigned,
    /// aws-chunked, each chunk signed.
    Streaming,
    /// aws-chunked, each chunk and the trailer signed.
    StreamingTrailer,
    /// aws-chunked with a trailer, neither signed.
    StreamingUnsignedTrailer,
}

impl ContentSha256 {
    /// Reads the header's value; SigV4A's words are a refusal of their own.
    pub fn parse(text: &[u8]) -> Result<Self, AuthError> {
        match text {
            b"UNSIGNED-PAYLOAD" => Ok(Self::Unsigned),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Self::Streaming),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(Self::StreamingTrailer),
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Self::StreamingUnsignedTrailer),
            _ if text.starts_with(b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD") => Err(AuthError::SignatureV4a),
            _ => unhex(text).map(Self::Hash).ok_or(AuthError::InvalidContentSha256),
        }
    }

    /// The header's value.
    #[must_use]
    pub fn to_text(self) -> String {
        match self {
            Self::Hash(hash) => hex(&hash),
            Self::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Self::Streaming => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            Self::StreamingTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
            Self::StreamingUnsignedTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
        }
    }

    /// Whether the body is aws-chunked.
    #[must_use]
    pub const fn is_streaming(self) -> bool {
        matches!(self, Self::Streaming | Self::StreamingTrailer | Self::StreamingUnsignedTrailer)
    }

    /// Whether a trailer follows the body.
    #[must_use]
    pub const fn has_trailer(self) -> bool {
        matches!(self, Self::StreamingTrailer | Self::StreamingUnsignedTrailer)
    }
}

/// UriEncode(decoded path), `/` kept.
pub fn canonical_path(raw: &str) -> Result<String, UriError> {
    if !raw.starts_with('/') {
        return Err(UriError::Path);
    }
    Ok(uri::encode(&uri::decode(raw, Plus::Literal)?, Slash::Keep))
}

/// All parameters but `X-Amz-Signature`, encoded, sorted by their encoded names and then values.
#[must_use]
pub fn canonical_query(query: &Query, presigned: bool) -> String {
    let mut pairs: Vec<(String, String)> = query
        .parameters()
        .iter()
        .filter(|parameter| !(presigned && parameter.name == b"X-Amz-Signature"))
        .map(|p| (uri::encode(&p.name, Slash::Encode), uri::encode(&p.value, Slash::Encode)))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| name + "=" + &value).collect();
    pairs.join("&")
}

fn push_header_value(out: &mut Vec<u8>, value: &[u8]) {
    let mut after_space = false;
    for byte in value.trim_ascii() {
        if *byte == b' ' && after_space {
            continue;
        }
        after_space = *byte == b' ';
        out.push(*byte);
    }
}

/// The parts of a canonical request, each already canonical.
pub(super) struct Canonical<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: Headers<'a>,
    /// In lower case, strictly ascending.
    pub(super) signed: &'a [&'a str],
    pub(super) payload: ContentSha256,
}

impl Canonical<'_> {
    /// The canonical request's bytes. Every signed name must be present in the headers.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + self.path.len() + self.query.len());
        for line in [self.method, self.path, self.query] {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        for name in self.signed {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            for (index, value) in self.headers.all(name).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_header_value(&mut out, value);
            }
            out.push(b'\n');
        }
        out.push(b'\n');
        out.extend_from_slice(self.signed.join(";").as_bytes());
        out.push(b'\n');
        out.extend_from_slice(self.payload.to_text().as_bytes());
        out
    }
}

/// "AWS4-HMAC-SHA256" ⏎ time ⏎ scope ⏎ hex(SHA-256(canonical request)).
pub(super) fn string_to_sign(date: AmzDate, scope: &CredentialScope, canonical_request: &[u8]) -> String {
    let hash = hex(&sha256(&[canonical_request]));
    format!("{ALGORITHM}\n{}\n{}\n{hash}", date.long(), scope.to_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded_once_and_never_normalised() {
        for (raw, canonical) in [
            ("/", "/"),
            ("/a/../b//c/./", "/a/../b//c/./"),
            ("/test%24file.text", "/test%24file.text"),
            ("/test$file.text", "/test%24file.text"),
            ("/a%2Fb", "/a/b"),
            ("/a%252Fb", "/a%252Fb"),
            ("/a+b~c", "/a%2Bb~c"),
            ("/%7euser", "/~user"),
            ("/%c3%bc", "/%C3%BC"),
        ] {
            assert_eq!(canonical_path(raw).as_deref(), Ok(canonical), "{raw}");
        }
        assert_eq!(canonical_path("a"), Err(UriError::Path));
        assert_eq!(canonical_path("/a b"), Err(UriError::Character));
    }

    #[test]
    fn queries_are_sorted_by_their_encoded_bytes() {
        let canonical = |raw| canonical_query(&Query::parse(raw).unwrap(), true);
        assert_eq!(canonical("prefix=a+b&max-keys=2&acl"), "acl=&max-keys=2&prefix=a%20b");
        // encoded, a ~ comes behind every %; decoded, ü would come behind ~
        assert_eq!(canonical("~=1&%C3%BC=2&a=2&a=1"), "%C3%BC=2&a=1&a=2&~=1");
        // the name comes first: "a" before "a-b", although "a=" sorts behind "a-"
        assert_eq!(canonical("a-b=1&a=2"), "a=2&a-b=1");
        assert_eq!(canonical("X-Amz-Signature=x&b"), "b=");
        assert_eq!(canonical_query(&Query::parse("X-Amz-Signature=x").unwrap(), false), "X-Amz-Signature=x");
    }

    #[test]
    fn header_values_are_trimmed_folded_and_joined() {
        let fields: [(&str, &[u8]); 3] =
            [("X-Amz-Meta-A", b"  one   two "), ("host", b"h"), ("x-amz-meta-a", b"three")];
        let canonical = Canonical {
            method: "GET",
            path: "/",
            query: "",
            headers: Headers::new(&fields),
            signed: &["host", "x-amz-meta-a"],
            payload: ContentSha256::Unsigned,
        };
        let expected = "GET\n/\n\nhost:h\nx-amz-meta-a:one two,three\n\nhost;x-amz-meta-a\nUNSIGNED-PAYLOAD";
        assert_eq!(String::from_utf8(canonical.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn payload_words_run_both_ways() {
        for mode in [
            ContentSha256::Hash([0xab; 32]),
            ContentSha256::Unsigned,
            ContentSha256::Streaming,
            ContentSha256::StreamingTrailer,
            ContentSha256::StreamingUnsignedTrailer,
        ] {
            assert_eq!(ContentSha256::parse(mode.to_text().as_bytes()), Ok(mode));
        }
        for bad in ["", "unsigned-payload", &"A".repeat(64), &"a".repeat(63), "STREAMING-AWS5"] {
            assert_eq!(ContentSha256::parse(bad.as_bytes()), Err(AuthError::InvalidContentSha256));
        }
        let v4a = ContentSha256::parse(b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER");
        assert_eq!(v4a, Err(AuthError::SignatureV4a));
    }
}
