//! Which bucket and object a request names: host and path, decoded once, never normalised.
//!
//! Source: "Virtual hosting of buckets", "General purpose bucket naming rules".

use super::error::{ErrorCode, S3Error};
use crate::object::ObjectKey;
use crate::sigv4::uri::{self, Plus, UriError};

/// A bucket's name by S3's rules: 3 to 63 characters of `a-z`, `0-9`, `.` and `-`, a letter or digit at both ends, no
/// two dots in a row, not like an IPv4 address, none of the reserved prefixes and suffixes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(String);

const RESERVED_PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
const RESERVED_SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

impl BucketName {
    /// Checks the rules.
    pub fn parse(name: &str) -> Result<Self, S3Error> {
        let end = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let good = (3..=63).contains(&name.len())
            && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
            && end(name.bytes().next())
            && end(name.bytes().last())
            && !name.contains("..")
            && !(name.split('.').count() == 4 && name.bytes().all(|b| b == b'.' || b.is_ascii_digit()))
            && !RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && !RESERVED_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
        if good { Ok(Self(name.to_owned())) } else { Err(ErrorCode::InvalidBucketName.into()) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What host and path name. It has no `Debug`: object keys do not belong in logs.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// The service: `/`.
    Service,
    /// A bucket.
    Bucket(BucketName),
    /// An object.
    Object(BucketName, ObjectKey),
}

impl From<UriError> for S3Error {
    fn from(_: UriError) -> Self {
        ErrorCode::InvalidURI.into()
    }
}

/// An object key of decoded bytes: UTF-8 of at most 1024 bytes.
pub fn object_key(bytes: Vec<u8>) -> Result<ObjectKey, S3Error> {
    if str::from_utf8(&bytes).is_err() {
        return Err(S3Error::new(ErrorCode::InvalidURI, "An object key must be UTF-8."));
    }
    ObjectKey::new(bytes).map_err(|_| ErrorCode::KeyTooLongError.into())
}

impl Target {
    /// Reads `Host` and the raw path.
    ///
    /// A host `BUCKET.DOMAIN` for one of `domains` (in lower case) names the bucket, the whole path is the key; any other
    /// host is path style: `/BUCKET/KEY`. What stands behind the bucket's slash is the key, byte for byte after one
    /// decoding: `//`, `..` and `%2F` are parts of it.
    pub fn parse(host: &str, raw_path: &str, domains: &[impl AsRef<str>]) -> Result<Self, S3Error> {
        let path = raw_path.strip_prefix('/').ok_or(S3Error::from(ErrorCode::InvalidURI))?;
        if let Some(bucket) = bucket_of_host(host, domains)? {
            let bucket = BucketName::parse(&bucket)?;
            return Self::of(bucket, path);
        }
        if path.is_empty() {
            return Ok(Self::Service);
        }
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        // decoded for names that a client encoded needlessly; a slash or a second round of encoding is no name
        let bucket = uri::decode(bucket, Plus::Literal)?;
        let bucket = str::from_utf8(&bucket).map_err(|_| S3Error::from(ErrorCode::InvalidBucketName))?;
        Self::of(BucketName::parse(bucket)?, key)
    }

    fn of(bucket: BucketName, raw_key: &str) -> Result<Self, S3Error> {
        if raw_key.is_empty() {
            return Ok(Self::Bucket(bucket));
        }
        Ok(Self::Object(bucket, object_key(uri::decode(raw_key, Plus::Literal)?)?))
    }
}

/// The bucket that a virtual host names, if it is one of `domains`.
pub fn bucket_of_host(host: &str, domains: &[impl AsRef<str>]) -> Result<Option<String>, S3Error> {
    let host = host.to_ascii_lowercase();
    // a port is digits behind the last colon; an IPv6 literal ends in a bracket
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some((_, port)) if !port.ends_with(']') => {
            return Err(S3Error::new(ErrorCode::InvalidRequest, "The Host header names no port."));
        }
        _ => &host,
    };
    // a name may be written to its root
    let name = name.strip_suffix('.').unwrap_or(name);
    let bucket = domains.iter().filter_map(|domain| name.strip_suffix(domain.as_ref())?.strip_suffix('.'));
    // the longest domain wins: what is left is shortest
    let bucket = bucket.min_by_key(|bucket| bucket.len()).filter(|_| !domains.iter().any(|d| d.as_ref() == name));
    Ok(bucket.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sigv4::uri::{Slash, encode};

    fn parse(host: &str, path: &str) -> Result<(String, Vec<u8>), ErrorCode> {
        match Target::parse(host, path, &["s3.example.com", "deep.s3.example.com"]).map_err(|e| e.code())? {
            Target::Service => Ok((String::new(), vec![])),
            Target::Bucket(bucket) => Ok((bucket.as_str().into(), vec![])),
            Target::Object(bucket, key) => Ok((bucket.as_str().into(), key.as_bytes().into())),
        }
    }

    #[test]
    fn a_host_may_be_written_to_its_root_and_has_a_port_of_digits() {
        for host in ["abc.s3.example.com", "abc.s3.example.com.", "abc.s3.example.com.:80", "ABC.S3.example.COM:80"] {
            assert_eq!(parse(host, "/k").unwrap(), ("abc".to_owned(), b"k".to_vec()), "{host}");
        }
        assert_eq!(parse("[::1]", "/abc/k").unwrap(), ("abc".to_owned(), b"k".to_vec()));
        assert_eq!(parse("s3.example.com.", "/abc/k").unwrap(), ("abc".to_owned(), b"k".to_vec()));
        for host in ["abc.s3.example.com:x", "abc.s3.example.com:80x", "abc.s3.example.com.:+1"] {
            assert_eq!(parse(host, "/k").err(), Some(ErrorCode::InvalidRequest), "{host}");
        }
    }

    #[test]
    fn bucket_names_follow_the_rules() {
        for good in ["abc", "a.b-c", "0ab", "1.2.3.a", "1.2.3", &"a".repeat(63)] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "ab.",
            "a..b",
            "192.168.0.1",
            "xn--abc",
            "sthree-abc",
            "abc-s3alias",
            "abc--ol-s3",
            "a/b",
            "a b",
            "äbc",
            "a\0b",
            "..",
            &"a".repeat(64),
        ] {
            assert!(BucketName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_the_exact_bytes_after_one_decoding() {
        for (path, key) in [
            ("/bkt/a", "a"),
            ("/bkt//a", "/a"),
            ("/bkt/a//b/", "a//b/"),
            ("/bkt/../other/secret", "../other/secret"),
            ("/bkt/%2e%2e/x", "../x"),
            ("/bkt/a%2Fb", "a/b"),
            ("/bkt/a%252Fb", "a%2Fb"),
            ("/bkt/a+b", "a+b"),
            ("/bkt/%F0%9F%94%91", "🔑"),
            ("/bkt/.", "."),
            ("/bkt/%00", "\0"),
            ("/%62kt/x", "x"),
        ] {
            assert_eq!(parse("h", path), Ok(("bkt".into(), key.as_bytes().to_vec())), "{path}");
        }
        assert_eq!(parse("h", "/bkt"), Ok(("bkt".into(), vec![])));
        assert_eq!(parse("h", "/bkt/"), Ok(("bkt".into(), vec![])));
        assert_eq!(parse("h", "/"), Ok((String::new(), vec![])));
    }

    #[test]
    fn confusing_paths_are_refused() {
        for (path, code) in [
            ("", ErrorCode::InvalidURI),
            ("bkt/a", ErrorCode::InvalidURI),
            ("//bkt/a", ErrorCode::InvalidBucketName),
            ("/../bkt/a", ErrorCode::InvalidBucketName),
            ("/bkt%2Fa", ErrorCode::InvalidBucketName),
            ("/bkt%252Fa", ErrorCode::InvalidBucketName),
            ("/bkt/%ff", ErrorCode::InvalidURI),
            ("/bkt/%", ErrorCode::InvalidURI),
            ("/bkt/a b", ErrorCode::InvalidURI),
        ] {
            assert_eq!(parse("h", path), Err(code), "{path}");
        }
        assert!(parse("h", &format!("/bkt/{}", "a".repeat(1024))).is_ok());
        assert_eq!(parse("h", &format!("/bkt/{}", "a".repeat(1025))), Err(ErrorCode::KeyTooLongError));
    }

    #[test]
    fn hosts_below_a_domain_name_the_bucket() {
        assert_eq!(parse("bkt.s3.example.com", "/a/b"), Ok(("bkt".into(), b"a/b".to_vec())));
        assert_eq!(parse("BKT.S3.example.com:9000", "//a"), Ok(("bkt".into(), b"/a".to_vec())));
        assert_eq!(parse("a.b.s3.example.com", "/"), Ok(("a.b".into(), vec![])));
        assert_eq!(parse("bkt.deep.s3.example.com", "/k"), Ok(("bkt".into(), b"k".to_vec())));
        assert_eq!(parse("deep.s3.example.com", "/bkt/k"), Ok(("bkt".into(), b"k".to_vec())));
        assert_eq!(parse("s3.example.com", "/bkt/k"), Ok(("bkt".into(), b"k".to_vec())));
        assert_eq!(parse("evils3.example.com", "/bkt/k"), Ok(("bkt".into(), b"k".to_vec())));
        assert_eq!(parse("[::1]:9000", "/bkt/k"), Ok(("bkt".into(), b"k".to_vec())));
        assert_eq!(parse(".s3.example.com", "/k"), Err(ErrorCode::InvalidBucketName));
    }

    proptest! {
        #[test]
        fn every_utf8_key_survives(key in ".{1,200}") {
            let path = format!("/bkt/{}", encode(key.as_bytes(), Slash::Keep));
            prop_assert_eq!(parse("h", &path), Ok(("bkt".to_owned(), key.into_bytes())));
        }
    }
}
