//! What an application that was written for S3 relies on, end to end: conditions, forwarded headers, metadata in every
//! encoding, overrides, composite checksums, long lists, and limits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::Frame;
use http_body_util::BodyExt as _;
use sealgate::clock::{Clock as _, SystemClock, Timestamp};
use sealgate::demo::find_leak;
use sealgate::digest::{ChecksumAlgorithm, checksum};
use sealgate::format::geometry::{MAX_SINGLE_PUT_LEN, MAX_UPLOAD_PART_LEN};
use sealgate::gateway::settings::{Access, CredentialRule, EtagMode, NamePattern, Settings, Timeouts};
use sealgate::gateway::{Components, Gateway};
use sealgate::keys::KeyProvider;
use sealgate::net::body::BodyError;
use sealgate::net::server::ServerSettings;
use sealgate::s3::ErrorCode;
use sealgate::sigv4::uri::{Plus, Query, decode};
use sealgate::sigv4::{AccessKeyId, format_http_date};
use sealgate::store::settings::{Addressing, Profile, UpstreamSettings};
use sealgate::store::{Identity, Payload, StoreError, StoreRequest, Upstream};

use super::lies::Lied;
use super::multipart::{complete, create, list, part};
use super::rig::{Client, Got, Outcome, Plan, REGION, Rig, Server, elements, identity, noise, random, rules, secret};

const MIB: usize = 1 << 20;
/// Before every object of these tests was written.
const PAST: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
const MODES: [EtagMode; 2] = [EtagMode::Opaque, EtagMode::Md5];

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn status(outcome: Outcome) -> u16 {
    outcome.map_or_else(|(status, _)| status, |got| got.status)
}

/// Status and code; a request that is done has no code.
fn told(outcome: Outcome) -> (u16, String) {
    outcome.map_or_else(|refused| refused, |got| (got.status, String::new()))
}

async fn last_modified(app: &Client, key: &str) -> String {
    app.head("data", key).await.unwrap().header("last-modified").to_owned()
}

/// The ETag in the answer to a copy.
fn copied(answer: &Got) -> String {
    elements(&answer.text(), "ETag").remove(0).replace("&quot;", "\"")
}

async fn complete_if(
    app: &Client,
    (bucket, key, id): (&str, &str, &str),
    parts: &[(u32, String)],
    conditions: &[(&str, &str)],
) -> Outcome {
    app.send(Method::POST, bucket, key, &[("uploadId", id)], conditions, Some(list(parts).into())).await
}

// ---- conditions ----

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_judged_by_time_where_no_etag_decides() {
    for etag in MODES {
        let rig = Rig::with(Plan { etag, ..Plan::default() }).await;
        let app = rig.app();
        for len in [100, 2 * MIB] {
            let named = app.put("data", "k", noise(len, 1)).await.unwrap().etag();
            let modified = last_modified(&app, "k").await;
            let (named, modified) = (named.as_str(), modified.as_str());
            let tomorrow = Timestamp::from_unix_millis(SystemClock.now().unix_millis() + 86_400_000);
            let tomorrow = format_http_date(tomorrow);
            let cases: [(&[(&str, &str)], u16); 15] = [
                (&[("if-modified-since", PAST)], 200),
                (&[("if-modified-since", modified)], 304),
                (&[("if-modified-since", "rubbish")], 200),
                (&[("if-unmodified-since", PAST)], 412),
                (&[("if-unmodified-since", modified)], 200),
                (&[("if-unmodified-since", &tomorrow)], 200),
                (&[("if-unmodified-since", "rubbish")], 200),
                // the other two forms of a date
                (&[("if-unmodified-since", "Wednesday, 01-Jan-20 00:00:00 GMT")], 412),
                (&[("if-unmodified-since", "Wed Jan  1 00:00:00 2020")], 412),
                (&[("if-unmodified-since", modified), ("if-modified-since", modified)], 304),
                (&[("if-unmodified-since", PAST), ("if-modified-since", PAST)], 412),
                // the ETag's condition stands before the time's
                (&[("if-match", named), ("if-unmodified-since", PAST)], 200),
                (&[("if-match", "\"x-1\""), ("if-unmodified-since", modified)], 412),
                (&[("if-none-match", named), ("if-modified-since", PAST)], 304),
                (&[("if-none-match", "\"x-1\""), ("if-modified-since", modified)], 200),
            ];
            for (conditions, expected) in cases {
                for (method, range) in [
                    (Method::GET, None),
                    (Method::HEAD, None),
                    (Method::GET, Some(("range", "bytes=5-9"))),
                    (Method::GET, Some(("range", "bytes=-5"))),
                ] {
                    let headers: Vec<_> = conditions.iter().copied().chain(range).collect();
                    let expected = if range.is_some() && expected == 200 { 206 } else { expected };
                    let sent = app.send(method.clone(), "data", "k", &[], &headers, None).await;
                    assert_eq!(status(sent), expected, "{etag:?} {len} {method} {headers:?}");
                }
            }
        }
    }
}

/// A cache takes what comes with 304 for what it has.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nothing_changed_names_the_object_as_the_whole_answer_does() {
    for etag in MODES {
        let rig = Rig::with(Plan { etag, ..Plan::default() }).await;
        let app = rig.app();
        app.put("data", "k", "content").await.unwrap();
        let whole = app.get("data", "k").await.unwrap();
        let (named, modified) = (whole.etag(), whole.header("last-modified"));
        for condition in [("if-none-match", named.as_str()), ("if-modified-since", modified)] {
            let sent = app.sent(Identity::Own, Method::GET, ("data", "k"), &[], &[condition], None).await;
            let StoreError::Refused(told) = sent.err().unwrap() else { panic!("{condition:?}") };
            assert_eq!(told.status, 304, "{etag:?} {condition:?}");
            let validators: HeaderMap = told.validators.into_iter().collect();
            assert_eq!(validators["last-modified"], modified, "{etag:?} {condition:?}");
            assert_eq!(validators["etag"], named, "{etag:?} {condition:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_made_of_a_source_that_meets_their_conditions_and_of_no_other() {
    const MATCH: &str = "x-amz-copy-source-if-match";
    const NONE_MATCH: &str = "x-amz-copy-source-if-none-match";
    const SINCE: &str = "x-amz-copy-source-if-modified-since";
    const NOT_SINCE: &str = "x-amz-copy-source-if-unmodified-since";
    const DONE: (u16, &str) = (200, "");
    const FAILED: (u16, &str) = (412, "PreconditionFailed");
    const WRONG: (u16, &str) = (400, "InvalidArgument");
    let rig = Rig::new().await;
    let app = rig.app();
    let body = noise(5000, 1);
    let named = app.put("data", "src", body.clone()).await.unwrap().etag();
    let modified = last_modified(&app, "src").await;
    let (named, modified) = (named.as_str(), modified.as_str());
    let cases: [(&[(&str, &str)], (u16, &str)); 12] = [
        (&[(MATCH, named)], DONE),
        (&[(MATCH, "\"x-1\"")], FAILED),
        (&[(NONE_MATCH, named)], FAILED),
        (&[(NONE_MATCH, "\"x-1\"")], DONE),
        (&[(SINCE, PAST)], DONE),
        (&[(SINCE, modified)], FAILED),
        (&[(NOT_SINCE, PAST)], FAILED),
        (&[(NOT_SINCE, modified)], DONE),
        // the ETag's condition stands before the time's
        (&[(MATCH, named), (NOT_SINCE, PAST)], DONE),
        (&[(NONE_MATCH, named), (SINCE, PAST)], FAILED),
        // a guard that cannot be read, or stands twice, is not dropped
        (&[(MATCH, "\"x")], WRONG),
        (&[(MATCH, named), (MATCH, named)], WRONG),
    ];
    let id = create(&app, "data", "parts", &[]).await;
    let mut taken = Vec::new();
    for (number, (conditions, (status, code))) in (1u32..).zip(cases) {
        let headers = [&[("x-amz-copy-source", "data/src")], conditions].concat();
        // on the store, and through the gateway
        for bucket in ["data", "second"] {
            let key = format!("copy-{number}");
            let made = app.put_with(bucket, &key, &headers, "").await;
            assert_eq!(told(made), refused(status, code), "{bucket} {conditions:?}");
            match app.get(bucket, &key).await {
                Ok(got) => assert!(status == 200 && got.body == body, "{bucket} {conditions:?}"),
                Err(missing) => assert!(status > 200 && missing.0 == 404, "{bucket} {conditions:?}"),
            }
        }
        // as a part
        let text = number.to_string();
        let query = [("partNumber", text.as_str()), ("uploadId", id.as_str())];
        match app.send(Method::PUT, "data", "parts", &query, &headers, Some(Bytes::new())).await {
            Ok(got) => {
                assert_eq!((got.status, status), (200, 200), "{conditions:?}");
                taken.push((number, copied(&got)));
            }
            Err(told) => assert_eq!(told, refused(status, code), "{conditions:?}"),
        }
    }
    let numbers: Vec<_> = taken.iter().map(|(number, _)| number.to_string()).collect();
    assert_eq!(numbers, ["1", "4", "5", "8", "9"]);
    assert_eq!(elements(&app.list_of_parts("data", "parts", &id).await, "PartNumber"), numbers);
    complete(&app, ("data", "parts", &id), &taken[..1]).await.unwrap();
    assert!(app.get("data", "parts").await.unwrap().body == body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_whose_condition_fails_loses_nothing_and_can_be_repeated_without_it() {
    for etag in MODES {
        let rig = Rig::with(Plan { etag, ..Plan::default() }).await;
        let app = rig.app();
        // a part in its place with one that waits, one that waits alone, one in its place alone
        for lens in [&[5 * MIB, 100][..], &[100], &[5 * MIB]] {
            for is_guarded in [false, true] {
                let older = app.put("data", "k", "an older object").await.unwrap().etag();
                let bodies: Vec<_> = (1..).zip(lens).map(|(seed, len)| noise(*len, seed)).collect();
                let id = create(&app, "data", "k", &[]).await;
                let at = ("data", "k", id.as_str());
                let mut parts = Vec::new();
                for (number, body) in (1..).zip(&bodies) {
                    parts.push((number, part(&app, at, number, body.clone()).await.unwrap().etag()));
                }
                let numbers: Vec<_> = parts.iter().map(|(number, _)| number.to_string()).collect();
                for condition in [("if-none-match", "*"), ("if-match", "\"x-1\"")] {
                    let failed = complete_if(&app, at, &parts, &[condition]).await.unwrap_err();
                    assert_eq!(failed, refused(412, "PreconditionFailed"), "{etag:?} {lens:?} {condition:?}");
                    assert_eq!(app.get("data", "k").await.unwrap().body, "an older object");
                    let shown = app.list_of_parts("data", "k", &id).await;
                    assert_eq!(elements(&shown, "PartNumber"), numbers, "{etag:?} {lens:?} {condition:?}");
                }
                let holds = [("if-match", older.as_str())];
                let conditions = if is_guarded { &holds[..] } else { &[] };
                complete_if(&app, at, &parts, conditions).await.unwrap();
                assert!(app.get("data", "k").await.unwrap().body == bodies.concat(), "{etag:?} {lens:?}");
                assert_eq!(rig.stored("up-data").await.into_keys().collect::<Vec<_>>(), ["k"], "{etag:?} {lens:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_that_makes_the_first_object_is_answered_again_though_one_is_there_then() {
    let rig = Rig::new().await;
    let app = rig.app();
    let id = create(&app, "data", "new", &[]).await;
    let at = ("data", "new", id.as_str());
    let parts = [(1, part(&app, at, 1, "content").await.unwrap().etag())];
    let first = complete_if(&app, at, &parts, &[("if-none-match", "*")]).await.unwrap();
    // the client did not hear of it
    let again = complete_if(&app, at, &parts, &[("if-none-match", "*")]).await.unwrap();
    assert_eq!(copied(&first), copied(&again));
    assert_eq!(app.get("data", "new").await.unwrap().body, "content");
    // another upload is too late
    let id = create(&app, "data", "new", &[]).await;
    let at = ("data", "new", id.as_str());
    let parts = [(1, part(&app, at, 1, "another").await.unwrap().etag())];
    let late = complete_if(&app, at, &parts, &[("if-none-match", "*")]).await.unwrap_err();
    assert_eq!(late, refused(412, "PreconditionFailed"));
    assert_eq!(app.get("data", "new").await.unwrap().body, "content");
}

/// S3 answers 404 `NoSuchKey` to `If-Match` where nothing is. The upload is another matter: who is told that it is gone sends
/// all parts again.
#[tokio::test(flavor = "multi_thread")]
async fn a_complete_that_wants_an_object_where_none_is_hears_of_the_object_and_not_of_the_upload() {
    for etag in MODES {
        let rig = Rig::with(Plan { etag, ..Plan::default() }).await;
        let app = rig.app();
        let id = create(&app, "data", "k", &[]).await;
        let at = ("data", "k", id.as_str());
        let parts = [(1, part(&app, at, 1, "content").await.unwrap().etag())];
        let missing = complete_if(&app, at, &parts, &[("if-match", "\"x-1\"")]).await.unwrap_err();
        assert_eq!(missing, refused(404, "NoSuchKey"), "{etag:?}");
        assert_eq!(app.head("data", "k").await.unwrap_err().0, 404, "{etag:?}");
        complete(&app, at, &parts).await.unwrap();
        assert_eq!(app.get("data", "k").await.unwrap().body, "content", "{etag:?}");
    }
}

// ---- headers ----

#[tokio::test(flavor = "multi_thread")]
async fn what_means_the_same_for_ciphertext_reaches_the_store_with_its_object_alone() {
    /// What goes with every request.
    const EVERYWHERE: [(&str, &str); 2] =
        [("x-amz-request-payer", "requester"), ("x-amz-expected-bucket-owner", "111122223333")];
    const OF_COPY: [(&str, &str); 2] =
        [("x-amz-copy-source", "data/src"), ("x-amz-source-expected-bucket-owner", "444455556666")];
    /// The requests that write what the application asked for.
    const WRITES: [(&str, &str); 4] =
        [("PUT", "/up-data/put"), ("POST", "/up-data/multi"), ("PUT", "/up-data/copied"), ("PUT", "/up-second/copied")];
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "src", "content").await.unwrap();
    for own in [
        [
            ("x-amz-storage-class", "STANDARD_IA"),
            ("x-amz-acl", "bucket-owner-full-control"),
            ("x-amz-server-side-encryption", "AES256"),
        ],
        [
            ("x-amz-grant-read", "id=\"79a5\", id=\"1234\""),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:us-east-1:111122223333:key/k"),
        ],
    ] {
        lied.liar.requests.lock().unwrap().clear();
        let headers = [&own[..], &EVERYWHERE].concat();
        app.put_with("data", "put", &headers, "content").await.unwrap();
        create(&app, "data", "multi", &headers).await;
        let of_copy = [&headers[..], &OF_COPY].concat();
        for bucket in ["data", "second"] {
            app.put_with(bucket, "copied", &of_copy, "").await.unwrap();
        }
        let asked = lied.liar.requests.lock().unwrap().clone();
        for (method, path) in WRITES {
            let write = asked.iter().find(|asked| asked.is(method, path)).unwrap();
            for (name, value) in headers.iter().copied() {
                assert_eq!(write.headers[name], value, "{method} {path} {name}");
            }
        }
        let is_write = |method: &Method, path: &str| WRITES.iter().any(|write| (method.as_str(), path) == *write);
        let others: Vec<_> = asked.iter().filter(|asked| !is_write(&asked.method, &asked.path)).collect();
        assert!(others.len() > 4, "a state record, and reads of the source");
        for other in others {
            let at = format!("{} {}?{}", other.method, other.path, other.query);
            for (name, _) in own {
                assert!(!other.headers.contains_key(name), "{at} {name}");
            }
            let owner = if other.path == "/up-data/src" { "444455556666" } else { "111122223333" };
            assert_eq!(other.headers["x-amz-expected-bucket-owner"], owner, "{at}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_answers_of_its_own_encryption_class_and_bill_is_heard() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "src", "content").await.unwrap();
    for encryption in ["AES256", "aws:kms"] {
        let answered = [
            ("x-amz-server-side-encryption", encryption),
            ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:us-east-1:111122223333:key/k"),
            ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
            ("x-amz-request-charged", "requester"),
        ];
        lied.liar.lies(move |asked, told| {
            for (name, value) in answered {
                told.set(name, value);
            }
            if asked.method == Method::GET || asked.method == Method::HEAD {
                told.set("x-amz-storage-class", "STANDARD_IA");
            }
        });
        let headers = [("x-amz-server-side-encryption", encryption)];
        let source = [("x-amz-copy-source", "data/src"), headers[0]];
        let put = app.put_with("data", "k", &headers, "content").await.unwrap();
        let made = app.send(Method::POST, "data", "multi", &[("uploads", "")], &headers, None).await.unwrap();
        let id = elements(&made.text(), "UploadId").remove(0);
        let etag = part(&app, ("data", "multi", &id), 1, "content").await.unwrap().etag();
        let completed = complete(&app, ("data", "multi", &id), &[(1, etag)]).await.unwrap();
        let on_store = app.put_with("data", "copied", &source, "").await.unwrap();
        let through = app.put_with("second", "copied", &source, "").await.unwrap();
        let whole = app.get("data", "k").await.unwrap();
        let range = app.get_with("data", "k", &[("range", "bytes=1-2")]).await.unwrap();
        let head = app.head("data", "multi").await.unwrap();
        for (what, got, is_read) in [
            ("PutObject", &put, false),
            ("CreateMultipartUpload", &made, false),
            ("CompleteMultipartUpload", &completed, false),
            ("CopyObject on the store", &on_store, false),
            ("CopyObject through the gateway", &through, false),
            ("GetObject", &whole, true),
            ("GetObject of a range", &range, true),
            ("HeadObject", &head, true),
        ] {
            for (name, value) in answered {
                assert_eq!(got.header(name), value, "{what} {name}");
            }
            assert_eq!(got.header("x-amz-storage-class"), if is_read { "STANDARD_IA" } else { "" }, "{what}");
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_application_says_of_its_content_comes_back_and_reaches_no_store() {
    const SAID: [(&str, &str); 7] = [
        ("content-type", "x-figures/quarterly"),
        ("content-encoding", "x-brotli-of-the-house"),
        ("content-disposition", "attachment; filename=\"redundancies.ods\""),
        ("content-language", "tlh-Latn"),
        ("cache-control", "max-age=86420, stale-while-revalidate=77"),
        ("expires", "Thu, 24 Nov 2033 13:17:19 GMT"),
        ("x-amz-meta-cost-centre", "skunkworks-4711"),
    ];
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "plain", "content").await.unwrap();
    app.put_with("data", "put", &SAID, "content").await.unwrap();
    let id = create(&app, "data", "multi", &SAID).await;
    let etag = part(&app, ("data", "multi", &id), 1, "content").await.unwrap().etag();
    complete(&app, ("data", "multi", &id), &[(1, etag)]).await.unwrap();
    let replacing =
        [&SAID[..], &[("x-amz-copy-source", "data/plain"), ("x-amz-metadata-directive", "REPLACE")]].concat();
    for bucket in ["data", "second"] {
        app.put_with(bucket, "copied", &[("x-amz-copy-source", "data/put")], "").await.unwrap();
        app.put_with(bucket, "replaced", &replacing, "").await.unwrap();
    }
    for (bucket, key) in [
        ("data", "put"),
        ("data", "multi"),
        ("data", "copied"),
        ("data", "replaced"),
        ("second", "copied"),
        ("second", "replaced"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let got = app.send(method, bucket, key, &[], &[], None).await.unwrap();
            for (name, value) in SAID {
                assert_eq!(got.header(name), value, "{bucket}/{key}");
            }
        }
    }
    let seen = lied.liar.seen.lock().unwrap().clone();
    for (name, value) in SAID {
        assert!(!contains(&seen, value.as_bytes()), "{name}");
        // what the store is told of every content is that it is bytes
        let stands = contains(&seen, format!("{name}: ").as_bytes());
        assert_eq!(stands, name == "content-type", "{name}");
    }
    assert!(contains(&seen, b"content-type: application/octet-stream"));
    // nor in another form; other dates are there
    let words = SAID.iter().filter(|(name, _)| *name != "expires");
    let words: Vec<&[u8]> = words.map(|(_, value)| value.as_bytes()).collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("seen"), &seen).unwrap();
    assert_eq!(find_leak(folder.path(), &words).unwrap(), Ok(seen.len() as u64));
}

/// The text as one word of RFC 2047.
fn word(text: &str) -> String {
    format!("=?UTF-8?B?{}?=", STANDARD.encode(text))
}

/// The user metadata in an answer, by name.
fn metadata(got: &Got) -> Vec<(String, String)> {
    let user = got.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-amz-meta-"));
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let mut all: Vec<_> = user.map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect();
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn user_metadata_comes_back_in_every_encoding_and_goes_with_copies() {
    /// Name, as it is sent, as it is kept.
    const SENT: [(&str, &str, &str); 8] = [
        ("x-amz-meta-ascii", "plain = text?", "plain = text?"),
        ("x-amz-meta-blanks", "  two  within \t ", "two  within"),
        ("x-amz-meta-empty", "", ""),
        ("x-amz-meta-nothing-but-blanks", "   ", ""),
        ("x-amz-meta-utf-8", "Gr\u{fc}\u{df}e \u{2013} \u{1f600}", "Gr\u{fc}\u{df}e \u{2013} \u{1f600}"),
        ("x-amz-meta-utf-8-in-blanks", " \u{e9} ", "\u{e9}"),
        ("x-amz-meta-word-b", "=?UTF-8?B?R3LDvMOfZQ==?=", "=?UTF-8?B?R3LDvMOfZQ==?="),
        ("x-amz-meta-word-q", "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?=", "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?="),
    ];
    const REPLACING: [(&str, &str); 4] = [
        ("x-amz-copy-source", "data/k"),
        ("x-amz-metadata-directive", "REPLACE"),
        ("x-amz-meta-new", ""),
        ("x-amz-meta-utf-8", "Stra\u{df}e"),
    ];
    // Ceph answers the bytes as they came
    for (profile, is_raw) in [(Profile::Aws, false), (Profile::Ceph, true)] {
        let rig = Rig::with(Plan { profile, ..Plan::default() }).await;
        let app = rig.app();
        let answered = |text: &str| if is_raw || text.is_ascii() { text.to_owned() } else { word(text) };
        let mut sent: Vec<_> = SENT.iter().map(|(name, sent, _)| (*name, *sent)).collect();
        // what is said twice is one list
        sent.extend([("x-amz-meta-twice", "one"), ("x-amz-meta-twice", " two ")]);
        let mut kept: Vec<_> = SENT.iter().map(|(name, _, kept)| ((*name).to_owned(), answered(kept))).collect();
        kept.push(("x-amz-meta-twice".to_owned(), "one,two".to_owned()));
        kept.sort_unstable();
        let replaced =
            [("x-amz-meta-new".to_owned(), String::new()), ("x-amz-meta-utf-8".to_owned(), answered("Stra\u{df}e"))];
        let check = async |bucket: &str, key: &str, expected: &[(String, String)]| {
            for method in [Method::GET, Method::HEAD] {
                let got = app.send(method.clone(), bucket, key, &[], &[], None).await.unwrap();
                assert_eq!(metadata(&got), expected, "{profile:?} {method} {bucket}/{key}");
            }
        };
        app.put_with("data", "k", &sent, "content").await.unwrap();
        check("data", "k", &kept).await;
        let id = create(&app, "data", "multi", &sent).await;
        let etag = part(&app, ("data", "multi", &id), 1, "content").await.unwrap().etag();
        complete(&app, ("data", "multi", &id), &[(1, etag)]).await.unwrap();
        check("data", "multi", &kept).await;
        for bucket in ["data", "second"] {
            for source in ["data/k", "data/multi"] {
                // what a copy says of itself counts only where it replaces
                let copying = [("x-amz-copy-source", source), ("x-amz-meta-ignored", "x")];
                app.put_with(bucket, "copied", &copying, "").await.unwrap();
                check(bucket, "copied", &kept).await;
            }
            app.put_with(bucket, "replaced", &REPLACING, "").await.unwrap();
            check(bucket, "replaced", &replaced).await;
        }
        // in its place
        app.put_with("data", "k", &REPLACING, "").await.unwrap();
        check("data", "k", &replaced).await;
        assert_eq!(app.get("data", "k").await.unwrap().body, "content");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_header_of_an_answer_can_be_overridden_and_the_store_does_not_hear_of_it() {
    /// Parameter, header, what the object says, what the request wants.
    const ALL: [(&str, &str, &str, &str); 6] = [
        ("response-content-type", "content-type", "text/plain", "text/x-other; charset=utf-8"),
        ("response-content-language", "content-language", "de", "fr, en"),
        ("response-expires", "expires", "Thu, 24 Nov 2033 13:17:19 GMT", "0"),
        ("response-cache-control", "cache-control", "private", "no-cache, max-age=0"),
        ("response-content-disposition", "content-disposition", "inline", "attachment; filename=\"a b+c&d.txt\""),
        ("response-content-encoding", "content-encoding", "gzip", "identity"),
    ];
    let lied = Lied::new().await;
    let app = lied.app();
    let own = ALL.map(|(_, header, said, _)| (header, said));
    app.put_with("data", "with", &own, "content").await.unwrap();
    app.put("data", "without", "content").await.unwrap();
    let every = ALL.map(|(parameter, _, _, wanted)| (parameter, wanted));
    for key in ["with", "without"] {
        for method in [Method::GET, Method::HEAD] {
            for (parameter, overridden, _, wanted) in ALL {
                let got = app.send(method.clone(), "data", key, &[(parameter, wanted)], &[], None).await.unwrap();
                for (_, header, said, _) in ALL {
                    let expected = match (header == overridden, key, header) {
                        (true, ..) => wanted,
                        (false, "with", _) => said,
                        (false, _, "content-type") => "binary/octet-stream",
                        (false, ..) => "",
                    };
                    assert_eq!(got.header(header), expected, "{method} {key} {parameter} {header}");
                }
            }
            for (range, status) in [(&[("range", "bytes=1-3")][..], 206), (&[], 200)] {
                let got = app.send(method.clone(), "data", key, &every, range, None).await.unwrap();
                assert_eq!(got.status, status, "{method} {key}");
                for (_, header, _, wanted) in ALL {
                    assert_eq!(got.header(header), wanted, "{method} {key} {header}");
                }
            }
        }
    }
    assert!(lied.liar.requests.lock().unwrap().iter().all(|asked| !asked.query.contains("response-")));
}

// ---- checksums ----

const CHECKSUM_MODE: [(&str, &str); 1] = [("x-amz-checksum-mode", "ENABLED")];

/// Makes `data/k` of these parts, each with its SHA-256; the SHA-256 of those.
async fn composite(app: &Client, bodies: &[Vec<u8>]) -> String {
    let declared = [("x-amz-checksum-algorithm", "SHA256")];
    let made = app.send(Method::POST, "data", "k", &[("uploads", "")], &declared, None).await.unwrap();
    let heard = (made.header("x-amz-checksum-algorithm"), made.header("x-amz-checksum-type"));
    assert_eq!(heard, ("SHA256", "COMPOSITE"));
    let id = elements(&made.text(), "UploadId").remove(0);
    let (mut listed, mut joined) = (String::new(), Vec::new());
    for (number, body) in (1u32..).zip(bodies) {
        let value = checksum(ChecksumAlgorithm::Sha256, body);
        let (number, text) = (number.to_string(), STANDARD.encode(value.as_bytes()));
        let query = [("partNumber", number.as_str()), ("uploadId", id.as_str())];
        let sums = [("x-amz-checksum-sha256", text.as_str())];
        let sent = app.send(Method::PUT, "data", "k", &query, &sums, Some(body.clone().into())).await.unwrap();
        assert_eq!(sent.header("x-amz-checksum-sha256"), text);
        listed.push_str(&format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag><ChecksumSHA256>{text}</ChecksumSHA256></Part>",
            sent.etag().replace('"', "&quot;")
        ));
        joined.extend_from_slice(value.as_bytes());
    }
    let document = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
    let done = app.post("data", "k", &[("uploadId", &id)], document).await.unwrap().text();
    let value = STANDARD.encode(checksum(ChecksumAlgorithm::Sha256, &joined).as_bytes());
    assert_eq!(elements(&done, "ChecksumSHA256"), [format!("{value}-{}", bodies.len())]);
    assert_eq!(elements(&done, "ChecksumType"), ["COMPOSITE"]);
    value
}

/// One whose whole is verified before it is answered, and one of several parts that is not.
fn of_parts() -> [Vec<Vec<u8>>; 2] {
    [vec![noise(1000, 1)], vec![noise(5 * MIB, 2), noise(1000, 3)]]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_composite_checksum_is_shown_with_the_number_of_parts_by_whole_reads_that_ask_for_it() {
    let rig = Rig::new().await;
    let app = rig.app();
    for bodies in of_parts() {
        let expected = format!("{}-{}", composite(&app, &bodies).await, bodies.len());
        for method in [Method::GET, Method::HEAD] {
            let got = app.send(method.clone(), "data", "k", &[], &CHECKSUM_MODE, None).await.unwrap();
            let shown = (got.header("x-amz-checksum-sha256"), got.header("x-amz-checksum-type"));
            assert_eq!(shown, (expected.as_str(), "COMPOSITE"), "{method}");
            if method == Method::GET {
                assert!(got.body == bodies.concat());
            }
            let range = [CHECKSUM_MODE[0], ("range", "bytes=10-20")];
            for headers in [&[][..], &range] {
                let got = app.send(method.clone(), "data", "k", &[], headers, None).await.unwrap();
                let shown = (got.header("x-amz-checksum-sha256"), got.header("x-amz-checksum-type"));
                assert_eq!(shown, ("", ""), "{method} {headers:?}");
            }
        }
    }
}

/// Where S3 tells the number of parts beside it, it stands not in the value.
#[tokio::test(flavor = "multi_thread")]
async fn a_composite_checksum_stands_among_the_attributes_without_the_number_of_parts() {
    let rig = Rig::new().await;
    let app = rig.app();
    for bodies in of_parts() {
        let value = composite(&app, &bodies).await;
        let wanted = [("x-amz-object-attributes", "Checksum,ObjectParts")];
        let told = app.send(Method::GET, "data", "k", &[("attributes", "")], &wanted, None).await.unwrap().text();
        assert_eq!(elements(&told, "ChecksumType"), ["COMPOSITE"]);
        assert_eq!(elements(&told, "PartsCount"), [bodies.len().to_string()]);
        assert_eq!(elements(&told, "ChecksumSHA256"), [value]);
    }
}

// ---- lists ----

/// All pages of a list of `data`: its keys, its common prefixes, and how many entries each page has.
async fn pages(app: &Client, query: &[(&str, &str)]) -> (Vec<String>, Vec<String>, Vec<usize>) {
    let is_v2 = query.contains(&("list-type", "2"));
    let ask = if is_v2 { "continuation-token" } else { "marker" };
    let (mut keys, mut prefixes, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    let mut next: Option<String> = None;
    for _ in 0..50 {
        let mut asked = query.to_vec();
        asked.extend(next.as_deref().map(|next| (ask, next)));
        let text = app.list("data", &asked).await.unwrap().text();
        let found = elements(&text, "Key");
        let common = elements(&text, "CommonPrefixes");
        let common: Vec<_> = common.iter().map(|prefix| elements(prefix, "Prefix").remove(0)).collect();
        let count = found.len() + common.len();
        if is_v2 {
            assert_eq!(elements(&text, "KeyCount"), [count.to_string()], "{query:?}");
        }
        let last = found.iter().chain(&common).max().cloned();
        counts.push(count);
        keys.extend(found);
        prefixes.extend(common);
        if elements(&text, "IsTruncated") == ["false"] {
            return (keys, prefixes, counts);
        }
        next = if is_v2 {
            Some(elements(&text, "NextContinuationToken").remove(0))
        } else {
            elements(&text, "NextMarker").pop().or(last)
        };
    }
    panic!("the pages do not end: {query:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_thousand_show_every_key_once_wherever_the_border_lies_among_reserved_ones() {
    let rig = Rig::new().await;
    let (app, provider) = (rig.app(), rig.provider_client());
    let before: Vec<String> = (0..1000).map(|i| format!("-{i:04}")).collect();
    let behind = ["a", "b/c", "d", "e f", "\u{fc}"];
    for key in (0..5).map(|i| format!(".sealgate/u/{i}")).chain(behind.map(str::to_owned)) {
        provider.put("up-data", &key, "x").await.unwrap();
    }
    let mut there = 0;
    // the store's first page ends with the last reserved key, with the second, with the first, and before them
    for len in [995, 998, 999, 1000] {
        for key in &before[there..len] {
            provider.put("up-data", key, "x").await.unwrap();
        }
        there = len;
        let expected: Vec<&str> = before[..len].iter().map(String::as_str).chain(behind).collect();
        for max in [None, Some("1000"), Some("5000")] {
            for version in ["1", "2"] {
                let mut query = vec![("list-type", version)];
                query.extend(max.map(|max| ("max-keys", max)));
                let (keys, prefixes, counts) = pages(&app, &query).await;
                assert!(keys == expected, "{len} {query:?}: {counts:?}");
                assert!(prefixes.is_empty(), "{len} {query:?}");
                assert_eq!(counts[0], 1000, "{len} {query:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delimiters_may_have_several_characters_of_any_alphabet() {
    const ALL: [&str; 7] = ["a::b::1", "a::b::2", "a::c", "a:single", "plain", "x\u{2192}y\u{2192}1", "x\u{2192}z"];
    let rig = Rig::new().await;
    let (app, provider) = (rig.app(), rig.provider_client());
    for key in ALL.into_iter().chain([".sealgate/s/1", ".sealgate/u/2"]) {
        provider.put("up-data", key, "x").await.unwrap();
    }
    // prefix, delimiter, keys, common prefixes
    let cases: [(&str, &str, &[&str], &[&str]); 9] = [
        ("", "::", &ALL[3..], &["a::"]),
        ("a::", "::", &["a::c"], &["a::b::"]),
        ("a::b", "::", &[], &["a::b::"]),
        ("", "\u{2192}", &ALL[..5], &["x\u{2192}"]),
        ("x\u{2192}", "\u{2192}", &["x\u{2192}z"], &["x\u{2192}y\u{2192}"]),
        ("x", "\u{2192}y", &["x\u{2192}z"], &["x\u{2192}y"]),
        ("", "nowhere", &ALL, &[]),
        // within the gateway's own keys: to their end, and before it
        ("", "gate/", &ALL, &[]),
        ("", "al", &ALL, &[]),
    ];
    for (prefix, delimiter, keys, prefixes) in cases {
        for version in ["1", "2"] {
            for max in ["1", "2", "1000"] {
                let mut query = vec![("list-type", version), ("max-keys", max), ("delimiter", delimiter)];
                query.extend((!prefix.is_empty()).then_some(("prefix", prefix)));
                let (found, common, _) = pages(&app, &query).await;
                assert_eq!(found, keys, "{query:?}");
                assert_eq!(common, prefixes, "{query:?}");
            }
            let query =
                [("list-type", version), ("delimiter", delimiter), ("prefix", prefix), ("encoding-type", "url")];
            let text = app.list("data", &query).await.unwrap().text();
            let decoded = |name: &str| -> Vec<String> {
                let names = elements(&text, name).into_iter();
                names.map(|name| String::from_utf8(decode(&name, Plus::Literal).unwrap()).unwrap()).collect()
            };
            assert_eq!(decoded("Delimiter"), [delimiter], "{query:?}");
            assert_eq!(decoded("Key"), keys, "{query:?}");
            // the one that is asked for, and the common ones
            assert_eq!(decoded("Prefix"), [&[prefix], prefixes].concat(), "{query:?}");
        }
    }
}

// ---- tenants ----

#[tokio::test(flavor = "multi_thread")]
async fn no_copy_leads_from_one_tenant_to_another_and_the_store_is_not_asked() {
    let lied = Lied::new().await;
    let client = |id: &str| Client::new(lied.gateway_address(), id, &format!("secret of {id}"));
    let (alpha, beta) = (client("AKALPHA"), client("AKBETA"));
    alpha.put("data", "src", "of alpha").await.unwrap();
    alpha.put("other", "src", "of alpha").await.unwrap();
    beta.put("beta", "src", "of beta").await.unwrap();
    let (of_alpha, of_beta) = (create(&alpha, "data", "parts", &[]).await, create(&beta, "beta", "parts", &[]).await);
    // whose states are known then
    part(&alpha, ("data", "parts", &of_alpha), 1, "x").await.unwrap();
    part(&beta, ("beta", "parts", &of_beta), 1, "x").await.unwrap();
    let denied = (403, "AccessDenied");
    let missing = (404, "NoSuchBucket");
    for (client, bucket, id, source, (status, code)) in [
        // a name of its list under which its tenant has nothing
        (&beta, "beta", &of_beta, "data/src", missing),
        (&beta, "beta", &of_beta, "/data/src", missing),
        (&beta, "beta", &of_beta, "%64ata%2Fsrc", missing),
        (&beta, "beta", &of_beta, "data/src?versionId=null", missing),
        (&beta, "beta", &of_beta, "data/nothing", missing),
        // a name that is none of its list
        (&beta, "beta", &of_beta, "other/src", denied),
        (&alpha, "data", &of_alpha, "beta/src", denied),
        (&alpha, "data", &of_alpha, "beta/nothing", denied),
        // nor from what is its own to what is not
        (&alpha, "beta", &of_beta, "data/src", denied),
        (&beta, "data", &of_alpha, "beta/src", missing),
    ] {
        lied.liar.requests.lock().unwrap().clear();
        for directive in ["COPY", "REPLACE"] {
            let headers = [("x-amz-copy-source", source), ("x-amz-metadata-directive", directive)];
            let made = client.put_with(bucket, "copied", &headers, "").await;
            assert_eq!(told(made), refused(status, code), "{bucket} {source} {directive}");
        }
        let query = [("partNumber", "2"), ("uploadId", id.as_str())];
        let range = ("x-amz-copy-source-range", "bytes=0-1");
        for headers in [&[("x-amz-copy-source", source)][..], &[("x-amz-copy-source", source), range]] {
            let made = client.send(Method::PUT, bucket, "parts", &query, headers, Some(Bytes::new())).await;
            assert_eq!(told(made), refused(status, code), "{bucket} {headers:?}");
        }
        assert!(lied.liar.requests.lock().unwrap().is_empty(), "{bucket} {source}");
    }
    for (client, bucket, id) in [(&alpha, "data", &of_alpha), (&beta, "beta", &of_beta)] {
        assert_eq!(client.head(bucket, "copied").await.unwrap_err().0, 404, "{bucket}");
        assert_eq!(elements(&client.list_of_parts(bucket, "parts", id).await, "PartNumber"), ["1"], "{bucket}");
    }
}

// ---- limits ----

/// A body that never comes.
struct Never;

impl http_body::Body for Never {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Pending
    }
}

/// What is answered to a request for `data` that says how long its body is, and never sends it.
async fn announced(app: &Client, method: Method, key: &str, query: &[(&str, &str)], len: u64) -> (u16, String) {
    let mut asked = Query::default();
    for (name, value) in query {
        asked.push(*name, *value);
    }
    let mut headers = HeaderMap::new();
    headers.insert("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==".parse().unwrap());
    let request = StoreRequest {
        method,
        bucket: Some("data"),
        key: (!key.is_empty()).then_some(key.as_bytes()),
        query: asked,
        headers,
        body: Payload::Stream { body: Never.boxed_unsync(), len },
        identity: Identity::Own,
        trace: None,
    };
    let sent = tokio::time::timeout(Duration::from_secs(5), app.0.send(request)).await;
    match sent.expect("the body is waited for") {
        Err(StoreError::Refused(told)) => (told.status, told.code.map_or("", ErrorCode::name).to_owned()),
        Err(error) => panic!("{error}"),
        Ok(answer) => panic!("an answer {}", answer.status),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_to_be_too_long_is_refused_unread_and_reaches_no_store() {
    let lied = Lied::new().await;
    let app = lied.app();
    let id = create(&app, "data", "k", &[]).await;
    let at = ("data", "k", id.as_str());
    // whose state is known then
    let etag = part(&app, at, 1, "content").await.unwrap().etag();
    lied.liar.requests.lock().unwrap().clear();
    let upload = ("uploadId", id.as_str());
    for (method, key, query, len, code) in [
        (Method::PUT, "new", vec![], MAX_SINGLE_PUT_LEN + 1, "EntityTooLarge"),
        (Method::PUT, "new", vec![], 1 << 50, "EntityTooLarge"),
        (Method::PUT, "k", vec![("partNumber", "2"), upload], MAX_UPLOAD_PART_LEN + 1, "EntityTooLarge"),
        // the trailer goes up with it
        (Method::PUT, "k", vec![("partNumber", "10000"), upload], (5 << 30) - (4 << 20) + 1, "EntityTooLarge"),
        (Method::POST, "", vec![("delete", "")], (2 << 20) + 1, "MaxMessageLengthExceeded"),
        (Method::POST, "k", vec![upload], (4 << 20) + 1, "MaxMessageLengthExceeded"),
    ] {
        let answer = announced(&app, method.clone(), key, &query, len).await;
        assert_eq!(answer, refused(400, code), "{method} {key} {query:?} {len}");
        assert!(lied.liar.requests.lock().unwrap().is_empty(), "{method} {key} {query:?} {len}");
    }
    assert_eq!(app.head("data", "new").await.unwrap_err().0, 404);
    complete(&app, at, &[(1, etag)]).await.unwrap();
    assert_eq!(app.get("data", "k").await.unwrap().body, "content");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_name_more_than_s3_takes_are_refused_and_reach_no_store() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "kept", "content").await.unwrap();
    let id = create(&app, "data", "k", &[]).await;
    let at = ("data", "k", id.as_str());
    let etag = part(&app, at, 1, "content").await.unwrap().etag();
    let delete = async |count: usize| {
        let named = (0..count).map(|i| format!("<Object><Key>{}</Key></Object>", if i == 0 { "kept" } else { "x" }));
        app.post("data", "", &[("delete", "")], format!("<Delete>{}</Delete>", named.collect::<String>())).await
    };
    let parts = |count: u32| (1..=count).map(|number| (number, "\"x\"".to_owned())).collect::<Vec<_>>();
    lied.liar.requests.lock().unwrap().clear();
    assert_eq!(delete(1001).await.unwrap_err(), refused(400, "MalformedXML"));
    assert_eq!(complete(&app, at, &parts(10_001)).await.unwrap_err(), refused(400, "InvalidArgument"));
    assert!(lied.liar.requests.lock().unwrap().is_empty());
    assert_eq!(app.get("data", "kept").await.unwrap().body, "content");
    // as many as it takes are judged one by one
    assert_eq!(complete(&app, at, &parts(10_000)).await.unwrap_err(), refused(400, "InvalidPart"));
    assert_eq!(elements(&delete(1000).await.unwrap().text(), "Deleted").len(), 1000);
    assert_eq!(app.get("data", "kept").await.unwrap_err(), refused(404, "NoSuchKey"));
    complete(&app, at, &[(1, etag)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_1025_bytes_is_too_long_for_every_operation_and_reaches_no_store() {
    let lied = Lied::new().await;
    let app = lied.app();
    let operations: [(Method, &[(&str, &str)]); 10] = [
        (Method::PUT, &[]),
        (Method::GET, &[]),
        (Method::HEAD, &[]),
        (Method::DELETE, &[]),
        (Method::POST, &[("uploads", "")]),
        (Method::PUT, &[("partNumber", "1"), ("uploadId", "x")]),
        (Method::POST, &[("uploadId", "x")]),
        (Method::DELETE, &[("uploadId", "x")]),
        (Method::GET, &[("tagging", "")]),
        (Method::GET, &[("acl", "")]),
    ];
    let wide = "\u{e9}".repeat(512);
    for key in ["k".repeat(1025), format!("{wide}k")] {
        assert_eq!(key.len(), 1025);
        for (method, query) in &operations {
            let answer = app.send(method.clone(), "data", &key, query, &[], None).await.unwrap_err();
            let code = if *method == Method::HEAD { "" } else { "KeyTooLongError" };
            assert_eq!(answer, refused(400, code), "{method} {query:?}");
        }
    }
    assert!(lied.liar.requests.lock().unwrap().is_empty());
    // the limit is one of bytes
    app.put("data", &wide, "content").await.unwrap();
    assert_eq!(app.get("data", &wide).await.unwrap().body, "content");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_above_its_rate_is_told_to_slow_down_and_others_are_not() {
    let rig = Rig::new().await;
    rig.app().put("data", "k", "content").await.unwrap();
    // the rig's credentials have no rate
    let credential = |id: &str, requests_per_second| CredentialRule {
        access_key_id: AccessKeyId::parse(id).unwrap(),
        secret: Arc::new(secret(&format!("secret of {id}"))),
        tenant: "alpha".parse().unwrap(),
        buckets: vec![NamePattern::parse("data").unwrap()],
        access: Access::ReadOnly,
        upstream_credentials: None,
        max_requests: 16,
        requests_per_second,
        signature_v2: false,
    };
    let upstream = UpstreamSettings {
        name: "main".to_owned(),
        endpoint: format!("http://{}", rig.provider.address).parse().unwrap(),
        region: REGION.to_owned(),
        profile: rig.plan.profile,
        addressing: Addressing::Path,
        credentials: identity("PROVIDER").into(),
        ca: None,
        proxy: None,
        timeouts: rig.plan.upstream_timeouts,
        max_requests: 16,
        checksums: false,
    };
    let settings = Settings {
        region: REGION.to_owned(),
        domains: Vec::new(),
        limits: rig.plan.limits,
        timeouts: Timeouts {
            header: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            keep_alive: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        },
        buckets: rules(&rig.plan),
        credentials: vec![credential("AKSLOW", Some(1)), credential("AKFAST", None)],
    };
    let gateway = Gateway::new(Components {
        settings,
        upstreams: vec![Arc::new(Upstream::new(upstream, Arc::new(SystemClock)).unwrap())],
        keys: Arc::clone(&rig.keyring) as Arc<dyn KeyProvider>,
        clock: Arc::new(SystemClock),
        random: random(),
        metrics: Arc::clone(&rig.metrics),
    });
    let server = Server::start(Arc::new(gateway), ServerSettings::default()).await;
    let client = |id: &str| Client::new(server.address, id, &format!("secret of {id}"));
    let (slow, fast) = (client("AKSLOW"), client("AKFAST"));
    let begun = Instant::now();
    let (mut taken, mut put_off) = (0, 0);
    while put_off < 20 {
        match slow.sent(Identity::Own, Method::GET, ("data", "k"), &[], &[], None).await {
            Ok(answer) => {
                assert_eq!(answer.bytes(100).await.unwrap(), "content");
                taken += 1;
            }
            Err(StoreError::Refused(told)) => {
                let told = (told.status, told.code, told.retry_after);
                assert_eq!(told, (503, Some(ErrorCode::SlowDown), Some(1)));
                put_off += 1;
            }
            Err(error) => panic!("{error}"),
        }
        fast.get("data", "k").await.unwrap();
    }
    // the first at once, then one a second
    let most = 1 + begun.elapsed().as_secs();
    assert!((1..=most).contains(&taken), "{taken} of at most {most}");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(slow.get("data", "k").await.unwrap().body, "content");
}
