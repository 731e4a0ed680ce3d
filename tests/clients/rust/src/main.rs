//! The AWS SDK for Rust and object_store, with their defaults.

use std::env::var;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3CopyIfNotExists};
use object_store::integration;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, PutMode, PutPayload, WriteMultipart};

#[tokio::main]
async fn main() {
    let (endpoint, bucket, prefix, work) =
        (var("S3_ENDPOINT").unwrap(), var("S3_BUCKET").unwrap(), var("PREFIX").unwrap(), var("WORK").unwrap());
    match std::env::args().nth(1).as_deref() {
        Some("sdk") => sdk(&endpoint, &bucket, &prefix, &work).await,
        _ => store(&endpoint, &bucket, &prefix, &work).await,
    }
}

async fn sdk(endpoint: &str, bucket: &str, prefix: &str, work: &str) {
    let config = aws_config::load_from_env().await;
    let config = aws_sdk_s3::config::Builder::from(&config).endpoint_url(endpoint).force_path_style(true).build();
    let client = aws_sdk_s3::Client::from_conf(config);
    for name in ["f0", "f1", "f65536", "f8388609", "f17825792"] {
        let (path, key) = (format!("{work}/{name}"), format!("{prefix}/{name} ü+"));
        let body = ByteStream::from_path(&path).await.unwrap();
        client.put_object().bucket(bucket).key(&key).body(body).content_type("x/y").metadata("a", "b").send().await.unwrap();
        let got = client.get_object().bucket(bucket).key(&key).send().await.unwrap();
        assert_eq!(got.content_type(), Some("x/y"));
        assert_eq!(got.metadata().unwrap()["a"], "b");
        assert!(got.body.collect().await.unwrap().into_bytes() == std::fs::read(&path).unwrap(), "{name}");
    }
    let whole = std::fs::read(format!("{work}/f17825792")).unwrap();
    let got = client.get_object().bucket(bucket).key(format!("{prefix}/f17825792 ü+")).range("bytes=65530-9999999");
    assert!(got.send().await.unwrap().body.collect().await.unwrap().into_bytes() == whole[65530..10_000_000]);
    let missing = client.get_object().bucket(bucket).key("nothing").send().await.unwrap_err();
    assert!(missing.into_service_error().is_no_such_key());
    let listed = client.list_objects_v2().bucket(bucket).prefix(format!("{prefix}/")).send().await.unwrap();
    let ids: Vec<_> = listed
        .contents()
        .iter()
        .map(|object| ObjectIdentifier::builder().key(object.key().unwrap()).build().unwrap())
        .collect();
    assert_eq!(ids.len(), 5);
    let delete = Delete::builder().set_objects(Some(ids)).build().unwrap();
    assert!(client.delete_objects().bucket(bucket).delete(delete).send().await.unwrap().errors().is_empty());
}

async fn store(endpoint: &str, bucket: &str, prefix: &str, work: &str) {
    let mut builder =
        AmazonS3Builder::from_env().with_endpoint(endpoint).with_bucket_name(bucket).with_allow_http(true);
    builder = builder.with_copy_if_not_exists(S3CopyIfNotExists::Multipart);
    if let Ok(ca) = var("S3_CA") {
        let pem = std::fs::read(ca).unwrap();
        let certificate = object_store::Certificate::from_pem(&pem).unwrap();
        builder = builder.with_client_options(object_store::ClientOptions::new().with_root_certificate(certificate));
    }
    let store = builder.build().unwrap();
    let at = |name: &str| Path::from(format!("{prefix}/{name}"));
    for name in ["f0", "f1", "f65536", "f8388609"] {
        let bytes = std::fs::read(format!("{work}/{name}")).unwrap();
        store.put(&at(name), PutPayload::from(bytes.clone())).await.unwrap();
        assert!(store.get(&at(name)).await.unwrap().bytes().await.unwrap() == bytes, "{name}");
        assert_eq!(store.head(&at(name)).await.unwrap().size, bytes.len() as u64);
    }
    let big = std::fs::read(format!("{work}/f17825792")).unwrap();
    let mut writer = WriteMultipart::new(store.put_multipart(&at("multi")).await.unwrap());
    writer.write(&big);
    writer.finish().await.unwrap();
    assert!(store.get(&at("multi")).await.unwrap().bytes().await.unwrap() == big);
    assert!(store.get_range(&at("multi"), 65_530..9_999_999).await.unwrap() == big[65_530..9_999_999]);
    store.copy(&at("multi"), &at("copied")).await.unwrap();
    let again = store.put_opts(&at("f1"), "x".into(), PutMode::Create.into()).await;
    assert!(matches!(again, Err(object_store::Error::AlreadyExists { .. })), "{again:?}");
    let etag = store.head(&at("f1")).await.unwrap();
    let update = PutMode::Update(object_store::UpdateVersion { e_tag: etag.e_tag, version: None });
    store.put_opts(&at("f1"), "updated".into(), update.into()).await.unwrap();
    let names: Vec<_> = store.list(Some(&Path::from(prefix))).try_collect().await.unwrap();
    assert_eq!(names.len(), 6);
    for meta in names {
        store.delete(&meta.location).await.unwrap();
    }
    own_checks(&store, prefix).await;
}

/// object_store's own checks of an implementation, in a folder of their own.
async fn own_checks(store: &AmazonS3, prefix: &str) {
    let within = PrefixStore::new(store.clone(), format!("{prefix}/own"));
    integration::put_get_delete_list(&within).await;
    integration::get_opts(&within).await;
    integration::put_opts(&within, true).await;
    integration::put_get_attributes(&within).await;
    integration::list_uses_directories_correctly(&within).await;
    integration::list_with_delimiter(&within).await;
    integration::rename_and_copy(&within).await;
    // Ceph 16.2 does not judge the condition of a Complete, by which this client copies
    if var("STORE").as_deref() != Ok("ceph") {
        integration::copy_if_not_exists(&within).await;
    }
    integration::copy_rename_nonexistent_object(&within).await;
    integration::stream_get(&within).await;
    integration::multipart_race_condition(&within, true).await;
    integration::multipart_out_of_order(&within).await;
    let missing = integration::get_nonexistent_object(&within, None).await.unwrap_err();
    assert!(matches!(missing, object_store::Error::NotFound { .. }), "{missing:?}");
    // those that know no prefix
    integration::multipart(store, store).await;
    let own = format!("{prefix}/own/");
    let is_left = |name: &str| name.starts_with(&own) || matches!(name, "test_multipart" | "test_empty_multipart");
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    for meta in all.iter().filter(|meta| is_left(meta.location.as_ref())) {
        store.delete(&meta.location).await.unwrap();
    }
}
