//! Golden files per stage, refusals, and `verify(sign(x))`.

use proptest::prelude::*;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::authorization::parse;
use super::uri::{Query, Slash, encode};
use super::*;
use crate::clock::Timestamp;
use crate::digest::{hex, sha256};
use crate::secret::Secret;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const NOW: Timestamp = Timestamp::from_unix_millis(1_369_353_600_000);

#[derive(Deserialize)]
struct Golden {
    time: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    region: String,
    canonical_request: String,
    string_to_sign: String,
    signature: String,
}

fn secret() -> Secret<str> {
    Secret::from_text(&Zeroizing::new(SECRET.to_owned()))
}

fn fields(headers: &[(String, String)]) -> Vec<HeaderField<'_>> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

fn check(golden: &str, least: usize) {
    let golden: Golden = serde_json::from_str(golden).unwrap();
    let now = AmzDate::parse(golden.time.as_bytes()).unwrap().timestamp();
    assert!(golden.cases.len() >= least);
    for case in &golden.cases {
        let fields = fields(&case.headers);
        let request =
            RequestView { method: &case.method, path: &case.path, query: &case.query, headers: Headers::new(&fields) };
        let query = Query::parse(&case.query).unwrap();
        let (claim, canonical) = match parse(&request, &query, &case.region, now) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => panic!("{}: anonymous", case.name),
            Err(error) => panic!("{}: {error}", case.name),
        };
        assert_eq!(String::from_utf8(canonical).unwrap(), case.canonical_request, "{}", case.name);
        assert_eq!(claim.string_to_sign(), case.string_to_sign, "{}", case.name);
        let key = SigningKey::derive(&secret(), claim.scope());
        assert_eq!(hex(&key.sign(claim.string_to_sign().as_bytes())), case.signature, "{}", case.name);
        assert!(claim.verify(&key).is_ok(), "{}", case.name);
    }
}

#[test]
fn the_documented_examples_hold_stage_by_stage() {
    check(include_str!("../../tests/vectors/sigv4/documented.json"), 7);
}

#[test]
fn what_botocore_signs_holds_stage_by_stage() {
    check(include_str!("../../tests/vectors/sigv4/botocore.json"), 45);
}

#[test]
fn our_own_signature_of_the_documented_request_is_the_documented_one() {
    let fields: [HeaderField<'_>; 2] = [("host", b"examplebucket.s3.amazonaws.com"), ("range", b"bytes=0-9")];
    let request = RequestView { method: "GET", path: "/test.txt", query: "", headers: Headers::new(&fields) };
    let date = AmzDate::of(NOW);
    let key = SigningKey::derive(&secret(), &CredentialScope::new(date, "us-east-1"));
    let credentials = Credentials { access_key_id: "AKIAIOSFODNN7EXAMPLE", key: &key, session_token: None };
    let signed = sign(&request, &credentials, date, ContentSha256::Hash(sha256(&[]))).unwrap();
    let authorization = signed.fields().find(|(name, _)| *name == "authorization").unwrap().1.to_owned();
    assert_eq!(
        authorization,
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
         SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
         Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    );
    let host_only = RequestView { headers: Headers::new(&fields[..1]), ..request };
    assert_eq!(
        presign(&host_only, &credentials, date, 86_400).unwrap(),
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
         &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    );
}

/// A signed request that can be spoilt.
struct Made {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
}

impl Made {
    fn header() -> Self {
        let auth = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
                    SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
                    Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        let headers = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("x-amz-date", "20130524T000000Z"),
            ("authorization", auth),
        ];
        Self {
            method: "GET".into(),
            path: "/test.txt".into(),
            query: String::new(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }

    fn presigned() -> Self {
        let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256\
                     &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
                     &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
                     &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        let host = ("host".to_owned(), "examplebucket.s3.amazonaws.com".to_owned());
        Self { method: "GET".into(), path: "/test.txt".into(), query: query.into(), headers: vec![host] }
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.add(name, value)
    }

    fn add(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    fn replaced(mut self, from: &str, to: &str) -> Self {
        for (_, value) in &mut self.headers {
            *value = value.replace(from, to);
        }
        self.query = self.query.replace(from, to);
        self
    }

    fn verdict_at(&self, now: Timestamp) -> Result<(), AuthError> {
        let fields = fields(&self.headers);
        let headers = Headers::new(&fields);
        let request = RequestView { method: &self.method, path: &self.path, query: &self.query, headers };
        let query = Query::parse(&self.query).map_err(|_| AuthError::Uri)?;
        match Authentication::of(&request, &query, "us-east-1", now)? {
            Authentication::Anonymous => panic!("anonymous"),
            Authentication::Signed(claim) => {
                assert_eq!(claim.access_key_id().as_str(), "AKIAIOSFODNN7EXAMPLE");
                let key = SigningKey::derive(&secret(), claim.scope());
                claim.verify(&key).map(drop)
            }
        }
    }

    fn verdict(&self) -> Result<(), AuthError> {
        self.verdict_at(NOW)
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_millis(NOW.unix_millis().checked_add_signed(seconds * 1000).unwrap())
}

#[test]
fn any_change_of_what_was_signed_is_a_mismatch() {
    assert_eq!(Made::header().verdict(), Ok(()));
    let mismatch = Err(AuthError::SignatureMismatch);
    assert_eq!(Made { method: "PUT".into(), ..Made::header() }.verdict(), mismatch);
    assert_eq!(Made { path: "/test.txt/".into(), ..Made::header() }.verdict(), mismatch);
    assert_eq!(Made { path: "//test.txt".into(), ..Made::header() }.verdict(), mismatch);
    assert_eq!(Made { path: "/./test.txt".into(), ..Made::header() }.verdict(), mismatch);
    assert_eq!(Made { query: "acl".into(), ..Made::header() }.verdict(), mismatch);
    assert_eq!(Made::header().set("range", "bytes=0-8").verdict(), mismatch);
    assert_eq!(Made::header().add("range", "bytes=0-9").verdict(), mismatch);
    assert_eq!(Made::header().without("range").verdict(), mismatch);
    assert_eq!(Made::header().set("host", "other").verdict(), mismatch);
    assert_eq!(Made::header().without("host").verdict(), mismatch);
    assert_eq!(Made::header().set("x-amz-content-sha256", "UNSIGNED-PAYLOAD").verdict(), mismatch);
    assert_eq!(Made::header().set("x-amz-date", "20130524T000001Z").verdict(), mismatch);
    assert_eq!(Made::header().replaced("6bdb41", "6bdb42").verdict(), mismatch);
    assert_eq!(Made::header().replaced("host;range;", "host;").verdict(), mismatch);
    assert_eq!(Made { query: "&".into(), ..Made::header() }.verdict(), Ok(()));
    assert_eq!(Made::header().add("user-agent", "x").verdict(), Ok(()));
}

#[test]
fn every_amz_header_and_host_must_be_signed() {
    assert_eq!(Made::header().add("x-amz-acl", "public-read").verdict(), Err(AuthError::UnsignedHeader));
    assert_eq!(Made::header().add("X-AMZ-Meta-a", "b").verdict(), Err(AuthError::UnsignedHeader));
    assert_eq!(Made::presigned().add("x-amz-acl", "public-read").verdict(), Err(AuthError::UnsignedHeader));
    assert!(matches!(Made::header().replaced("=host;", "=").verdict(), Err(AuthError::Malformed(_))));
    assert_eq!(Made::header().replaced(";x-amz-date", "").verdict(), Err(AuthError::UnsignedHeader));
}

#[test]
fn the_clock_may_be_off_by_fifteen_minutes() {
    for seconds in [-900, 0, 900] {
        assert_eq!(Made::header().verdict_at(at(seconds)), Ok(()));
    }
    for seconds in [-901, 901] {
        assert_eq!(Made::header().verdict_at(at(seconds)), Err(AuthError::TimeTooSkewed));
    }
    let dated = Made::header().without("x-amz-date").add("date", "Fri, 24 May 2013 00:00:00 GMT");
    assert_eq!(dated.verdict(), Err(AuthError::UnsignedHeader));
    assert_eq!(dated.set("date", "yesterday").verdict(), Err(AuthError::MissingDate));
    assert_eq!(Made::header().without("x-amz-date").verdict(), Err(AuthError::MissingDate));
    assert_eq!(Made::header().add("x-amz-date", "20130524T000000Z").verdict(), Err(AuthError::RepeatedHeader));
    let tomorrow = Made::header().set("x-amz-date", "20130525T000000Z");
    assert!(matches!(tomorrow.verdict_at(at(86_400)), Err(AuthError::Malformed(_))));
}

#[test]
fn a_presigned_url_lives_for_its_time() {
    for seconds in [-900, 0, 86_400] {
        assert_eq!(Made::presigned().verdict_at(at(seconds)), Ok(()));
    }
    assert_eq!(Made::presigned().verdict_at(at(-901)), Err(AuthError::NotYetValid));
    assert_eq!(Made::presigned().verdict_at(at(86_401)), Err(AuthError::Expired));
    let of = |expires: &str| {
        let parameter = format!("Expires={}", encode(expires.as_bytes(), Slash::Encode));
        Made::presigned().replaced("Expires=86400", &parameter).verdict()
    };
    for ended in ["0", "-1", "-1000"] {
        assert_eq!(of(ended), Err(AuthError::Expired), "{ended}");
    }
    for bad in ["604801", "+1", "--1", "-", "1.5", "", "99999999999999999999", "-99999999999999999999", " 1"] {
        assert!(matches!(of(bad), Err(AuthError::Query(_))), "{bad}");
    }
    assert_eq!(
        Made::presigned().replaced("Expires=86400", "Expires=86401").verdict(),
        Err(AuthError::SignatureMismatch)
    );
}

#[test]
fn a_presigned_url_has_each_parameter_once() {
    for name in ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"] {
        let gone = Made::presigned().replaced(&format!("X-Amz-{name}="), &format!("other-{name}="));
        assert!(matches!(gone.verdict(), Err(AuthError::Query(_))), "{name}");
        let mut twice = Made::presigned();
        twice.query.extend(["&X-Amz-", name, "=1"]);
        assert!(matches!(twice.verdict(), Err(AuthError::Query(_))), "{name}");
    }
    let extra = Made { query: Made::presigned().query + "&versionId=1", ..Made::presigned() };
    assert_eq!(extra.verdict(), Err(AuthError::SignatureMismatch));
    assert_eq!(Made { method: "PUT".into(), ..Made::presigned() }.verdict(), Err(AuthError::SignatureMismatch));
    assert!(matches!(Made::presigned().replaced("SHA256", "SHA1").verdict(), Err(AuthError::Query(_))));
    assert_eq!(Made::presigned().replaced("AWS4-HMAC-", "AWS4-ECDSA-P256-").verdict(), Err(AuthError::SignatureV4a));
}

#[test]
fn malformed_authorization_headers_are_refused() {
    for (from, to) in [
        ("Signature=", "Signature=0"),
        ("Signature=", "Nothing="),
        ("Signature=f0", "Signature=F0"),
        ("SignedHeaders=", "Credential="),
        ("SignedHeaders=host;range", "SignedHeaders=range;host"),
        ("SignedHeaders=host;range", "SignedHeaders=host;host;range"),
        ("SignedHeaders=host;range", "SignedHeaders=Host;range"),
        ("SignedHeaders=host;range", "SignedHeaders=host;;range"),
        (",SignedHeaders", " SignedHeaders"),
        ("/s3/", "/ec2/"),
        ("aws4_request", "aws4"),
        ("20130524/", "2013/"),
        ("Credential=", "Credential=AKIA/Credential="),
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 a=b,"),
    ] {
        let made = Made::header().replaced(from, to);
        let verdict = made.verdict();
        assert!(matches!(verdict, Err(AuthError::Malformed(_))), "{from} {to} {verdict:?}");
    }
    let region = Made::header().replaced("us-east-1", "eu-west-1").verdict();
    assert_eq!(region, Err(AuthError::Region { expected: "us-east-1".into() }));
    let region = Made::presigned().replaced("us-east-1", "eu-west-1").verdict();
    assert_eq!(region, Err(AuthError::QueryRegion { expected: "us-east-1".into() }));
    assert_eq!(Made::header().add("authorization", "x").verdict(), Err(AuthError::RepeatedHeader));
    let long = format!("AWS4-HMAC-SHA256 {}", "a=b,".repeat(5000));
    assert!(matches!(Made::header().set("authorization", &long).verdict(), Err(AuthError::Malformed(_))));
}

#[test]
fn other_mechanisms_have_refusals_of_their_own() {
    for (value, error) in [
        ("AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=", AuthError::SignatureV2),
        ("AWS4-ECDSA-P256-SHA256 Credential=a,SignedHeaders=b,Signature=c", AuthError::SignatureV4a),
        ("Basic dXNlcjpwYXNz", AuthError::UnsupportedScheme),
        ("Bearer x", AuthError::UnsupportedScheme),
        ("", AuthError::UnsupportedScheme),
    ] {
        assert_eq!(Made::header().set("authorization", value).verdict(), Err(error));
    }
    let v2 = Made { query: "AWSAccessKeyId=a&Expires=1&Signature=x".into(), headers: vec![], ..Made::header() };
    assert_eq!(v2.verdict(), Err(AuthError::SignatureV2));
    let both = Made { query: Made::presigned().query, ..Made::header() };
    assert_eq!(both.verdict(), Err(AuthError::TwoMechanisms));
    assert_eq!(Made::header().add("x-amz-security-token", "t").verdict(), Err(AuthError::SecurityToken));
    let token = Made { query: Made::presigned().query + "&x-amz-security-token=t", ..Made::presigned() };
    assert_eq!(token.verdict(), Err(AuthError::SecurityToken));
    assert_eq!(Made::header().without("x-amz-content-sha256").verdict(), Err(AuthError::MissingContentSha256));
    assert_eq!(Made::header().set("x-amz-content-sha256", "x").verdict(), Err(AuthError::InvalidContentSha256));
}

#[test]
fn what_is_left_of_a_presigned_url_is_not_anonymous() {
    for rest in [
        "X-Amz-Expires=60",
        "X-Amz-Date=20130524T000000Z",
        "X-Amz-SignedHeaders=host",
        "x-amz-content-sha256=UNSIGNED-PAYLOAD",
        "X-Amz-Signature=",
    ] {
        let made = Made { query: rest.into(), headers: vec![("host".into(), "h".into())], ..Made::presigned() };
        assert!(matches!(made.verdict(), Err(AuthError::Query(_))), "{rest}");
        let both = Made { query: rest.into(), ..Made::header() };
        assert_eq!(both.verdict(), Err(AuthError::TwoMechanisms), "{rest}");
    }
}

#[test]
fn a_presigned_hash_of_the_body_is_read_in_one_spelling_only() {
    let fields: [HeaderField<'_>; 1] = [("host", b"h")];
    let date = AmzDate::of(NOW);
    let key = SigningKey::derive(&secret(), &CredentialScope::new(date, "us-east-1"));
    let credentials = Credentials { access_key_id: "a", key: &key, session_token: None };
    let hash = hex(&sha256(&[b"another body"]));
    let raw = format!("x-amz-content-sha256={hash}");
    let request = RequestView { method: "PUT", path: "/b/k", query: &raw, headers: Headers::new(&fields) };
    let sent = presign(&request, &credentials, date, 60).unwrap();
    let query = Query::parse(&sent).unwrap();
    let read = Authentication::of(&RequestView { query: &sent, ..request }, &query, "us-east-1", NOW);
    assert!(matches!(read, Err(AuthError::Query(_))));
}

#[test]
fn a_request_without_any_signature_is_anonymous() {
    let fields: [HeaderField<'_>; 1] = [("host", b"h")];
    let request = RequestView { method: "GET", path: "/b/k", query: "acl", headers: Headers::new(&fields) };
    let query = Query::parse("acl").unwrap();
    assert!(matches!(Authentication::of(&request, &query, "r", NOW), Ok(Authentication::Anonymous)));
}

#[test]
fn a_key_of_another_scope_is_misuse() {
    let made = Made::header();
    let fields = fields(&made.headers);
    let request = RequestView { method: "GET", path: "/test.txt", query: "", headers: Headers::new(&fields) };
    let Ok(Authentication::Signed(claim)) = Authentication::of(&request, &Query::default(), "us-east-1", NOW) else {
        panic!("not signed")
    };
    let other = SigningKey::derive(&secret(), &CredentialScope::new(AmzDate::of(at(86_400)), "us-east-1"));
    assert!(matches!(claim.verify(&other), Err(AuthError::Misuse)));
}

#[test]
fn the_documented_post_form_holds() {
    // "Example: Browser-Based Upload using HTTP POST": the published policy and signature
    let policy = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
    let signature = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";
    let credential = "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request";
    let fields: Vec<HeaderField<'_>> = vec![
        ("key", b"user/user1/${filename}"),
        ("X-Amz-Credential", credential.as_bytes()),
        ("X-Amz-Algorithm", b"AWS4-HMAC-SHA256"),
        ("X-Amz-Date", b"20151229T000000Z"),
        ("Policy", policy.as_bytes()),
        ("X-Amz-Signature", signature.as_bytes()),
    ];
    let now = AmzDate::parse(b"20151229T010000Z").unwrap().timestamp();
    let claim = PostClaim::parse(Headers::new(&fields), "us-east-1", now).unwrap().unwrap();
    assert_eq!(claim.access_key_id().as_str(), "AKIAIOSFODNN7EXAMPLE");
    let key = SigningKey::derive(&secret(), claim.scope());
    let (id, signed) = claim.verify(&key).unwrap();
    assert_eq!((id.as_str(), signed.as_slice()), ("AKIAIOSFODNN7EXAMPLE", policy.as_bytes()));

    let spoilt = |index: usize, value: &'static [u8]| {
        let mut fields = fields.clone();
        fields[index].1 = value;
        let claim = PostClaim::parse(Headers::new(&fields), "us-east-1", now)?.unwrap();
        claim.verify(&key).map(drop)
    };
    assert_eq!(spoilt(4, b"e30="), Err(AuthError::SignatureMismatch));
    assert!(matches!(spoilt(2, b"AWS4"), Err(AuthError::Query(_))));
    assert!(matches!(spoilt(3, b"20151230T000000Z"), Err(AuthError::Query(_))));
    assert!(matches!(spoilt(5, b"8a"), Err(AuthError::Query(_))));
    for index in 1..fields.len() {
        let mut fewer = fields.clone();
        fewer.remove(index);
        assert!(PostClaim::parse(Headers::new(&fewer), "us-east-1", now).is_err());
    }
    assert!(PostClaim::parse(Headers::new(&fields[..1]), "us-east-1", now).unwrap().is_none());
}

fn token() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ -~]{0,20}").unwrap()
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_what_is_changed_does_not(
        key in proptest::collection::vec(any::<u8>(), 0..40),
        pairs in proptest::collection::vec((token(), token()), 0..4),
        metadata in proptest::collection::vec(token(), 0..3),
        presigned in any::<bool>(),
    ) {
        let path = format!("/{}", encode(&key, Slash::Keep));
        let mut query = Query::default();
        for (name, value) in pairs.iter().filter(|(name, _)| !name.to_lowercase().starts_with('x')) {
            query.push(name.as_bytes(), value.as_bytes());
        }
        prop_assume!(!query.has("AWSAccessKeyId") && !query.has("Signature"));
        let mut headers: Vec<HeaderField<'_>> = vec![("Host", b"example.com"), ("user-agent", b"x")];
        headers.extend(metadata.iter().map(|value| ("x-amz-meta-a", value.as_bytes())));
        let raw = query.to_encoded();
        let request = RequestView { method: "PUT", path: &path, query: &raw, headers: Headers::new(&headers) };
        let date = AmzDate::of(NOW);
        let signing = SigningKey::derive(&secret(), &CredentialScope::new(date, "r-1"));
        let credentials = Credentials { access_key_id: "AK", key: &signing, session_token: None };
        let signed;
        let mut sent = headers.clone();
        let mut raw_sent = raw.clone();
        if presigned {
            raw_sent = presign(&request, &credentials, date, 60).unwrap();
        } else {
            signed = sign(&request, &credentials, date, ContentSha256::Unsigned).unwrap();
            sent.extend(signed.fields().map(|(name, value)| (name, value.as_bytes())));
        }
        let verify = |path: &str, raw: &str, sent: &[HeaderField<'_>]| {
            let request = RequestView { method: "PUT", path, query: raw, headers: Headers::new(sent) };
            match Authentication::of(&request, &Query::parse(raw).unwrap(), "r-1", NOW)? {
                Authentication::Signed(claim) => claim.verify(&signing).map(drop),
                Authentication::Anonymous => Err(AuthError::Misuse),
            }
        };
        prop_assert_eq!(verify(&path, &raw_sent, &sent), Ok(()));
        let other = format!("/{}", encode(&[&key[..], b"x"].concat(), Slash::Keep));
        prop_assert_eq!(verify(&other, &raw_sent, &sent), Err(AuthError::SignatureMismatch));
        let more = raw_sent.clone() + if raw_sent.is_empty() { "x" } else { "&x" };
        prop_assert_eq!(verify(&path, &more, &sent), Err(AuthError::SignatureMismatch));
        if !metadata.is_empty() {
            let changed = sent.iter().map(|(n, v)| if *n == "x-amz-meta-a" { (*n, &b"!other!\x01"[..]) } else { (*n, *v) });
            let changed: Vec<_> = changed.collect();
            prop_assert_eq!(verify(&path, &raw_sent, &changed), Err(AuthError::SignatureMismatch));
        }
    }

    #[test]
    fn hostile_authorization_never_panics(value in ".*", query in ".*") {
        let fields: [HeaderField<'_>; 2] = [("host", b"h"), ("authorization", value.as_bytes())];
        let request = RequestView { method: "GET", path: "/", query: "", headers: Headers::new(&fields) };
        let _ = Authentication::of(&request, &Query::default(), "r", NOW);
        let presigned = format!("X-Amz-Algorithm={value}&{query}");
        if let Ok(parsed) = Query::parse(&presigned) {
            let request = RequestView { query: &presigned, headers: Headers::new(&fields[..1]), ..request };
            let _ = Authentication::of(&request, &parsed, "r", NOW);
        }
    }
}
