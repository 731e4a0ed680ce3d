//! What is signed is what is done: links and requests that are altered on their way are refused, and so are paths that lead
//! elsewhere. Everything is sent as it stands here, so that no client spells it in its own way.

use std::time::Duration;

use sealgate::clock::{Clock as _, SystemClock, Timestamp};
use sealgate::digest::{hex, sha256};
use sealgate::gateway::settings::EtagMode;
use sealgate::sigv4::canonical::canonical_path;
use sealgate::sigv4::{
    self, AmzDate, ContentSha256, CredentialScope, Credentials, HeaderField, Headers, RequestView, SigningKey, presign,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::lies::Lied;
use super::rig::{Plan, REGION, elements, secret};

const HOST: &str = "gateway";
/// By which a virtual host names `data`.
const BUCKET_HOST: &str = "data.s3.test";

/// Status and code.
type Refusal = (u16, &'static str);

const MISMATCH: Refusal = (403, "SignatureDoesNotMatch");
const DENIED: Refusal = (403, "AccessDenied");
const UNKNOWN_ID: Refusal = (403, "InvalidAccessKeyId");
const BAD_QUERY: Refusal = (400, "AuthorizationQueryParametersError");
const BAD_HEADER: Refusal = (400, "AuthorizationHeaderMalformed");
const BAD_REQUEST: Refusal = (400, "InvalidRequest");
const BAD_ARGUMENT: Refusal = (400, "InvalidArgument");
const BAD_URI: Refusal = (400, "InvalidURI");
const NO_BUCKET: Refusal = (400, "InvalidBucketName");
const OTHER_BODY: Refusal = (400, "XAmzContentSHA256Mismatch");

fn said((status, code): Refusal) -> (u16, String) {
    (status, code.to_owned())
}

/// So many seconds from now.
fn date(seconds: i64) -> AmzDate {
    let now = SystemClock.now().unix_millis();
    AmzDate::of(Timestamp::from_unix_millis(now.checked_add_signed(seconds * 1000).unwrap()))
}

/// Another second of the same day.
fn beside(date: AmzDate) -> AmzDate {
    let seconds = date.timestamp().unix_millis() / 1000;
    AmzDate::of(Timestamp::from_unix_millis((seconds ^ 1) * 1000))
}

/// A request before AKALPHA has signed it.
#[derive(Clone, Copy)]
struct Plain<'a> {
    method: &'a str,
    host: &'a str,
    target: &'a str,
    headers: &'a [(&'a str, &'a str)],
}

fn plain<'a>(method: &'a str, target: &'a str) -> Plain<'a> {
    Plain { method, host: HOST, target, headers: &[] }
}

impl Plain<'_> {
    fn by_signer<T>(&self, date: AmzDate, sign: impl FnOnce(&RequestView<'_>, &Credentials<'_>) -> T) -> T {
        let key = SigningKey::derive(&secret("secret of AKALPHA"), &CredentialScope::new(date, REGION));
        let mut fields: Vec<HeaderField<'_>> = vec![("host", self.host.as_bytes())];
        fields.extend(self.headers.iter().map(|(name, value)| (*name, value.as_bytes())));
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        let view = RequestView { method: self.method, path, query, headers: Headers::new(&fields) };
        sign(&view, &Credentials { access_key_id: "AKALPHA", key: &key, session_token: None })
    }

    /// The head of the request, of which more may follow.
    fn head(&self, target: &str, added: &[(&str, String)]) -> String {
        let mut head = format!("{} {target} HTTP/1.1\r\nhost: {}\r\n", self.method, self.host);
        for (name, value) in self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in added {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head
    }

    /// Its head, signed there, with the hash of that body.
    fn signed(&self, body: &str, date: AmzDate) -> String {
        let payload = ContentSha256::Hash(sha256(&[body.as_bytes()]));
        let added: Vec<(&'static str, String)> = self.by_signer(date, |view, credentials| {
            let signed = sigv4::sign(view, credentials, date, payload).unwrap();
            signed.fields().map(|(name, value)| (name, value.to_owned())).collect()
        });
        self.head(self.target, &added)
    }

    /// Its head as that of a link which is good for so many seconds; its headers are signed too.
    fn link(&self, date: AmzDate, expires: u64) -> String {
        let query = self.by_signer(date, |view, credentials| presign(view, credentials, date, expires).unwrap());
        let path = self.target.split_once('?').map_or(self.target, |(path, _)| path);
        self.head(&format!("{path}?{query}"), &[])
    }
}

/// The signature in a head, and one that differs in its last digit.
fn signatures(head: &str) -> (String, String) {
    let (_, rest) = head.split_once("Signature=").unwrap();
    let (start, last) = (&rest[..63], &rest[63..64]);
    (format!("{start}{last}"), format!("{start}{}", if last == "0" { "1" } else { "0" }))
}

/// Status, code (if it is an error) and all of the answer.
async fn told(lied: &Lied, head: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(lied.gateway_address()).await.unwrap();
    let request = format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = elements(&answer, "Code").pop().unwrap_or_default();
    let status = answer.get(9..12).unwrap_or_else(|| panic!("no answer to {head}"));
    (status.parse().unwrap(), code, answer)
}

/// How many requests the store has seen.
fn asked(lied: &Lied) -> usize {
    lied.liar.requests.lock().unwrap().len()
}

/// What is said to a request of which the store must hear nothing.
async fn refused(lied: &Lied, head: &str, body: &str) -> (u16, String) {
    let before = asked(lied);
    let (status, code, _) = told(lied, head, body).await;
    assert_eq!(asked(lied), before, "the store was asked: {head}");
    (status, code)
}

/// Sends a head again and again with one change at a time: what is changed, from what, to what, and what is said to it.
async fn are_refused(lied: &Lied, head: &str, body: &str, cases: &[(&str, &str, &str, Refusal)]) {
    for &(name, from, to, expected) in cases {
        assert!(head.contains(from), "{name}: {head}");
        let outcome = refused(lied, &head.replacen(from, to, 1), body).await;
        assert_eq!(outcome, said(expected), "{name}: {to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_followed_as_often_as_anybody_likes_until_it_expires() {
    let lied = Lied::new().await;
    let put = plain("PUT", "/data/k").link(date(0), 60);
    let get = plain("GET", "/data/k").link(date(0), 60);
    // a body is not signed by a link
    for body in ["first", "second", "second"] {
        assert_eq!(told(&lied, &put, body).await.0, 200, "{body}");
        for _ in 0..2 {
            let (status, _, answer) = told(&lied, &get, "").await;
            assert!(status == 200 && answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
        }
    }
    // the same request, spelt otherwise
    for (from, to) in [
        ("/data/k?", "/data/%6B?"),
        ("/data/k?", "/%64ata/%6b?"),
        ("GET /", "GET http://gateway/"),
        ("X-Amz-Expires=60", "X-Amz-Expire%73=%360"),
        ("?", "?&&"),
    ] {
        assert!(get.contains(from), "{get}");
        let (status, _, answer) = told(&lied, &get.replacen(from, to, 1), "").await;
        assert!(status == 200 && answer.ends_with("\r\n\r\nsecond"), "{to}: {answer}");
    }
    // nothing of a signature goes on
    let all = lied.liar.requests.lock().unwrap().clone();
    assert!(all.iter().all(|asked| asked.path == "/up-data/k" && asked.query.is_empty()));

    for (seconds, expires) in [(0, 604_800), (-604_700, 604_800), (600, 60)] {
        let link = plain("GET", "/data/k").link(date(seconds), expires);
        assert_eq!(told(&lied, &link, "").await.0, 200, "{seconds} {expires}");
    }
    for (seconds, expires) in [(-62, 60), (-120, 60), (-604_900, 604_800), (960, 60)] {
        for method in ["GET", "PUT"] {
            let link = plain(method, "/data/k").link(date(seconds), expires);
            assert_eq!(refused(&lied, &link, "").await, said(DENIED), "{method} {seconds} {expires}");
        }
    }
    // one that has expired is not brought back
    let (old, new) = (date(-120), date(0));
    let late = plain("GET", "/data/k").link(old, 60);
    let renewed = late.replace(&old.long(), &new.long()).replace(&old.short(), &new.short());
    for altered in [late.replace("X-Amz-Expires=60&", "X-Amz-Expires=3600&"), renewed] {
        assert_eq!(refused(&lied, &altered, "").await, said(MISMATCH), "{altered}");
    }
    assert_eq!(lied.app().get("data", "k").await.unwrap().text(), "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_altered_is_refused_whatever_is_altered_in_it() {
    let lied = Lied::new().await;
    lied.app().put("data", "k", "content").await.unwrap();
    let now = date(0);
    let get = plain("GET", "/data/k").link(now, 60);
    assert_eq!(told(&lied, &get, "").await.0, 200);
    let (signature, another) = signatures(&get);
    let (long, short, other) = (now.long(), now.short(), beside(now).long());
    let (_, query) = get.split_once('?').unwrap();
    let (query, _) = query.split_once(' ').unwrap();
    are_refused(
        &lied,
        &get,
        "",
        &[
            ("method", "GET ", "PUT ", MISMATCH),
            ("method", "GET ", "DELETE ", MISMATCH),
            ("method", "GET ", "POST ", MISMATCH),
            // its refusal has no body
            ("method", "GET ", "HEAD ", (403, "")),
            ("host", "host: gateway", "host: elsewhere", MISMATCH),
            ("host", "host: gateway", "host: Gateway", MISMATCH),
            ("host", "host: gateway", "host: gateway:80", MISMATCH),
            ("host", "host: gateway", "host: data.s3.test", MISMATCH),
            ("host twice", "host: gateway\r\n", "host: gateway\r\nhost: gateway\r\n", BAD_REQUEST),
            ("no host", "host: gateway\r\n", "", BAD_REQUEST),
            ("host of the target", "GET /", "GET http://elsewhere/", BAD_REQUEST),
            ("key", "/data/k?", "/data/l?", MISMATCH),
            ("key", "/data/k?", "/data/K?", MISMATCH),
            ("key", "/data/k?", "/data/k/?", MISMATCH),
            ("key", "/data/k?", "/data//k?", MISMATCH),
            ("key", "/data/k?", "/data/./k?", MISMATCH),
            ("key", "/data/k?", "/data/a/../k?", MISMATCH),
            ("key", "/data/k?", "/data/%256B?", MISMATCH),
            ("no key", "/data/k?", "/data/?", MISMATCH),
            ("no key", "/data/k?", "/data?", MISMATCH),
            ("no bucket", "/data/k?", "/?", MISMATCH),
            ("bucket", "/data/k?", "/other/k?", MISMATCH),
            ("another's bucket", "/data/k?", "/beta/k?", MISMATCH),
            // it is signed alike, and yet names no bucket
            ("slash", "/data/k?", "/data%2Fk?", NO_BUCKET),
            ("slash", "/data/k?", "/data%252Fk?", MISMATCH),
            ("parameter", "?", "?versionId=1&", MISMATCH),
            ("parameter", "?", "?response-content-type=text%2Fhtml&", MISMATCH),
            ("parameter", "?", "?x-id=GetObject&", MISMATCH),
            ("parameter", "?", "?x-user=somebody&", MISMATCH),
            ("parameter", "?", "?partNumber=1&", MISMATCH),
            ("parameter", "?", "?uploadId=u&", MISMATCH),
            ("parameter", "?", "?acl&", MISMATCH),
            ("parameter", "?", "?tagging&", MISMATCH),
            ("parameter", "?", "?attributes&", MISMATCH),
            ("parameter", "?", "?=&", MISMATCH),
            ("parameter", " HTTP/1.1", "&versionId=1 HTTP/1.1", MISMATCH),
            ("parameter", " HTTP/1.1", "&x-amz-acl=public-read HTTP/1.1", MISMATCH),
            ("parameter", " HTTP/1.1", "&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD HTTP/1.1", MISMATCH),
            ("token", " HTTP/1.1", "&X-Amz-Security-Token=t HTTP/1.1", (400, "InvalidToken")),
            ("version 2", " HTTP/1.1", "&AWSAccessKeyId=AKOLD HTTP/1.1", BAD_ARGUMENT),
            ("time", "X-Amz-Expires=60&", "X-Amz-Expires=600&", MISMATCH),
            ("time", "X-Amz-Expires=60&", "X-Amz-Expires=0&", DENIED),
            ("time", "X-Amz-Expires=60&", "X-Amz-Expires=-60&", DENIED),
            ("time", "X-Amz-Expires=60&", "X-Amz-Expires=604801&", BAD_QUERY),
            ("time", "X-Amz-Expires=60&", "X-Amz-Expires=%2B60&", BAD_QUERY),
            ("no time", "X-Amz-Expires=60&", "", BAD_QUERY),
            ("time twice", "?", "?X-Amz-Expires=600&", BAD_QUERY),
            ("time, spelt otherwise", "?", "?x-amz-expires=600&", BAD_QUERY),
            ("date", &long, &other, MISMATCH),
            ("date", &long, "20200101T000000Z", BAD_QUERY),
            ("day of the credential", &short, "20200101", BAD_QUERY),
            ("credential", "AKALPHA", "AKREADER", MISMATCH),
            ("credential", "AKALPHA", "AKNOBODY", UNKNOWN_ID),
            ("region", "us-east-1", "us-east-2", BAD_QUERY),
            ("service", "%2Fs3%2F", "%2Fiam%2F", BAD_QUERY),
            ("algorithm", "=AWS4-HMAC-SHA256", "=AWS4-HMAC-SHA1", BAD_QUERY),
            ("algorithm", "=AWS4-HMAC-SHA256", "=AWS4-ECDSA-P256-SHA256", BAD_REQUEST),
            ("signature", &signature, &another, MISMATCH),
            ("signature", &signature, &signature[..63], BAD_QUERY),
            ("signature", &signature, "", BAD_QUERY),
            ("no signature", &format!("&X-Amz-Signature={signature}"), "", BAD_QUERY),
            ("nothing of it", &format!("?{query}"), "", DENIED),
            ("signed names", "SignedHeaders=host&", "SignedHeaders=host%3Brange&", MISMATCH),
            ("signed names", "SignedHeaders=host&", "SignedHeaders=Host&", BAD_QUERY),
            ("signed names", "SignedHeaders=host&", "SignedHeaders=&", BAD_QUERY),
            (
                "a header and its name",
                &format!("SignedHeaders=host&X-Amz-Signature={signature} HTTP/1.1"),
                &format!("SignedHeaders=host%3Bx-amz-meta-a&X-Amz-Signature={signature} HTTP/1.1\r\nx-amz-meta-a: b"),
                MISMATCH,
            ),
            ("header", "\r\nhost", "\r\nx-amz-meta-a: b\r\nhost", DENIED),
            ("header", "\r\nhost", "\r\nX-AMZ-Request-Payer: requester\r\nhost", DENIED),
            ("header", "\r\nhost", "\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\nhost", DENIED),
            ("header", "\r\nhost", "\r\nx-amz-security-token: t\r\nhost", (400, "InvalidToken")),
            ("another signature", "\r\nhost", "\r\nauthorization: AWS4-HMAC-SHA256 x\r\nhost", BAD_ARGUMENT),
        ],
    )
    .await;
    assert_eq!(lied.app().get("data", "k").await.unwrap().text(), "content");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_write_by_is_followed_with_the_headers_that_it_signs_and_no_others() {
    let lied = Lied::new().await;
    let headers = [("content-type", "text/plain"), ("x-amz-meta-a", "b")];
    let put = Plain { headers: &headers, ..plain("PUT", "/data/k") }.link(date(0), 60);
    assert_eq!(told(&lied, &put, "content").await.0, 200);
    lied.app().put("other", "secret", "secret").await.unwrap();
    are_refused(
        &lied,
        &put,
        "altered",
        &[
            ("value", "x-amz-meta-a: b", "x-amz-meta-a: c", MISMATCH),
            ("value", "x-amz-meta-a: b", "x-amz-meta-a: B", MISMATCH),
            ("value", "text/plain", "text/html", MISMATCH),
            ("twice", "x-amz-meta-a: b\r\n", "x-amz-meta-a: b\r\nx-amz-meta-a: b\r\n", MISMATCH),
            ("twice", "content-type: text/plain\r\n", "content-type: text/plain\r\ncontent-type: a/b\r\n", MISMATCH),
            ("none", "x-amz-meta-a: b\r\n", "", MISMATCH),
            ("none", "content-type: text/plain\r\n", "", MISMATCH),
            ("name", "x-amz-meta-a: b", "x-amz-meta-b: b", DENIED),
            ("signed names", "%3Bx-amz-meta-a", "", DENIED),
            ("signed names", "=content-type%3Bhost", "=host", MISMATCH),
            ("signed names", "content-type%3Bhost", "host%3Bcontent-type", BAD_QUERY),
            ("more", "\r\nhost", "\r\nx-amz-meta-b: c\r\nhost", DENIED),
            ("more", "\r\nhost", "\r\nx-amz-acl: public-read\r\nhost", DENIED),
            ("more", "\r\nhost", "\r\nx-amz-copy-source: /other/secret\r\nhost", DENIED),
            ("more", "\r\nhost", "\r\nx-amz-tagging: a=b\r\nhost", DENIED),
            ("more", "\r\nhost", "\r\nx-amz-checksum-crc32: AAAAAA==\r\nhost", DENIED),
            ("key", "/data/k?", "/data/l?", MISMATCH),
            ("bucket", "/data/k?", "/other/k?", MISMATCH),
            ("method", "PUT ", "DELETE ", MISMATCH),
            ("method", "PUT ", "POST ", MISMATCH),
            ("parameter", "?", "?uploadId=u&partNumber=1&", MISMATCH),
            ("parameter", "?", "?x-amz-copy-source=%2Fother%2Fsecret&", MISMATCH),
            ("parameter", "?", "?tagging&", MISMATCH),
        ],
    )
    .await;
    let got = lied.app().get("data", "k").await.unwrap();
    assert_eq!((got.text().as_str(), got.header("x-amz-meta-a")), ("content", "b"));
    // the bucket of a virtual host is signed by the host alone
    let by_host = Plain { host: BUCKET_HOST, ..plain("GET", "/k") }.link(date(0), 60);
    assert_eq!(told(&lied, &by_host, "").await.0, 200);
    are_refused(
        &lied,
        &by_host,
        "",
        &[
            ("bucket", "host: data.s3.test", "host: other.s3.test", MISMATCH),
            ("bucket", "host: data.s3.test", "host: beta.s3.test", MISMATCH),
            ("bucket", "host: data.s3.test", "host: data.s3.test.", MISMATCH),
            ("none", "host: data.s3.test", "host: s3.test", MISMATCH),
            ("key", "/k?", "/data/k?", MISMATCH),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_that_is_altered_is_refused_whatever_is_altered_in_it() {
    let lied = Lied::new().await;
    let (now, body) = (date(0), "content");
    let headers = [("content-type", "text/plain"), ("x-amz-meta-a", "b")];
    let put = Plain { headers: &headers, ..plain("PUT", "/data/k") }.signed(body, now);
    // the same request may come again as long as its time is near
    for _ in 0..2 {
        assert_eq!(told(&lied, &put, body).await.0, 200);
    }
    let (signature, another) = signatures(&put);
    let (long, other) = (now.long(), beside(now).long());
    let hash = format!("x-amz-content-sha256: {}\r\n", hex(&sha256(&[body.as_bytes()])));
    let authorization = &put[put.find("authorization: ").unwrap()..];
    are_refused(
        &lied,
        &put,
        body,
        &[
            ("method", "PUT ", "DELETE ", MISMATCH),
            ("method", "PUT ", "POST ", MISMATCH),
            ("host", "host: gateway", "host: elsewhere", MISMATCH),
            ("host", "host: gateway", "host: data.s3.test", MISMATCH),
            ("host twice", "host: gateway\r\n", "host: gateway\r\nhost: other.s3.test\r\n", BAD_REQUEST),
            ("host of the target", "PUT /", "PUT http://other.s3.test/", BAD_REQUEST),
            ("key", "/data/k ", "/data/l ", MISMATCH),
            ("key", "/data/k ", "/data/k/ ", MISMATCH),
            ("key", "/data/k ", "/data//k ", MISMATCH),
            ("key", "/data/k ", "/data/a/../k ", MISMATCH),
            ("no key", "/data/k ", "/data ", MISMATCH),
            ("bucket", "/data/k ", "/other/k ", MISMATCH),
            ("another's bucket", "/data/k ", "/beta/k ", MISMATCH),
            ("slash", "/data/k ", "/data%2Fk ", NO_BUCKET),
            ("parameter", "/data/k ", "/data/k?versionId=1 ", MISMATCH),
            ("parameter", "/data/k ", "/data/k?uploadId=u&partNumber=1 ", MISMATCH),
            ("parameter", "/data/k ", "/data/k?acl ", MISMATCH),
            ("parameter", "/data/k ", "/data/k?tagging ", MISMATCH),
            ("parameter", "/data/k ", "/data/k?x-id=PutObject ", MISMATCH),
            ("parameter", "/data/k ", "/data/k?x-amz-acl=public-read ", MISMATCH),
            ("parameter", "/data/k ", "/data/k?x-amz-copy-source=%2Fother%2Fk ", MISMATCH),
            ("a link's parameter", "/data/k ", "/data/k?X-Amz-Expires=60 ", BAD_ARGUMENT),
            ("version 2", "/data/k ", "/data/k?AWSAccessKeyId=AKOLD&Signature=s&Expires=1 ", BAD_ARGUMENT),
            ("value", "x-amz-meta-a: b", "x-amz-meta-a: c", MISMATCH),
            ("value", "text/plain", "text/html", MISMATCH),
            ("twice", "x-amz-meta-a: b\r\n", "x-amz-meta-a: b\r\nx-amz-meta-a: b\r\n", MISMATCH),
            ("none", "x-amz-meta-a: b\r\n", "", MISMATCH),
            ("more", "\r\nhost", "\r\nx-amz-meta-b: c\r\nhost", DENIED),
            ("more", "\r\nhost", "\r\nx-amz-copy-source: /other/k\r\nhost", DENIED),
            ("date", &long, &other, MISMATCH),
            ("no date", &format!("x-amz-date: {long}\r\n"), "", DENIED),
            ("date twice", "\r\nhost", &format!("\r\nx-amz-date: {other}\r\nhost"), BAD_REQUEST),
            ("hash", &hash, "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n", MISMATCH),
            ("hash", &hash, "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\n", MISMATCH),
            ("hash", &hash, "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n", MISMATCH),
            ("hash", &hash, "x-amz-content-sha256: none\r\n", BAD_ARGUMENT),
            ("no hash", &hash, "", BAD_REQUEST),
            ("hash twice", &hash, &format!("{hash}{hash}"), BAD_REQUEST),
            ("credential", "=AKALPHA/", "=AKREADER/", MISMATCH),
            ("credential", "=AKALPHA/", "=AKNOBODY/", UNKNOWN_ID),
            ("day", &format!("=AKALPHA/{}", now.short()), "=AKALPHA/20200101", BAD_HEADER),
            ("region", "us-east-1", "us-east-2", BAD_HEADER),
            ("service", "/s3/", "/iam/", BAD_HEADER),
            ("algorithm", "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA1 ", BAD_ARGUMENT),
            ("signature", &signature, &another, MISMATCH),
            ("signature", &signature, &signature[..63], BAD_HEADER),
            ("no signature", &format!(",Signature={signature}"), "", BAD_HEADER),
            ("nothing of it", authorization, "", DENIED),
            ("twice", authorization, &format!("{authorization}{authorization}"), BAD_REQUEST),
            ("signed names", ";x-amz-meta-a,", ",", DENIED),
            ("signed names", ";x-amz-date", "", DENIED),
            ("signed names", "=content-type;host;", "=content-type;", BAD_HEADER),
            ("signed names", "=content-type;host;", "=host;", MISMATCH),
        ],
    )
    .await;
    for seconds in [-960, 960] {
        let put = plain("PUT", "/data/k").signed(body, date(seconds));
        assert_eq!(refused(&lied, &put, body).await, said((403, "RequestTimeTooSkewed")), "{seconds}");
    }
    let got = lied.app().get("data", "k").await.unwrap();
    assert_eq!((got.text().as_str(), got.header("x-amz-meta-a")), (body, "b"));
    assert_eq!(lied.rig.stored("up-data").await.len(), 1);
    assert!(lied.rig.stored("up-other").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_the_signed_one_becomes_no_object_and_no_document() {
    let delete = |key: &str| format!("<Delete><Object><Key>{key}</Key></Object></Delete>");
    let tags =
        |value: &str| format!("<Tagging><TagSet><Tag><Key>a</Key><Value>{value}</Value></Tag></TagSet></Tagging>");
    for etag in [EtagMode::Opaque, EtagMode::Md5] {
        let lied = Lied::with(Plan { etag, ..Plan::default() }).await;
        lied.app().put("data", "k", "content").await.unwrap();
        for (method, target, signed, sent) in [
            ("POST", "/data?delete", delete("a"), delete("k")),
            ("PUT", "/data/k?tagging", tags("b"), tags("c")),
            ("PUT", "/data?lifecycle", "<a/>".to_owned(), "<b/>".to_owned()),
            ("DELETE", "/data/k", String::new(), "x".to_owned()),
            ("GET", "/data/k", String::new(), "x".to_owned()),
            ("POST", "/data/k?uploads", String::new(), "x".to_owned()),
        ] {
            let head = plain(method, target).signed(&signed, date(0));
            assert_eq!(refused(&lied, &head, &sent).await, said(OTHER_BODY), "{method} {target} {etag:?}");
        }
        // an object may be begun before its body is read; without its end it is none
        let put = plain("PUT", "/data/k").signed("content", date(0));
        let before = asked(&lied);
        for body in ["CONTENT", "conten", "content and more", ""] {
            let (status, code, _) = told(&lied, &put, body).await;
            assert_eq!((status, code), said(OTHER_BODY), "{body} {etag:?}");
        }
        if etag == EtagMode::Md5 {
            assert_eq!(asked(&lied), before);
        }
        assert_eq!(lied.app().get("data", "k").await.unwrap().text(), "content", "{etag:?}");
        assert_eq!(lied.rig.stored("up-data").await.len(), 1, "{etag:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_leads_elsewhere_is_refused_however_it_is_spelt_and_signed() {
    let lied = Lied::new().await;
    lied.app().put("data", "k", "content").await.unwrap();
    lied.app().put("other", "k", "secret").await.unwrap();
    for (host, target, expected) in [
        (HOST, "/data/../other/k", BAD_URI),
        (HOST, "/data/%2e%2e%2fother%2fk", BAD_URI),
        (HOST, "/data/%2E%2E/other/k", BAD_URI),
        (HOST, "/data/.%2e/other/k", BAD_URI),
        (HOST, "/data/..%2f..%2fx", BAD_URI),
        (HOST, "/data/a/%2e%2e/%2e%2e/other/k", BAD_URI),
        (HOST, "/data/./../other/k", BAD_URI),
        (HOST, "/data/..", BAD_URI),
        (BUCKET_HOST, "/../other/k", BAD_URI),
        (BUCKET_HOST, "/%2e%2e%2fother%2fk", BAD_URI),
        (HOST, "/data%2Fk", NO_BUCKET),
        (HOST, "/data%252Fk", NO_BUCKET),
        (HOST, "/data%2F..%2Fother/k", NO_BUCKET),
        (HOST, "/%2Fdata/k", NO_BUCKET),
        (HOST, "//data/k", NO_BUCKET),
        (HOST, "/./data/k", NO_BUCKET),
        (HOST, "/../data/k", NO_BUCKET),
        (HOST, "/%2e%2e/data/k", NO_BUCKET),
        (HOST, "/data%00/k", NO_BUCKET),
        (HOST, "/data/.sealgate", DENIED),
        (HOST, "/data/.sealgate/", DENIED),
        (HOST, "/data/.sealgate/u/x", DENIED),
        (HOST, "/data/.%73ealgate%2Fu%2Fx", DENIED),
        (HOST, "/%64ata/%2Esealgate/u/x", DENIED),
        (HOST, "/data//.sealgate/u/x", DENIED),
        (HOST, "/data/%2F%2F.sealgate/u/x", DENIED),
        (HOST, "/data/a/../.sealgate/u/x", DENIED),
        (HOST, "/data/a%2f%2e%2e%2f.sealgate/u/x", DENIED),
        (HOST, "/data/a/..//.sealgate/u/x", DENIED),
        (HOST, "/data/./.sealgate/x", DENIED),
        (HOST, "/data/.sealgate/a/../x", DENIED),
        (BUCKET_HOST, "/.%73ealgate%2Fu%2Fx", DENIED),
        (BUCKET_HOST, "//.sealgate/u/x", DENIED),
        (BUCKET_HOST, "/./.sealgate/x", DENIED),
    ] {
        for (method, query) in
            [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "?uploads"), ("GET", "?acl"), ("PUT", "?tagging")]
        {
            let target = format!("{target}{query}");
            let request = Plain { host, ..plain(method, &target) };
            for head in [request.signed("", date(0)), request.link(date(0), 60)] {
                assert_eq!(refused(&lied, &head, "").await, said(expected), "{head}");
            }
        }
    }
    assert_eq!(lied.app().get("other", "k").await.unwrap().text(), "secret");
    assert_eq!(lied.rig.stored("up-data").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_leads_nowhere_else_is_a_key_of_its_own_and_asked_of_the_store_as_it_was_signed() {
    let lied = Lied::new().await;
    let paths = [
        ("/data/k", "k"),
        ("/data/%252e%252e/x", "%2e%2e/x"),
        ("/data/%252E%252E%252Fx", "%2E%2E%2Fx"),
        ("/data/.%2573ealgate/u/x", ".%73ealgate/u/x"),
        ("/data/a%252fb", "a%2fb"),
        ("/data/a%2fb", "a/b"),
        ("/data/a//b", "a//b"),
        ("/data/a/./b", "a/./b"),
        ("/data/a/%2e%2e/b", "a/../b"),
        ("/%64ata/a%2Bb", "a+b"),
        ("/data/a%20b", "a b"),
    ];
    for (target, key) in paths {
        let put = plain("PUT", target).signed(target, date(0));
        assert_eq!(told(&lied, &put, target).await.0, 200, "{target}");
        let path = canonical_path(target).unwrap().replacen("/data/", "/up-data/", 1);
        let asked = lied.liar.requests.lock().unwrap().last().unwrap().clone();
        assert!(asked.is("PUT", &path), "{target}: {}", asked.path);
        assert!(lied.rig.stored("up-data").await.contains_key(key), "{target}");
    }
    // none of them was taken for another
    assert_eq!(lied.rig.stored("up-data").await.len(), paths.len());
    for (target, key) in paths {
        let get = plain("GET", target);
        for head in [get.signed("", date(0)), get.link(date(0), 60)] {
            let (status, _, answer) = told(&lied, &head, "").await;
            assert!(status == 200 && answer.ends_with(&format!("\r\n\r\n{target}")), "{answer}");
        }
        assert_eq!(lied.app().get("data", key).await.unwrap().text(), target, "{key}");
    }
}
