//! What the application sees.

use base64::Engine as _;
use http::Method;
use sealgate::digest::{ChecksumAlgorithm, checksum};

use super::rig::{Rig, elements, noise};

fn marker() -> Vec<u8> {
    b"the quick brown fox jumps over the lazy dog, quietly".repeat(40)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_comes_back_byte_for_byte_at_every_boundary() {
    const C: usize = 65_536;
    let rig = Rig::new().await;
    let app = rig.app();
    for len in [0, 1, 15, 16, 17, C - 1, C, C + 1, 2 * C - 1, 2 * C, 3 * C + 5, 1 << 20, (1 << 20) + 1, (4 << 20) + 3] {
        let body = noise(len, len as u64);
        let put = app.put("data", "a/key", body.clone()).await.unwrap();
        assert!(put.etag().ends_with("-0\""), "{}", put.etag());
        let got = app.get("data", "a/key").await.unwrap();
        assert!(got.body == body, "{len}");
        assert_eq!((got.status, got.etag(), got.header("content-type")), (200, put.etag(), "binary/octet-stream"));
        let head = app.head("data", "a/key").await.unwrap();
        assert_eq!(head.header("content-length"), len.to_string());
        assert_eq!(head.etag(), put.etag());
        let list = app.list("data", &[("list-type", "2")]).await.unwrap().text();
        assert_eq!(elements(&list, "Size"), [len.to_string()]);
        assert_eq!(elements(&list, "ETag"), [put.etag().replace('"', "&quot;")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_holds_ciphertext_and_no_metadata() {
    let rig = Rig::new().await;
    let headers =
        [("content-type", "text/x-marker"), ("x-amz-meta-colour", "ultraviolet"), ("cache-control", "no-store")];
    rig.app().put_with("data", "k", &headers, marker()).await.unwrap();
    let seen = rig.app().get("data", "k").await.unwrap();
    assert_eq!(seen.body, marker());
    for (name, value) in headers {
        assert_eq!(seen.header(name), value);
    }
    assert!(!seen.headers.contains_key("x-amz-meta-sealgate"));

    let raw = rig.provider_client().get("up-data", "k").await.unwrap();
    assert_eq!(raw.header("content-type"), "application/octet-stream");
    let all = format!("{:?}{}", raw.headers, String::from_utf8_lossy(&raw.body));
    for word in ["x-marker", "colour", "ultraviolet", "no-store", "fox", "lazy"] {
        assert!(!all.contains(word), "{word}");
    }
    assert!(raw.headers.contains_key("x-amz-meta-sealgate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_range_is_exact() {
    let rig = Rig::new().await;
    let app = rig.app();
    let body = noise(300_000, 5);
    app.put("data", "r", body.clone()).await.unwrap();
    let len = body.len();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-65535", 0, 65_536),
        ("bytes=65535-65536", 65_535, 65_537),
        ("bytes=131072-", 131_072, len),
        ("bytes=299999-", len - 1, len),
        ("bytes=100-999999999999", 100, len),
        ("bytes=-1", len - 1, len),
        ("bytes=-70000", len - 70_000, len),
        ("bytes=-999999999", 0, len),
    ] {
        let got = app.get_with("data", "r", &[("range", range)]).await.unwrap();
        assert!(got.body == body[from..to], "{range}");
        assert_eq!(got.status, 206, "{range}");
        assert_eq!(got.header("content-range"), format!("bytes {from}-{}/{len}", to - 1), "{range}");
    }
    for range in ["bytes=300000-", "bytes=400000-500000", "bytes=-0"] {
        let refused = app.get_with("data", "r", &[("range", range)]).await.unwrap_err();
        assert_eq!(refused, (416, "InvalidRange".to_owned()), "{range}");
    }
    // several ranges, and what is no range: the whole
    for range in ["bytes=0-1,5-6", "lines=1-2", "bytes=9-1"] {
        let got = app.get_with("data", "r", &[("range", range)]).await.unwrap();
        assert!(got.status == 200 && got.body == body, "{range}");
    }
    app.put("data", "empty", "").await.unwrap();
    assert_eq!(app.get_with("data", "empty", &[("range", "bytes=0-")]).await.unwrap_err().0, 416);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_judged_by_the_etag_that_is_shown() {
    let rig = Rig::new().await;
    let app = rig.app();
    let etag = app.put("data", "c", "one").await.unwrap().etag();
    assert_eq!(app.get_with("data", "c", &[("if-match", &etag)]).await.unwrap().body, "one");
    assert_eq!(app.get_with("data", "c", &[("if-match", "\"x-1\"")]).await.unwrap_err().0, 412);
    assert_eq!(app.get_with("data", "c", &[("if-none-match", &etag)]).await.unwrap_err().0, 304);
    assert_eq!(app.get_with("data", "c", &[("if-none-match", "\"x-1\"")]).await.unwrap().body, "one");
    // the ETag as the store has it is none that was shown
    let bare = etag.replace("-0", "");
    assert_eq!(app.get_with("data", "c", &[("if-match", &bare)]).await.unwrap_err().0, 412);

    // a guard that cannot be read, or stands twice, is refused and not dropped
    for guards in
        [vec![("if-match", "\"x")], vec![("if-match", "x-1"), ("if-match", "y-1")], vec![("if-none-match", "ü")]]
    {
        let refused = app.get_with("data", "c", &guards).await.unwrap_err();
        assert_eq!(refused, (400, "InvalidArgument".to_owned()), "{guards:?}");
    }

    assert_eq!(app.put_with("data", "c", &[("if-none-match", "*")], "two").await.unwrap_err().0, 412);
    assert_eq!(app.put_with("data", "c", &[("if-match", "\"x-1\"")], "two").await.unwrap_err().0, 412);
    app.put_with("data", "c", &[("if-match", &etag)], "two").await.unwrap();
    assert_eq!(app.get("data", "c").await.unwrap().body, "two");
    app.put_with("data", "new", &[("if-none-match", "*")], "first").await.unwrap();
    assert_eq!(app.put_with("data", "gone", &[("if-match", &etag)], "x").await.unwrap_err().0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_keys_are_kept_and_reserved_ones_refused() {
    let rig = Rig::new().await;
    let app = rig.app();
    let long = "k".repeat(1024);
    let keys =
        ["a//b", "a/../up", "./.x", "trail/", "sp ace+plus", "per%2Fcent", "ünïcødé/😀", "a?b#c&d=e", "<&>\"'", &long];
    for key in keys {
        app.put("data", key, key.as_bytes().to_vec()).await.unwrap();
        assert_eq!(app.get("data", key).await.unwrap().body, key.as_bytes(), "{key}");
    }
    let list = app.list("data", &[("list-type", "2")]).await.unwrap().text();
    assert_eq!(elements(&list, "Key").len(), keys.len());
    for key in [".sealgate", ".sealgate/x", ".sealgate/u/abc"] {
        let denied = (403, "AccessDenied".to_owned());
        assert_eq!(app.put("data", key, "x").await.unwrap_err(), denied);
        assert_eq!(app.get("data", key).await.unwrap_err(), denied);
        assert_eq!(app.delete("data", key).await.unwrap_err(), denied);
        assert_eq!(app.head("data", key).await.unwrap_err().0, 403);
    }
    app.put("data", ".sealgates", "not reserved").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_hide_the_reserved_prefix_and_keep_their_pages() {
    let rig = Rig::new().await;
    let app = rig.app();
    for key in [".sealgate/u/1", ".sealgate/u/2", ".sealgate/s/3"] {
        rig.provider_client().put("up-data", key, "record").await.unwrap();
    }
    let keys: Vec<String> =
        (0..7).map(|i| format!("dir{}/k{i}", i % 2)).chain([".a".to_owned(), "z".to_owned()]).collect();
    for key in &keys {
        app.put("data", key, "x").await.unwrap();
    }
    for max in ["1", "2", "3", "1000"] {
        for version in ["1", "2"] {
            let (mut seen, mut from) = (Vec::new(), String::new());
            for _ in 0..30 {
                let mut query = vec![("max-keys", max)];
                if version == "2" {
                    query.push(("list-type", "2"));
                }
                if !from.is_empty() {
                    query.push((if version == "2" { "continuation-token" } else { "marker" }, &from));
                }
                let page = app.list("data", &query).await.unwrap().text();
                let names = elements(&page, "Key");
                assert!(names.len() <= max.parse().unwrap());
                seen.extend(names.clone());
                if elements(&page, "IsTruncated") == ["false"] {
                    from.clear();
                    break;
                }
                from = if version == "2" {
                    elements(&page, "NextContinuationToken")[0].clone()
                } else {
                    names.last().expect("a page that goes on has a key").clone()
                };
            }
            assert!(from.is_empty(), "the pages end");
            let mut expected = keys.clone();
            expected.sort();
            assert_eq!(seen, expected, "{max} {version}");
        }
    }
    let page = app.list("data", &[("list-type", "2"), ("delimiter", "/")]).await.unwrap().text();
    let prefixes = elements(&page, "CommonPrefixes");
    assert_eq!(prefixes, ["<Prefix>dir0/</Prefix>", "<Prefix>dir1/</Prefix>"]);
    let page = app.list("data", &[("list-type", "2"), ("prefix", ".sealgate/")]).await.unwrap().text();
    assert!(elements(&page, "Key").is_empty());
    let page = app.list("data", &[("list-type", "2"), ("delimiter", "g")]).await.unwrap().text();
    assert!(!page.contains(".sealg"), "{page}");
    app.put("data", ".sealg-not", "x").await.unwrap();
    let page = app.list("data", &[("list-type", "2"), ("delimiter", "g")]).await.unwrap().text();
    assert_eq!(elements(&page, "CommonPrefixes"), ["<Prefix>.sealg</Prefix>"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_confined_to_their_buckets_and_rights() {
    let rig = Rig::new().await;
    rig.app().put("data", "k", "x").await.unwrap();
    let denied = (403, "AccessDenied".to_owned());
    let reader = rig.client("AKREADER");
    assert_eq!(reader.get("data", "k").await.unwrap().body, "x");
    assert_eq!(reader.put("data", "k", "y").await.unwrap_err(), denied);
    assert_eq!(reader.delete("data", "k").await.unwrap_err(), denied);
    assert_eq!(reader.get("other", "k").await.unwrap_err(), denied);
    let writer = rig.client("AKWRITER");
    writer.put("data", "w", "y").await.unwrap();
    assert_eq!(writer.get("data", "w").await.unwrap_err(), denied);
    assert_eq!(writer.list("data", &[]).await.unwrap_err(), denied);
    let copy = writer.send(Method::PUT, "data", "c", &[], &[("x-amz-copy-source", "data/k")], Some("".into())).await;
    assert_eq!(copy.unwrap_err(), denied);
    // the other tenant's list of buckets names one that is not its own
    let beta = rig.client("AKBETA");
    assert_eq!(beta.get("data", "k").await.unwrap_err().0, 404);
    let names = elements(&rig.app().list("", &[]).await.unwrap().text(), "Name");
    assert_eq!(names, ["data", "other", "second", "team-red"]);
    assert_eq!(elements(&reader.list("", &[]).await.unwrap().text(), "Name"), ["data"]);
    assert_eq!(elements(&beta.list("", &[]).await.unwrap().text(), "Name"), ["beta"]);
    let wrong = super::rig::Client::new(rig.gateway.address, "AKALPHA", "wrong");
    assert_eq!(wrong.get("data", "k").await.unwrap_err(), (403, "credentials".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_made_within_their_pattern_only() {
    let rig = Rig::new().await;
    let app = rig.app();
    app.send(Method::PUT, "team-blue", "", &[], &[], None).await.unwrap();
    app.put("team-blue", "k", "v").await.unwrap();
    assert_eq!(app.get("team-blue", "k").await.unwrap().body, "v");
    assert!(rig.stored("up-team-blue").await.contains_key("k"));
    assert_eq!(app.send(Method::PUT, "else", "", &[], &[], None).await.unwrap_err().0, 403);
    // a dot is no letter of an id: one that a name without dots would have is another's
    for bucket in ["team-a.b", "team-a-0b"] {
        app.send(Method::PUT, bucket, "", &[], &[], None).await.unwrap();
        app.put(bucket, "k", bucket).await.unwrap();
        assert_eq!(app.get(bucket, "k").await.unwrap().body, bucket);
    }
    let provider = rig.provider_client();
    let of_other = provider.get("up-team-a-0b", "k").await.unwrap();
    let header = [("x-amz-meta-sealgate", of_other.header("x-amz-meta-sealgate"))];
    provider.put_with("up-team-a.b", "k", &header, of_other.body.clone()).await.unwrap();
    assert_eq!(app.get("team-a.b", "k").await.unwrap_err(), (502, "IntegrityError".to_owned()));
    let long = format!("team-{}", "x".repeat(58));
    assert_eq!(
        app.send(Method::PUT, &long, "", &[], &[], None).await.unwrap_err(),
        (400, "InvalidBucketName".to_owned())
    );
    assert_eq!(app.send(Method::DELETE, "team-blue", "", &[], &[], None).await.unwrap_err().1, "BucketNotEmpty");
    app.delete("team-blue", "k").await.unwrap();
    app.send(Method::DELETE, "team-blue", "", &[], &[], None).await.unwrap();
    assert_eq!(app.send(Method::HEAD, "team-blue", "", &[], &[], None).await.unwrap_err().0, 404);
    let location = app.list("data", &[("location", "")]).await.unwrap().text();
    assert!(location.contains("LocationConstraint"));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_right_within_and_across_keks_and_on_every_profile() {
    use sealgate::store::settings::Profile;
    for profile in [Profile::Aws, Profile::Generic] {
        let rig = Rig::with(super::rig::Plan { profile, ..Default::default() }).await;
        let app = rig.app();
        let body = noise(200_000, 3);
        let headers = [("content-type", "text/plain"), ("x-amz-meta-a", "1")];
        app.put_with("data", "src", &headers, body.clone()).await.unwrap();
        for bucket in ["data", "other", "second"] {
            let copy = |extra: &'static [(&str, &str)]| {
                let mut headers = vec![("x-amz-copy-source", "/data/src")];
                headers.extend_from_slice(extra);
                let app = rig.app();
                async move { app.send(Method::PUT, bucket, "dst", &[], &headers, Some("".into())).await }
            };
            copy(&[]).await.unwrap();
            let got = app.get(bucket, "dst").await.unwrap();
            assert!(got.body == body);
            assert_eq!((got.header("content-type"), got.header("x-amz-meta-a")), ("text/plain", "1"));
            copy(&[("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2"), ("content-type", "a/b")])
                .await
                .unwrap();
            let got = app.get(bucket, "dst").await.unwrap();
            assert!(got.body == body);
            assert_eq!(
                (got.header("content-type"), got.header("x-amz-meta-a"), got.header("x-amz-meta-b")),
                ("a/b", "", "2")
            );
            let refused = copy(&[("x-amz-copy-source-if-match", "\"no-1\"")]).await.unwrap_err();
            assert_eq!(refused.0, 412);
        }
        // metadata of an object in its place
        let replace =
            [("x-amz-copy-source", "data/src"), ("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-new", "3")];
        app.send(Method::PUT, "data", "src", &[], &replace, Some("".into())).await.unwrap();
        let got = app.get("data", "src").await.unwrap();
        assert!(got.body == body && got.header("x-amz-meta-new") == "3" && got.header("x-amz-meta-a").is_empty());
        let unchanged = app.send(Method::PUT, "data", "src", &[], &replace[..1], Some("".into())).await.unwrap_err();
        assert_eq!(unchanged, (400, "InvalidRequest".to_owned()));
        let own = [("x-amz-copy-source", "data/.sealgate%2Fu%2Fx")];
        assert_eq!(app.send(Method::PUT, "data", "d", &[], &own, Some("".into())).await.unwrap_err().0, 403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_go_from_one_store_to_another() {
    let other = Rig::new().await;
    let plan = super::rig::Plan { elsewhere: Some(other.provider.address), ..Default::default() };
    let rig = Rig::with(plan).await;
    let app = rig.app();
    let body = noise(6 << 20, 3);
    let headers = [("content-type", "text/plain"), ("x-amz-meta-a", "1")];
    app.put_with("data", "src", &headers, body.clone()).await.unwrap();
    let replace = [("x-amz-copy-source", "data/src"), ("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2")];
    for (key, headers, meta) in [("copy", &replace[..1], ("1", "")), ("replaced", &replace[..], ("", "2"))] {
        app.put_with("second", key, headers, "").await.unwrap();
        let got = app.get("second", key).await.unwrap();
        assert!(got.body == body);
        assert_eq!((got.header("x-amz-meta-a"), got.header("x-amz-meta-b")), meta, "{key}");
    }
    // and back, whole and as parts
    app.put_with("data", "back", &[("x-amz-copy-source", "second/copy")], "").await.unwrap();
    assert!(app.get("data", "back").await.unwrap().body == body);
    let id = super::multipart::create(&app, "data", "parts", &[]).await;
    let mut parts = Vec::new();
    for (number, range) in [("1", "bytes=0-5242879"), ("2", "bytes=5242880-6291455")] {
        let headers = [("x-amz-copy-source", "second/copy"), ("x-amz-copy-source-range", range)];
        let query = [("partNumber", number), ("uploadId", id.as_str())];
        let made = app.send(Method::PUT, "data", "parts", &query, &headers, Some("".into())).await.unwrap();
        let etag = elements(&made.text(), "ETag").remove(0).replace("&quot;", "\"");
        parts.push((number.parse().unwrap(), etag));
    }
    super::multipart::complete(&app, ("data", "parts", &id), &parts).await.unwrap();
    assert!(app.get("data", "parts").await.unwrap().body == body);
    // each store has its own, and a list has both
    assert_eq!(other.stored("up-second").await.len(), 2);
    assert!(rig.stored("up-second").await.is_empty() && other.stored("up-data").await.is_empty());
    let shown = app.list("", &[]).await.unwrap().text();
    assert_eq!(elements(&shown, "Name"), ["data", "other", "second", "team-red"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_deleted_and_the_reserved_ones_refused_one_by_one() {
    let rig = Rig::new().await;
    let app = rig.app();
    rig.provider_client().put("up-data", ".sealgate/u/x", "record").await.unwrap();
    for key in ["a", "b", "c"] {
        app.put("data", key, key).await.unwrap();
    }
    let xml = "<Delete><Object><Key>a</Key></Object><Object><Key>.sealgate/u/x</Key></Object><Object><Key>nothing</Key></Object></Delete>";
    let answer = app.post("data", "", &[("delete", "")], xml).await.unwrap().text();
    assert_eq!(elements(&answer, "Code"), ["AccessDenied"]);
    assert_eq!(elements(&answer, "Deleted").len(), 2);
    assert!(rig.stored("up-data").await.contains_key(".sealgate/u/x"));
    assert_eq!(app.get("data", "a").await.unwrap_err(), (404, "NoSuchKey".to_owned()));
    app.delete("data", "b").await.unwrap();
    assert_eq!(app.get("data", "b").await.unwrap_err().0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_what_was_declared_leaves_no_object() {
    let rig = Rig::new().await;
    let app = rig.app();
    let cases: [(&[(&str, &str)], &str); 3] = [
        (&[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")], "BadDigest"),
        (&[("x-amz-checksum-crc32", "AAAAAA==")], "BadDigest"),
        (&[("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")], "BadDigest"),
    ];
    for size in [10, 200_000, 3_000_000] {
        for (headers, code) in cases {
            let refused = app.put_with("data", "bad", headers, noise(size, 1)).await.unwrap_err();
            assert_eq!(refused, (400, code.to_owned()), "{size}");
        }
    }
    assert!(rig.stored("up-data").await.is_empty());
    let got = app.put_with("data", "good", &[("x-amz-checksum-crc32", "NhCmhg==")], "hello").await;
    assert_eq!(got.unwrap().header("x-amz-checksum-crc32"), "NhCmhg==");
    let got = app.get_with("data", "good", &[("x-amz-checksum-mode", "ENABLED")]).await.unwrap();
    assert_eq!(got.header("x-amz-checksum-crc32"), "NhCmhg==");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_built_is_501_and_nothing_is_forwarded() {
    let rig = Rig::new().await;
    let app = rig.app();
    let before = rig.provider.stats.accepted.load(std::sync::atomic::Ordering::Relaxed);
    for query in ["website", "logging", "accelerate", "inventory", "metrics", "newFeature"] {
        assert_eq!(app.list("data", &[(query, "")]).await.unwrap_err(), (501, "NotImplemented".to_owned()), "{query}");
    }
    // what is not whole is wrong anywhere; no key goes on
    let (algorithm, key) =
        ("x-amz-server-side-encryption-customer-algorithm", "x-amz-server-side-encryption-customer-key");
    let text = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    let md5 = base64::engine::general_purpose::STANDARD.encode(checksum(ChecksumAlgorithm::Md5, &[7; 32]).as_bytes());
    let whole =
        [(algorithm, "AES256"), (key, text.as_str()), ("x-amz-server-side-encryption-customer-key-md5", md5.as_str())];
    // nor is one taken in the clear
    for (headers, code) in
        [(&whole[..], "InvalidRequest"), (&whole[..2], "InvalidArgument"), (&whole[1..], "InvalidArgument")]
    {
        assert_eq!(app.put_with("data", "k", headers, "x").await.unwrap_err(), (400, code.to_owned()));
    }
    assert_eq!(before, rig.provider.stats.accepted.load(std::sync::atomic::Ordering::Relaxed));
}
