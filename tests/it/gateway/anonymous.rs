//! Requests without a signature: a bucket's rule and the store must both allow them; and what the store says to browsers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use sealgate::clock::{Clock as _, SystemClock};
use sealgate::gateway::settings::{Access, EtagMode, Limits};
use sealgate::sigv4::uri::Query;
use sealgate::sigv4::{
    self, AmzDate, ContentSha256, CredentialScope, Credentials, Headers, RequestView, SigningKey, presign,
};
use sealgate::store::{Answer, Identity, StoreError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::lies::Lied;
use super::multipart::{list, part};
use super::rig::{Client, Got, Plan, REGION, Rig, elements, noise, secret};

/// What an unsigned request gets: status, code and headers.
async fn ask(
    client: &Client,
    method: Method,
    at: (&str, &str),
    query: &[(&str, &str)],
    headers: &[(&str, &str)],
    body: Option<&'static str>,
) -> Result<Answer, StoreError> {
    let body = body.map(|body| Bytes::from_static(body.as_bytes()));
    client.sent(Identity::Nobody, method, at, query, headers, body).await
}

fn status(outcome: &Result<Answer, StoreError>) -> u16 {
    outcome.as_ref().map_or_else(|error| error.status().unwrap_or(0), |answer| answer.status.as_u16())
}

/// A provider that lets everybody read what it gave to somebody once.
fn is_public(lied: &Lied) {
    let given: Arc<Mutex<HashMap<String, (HeaderMap, Vec<u8>)>>> = Arc::default();
    lied.liar.lies(move |asked, told| {
        let mut given = given.lock().unwrap();
        if asked.headers.contains_key("authorization") {
            given.insert(asked.path.clone(), (told.headers.clone(), told.body.clone()));
        } else if let Some((headers, body)) = given.get(&asked.path) {
            (told.status, told.headers, told.body) = (StatusCode::OK, headers.clone(), body.clone());
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_sign_reads_what_bucket_and_store_allow() {
    let lied = Lied::new().await;
    let app = lied.app();
    is_public(&lied);
    for bucket in ["other", "data"] {
        app.put(bucket, "k", "public content").await.unwrap();
        app.get(bucket, "k").await.unwrap();
    }
    let got = ask(&app, Method::GET, ("other", "k"), &[], &[], None).await.unwrap();
    assert_eq!(got.bytes(100).await.unwrap(), "public content");
    let asked = lied.liar.requests.lock().unwrap().last().unwrap().clone();
    assert!(asked.is("GET", "/up-other/k"));
    assert!(!asked.headers.contains_key("authorization") && !asked.headers.contains_key("x-amz-content-sha256"));
    // the store says no
    lied.liar.tells_the_truth();
    assert_eq!(status(&ask(&app, Method::GET, ("other", "k"), &[], &[], None).await), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_sign_gets_nothing_else_and_the_store_is_not_asked() {
    let lied = Lied::new().await;
    let app = lied.app();
    is_public(&lied);
    app.put("data", "k", "x").await.unwrap();
    app.put("other", "k", "x").await.unwrap();
    let before = lied.liar.requests.lock().unwrap().len();
    let put = |headers: &'static [(&str, &str)]| ask(&app, Method::PUT, ("other", "new"), &[], headers, Some("x"));
    let refused = [
        ask(&app, Method::GET, ("data", "k"), &[], &[], None).await,
        ask(&app, Method::GET, ("beta", "k"), &[], &[], None).await,
        ask(&app, Method::GET, ("nothing", "k"), &[], &[], None).await,
        ask(&app, Method::GET, ("other", ".sealgate/k"), &[], &[], None).await,
        ask(&app, Method::DELETE, ("other", "k"), &[], &[], None).await,
        ask(&app, Method::PUT, ("other", ""), &[("policy", "")], &[], Some("{}")).await,
        put(&[]).await,
        // a source that its bucket keeps to itself, by way of one that is open
        put(&[("x-amz-copy-source", "data/k")]).await,
        put(&[("content-type", "multipart/form-data; boundary=a")]).await,
    ];
    for (index, outcome) in refused.iter().enumerate() {
        assert_eq!(status(outcome), 403, "{index}");
    }
    let chunked = put(&[("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")]).await;
    assert_eq!(status(&chunked), 400);
    let overridden = [("response-content-type", "text/html")];
    assert_eq!(status(&ask(&app, Method::GET, ("other", "k"), &overridden, &[], None).await), 400);
    // half a signature is a bad one, not none
    let half = [("X-Amz-Signature", "0")];
    assert!(matches!(status(&ask(&app, Method::GET, ("other", "k"), &half, &[], None).await), 400 | 403));
    assert_eq!(before, lied.liar.requests.lock().unwrap().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobodys_list_of_buckets_is_what_the_store_shows_to_nobody() {
    let lied = Lied::new().await;
    let app = lied.app();
    let list = || ask(&app, Method::GET, ("", ""), &[], &[], None);
    assert_eq!(status(&list().await), 403, "the store refuses it");
    let asked = lied.liar.requests.lock().unwrap().last().unwrap().clone();
    assert!(asked.is("GET", "/") && !asked.headers.contains_key("authorization"));
    // one that shows all it has: what is closed here stays so
    let all = app.list("", &[]).await.unwrap();
    assert_eq!(elements(&all.text(), "Name").len(), 4);
    let shown = lied.rig.provider_client().list("", &[]).await.unwrap().text();
    assert!(elements(&shown, "Name").len() > 4);
    lied.liar.lies(move |_, told| (told.status, told.body) = (StatusCode::OK, shown.clone().into()));
    let got = list().await.unwrap().bytes(10_000).await.unwrap();
    assert_eq!(elements(str::from_utf8(&got).unwrap(), "Name"), ["other"]);
    // one that shows nobody anything, and one that sends them away
    let none = "<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>";
    lied.liar.lies(move |_, told| (told.status, told.body) = (StatusCode::OK, none.into()));
    assert_eq!(status(&list().await), 200);
    lied.liar.lies(|_, told| told.status = StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(status(&list().await), 403);
}

/// A store that has nothing but a word for whoever wants to write, before the body: what it was told by then.
async fn judging(
    answers: &'static [(&'static str, &'static str)],
) -> (std::net::SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let judge = tokio::spawn(async move {
        let mut heads = Vec::new();
        for (head_of_answer, document) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(head_of_answer.as_bytes()).await.unwrap();
            heads.push(String::from_utf8(head).unwrap().to_ascii_lowercase());
            // a document that comes later than its head
            tokio::time::sleep(Duration::from_millis(200)).await;
            stream.write_all(document.as_bytes()).await.unwrap();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(3)).await;
                drop(stream);
            });
        }
        heads
    });
    (address, judge)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_sign_is_asked_for_a_body_by_the_store_alone() {
    for etag in [EtagMode::Opaque, EtagMode::Md5] {
        let (store, judge) = judging(&[
            ("HTTP/1.1 403 Forbidden\r\ncontent-length: 40\r\n\r\n", "<Error><Code>AccessDenied</Code></Error>"),
            ("HTTP/1.1 100 Continue\r\n\r\n", ""),
        ])
        .await;
        let rig = Rig::with(Plan { through: Some(store), open: Access::ReadWrite, etag, ..Plan::default() }).await;
        for expected in ["HTTP/1.1 403", "HTTP/1.1 100"] {
            let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
            let head = b"PUT /other/k HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let mut answer = [0; 12];
            tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await.unwrap().unwrap();
            assert_eq!(str::from_utf8(&answer).unwrap(), expected, "{etag:?}");
        }
        for head in judge.await.unwrap() {
            assert!(head.contains("\r\nexpect: 100-continue\r\n") && !head.contains("authorization"), "{head}");
        }
    }
}

/// A provider that lets everybody do everything.
fn is_open(lied: &Lied) {
    lied.liar.edits(|asked, _| {
        if asked.headers.contains_key("authorization") || asked.headers.contains_key("x-amz-content-sha256") {
            return;
        }
        let date = AmzDate::of(SystemClock.now());
        let key = SigningKey::derive(&secret("secret of PROVIDER"), &CredentialScope::new(date, REGION));
        let fields: Vec<_> = asked.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let view = RequestView {
            method: asked.method.as_str(),
            path: &asked.path,
            query: &asked.query,
            headers: Headers::new(&fields),
        };
        let credentials = Credentials { access_key_id: "PROVIDER", key: &key, session_token: None };
        let signed = sigv4::sign(&view, &credentials, date, ContentSha256::Unsigned).unwrap();
        let signed: Vec<_> = signed.fields().map(|(name, text)| (name, text.parse().unwrap())).collect();
        asked.headers.extend(signed.into_iter().map(|(name, value)| (HeaderName::from_static(name), value)));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_sign_uploads_in_parts_where_bucket_and_store_allow_it() {
    for state_bucket in [None, Some("up-state".to_owned())] {
        let has_state_bucket = state_bucket.is_some();
        let lied = Lied::with(Plan { state_bucket, open: Access::ReadWrite, ..Plan::default() }).await;
        let app = lied.app();
        is_open(&lied);
        let created = ask(&app, Method::POST, ("other", "k"), &[("uploads", "")], &[], Some("")).await.unwrap();
        let id = elements(str::from_utf8(&created.bytes(10_000).await.unwrap()).unwrap(), "UploadId").remove(0);
        let mut parts = Vec::new();
        for (number, body) in [("1", noise(5 << 20, 1)), ("2", noise(7, 2))] {
            let (query, waits) = ([("partNumber", number), ("uploadId", &id)], [("expect", "100-continue")]);
            let sent = app.sent(Identity::Nobody, Method::PUT, ("other", "k"), &query, &waits, Some(body.into())).await;
            parts.push((number.parse().unwrap(), sent.unwrap().headers["etag"].to_str().unwrap().to_owned()));
        }
        let listed = list(&parts).into();
        let query = [("uploadId", id.as_str())];
        app.sent(Identity::Nobody, Method::POST, ("other", "k"), &query, &[], Some(listed)).await.unwrap();
        lied.liar.tells_the_truth();
        let whole = [noise(5 << 20, 1), noise(7, 2)].concat();
        assert!(app.get("other", "k").await.unwrap().body == whole);
        assert!(lied.rig.stored("up-state").await.is_empty());
        let asked = lied.liar.requests.lock().unwrap().clone();
        let puts = asked.iter().filter(|asked| asked.method == Method::PUT);
        for asked in puts {
            // the client's bodies wait for the store, and no other; the gateway's own bucket is its own
            let is_sent = asked.query.ends_with("partNumber=1") || asked.path.contains("/.sealgate/s/");
            assert_eq!(asked.headers.contains_key("expect"), is_sent, "{} {}", asked.path, asked.query);
            let is_own = has_state_bucket && asked.path.starts_with("/up-state/");
            assert_eq!(asked.headers.contains_key("authorization"), is_own, "{} {}", asked.path, asked.query);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_hear_what_the_store_says_of_their_origin() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", "content").await.unwrap();
    lied.liar.lies(|asked, told| {
        let origin = asked.headers.get("origin").map(|value| value.to_str().unwrap().to_owned());
        if asked.method == Method::OPTIONS {
            let is_known = origin.as_deref() == Some("https://app.example");
            told.status = if is_known { StatusCode::OK } else { StatusCode::FORBIDDEN };
            told.headers.clear();
            told.body.clear();
        }
        if origin.as_deref() == Some("https://app.example") {
            told.set("access-control-allow-origin", "https://app.example");
            told.set("access-control-expose-headers", "etag");
            told.set("vary", "Origin");
            told.set("set-cookie", "a=b");
        }
    });
    let page = [("origin", "https://app.example"), ("access-control-request-method", "PUT")];
    // a preflight request is never signed, whatever the request that is to come carries in its query
    let query = [("X-Amz-Signature", "0"), ("X-Amz-Credential", "x")];
    let got = ask(&app, Method::OPTIONS, ("data", "k"), &query, &page, None).await.unwrap();
    assert_eq!(got.headers.get("access-control-allow-origin").unwrap(), "https://app.example");
    assert!(!got.headers.contains_key("set-cookie"));
    let asked = lied.liar.requests.lock().unwrap().last().unwrap().clone();
    assert!(asked.is("OPTIONS", "/up-data/k") && asked.query.is_empty());
    assert_eq!(asked.headers.get("access-control-request-method").unwrap(), "PUT");
    let stranger = [("origin", "https://evil.example"), ("access-control-request-method", "PUT")];
    assert_eq!(status(&ask(&app, Method::OPTIONS, ("data", "k"), &[], &stranger, None).await), 403);
    assert_eq!(status(&ask(&app, Method::OPTIONS, ("nothing", "k"), &[], &page, None).await), 403);

    let got = app.get_with("data", "k", &page).await.unwrap();
    assert_eq!((got.text().as_str(), got.header("access-control-allow-origin")), ("content", "https://app.example"));
    assert_eq!((got.header("access-control-expose-headers"), got.header("set-cookie")), ("etag", ""));
    // a refusal of the store's is to be read by the page too
    let missing = app.sent(Identity::Own, Method::GET, ("data", "nothing"), &[], &page, None).await;
    let Err(StoreError::Refused(refused)) = missing else { panic!() };
    assert_eq!((refused.status, refused.cors.len()), (404, 3));
    // who is no page hears nothing
    assert_eq!(app.get("data", "k").await.unwrap().header("vary"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_request_about_a_presigned_url_is_its_signers() {
    let lied = Lied::new().await;
    let app = lied.app();
    lied.liar.lies(|asked, told| {
        if asked.method == Method::OPTIONS {
            told.status = StatusCode::OK;
            told.set("access-control-allow-origin", "https://app.example");
        }
    });
    let date = AmzDate::of(SystemClock.now());
    let key = SigningKey::derive(&secret("secret of AKALPHA"), &CredentialScope::new(date, REGION));
    let host = lied.gateway_address().to_string();
    let headers = [("host", host.as_bytes())];
    let view = RequestView { method: "PUT", path: "/data/k", query: "", headers: Headers::new(&headers) };
    let credentials = Credentials { access_key_id: "AKALPHA", key: &key, session_token: None };
    let query = presign(&view, &credentials, date, 60).unwrap();
    let query = Query::parse(&query).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let query: Vec<_> = query.parameters().iter().map(|p| (text(&p.name), text(&p.value))).collect();
    let query: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (method, is_signers) in [("PUT", true), ("GET", false)] {
        let page = [("origin", "https://app.example"), ("access-control-request-method", method)];
        let got = ask(&app, Method::OPTIONS, ("data", "k"), &query, &page, None).await.unwrap();
        assert_eq!(got.headers.get("access-control-allow-origin").unwrap(), "https://app.example");
        let asked = lied.liar.requests.lock().unwrap().last().unwrap().clone();
        assert!(asked.is("OPTIONS", "/up-data/k") && asked.query.is_empty());
        assert_eq!(asked.headers.contains_key("authorization"), is_signers, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verdict_on_a_page_is_of_its_own_method_and_bucket() {
    let lied = Lied::with(Plan { state_bucket: Some("up-state".to_owned()), ..Plan::default() }).await;
    let app = lied.app();
    // rules that allow POST in this bucket, and whatever the page does elsewhere
    lied.liar.lies(|asked, told| {
        let is_asked = |method: &Method| {
            asked.method == *method
                || asked.headers.get("access-control-request-method").is_some_and(|name| name == method.as_str())
        };
        if asked.method == Method::OPTIONS {
            told.status = if is_asked(&Method::POST) { StatusCode::OK } else { StatusCode::FORBIDDEN };
            told.headers.clear();
            told.body.clear();
            told.set("access-control-allow-methods", "POST");
        }
        if !asked.headers.contains_key("origin") {
            return;
        }
        if !asked.path.starts_with("/up-data") {
            told.set("access-control-allow-origin", "of another bucket");
        } else if is_asked(&Method::POST) {
            told.set("access-control-allow-origin", "https://app.example");
        }
    });
    let page = [("origin", "https://app.example")];
    let post = async |key: &str, query: &[(&str, &str)], body: &str| {
        app.send(Method::POST, "data", key, query, &page, Some(body.to_owned().into())).await.unwrap()
    };
    let allowed = |answer: &Got| answer.header("access-control-allow-origin").to_owned();
    let created = post("k", &[("uploads", "")], "").await;
    assert_eq!(allowed(&created), "https://app.example");
    let id = elements(&created.text(), "UploadId").remove(0);
    let etag = part(&app, ("data", "k", &id), 1, "content").await.unwrap().etag();
    let list = list(&[(1, etag)]);
    let completed = post("k", &[("uploadId", &id)], &list).await;
    assert_eq!(allowed(&completed), "https://app.example");
    let deleted = post("", &[("delete", "")], "<Delete><Object><Key>k</Key></Object></Delete>").await;
    assert_eq!(
        (allowed(&deleted).as_str(), deleted.header("access-control-allow-methods")),
        ("https://app.example", "")
    );
    // what the rules do not allow is not allowed by another answer
    let put = app.put_with("data", "k", &page, "x").await.unwrap();
    assert_eq!(allowed(&put), "");
}

/// Six who ask for a large object without a signature, and read nothing of it.
async fn readers_who_stand_still(lied: &Lied) -> Vec<TcpStream> {
    is_public(lied);
    let app = lied.app();
    app.put("other", "big", noise(32 << 20, 1)).await.unwrap();
    app.get("other", "big").await.unwrap();
    let mut slow = Vec::new();
    for _ in 0..6 {
        let mut stream = TcpStream::connect(lied.gateway_address()).await.unwrap();
        stream.write_all(b"GET /other/big HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
        slow.push(stream);
    }
    slow
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_sign_leaves_half_of_every_place_to_those_who_do() {
    let plan = Plan { upstream_requests: 4, ..Plan::default() };
    let lied = Lied::with(plan).await;
    let app = lied.app();
    // readers who stand still hold their places at the store
    let mut slow = readers_who_stand_still(&lied).await;
    for stream in slow.iter_mut().take(2) {
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 16);
    }
    let signed = tokio::time::timeout(Duration::from_secs(5), app.put("data", "k", "x")).await;
    signed.expect("no place was left for who signs").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_sign_leaves_half_of_the_memory_to_those_who_do() {
    let limits = Limits { memory: 6 << 20, ..Plan::default().limits };
    let lied = Lied::with(Plan { limits, ..Plan::default() }).await;
    let app = lied.app();
    // readers who stand still hold a good megabyte each
    let mut slow = readers_who_stand_still(&lied).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for key in ["a", "b"] {
        let signed = tokio::time::timeout(Duration::from_secs(4), app.put("data", key, noise(1 << 20, 2))).await;
        signed.expect("no memory was left for who signs").unwrap();
    }
    let mut told = Vec::new();
    for stream in &mut slow {
        let mut start = [0; 12];
        if stream.read_exact(&mut start).await.is_ok() {
            told.push(String::from_utf8_lossy(&start).into_owned());
        }
    }
    assert_eq!(told.iter().filter(|start| *start == "HTTP/1.1 503").count(), 4, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_alone_lets_no_page_in() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", "content").await.unwrap();
    lied.liar.lies(|asked, told| {
        if asked.method == Method::OPTIONS {
            (told.status, told.headers, told.body) = (StatusCode::OK, HeaderMap::new(), Vec::new());
        }
        told.set("access-control-allow-origin", "*");
        told.set("access-control-allow-credentials", "true");
    });
    let before = lied.liar.requests.lock().unwrap().len();
    let stranger = [("origin", "https://stranger.example"), ("access-control-request-method", "GET")];
    assert_eq!(status(&ask(&app, Method::OPTIONS, ("data", "k"), &[], &stranger, None).await), 403);
    assert_eq!(before, lied.liar.requests.lock().unwrap().len());
    let got = app.get_with("data", "k", &stranger[..1]).await.unwrap();
    assert_eq!((got.text().as_str(), got.header("access-control-allow-origin")), ("content", ""));
    assert!(!lied.liar.requests.lock().unwrap().last().unwrap().headers.contains_key("origin"));
    let known = app.get_with("data", "k", &[("origin", "https://app.example")]).await.unwrap();
    let told = ["access-control-allow-origin", "vary", "access-control-allow-credentials"];
    assert_eq!(told.map(|name| known.header(name)), ["https://app.example", "Origin", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_question_about_a_page_does_not_hold_its_answer() {
    let lied = Lied::new().await;
    let app = lied.app();
    lied.liar.lies(|asked, told| {
        if asked.method == Method::OPTIONS {
            told.delay = Duration::from_secs(30);
        }
    });
    let begun = std::time::Instant::now();
    let page = [("origin", "https://app.example")];
    let body = "<Delete><Object><Key>k</Key></Object></Delete>";
    app.put("data", "k", "content").await.unwrap();
    let copied = [page[0], ("x-amz-copy-source", "/other/k")];
    app.put("other", "k", "content").await.unwrap();
    app.put_with("data", "k", &copied, "").await.unwrap();
    app.send(Method::POST, "data", "", &[("delete", "")], &page, Some(body.into())).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
