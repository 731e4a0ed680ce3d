use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Request;
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use sha1::Sha1;

use super::*;
use crate::clock::Timestamp;
use crate::digest::{ChecksumAlgorithm, checksum, sha256};
use crate::net::body::{self, Body, BodyError};
use crate::net::budget::Budget;
use crate::s3::checksum::format_checksum;
use crate::sigv4::{AmzDate, CredentialScope, Credentials, presign, sign};
use zeroize::Zeroizing;

const REGION: &str = "us-east-1";
const ID: &str = "AKIATEST";

fn secret() -> Secret<str> {
    Secret::from_text(&Zeroizing::new("a secret of tests".to_owned()))
}

fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_764_000_000_000)
}

fn verifier() -> Verifier {
    let id = AccessKeyId::parse(ID).unwrap();
    Verifier::new(REGION, &["s3.test".to_owned()], [(id, Arc::new(secret()))])
}

/// A signed request's head, and the chain of its chunk signatures.
fn signed(method: &str, target: &str, headers: &[(&str, &str)], payload: ContentSha256) -> (Parts, ChunkSignatures) {
    let date = AmzDate::of(now());
    let key = SigningKey::derive(&secret(), &CredentialScope::new(date, REGION));
    let mut all = vec![("host", "gateway.test")];
    all.extend_from_slice(headers);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let bytes: Vec<(&str, &[u8])> = all.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
    let view = RequestView { method, path, query, headers: Headers::new(&bytes) };
    let credentials = Credentials { access_key_id: ID, key: &key, session_token: None };
    let signed = sign(&view, &credentials, date, payload).unwrap();
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in &all {
        request = request.header(*name, *value);
    }
    for (name, value) in signed.fields() {
        request = request.header(name, value);
    }
    (request.body(()).unwrap().into_parts().0, signed.chunk_signatures())
}

fn code(result: Result<Accepted, S3Error>) -> ErrorCode {
    result.err().expect("a refusal").code()
}

fn pieces(bytes: &[u8], size: usize) -> Body {
    struct Pieces(std::vec::IntoIter<Bytes>);
    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
            std::task::Poll::Ready(self.0.next().map(|piece| Ok(http_body::Frame::data(piece))))
        }
    }
    let pieces: Vec<_> = bytes.chunks(size.max(1)).map(Bytes::copy_from_slice).collect();
    Pieces(pieces.into_iter()).boxed_unsync()
}

async fn read(mut accepted: Accepted, body: Body) -> Result<Vec<u8>, S3Error> {
    let mut body = accepted.body(body, false, None, None)?;
    let mut all = Vec::new();
    while let Some(piece) = body.piece().await? {
        all.extend_from_slice(&piece);
    }
    assert!(body.take_verified().is_some() && body.take_verified().is_none());
    Ok(all)
}

fn hex_text(bytes: &[u8]) -> String {
    crate::digest::hex(bytes)
}

/// An aws-chunked body of chunks of `size`.
fn chunked(mut chain: ChunkSignatures, payload: &[u8], size: usize, trailer: Option<(&str, &str)>) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in payload.chunks(size).chain([&[][..]]) {
        let signature = hex_text(&chain.sign_chunk(&sha256(&[chunk])));
        out.extend_from_slice(format!("{:x};chunk-signature={signature}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        if !chunk.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
    }
    if let Some((name, value)) = trailer {
        let signature = hex_text(&chain.sign_trailer(format!("{name}:{value}\n").as_bytes()));
        out.extend_from_slice(format!("{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[test]
fn a_preflight_request_about_a_presigned_url_comes_from_its_signer() {
    let date = AmzDate::of(now());
    let key = SigningKey::derive(&secret(), &CredentialScope::new(date, REGION));
    let presigned = |headers: &[(&str, &[u8])]| {
        let view = RequestView { method: "PUT", path: "/bucket/key", query: "", headers: Headers::new(headers) };
        let credentials = Credentials { access_key_id: ID, key: &key, session_token: None };
        presign(&view, &credentials, date, 60).unwrap()
    };
    let with_authorization = |value: &str| {
        let request = Request::builder().method("OPTIONS").uri("/bucket/key").header("host", "gateway.test");
        let request = request.header("access-control-request-method", "PUT").header("authorization", value);
        let parts = request.body(()).unwrap().into_parts().0;
        verifier().with_anonymous().accept(parts, now()).unwrap().caller
    };
    let (parts, _) = signed("PUT", "/bucket/key", &[], ContentSha256::Unsigned);
    assert!(with_authorization(parts.headers["authorization"].to_str().unwrap()).is_none());
    let caller = |query: &str, method: Option<&str>, at: u64| {
        let mut request = Request::builder().method("OPTIONS").uri(format!("/bucket/key?{query}"));
        request = request.header("host", "gateway.test").header("origin", "https://app.example");
        if let Some(method) = method {
            request = request.header("access-control-request-method", method);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let now = Timestamp::from_unix_millis(now().unix_millis() + at);
        let by_version_2 = [AccessKeyId::parse(ID).unwrap()];
        let accepted = verifier().with_anonymous().with_version_2(by_version_2).accept(parts, now).unwrap();
        assert!(matches!(accepted.operation, Operation::Preflight { .. }));
        accepted.caller.map(|id| id.as_str().to_owned())
    };
    let host: (&str, &[u8]) = ("host", b"gateway.test");
    let url = presigned(&[host]);
    assert_eq!(caller(&url, Some("PUT"), 0).as_deref(), Some(ID));
    // and by version 2
    let expires = now().unix_millis() / 1000 + 60;
    let mut mac = Hmac::<Sha1>::new_from_slice(secret().expose_secret().as_bytes()).unwrap();
    mac.update(format!("PUT\n\n\n{expires}\n/bucket/key").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes()).replace('+', "%2B");
    let of_version_2 = format!("AWSAccessKeyId={ID}&Signature={signature}&Expires={expires}");
    assert_eq!(caller(&of_version_2, Some("PUT"), 0).as_deref(), Some(ID));
    assert_eq!(caller(&of_version_2, Some("GET"), 0), None);
    let last = if url.ends_with('0') { '1' } else { '0' };
    let altered = format!("{}{last}", &url[..url.len() - 1]);
    for (query, method, at) in [
        (altered.as_str(), Some("PUT"), 0),
        (&url, Some("GET"), 0),
        (&url, None, 0),
        (&url, Some("PUT"), 61_000),
        // what the browser will send with the request is not there yet
        (&presigned(&[host, ("content-type", b"text/plain")]), Some("PUT"), 0),
        ("", Some("PUT"), 0),
    ] {
        assert_eq!(caller(query, method, at), None, "{method:?} {at}");
    }
}

#[tokio::test]
async fn a_signed_put_is_read_and_its_hash_compared() {
    let payload = b"hello";
    let (parts, _) =
        signed("PUT", "/bucket/key%2F1", &[("content-length", "5")], ContentSha256::Hash(sha256(&[payload])));
    let accepted = verifier().accept(parts, now()).unwrap();
    assert_eq!(accepted.operation.name(), "PutObject");
    assert_eq!(accepted.caller.as_ref().map(AccessKeyId::as_str), Some(ID));
    assert_eq!(read(accepted, body::full("hello")).await.unwrap(), payload);

    let (parts, _) = signed("PUT", "/bucket/key", &[("content-length", "5")], ContentSha256::Hash(sha256(&[payload])));
    let accepted = verifier().accept(parts, now()).unwrap();
    assert_eq!(read(accepted, body::full("hellO")).await.unwrap_err().code(), ErrorCode::XAmzContentSHA256Mismatch);
}

#[tokio::test]
async fn a_short_and_a_long_body_are_refused() {
    for (text, expected) in [("hell", ErrorCode::IncompleteBody), ("hello!", ErrorCode::InvalidRequest)] {
        let (parts, _) = signed("PUT", "/bucket/key", &[("content-length", "5")], ContentSha256::Unsigned);
        let accepted = verifier().accept(parts, now()).unwrap();
        assert_eq!(read(accepted, body::full(text)).await.unwrap_err().code(), expected, "{text}");
    }
}

#[test]
fn what_is_not_signed_as_it_stands_is_refused() {
    let verifier = verifier();
    let get = || signed("GET", "/bucket/key?versionId=1", &[], ContentSha256::Unsigned).0;
    assert!(verifier.accept(get(), now()).is_ok());

    let mut other = get();
    other.uri = "/bucket/key2?versionId=1".parse().unwrap();
    assert_eq!(code(verifier.accept(other, now())), ErrorCode::SignatureDoesNotMatch);
    let mut other = get();
    other.headers.insert("x-amz-acl", "public-read".parse().unwrap());
    assert_eq!(code(verifier.accept(other, now())), ErrorCode::AccessDenied);
    let mut other = get();
    other.headers.append("host", "elsewhere.test".parse().unwrap());
    assert_eq!(code(verifier.accept(other, now())), ErrorCode::InvalidRequest);
    let mut other = get();
    other.uri = "http://elsewhere.test/bucket/key?versionId=1".parse().unwrap();
    assert_eq!(code(verifier.accept(other, now())), ErrorCode::InvalidRequest);
    let mut other = get();
    other.headers.remove("authorization");
    assert_eq!(code(verifier.accept(other, now())), ErrorCode::AccessDenied);
    let skewed = Timestamp::from_unix_millis(now().unix_millis() + 16 * 60 * 1000);
    assert_eq!(code(verifier.accept(get(), skewed)), ErrorCode::RequestTimeTooSkewed);
    let stranger = Verifier::new(REGION, &[], []);
    assert_eq!(code(stranger.accept(get(), now())), ErrorCode::InvalidAccessKeyId);
    let elsewhere = Verifier::new("eu-1", &[], [(AccessKeyId::parse(ID).unwrap(), Arc::new(secret()))]);
    assert_eq!(code(elsewhere.accept(get(), now())), ErrorCode::AuthorizationHeaderMalformed);
}

#[test]
fn the_host_of_http_2_is_the_one_that_was_signed() {
    let (mut parts, _) = signed("GET", "/bucket/key", &[], ContentSha256::Unsigned);
    parts.headers.remove("host");
    parts.uri = "https://gateway.test/bucket/key".parse().unwrap();
    assert_eq!(verifier().accept(parts, now()).unwrap().operation.name(), "GetObject");
}

#[test]
fn unknown_amz_headers_and_parameters_are_501() {
    for (target, header) in [("/bucket/key", ("x-amz-new-thing", "1")), ("/bucket/key?newThing", ("range", "bytes=0-"))]
    {
        let (parts, _) = signed("GET", target, &[header], ContentSha256::Unsigned);
        assert_eq!(code(verifier().accept(parts, now())), ErrorCode::NotImplemented, "{target}");
    }
}

#[test]
fn a_form_without_a_signature_is_not_taken_for_an_anonymous_write() {
    let (mut parts, _) =
        signed("POST", "/bucket", &[("content-type", "multipart/form-data; boundary=x")], ContentSha256::Unsigned);
    parts.headers.remove("authorization");
    assert_eq!(code(verifier().accept(parts, now())), ErrorCode::NotImplemented);
}

#[tokio::test]
async fn signed_chunks_come_whole_however_they_are_cut() {
    let payload: Vec<u8> = (0..200_000u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    for cut in [1usize, 7, 1000, 65_536, 300_000] {
        let length = payload.len().to_string();
        let (parts, chain) = signed(
            "PUT",
            "/bucket/key",
            &[("x-amz-decoded-content-length", &length), ("content-encoding", "aws-chunked")],
            ContentSha256::Streaming,
        );
        let body = chunked(chain, &payload, 65_536, None);
        let accepted = verifier().accept(parts, now()).unwrap();
        assert!(read(accepted, pieces(&body, cut)).await.unwrap() == payload, "{cut}");
    }
}

#[tokio::test]
async fn a_signed_chunk_is_not_handed_on_before_its_signature_holds() {
    let payload = vec![7u8; 100_000];
    let (parts, chain) =
        signed("PUT", "/bucket/key", &[("x-amz-decoded-content-length", "100000")], ContentSha256::Streaming);
    let mut body = chunked(chain, &payload, 65_536, None);
    // a byte of the second chunk's payload
    let at = body.len() - 10_000;
    body[at] ^= 1;
    let mut accepted = verifier().accept(parts, now()).unwrap();
    let mut ingress = accepted.body(pieces(&body, 1000), false, None, None).unwrap();
    let mut seen = 0;
    let error = loop {
        match ingress.piece().await {
            Ok(Some(piece)) => seen += piece.len(),
            Ok(None) => panic!("a broken chunk was taken"),
            Err(error) => break error,
        }
    };
    assert_eq!(seen, 65_536);
    assert_eq!(error.code(), ErrorCode::SignatureDoesNotMatch);
    assert!(ingress.take_verified().is_none());
    assert!(ingress.piece().await.is_err());
}

#[tokio::test]
async fn trailers_are_compared_signed_and_unsigned() {
    let payload = b"some payload";
    let good = format_checksum(&checksum(ChecksumAlgorithm::Crc32, payload));
    let bad = format_checksum(&checksum(ChecksumAlgorithm::Crc32, b"other"));
    let headers =
        [("x-amz-decoded-content-length", "12"), ("x-amz-trailer", "x-amz-checksum-crc32"), ("content-length", "999")];
    for (value, holds) in [(&good, true), (&bad, false)] {
        let (parts, chain) = signed("PUT", "/bucket/key", &headers, ContentSha256::StreamingTrailer);
        let body = chunked(chain, payload, 5, Some(("x-amz-checksum-crc32", value)));
        let result = read(verifier().accept(parts, now()).unwrap(), pieces(&body, 3)).await;
        assert_eq!(result.is_ok(), holds);

        let (parts, _) = signed("PUT", "/bucket/key", &headers, ContentSha256::StreamingUnsignedTrailer);
        let body = format!("c\r\nsome payload\r\n0\r\nx-amz-checksum-crc32:{value}\r\n\r\n");
        let result = read(verifier().accept(parts, now()).unwrap(), pieces(body.as_bytes(), 3)).await;
        match result {
            Ok(all) => assert!(holds && all == payload),
            Err(error) => assert!(!holds && error.code() == ErrorCode::BadDigest),
        }
    }
}

#[tokio::test]
async fn complete_reads_its_own_body_though_the_checksum_is_the_objects() {
    let xml = "<CompleteMultipartUpload/>";
    let (parts, _) = signed(
        "POST",
        "/bucket/key?uploadId=1",
        &[("content-length", "26"), ("x-amz-checksum-crc32", "AAAAAA==")],
        ContentSha256::Hash(sha256(&[xml.as_bytes()])),
    );
    let mut accepted = verifier().accept(parts, now()).unwrap();
    assert_eq!(accepted.collect(body::full(xml), 100).await.unwrap(), xml);
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused_unread() {
    let (parts, _) = signed("POST", "/bucket?delete", &[("content-length", "101")], ContentSha256::Unsigned);
    let mut accepted = verifier().accept(parts, now()).unwrap();
    let error = accepted.collect(body::empty(), 100).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::MaxMessageLengthExceeded);
}

#[tokio::test]
async fn a_long_signed_chunk_takes_room_from_the_budget_and_gives_it_back() {
    let payload = vec![1u8; 3 << 20];
    let length = payload.len().to_string();
    let headers = [("x-amz-decoded-content-length", length.as_str())];
    let (parts, chain) = signed("PUT", "/bucket/key", &headers, ContentSha256::Streaming);
    let body = chunked(chain, &payload, 3 << 20, None);
    let budget = Budget::new(4 << 20);
    let mut accepted = verifier().accept(parts, now()).unwrap();
    let mut ingress = accepted.body(pieces(&body, 100_000), false, None, Some(budget.clone())).unwrap();
    let first = ingress.piece().await.unwrap().unwrap();
    assert_eq!(first[0], 1);
    assert_eq!(budget.used(), 2 << 20, "the chunk holds its room, but for what every request may hold");
    while ingress.piece().await.unwrap().is_some() {}
    assert!(budget.try_reserve(4 << 20).is_some(), "the room is back");
}

/// What a chunk says of its length takes nobody's room.
#[tokio::test]
async fn a_signed_chunk_that_does_not_come_takes_no_room() {
    let payload = vec![1u8; 8 << 20];
    let length = payload.len().to_string();
    let headers = [("x-amz-decoded-content-length", length.as_str())];
    let (parts, chain) = signed("PUT", "/bucket/key", &headers, ContentSha256::Streaming);
    let begun = Bytes::copy_from_slice(&chunked(chain, &payload, 8 << 20, None)[..2000]);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    sender.send(begun).await.unwrap();
    let body = Waiting(receiver).boxed_unsync();
    let budget = Budget::new(16 << 20);
    let mut accepted = verifier().accept(parts, now()).unwrap();
    let mut ingress = accepted.body(body, false, None, Some(budget.clone())).unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), ingress.piece()).await;
    assert!(waited.is_err() && budget.used() == 0);
    drop(sender);
}

/// A body whose next piece comes when it is sent.
struct Waiting(tokio::sync::mpsc::Receiver<Bytes>);

impl http_body::Body for Waiting {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(http_body::Frame::data(piece))))
    }
}

proptest! {
    /// However a signed body is damaged, it is refused or comes out unchanged.
    #[test]
    fn a_damaged_signed_body_is_never_another_body(at in 0usize..1200, bit in 0u8..8, cut in 1usize..400) {
        let payload: Vec<u8> = (0u16..1000).map(|i| i.to_le_bytes()[0]).collect();
        let headers = [("x-amz-decoded-content-length", "1000")];
        let (parts, chain) = signed("PUT", "/bucket/key", &headers, ContentSha256::Streaming);
        let mut body = chunked(chain, &payload, 300, None);
        if let Some(byte) = body.get_mut(at) { *byte ^= 1 << bit; }
        let accepted = verifier().accept(parts, now()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if let Ok(read) = runtime.block_on(read(accepted, pieces(&body, cut))) {
            prop_assert!(read == payload);
        }
    }
}
