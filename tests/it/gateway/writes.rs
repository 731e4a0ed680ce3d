//! Writes that go wrong in the middle: what the client is told is what happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use sealgate::embedded::{BucketLock, Versioning};
use sealgate::gateway::settings::Access;
use sealgate::store::Identity;
use sealgate::store::settings::Profile;

use super::liar::{Asked, Told};
use super::lies::Lied;
use super::multipart::{complete, create, list, part};
use super::rig::{Client, Outcome, Plan, Rig, elements, noise};

const MIB: usize = 1 << 20;

fn refuse(told: &mut Told, status: u16, code: &str) {
    told.status = StatusCode::from_u16(status).unwrap();
    told.body = format!("<Error><Code>{code}</Code></Error>").into_bytes();
}

fn is_tail_read(asked: &Asked) -> bool {
    asked.method == Method::GET
        && asked.headers.get("range").is_some_and(|range| range.as_bytes().starts_with(b"bytes=-"))
}

/// Waits until it is so, which it is soon.
async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An upload of a part in its place and a staged one.
async fn upload(app: &Client, key: &str) -> (String, Vec<(u32, String)>, Vec<u8>) {
    let id = create(app, "data", key, &[]).await;
    let bodies = [noise(5 * MIB, 1), noise(100, 2)];
    let mut parts = Vec::new();
    for (number, body) in (1..).zip(&bodies) {
        parts.push((number, part(app, ("data", key, &id), number, body.clone()).await.unwrap().etag()));
    }
    (id, parts, bodies.concat())
}

async fn copy(app: &Client, bucket: &str, from: &str, headers: &[(&str, &str)]) -> Outcome {
    let headers = [&[("x-amz-copy-source", from)], headers].concat();
    app.send(Method::PUT, bucket, "copy", &[], &headers, Some(Bytes::new())).await
}

/// Replaces `src` by `body` at the first request that `when` names, behind the gateway's back.
fn replaced(lied: &Lied, body: Vec<u8>, when: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Arc<AtomicUsize> {
    let (count, app) = (Arc::new(AtomicUsize::new(0)), lied.rig.app());
    let (handle, seen) = (tokio::runtime::Handle::current(), Arc::clone(&count));
    lied.liar.lies(move |asked, _| {
        if when(asked) && seen.fetch_add(1, Ordering::SeqCst) == 0 {
            let (client, body) = (Client(Arc::clone(&app.0)), body.clone());
            tokio::task::block_in_place(|| handle.block_on(async { client.put("data", "src", body).await.unwrap() }));
        }
    });
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_complete_is_told_of_no_upload_only_if_there_is_no_such_object() {
    let lied = Lied::new().await;
    let app = lied.app();
    let (id, parts, all) = upload(&app, "k").await;
    complete(&app, ("data", "k", &id), &parts).await.unwrap();
    let again = || complete(&app, ("data", "k", &id), &parts);
    lied.liar.lies(|asked, told| {
        if asked.is("HEAD", "/up-data/k") {
            refuse(told, 503, "SlowDown");
        }
    });
    assert_eq!(again().await.unwrap_err().0, 503);
    lied.liar.lies(|asked, told| {
        if is_tail_read(asked) {
            refuse(told, 500, "InternalError");
        }
    });
    assert!(again().await.unwrap_err().0 >= 500);
    lied.liar.lies(|asked, told| {
        if asked.is("HEAD", "/up-data/k") {
            let mut text = told.headers["x-amz-meta-sealgate"].as_bytes().to_vec();
            text[200] = if text[200] == b'A' { b'B' } else { b'A' };
            told.headers.insert("x-amz-meta-sealgate", http::HeaderValue::from_bytes(&text).unwrap());
        }
    });
    assert_eq!(again().await.unwrap_err(), (502, "IntegrityError".to_owned()));
    assert!(lied.rig.metrics.encode().contains("kind=\"integrity\""));
    lied.liar.tells_the_truth();
    // what a repeated Complete declares is compared too
    let query = [("uploadId", id.as_str())];
    let size = |text| [("x-amz-mp-object-size", text)];
    let (right, body) = (all.len().to_string(), Bytes::from(list(&parts)));
    let sent = app.send(Method::POST, "data", "k", &query, &size("7"), Some(body.clone())).await;
    assert_eq!(sent.unwrap_err(), (400, "InvalidRequest".to_owned()));
    app.send(Method::POST, "data", "k", &query, &size(&right), Some(body)).await.unwrap();
    app.put("data", "k", "another object").await.unwrap();
    assert_eq!(again().await.unwrap_err(), (404, "NoSuchUpload".to_owned()));
    app.delete("data", "k").await.unwrap();
    assert_eq!(again().await.unwrap_err(), (404, "NoSuchUpload".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_several_steps_end_though_their_client_goes() {
    let lied = Lied::new().await;
    let app = lied.app();
    // the client goes while the store makes the upload
    lied.liar.lies(|asked, told| {
        if asked.method == Method::POST {
            told.delay = Duration::from_millis(300);
        }
    });
    let gone = tokio::time::timeout(Duration::from_millis(100), create(&app, "data", "k", &[])).await;
    assert!(gone.is_err());
    let records = || async { lied.rig.stored("up-data").await.len() };
    until("a state record appears", || async { records().await == 1 }).await;
    let listed = app.list("data", &[("uploads", "")]).await.unwrap().text();
    let id = elements(&listed, "UploadId").remove(0);
    let mut parts = Vec::new();
    for number in 1..=2 {
        let body = noise(if number == 1 { 5 * MIB } else { 10 }, u64::from(number));
        parts.push((number, part(&app, ("data", "k", &id), number, body).await.unwrap().etag()));
    }
    // and while it completes it
    let gone = tokio::time::timeout(Duration::from_millis(100), complete(&app, ("data", "k", &id), &parts)).await;
    assert!(gone.is_err());
    until("only the object is left", || async {
        let stored = lied.rig.stored("up-data").await;
        stored.len() == 1 && stored.contains_key("k")
    })
    .await;
    lied.liar.tells_the_truth();
    // and while it is aborted
    let (id, ..) = upload(&app, "other").await;
    lied.liar.lies(|asked, told| {
        if asked.method == Method::DELETE {
            told.delay = Duration::from_millis(200);
        }
    });
    let query = [("uploadId", id.as_str())];
    let abort = app.send(Method::DELETE, "data", "other", &query, &[], None);
    assert!(tokio::time::timeout(Duration::from_millis(100), abort).await.is_err());
    until("nothing of the aborted upload is left", || async { records().await == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_that_was_cut_off_before_its_last_step_is_finished_by_the_next_one() {
    let lied = Lied::new().await;
    let app = lied.app();
    let (id, parts, all) = upload(&app, "k").await;
    // the store has done it, and nobody hears of it
    lied.liar.lies(|asked, told| {
        if asked.method == Method::POST {
            refuse(told, 503, "ServiceUnavailable");
        }
    });
    assert_eq!(complete(&app, ("data", "k", &id), &parts).await.unwrap_err().0, 503);
    lied.liar.tells_the_truth();
    assert_eq!(lied.rig.stored("up-data").await.len(), 3);
    complete(&app, ("data", "k", &id), &parts).await.unwrap();
    assert_eq!(lied.rig.stored("up-data").await.len(), 1);
    assert!(app.get("data", "k").await.unwrap().body == all);
    // the same when its staged part had gone already
    let (id, parts, _) = upload(&app, "k").await;
    lied.liar.lies(|asked, told| {
        if asked.method == Method::DELETE && asked.path.contains("/.sealgate/s/") {
            refuse(told, 503, "ServiceUnavailable");
        }
    });
    // the object is there, whatever stays beside it
    complete(&app, ("data", "k", &id), &parts).await.unwrap();
    // as long as the store does not say whether the upload is there, nobody is told that a part is wrong
    lied.liar.lies(|asked, told| {
        if asked.query.ends_with("max-parts=1") {
            refuse(told, 503, "SlowDown");
        }
    });
    assert_eq!(complete(&app, ("data", "k", &id), &parts).await.unwrap_err().0, 503);
    lied.liar.tells_the_truth();
    assert_eq!(lied.rig.stored("up-data").await.len(), 2);
    complete(&app, ("data", "k", &id), &parts).await.unwrap();
    assert_eq!(lied.rig.stored("up-data").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_fails_takes_no_other_attempts_part_with_it() {
    for (status, code) in [(503, "SlowDown"), (404, "NoSuchUpload")] {
        let lied = Lied::new().await;
        let app = lied.app();
        let id = create(&app, "data", "k", &[]).await;
        let first = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&first);
        // what asks whether the upload is there gets its answer late, and it is a refusal
        lied.liar.lies(move |asked, told| {
            if asked.query.ends_with("max-parts=1") && !seen.swap(true, Ordering::SeqCst) {
                refuse(told, status, code);
                told.delay = Duration::from_millis(400);
            }
        });
        let at = ("data", "k", id.as_str());
        let slow = async { part(&app, at, 1, "the first attempt").await };
        let fast = async {
            until("the first attempt asks", || async { first.load(Ordering::SeqCst) }).await;
            part(&lied.rig.app(), at, 1, "the second attempt").await.unwrap().etag()
        };
        let (slow, etag) = tokio::join!(slow, fast);
        assert_eq!(slow.unwrap_err().0, status);
        complete(&app, at, &[(1, etag)]).await.unwrap();
        assert_eq!(app.get("data", "k").await.unwrap().body, "the second attempt");
    }
    // a large attempt that began before a small one does not remove it when it ends
    let lied = Lied::new().await;
    let app = lied.app();
    let id = create(&app, "data", "k", &[]).await;
    let sent = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&sent);
    lied.liar.lies(move |asked, told| {
        if asked.query.contains("partNumber=1") {
            seen.store(true, Ordering::SeqCst);
            told.delay = Duration::from_millis(400);
        }
    });
    let at = ("data", "k", id.as_str());
    let large = async { part(&app, at, 1, noise(5 * MIB, 1)).await };
    let small = async {
        until("the large attempt is sent", || async { sent.load(Ordering::SeqCst) }).await;
        part(&lied.rig.app(), at, 1, "a small one").await.unwrap().etag()
    };
    let (large, etag) = tokio::join!(large, small);
    large.unwrap();
    complete(&app, at, &[(1, etag)]).await.unwrap();
    assert_eq!(app.get("data", "k").await.unwrap().body, "a small one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_the_commit_is_not_told_as_a_failure_of_the_commit() {
    for (status, code) in [(412, "PreconditionFailed"), (404, "NoSuchKey"), (403, "InvalidObjectState")] {
        let lied = Lied::new().await;
        let app = lied.app();
        app.put("data", "src", noise(300_000, 1)).await.unwrap();
        let (id, parts, all) = upload(&app, "k").await;
        lied.liar.lies(move |asked, told| {
            if is_tail_read(asked) && !asked.path.ends_with("/src") {
                refuse(told, status, code);
            }
        });
        copy(&app, "data", "data/src", &[]).await.unwrap();
        complete(&app, ("data", "k", &id), &parts).await.unwrap();
        assert_eq!(lied.rig.stored("up-data").await.len(), 3, "{code}");
        if status == 403 {
            // archived: its length is known, its content not
            let head = app.head("data", "k").await.unwrap();
            assert_eq!(head.header("content-length"), all.len().to_string());
            lied.liar.lies(move |asked, told| {
                if asked.method == Method::GET {
                    refuse(told, 403, "InvalidObjectState");
                }
            });
            assert_eq!(app.get("data", "copy").await.unwrap_err(), (403, "InvalidObjectState".to_owned()));
        }
        lied.liar.tells_the_truth();
        assert!(app.get("data", "k").await.unwrap().body == all);
        assert!(app.get("data", "copy").await.unwrap().body == noise(300_000, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_source_changes_is_begun_again() {
    let (old, new) = (noise(300_000, 1), noise(3 * MIB, 2));
    // on the store, through the gateway (another KEK), into a part
    for bucket in ["data", "second"] {
        let lied = Lied::new().await;
        let app = lied.app();
        app.put("data", "src", old.clone()).await.unwrap();
        let heads = replaced(&lied, new.clone(), |asked| asked.is("HEAD", "/up-data/src"));
        copy(&app, bucket, "data/src", &[]).await.unwrap();
        assert!(heads.load(Ordering::SeqCst) >= 2);
        assert!(app.get(bucket, "copy").await.unwrap().body == new);
        // a condition on the source is judged by what is copied
        app.put("data", "src", old.clone()).await.unwrap();
        let etag = app.head("data", "src").await.unwrap().etag();
        replaced(&lied, new.clone(), |asked| asked.is("HEAD", "/up-data/src"));
        let refused = copy(&app, bucket, "data/src", &[("x-amz-copy-source-if-match", &etag)]).await;
        assert_eq!(refused.unwrap_err(), (412, "PreconditionFailed".to_owned()));
        // a condition on the copy is the client's
        lied.liar.tells_the_truth();
        let refused = copy(&app, bucket, "data/src", &[("if-none-match", "*")]).await;
        assert_eq!(refused.unwrap_err(), (412, "PreconditionFailed".to_owned()));
    }
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "src", old).await.unwrap();
    let id = create(&app, "data", "k", &[]).await;
    replaced(&lied, new.clone(), |asked| asked.is("HEAD", "/up-data/src"));
    let (query, from) = ([("partNumber", "1"), ("uploadId", id.as_str())], [("x-amz-copy-source", "data/src")]);
    let made = app.send(Method::PUT, "data", "k", &query, &from, Some(Bytes::new())).await.unwrap().text();
    let etag = elements(&made, "ETag").remove(0).replace("&quot;", "\"");
    complete(&app, ("data", "k", &id), &[(1, etag)]).await.unwrap();
    assert!(app.get("data", "k").await.unwrap().body == new);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_through_the_gateway_takes_the_tags_along() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "src", "content").await.unwrap();
    let xml = "<Tagging><TagSet><Tag><Key>a b</Key><Value>\u{fc}+=</Value></Tag><Tag><Key>c</Key><Value></Value></Tag>\
        </TagSet></Tagging>";
    lied.liar.lies(move |asked, told| {
        if asked.query.starts_with("tagging") {
            told.status = StatusCode::OK;
            told.body = xml.as_bytes().to_vec();
        }
    });
    let sent = |name: &str| {
        let requests = lied.liar.requests.lock().unwrap();
        let last = requests.iter().rev().find(|asked| asked.is("PUT", "/up-second/copy")).unwrap();
        last.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    copy(&app, "second", "data/src", &[]).await.unwrap();
    assert_eq!(sent("x-amz-tagging").as_deref(), Some("a%20b=%C3%BC%2B%3D&c="));
    assert_eq!(sent("x-amz-tagging-directive"), None);
    let own = [("x-amz-tagging", "d=e"), ("x-amz-tagging-directive", "REPLACE")];
    copy(&app, "second", "data/src", &own).await.unwrap();
    assert_eq!(sent("x-amz-tagging").as_deref(), Some("d=e"));
    assert_eq!(copy(&app, "second", "data/src", &own[..1]).await.unwrap_err().0, 400);
    // who may not read the tags makes no copy without them
    lied.liar.lies(|asked, told| {
        if asked.query.starts_with("tagging") {
            refuse(told, 403, "AccessDenied");
        }
    });
    assert_eq!(copy(&app, "second", "data/src", &[]).await.unwrap_err(), (403, "AccessDenied".to_owned()));
    // a store without tags
    lied.liar.lies(|asked, told| {
        if asked.query.starts_with("tagging") {
            refuse(told, 501, "NotImplemented");
        }
    });
    copy(&app, "second", "data/src", &[]).await.unwrap();
    assert_eq!(sent("x-amz-tagging"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pays_is_said_in_every_request_of_an_operation() {
    let lied = Lied::new().await;
    let app = lied.app();
    let payer = [("x-amz-request-payer", "requester")];
    app.put_with("data", "src", &payer, "content").await.unwrap();
    lied.liar.requests.lock().unwrap().clear();
    let id = create(&app, "data", "k", &payer).await;
    let query = |number| [("partNumber", number), ("uploadId", id.as_str())];
    let mut parts = Vec::new();
    for (number, body) in [("1", noise(5 * MIB, 1)), ("2", noise(10, 2))] {
        let sent = app.send(Method::PUT, "data", "k", &query(number), &payer, Some(body.into())).await.unwrap();
        parts.push((number.parse().unwrap(), sent.etag()));
    }
    let query = [("uploadId", id.as_str())];
    for _ in 0..2 {
        app.send(Method::POST, "data", "k", &query, &payer, Some(list(&parts).into())).await.unwrap();
    }
    copy(&app, "data", "data/src", &payer).await.unwrap();
    copy(&app, "second", "data/src", &payer).await.unwrap();
    let id = create(&app, "data", "k", &payer).await;
    app.send(Method::DELETE, "data", "k", &[("uploadId", &id)], &payer, None).await.unwrap();
    for asked in lied.liar.requests.lock().unwrap().iter() {
        assert!(asked.headers.contains_key("x-amz-request-payer"), "{} {}?{}", asked.method, asked.path, asked.query);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_that_nobody_verified_complete_nothing() {
    let rig = Rig::new().await;
    let app = rig.app();
    let id = create(&app, "data", "k", &[]).await;
    let at = ("data", "k", id.as_str());
    let etag = part(&app, at, 1, "content").await.unwrap().etag().replace('"', "&quot;");
    let document = |checksum: &str| {
        format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag>{checksum}</Part>\
             </CompleteMultipartUpload>"
        )
    };
    let send = |document: String, headers: &'static [(&str, &str)]| {
        let (app, id) = (&app, &id);
        async move { app.send(Method::POST, "data", "k", &[("uploadId", id)], headers, Some(document.into())).await }
    };
    let wrong = send(document("<ChecksumCRC32>AAAAAA==</ChecksumCRC32>"), &[]).await.unwrap_err();
    assert_eq!(wrong, (400, "InvalidPart".to_owned()));
    for over in ["COMPOSITE", "full_object", "X"] {
        let headers: &'static [(&str, &str)] = match over {
            "COMPOSITE" => &[("x-amz-checksum-type", "COMPOSITE")],
            "X" => &[("x-amz-checksum-type", "X")],
            _ => &[("x-amz-checksum-type", "full_object")],
        };
        assert_eq!(send(document(""), headers).await.unwrap_err(), (400, "InvalidRequest".to_owned()), "{over}");
    }
    assert!(app.head("data", "k").await.is_err());
    send(document(""), &[("x-amz-checksum-type", "FULL_OBJECT")]).await.unwrap();
    // the store's own ETag attests nothing
    let id = create(&app, "data", "k", &[]).await;
    part(&app, ("data", "k", &id), 1, "content").await.unwrap();
    let shown = app.send(Method::GET, "data", "k", &[("uploadId", &id)], &[], None).await.unwrap().text();
    let xml = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag>\
         <ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part></CompleteMultipartUpload>",
        elements(&shown, "ETag")[0]
    );
    let wrong = app.post("data", "k", &[("uploadId", &id)], xml).await.unwrap_err();
    assert_eq!(wrong, (400, "InvalidPart".to_owned()));
}

/// The store's list of parts, cut to pages of two.
fn pages_of_two(asked: &Asked, told: &mut Told) {
    if asked.method != Method::GET || !asked.query.contains("uploadId=") {
        return;
    }
    let text = String::from_utf8(told.body.clone()).unwrap();
    let numbers = elements(&text, "PartNumber");
    if numbers.len() > 2 {
        let at = text.match_indices("</Part>").nth(1).unwrap().0 + "</Part>".len();
        let next = &numbers[1];
        let end = format!("<NextPartNumberMarker>{next}</NextPartNumberMarker></ListPartsResult>");
        told.body = format!("{}{end}", &text[..at])
            .replace("<IsTruncated>false</IsTruncated>", "<IsTruncated>true</IsTruncated>")
            .into_bytes();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_part_is_left_out_between_pages() {
    let lied = Lied::new().await;
    let app = lied.app();
    let id = create(&app, "data", "k", &[]).await;
    let at = ("data", "k", id.as_str());
    for number in 1..=5 {
        part(&app, at, number, noise(5 * MIB, u64::from(number))).await.unwrap();
    }
    // staged: one in place of a large attempt, two behind all
    for number in [1, 7, 8] {
        part(&app, at, number, "small").await.unwrap();
    }
    lied.liar.lies(pages_of_two);
    for max in ["1", "2", "3", "1000"] {
        let (mut found, mut marker) = (Vec::new(), "0".to_owned());
        loop {
            let query = [("uploadId", id.as_str()), ("max-parts", max), ("part-number-marker", &marker)];
            let page = app.send(Method::GET, "data", "k", &query, &[], None).await.unwrap().text();
            found.extend(elements(&page, "PartNumber"));
            if elements(&page, "IsTruncated") == ["false"] {
                break;
            }
            marker = elements(&page, "NextPartNumberMarker").remove(0);
        }
        assert_eq!(found, ["1", "2", "3", "4", "5", "7", "8"], "max-parts={max}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_parts_that_do_not_go_on_as_lists_do_are_given_up() {
    let lied = Lied::new().await;
    let app = lied.app();
    let (id, parts, _) = upload(&app, "k").await;
    let entry = |number: u32| {
        format!(
            "<Part><PartNumber>{number}</PartNumber><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>&quot;e&quot;</ETag><Size>5000000</Size></Part>"
        )
    };
    let page = |entries: String, truncated: bool, next: u64| {
        format!(
            "<ListPartsResult><Bucket>up-data</Bucket><Key>k</Key><UploadId>u</UploadId><PartNumberMarker>0\
             </PartNumberMarker><NextPartNumberMarker>{next}</NextPartNumberMarker><MaxParts>1000</MaxParts>\
             <IsTruncated>{truncated}</IsTruncated>{entries}</ListPartsResult>"
        )
    };
    let count = Arc::new(AtomicUsize::new(0));
    let pages: [Box<dyn Fn(usize) -> String + Send + Sync>; 5] = [
        // for ever, a number further each time; standing still; beyond all numbers; out of order; longer than any page
        Box::new(move |n| page(String::new(), true, 2 + n as u64)),
        Box::new(move |_| page(entry(2), true, 2)),
        Box::new(move |_| page(String::new(), true, 4_000_000_000)),
        Box::new(move |_| page([entry(3), entry(2)].concat(), false, 3)),
        Box::new(move |_| page((1..=1001).map(entry).collect(), false, 0)),
    ];
    for (i, page) in pages.into_iter().enumerate() {
        count.store(0, Ordering::SeqCst);
        let seen = Arc::clone(&count);
        lied.liar.lies(move |asked, told| {
            if asked.method == Method::GET && asked.query.contains("uploadId=") {
                told.body = page(seen.fetch_add(1, Ordering::SeqCst) + 1).into_bytes();
            }
        });
        let query = [("uploadId", id.as_str())];
        assert_eq!(app.send(Method::GET, "data", "k", &query, &[], None).await.unwrap_err().0, 503, "{i}");
        // the store's own ETag needs the list
        let unpinned = [(1, "\"e\"".to_owned()), parts[1].clone()];
        assert_eq!(complete(&app, ("data", "k", &id), &unpinned).await.unwrap_err().0, 503, "{i}");
        assert!(count.load(Ordering::SeqCst) <= 202, "{i}");
    }
    // staged parts: one twice
    lied.liar.lies(|asked, told| {
        if asked.query.contains("prefix=.sealgate") {
            let text = String::from_utf8(told.body.clone()).unwrap();
            let from = text.find("<Contents>").unwrap();
            let to = text.find("</Contents>").unwrap() + "</Contents>".len();
            told.body = format!("{}{}{}", &text[..to], &text[from..to], &text[to..]).into_bytes();
        }
    });
    assert_eq!(complete(&app, ("data", "k", &id), &parts).await.unwrap_err().0, 503);
    lied.liar.tells_the_truth();
    complete(&app, ("data", "k", &id), &parts).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_that_a_store_would_change_is_deleted() {
    let rig = Rig::with(Plan { profile: Profile::Minio, ..Plan::default() }).await;
    let app = rig.app();
    app.put("data", "a", "kept").await.unwrap();
    app.put("data", "b", "gone").await.unwrap();
    // to MinIO `/a` is `a`
    rig.provider_client().put("up-data", "/a", "in its way").await.unwrap();
    assert_eq!(app.delete("data", "/a").await.unwrap_err(), (400, "InvalidArgument".to_owned()));
    let keys = ["/a", "//a", "b", ".sealgate/u/x", "/.sealgate/u/x"];
    let objects = keys.map(|key| format!("<Object><Key>{key}</Key></Object>")).concat();
    let done = app.post("data", "", &[("delete", "")], format!("<Delete>{objects}</Delete>")).await.unwrap().text();
    assert_eq!(elements(&done, "Deleted").len(), 1);
    assert_eq!(elements(&done, "Code"), ["InvalidArgument", "InvalidArgument", "AccessDenied", "AccessDenied"]);
    let stored = rig.stored("up-data").await;
    assert!(stored.contains_key("/a") && stored.contains_key("a") && !stored.contains_key("b"));
    assert_eq!(app.send(Method::GET, "data", "a", &[], &[], None).await.unwrap().body, "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_locks_an_object_comes_with_a_checksum_of_the_ciphertext() {
    for checksums in [false, true] {
        let lied = Lied::with(Plan { checksums, open: Access::ReadWrite, ..Plan::default() }).await;
        let app = lied.app();
        let (stored, store) = ("up-data".parse().unwrap(), &lied.rig.store);
        store.set_versioning(&stored, Versioning::Enabled).unwrap();
        store.set_bucket_lock(&stored, BucketLock::default()).unwrap();
        let body = noise(3 << 20, 4);
        let lock = [
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-object-lock-retain-until-date", "2030-01-01T00:00:00.000Z"),
        ];
        for (key, headers, is_wanted) in [("locked", &lock[..], true), ("free", &[], checksums)] {
            app.put_with("data", key, headers, body.clone()).await.unwrap();
            let asked = lied.liar.requests.lock().unwrap().last().unwrap().clone();
            let has = asked.headers.get("x-amz-trailer").is_some_and(|name| name == "x-amz-checksum-crc64nvme");
            assert_eq!(has, is_wanted, "{key}");
            assert!(app.get("data", key).await.unwrap().body == body, "{key}");
        }
        // on its way to the store the body changes: the store finds out, and there is no object
        lied.liar.edits(|asked, bytes| {
            if asked.is("PUT", "/up-data/changed") {
                bytes[1000] ^= 1;
            }
        });
        let refused = app.put_with("data", "changed", &lock, body).await.unwrap_err();
        assert!(refused.0 >= 400, "{refused:?}");
        lied.liar.tells_the_truth();
        assert_eq!(app.head("data", "changed").await.unwrap_err().0, 404);
        // parts and copies are as they were
        let id = create(&app, "data", "parts", &[]).await;
        let sent = part(&app, ("data", "parts", &id), 1, noise(5 << 20, 1)).await.unwrap();
        complete(&app, ("data", "parts", &id), &[(1, sent.etag())]).await.unwrap();
        app.put_with("data", "copy", &[("x-amz-copy-source", "/data/parts")], "").await.unwrap();
        assert_eq!(app.get("data", "copy").await.unwrap().body.len(), 5 << 20);
        let asked = lied.liar.requests.lock().unwrap().clone();
        let has = |asked: &Asked, name| asked.headers.contains_key(name);
        assert!(asked.iter().all(|asked| asked.query.is_empty() || !has(asked, "x-amz-trailer")));
        // the gateway's own records too, where all have one
        let record = asked.iter().find(|asked| asked.method == Method::PUT && asked.path.contains("/.sealgate/u/"));
        assert_eq!(has(record.unwrap(), "x-amz-checksum-crc64nvme"), checksums);
        // how a body is framed is said without a signature as well
        let unsigned = app.sent(Identity::Nobody, Method::PUT, ("other", "k"), &[], &lock, Some("x".into())).await;
        assert!(unsigned.is_err(), "the store lets nobody in");
        let last = lied.liar.requests.lock().unwrap().last().unwrap().clone();
        assert!(last.is("PUT", "/up-other/k") && !has(&last, "authorization") && has(&last, "x-amz-trailer"));
        assert_eq!(last.headers["x-amz-content-sha256"], "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    }
}
