//! What a request declares about its body, and whether the body is that.
//!
//! [`Declared::of`] reads `x-amz-content-sha256`, `Content-MD5`, `x-amz-checksum-*`, `x-amz-trailer` and
//! `x-amz-sdk-checksum-algorithm`, and refuses what contradicts itself; [`BodyVerifier`] hashes the decoded body once and
//! gives the verdict. Nothing declared is ever ignored. Source: "Checking object integrity in Amazon S3".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::aws_chunked::Trailer;
use super::error::{ErrorCode, S3Error};
use super::metadata::is_aws_chunked;
use crate::digest::{ChecksumAlgorithm, ChecksumHasher, ChecksumType, ChecksumValue, SHA256_LEN};
use crate::sigv4::{ContentSha256, Headers};

/// The header of an algorithm's value: `x-amz-checksum-crc32` …
#[must_use]
pub fn checksum_header(algorithm: ChecksumAlgorithm) -> String {
    format!("x-amz-checksum-{}", algorithm.name().to_ascii_lowercase())
}

/// The element of an algorithm's value: `ChecksumCRC32` …
#[must_use]
pub fn checksum_element(algorithm: ChecksumAlgorithm) -> String {
    format!("Checksum{}", algorithm.name())
}

/// The algorithm of a header's name.
#[must_use]
pub fn algorithm_of_header(name: &str) -> Option<ChecksumAlgorithm> {
    let (prefix, rest) = name.split_at_checked("x-amz-checksum-".len())?;
    prefix.eq_ignore_ascii_case("x-amz-checksum-").then(|| ChecksumAlgorithm::from_name(rest))?
}

/// A value as it stands in headers and XML: canonical base64 of the algorithm's length.
#[must_use]
pub fn parse_checksum(algorithm: ChecksumAlgorithm, text: &[u8]) -> Option<ChecksumValue> {
    ChecksumValue::new(algorithm, &STANDARD.decode(text).ok()?)
}

/// A value as it stands in headers and XML.
#[must_use]
pub fn format_checksum(value: &ChecksumValue) -> String {
    STANDARD.encode(value.as_bytes())
}

fn invalid(header: &str) -> S3Error {
    S3Error::new(ErrorCode::InvalidRequest, format!("Value for {header} header is invalid."))
}

/// What a request declares about its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The SHA-256 that was signed.
    sha256: Option<[u8; SHA256_LEN]>,
    content_md5: Option<[u8; 16]>,
    header: Option<ChecksumValue>,
    trailer: Option<ChecksumAlgorithm>,
}

impl Declared {
    /// Reads the headers of an operation whose checksum headers are those of its **body**: PutObject, UploadPart,
    /// DeleteObjects and all other bodies but CompleteMultipartUpload's, for which see [`ObjectChecksum::of`].
    ///
    /// `payload` is what the signature says (anonymous requests: `Unsigned`, or what `x-amz-content-sha256` parses to).
    pub fn of(headers: Headers<'_>, payload: ContentSha256) -> Result<Self, S3Error> {
        let one = |name: &str| {
            headers
                .one(name)
                .map_err(|_| S3Error::new(ErrorCode::InvalidRequest, format!("The header {name} stands twice.")))
        };
        let content_md5 = match one("content-md5")? {
            None => None,
            Some(text) => {
                let bytes = STANDARD.decode(text).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
                Some(bytes.ok_or(S3Error::from(ErrorCode::InvalidDigest))?)
            }
        };
        let header = one_checksum(headers)?;
        let mut trailer = None;
        let names = headers.all("x-amz-trailer").flat_map(|value| value.split(|b| *b == b','));
        for name in names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) {
            if !payload.has_trailer() {
                return Err(S3Error::new(
                    ErrorCode::InvalidRequest,
                    "x-amz-trailer needs an x-amz-content-sha256 that ends in -TRAILER.",
                ));
            }
            let algorithm = str::from_utf8(name).ok().and_then(algorithm_of_header).ok_or(S3Error::new(
                ErrorCode::InvalidRequest,
                "The value specified in the x-amz-trailer header is not supported",
            ))?;
            if trailer.replace(algorithm).is_some() || header.is_some() {
                return Err(multiple());
            }
        }
        if let Some(text) = one("x-amz-sdk-checksum-algorithm")? {
            let algorithm = str::from_utf8(text)
                .ok()
                .and_then(ChecksumAlgorithm::from_name)
                .ok_or_else(|| invalid("x-amz-sdk-checksum-algorithm"))?;
            let present = header.map(|value| value.algorithm()).or(trailer);
            match present {
                Some(present) if present == algorithm => {}
                Some(_) => return Err(invalid("x-amz-sdk-checksum-algorithm")),
                // the SDK's word for Content-MD5
                None if algorithm == ChecksumAlgorithm::Md5 && content_md5.is_some() => {}
                None => {
                    return Err(S3Error::new(
                        ErrorCode::InvalidRequest,
                        "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
                         headers were found.",
                    ));
                }
            }
        }
        let sha256 = match payload {
            ContentSha256::Hash(hash) => Some(hash),
            _ => None,
        };
        Ok(Self { sha256, content_md5, header, trailer })
    }

    /// The algorithm of the declared checksum, in header or trailer.
    #[must_use]
    pub fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.header.map(|value| value.algorithm()).or(self.trailer)
    }

    /// The checksum that a header declares.
    #[must_use]
    pub const fn checksum(&self) -> Option<ChecksumValue> {
        self.header
    }

    /// The MD5 that `Content-MD5` declares.
    #[must_use]
    pub const fn content_md5(&self) -> Option<[u8; 16]> {
        self.content_md5
    }

    /// The algorithm that the trailer must bring.
    #[must_use]
    pub const fn trailer(&self) -> Option<ChecksumAlgorithm> {
        self.trailer
    }

    /// Whether the body's integrity is declared by Content-MD5 or a checksum: DeleteObjects and object lock demand one.
    #[must_use]
    pub fn has_integrity(&self) -> bool {
        self.content_md5.is_some() || self.algorithm().is_some()
    }
}

fn multiple() -> S3Error {
    S3Error::new(
        ErrorCode::InvalidRequest,
        "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
    )
}

/// The only `x-amz-checksum-ALGORITHM` header.
fn one_checksum(headers: Headers<'_>) -> Result<Option<ChecksumValue>, S3Error> {
    let mut found = None;
    for (name, value) in headers.iter() {
        let Some(algorithm) = algorithm_of_header(name) else { continue };
        let value =
            parse_checksum(algorithm, value.trim_ascii()).ok_or_else(|| invalid(&checksum_header(algorithm)))?;
        if found.replace(value).is_some() {
            return Err(multiple());
        }
    }
    Ok(found)
}

/// The checksum of the whole object that CompleteMultipartUpload's headers declare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectChecksum {
    /// The value: of the object, or of its parts' values.
    pub value: ChecksumValue,
    /// The number of parts behind `-`, of a composite one.
    pub parts: Option<u32>,
}

impl ObjectChecksum {
    /// Reads `x-amz-checksum-*` of CompleteMultipartUpload: `base64` or `base64-N`.
    pub fn of(headers: Headers<'_>) -> Result<Option<Self>, S3Error> {
        let mut found = None;
        for (name, text) in headers.iter() {
            let Some(algorithm) = algorithm_of_header(name) else { continue };
            let refusal = || invalid(&checksum_header(algorithm));
            let text = str::from_utf8(text.trim_ascii()).map_err(|_| refusal())?;
            let (value, parts) = match text.split_once('-') {
                None => (text, None),
                Some((value, count)) if count.bytes().all(|b| b.is_ascii_digit()) => {
                    let count = count.parse::<u32>().ok().filter(|count| (1..=10_000).contains(count));
                    (value, Some(count.ok_or_else(refusal)?))
                }
                Some(_) => return Err(refusal()),
            };
            let value = parse_checksum(algorithm, value.as_bytes()).ok_or_else(refusal)?;
            if found.replace(Self { value, parts }).is_some() {
                return Err(multiple());
            }
        }
        Ok(found)
    }
}

/// What CreateMultipartUpload declares: `x-amz-checksum-algorithm` and `x-amz-checksum-type`, with S3's defaults and its
/// table of what goes together.
pub fn multipart_checksum(headers: Headers<'_>) -> Result<Option<(ChecksumAlgorithm, ChecksumType)>, S3Error> {
    let text = |name: &str| {
        let value = headers.one(name).map_err(|_| invalid(name))?;
        value.map(|value| str::from_utf8(value).map_err(|_| invalid(name))).transpose()
    };
    let over = text("x-amz-checksum-type")?
        .map(|name| ChecksumType::from_name(name).ok_or_else(|| invalid("x-amz-checksum-type")))
        .transpose()?;
    let Some(name) = text("x-amz-checksum-algorithm")? else {
        return match over {
            None => Ok(None),
            Some(_) => Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let algorithm = ChecksumAlgorithm::from_name(name).ok_or(S3Error::new(
        ErrorCode::InvalidRequest,
        "Checksum algorithm provided is unsupported. Please try again with any of the valid types.",
    ))?;
    let (full, composite) = match algorithm {
        ChecksumAlgorithm::Crc64Nvme => (true, false),
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => (true, true),
        _ => (false, true),
    };
    let over = over.unwrap_or(if composite { ChecksumType::Composite } else { ChecksumType::FullObject });
    let allowed = match over {
        ChecksumType::FullObject => full,
        ChecksumType::Composite => composite,
    };
    if !allowed {
        return Err(S3Error::new(
            ErrorCode::InvalidRequest,
            format!(
                "The {} checksum type cannot be used with the {} checksum algorithm.",
                over.name(),
                algorithm.name()
            ),
        ));
    }
    Ok(Some((algorithm, over)))
}

/// The length of the decoded body: `x-amz-decoded-content-length` of an aws-chunked one, else `Content-Length`; neither:
/// 411. A body that says to be aws-chunked in `Content-Encoding` but not in what was signed would be taken for its own
/// framing, and is refused.
pub fn decoded_length(headers: Headers<'_>, payload: ContentSha256) -> Result<u64, S3Error> {
    if !payload.is_streaming() && is_aws_chunked(headers) {
        return Err(S3Error::new(
            ErrorCode::InvalidRequest,
            "aws-chunked needs an x-amz-content-sha256 of STREAMING-.",
        ));
    }
    let name = if payload.is_streaming() { "x-amz-decoded-content-length" } else { "content-length" };
    length_header(headers, name)?.ok_or(S3Error::from(ErrorCode::MissingContentLength))
}

/// The length of the whole object that CompleteMultipartUpload declares in `x-amz-mp-object-size`: the parts' lengths must
/// add up to it.
pub fn multipart_object_size(headers: Headers<'_>) -> Result<Option<u64>, S3Error> {
    length_header(headers, "x-amz-mp-object-size")
}

fn length_header(headers: Headers<'_>, name: &str) -> Result<Option<u64>, S3Error> {
    let Some(text) = headers.one(name).map_err(|_| invalid(name))? else { return Ok(None) };
    let digits = (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(text).ok().filter(|_| digits).ok_or_else(|| invalid(name))?;
    text.parse().map(Some).map_err(|_| invalid(name))
}

/// Hashes a decoded body in one pass and compares it with all that was declared.
pub struct BodyVerifier {
    declared: Declared,
    hashers: Vec<ChecksumHasher>,
    want_md5: bool,
    extra: Option<ChecksumAlgorithm>,
}

/// The digests of a body that is what was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBody {
    /// The MD5, where it was declared or wanted.
    pub md5: Option<[u8; 16]>,
    /// The declared checksum, verified.
    pub checksum: Option<ChecksumValue>,
    /// The checksum that was asked for beyond what was declared.
    pub extra: Option<ChecksumValue>,
}

impl BodyVerifier {
    /// A verifier of a body. `want_md5`: the MD5 is wanted even if it was not declared; `extra`: a checksum that is wanted
    /// besides (an upload's algorithm, say).
    #[must_use]
    pub fn new(declared: Declared, want_md5: bool, extra: Option<ChecksumAlgorithm>) -> Self {
        let mut algorithms: Vec<ChecksumAlgorithm> = Vec::with_capacity(4);
        let needed = [
            (want_md5 || declared.content_md5.is_some()).then_some(ChecksumAlgorithm::Md5),
            declared.sha256.map(|_| ChecksumAlgorithm::Sha256),
            declared.algorithm(),
            extra,
        ];
        for algorithm in needed.into_iter().flatten() {
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        let hashers = algorithms.into_iter().map(ChecksumHasher::new).collect();
        Self { declared, hashers, want_md5, extra }
    }

    /// Takes more of the body, decoded.
    pub fn update(&mut self, bytes: &[u8]) {
        for hasher in &mut self.hashers {
            hasher.update(bytes);
        }
    }

    /// The verdict. `trailer` is that of an aws-chunked body. On an error no object may appear.
    pub fn finish(self, trailer: Option<&Trailer>) -> Result<VerifiedBody, S3Error> {
        let values: Vec<ChecksumValue> = self.hashers.into_iter().map(ChecksumHasher::finish).collect();
        let computed = |algorithm| values.iter().find(|value| value.algorithm() == algorithm);
        let missing = || S3Error::from(ErrorCode::InternalError);
        if let Some(expected) = self.declared.sha256 {
            let value = computed(ChecksumAlgorithm::Sha256).ok_or_else(missing)?;
            if !bool::from(value.as_bytes().ct_eq(&expected)) {
                return Err(ErrorCode::XAmzContentSHA256Mismatch.into());
            }
        }
        let md5 = computed(ChecksumAlgorithm::Md5).and_then(|value| <[u8; 16]>::try_from(value.as_bytes()).ok());
        if let Some(expected) = self.declared.content_md5
            && !md5.is_some_and(|md5| bool::from(md5.ct_eq(&expected)))
        {
            return Err(S3Error::new(
                ErrorCode::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            ));
        }
        let expected = match self.declared.trailer {
            None => self.declared.header,
            Some(algorithm) => {
                let header = checksum_header(algorithm);
                let text =
                    trailer.and_then(|trailer| trailer.value(&header)).ok_or(ErrorCode::MalformedTrailerError)?;
                Some(parse_checksum(algorithm, text).ok_or_else(|| invalid(&header))?)
            }
        };
        if let Some(expected) = &expected {
            let value = computed(expected.algorithm()).ok_or_else(missing)?;
            if !value.matches(expected) {
                let name = expected.algorithm().name();
                let message = format!("The {name} you specified did not match the calculated checksum.");
                return Err(S3Error::new(ErrorCode::BadDigest, message));
            }
        }
        let md5 = md5.filter(|_| self.want_md5 || self.declared.content_md5.is_some());
        let extra = self.extra.map(|algorithm| computed(algorithm).copied().ok_or_else(missing)).transpose()?;
        Ok(VerifiedBody { md5, checksum: expected, extra })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::{checksum, sha256};
    use crate::sigv4::HeaderField;

    const BODY: &[u8] = b"hello, world\n";

    fn declared(fields: &[HeaderField<'_>], payload: ContentSha256) -> Result<Declared, S3Error> {
        Declared::of(Headers::new(fields), payload)
    }

    fn verdict(fields: &[HeaderField<'_>], payload: ContentSha256, body: &[u8]) -> Result<VerifiedBody, ErrorCode> {
        let mut verifier = BodyVerifier::new(declared(fields, payload).map_err(|e| e.code())?, false, None);
        verifier.update(body);
        verifier.finish(None).map_err(|e| e.code())
    }

    #[test]
    fn every_algorithm_in_a_header_is_verified() {
        for algorithm in ChecksumAlgorithm::ALL {
            let (name, value) = (checksum_header(*algorithm), format_checksum(&checksum(*algorithm, BODY)));
            let fields: [HeaderField<'_>; 2] =
                [(&name, value.as_bytes()), ("x-amz-sdk-checksum-algorithm", algorithm.name().as_bytes())];
            let verified = verdict(&fields, ContentSha256::Unsigned, BODY).unwrap();
            assert_eq!(verified.checksum, Some(checksum(*algorithm, BODY)));
            assert_eq!(verdict(&fields, ContentSha256::Unsigned, b"other"), Err(ErrorCode::BadDigest));
            assert_eq!(verdict(&[(&name, b"AA==x")], ContentSha256::Unsigned, BODY), Err(ErrorCode::InvalidRequest));
            assert_eq!(verdict(&[(&name, b"AA==")], ContentSha256::Unsigned, BODY), Err(ErrorCode::InvalidRequest));
        }
    }

    #[test]
    fn payload_hash_and_md5_are_compared() {
        let hash = ContentSha256::Hash(sha256(&[BODY]));
        assert!(verdict(&[], hash, BODY).is_ok());
        assert_eq!(verdict(&[], hash, b"x"), Err(ErrorCode::XAmzContentSHA256Mismatch));
        let md5 = format_checksum(&checksum(ChecksumAlgorithm::Md5, BODY));
        let fields: [HeaderField<'_>; 1] = [("Content-MD5", md5.as_bytes())];
        assert!(verdict(&fields, hash, BODY).unwrap().md5.is_some());
        assert_eq!(verdict(&fields, ContentSha256::Unsigned, b"x"), Err(ErrorCode::BadDigest));
        for bad in [&b""[..], b"x", b"AAAA", b"AAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(verdict(&[("content-md5", bad)], hash, BODY), Err(ErrorCode::InvalidDigest));
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let crc = format_checksum(&checksum(ChecksumAlgorithm::Crc32, BODY));
        let sha = format_checksum(&checksum(ChecksumAlgorithm::Sha1, BODY));
        let header: HeaderField<'_> = ("x-amz-checksum-crc32", crc.as_bytes());
        let trailer: HeaderField<'_> = ("x-amz-trailer", b"x-amz-checksum-crc32");
        let (plain, trailing) = (ContentSha256::Unsigned, ContentSha256::StreamingUnsignedTrailer);
        for (fields, payload) in [
            (vec![header, ("x-amz-checksum-sha1", sha.as_bytes())], plain),
            (vec![header, header], plain),
            (vec![header, trailer], trailing),
            (vec![trailer], plain),
            (vec![trailer, trailer], trailing),
            (vec![("x-amz-trailer", b"x-amz-meta-a")], trailing),
            (vec![("x-amz-trailer", b"x-amz-checksum-crc16")], trailing),
            (vec![("x-amz-sdk-checksum-algorithm", b"CRC32")], plain),
            (vec![header, ("x-amz-sdk-checksum-algorithm", b"CRC32C")], plain),
            (vec![trailer, ("x-amz-sdk-checksum-algorithm", b"SHA1")], trailing),
            (vec![("x-amz-sdk-checksum-algorithm", b"nonsense")], plain),
        ] {
            assert_eq!(declared(&fields, payload).map_err(|e| e.code()), Err(ErrorCode::InvalidRequest));
        }
        assert!(declared(&[trailer, ("x-amz-sdk-checksum-algorithm", b"crc32")], trailing).is_ok());
        assert!(declared(&[], trailing).is_ok_and(|d| !d.has_integrity()));
    }

    #[test]
    fn a_declared_trailer_must_come() {
        let fields: [HeaderField<'_>; 1] = [("x-amz-trailer", b"x-amz-checksum-crc32")];
        let payload = ContentSha256::StreamingUnsignedTrailer;
        assert_eq!(verdict(&fields, payload, BODY), Err(ErrorCode::MalformedTrailerError));
    }

    #[test]
    fn the_decoded_length_is_declared_once() {
        let of =
            |fields: &[HeaderField<'_>], payload| decoded_length(Headers::new(fields), payload).map_err(|e| e.code());
        let (plain, streaming) = (ContentSha256::Unsigned, ContentSha256::StreamingUnsignedTrailer);
        let (encoded, decoded): (HeaderField<'_>, HeaderField<'_>) =
            (("content-length", b"100"), ("x-amz-decoded-content-length", b"7"));
        assert_eq!(of(&[encoded, decoded], plain), Ok(100));
        assert_eq!(of(&[encoded, decoded], streaming), Ok(7));
        assert_eq!(of(&[encoded], streaming), Err(ErrorCode::MissingContentLength));
        assert_eq!(of(&[], plain), Err(ErrorCode::MissingContentLength));
        assert_eq!(of(&[encoded, ("content-encoding", b"aws-chunked")], plain), Err(ErrorCode::InvalidRequest));
        for bad in [&b""[..], b"-1", b"+1", b"1.0", b"0x1", b"18446744073709551616", b"1,1"] {
            assert_eq!(of(&[("content-length", bad)], plain), Err(ErrorCode::InvalidRequest));
        }
        assert_eq!(of(&[encoded, encoded], plain), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn one_pass_gives_all_that_is_wanted() {
        let mut verifier =
            BodyVerifier::new(declared(&[], ContentSha256::Unsigned).unwrap(), true, Some(ChecksumAlgorithm::Md5));
        verifier.update(BODY);
        let body = verifier.finish(None).unwrap();
        let md5 = checksum(ChecksumAlgorithm::Md5, BODY);
        assert_eq!(body.md5.map(|m| m.to_vec()), Some(md5.as_bytes().to_vec()));
        assert_eq!(body.extra, Some(md5));
    }

    #[test]
    fn multipart_checksums_follow_the_table() {
        let of = |algorithm: &str, over: &str| {
            let fields: Vec<HeaderField<'_>> =
                [("x-amz-checksum-algorithm", algorithm.as_bytes()), ("x-amz-checksum-type", over.as_bytes())]
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty())
                    .collect();
            multipart_checksum(Headers::new(&fields)).map_err(|e| e.code())
        };
        assert_eq!(of("", ""), Ok(None));
        assert_eq!(of("CRC64NVME", ""), Ok(Some((ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject))));
        assert_eq!(of("CRC32", ""), Ok(Some((ChecksumAlgorithm::Crc32, ChecksumType::Composite))));
        assert_eq!(of("CRC32", "FULL_OBJECT"), Ok(Some((ChecksumAlgorithm::Crc32, ChecksumType::FullObject))));
        for (algorithm, over) in
            [("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE"), ("", "COMPOSITE"), ("X", ""), ("CRC32", "x")]
        {
            assert_eq!(of(algorithm, over), Err(ErrorCode::InvalidRequest), "{algorithm} {over}");
        }
    }

    #[test]
    fn the_checksum_of_an_object_may_count_its_parts() {
        let of =
            |text: &str| ObjectChecksum::of(Headers::new(&[("x-amz-checksum-crc32", text.as_bytes())])).ok().flatten();
        assert_eq!(of("AAAAAA==").and_then(|c| c.parts), None);
        assert_eq!(of("AAAAAA==-3").and_then(|c| c.parts), Some(3));
        for bad in ["AAAAAA==-", "AAAAAA==-0", "AAAAAA==-10001", "AAAAAA==-x", "-3", "AAAA-3"] {
            assert!(of(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_declared_size_of_an_object_is_a_number() {
        let size = |text: &[u8]| multipart_object_size(Headers::new(&[("X-Amz-Mp-Object-Size", text)])).ok();
        assert_eq!(size(b"0"), Some(Some(0)));
        assert_eq!(size(b"9223372036854775807"), Some(Some(9_223_372_036_854_775_807)));
        for bad in [&b""[..], b"-1", b"+1", b"1 2", b"0x1", b"18446744073709551616"] {
            assert_eq!(size(bad), None);
        }
        assert_eq!(multipart_object_size(Headers::new(&[])), Ok(None));
        let twice: [HeaderField<'_>; 2] = [("x-amz-mp-object-size", b"1"), ("x-amz-mp-object-size", b"1")];
        assert!(multipart_object_size(Headers::new(&twice)).is_err());
    }

    proptest! {
        #[test]
        fn hostile_headers_never_panic(name in "x-amz-(checksum-crc32|trailer|sdk-checksum-algorithm)|content-md5", value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = declared(&[(&name, &value)], ContentSha256::StreamingUnsignedTrailer);
            let _ = ObjectChecksum::of(Headers::new(&[(&name, &value)]));
        }
    }
}
