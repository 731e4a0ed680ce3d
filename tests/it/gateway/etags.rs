//! Buckets whose rule says `etag = "md5"`: the ETag of an object is the MD5 of its plaintext, and conditions take it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use sealgate::digest::{ChecksumAlgorithm, checksum, hex};
use sealgate::gateway::settings::EtagMode;
use sealgate::net::server::ServerSettings;

use super::lies::Lied;
use super::multipart::{complete, create, part};
use super::rig::{Client, Outcome, Plan, Rig, Server, elements, gateway, noise};

fn md5(bytes: &[u8]) -> Vec<u8> {
    checksum(ChecksumAlgorithm::Md5, bytes).as_bytes().to_vec()
}

fn named(bytes: &[u8]) -> String {
    format!("\"{}\"", hex(&md5(bytes)))
}

fn plan() -> Plan {
    Plan { etag: EtagMode::Md5, ..Plan::default() }
}

async fn listed(app: &Client, bucket: &str, key: &str) -> String {
    let text = app.list(bucket, &[("prefix", key)]).await.unwrap().text();
    elements(&text, "ETag")[0].replace("&quot;", "\"")
}

fn code(outcome: Outcome) -> u16 {
    outcome.map_or_else(|(status, _)| status, |got| got.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_goes_by_the_md5_of_its_plaintext() {
    let lied = Lied::with(plan()).await;
    let app = lied.app();
    for (len, verify_requests) in [(0, 1), (13, 1), (1 << 20, 1), (3 << 20, 2)] {
        let (key, body) = (format!("k{len}"), noise(len, 3));
        let etag = named(&body);
        assert_eq!(app.put("data", &key, body.clone()).await.unwrap().etag(), etag, "{len}");
        let asked = || lied.liar.requests.lock().unwrap().len();
        let before = asked();
        assert_eq!(app.head("data", &key).await.unwrap().etag(), etag, "{len}");
        // the header of a short one says it; of others the trailer, which is kept
        assert_eq!(asked() - before, verify_requests, "{len}");
        let got = app.get("data", &key).await.unwrap();
        assert_eq!((got.etag(), got.body.len()), (etag.clone(), len));
        if len > 0 {
            let part = app.get_with("data", &key, &[("range", "bytes=3-5")]).await.unwrap();
            assert_eq!((part.status, part.etag()), (206, etag.clone()), "{len}");
        }
        let asked_for = [("x-amz-object-attributes", "ETag")];
        let told = app.send(Method::GET, "data", &key, &[("attributes", "")], &asked_for, None).await.unwrap();
        assert_eq!(elements(&told.text(), "ETag"), [hex(&md5(&body))], "{len}");
        let opaque = listed(&app, "data", &key).await;
        assert!(opaque.ends_with("-0\"") && opaque != etag);
    }
    // nobody learns it without the key
    let seen = lied.liar.seen.lock().unwrap();
    let secret = hex(&md5(&noise(13, 3)));
    assert!(!seen.windows(32).any(|window| window == secret.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_take_both_etags() {
    let lied = Lied::with(plan()).await;
    let app = lied.app();
    for len in [20usize, 2 << 20] {
        let body = noise(len, 1);
        app.put("data", "k", body.clone()).await.unwrap();
        let (plain, opaque) = (named(&body), listed(&app, "data", "k").await);
        let list = format!("\"another\", {plain}");
        for etag in [&plain, &opaque, &list] {
            assert_eq!(app.get_with("data", "k", &[("if-match", etag)]).await.unwrap().body.len(), len, "{etag}");
            let cached = app.get_with("data", "k", &[("if-none-match", etag)]).await;
            assert_eq!(cached.unwrap_err().0, 304, "{etag}");
        }
        for wrong in [named(b"another"), "\"x\"".to_owned(), opaque.replace("-0", "-1")] {
            assert_eq!(code(app.get_with("data", "k", &[("if-match", &wrong)]).await), 412);
            assert_eq!(code(app.get_with("data", "k", &[("if-none-match", &wrong)]).await), 200);
        }
        // the ETag's condition stands before the time's
        let both = [("if-match", plain.as_str()), ("if-unmodified-since", "Wed, 01 Jan 2020 00:00:00 GMT")];
        assert_eq!(code(app.get_with("data", "k", &both).await), 200);
        for (validator, status) in [(&plain, 206), (&opaque, 206), (&named(b"another"), 200)] {
            let asked = [("range", "bytes=0-3"), ("if-range", validator.as_str())];
            assert_eq!(code(app.get_with("data", "k", &asked).await), status, "{validator}");
        }
        // copies
        let source = ("x-amz-copy-source", "/data/k");
        for (name, etag, status) in [
            ("x-amz-copy-source-if-match", &plain, 200),
            ("x-amz-copy-source-if-match", &named(b"another"), 412),
            ("x-amz-copy-source-if-none-match", &plain, 412),
            ("x-amz-copy-source-if-none-match", &named(b"another"), 200),
        ] {
            let sent = app.put_with("data", "copy", &[source, (name, etag)], "").await;
            assert_eq!(code(sent), status, "{name}: {etag}");
        }
        // writes
        let next = noise(len, 2);
        let wrong = named(b"another");
        assert_eq!(code(app.put_with("data", "k", &[("if-match", &wrong)], next.clone()).await), 412);
        assert_eq!(
            app.put_with("data", "k", &[("if-match", &plain)], next.clone()).await.unwrap().etag(),
            named(&next)
        );
        // the store itself judges whether the object is the one that has it
        let pinned = lied.liar.requests.lock().unwrap().last().unwrap().headers["if-match"].clone();
        assert_eq!(format!("{}-0", pinned.to_str().unwrap().trim_matches('"')), opaque.trim_matches('"'));
        assert_eq!(code(app.put_with("data", "k", &[("if-match", &plain)], body.clone()).await), 412);
        let deleted = app.send(Method::DELETE, "data", "k", &[], &[("if-match", &plain)], None).await;
        assert_eq!(code(deleted), 412);
        assert_eq!(app.get("data", "k").await.unwrap().body, next);
        let deleted = app.send(Method::DELETE, "data", "k", &[], &[("if-match", &named(&next))], None).await;
        assert_eq!(code(deleted), 204);
        assert_eq!(code(app.put_with("data", "k", &[("if-match", &plain)], body.clone()).await), 404);
        // the store learns the MD5 of nothing that was, is or might be
        let seen = lied.liar.seen.lock().unwrap();
        for content in [&body[..], &next[..], b"another"] {
            let secret = hex(&md5(content));
            assert!(!seen.windows(32).any(|window| window == secret.as_bytes()), "{len}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_judges_whether_the_object_is_the_one_that_was_found() {
    let lied = Lied::with(plan()).await;
    let app = lied.app();
    app.put("data", "k", "one").await.unwrap();
    let opaque = listed(&app, "data", "k").await;
    // a condition of the plaintext, and one that holds because another one is there
    for (name, etag) in [("if-match", named(b"one")), ("if-none-match", named(b"two"))] {
        app.put_with("data", "k", &[(name, &etag)], "one").await.unwrap();
        let asked = lied.liar.requests.lock().unwrap().last().unwrap().clone();
        assert!(asked.is("PUT", "/up-data/k") && !asked.headers.contains_key("if-none-match"), "{name}");
        let there = asked.headers["if-match"].to_str().unwrap().trim_matches('"').to_owned();
        if name == "if-match" {
            assert_eq!(format!("\"{there}-0\""), opaque);
        }
        let before = lied.liar.requests.lock().unwrap().len();
        let refused = named(if name == "if-match" { b"two" } else { b"one" });
        assert_eq!(code(app.put_with("data", "k", &[(name, &refused)], "three").await), 412, "{name}");
        assert!(lied.liar.requests.lock().unwrap()[before..].iter().all(|asked| asked.method != Method::PUT), "{name}");
        assert_eq!(app.get("data", "k").await.unwrap().text(), "one");
    }
    // where nothing is
    assert_eq!(code(app.put_with("data", "new", &[("if-match", &named(b"one"))], "x").await), 404);
    assert_eq!(code(app.put_with("data", "new", &[("if-none-match", &named(b"one"))], "x").await), 200);
    let asked = lied.liar.requests.lock().unwrap().last().unwrap().clone();
    assert_eq!(asked.headers["if-none-match"], "*");
    // who may not read cannot try what the content is
    let writer = Client::new(lied.gateway_address(), "AKWRITER", "secret of AKWRITER");
    assert_eq!(code(writer.put_with("data", "k", &[("if-match", &named(b"one"))], "x").await), 403);
    assert_eq!(code(writer.put_with("data", "k", &[("if-match", &listed(&app, "data", "k").await)], "x").await), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_have_the_md5_that_is_known_or_made() {
    let rig = Rig::with(plan()).await;
    let other = gateway(&Plan::default(), rig.provider.address, &rig.keyring, &rig.metrics);
    let other = Server::start(Arc::new(other), ServerSettings::default()).await;
    let opaque = Client::new(other.address, "AKALPHA", "secret of AKALPHA");
    let app = rig.app();
    let copied = async |from: &str, to: (&str, &str)| {
        let answer = app.put_with(to.0, to.1, &[("x-amz-copy-source", from)], "").await.unwrap();
        elements(&answer.text(), "ETag")[0].replace("&quot;", "\"")
    };
    for len in [100usize, 2 << 20] {
        let body = noise(len, 5);
        app.put("data", "known", body.clone()).await.unwrap();
        opaque.put("data", "unknown", body.clone()).await.unwrap();
        // on the store, and under another KEK through the gateway
        for (from, to, is_known) in [
            ("/data/known", ("other", "k"), true),
            ("/data/known", ("second", "k"), true),
            ("/data/unknown", ("other", "k"), false),
            ("/data/unknown", ("second", "k"), true),
        ] {
            let etag = copied(from, to).await;
            assert_eq!(etag == named(&body), is_known, "{from} {to:?} {etag}");
            let got = app.get(to.0, to.1).await.unwrap();
            assert_eq!((got.etag(), got.body.len()), (etag.clone(), len), "{from} {to:?}");
            assert_eq!(app.head(to.0, to.1).await.unwrap().etag(), etag, "{from} {to:?}");
        }
        // a bucket that shows none still shows none
        assert!(opaque.head("data", "known").await.unwrap().etag().ends_with("-0\""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multipart_object_has_the_md5_of_its_parts_md5s_where_all_were_verified() {
    let rig = Rig::with(plan()).await;
    let app = rig.app();
    let bodies = [noise(5 << 20, 1), noise(77, 2)];
    let id = create(&app, "data", "k", &[("x-amz-checksum-algorithm", "MD5")]).await;
    let mut parts = String::new();
    for (number, body) in (1..).zip(&bodies) {
        let text = STANDARD.encode(md5(body));
        let query = [("partNumber", format!("{number}")), ("uploadId", id.clone())];
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let declared = [("x-amz-checksum-md5", text.as_str())];
        let sent = app.send(Method::PUT, "data", "k", &query, &declared, Some(body.clone().into())).await.unwrap();
        parts.push_str(&format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag><ChecksumMD5>{text}</ChecksumMD5></Part>",
            sent.etag().replace('"', "&quot;")
        ));
    }
    let list = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let done = app.post("data", "k", &[("uploadId", &id)], list).await.unwrap();
    let expected = format!("\"{}-2\"", hex(&md5(&bodies.iter().flat_map(|body| md5(body)).collect::<Vec<_>>())));
    assert_eq!(elements(&done.text(), "ETag")[0].replace("&quot;", "\""), expected);
    assert_eq!(app.head("data", "k").await.unwrap().etag(), expected);
    let part_of_it = app.get_with("data", "k", &[("range", "bytes=0-9"), ("if-match", &expected)]).await.unwrap();
    assert_eq!((part_of_it.status, part_of_it.etag()), (206, expected));

    // a part whose MD5 nobody declared
    let id = create(&app, "data", "plain", &[]).await;
    let sent = part(&app, ("data", "plain", &id), 1, Bytes::from_static(b"only")).await.unwrap();
    let done = complete(&app, ("data", "plain", &id), &[(1, sent.etag())]).await.unwrap();
    let etag = elements(&done.text(), "ETag")[0].replace("&quot;", "\"");
    assert_eq!(app.head("data", "plain").await.unwrap().etag(), etag);
    assert_eq!(etag, listed(&app, "data", "plain").await);
    assert_eq!(code(app.get_with("data", "plain", &[("if-match", &etag)]).await), 200);
    assert_eq!(code(app.put_with("data", "plain", &[("if-match", &etag)], "x").await), 200);
}
