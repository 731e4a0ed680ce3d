//! AWS Signature Version 2 for S3, verified only, and only for credentials that the configuration names: SDKs still presign by it
//! where they are not told otherwise (botocore in us-east-1), and old programs sign by it.
//!
//! ```text
//! signature      = base64(HMAC-SHA-1(secret, string to sign))
//! string to sign = method ⏎ Content-MD5 ⏎ Content-Type ⏎ date or expiry ⏎ x-amz-* headers, sorted ⏎ resource
//! resource       = path as sent, behind "/" and the bucket of a virtual host, and the sub-resources, sorted
//! ```
//!
//! It signs neither the body's hash nor every parameter. A parameter that it does not sign is let through only where it chooses
//! what of a list is shown; any other is refused, so that a signed URL cannot be made into an operation on something else.
//! A header and a parameter `x-amz-*` are signed alike, so whoever reads the request must take them alike too.
//!
//! Sources: "Signing and authenticating REST requests (AWS signature version 2)" and "Browser-based uploads using POST (AWS
//! signature version 2)" of the Amazon S3 User Guide.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::sigv4::uri::Query;
use crate::sigv4::{
    AccessKeyId, AmzDate, AuthError, Headers, MAX_SKEW_MILLIS, PRESIGNED, RequestView, parse_http_date,
};

const SIGNATURE_LEN: usize = 20;
/// A signature's parameters of a presigned URL, and headers that such a URL carries besides `x-amz-*`.
const OWN: [&str; 5] = ["AWSAccessKeyId", "Signature", "Expires", "content-type", "content-md5"];
/// The parameters that are signed.
const SIGNED: [&str; 40] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "delete",
    "encryption",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "retention",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];
/// The parameters that are not signed and choose what of a list is shown.
const PAGES: [&str; 20] = [
    "allow-unordered",
    "bucket",
    "key",
    "etag",
    "max-buckets",
    "prefix",
    "marker",
    "delimiter",
    "max-keys",
    "encoding-type",
    "list-type",
    "continuation-token",
    "start-after",
    "fetch-owner",
    "key-marker",
    "version-id-marker",
    "upload-id-marker",
    "max-uploads",
    "max-parts",
    "part-number-marker",
];

/// A parsed signature that is not believed yet: all but the signature itself is checked. It has no `Debug`.
pub struct Claim {
    access_key_id: AccessKeyId,
    string_to_sign: Vec<u8>,
    /// What may have been signed instead: a bucket's path with a slash behind it, as botocore signs it whatever it sends.
    or_else: Option<Vec<u8>>,
    signature: [u8; SIGNATURE_LEN],
}

/// Whether the request claims to be signed so.
#[must_use]
pub fn is_claimed(request: &RequestView<'_>, query: &Query) -> bool {
    request.headers.all("authorization").any(|value| value.starts_with(b"AWS ")) || is_presigned(query)
}

fn is_presigned(query: &Query) -> bool {
    query.has("AWSAccessKeyId") || (query.has("Signature") && query.has("Expires"))
}

impl Claim {
    /// Reads the signature of a request of which [`is_claimed`] holds, and checks all that needs no secret. `bucket` is the one
    /// that a virtual host names.
    pub fn of(
        request: &RequestView<'_>,
        query: &Query,
        bucket: Option<&str>,
        now: Timestamp,
    ) -> Result<Self, AuthError> {
        let one = |name| request.headers.one(name).map_err(|_| AuthError::RepeatedHeader);
        let authorization = one("authorization")?;
        // the hash of a body is among them: in the query it would be signed as the header is, and nobody would compare it
        let is_v4 = |name: &[u8]| PRESIGNED.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()));
        if authorization.is_some() && is_presigned(query) || query.parameters().iter().any(|p| is_v4(&p.name)) {
            return Err(AuthError::TwoMechanisms);
        }
        let token = "x-amz-security-token";
        if request.headers.has(token)
            || query.parameters().iter().any(|p| p.name.eq_ignore_ascii_case(token.as_bytes()))
        {
            return Err(AuthError::SecurityToken);
        }
        let (access_key_id, signature, time) = if let Some(value) = authorization {
            let malformed = || AuthError::Malformed("expecting \"AWS AccessKeyId:Signature\"");
            let value = value.strip_prefix(b"AWS ").and_then(|value| str::from_utf8(value).ok());
            let (id, signature) = value.and_then(|value| value.rsplit_once(':')).ok_or_else(malformed)?;
            (id.to_owned(), signature.to_owned(), header_time(request.headers, now)?)
        } else {
            let parameter = |name, missing| {
                let mut values = query.all(name);
                match (values.next().map(str::from_utf8), values.next()) {
                    (Some(Ok(value)), None) => Ok(value.to_owned()),
                    _ => Err(AuthError::Query(missing)),
                }
            };
            let id = parameter("AWSAccessKeyId", "AWSAccessKeyId must stand once")?;
            let signature = parameter("Signature", "Signature must stand once")?;
            (id, signature, presigned_time(parameter("Expires", "Expires must stand once")?, now)?)
        };
        let access_key_id =
            AccessKeyId::parse(&access_key_id).ok_or(AuthError::Malformed("the access key id is none"))?;
        let signature = decoded(&signature).ok_or(AuthError::SignatureMismatch)?;
        let made = string_to_sign(request, query, (bucket, request.path), &time)?;
        let is_bucket = bucket.is_none() && request.path.len() > 1 && request.path.matches('/').count() == 1;
        let or_else = is_bucket.then(|| string_to_sign(request, query, (None, &format!("{}/", request.path)), &time));
        Ok(Self { access_key_id, string_to_sign: made, or_else: or_else.transpose()?, signature })
    }

    /// Reads the signature of a form's fields, whose string to sign is the policy in base64; `None` if none of them is of this
    /// version. The expiry stands in the policy.
    pub fn of_form(fields: Headers<'_>) -> Result<Option<Self>, AuthError> {
        if !fields.has("awsaccesskeyid") && !fields.has("signature") {
            return Ok(None);
        }
        if fields.has("x-amz-security-token") {
            return Err(AuthError::SecurityToken);
        }
        if ["x-amz-algorithm", "x-amz-credential", "x-amz-signature"].into_iter().any(|name| fields.has(name)) {
            return Err(AuthError::TwoMechanisms);
        }
        let one = |name, missing| {
            let value = fields.one(name).map_err(|_| AuthError::RepeatedHeader)?.ok_or(AuthError::Query(missing))?;
            str::from_utf8(value).map_err(|_| AuthError::Query("a field is not a text"))
        };
        let id = one("awsaccesskeyid", "the field AWSAccessKeyId is missing")?;
        let access_key_id = AccessKeyId::parse(id).ok_or(AuthError::Query("the access key id is none"))?;
        let string_to_sign = one("policy", "the field policy is missing")?.as_bytes().to_vec();
        let signature =
            decoded(one("signature", "the field signature is missing")?).ok_or(AuthError::SignatureMismatch)?;
        Ok(Some(Self { access_key_id, string_to_sign, or_else: None, signature }))
    }

    /// Who claims to have signed.
    #[must_use]
    pub const fn access_key_id(&self) -> &AccessKeyId {
        &self.access_key_id
    }

    /// Compares the signature in constant time; the answer is who signed, and the string that was signed.
    pub fn verify(self, secret: &Secret<str>) -> Result<(AccessKeyId, Vec<u8>), AuthError> {
        let mac = Hmac::<Sha1>::new_from_slice(secret.expose_secret().as_bytes()).map_err(|_| AuthError::Misuse)?;
        for signed in [Some(self.string_to_sign), self.or_else].into_iter().flatten() {
            if mac.clone().chain_update(&signed).verify_slice(&self.signature).is_ok() {
                return Ok((self.access_key_id, signed));
            }
        }
        Err(AuthError::SignatureMismatch)
    }
}

/// The query of a verified request without what is its signature's, and the headers that stand in it besides `x-amz-*`.
#[must_use]
pub fn parted(query: &Query) -> (Query, Vec<(&'static str, Vec<u8>)>) {
    let mut rest = Query::default();
    let mut headers = Vec::new();
    for parameter in query.parameters() {
        match OWN.into_iter().find(|own| parameter.name.eq_ignore_ascii_case(own.as_bytes())) {
            Some(name @ ("content-type" | "content-md5")) => headers.push((name, parameter.value.clone())),
            Some(_) => {}
            None => rest.push(parameter.name.clone(), parameter.value.clone()),
        }
    }
    (rest, headers)
}

fn decoded(signature: &str) -> Option<[u8; SIGNATURE_LEN]> {
    STANDARD.decode(signature).ok()?.try_into().ok()
}

/// The line of the date of a request that is signed in its header: empty where `x-amz-date` says it.
fn header_time(headers: Headers<'_>, now: Timestamp) -> Result<String, AuthError> {
    let one = |name| headers.one(name).map_err(|_| AuthError::RepeatedHeader);
    let (own, date) = (one("x-amz-date")?, one("date")?);
    let text = str::from_utf8(own.or(date).ok_or(AuthError::MissingDate)?).map_err(|_| AuthError::MissingDate)?;
    let time = AmzDate::parse(text.as_bytes()).map(AmzDate::timestamp).or_else(|| parse_http_date(text));
    let time = time.ok_or(AuthError::MissingDate)?;
    if now.unix_millis().abs_diff(time.unix_millis()) > MAX_SKEW_MILLIS {
        return Err(AuthError::TimeTooSkewed);
    }
    Ok(if own.is_some() { String::new() } else { text.to_owned() })
}

/// The line of the date of a presigned URL: its expiry.
fn presigned_time(expires: String, now: Timestamp) -> Result<String, AuthError> {
    let is_number = !expires.is_empty() && expires.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u64 = expires.parse().ok().filter(|_| is_number).ok_or(AuthError::Query("Expires is no time"))?;
    if now.unix_millis() / 1000 >= seconds { Err(AuthError::Expired) } else { Ok(expires) }
}

fn string_to_sign(
    request: &RequestView<'_>,
    query: &Query,
    (bucket, path): (Option<&str>, &str),
    time: &str,
) -> Result<Vec<u8>, AuthError> {
    // a line that is not the request's own must not come out of a parameter
    let is_line = |value: &[u8]| !value.iter().any(u8::is_ascii_control);
    let mut out = Vec::with_capacity(256);
    let mut line = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        out.push(b'\n');
    };
    line(request.method.as_bytes());
    for name in ["content-md5", "content-type"] {
        // a presigned URL may carry what the request's header then repeats
        let own = query.parameters().iter().filter(|p| p.name.eq_ignore_ascii_case(name.as_bytes()));
        let own: Vec<&[u8]> = own.map(|p| p.value.as_slice()).collect();
        let value = match (request.headers.one(name).map_err(|_| AuthError::RepeatedHeader)?, own.as_slice()) {
            (Some(value), [] | [_]) => value,
            (None, [value]) if is_line(value) => value,
            (None, []) => b"",
            (None, [_]) => return Err(AuthError::Uri),
            _ => return Err(AuthError::RepeatedHeader),
        };
        line(value);
    }
    line(time.as_bytes());

    let mut amz: Vec<(String, &[u8])> = Vec::new();
    let in_query = query.parameters().iter().filter_map(|p| Some((str::from_utf8(&p.name).ok()?, p.value.as_slice())));
    for (name, value) in request.headers.iter().chain(in_query) {
        let name = name.to_ascii_lowercase();
        if name.starts_with("x-amz-") {
            if !is_line(name.as_bytes()) || !is_line(value) || name.contains(':') {
                return Err(AuthError::Uri);
            }
            amz.push((name, value.trim_ascii()));
        }
    }
    // stable: values of one name stay in their order
    amz.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut last: Option<&str> = None;
    for (name, value) in &amz {
        if last == Some(name) {
            out.push(b',');
        } else {
            if last.is_some() {
                out.push(b'\n');
            }
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
        }
        out.extend_from_slice(value);
        last = Some(name);
    }
    if last.is_some() {
        out.push(b'\n');
    }

    if let Some(bucket) = bucket {
        out.push(b'/');
        out.extend_from_slice(bucket.as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    let mut signed = Vec::new();
    for parameter in query.parameters() {
        let name = str::from_utf8(&parameter.name).map_err(|_| AuthError::Uri)?;
        if SIGNED.contains(&name) {
            if !is_line(&parameter.value) {
                return Err(AuthError::Uri);
            }
            // values are signed decoded: one that looks like two parameters is signed as both would be
            let mut within = parameter.value.split(|byte| *byte == b'&').skip(1);
            if within.any(|part| SIGNED.iter().any(|name| part.split(|b| *b == b'=').next() == Some(name.as_bytes()))) {
                return Err(AuthError::UnsignedParameter);
            }
            signed.push((name, parameter));
        } else if !PAGES.contains(&name)
            && !OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
            && !name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"))
        {
            return Err(AuthError::UnsignedParameter);
        }
    }
    signed.sort_by_key(|(name, _)| *name);
    for (index, (name, parameter)) in signed.into_iter().enumerate() {
        out.push(if index == 0 { b'?' } else { b'&' });
        out.extend_from_slice(name.as_bytes());
        if !parameter.value.is_empty() {
            out.push(b'=');
            out.extend_from_slice(&parameter.value);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;

    const ID: &str = "AKIAIOSFODNN7EXAMPLE";

    fn secret() -> Secret<str> {
        Secret::from_text(&Zeroizing::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()))
    }

    /// 27 March 2007, 20:00 UTC, or another hour of that day.
    fn at(hour: u64, minute: u64) -> Timestamp {
        Timestamp::from_unix_millis((1_174_953_600 + hour * 3600 + minute * 60) * 1000)
    }

    fn claim(
        (method, target): (&str, &str),
        headers: &[(&str, &str)],
        bucket: Option<&str>,
        now: Timestamp,
    ) -> Result<Claim, AuthError> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let fields: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let view = RequestView { method, path, query, headers: Headers::new(&fields) };
        let query = Query::parse(query).unwrap();
        assert!(is_claimed(&view, &query));
        Claim::of(&view, &query, bucket, now)
    }

    fn verdict(
        what: (&str, &str),
        headers: &[(&str, &str)],
        bucket: Option<&str>,
        now: Timestamp,
    ) -> Result<(), AuthError> {
        let (id, _) = claim(what, headers, bucket, now)?.verify(&secret())?;
        assert_eq!(id.as_str(), ID);
        Ok(())
    }

    fn signed(signature: &str) -> String {
        format!("AWS {ID}:{signature}")
    }

    /// The examples of "Signing and authenticating REST requests (AWS signature version 2)".
    #[test]
    fn requests_are_verified_as_amazon_documents() {
        let johnsmith = Some("johnsmith");
        let authorization = signed("bWq2s1WEIj+Ydj0vQ697zp+IXMU=");
        let get = [("Date", "Tue, 27 Mar 2007 19:36:42 +0000"), ("Authorization", authorization.as_str())];
        assert_eq!(verdict(("GET", "/photos/puppy.jpg"), &get, johnsmith, at(19, 36)), Ok(()));
        // the same object in path style
        assert_eq!(verdict(("GET", "/johnsmith/photos/puppy.jpg"), &get, None, at(19, 50)), Ok(()));
        for (what, bucket) in [
            (("HEAD", "/photos/puppy.jpg"), johnsmith),
            (("GET", "/photos/puppy.jpg"), Some("other")),
            (("GET", "/photos/puppy.jpg"), None),
            (("GET", "/photos/puppy%2Ejpg"), johnsmith),
            (("GET", "/photos/puppy.jpg?acl"), johnsmith),
            (("GET", "/photos/puppy.jpg?versionId=1"), johnsmith),
        ] {
            assert_eq!(verdict(what, &get, bucket, at(19, 36)), Err(AuthError::SignatureMismatch), "{what:?}");
        }
        assert_eq!(verdict(("GET", "/photos/puppy.jpg"), &get, johnsmith, at(19, 52)), Err(AuthError::TimeTooSkewed));
        let more = [get[0], get[1], ("x-amz-acl", "private")];
        assert_eq!(
            verdict(("GET", "/photos/puppy.jpg"), &more, johnsmith, at(19, 36)),
            Err(AuthError::SignatureMismatch)
        );

        let authorization = signed("MyyxeRY7whkBe+bq8fHCL/2kKUg=");
        let put = [
            ("Content-Type", "image/jpeg"),
            ("Content-Length", "94328"),
            ("Date", "Tue, 27 Mar 2007 21:15:45 +0000"),
            ("Authorization", authorization.as_str()),
        ];
        assert_eq!(verdict(("PUT", "/photos/puppy.jpg"), &put, johnsmith, at(21, 15)), Ok(()));

        let authorization = signed("htDYFYduRNen8P9ZfE/s9SuKy0U=");
        let list = [("Date", "Tue, 27 Mar 2007 19:42:41 +0000"), ("Authorization", authorization.as_str())];
        assert_eq!(verdict(("GET", "/?prefix=photos&max-keys=50&marker=puppy"), &list, johnsmith, at(19, 42)), Ok(()));
        let led = "/?allow-unordered=true&bucket=johnsmith&key=a&etag=%22e%22";
        assert_eq!(verdict(("GET", led), &list, johnsmith, at(19, 42)), Ok(()), "what a form's redirect adds");
        // what is not signed may turn pages, and no more
        assert_eq!(verdict(("GET", "/?attributes"), &list, johnsmith, at(19, 42)), Err(AuthError::UnsignedParameter));

        // botocore sends a bucket's path without the slash that it signs
        assert_eq!(verdict(("GET", "/johnsmith?prefix=photos"), &list, None, at(19, 42)), Ok(()));
        assert_eq!(verdict(("GET", "/johnsmith/?prefix=photos"), &list, None, at(19, 42)), Ok(()));
        for (path, bucket) in [("/johnsmith//", None), ("/", johnsmith), ("/johnsmith", johnsmith), ("/", None)] {
            let is_the_same = (path, bucket) == ("/", johnsmith);
            assert_eq!(verdict(("GET", path), &list, bucket, at(19, 42)).is_ok(), is_the_same, "{path} {bucket:?}");
        }

        let authorization = signed("c2WLPFtWHVgbEmeEG93a4cG37dM=");
        let acl = [("Date", "Tue, 27 Mar 2007 19:44:46 +0000"), ("Authorization", authorization.as_str())];
        assert_eq!(verdict(("GET", "/?acl"), &acl, johnsmith, at(19, 44)), Ok(()));

        let authorization = signed("ilyl83RwaSoYIEdixDQcA4OnAnc=");
        let upload = [
            ("Date", "Tue, 27 Mar 2007 21:06:08 +0000"),
            ("x-amz-acl", "public-read"),
            ("content-type", "application/x-download"),
            ("Content-MD5", "4gJE4saaMU4BqNR0kLY+lw=="),
            ("X-Amz-Meta-ReviewedBy", "joe@johnsmith.net"),
            ("X-Amz-Meta-ReviewedBy", "jane@johnsmith.net"),
            ("X-Amz-Meta-FileChecksum", "0x02661779"),
            ("X-Amz-Meta-ChecksumAlgorithm", "crc32"),
            ("Content-Disposition", "attachment; filename=database.dat"),
            ("Authorization", authorization.as_str()),
        ];
        assert_eq!(verdict(("PUT", "/db-backup.dat.gz"), &upload, Some("static.johnsmith.net"), at(21, 6)), Ok(()));

        let authorization = signed("DNEZGsoieTZ92F3bUfSPQcbGmlM=");
        let unicode = [("Date", "Wed, 28 Mar 2007 01:49:49 +0000"), ("Authorization", authorization.as_str())];
        let path = "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re";
        assert_eq!(verdict(("GET", path), &unicode, None, at(25, 49)), Ok(()));
    }

    /// The example of "Query string request authentication alternative" there.
    #[test]
    fn links_are_verified_as_amazon_documents() {
        let link = format!(
            "/photos/puppy.jpg?AWSAccessKeyId={ID}&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620"
        );
        let before = |seconds: u64| Timestamp::from_unix_millis((1_175_139_620 - seconds) * 1000);
        let verdict =
            |target: &str, headers: &[(&str, &str)], now| verdict(("GET", target), headers, Some("johnsmith"), now);
        assert_eq!(verdict(&link, &[], before(1)), Ok(()));
        assert_eq!(verdict(&link, &[], before(0)), Err(AuthError::Expired));
        assert_eq!(verdict(&format!("{link}&x-user=somebody"), &[], before(1)), Ok(()));
        assert_eq!(verdict(&format!("{link}&legal-hold"), &[], before(1)), Err(AuthError::SignatureMismatch));
        assert_eq!(
            verdict(&format!("{link}&x-amz-acl=public-read"), &[], before(1)),
            Err(AuthError::SignatureMismatch)
        );
        assert_eq!(verdict(&link.replace("9620", "9621"), &[], before(1)), Err(AuthError::SignatureMismatch));
        assert_eq!(verdict(&link, &[("content-type", "a/b")], before(1)), Err(AuthError::SignatureMismatch));
        let authorization = signed("NpgCjnDzrM+WFzoENXmpNDUsSn8=");
        let both = [("Authorization", authorization.as_str())];
        assert_eq!(verdict(&link, &both, before(1)), Err(AuthError::TwoMechanisms));
        assert_eq!(verdict(&format!("{link}&X-Amz-Signature=0"), &[], before(1)), Err(AuthError::TwoMechanisms));
        assert_eq!(verdict(&format!("{link}&X-Amz-Security-Token=0"), &[], before(1)), Err(AuthError::SecurityToken));
        // a body's hash in the query would be signed as the header is, and not be read
        for name in ["x-amz-content-sha256", "X-Amz-Content-Sha256", "X-Amz-Date", "x-amz-expires"] {
            assert_eq!(verdict(&format!("{link}&{name}=0"), &[], before(1)), Err(AuthError::TwoMechanisms), "{name}");
        }
        for bad in ["1e9", "", "-1", "99999999999999999999999", "+1175139620"] {
            let link = link.replace("1175139620", &bad.replace('+', "%2B"));
            assert!(matches!(verdict(&link, &[], before(1)), Err(AuthError::Query(_))), "{bad}");
        }
        assert!(matches!(verdict(&format!("{link}&Expires=1275139620"), &[], before(1)), Err(AuthError::Query(_))));
    }

    #[test]
    fn one_parameter_is_not_read_as_two_nor_two_as_one() {
        let text = |query: &str| {
            let target = format!(
                "/b/k?AWSAccessKeyId={ID}&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=9999999999&{query}"
            );
            claim(("GET", &target), &[], None, at(0, 0)).map(|claim| String::from_utf8(claim.string_to_sign).unwrap())
        };
        let resource = text("versionId=v&response-content-type=a").unwrap();
        assert!(resource.ends_with("/b/k?response-content-type=a&versionId=v"), "{resource}");
        // the same string, of another version
        assert_eq!(text("response-content-type=a%26versionId%3Dv"), Err(AuthError::UnsignedParameter));
        assert_eq!(text("response-content-type=a%26acl"), Err(AuthError::UnsignedParameter));
        assert!(text("response-content-disposition=attachment%3B%20filename%3D%22a%26b%22").is_ok());
        // what the link says of the content, said by the request
        let of = |query: &str, headers: &[(&str, &str)]| {
            let target = format!(
                "/b/k?AWSAccessKeyId={ID}&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=9999999999{query}"
            );
            claim(("PUT", &target), headers, None, at(0, 0)).map(|claim| claim.string_to_sign)
        };
        assert_eq!(of("&content-type=a/b", &[]), of("", &[("content-type", "a/b")]));
        assert_eq!(of("&x-amz-acl=private", &[]), of("", &[("X-Amz-Acl", "private")]));
        assert_eq!(of("&content-type=a&content-type=b", &[]), Err(AuthError::RepeatedHeader));
        for lines in [
            "content-type=a%0Ab",
            "content-md5=%0D",
            "x-amz-meta-a=b%0Ac",
            "x-amz-a%0Ab=c",
            "x-amz-a%3Ab=c",
            "uploadId=a%0Ab",
        ] {
            assert_eq!(of(&format!("&{lines}"), &[]), Err(AuthError::Uri), "{lines}");
        }
    }

    #[test]
    fn forms_are_signed_by_their_policy() {
        let policy = "eyAiZXhwaXJhdGlvbiI6ICIyMDA3LTEyLTAxVDEyOjAwOjAwLjAwMFoiIH0=";
        let mut mac = Hmac::<Sha1>::new_from_slice(secret().expose_secret().as_bytes()).unwrap();
        mac.update(policy.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let verdict = |fields: &[(&str, &str)]| {
            let fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            let Some(claim) = Claim::of_form(Headers::new(&fields))? else { return Ok(None) };
            claim.verify(&secret()).map(|(_, signed)| Some(String::from_utf8(signed).unwrap()))
        };
        let form = [("AWSAccessKeyId", ID), ("policy", policy), ("signature", signature.as_str()), ("key", "k")];
        assert_eq!(verdict(&form), Ok(Some(policy.to_owned())));
        assert_eq!(verdict(&[("key", "k"), ("x-amz-signature", "0")]), Ok(None));
        assert_eq!(verdict(&[form[0], ("policy", "e30="), form[2]]), Err(AuthError::SignatureMismatch));
        assert_eq!(verdict(&[form[0], form[1], ("signature", "AAAA")]), Err(AuthError::SignatureMismatch));
        assert!(matches!(verdict(&form[..2]), Err(AuthError::Query(_))));
        assert!(matches!(verdict(&form[1..]), Err(AuthError::Query(_))));
        assert_eq!(verdict(&[form[0], form[1], form[2], ("x-amz-signature", "0")]), Err(AuthError::TwoMechanisms));
        assert_eq!(verdict(&[form[0], form[1], form[2], form[2]]), Err(AuthError::RepeatedHeader));
    }

    #[test]
    fn x_amz_date_stands_for_date() {
        let stamp = "Tue, 27 Mar 2007 21:20:26 +0000";
        let sign = |text: &str| {
            let mut mac = Hmac::<Sha1>::new_from_slice(secret().expose_secret().as_bytes()).unwrap();
            mac.update(text.as_bytes());
            signed(&STANDARD.encode(mac.finalize().into_bytes()))
        };
        let own = sign(&format!("DELETE\n\n\n\nx-amz-date:{stamp}\n/johnsmith/puppy.jpg"));
        let what = ("DELETE", "/johnsmith/puppy.jpg");
        let headers =
            [("Date", "Mon, 26 Mar 2007 21:20:27 +0000"), ("x-amz-date", stamp), ("Authorization", own.as_str())];
        assert_eq!(verdict(what, &headers, None, at(21, 20)), Ok(()));
        // the date that counts is the one that is signed
        assert_eq!(verdict(what, &headers, None, at(20, 0)), Err(AuthError::TimeTooSkewed));
        assert_eq!(verdict(what, &headers[2..], None, at(21, 20)), Err(AuthError::MissingDate));
        for bad in ["AWS ", "AWS x", "AWS :", "AWS a,b:bWq2s1WEIj+Ydj0vQ697zp+IXMU="] {
            let headers = [headers[1], ("Authorization", bad)];
            assert!(matches!(verdict(what, &headers, None, at(21, 20)), Err(AuthError::Malformed(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn hostile_requests_never_panic(
            path in "/[!-~]{0,30}",
            mut query in "[a-zA-Z0-9%&=-]{0,60}",
            value in "[ -~]{0,40}",
            name in "(x-amz-|X-Amz-)?[a-z:-]{1,20}",
            is_link: bool,
        ) {
            let authorization = signed("bWq2s1WEIj+Ydj0vQ697zp+IXMU=");
            let mut fields = vec![(name.as_str(), value.as_bytes()), (name.as_str(), value.as_bytes())];
            if is_link {
                query = format!("{query}&AWSAccessKeyId={ID}&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620");
            } else {
                fields.push(("authorization", authorization.as_bytes()));
                fields.push(("date", b"Tue, 27 Mar 2007 00:00:00 -0000"));
            }
            let view = RequestView { method: "GET", path: &path, query: &query, headers: Headers::new(&fields) };
            if let Ok(parsed) = Query::parse(&query) {
                prop_assert!(is_claimed(&view, &parsed));
                for bucket in [None, Some("bucket")] {
                    let claim = Claim::of(&view, &parsed, bucket, at(0, 0));
                    if let Ok(claim) = claim {
                        // whatever stands in it, it has no more lines than it should
                        let lines = claim.string_to_sign.split(|byte| *byte == b'\n').skip(4);
                        let (headers, rest): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with(b"x-amz-"));
                        prop_assert_eq!(rest.len(), 1);
                        prop_assert!(rest[0].starts_with(b"/") && headers.len() <= 40);
                        prop_assert!(claim.verify(&Secret::from_text(&Zeroizing::new("another".to_owned()))).is_err());
                    }
                }
                let _ = parted(&parsed);
            }
        }
    }
}
