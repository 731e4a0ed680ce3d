//! Content headers and user metadata as they came, and RFC 2047 for what is not ASCII.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::{ErrorCode, S3Error};
use crate::sigv4::Headers;

/// The content headers that belong to an object, in lower case.
pub const CONTENT_HEADERS: [&str; 6] =
    ["content-type", "content-encoding", "content-disposition", "content-language", "cache-control", "expires"];
/// The prefix of user metadata.
pub const USER_PREFIX: &str = "x-amz-meta-";
/// S3's own limit for names and values of user metadata together. The seal's is lower.
pub const MAX_USER_METADATA_LEN: usize = 2048;

/// What a request says about its object. Confidential: it has no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ObjectHeaders {
    /// Content headers, one each, in the order of [`CONTENT_HEADERS`].
    pub content: Vec<(&'static str, Vec<u8>)>,
    /// User metadata: names in lower case without `x-amz-meta-`, ascending; values of a repeated name joined by `,`.
    pub user: Vec<(String, Vec<u8>)>,
}

/// Whether `name` can be that of a header field: RFC 9110's `token`.
#[must_use]
pub fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// What came in a header cannot hold these; what came in a form or a query can, and could never be answered.
fn checked(value: &[u8]) -> Result<&[u8], S3Error> {
    if value.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
        return Err(S3Error::new(ErrorCode::InvalidArgument, "A header holds a control character."));
    }
    Ok(value.trim_ascii())
}

impl ObjectHeaders {
    /// Reads them. `aws-chunked` is the transfer's and is taken out of `Content-Encoding`; an encoding that is empty then
    /// is left out.
    pub fn of(headers: Headers<'_>) -> Result<Self, S3Error> {
        let mut content = Vec::new();
        for name in CONTENT_HEADERS {
            let mut joined: Option<Vec<u8>> = None;
            for value in headers.all(name) {
                let value = checked(value)?;
                joined = Some(joined.map_or_else(|| value.to_vec(), |before| [&before[..], b",", value].concat()));
            }
            if name == "content-encoding" {
                joined = joined.map(|value| without_aws_chunked(&value)).filter(|value| !value.is_empty());
            }
            content.extend(joined.map(|value| (name, value)));
        }
        let mut user: Vec<(String, Vec<u8>)> = Vec::new();
        let mut len = 0usize;
        for (name, value) in headers.iter() {
            let Some(name) = user_name(name) else { continue };
            let value = checked(value)?;
            if !is_field_name(&name) {
                return Err(S3Error::new(ErrorCode::InvalidArgument, "A metadata name is empty or no header's name."));
            }
            len = len.saturating_add(name.len()).saturating_add(value.len());
            if len > MAX_USER_METADATA_LEN {
                return Err(S3Error::from(ErrorCode::MetadataTooLarge)
                    .with("MaxSizeAllowed", MAX_USER_METADATA_LEN.to_string()));
            }
            match user.binary_search_by(|(other, _)| other.as_str().cmp(&name)) {
                Ok(at) => {
                    if let Some((_, before)) = user.get_mut(at) {
                        before.push(b',');
                        before.extend_from_slice(value);
                    }
                }
                Err(at) => user.insert(at, (name, value.to_vec())),
            }
        }
        Ok(Self { content, user })
    }
}

fn user_name(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_at_checked(USER_PREFIX.len())?;
    prefix.eq_ignore_ascii_case(USER_PREFIX).then(|| rest.to_ascii_lowercase())
}

fn without_aws_chunked(value: &[u8]) -> Vec<u8> {
    let codings = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    let kept: Vec<&[u8]> = codings.filter(|c| !c.is_empty() && !c.eq_ignore_ascii_case(b"aws-chunked")).collect();
    kept.join(&b","[..])
}

/// Whether `Content-Encoding` names `aws-chunked`.
#[must_use]
pub fn is_aws_chunked(headers: Headers<'_>) -> bool {
    headers
        .all("content-encoding")
        .flat_map(|value| value.split(|b| *b == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"aws-chunked"))
}

/// The text of a metadata value as S3 answers it: ASCII as it is, anything else as one RFC 2047 word
/// `=?UTF-8?B?…?=`, so that it can stand in a header. Bytes that are no UTF-8 are taken for Latin-1.
#[must_use]
pub fn encode_rfc2047(value: &[u8]) -> String {
    if value.iter().all(|b| matches!(b, 0x20..=0x7e | b'\t')) {
        return value.iter().map(|b| char::from(*b)).collect();
    }
    let text = match str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|b| char::from(*b)).collect(),
    };
    format!("=?UTF-8?B?{}?=", STANDARD.encode(text))
}

/// Decodes the RFC 2047 words in a text, `B` and `Q`, in UTF-8; blanks between two words vanish. What is not such a word
/// stays as it is.
#[must_use]
pub fn decode_rfc2047(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_word = false;
    while let Some(at) = rest.find("=?") {
        let (before, from) = rest.split_at(at);
        if let Some((decoded, behind)) = word(from) {
            if !(after_word && before.bytes().all(|b| b.is_ascii_whitespace())) {
                out.push_str(before);
            }
            out.push_str(&decoded);
            rest = behind;
            after_word = true;
        } else {
            out.push_str(before);
            out.push_str("=?");
            rest = from.get(2..).unwrap_or_default();
            after_word = false;
        }
    }
    out.push_str(rest);
    out
}

fn word(text: &str) -> Option<(String, &str)> {
    let (charset, rest) = text.strip_prefix("=?")?.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (data, behind) = rest.split_once("?=")?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let bytes = match encoding {
        "B" | "b" => STANDARD.decode(data).ok()?,
        "Q" | "q" => {
            let data = data.replace('_', " ");
            let mut bytes = Vec::with_capacity(data.len());
            let mut chars = data.bytes();
            while let Some(byte) = chars.next() {
                bytes.push(if byte == b'=' {
                    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                    digit(chars.next()?)? << 4 | digit(chars.next()?)?
                } else {
                    byte
                });
            }
            bytes
        }
        _ => return None,
    };
    Some((String::from_utf8(bytes).ok()?, behind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sigv4::HeaderField;

    #[test]
    fn metadata_is_lower_case_sorted_and_joined() {
        let fields: Vec<HeaderField<'_>> = vec![
            ("X-Amz-Meta-B", b" 2 "),
            ("x-amz-meta-a", b"1"),
            ("x-amz-meta-b", b"3"),
            ("x-amz-acl", b"private"),
            ("Content-Encoding", b"aws-chunked, gzip"),
            ("Content-Type", b"text/plain"),
        ];
        let read = ObjectHeaders::of(Headers::new(&fields)).unwrap_or_default();
        assert_eq!(read.user, [("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2,3".to_vec())]);
        assert_eq!(read.content, [("content-type", b"text/plain".to_vec()), ("content-encoding", b"gzip".to_vec())]);
        assert!(is_aws_chunked(Headers::new(&fields)));
        let only: [HeaderField<'_>; 1] = [("content-encoding", b"AWS-chunked")];
        assert!(ObjectHeaders::of(Headers::new(&only)).is_ok_and(|h| h.content.is_empty()));
    }

    #[test]
    fn injection_and_floods_are_refused() {
        let code =
            |name: &str, value: &[u8]| ObjectHeaders::of(Headers::new(&[(name, value)])).map_err(|e| e.code()).err();
        assert_eq!(code("x-amz-meta-a", b"x\r\nx-amz-acl: public-read"), Some(ErrorCode::InvalidArgument));
        assert_eq!(code("content-type", b"a\0b"), Some(ErrorCode::InvalidArgument));
        assert_eq!(code("x-amz-meta-", b"v"), Some(ErrorCode::InvalidArgument));
        for name in
            ["x-amz-meta-a\r\nset-cookie: b", "x-amz-meta-a:", "x-amz-meta-a b", "x-amz-meta-ü", "x-amz-meta-\0"]
        {
            assert_eq!(code(name, b"v"), Some(ErrorCode::InvalidArgument), "{name:?}");
        }
        for value in [b"a\x01b", b"a\x1bb", b"a\x7fb"] {
            assert_eq!(code("x-amz-meta-a", value), Some(ErrorCode::InvalidArgument), "{value:?}");
        }
        assert_eq!(code("x-amz-meta-a", b"a\tb"), None);
        assert_eq!(code("x-amz-meta-a", &[b'x'; 2047]), None);
        assert_eq!(code("x-amz-meta-a", &[b'x'; 2048]), Some(ErrorCode::MetadataTooLarge));
    }

    #[test]
    fn rfc_2047_words_run_both_ways() {
        assert_eq!(encode_rfc2047(b"plain"), "plain");
        assert_eq!(encode_rfc2047("ü".as_bytes()), "=?UTF-8?B?w7w=?=");
        assert_eq!(encode_rfc2047(b"\xfc"), "=?UTF-8?B?w7w=?=");
        assert_eq!(decode_rfc2047("=?UTF-8?B?w7w=?="), "ü");
        assert_eq!(decode_rfc2047("a =?utf-8?Q?=C3=BC_x?= =?UTF-8?B?w7w=?= b"), "a ü xü b");
        for same in ["=?", "=?latin1?B?w7w=?=", "=?UTF-8?B?!?=", "=?UTF-8?Q?=C3?=", "=?UTF-8?X?a?=", "a=?b"] {
            assert_eq!(decode_rfc2047(same), same);
        }
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(text in ".*") {
            prop_assume!(!text.contains("=?"));
            prop_assert_eq!(decode_rfc2047(&encode_rfc2047(text.as_bytes())), text);
        }

        #[test]
        fn an_encoded_value_can_stand_in_a_header(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(encode_rfc2047(&value).bytes().all(|b| matches!(b, 0x20..=0x7e | b'\t')));
        }
    }
}
