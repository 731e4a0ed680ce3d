//! Versions, delete markers, tags and object lock: the gateway before a store that keeps them, and before one that lies about
//! them, about lists and about conditional writes.
//!
//! What a lie cannot be told from is pinned here and named so: a store that gives an older version of the same key, as it was
//! sealed, for a newer one; one that ignores a condition; one that hides or repeats what it lists.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use sealgate::embedded::{
    BucketName, Deleted, Deletion, Hooks, ListVersionsRequest, ObjectInfo, VersionId, VersionsPage, WriteCondition,
};
use sealgate::object::ObjectKey;
use sealgate::store::{Identity, StoreError};

use super::liar::Told;
use super::lies::Lied;
use super::multipart::{complete, create, part};
use super::rig::{Client, Got, Outcome, Plan, Rig, elements, noise};

const ENABLED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn version(got: &Got) -> String {
    got.header("x-amz-version-id").to_owned()
}

async fn document(app: &Client, bucket: &str, key: &str, query: &[(&str, &str)], body: &str) -> Outcome {
    app.send(Method::PUT, bucket, key, query, &[], Some(Bytes::from(body.to_owned()))).await
}

async fn versioned(app: &Client, bucket: &str) {
    document(app, bucket, "", &[("versioning", "")], ENABLED).await.unwrap();
}

async fn of_version(app: &Client, method: Method, bucket: &str, key: &str, version: &str) -> Outcome {
    app.send(method, bucket, key, &[("versionId", version)], &[], None).await
}

async fn get_version(app: &Client, bucket: &str, key: &str, version: &str) -> Outcome {
    of_version(app, Method::GET, bucket, key, version).await
}

async fn copy(app: &Client, (bucket, key): (&str, &str), source: &str, headers: &[(&str, &str)]) -> Outcome {
    let headers = [&[("x-amz-copy-source", source)], headers].concat();
    app.send(Method::PUT, bucket, key, &[], &headers, None).await
}

/// A refusal with the headers that it came with.
async fn refusal(app: &Client, method: Method, key: &str, version: Option<&str>) -> (u16, HeaderMap) {
    let query: Vec<_> = version.map(|version| ("versionId", version)).into_iter().collect();
    match app.sent(Identity::Own, method, ("data", key), &query, &[], None).await {
        Err(StoreError::Refused(refused)) => (refused.status, refused.validators.into_iter().collect()),
        Ok(answer) => panic!("an answer {}", answer.status),
        Err(error) => panic!("{error}"),
    }
}

fn told(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
}

/// Key, version and whether it is the latest, of each in a list.
fn listed(text: &str) -> Vec<(String, String, bool)> {
    let latest = elements(text, "IsLatest").into_iter().map(|latest| latest == "true");
    let names = elements(text, "Key").into_iter().zip(elements(text, "VersionId"));
    names.zip(latest).map(|((key, version), latest)| (key, version, latest)).collect()
}

async fn list(app: &Client, bucket: &str) -> String {
    app.list(bucket, &[("versions", "")]).await.unwrap().text()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_written_read_listed_copied_and_deleted() {
    let rig = Rig::new().await;
    let app = rig.app();
    let before = app.put("data", "k", "before").await.unwrap();
    assert_eq!(version(&before), "");
    versioned(&app, "data").await;
    let got = app.list("data", &[("versioning", "")]).await.unwrap();
    assert_eq!(elements(&got.text(), "Status"), ["Enabled"]);
    let one = app.put("data", "k", "first").await.unwrap();
    let two = app.put("data", "k", noise(100_000, 2)).await.unwrap();
    let (v1, v2) = (version(&one), version(&two));
    let text = list(&app, "data").await;
    let expected = [("k", v2.as_str(), true), ("k", &v1, false), ("k", "null", false)];
    let expected = expected.map(|(key, version, latest)| (key.to_owned(), version.to_owned(), latest));
    assert_eq!(listed(&text), expected);
    assert_eq!(elements(&text, "Size"), ["100000", "5", "6"]);
    let quoted: Vec<_> = [&two, &one, &before].iter().map(|got| got.etag().replace('"', "&quot;")).collect();
    assert_eq!(elements(&text, "ETag"), quoted);

    for (id, body) in [(v1.as_str(), b"first".to_vec()), (&v2, noise(100_000, 2)), ("null", b"before".to_vec())] {
        let got = get_version(&app, "data", "k", id).await.unwrap();
        assert_eq!((version(&got).as_str(), &got.body[..]), (id, &body[..]));
        let head = of_version(&app, Method::HEAD, "data", "k", id).await.unwrap();
        assert_eq!((version(&head).as_str(), head.header("content-length")), (id, body.len().to_string().as_str()));
        let range = [("range", "bytes=1-3")];
        let got = app.send(Method::GET, "data", "k", &[("versionId", id)], &range, None).await.unwrap();
        assert_eq!((got.status, &got.body[..]), (206, &body[1..4]));
        let wanted = [("x-amz-object-attributes", "ObjectSize")];
        let asked = [("attributes", ""), ("versionId", id)];
        let text = app.send(Method::GET, "data", "k", &asked, &wanted, None).await.unwrap().text();
        assert_eq!(elements(&text, "ObjectSize"), [body.len().to_string()]);
    }
    assert_eq!(get_version(&app, "data", "k", "nonsense").await.unwrap_err(), refused(400, "InvalidArgument"));
    let never = get_version(&app, "data", "k", "00000000ffffffff").await;
    assert_eq!(never.unwrap_err(), refused(404, "NoSuchVersion"));

    // on the store, and through the gateway to another key's bucket
    for (bucket, key) in [("data", "copy"), ("second", "copy")] {
        let copied = copy(&app, (bucket, key), &format!("/data/k?versionId={v1}"), &[]).await.unwrap();
        assert_eq!(copied.header("x-amz-copy-source-version-id"), v1, "{bucket}");
        assert_eq!(version(&copied).is_empty(), bucket == "second");
        assert_eq!(app.get(bucket, key).await.unwrap().body, "first");
    }
    // an old version is brought back by a copy to itself
    copy(&app, ("data", "k"), &format!("/data/k?versionId={v1}"), &[]).await.unwrap();
    assert_eq!(app.get("data", "k").await.unwrap().body, "first");
    assert_eq!(get_version(&app, "data", "k", &v2).await.unwrap().body, noise(100_000, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_markers_hide_an_object_and_are_deleted_themselves() {
    let rig = Rig::new().await;
    let app = rig.app();
    versioned(&app, "data").await;
    let v1 = version(&app.put("data", "k", "first").await.unwrap());
    let marker = app.delete("data", "k").await.unwrap();
    assert_eq!(marker.header("x-amz-delete-marker"), "true");
    let marker = version(&marker);
    for method in [Method::GET, Method::HEAD] {
        let (status, headers) = refusal(&app, method.clone(), "k", None).await;
        assert_eq!((status, told(&headers, "x-amz-delete-marker").as_str()), (404, "true"), "{method}");
        assert_eq!(told(&headers, "x-amz-version-id"), marker);
        let (status, headers) = refusal(&app, method.clone(), "k", Some(&marker)).await;
        assert_eq!((status, told(&headers, "x-amz-delete-marker").as_str()), (405, "true"), "{method}");
        assert!(headers.contains_key("last-modified") && told(&headers, "allow") == "DELETE");
        // what was never there has no marker
        let (status, headers) = refusal(&app, method, "never", None).await;
        assert_eq!((status, told(&headers, "x-amz-delete-marker").as_str()), (404, ""));
    }
    assert_eq!(get_version(&app, "data", "k", &v1).await.unwrap().body, "first");
    assert_eq!(app.list("data", &[("list-type", "2")]).await.unwrap().text().matches("<Contents>").count(), 0);
    assert_eq!(copy(&app, ("data", "c"), "/data/k", &[]).await.unwrap_err(), refused(404, "NoSuchKey"));
    // what is said of the source is not said of the copy
    let by_id = format!("/data/k?versionId={marker}");
    for (source, status) in [(by_id.as_str(), 400), ("/data/k", 404)] {
        let sent = [("x-amz-copy-source", source)];
        let got = app.sent(Identity::Own, Method::PUT, ("data", "c"), &[], &sent, Some(Bytes::new())).await;
        let Err(StoreError::Refused(refused)) = got else { panic!("{source}") };
        assert!(refused.status == status && refused.validators.is_empty(), "{source}: {refused:?}");
    }
    let text = list(&app, "data").await;
    assert_eq!(text.matches("<DeleteMarker>").count(), 1);
    assert_eq!(listed(&text), [("k".into(), marker.clone(), true), ("k".into(), v1.clone(), false)]);

    let gone = of_version(&app, Method::DELETE, "data", "k", &marker).await.unwrap();
    assert_eq!((gone.header("x-amz-delete-marker"), version(&gone)), ("true", marker));
    assert_eq!(app.get("data", "k").await.unwrap().body, "first");

    let many = |objects: &str| {
        let body = Bytes::from(format!("<Delete>{objects}</Delete>"));
        let app = rig.app();
        async move { app.send(Method::POST, "data", "", &[("delete", "")], &[], Some(body)).await.unwrap().text() }
    };
    let text = many("<Object><Key>k</Key></Object><Object><Key>l</Key><VersionId>bad</VersionId></Object>").await;
    assert_eq!(elements(&text, "DeleteMarker"), ["true"]);
    assert_eq!(elements(&text, "Code"), ["NoSuchVersion"]);
    let marker = elements(&text, "DeleteMarkerVersionId").remove(0);
    let pair = |version: &str| format!("<Object><Key>k</Key><VersionId>{version}</VersionId></Object>");
    let text = many(&[pair(&marker), pair(&v1)].concat()).await;
    assert_eq!(elements(&text, "VersionId"), [marker, v1]);
    assert_eq!(listed(&list(&app, "data").await), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_make_versions_and_leave_none_of_their_own_behind() {
    let rig = Rig::with(Plan { min_part: 1, ..Plan::default() }).await;
    let app = rig.app();
    versioned(&app, "data").await;
    let v1 = version(&app.put("data", "k", noise(300_000, 1)).await.unwrap());
    let id = create(&app, "data", "k", &[("x-amz-tagging", "a=b")]).await;
    let target = ("data", "k", id.as_str());
    let first = part(&app, target, 1, noise(6 << 20, 3)).await.unwrap().etag();
    let source = format!("/data/k?versionId={v1}");
    let headers = [("x-amz-copy-source", source.as_str()), ("x-amz-copy-source-range", "bytes=10-200009")];
    let query = [("partNumber", "2"), ("uploadId", id.as_str())];
    let copied = app.send(Method::PUT, "data", "k", &query, &headers, None).await.unwrap();
    assert_eq!(copied.header("x-amz-copy-source-version-id"), v1);
    let second = elements(&copied.text(), "ETag").remove(0).replace("&quot;", "\"");
    let v2 = version(&complete(&app, target, &[(1, first), (2, second)]).await.unwrap());
    let got = get_version(&app, "data", "k", &v2).await.unwrap();
    assert!(got.body == [noise(6 << 20, 3), noise(300_000, 1)[10..200_010].to_vec()].concat());
    assert_eq!(got.header("x-amz-tagging-count"), "1");
    assert_eq!(get_version(&app, "data", "k", &v1).await.unwrap().body, noise(300_000, 1));

    let text = list(&app, "data").await;
    assert_eq!(listed(&text), [("k".into(), v2.clone(), true), ("k".into(), v1.clone(), false)]);
    assert_eq!(elements(&text, "Size"), [((6 << 20) + 200_000).to_string(), "300000".to_owned()]);
    // an upload under way and one given up, too
    create(&app, "data", "under-way", &[]).await;
    let id = create(&app, "data", "given-up", &[]).await;
    app.send(Method::DELETE, "data", "given-up", &[("uploadId", &id)], &[], None).await.unwrap();
    assert!(!list(&app, "data").await.contains(".sealgate"));
    let bucket = app.send(Method::DELETE, "data", "", &[], &[], None).await;
    assert_eq!(bucket.unwrap_err(), refused(409, "BucketNotEmpty"));
    for version in [v1, v2] {
        of_version(&app, Method::DELETE, "data", "k", &version).await.unwrap();
    }
    app.send(Method::DELETE, "data", "", &[], &[], None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_versions_miss_none_and_repeat_none() {
    let rig = Rig::new().await;
    let app = rig.app();
    versioned(&app, "data").await;
    // the gateway's own keys lie in the middle
    for key in ["-before", "k", "l/1", "l/2", "k", "-before", "k"] {
        app.put("data", key, key).await.unwrap();
    }
    app.delete("data", "k").await.unwrap();
    for key in ["u", "w"] {
        create(&app, "data", key, &[]).await;
    }
    let whole = listed(&list(&app, "data").await);
    assert_eq!(whole.len(), 8);
    for max in ["1", "2", "3", "5"] {
        let (mut all, mut markers) = (Vec::new(), (String::new(), String::new()));
        loop {
            let query =
                [("versions", ""), ("max-keys", max), ("key-marker", &markers.0), ("version-id-marker", &markers.1)];
            let text = app.list("data", &query).await.unwrap().text();
            assert!(!text.contains(".sealgate"), "{text}");
            all.extend(listed(&text));
            if elements(&text, "IsTruncated") == ["false"] {
                break;
            }
            let next = |name: &str| elements(&text, name).pop().unwrap_or_default();
            markers = (next("NextKeyMarker"), next("NextVersionIdMarker"));
        }
        assert_eq!(all, whole, "{max}");
    }
    let query = [("versions", ""), ("delimiter", "/")];
    let text = app.list("data", &query).await.unwrap().text();
    assert_eq!(elements(&elements(&text, "CommonPrefixes").concat(), "Prefix"), ["l/"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_of_a_version_and_go_with_a_copy() {
    let rig = Rig::new().await;
    let app = rig.app();
    versioned(&app, "data").await;
    let tagged = |text: &str| elements(text, "Key").into_iter().zip(elements(text, "Value")).collect::<Vec<_>>();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let put = app.put_with("data", "k", &[("x-amz-tagging", "a%20b=c%2Bd&e=")], "1").await.unwrap();
    let v1 = version(&put);
    app.put("data", "k", "2").await.unwrap();
    let tags_of = |bucket: &'static str, key: &'static str, version: Option<String>| {
        let app = rig.app();
        async move {
            let version: Vec<_> = version.iter().map(|version| ("versionId", version.as_str())).collect();
            let query = [&[("tagging", "")], &version[..]].concat();
            tagged(&app.send(Method::GET, bucket, key, &query, &[], None).await.unwrap().text())
        }
    };
    assert_eq!(tags_of("data", "k", Some(v1.clone())).await, [pair("a b", "c+d"), pair("e", "")]);
    assert_eq!(tags_of("data", "k", None).await, []);
    assert_eq!(of_version(&app, Method::HEAD, "data", "k", &v1).await.unwrap().header("x-amz-tagging-count"), "2");
    let source = format!("/data/k?versionId={v1}");
    let replace = [("x-amz-tagging-directive", "REPLACE"), ("x-amz-tagging", "x=y")];
    for bucket in ["data", "second"] {
        copy(&app, (bucket, "kept"), &source, &[]).await.unwrap();
        assert_eq!(tags_of(bucket, "kept", None).await, [pair("a b", "c+d"), pair("e", "")], "{bucket}");
        copy(&app, (bucket, "new"), &source, &replace).await.unwrap();
        assert_eq!(tags_of(bucket, "new", None).await, [pair("x", "y")], "{bucket}");
    }
    let of_v1 = [("tagging", ""), ("versionId", v1.as_str())];
    let set = |pairs: &[(&str, &str)]| {
        let tag = |(key, value): &(&str, &str)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
        format!("<Tagging><TagSet>{}</TagSet></Tagging>", pairs.iter().map(tag).collect::<String>())
    };
    document(&app, "data", "k", &of_v1, &set(&[("n", "m")])).await.unwrap();
    assert_eq!(tags_of("data", "k", Some(v1.clone())).await, [pair("n", "m")]);
    let eleven: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"].map(|key| (key, "")).to_vec();
    for bad in [&[("a", ""), ("a", "")][..], &[("aws:a", "")], &[("", "")], &eleven] {
        assert_eq!(document(&app, "data", "k", &of_v1, &set(bad)).await.unwrap_err(), refused(400, "InvalidTag"));
    }
    app.send(Method::DELETE, "data", "k", &of_v1, &[], None).await.unwrap();
    assert_eq!(tags_of("data", "k", Some(v1.clone())).await, []);
    assert_eq!(get_version(&app, "data", "k", &v1).await.unwrap().body, "1");
    let bucket = app.list("data", &[("tagging", "")]).await;
    assert_eq!(bucket.unwrap_err(), refused(404, "NoSuchTagSet"));
    document(&app, "data", "", &[("tagging", "")], &set(&[("team", "red")])).await.unwrap();
    assert_eq!(tagged(&app.list("data", &[("tagging", "")]).await.unwrap().text()), [pair("team", "red")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_locked_stays_until_its_time() {
    let rig = Rig::with(Plan { min_part: 1, ..Plan::default() }).await;
    let app = rig.app();
    let lock = [("x-amz-bucket-object-lock-enabled", "true")];
    app.send(Method::PUT, "team-lock", "", &[], &lock, None).await.unwrap();
    let suspended = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    let suspension = document(&app, "team-lock", "", &[("versioning", "")], suspended).await;
    assert_eq!(suspension.unwrap_err(), refused(409, "InvalidBucketState"));
    let headers = [
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z"),
        ("x-amz-object-lock-legal-hold", "ON"),
    ];
    let v1 = version(&app.put_with("team-lock", "k", &headers, "content").await.unwrap());
    let head = app.head("team-lock", "k").await.unwrap();
    assert_eq!(head.header("x-amz-object-lock-mode"), "GOVERNANCE");
    assert_eq!(head.header("x-amz-object-lock-retain-until-date"), "2099-01-01T00:00:00.000Z");
    assert_eq!(head.header("x-amz-object-lock-legal-hold"), "ON");
    let remove = |bypass: bool| {
        let (app, v1) = (rig.app(), v1.clone());
        async move {
            let header: &[_] = if bypass { &[("x-amz-bypass-governance-retention", "true")] } else { &[] };
            app.send(Method::DELETE, "team-lock", "k", &[("versionId", &v1)], header, None).await
        }
    };
    assert_eq!(remove(true).await.unwrap_err(), refused(403, "AccessDenied"));
    let of_v1 = |resource: &'static str| [(resource, ""), ("versionId", v1.as_str())];
    document(&app, "team-lock", "k", &of_v1("legal-hold"), "<LegalHold><Status>OFF</Status></LegalHold>")
        .await
        .unwrap();
    let hold = app.send(Method::GET, "team-lock", "k", &of_v1("legal-hold"), &[], None).await.unwrap();
    assert_eq!(elements(&hold.text(), "Status"), ["OFF"]);
    let retention = |until: &str| {
        format!("<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>")
    };
    let shorter = document(&app, "team-lock", "k", &of_v1("retention"), &retention("2098-01-01T00:00:00Z")).await;
    assert_eq!(shorter.unwrap_err(), refused(403, "AccessDenied"));
    document(&app, "team-lock", "k", &of_v1("retention"), &retention("2100-01-01T00:00:00Z")).await.unwrap();
    let text = app.send(Method::GET, "team-lock", "k", &of_v1("retention"), &[], None).await.unwrap().text();
    assert_eq!(elements(&text, "RetainUntilDate"), ["2100-01-01T00:00:00.000Z"]);
    assert_eq!(app.delete("team-lock", "k").await.unwrap().header("x-amz-delete-marker"), "true");
    assert_eq!(remove(false).await.unwrap_err(), refused(403, "AccessDenied"));
    assert_eq!(get_version(&app, "team-lock", "k", &v1).await.unwrap().body, "content");
    remove(true).await.unwrap();

    // a lock that is only half one, or none, is refused and nothing is written
    for bad in [
        &[("x-amz-object-lock-mode", "GOVERNANCE")][..],
        &[("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z")],
        &[("x-amz-object-lock-mode", "FOREVER"), headers[1]],
        &[headers[0], ("x-amz-object-lock-retain-until-date", "tomorrow")],
        &[headers[0], ("x-amz-object-lock-retain-until-date", "2001-01-01T00:00:00Z")],
        &[("x-amz-object-lock-legal-hold", "PERHAPS")],
    ] {
        let answer = app.put_with("team-lock", "none", bad, "content").await;
        assert_eq!(answer.unwrap_err(), refused(400, "InvalidArgument"), "{bad:?}");
    }
    assert_eq!(app.head("team-lock", "none").await.unwrap_err().0, 404);
    let unchecked = rig.provider_client().put_with("up-team-lock", "none", &headers, "content").await;
    assert_eq!(unchecked.unwrap_err(), refused(400, "InvalidRequest"));
    // a copy has the lock that it is given, and many are deleted as one is
    app.put("team-lock", "free", "free").await.unwrap();
    let copied = version(&copy(&app, ("team-lock", "copy"), "/team-lock/free", &headers[..2]).await.unwrap());
    assert_eq!(app.head("team-lock", "copy").await.unwrap().header("x-amz-object-lock-mode"), "GOVERNANCE");
    let many = format!("<Delete><Object><Key>copy</Key><VersionId>{copied}</VersionId></Object></Delete>");
    for (header, codes) in [(&[][..], 1), (&[("x-amz-bypass-governance-retention", "true")], 0)] {
        let body = Some(Bytes::from(many.clone()));
        let text = app.send(Method::POST, "team-lock", "", &[("delete", "")], header, body).await.unwrap().text();
        assert_eq!(elements(&text, "Code"), vec!["AccessDenied"; codes]);
    }

    let config = app.list("team-lock", &[("object-lock", "")]).await.unwrap().text();
    assert_eq!(elements(&config, "ObjectLockEnabled"), ["Enabled"]);
    let default = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                   <Mode>COMPLIANCE</Mode><Days>2</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    document(&app, "team-lock", "", &[("object-lock", "")], default).await.unwrap();
    let id = create(&app, "team-lock", "big", &[]).await;
    let target = ("team-lock", "big", id.as_str());
    let etag = part(&app, target, 1, noise(70_000, 1)).await.unwrap().etag();
    let v2 = version(&complete(&app, target, &[(1, etag)]).await.unwrap());
    assert_eq!(app.head("team-lock", "big").await.unwrap().header("x-amz-object-lock-mode"), "COMPLIANCE");
    let bypass = [("x-amz-bypass-governance-retention", "true")];
    let gone = app.send(Method::DELETE, "team-lock", "big", &[("versionId", &v2)], &bypass, None).await;
    assert_eq!(gone.unwrap_err(), refused(403, "AccessDenied"));
    assert_eq!(app.get("team-lock", "big").await.unwrap().body, noise(70_000, 1));

    let without = app.put_with("data", "k", &headers, "content").await;
    assert_eq!(without.unwrap_err(), refused(400, "InvalidRequest"));
    let none = app.list("data", &[("object-lock", "")]).await;
    assert_eq!(none.unwrap_err(), refused(404, "ObjectLockConfigurationNotFoundError"));
    assert_eq!(document(&app, "data", "", &[("object-lock", "")], default).await.unwrap_err().0, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_of_the_current_version() {
    for etag in [sealgate::gateway::settings::EtagMode::Opaque, sealgate::gateway::settings::EtagMode::Md5] {
        let rig = Rig::with(Plan { etag, ..Plan::default() }).await;
        let app = rig.app();
        versioned(&app, "data").await;
        let one = app.put("data", "k", "first").await.unwrap();
        let two = app.put("data", "k", "second").await.unwrap();
        let absent = [("if-none-match", "*")];
        assert_eq!(app.put_with("data", "k", &absent, "x").await.unwrap_err(), refused(412, "PreconditionFailed"));
        let (is_one, is_two) = (one.etag(), two.etag());
        let old = app.put_with("data", "k", &[("if-match", &is_one)], "x").await;
        assert_eq!(old.unwrap_err(), refused(412, "PreconditionFailed"));
        // a deletion of a version by its id is judged by the current one, too
        let (v1, v2) = (version(&one), version(&two));
        let query = [("versionId", v1.as_str())];
        let delete =
            async |etag: &str| app.send(Method::DELETE, "data", "k", &query, &[("if-match", etag)], None).await;
        assert_eq!(delete(&is_one).await.unwrap_err(), refused(412, "PreconditionFailed"));
        delete(&is_two).await.unwrap();
        assert_eq!(listed(&list(&app, "data").await), [("k".into(), v2, true)]);
        app.delete("data", "k").await.unwrap();
        let gone = app.put_with("data", "k", &[("if-match", &is_two)], "x").await;
        assert_eq!(gone.unwrap_err(), refused(404, "NoSuchKey"));
        app.put_with("data", "k", &absent, "third").await.unwrap();
        assert_eq!(app.get("data", "k").await.unwrap().body, "third");
    }
}

fn integrity(outcome: Outcome) -> bool {
    outcome.is_err_and(|error| error == refused(502, "IntegrityError"))
}

fn becomes(told: &mut Told, other: &Got) {
    told.status = StatusCode::from_u16(other.status).unwrap();
    told.headers = other.headers.clone();
    told.body = other.body.to_vec();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_under_a_version_id_is_caught_where_it_can_be() {
    let lied = Lied::new().await;
    let (app, provider) = (lied.app(), lied.rig.provider_client());
    versioned(&app, "data").await;
    let v1 = version(&app.put("data", "k", "the first").await.unwrap());
    let v2 = version(&app.put("data", "k", "and second").await.unwrap());
    let old = get_version(&provider, "up-data", "k", &v1).await.unwrap();
    // it says which one it is
    let other = Got { status: old.status, headers: old.headers.clone(), body: old.body.clone() };
    lied.liar.lies(move |asked, told| {
        if asked.is("GET", "/up-data/k") || asked.is("HEAD", "/up-data/k") {
            becomes(told, &other);
        }
    });
    assert!(integrity(get_version(&app, "data", "k", &v2).await));
    assert_eq!(of_version(&app, Method::HEAD, "data", "k", &v2).await.unwrap_err().0, 502);
    let copied = copy(&app, ("data", "c"), &format!("/data/k?versionId={v2}"), &[]).await;
    assert!(integrity(copied));
    // the older version is a whole object of that key: without an id, or with a false one, nothing tells it from a newer
    // one. What comes is what was once sealed under that key, and nothing else.
    assert_eq!(app.get("data", "k").await.unwrap().body, "the first");
    let (other, claimed) =
        (Got { status: old.status, headers: old.headers.clone(), body: old.body.clone() }, v2.clone());
    lied.liar.lies(move |asked, told| {
        if asked.is("GET", "/up-data/k") {
            becomes(told, &other);
            told.headers.insert("x-amz-version-id", claimed.parse().unwrap());
        }
    });
    assert_eq!(get_version(&app, "data", "k", &v2).await.unwrap().body, "the first");
    // of two versions one half each is nothing that was sealed
    let (headers, body) = (old.headers.clone(), old.body.clone());
    for with_headers in [true, false] {
        let (headers, body, claimed) = (headers.clone(), body.clone(), v2.clone());
        lied.liar.lies(move |asked, told| {
            if asked.is("GET", "/up-data/k") && with_headers {
                told.headers = headers.clone();
                told.headers.insert("x-amz-version-id", claimed.parse().unwrap());
            } else if asked.is("GET", "/up-data/k") {
                told.body = body.to_vec();
            }
        });
        assert!(get_version(&app, "data", "k", &v2).await.is_err(), "{with_headers}");
    }
    // another key's version is caught by its address
    app.put("data", "l", "another").await.unwrap();
    let other = provider.get("up-data", "l").await.unwrap();
    let claimed = v2.clone();
    lied.liar.lies(move |asked, told| {
        if asked.is("GET", "/up-data/k") {
            becomes(told, &other);
            told.headers.insert("x-amz-version-id", claimed.parse().unwrap());
        }
    });
    assert!(integrity(get_version(&app, "data", "k", &v2).await));
    // ids are the store's: without one there is none to pass on, and the plaintext is what it is
    lied.liar.lies(|_, told| {
        told.headers.remove("x-amz-version-id");
    });
    let got = get_version(&app, "data", "k", &v2).await.unwrap();
    assert_eq!((version(&got).as_str(), &got.body[..]), ("", &b"and second"[..]));
    assert_eq!(version(&app.put("data", "k", "third").await.unwrap()), "");
    let claimed = v1.clone();
    lied.liar.lies(move |asked, told| {
        if asked.is("PUT", "/up-data/k") {
            told.headers.insert("x-amz-version-id", claimed.parse().unwrap());
        }
    });
    // a false id of a write is believed, as is any: what lies under it is still only what was sealed
    assert_eq!(version(&app.put("data", "k", "fourth").await.unwrap()), v1);
    assert_eq!(get_version(&app, "data", "k", &v1).await.unwrap().body, "the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_reads_another_version_than_it_was_asked_for_is_caught() {
    struct Another(VersionId);
    impl Hooks for Another {
        fn version(&self, _: &BucketName, _: &ObjectKey, version: &mut Option<VersionId>) {
            *version = Some(self.0);
        }
    }
    struct Claims(VersionId);
    impl Hooks for Claims {
        fn info(&self, _: &BucketName, _: &ObjectKey, info: &mut ObjectInfo) {
            info.version = Some(self.0);
        }
    }
    let rig = Rig::with(Plan { min_part: 1, ..Plan::default() }).await;
    let app = rig.app();
    versioned(&app, "data").await;
    // simple objects and such of parts, whose tail is read first
    for key in ["simple", "parts"] {
        let mut versions = Vec::new();
        for seed in [1, 2] {
            if key == "simple" {
                versions.push(version(&app.put("data", key, noise(200_000, seed)).await.unwrap()));
                continue;
            }
            let id = create(&app, "data", key, &[]).await;
            let etag = part(&app, ("data", key, &id), 1, noise(200_000, seed)).await.unwrap().etag();
            versions.push(version(&complete(&app, ("data", key, &id), &[(1, etag)]).await.unwrap()));
        }
        let [v1, v2] = &versions[..] else { unreachable!() };
        rig.store.set_hooks(Some(Arc::new(Another(v1.parse().unwrap()))));
        assert!(integrity(get_version(&app, "data", key, v2).await), "{key}");
        rig.store.set_hooks(Some(Arc::new(Claims(v1.parse().unwrap()))));
        assert!(integrity(get_version(&app, "data", key, v2).await), "{key}");
        rig.store.set_hooks(None);
        assert_eq!(get_version(&app, "data", key, v2).await.unwrap().body, noise(200_000, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn markers_that_are_none_hide_an_object_but_show_nothing_false() {
    let lied = Lied::new().await;
    let app = lied.app();
    versioned(&app, "data").await;
    let v1 = version(&app.put("data", "k", "content").await.unwrap());
    // beside an object it is no word of S3's
    lied.liar.lies(|_, told| told.set("x-amz-delete-marker", "true"));
    for got in [app.get("data", "k").await, app.head("data", "k").await, get_version(&app, "data", "k", &v1).await] {
        assert_eq!(got.unwrap().header("x-amz-delete-marker"), "");
    }
    // that an object was deleted is the store's word: whoever can delete can say so
    for (status, code) in [(404, "NoSuchKey"), (405, "MethodNotAllowed")] {
        lied.liar.lies(move |asked, told| {
            if asked.is("GET", "/up-data/k") {
                told.status = StatusCode::from_u16(status).unwrap();
                told.headers = HeaderMap::new();
                told.set("x-amz-delete-marker", "true");
                told.body = format!("<Error><Code>{code}</Code></Error>").into();
            }
        });
        assert_eq!(app.get("data", "k").await.unwrap_err(), refused(status, code));
        let (_, headers) = refusal(&app, Method::GET, "k", None).await;
        assert_eq!(told(&headers, "x-amz-delete-marker"), "true");
    }
    // and of another refusal it is none
    lied.liar.lies(|asked, told| {
        if asked.is("GET", "/up-data/k") {
            told.status = StatusCode::FORBIDDEN;
            told.set("x-amz-delete-marker", "true");
            told.body = "<Error><Code>AccessDenied</Code></Error>".into();
        }
    });
    let (status, headers) = refusal(&app, Method::GET, "k", None).await;
    assert_eq!((status, told(&headers, "x-amz-delete-marker").as_str()), (403, ""));
    // many that were deleted: what it says of the gateway's own keys is no answer to anything that was asked
    lied.liar.lies(|asked, told| {
        if asked.query.contains("delete") {
            let own = "<Key>.sealgate/u/1</Key>";
            told.body = format!(
                "<DeleteResult><Deleted>{own}</Deleted><Deleted><Key>l</Key><DeleteMarker>true</DeleteMarker></Deleted>\
                 <Error>{own}<Code>AccessDenied</Code></Error></DeleteResult>"
            )
            .into();
        }
    });
    let body = Some(Bytes::from("<Delete><Object><Key>l</Key></Object></Delete>"));
    let text = app.send(Method::POST, "data", "", &[("delete", "")], &[], body).await.unwrap().text();
    assert_eq!((elements(&text, "Key"), elements(&text, "Code")), (vec!["l".to_owned()], vec![]));
    // a deletion that says it made a marker and made none, or the reverse
    struct Denies;
    impl Hooks for Denies {
        fn deleted(&self, _: &BucketName, _: &ObjectKey, deleted: &mut Deleted) {
            deleted.is_marker = !deleted.is_marker;
        }
    }
    lied.liar.tells_the_truth();
    lied.rig.store.set_hooks(Some(Arc::new(Denies)));
    assert_eq!(app.delete("data", "k").await.unwrap().header("x-amz-delete-marker"), "");
    lied.rig.store.set_hooks(None);
    assert_eq!(app.get("data", "k").await.unwrap_err(), refused(404, "NoSuchKey"));
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_documents_of_tags_and_locks_are_refused_and_no_copy_is_made_of_them() {
    let lied = Lied::new().await;
    let (app, provider) = (lied.app(), lied.rig.provider_client());
    app.put_with("data", "k", &[("x-amz-tagging", "a=b")], "content").await.unwrap();
    let unavailable = refused(503, "ServiceUnavailable");
    for body in [
        "",
        "a=b",
        "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
        "<Tagging><TagSet><Tag><Value>a</Value></Tag></TagSet></Tagging>",
        "<Tags><TagSet/></Tags>",
        "<!DOCTYPE a><Tagging><TagSet/></Tagging>",
        "<Tagging><TagSet>",
    ] {
        lied.liar.lies(move |asked, told| {
            if asked.query.contains("tagging") {
                told.body = body.into();
            }
        });
        let got = app.send(Method::GET, "data", "k", &[("tagging", "")], &[], None).await;
        assert_eq!(got.unwrap_err(), unavailable, "{body}");
        // a copy through the gateway takes the source's tags along
        assert_eq!(copy(&app, ("second", "c"), "/data/k", &[]).await.unwrap_err(), unavailable, "{body}");
        assert_eq!(provider.head("up-second", "c").await.unwrap_err().0, 404);
    }
    // what it says of their number is its own
    lied.liar.lies(|asked, told| {
        if asked.is("GET", "/up-data/k") {
            told.set("x-amz-tagging-count", "many");
        }
    });
    let got = app.get("data", "k").await.unwrap();
    assert_eq!((&got.body[..], got.header("x-amz-tagging-count")), (&b"content"[..], "many"));
    for resource in ["retention", "legal-hold"] {
        for body in ["", "GOVERNANCE", "<Retention>", "<?run?><Retention/>", "<!DOCTYPE a><Retention/>"] {
            lied.liar.lies(move |asked, told| {
                if asked.query.contains(resource) {
                    told.status = StatusCode::OK;
                    told.headers = HeaderMap::new();
                    told.body = body.into();
                }
            });
            let got = app.send(Method::GET, "data", "k", &[(resource, "")], &[], None).await;
            assert_eq!(got.unwrap_err(), unavailable, "{resource} {body}");
        }
    }
    // a lock that the store says it took, and did not, is the store's to keep
    lied.liar.lies(|asked, told| {
        if asked.query.contains("retention") {
            told.status = StatusCode::OK;
            told.body.clear();
        }
    });
    let retention =
        "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>";
    document(&app, "data", "k", &[("retention", "")], retention).await.unwrap();
    app.delete("data", "k").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_versions_show_no_reserved_key_whatever_the_store_lists() {
    let lied = Lied::new().await;
    let app = lied.app();
    versioned(&app, "data").await;
    app.put("data", "k", "content").await.unwrap();
    let entry = |key: &str, version: &str, latest: bool| {
        format!(
            "<Version><Key>{key}</Key><VersionId>{version}</VersionId><IsLatest>{latest}</IsLatest>\
             <LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"e\"</ETag><Size>9</Size></Version>"
        )
    };
    let answers = |inner: String, kind: &'static str| {
        lied.liar.lies(move |asked, told| {
            if asked.is("GET", "/up-data") && asked.query.contains("versions") == (kind == "ListVersionsResult") {
                told.status = StatusCode::OK;
                told.body = format!("<{kind}><Name>up-data</Name>{inner}</{kind}>").into();
            }
        });
    };
    let unavailable = refused(503, "ServiceUnavailable");
    // out of order, twice, two that are the latest, keys that do not lie in the bucket: the store's word, shown as it is; what
    // is read under any of them is only what was sealed under that key
    let names = [("z", "v1", true), ("a", "v2", true), ("a", "v2", true), ("a", "v3", true), ("nowhere", "v4", false)];
    let all: String = names.iter().map(|(key, version, latest)| entry(key, version, *latest)).collect();
    answers(
        [&all, &*entry(".sealgate/u/1", "v", true), &entry("/.sealgate/u/1", "v", true)].concat(),
        "ListVersionsResult",
    );
    let expected = names.map(|(key, version, latest)| (key.to_owned(), version.to_owned(), latest));
    let text = list(&app, "data").await;
    assert_eq!(listed(&text), expected);
    assert!(!text.contains(".sealgate"));
    assert!(app.get("data", "nowhere").await.is_err());
    // nothing at all though there is something: it cannot be told from the truth
    answers(String::new(), "ListVersionsResult");
    assert_eq!(listed(&list(&app, "data").await), []);
    // a marker of the next page among the gateway's own keys
    for marker in ["<NextKeyMarker>.sealgate/u/1</NextKeyMarker>", "<NextKeyMarker>.sealgate/</NextKeyMarker>"] {
        answers(format!("{all}<IsTruncated>true</IsTruncated>{marker}"), "ListVersionsResult");
        assert_eq!(app.list("data", &[("versions", "")]).await.unwrap_err(), unavailable, "{marker}");
        // of a page that is the last one it is nothing
        answers(format!("{all}<IsTruncated>false</IsTruncated>{marker}"), "ListVersionsResult");
        let text = app.list("data", &[("versions", "")]).await.unwrap().text();
        assert!(!text.contains(".sealgate") && listed(&text) == expected, "{text}");
    }
    let plain = "<Contents><Key>a</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"e\"</ETag>\
                 <Size>9</Size></Contents>";
    answers(
        format!("{plain}<IsTruncated>true</IsTruncated><NextMarker>.sealgate/u/1</NextMarker>"),
        "ListBucketResult",
    );
    assert_eq!(app.list("data", &[]).await.unwrap_err(), unavailable);
    // an honest page that ends there is gone on behind, whatever names it still has and in whatever order
    let marked = "<DeleteMarker><Key>-a</Key><VersionId>m</VersionId><IsLatest>true</IsLatest>\
                  <LastModified>2026-01-01T00:00:00.000Z</LastModified></DeleteMarker>";
    let first = [entry("-a", "v1", false), entry(".sealgate/u/1", "v", true)].concat() + marked;
    let more = "<IsTruncated>true</IsTruncated><NextKeyMarker>.sealgate/u/1</NextKeyMarker>";
    let pages = [format!("{first}{more}"), more.to_owned(), entry("z", "v1", true)];
    let asked = AtomicUsize::new(0);
    lied.liar.lies(move |_, told| {
        let page = pages[asked.fetch_add(1, Ordering::SeqCst).min(2)].clone();
        told.body = format!("<ListVersionsResult>{page}</ListVersionsResult>").into_bytes();
        told.status = StatusCode::OK;
    });
    let text = app.list("data", &[("versions", "")]).await.unwrap().text();
    assert!(!text.contains(".sealgate") && !text.contains("<IsTruncated>true"), "{text}");
    assert_eq!(elements(&text, "Key"), ["-a", "-a", "z"]);
    // a full page whose next one begins there
    answers(
        entry("-a", "v1", true) + "<IsTruncated>true</IsTruncated><NextKeyMarker>.sealgate/u/1</NextKeyMarker>",
        "ListVersionsResult",
    );
    let text = app.list("data", &[("versions", ""), ("max-keys", "1")]).await.unwrap().text();
    assert_eq!(elements(&text, "Key"), ["-a"]);
    assert!(text.contains("<NextKeyMarker>") && !text.contains(".sealgate/u"), "{text}");
    // common prefixes too
    let prefix = |text: &str| format!("<CommonPrefixes><Prefix>{text}</Prefix></CommonPrefixes>");
    answers([prefix(".sealgate/"), prefix(".sealgate/u/"), prefix("b/")].concat(), "ListVersionsResult");
    let text = app.list("data", &[("versions", ""), ("delimiter", "/")]).await.unwrap().text();
    assert_eq!(elements(&elements(&text, "CommonPrefixes").concat(), "Prefix"), ["b/"]);
    // more than was asked for, and entries that say not enough
    answers([entry("a", "v1", true), entry("b", "v1", true)].concat(), "ListVersionsResult");
    let one = [("versions", ""), ("max-keys", "1")];
    assert_eq!(app.list("data", &one).await.unwrap_err(), unavailable);
    for gap in ["<VersionId>v1</VersionId>", "<Key>a</Key>", "<Size>9</Size>", "<ETag>\"e\"</ETag>"] {
        answers(entry("a", "v1", true).replace(gap, ""), "ListVersionsResult");
        assert_eq!(app.list("data", &[("versions", "")]).await.unwrap_err(), unavailable, "{gap}");
    }
    for (from, to) in [("true", "perhaps"), ("2026-01-01", "yesterday"), (">9<", ">-9<")] {
        answers(entry("a", "v1", true).replace(from, to), "ListVersionsResult");
        assert_eq!(app.list("data", &[("versions", "")]).await.unwrap_err(), unavailable, "{to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_lie_are_shown_as_they_are_but_without_reserved_keys() {
    struct Lists;
    impl Hooks for Lists {
        fn list(&self, _: &BucketName, page: &mut sealgate::embedded::ListPage) {
            // the last twice, in the wrong order, and one left out
            page.objects.reverse();
            page.objects.pop();
            page.objects.push(page.objects[0].clone());
            page.objects[0].size = 3;
        }
        fn list_versions(&self, _: &BucketName, page: &mut VersionsPage) {
            page.versions.reverse();
            page.versions.iter_mut().for_each(|version| version.is_latest = true);
        }
    }
    let rig = Rig::new().await;
    let app = rig.app();
    versioned(&app, "data").await;
    for key in ["a", "b", "c"] {
        app.put("data", key, key).await.unwrap();
    }
    create(&app, "data", "u", &[]).await;
    rig.store.set_hooks(Some(Arc::new(Lists)));
    for version in ["1", "2"] {
        let text = app.list("data", &[("list-type", version)]).await.unwrap().text();
        assert_eq!(elements(&text, "Key"), ["c", "b", "a", "c"], "{version}");
        // no sealed object has that length
        assert_eq!(elements(&text, "Size"), ["3", "1", "1", "1"]);
        assert!(!text.contains(".sealgate"));
    }
    let text = list(&app, "data").await;
    assert!(listed(&text).iter().all(|(_, _, latest)| *latest) && !text.contains(".sealgate"));
    assert_eq!(elements(&text, "Key"), ["c", "b", "a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_a_condition_is_believed_and_one_that_invents_a_refusal_too() {
    struct Ignores;
    impl Hooks for Ignores {
        fn write_condition(&self, _: &BucketName, _: &ObjectKey, condition: &mut WriteCondition) {
            *condition = WriteCondition::None;
        }
    }
    let lied = Lied::new().await;
    let app = lied.app();
    versioned(&app, "data").await;
    let one = app.put("data", "k", "first").await.unwrap();
    // only the store knows what is there at that moment: that it did not look cannot be seen from its 200. `check --online`
    // asks a store for it; what was overwritten is still a version where there are versions.
    lied.rig.store.set_hooks(Some(Arc::new(Ignores)));
    app.put_with("data", "k", &[("if-none-match", "*")], "second").await.unwrap();
    app.put_with("data", "k", &[("if-match", &one.etag())], "third").await.unwrap();
    assert_eq!(app.get("data", "k").await.unwrap().body, "third");
    assert_eq!(get_version(&app, "data", "k", &version(&one)).await.unwrap().body, "first");
    let id = create(&app, "data", "k", &[]).await;
    let etag = part(&app, ("data", "k", &id), 1, "parts").await.unwrap().etag();
    let list = super::multipart::list(&[(1, etag)]);
    let absent = [("if-none-match", "*")];
    app.send(Method::POST, "data", "k", &[("uploadId", &id)], &absent, Some(list.into())).await.unwrap();
    assert_eq!(app.get("data", "k").await.unwrap().body, "parts");
    lied.rig.store.set_hooks(None);
    // a refusal without reason, of a write that even happened: a client that believes it tries again or gives up
    lied.liar.lies(|asked, told| {
        if asked.is("PUT", "/up-data/k") {
            told.status = StatusCode::PRECONDITION_FAILED;
            told.body = "<Error><Code>PreconditionFailed</Code></Error>".into();
        }
    });
    let current = app.head("data", "k").await.unwrap().etag();
    let answer = app.put_with("data", "k", &[("if-match", &current)], "happened").await;
    assert_eq!(answer.unwrap_err(), refused(412, "PreconditionFailed"));
    assert_eq!(app.put("data", "k", "unasked").await.unwrap_err(), refused(412, "PreconditionFailed"));
    assert_eq!(app.get("data", "k").await.unwrap().body, "unasked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_deleted_while_it_is_read_is_no_other_one() {
    let rig = Rig::new().await;
    let app = rig.app();
    versioned(&app, "data").await;
    let body = noise(3 << 20, 1);
    let v1 = version(&app.put("data", "k", body.clone()).await.unwrap());
    app.put("data", "k", noise(3 << 20, 2)).await.unwrap();
    let name: BucketName = "up-data".parse().unwrap();
    let key = ObjectKey::new(b"k").unwrap();
    let answer = app.sent(Identity::Own, Method::GET, ("data", "k"), &[("versionId", &v1)], &[], None).await.unwrap();
    rig.store.delete_version(&name, Deletion::of(key, Some(v1.parse().unwrap()))).unwrap();
    let left = rig.store.list_versions(&name, &ListVersionsRequest { max_keys: 9, ..Default::default() }).unwrap();
    assert_eq!(left.versions.len(), 1);
    // the read goes on to its end
    assert!(answer.bytes(1 << 30).await.unwrap() == body);
    assert_eq!(get_version(&app, "data", "k", &v1).await.unwrap_err(), refused(404, "NoSuchVersion"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_uploads_name_nothing_of_the_gateways_own() {
    let lied = Lied::new().await;
    let app = lied.app();
    for (truncated, shown) in [(true, true), (false, false)] {
        lied.liar.lies(move |_, told| {
            told.status = StatusCode::OK;
            told.body = format!(
                "<ListMultipartUploadsResult><IsTruncated>{truncated}</IsTruncated>\
                 <NextKeyMarker>.sealgate/u/1</NextKeyMarker><NextUploadIdMarker>u1</NextUploadIdMarker>\
                 <Upload><Key>.sealgate/u/1</Key><UploadId>u1</UploadId><Initiated>2026-01-01T00:00:00.000Z</Initiated>\
                 </Upload></ListMultipartUploadsResult>"
            )
            .into_bytes();
        });
        let text = app.list("data", &[("uploads", ""), ("encoding-type", "url")]).await.unwrap().text();
        assert!(!text.contains(".sealgate/u") && !text.contains("u1"), "{text}");
        assert_eq!(text.contains("<NextKeyMarker>"), shown, "{text}");
    }
}
