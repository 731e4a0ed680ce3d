//! What is the store's own passes as it is: documents of sub-resources, lists of versions; and GetObjectAttributes, which is
//! answered from what is sealed. The provider that is asked is one that has such documents.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, StatusCode};

use super::liar::Told;
use super::lies::Lied;
use super::multipart::{complete, create, part};
use super::rig::{Rig, elements, noise};

const ACL: &str = "<AccessControlPolicy><Owner><ID>me</ID></Owner><AccessControlList/></AccessControlPolicy>";

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// Lets the provider answer what has `query` in it with this document.
fn answers(lied: &Lied, query: &'static str, body: &'static str) {
    lied.liar.lies(move |asked, told| {
        if asked.query.contains(query) {
            told.status = StatusCode::OK;
            told.headers.clear();
            told.body = body.into();
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_sub_resources_pass_in_both_directions() {
    let lied = Lied::new().await;
    let app = lied.app();
    answers(&lied, "acl=", ACL);
    let got = app.send(Method::GET, "data", "a/b", &[("acl", ""), ("versionId", "v1")], &[], None).await.unwrap();
    assert_eq!((got.text().as_str(), got.header("content-type")), (ACL, "application/xml"));
    let asked = lied.liar.requests.lock().unwrap().last().unwrap().clone();
    assert!(asked.is("GET", "/up-data/a/b"));
    assert_eq!(asked.query, "acl=&versionId=v1");

    answers(&lied, "lifecycle=", "");
    let rules = Bytes::from_static(b"<LifecycleConfiguration><Rule/></LifecycleConfiguration>");
    let header = [("x-amz-transition-default-minimum-object-size", "varies_by_storage_class")];
    app.send(Method::PUT, "data", "", &[("lifecycle", "")], &header, Some(rules.clone())).await.unwrap();
    let asked = lied.liar.requests.lock().unwrap().last().unwrap().clone();
    assert!(asked.is("PUT", "/up-data"));
    assert!(asked.headers.contains_key("content-md5") && asked.headers.contains_key(header[0].0));
    let seen = lied.liar.seen.lock().unwrap().clone();
    assert!(seen.windows(rules.len()).any(|window| window == rules));

    answers(&lied, "policy=", "{\"Version\":\"2012-10-17\",\"Statement\":[]}");
    let got = app.list("data", &[("policy", "")]).await.unwrap();
    assert_eq!(got.header("content-type"), "application/json");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_cannot_pass_anything_for_a_document() {
    let lied = Lied::new().await;
    let app = lied.app();
    for (query, body) in [
        ("acl", "<!DOCTYPE a [<!ENTITY b \"bbbb\">]><AccessControlPolicy>&b;</AccessControlPolicy>"),
        ("acl", "<html><script>"),
        ("acl", "plaintext"),
        ("acl", ""),
        ("policy", "<Policy/>"),
    ] {
        answers(&lied, if query == "acl" { "acl=" } else { "policy=" }, body);
        let got = app.list("data", &[(query, "")]).await;
        assert_eq!(got.unwrap_err(), refused(503, "ServiceUnavailable"), "{body}");
    }
    // what a store says with our own words is not our verdict
    lied.liar.lies(|_, told| {
        told.status = StatusCode::FORBIDDEN;
        told.body = "<Error><Code>KeyRevoked</Code></Error>".into();
    });
    assert_eq!(app.list("data", &[("acl", "")]).await.unwrap_err(), refused(403, "AccessDenied"));
    lied.liar.lies(|_, told| {
        told.status = StatusCode::NOT_FOUND;
        told.body = "<Error><Code>NoSuchCORSConfiguration</Code></Error>".into();
    });
    assert_eq!(app.list("data", &[("cors", "")]).await.unwrap_err(), refused(404, "NoSuchCORSConfiguration"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sub_resources_need_rights_and_a_key_of_the_applications() {
    let rig = Rig::new().await;
    let put = |id: &'static str, bucket, key, query| {
        let client = rig.client(id);
        async move { client.send(Method::PUT, bucket, key, &[(query, "")], &[], Some(ACL.into())).await.unwrap_err() }
    };
    let denied = refused(403, "AccessDenied");
    assert_eq!(put("AKREADER", "data", "", "policy").await, denied);
    assert_eq!(put("AKWRITER", "data", "k", "retention").await, denied);
    assert_eq!(put("AKBETA", "other", "k", "acl").await, denied);
    assert_eq!(put("AKALPHA", "data", ".sealgate/x", "acl").await, denied);
    let restore = "<RestoreRequest><Type>SELECT</Type></RestoreRequest>";
    let refusal = rig.app().post("data", "k", &[("restore", "")], restore).await.unwrap_err();
    assert_eq!(refusal, refused(501, "NotImplemented"));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_listed_with_sizes_of_the_plaintext_and_without_own_keys() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", vec![7u8; 100_000]).await.unwrap();
    let stored = lied.rig.stored("up-data").await.get("k").copied().unwrap();
    lied.liar.lies(move |asked, told| {
        if asked.query.contains("versions=") {
            let version = |key: &str, size| {
                format!(
                    "<Version><Key>{key}</Key><VersionId>v1</VersionId><IsLatest>true</IsLatest>\
                     <LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"e\"</ETag><Size>{size}</Size></Version>"
                )
            };
            let marker = "<DeleteMarker><Key>gone</Key><VersionId>v2</VersionId><IsLatest>true</IsLatest>\
                          <LastModified>2026-01-01T00:00:00.000Z</LastModified></DeleteMarker>";
            let last = if asked.query.contains("key-marker=") { marker } else { "" };
            let own = if last.is_empty() { version(".sealgate/u/1", 9) } else { version("k%20k", stored) };
            let cut = last.is_empty();
            told.body = format!(
                "<ListVersionsResult><Name>up-data</Name><EncodingType>url</EncodingType><IsTruncated>{cut}</IsTruncated>\
                 {own}{last}</ListVersionsResult>"
            )
            .into();
            told.status = StatusCode::OK;
        }
    });
    let text = app.list("data", &[("versions", "")]).await.unwrap().text();
    assert_eq!(elements(&text, "Key"), ["k k", "gone"]);
    assert_eq!(elements(&text, "Size"), ["100000"]);
    assert_eq!(elements(&text, "ETag"), ["&quot;e-0&quot;"]);
    assert_eq!(elements(&text, "Name"), ["data"]);
    assert_eq!(elements(&text, "IsTruncated"), ["false"]);
    assert_eq!(text.matches("<DeleteMarker>").count(), 1);
    assert!(!text.contains(".sealgate"));
    // a store that repeats its first page for ever
    lied.liar.lies(|asked, told| {
        if asked.query.contains("versions=") {
            told.body = "<ListVersionsResult><IsTruncated>true</IsTruncated><DeleteMarker><Key>.sealgate/a</Key>\
                         <VersionId>v</VersionId><LastModified>2026-01-01T00:00:00.000Z</LastModified></DeleteMarker>\
                         </ListVersionsResult>"
                .into();
            told.status = StatusCode::OK;
        }
    });
    assert_eq!(app.list("data", &[("versions", "")]).await.unwrap_err(), refused(503, "ServiceUnavailable"));
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_are_those_of_the_plaintext() {
    let rig = Rig::new().await;
    let app = rig.app();
    let all = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize";
    let ask = |key: &'static str, headers: Vec<(&'static str, &'static str)>| {
        let app = rig.app();
        async move { app.send(Method::GET, "data", key, &[("attributes", "")], &headers, None).await }
    };
    let put = app.put_with("data", "small", &[("x-amz-checksum-crc32", "i9aeUg==")], "hello world!").await;
    assert_eq!(put.unwrap_err().1, "BadDigest");
    let put = app.put_with("data", "small", &[("x-amz-checksum-crc32", "A7TCbQ==")], "hello world!").await.unwrap();
    let text = ask("small", vec![("x-amz-object-attributes", all)]).await.unwrap().text();
    assert_eq!(format!("\"{}\"", elements(&text, "ETag")[0]), put.etag());
    assert_eq!(elements(&text, "ObjectSize"), ["12"]);
    assert_eq!(elements(&text, "ChecksumCRC32"), ["A7TCbQ=="]);
    assert_eq!(elements(&text, "ChecksumType"), ["FULL_OBJECT"]);
    assert!(!text.contains("ObjectParts"));

    let upload = create(&app, "data", "big", &[]).await;
    let target = ("data", "big", upload.as_str());
    let parts = [
        (2, part(&app, target, 2, noise(5 << 20, 1)).await.unwrap().etag()),
        (9, part(&app, target, 9, noise(1000, 2)).await.unwrap().etag()),
    ];
    complete(&app, target, &parts).await.unwrap();
    let first = vec![("x-amz-object-attributes", "ObjectParts"), ("x-amz-max-parts", "1")];
    let text = ask("big", first).await.unwrap().text();
    assert_eq!(elements(&text, "PartsCount"), ["2"]);
    assert_eq!(elements(&text, "PartNumber"), ["1"]);
    assert_eq!(elements(&text, "NextPartNumberMarker"), ["1"]);
    assert_eq!(elements(&text, "IsTruncated"), ["true"]);
    assert!(!text.contains("ObjectSize") && !text.contains("ETag"));
    let next = vec![("x-amz-object-attributes", "ObjectParts"), ("x-amz-part-number-marker", "1")];
    let text = ask("big", next).await.unwrap().text();
    assert_eq!(
        (elements(&text, "Size"), elements(&text, "IsTruncated")),
        (vec!["1000".to_owned()], vec!["false".to_owned()])
    );
    assert_eq!(ask("nothing", vec![("x-amz-object-attributes", all)]).await.unwrap_err(), refused(404, "NoSuchKey"));
    assert_eq!(ask("small", vec![]).await.unwrap_err(), refused(400, "InvalidArgument"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_asked_of_the_store() {
    let lied = Lied::new().await;
    let headers = [
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-retain-until-date", "2030-01-01T00:00:00Z"),
        ("x-amz-object-lock-legal-hold", "ON"),
    ];
    let _ = lied.app().put_with("data", "k", &headers, "content").await;
    let asked = lied.liar.requests.lock().unwrap().last().unwrap().clone();
    assert!(asked.is("PUT", "/up-data/k"));
    for (name, value) in headers {
        assert_eq!(asked.headers.get(name).unwrap(), value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_repeats_of_a_request_is_not_needed() {
    // Ceph repeats a delimiter as it came though it was asked to encode all names
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "a%b", "x").await.unwrap();
    lied.liar.lies(|asked, told| {
        if asked.query.contains("delimiter=") {
            let text = String::from_utf8(told.body.clone()).unwrap();
            told.body = text.replace("<Delimiter>%25</Delimiter>", "<Delimiter>%</Delimiter>").into();
        }
    });
    for version in ["1", "2"] {
        let text = app.list("data", &[("list-type", version), ("delimiter", "%")]).await.unwrap().text();
        assert_eq!(
            (elements(&text, "Delimiter"), elements(&text, "Prefix").pop()),
            (vec!["%".to_owned()], Some("a%".to_owned()))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_name_destinations_pass_where_the_configuration_says_so() {
    let lied = Lied::new().await;
    let app = lied.app();
    lied.liar.lies(|asked, told| {
        if asked.query.contains("replication") || asked.query.contains("notification") {
            told.status = StatusCode::OK;
            told.headers.clear();
            told.body.clear();
        }
    });
    for (resource, document) in [
        ("replication", "<ReplicationConfiguration><Role>r</Role></ReplicationConfiguration>"),
        ("notification", "<NotificationConfiguration></NotificationConfiguration>"),
    ] {
        let put = async |bucket| app.send(Method::PUT, bucket, "", &[(resource, "")], &[], Some(document.into())).await;
        let before = lied.liar.requests.lock().unwrap().len();
        assert_eq!(put("data").await.unwrap_err(), (403, "AccessDenied".to_owned()));
        assert_eq!(before, lied.liar.requests.lock().unwrap().len());
        put("second").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_markers_of_records_do_not_keep_a_bucket() {
    let lied = Lied::new().await;
    let app = lied.app();
    let created = app.post("data", "k", &[("uploads", "")], "").await.unwrap();
    let id = elements(&created.text(), "UploadId").remove(0);
    app.send(Method::DELETE, "data", "k", &[("uploadId", &id)], &[], None).await.unwrap();
    let asked = lied.liar.requests.lock().unwrap().clone();
    let record = asked.iter().find(|asked| asked.is("DELETE", &asked.path) && asked.path.contains(".sealgate/"));
    let record = record.unwrap().path.strip_prefix("/up-data/").unwrap().to_owned();
    let is_there = Arc::new(AtomicBool::new(true));
    lied.liar.lies({
        let (record, is_there) = (record.clone(), Arc::clone(&is_there));
        move |asked, told| {
            let set = |told: &mut Told, status, body: String| {
                (told.status, told.headers, told.body) = (status, http::HeaderMap::new(), body.into());
            };
            if asked.is("DELETE", "/up-data") && is_there.load(Ordering::Relaxed) {
                set(told, StatusCode::CONFLICT, "<Error><Code>BucketNotEmpty</Code></Error>".to_owned());
            } else if asked.is("DELETE", "/up-data") {
                set(told, StatusCode::NO_CONTENT, String::new());
            } else if asked.is("GET", "/up-data") && asked.query.contains("versions") {
                let marker = format!(
                    "<DeleteMarker><Key>{record}</Key><VersionId>v2</VersionId><IsLatest>true</IsLatest>\
                     <LastModified>2026-01-01T00:00:00.000Z</LastModified></DeleteMarker>"
                );
                let body = format!("<ListVersionsResult><IsTruncated>false</IsTruncated>{marker}</ListVersionsResult>");
                set(told, StatusCode::OK, body);
            } else if asked.is("DELETE", &format!("/up-data/{record}")) && asked.query == "versionId=v2" {
                is_there.store(false, Ordering::Relaxed);
                set(told, StatusCode::NO_CONTENT, String::new());
            }
        }
    });
    app.send(Method::DELETE, "data", "", &[], &[], None).await.unwrap();
    assert!(!is_there.load(Ordering::Relaxed));
}
