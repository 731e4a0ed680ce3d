//! Signature Version 2: taken from those only whose rule says so, in header, link and form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sealgate::clock::{Clock as _, SystemClock, Timestamp};
use sealgate::sigv4::format_http_date;
use sha1::Sha1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::rig::Rig;

fn signature(id: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(format!("secret of {id}").as_bytes()).unwrap();
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Status, code (if it is an error) and all of the answer.
async fn told(rig: &Rig, head: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    let request = format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = super::rig::elements(&answer, "Code").pop().unwrap_or_default();
    (answer[9..12].parse().unwrap(), code, answer)
}

fn link(id: &str, method: &str, (at, host): (&str, &str), (resource, more): (&str, &str), expires: u64) -> String {
    let signature = signature(id, &format!("{method}\n\n\n{expires}\n{resource}"));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!(
        "{method} {at}?AWSAccessKeyId={id}&Signature={signature}&Expires={expires}{more} HTTP/1.1\r\nhost: {host}\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_followed_if_the_credential_is_for_them() {
    let rig = Rig::new().await;
    let soon = SystemClock.now().unix_millis() / 1000 + 60;
    let at = ("/data/a%20b", "gateway");
    let put = link("AKOLD", "PUT", at, ("/data/a%20b", ""), soon);
    assert_eq!(told(&rig, &put, "content").await.0, 200);
    let get = link("AKOLD", "GET", at, ("/data/a%20b", ""), soon);
    let (status, _, answer) = told(&rig, &get, "").await;
    assert!(status == 200 && answer.ends_with("\r\n\r\ncontent"), "{answer}");
    // as a virtual host, and with the type that the link says
    let host = ("/a%20b", "data.s3.test");
    let overridden = ("/data/a%20b?response-content-type=a/b", "&response-content-type=a%2Fb");
    let (status, _, answer) = told(&rig, &link("AKOLD", "GET", host, overridden, soon), "").await;
    assert!(status == 200 && answer.contains("content-type: a/b"), "{answer}");

    // a list, by the bucket's path with the slash that botocore signs and does not send
    let list = link("AKOLD", "GET", ("/data", "gateway"), ("/data/", "&list-type=2&prefix=a"), soon);
    let (status, _, answer) = told(&rig, &list, "").await;
    assert!(status == 200 && answer.contains("<Key>a b</Key>"), "{answer}");
    // what a link says of the content is stored; what the request says instead is not what was signed
    let typed = |more: &str| {
        let text = format!("PUT\nCY9rzUYh03PK3k6DJie09g==\ntext/x-link\n{soon}\nx-amz-meta-a:b\n/data/typed");
        let signature = signature("AKOLD", &text).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        format!(
            "PUT /data/typed?AWSAccessKeyId=AKOLD&Signature={signature}&Expires={soon}&content-type=text%2Fx-link\
             &content-md5=CY9rzUYh03PK3k6DJie09g%3D%3D&x-amz-meta-a=b HTTP/1.1\r\nhost: gateway\r\n{more}"
        )
    };
    assert_eq!(told(&rig, &typed(""), "test").await.0, 200);
    let got = rig.app().get("data", "typed").await.unwrap();
    assert_eq!((got.header("content-type"), got.header("x-amz-meta-a")), ("text/x-link", "b"));
    assert_eq!(told(&rig, &typed(""), "another").await.1, "BadDigest");
    assert_eq!(told(&rig, &typed("content-type: text/x-link\r\n"), "test").await.0, 200);
    assert_eq!(told(&rig, &typed("content-type: text/html\r\n"), "test").await.1, "SignatureDoesNotMatch");

    let refused = |status: u16, code: &str| (status, code.to_owned());
    for (id, at, resource, expires, expected) in [
        // who may sign by version 4 only
        ("AKALPHA", at, ("/data/a%20b", ""), soon, refused(400, "InvalidRequest")),
        ("AKNOBODY", at, ("/data/a%20b", ""), soon, refused(403, "InvalidAccessKeyId")),
        ("AKOLD", at, ("/data/other", ""), soon, refused(403, "SignatureDoesNotMatch")),
        ("AKOLD", at, ("/data/a%20b", ""), soon - 61, refused(403, "AccessDenied")),
        ("AKOLD", at, ("/data/a%20b", "&attributes"), soon, refused(403, "AccessDenied")),
        ("AKOLD", at, ("/data/a%20b", "&tagging"), soon, refused(403, "SignatureDoesNotMatch")),
        ("AKOLD", at, ("/data/a%20b", "&x-amz-acl=public-read"), soon, refused(403, "SignatureDoesNotMatch")),
        // outside its buckets
        ("AKOLD", ("/other/k", "gateway"), ("/other/k", ""), soon, refused(403, "AccessDenied")),
    ] {
        let (status, code, _) = told(&rig, &link(id, "GET", at, resource, expires), "").await;
        assert_eq!((status, code), expected, "{id} {resource:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_forms_are_taken_if_the_credential_is_for_them() {
    let rig = Rig::new().await;
    let date = format_http_date(SystemClock.now());
    let head = |id: &str, more: &str, amz: &str| {
        let signature = signature(id, &format!("PUT\n\ntext/plain\n{date}\n{amz}/data/k"));
        format!(
            "PUT /data/k HTTP/1.1\r\nhost: gateway\r\ndate: {date}\r\ncontent-type: text/plain\r\n\
             authorization: AWS {id}:{signature}\r\n{more}"
        )
    };
    let meta = ("x-amz-meta-a: b\r\n", "x-amz-meta-a:b\n");
    assert_eq!(told(&rig, &head("AKOLD", meta.0, meta.1), "content").await.0, 200);
    assert_eq!(rig.app().get("data", "k").await.unwrap().header("x-amz-meta-a"), "b");
    assert_eq!(told(&rig, &head("AKOLD", meta.0, ""), "content").await.1, "SignatureDoesNotMatch");
    assert_eq!(told(&rig, &head("AKALPHA", "", ""), "content").await.1, "InvalidRequest");
    // chunks are signed by version 4 alone
    let streaming = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    let signed = format!("x-amz-content-sha256:{streaming}\n");
    let chunked = head("AKOLD", &format!("x-amz-content-sha256: {streaming}\r\n"), &signed);
    assert_eq!(told(&rig, &chunked, "0\r\n\r\n").await.1, "InvalidRequest");
    // a digest that comes with the body is compared
    let wrong = format!("x-amz-content-sha256: {}\r\n", "0".repeat(64));
    let signed = format!("x-amz-content-sha256:{}\n", "0".repeat(64));
    assert_eq!(told(&rig, &head("AKOLD", &wrong, &signed), "content").await.1, "XAmzContentSHA256Mismatch");
    // nor can it be moved to where nobody reads it
    let moved =
        head("AKOLD", "", &signed).replace("/data/k ", &format!("/data/k?x-amz-content-sha256={} ", "0".repeat(64)));
    assert_eq!(told(&rig, &moved, "content").await.1, "InvalidArgument");

    let expiration = Timestamp::from_unix_millis(SystemClock.now().unix_millis() + 60_000);
    let policy =
        format!("{{\"expiration\":\"{expiration}\",\"conditions\":[{{\"bucket\":\"data\"}},{{\"key\":\"f\"}}]}}");
    let policy = STANDARD.encode(policy);
    let form = |id: &str, key: &str| {
        let fields =
            [("key", key), ("AWSAccessKeyId", id), ("policy", &policy), ("signature", &signature(id, &policy))];
        let field = |(name, value): (&str, &str)| {
            format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let file = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nby form\r\n--B--\r\n";
        fields.map(field).concat() + file
    };
    let post = "POST /data HTTP/1.1\r\nhost: gateway\r\ncontent-type: multipart/form-data; boundary=B\r\n";
    assert_eq!(told(&rig, post, &form("AKOLD", "f")).await.0, 204);
    assert_eq!(rig.app().get("data", "f").await.unwrap().text(), "by form");
    assert_eq!(told(&rig, post, &form("AKOLD", "g")).await.1, "AccessDenied");
    assert_eq!(told(&rig, post, &form("AKALPHA", "f")).await.1, "InvalidRequest");
}
