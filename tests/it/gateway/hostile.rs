//! Clients that mean harm: what they send is refused in clear words, reaches no store, and takes nothing from others.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use sealgate::clock::{Clock as _, SystemClock};
use sealgate::net::server::ServerSettings;
use sealgate::sigv4::{self, AmzDate, ContentSha256, CredentialScope, Headers, RequestView, SigningKey};
use sealgate::store::Identity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::lies::Lied;
use super::rig::{Outcome, REGION, Rig, Server, gateway, secret};

/// The head of a request that AKALPHA has signed, whatever its headers hold; `more` is behind it, unsigned.
fn head(method: &str, target: &str, headers: &[(&str, &[u8])], payload: ContentSha256, more: &str) -> Vec<u8> {
    let date = AmzDate::of(SystemClock.now());
    let key = SigningKey::derive(&secret("secret of AKALPHA"), &CredentialScope::new(date, REGION));
    let mut fields: Vec<(&str, &[u8])> = vec![("host", b"gateway")];
    fields.extend(headers);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let view = RequestView { method, path, query, headers: Headers::new(&fields) };
    let credentials = sigv4::Credentials { access_key_id: "AKALPHA", key: &key, session_token: None };
    let signed = sigv4::sign(&view, &credentials, date, payload).unwrap();
    let mut out = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    let added: Vec<(&str, String)> = signed.fields().map(|(name, value)| (name, value.to_owned())).collect();
    let all = fields.iter().copied().chain(added.iter().map(|(name, value)| (*name, value.as_bytes())));
    for (name, value) in all {
        out.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    [&out, more.as_bytes(), b"\r\n"].concat()
}

/// All that a gateway answers to these bytes.
async fn told(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_millis(1500), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of all answers.
fn statuses(answers: &str) -> Vec<u16> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect()
}

fn code(outcome: Outcome) -> (u16, String) {
    outcome.map_or_else(|refused| refused, |got| (got.status, String::new()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_framed_in_one_way_or_refused() {
    let lied = Lied::new().await;
    let address = lied.gateway_address();
    lied.app().put("data", "k", "x").await.unwrap();
    let before = lied.liar.requests.lock().unwrap().len();
    let hidden = "GET /data/k HTTP/1.1\r\nhost: gateway\r\n\r\n";
    let put = |more: &str, body: &str| {
        [head("PUT", "/data/k", &[], ContentSha256::Unsigned, more), body.as_bytes().to_vec()].concat()
    };
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    for (name, bytes, expected) in [
        ("length and chunks", put("content-length: 5\r\ntransfer-encoding: chunked\r\n", chunked), 411),
        ("chunks and length", put("transfer-encoding: chunked\r\ncontent-length: 5\r\n", chunked), 411),
        ("chunks not last", put("transfer-encoding: chunked, identity\r\n", chunked), 400),
        ("a parameter", put("transfer-encoding: chunked;q=1\r\n", chunked), 400),
        ("another coding", put("transfer-encoding: xchunked\r\n", chunked), 400),
        ("a folded line", put("transfer-encoding:\r\n chunked\r\n", chunked), 400),
        ("a blank before the colon", put("transfer-encoding : chunked\r\n", chunked), 400),
        ("two lengths", put("content-length: 5\r\ncontent-length: 6\r\n", "hello"), 400),
        ("a list of lengths", put("content-length: 5, 5\r\n", "hello"), 400),
        ("a sign", put("content-length: +5\r\n", "hello"), 400),
        ("hexadecimal", put("content-length: 0x5\r\n", "hello"), 400),
        ("no number", put("content-length: \r\n", "hello"), 400),
        ("a number too large", put("content-length: 18446744073709551616\r\n", "hello"), 400),
        ("NUL", put("content-length: 5\r\nx: a\0b\r\n", "hello"), 400),
        ("CR", put("content-length: 5\r\nx: a\rb\r\n", "hello"), 400),
        ("no colon", put("content-length: 5\r\nx\r\n", "hello"), 400),
    ] {
        let answers = told(address, &bytes).await;
        assert_eq!(statuses(&answers).first(), Some(&expected), "{name}: {answers}");
    }
    // what lies behind a body, or in it, is no request
    let smuggled = put("content-length: 0\r\ntransfer-encoding: chunked\r\n", &format!("0\r\n\r\n{hidden}"));
    assert_eq!(statuses(&told(address, &smuggled).await), [411]);
    let inside = format!("content-length: {}\r\n", hidden.len());
    let refused = format!("GET /data/k HTTP/1.1\r\nhost: gateway\r\n{inside}\r\n{hidden}");
    assert_eq!(statuses(&told(address, refused.as_bytes()).await), [403]);
    assert_eq!(before, lied.liar.requests.lock().unwrap().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_takes_its_memory_from_the_budget_however_it_is_framed() {
    let rig = Rig::new().await;
    let gateway = Arc::new(gateway(&rig.plan, rig.provider.address, &rig.keyring, &rig.metrics));
    let server = Server::start(Arc::clone(&gateway), ServerSettings::default()).await;
    let id = super::multipart::create(&rig.app(), "data", "k", &[]).await;
    let headers: [(&str, &[u8]); 1] = [("x-amz-decoded-content-length", b"1000000")];
    let target = format!("/data/k?uploadId={id}");
    let payload = ContentSha256::StreamingUnsignedTrailer;
    let mut bytes = head("POST", &target, &headers, payload, "transfer-encoding: chunked\r\n");
    // a chunk of HTTP's in which one of the signature's begins
    bytes.extend(format!("f0000\r\n{:x}\r\n{}", 1_000_000, "x".repeat(100_000)).as_bytes());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    for _ in 0..100 {
        if gateway.memory_used() >= 2_000_000 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} bytes are taken", gateway.memory_used());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_would_read_otherwise_is_not_signed_for_a_client() {
    let lied = Lied::new().await;
    let before = lied.liar.requests.lock().unwrap().len();
    for name in ["x-amz-tagging", "x-amz-acl", "x-amz-storage-class", "x-amz-expected-bucket-owner"] {
        for value in ["a=\u{fc}".as_bytes(), b"a=\xff"] {
            let bytes = head("PUT", "/data/k", &[(name, value)], ContentSha256::Unsigned, "content-length: 1\r\n");
            let answer = told(lied.gateway_address(), &[&bytes, &b"x"[..]].concat()).await;
            assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("InvalidArgument"), "{name}: {answer}");
        }
    }
    // in a query too
    let app = lied.app();
    let query = [("versionId", "v"), ("x-amz-expected-bucket-owner", "\u{fc}")];
    assert_eq!(code(app.send(Method::GET, "data", "k", &query, &[], None).await).0, 400);
    assert_eq!(before, lied.liar.requests.lock().unwrap().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_others_could_read_otherwise_are_refused() {
    let lied = Lied::new().await;
    let app = lied.app();
    let before = lied.liar.requests.lock().unwrap().len();
    let acl = "<AccessControlPolicy><Owner><ID>me</ID></Owner><AccessControlList/></AccessControlPolicy>";
    let restore =
        "<?xml version=\"1.0\" encoding=\"UTF-7\"?><RestoreRequest>+ADw-OutputLocation/+AD4-</RestoreRequest>";
    let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;&b;&b;\">]><Tagging><TagSet>&c;</TagSet></Tagging>";
    let wide = format!("<?xml version=\"1.0\" encoding=\"UTF-16\"?>{acl}");
    for (key, query, method, body, expected) in [
        ("", "acl", Method::PUT, wide.as_str(), "MalformedXML"),
        ("", "acl", Method::PUT, "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>", "MalformedXML"),
        ("", "lifecycle", Method::PUT, "text", "MalformedXML"),
        ("", "policy", Method::PUT, "<a/>", "MalformedPolicy"),
        ("k", "tagging", Method::PUT, bomb, "MalformedXML"),
        ("k", "tagging", Method::PUT, "<Tagging/>", "MalformedXML"),
        ("k", "tagging", Method::PUT, "<Tagging><TagSet/><TagSet/></Tagging>", "MalformedXML"),
        ("k", "tagging", Method::PUT, "<Tagging><TagSet><Tags/></TagSet></Tagging>", "MalformedXML"),
        ("k", "restore", Method::POST, restore, "MalformedXML"),
    ] {
        let sent = app.send(method, "data", key, &[(query, "")], &[], Some(body.to_owned().into())).await;
        assert_eq!(code(sent), (400, expected.to_owned()), "{query}: {body}");
    }
    assert_eq!(before, lied.liar.requests.lock().unwrap().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_lead_elsewhere_are_nobodys() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", "x").await.unwrap();
    let before = lied.liar.requests.lock().unwrap().len();
    for (key, expected) in [
        ("../other/k", (400, "InvalidURI")),
        ("a/../../other/k", (400, "InvalidURI")),
        (".sealgate", (403, "AccessDenied")),
        (".sealgate/u/x", (403, "AccessDenied")),
        ("//.sealgate/u/x", (403, "AccessDenied")),
        ("./.sealgate/u/x", (403, "AccessDenied")),
        ("a/../.sealgate/u/x", (403, "AccessDenied")),
        // to a proxy that merges slashes first, or by whose reading it is the bucket itself
        ("a//../.sealgate/u/x", (403, "AccessDenied")),
        ("//../other/k", (400, "InvalidURI")),
        ("a//../../other/k", (400, "InvalidURI")),
        ("a/..", (400, "InvalidURI")),
        (".", (400, "InvalidURI")),
        (".//", (400, "InvalidURI")),
    ] {
        let expected = (expected.0, expected.1.to_owned());
        let get = code(app.get("data", key).await);
        assert_eq!(get, expected, "{key}");
        assert_eq!(code(app.put("data", key, "x").await), expected, "{key}");
        let source = format!("/data/{key}");
        let copied = app.put_with("data", "copy", &[("x-amz-copy-source", &source)], "").await;
        assert_eq!(code(copied), expected, "{key} as a source");
        let delete = format!("<Delete><Object><Key>{key}</Key></Object></Delete>");
        let deleted = app.post("data", "", &[("delete", "")], delete).await.unwrap();
        assert!(deleted.text().contains(&format!("<Code>{}</Code>", expected.1)), "{key}");
    }
    assert_eq!(before, lied.liar.requests.lock().unwrap().len());
    // what stays within its bucket is a key like others
    for key in ["a/../b", "./a", "a/./b", "..a", "a..", "a/..b/c", ".sealgates/x", "a//../b"] {
        app.put("data", key, "x").await.unwrap_or_else(|error| panic!("{key}: {error:?}"));
        assert_eq!(app.get("data", key).await.unwrap().text(), "x", "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_request_does_not_tell_which_buckets_there_are() {
    let rig = Rig::new().await;
    let app = rig.app();
    let mut all = Vec::new();
    for (bucket, key) in [("data", "k"), ("beta", "k"), ("team-red", ""), ("nothing", "k"), ("data", ".sealgate/x")] {
        let page = [("origin", "https://stranger.example"), ("access-control-request-method", "GET")];
        let refused = app.sent(Identity::Nobody, Method::OPTIONS, (bucket, key), &[], &page, None).await.err().unwrap();
        all.push((refused.status(), refused.code().map(sealgate::s3::error::ErrorCode::name)));
    }
    assert!(all.iter().all(|told| *told == (Some(403), Some("AccessForbidden"))), "{all:?}");
    // what says too little is refused as such, there as here
    for bucket in ["data", "nothing"] {
        for page in [&[][..], &[("origin", "https://app.example")]] {
            let refused =
                app.sent(Identity::Nobody, Method::OPTIONS, (bucket, "k"), &[], page, None).await.err().unwrap();
            assert_eq!(refused.status(), Some(400), "{bucket} {page:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_body_ends_its_connection_and_the_refusal_is_read() {
    let rig = Rig::new().await;
    let head = head("DELETE", "/data/k", &[], ContentSha256::Unsigned, "transfer-encoding: chunked\r\n");
    let garbage = vec![b'x'; 3 << 20];
    let said = told(rig.gateway.address, &[&head, &b"5\r\nhello\r\nZZ\r\n"[..], &garbage].concat()).await;
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("connection: close"), "{said}");
    assert_eq!(statuses(&said).len(), 1);
}
