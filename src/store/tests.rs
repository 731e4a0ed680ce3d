use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

use super::settings::UpstreamTimeouts;
use super::*;
use crate::clock::{Clock, SystemClock};
use crate::net::body::BodyError;
use crate::s3::error::ErrorCode;
use crate::secret::Secret;
use crate::sigv4::Authentication;

fn secret() -> Secret<str> {
    Secret::from_text(&Zeroizing::new("upstream secret".to_owned()))
}

fn upstream(port: u16) -> Upstream {
    let settings = UpstreamSettings {
        name: "main".to_owned(),
        endpoint: format!("http://127.0.0.1:{port}").parse().unwrap(),
        region: "eu-1".to_owned(),
        profile: Profile::Generic,
        addressing: Addressing::Path,
        credentials: Credentials { access_key_id: "AK".to_owned(), secret: Arc::new(secret()), session_token: None }
            .into(),
        ca: None,
        proxy: None,
        timeouts: UpstreamTimeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_millis(400),
            idle: Duration::from_millis(400),
        },
        max_requests: 8,
        checksums: false,
    };
    Upstream::new(settings, Arc::new(SystemClock)).unwrap()
}

fn get(key: &[u8]) -> StoreRequest<'_> {
    StoreRequest {
        method: Method::GET,
        bucket: Some("bucket"),
        key: Some(key),
        query: Query::default(),
        headers: HeaderMap::new(),
        body: Payload::Empty,
        identity: Identity::Own,
        trace: None,
    }
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn a_request_arrives_signed_and_with_its_key_byte_for_byte() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        head
    });
    let answer = upstream(port).send(get("a//../ü+ %2F/".as_bytes())).await.unwrap();
    assert_eq!(answer.bytes(10).await.unwrap(), "ok");
    let received = server.await.unwrap();
    let mut lines = received.split("\r\n");
    let target = lines.next().unwrap().split(' ').nth(1).unwrap();
    assert_eq!(target, "/bucket/a//../%C3%BC%2B%20%252F/");
    let fields: Vec<(&str, &[u8])> =
        lines.filter_map(|l| l.split_once(": ")).map(|(name, value)| (name, value.as_bytes())).collect();
    let view = RequestView { method: "GET", path: target, query: "", headers: Headers::new(&fields) };
    let Ok(Authentication::Signed(claim)) = Authentication::of(&view, &Query::default(), "eu-1", SystemClock.now())
    else {
        panic!("not signed")
    };
    let key = SigningKey::derive(&secret(), claim.scope());
    assert!(claim.verify(&key).is_ok());
}

#[tokio::test]
async fn a_connection_is_used_again_and_a_stale_one_is_replaced() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            head(&mut first).await;
            first.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
        // the third request comes on a connection that closes on it
        head(&mut first).await;
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        head(&mut second).await;
        second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let upstream = upstream(port);
    for _ in 0..3 {
        upstream.send(get(b"k")).await.unwrap().bytes(0).await.unwrap();
    }
    server.await.unwrap();
}

/// Serves `answered` requests on a first connection, closes it on the next one, and counts the requests that come again.
async fn closes_after(answered: usize, listener: TcpListener) -> usize {
    let (mut first, _) = listener.accept().await.unwrap();
    for _ in 0..answered {
        head(&mut first).await;
        first.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    }
    head(&mut first).await;
    drop(first);
    let mut again = 0;
    while let Ok(Ok((mut other, _))) = timeout(Duration::from_millis(300), listener.accept()).await {
        head(&mut other).await;
        again += 1;
        other.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
    }
    again
}

#[tokio::test]
async fn only_what_is_the_same_done_twice_is_sent_again() {
    let condition = |name: &'static str, value: &'static str| {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    };
    let plain = HeaderMap::new;
    // method, headers, whether it is sent again on a connection that was used before, on a fresh one
    let cases = [
        (Method::GET, plain(), 1, 1),
        (Method::HEAD, condition("if-match", "\"e\""), 1, 1),
        (Method::PUT, plain(), 1, 0),
        (Method::DELETE, plain(), 1, 0),
        (Method::PUT, condition("if-none-match", "*"), 0, 0),
        (Method::PUT, condition("if-match", "\"e\""), 0, 0),
        (Method::DELETE, condition("if-match", "\"e\""), 0, 0),
        (Method::PUT, condition("x-amz-copy-source", "/b/k"), 0, 0),
        (Method::POST, plain(), 0, 0),
    ];
    for (method, headers, used, fresh) in cases {
        for (before, expected) in [(1, used), (0, fresh)] {
            let (listener, port) = listener().await;
            let server = tokio::spawn(closes_after(before, listener));
            let upstream = upstream(port);
            for _ in 0..before {
                upstream.send(get(b"k")).await.unwrap().bytes(0).await.unwrap();
            }
            let request = StoreRequest { method: method.clone(), headers: headers.clone(), ..get(b"k") };
            let sent = upstream.send(request).await;
            assert_eq!(sent.is_ok(), expected == 1, "{method} {headers:?}");
            assert_eq!(server.await.unwrap(), expected, "{method} {headers:?}");
        }
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_given_up() {
    let (listener, port) = listener().await;
    let error = upstream(port).send(get(b"k")).await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable(ClientError::TimedOut(_))), "{error}");
    drop(listener);
}

#[tokio::test]
async fn a_body_that_stalls_fails() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
    });
    let answer = upstream(port).send(get(b"k")).await.unwrap();
    assert!(answer.bytes(10).await.is_err());
    server.abort();
}

#[tokio::test]
async fn an_early_refusal_is_returned_though_the_body_was_not_sent() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        let xml = "<Error><Code>NoSuchBucket</Code></Error>";
        let answer = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{xml}", xml.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    let request = StoreRequest {
        method: Method::PUT,
        body: Payload::Stream { body: Endless.boxed_unsync(), len: 1 << 40 },
        ..get(b"k")
    };
    let error = upstream(port).send(request).await.err().unwrap();
    assert_eq!(error.code(), Some(ErrorCode::NoSuchBucket));
    server.await.unwrap();
}

use http_body_util::BodyExt as _;

struct Endless;
impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = BodyError;
    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[0; 1000])))))
    }
}

struct Failing(u32);
impl http_body::Body for Failing {
    type Data = Bytes;
    type Error = BodyError;
    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        self.0 += 1;
        std::task::Poll::Ready(Some(if self.0 > 3 {
            Err(BodyError::Aborted)
        } else {
            Ok(http_body::Frame::data(Bytes::from_static(&[0; 1000])))
        }))
    }
}

#[tokio::test]
async fn a_body_that_is_given_up_reaches_the_store_short() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        all.len()
    });
    let body = Payload::Stream { body: Failing(0).boxed_unsync(), len: 10_000 };
    let error = upstream(port).send(StoreRequest { method: Method::PUT, body, ..get(b"k") }).await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable(ClientError::RequestBody)), "{error}");
    assert!(server.await.unwrap() < 10_000);
}

#[tokio::test]
async fn errors_say_who_is_to_blame() {
    let cases: [(&str, fn(&StoreError) -> bool); 4] = [
        ("403 F\r\ncontent-length: 49\r\n\r\n<Error><Code>SignatureDoesNotMatch</Code></Error>", |e| {
            matches!(e, StoreError::Signature)
        }),
        ("307 T\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", |e| {
            matches!(e, StoreError::Redirected)
        }),
        (
            "503 S\r\nretry-after: 7\r\ncontent-length: 36\r\n\r\n<Error><Code>SlowDown</Code></Error>",
            |e| matches!(e, StoreError::Refused(r) if r.retry_after == Some(7) && r.code == Some(ErrorCode::SlowDown)),
        ),
        (
            "404 N\r\ncontent-length: 3\r\n\r\n<<<",
            |e| matches!(e, StoreError::Refused(r) if r.code.is_none() && r.status == 404),
        ),
    ];
    for (answer, expected) in cases {
        let (listener, port) = listener().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            head(&mut stream).await;
            stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await.unwrap();
        });
        let error = upstream(port).send(get(b"k")).await.err().unwrap();
        assert!(expected(&error), "{error}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_way() {
    let (proxy, port) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = proxy.accept().await.unwrap();
        assert!(head(&mut stream).await.starts_with("CONNECT store.invalid:80 HTTP/1.1\r\n"));
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
        assert!(head(&mut stream).await.starts_with("GET /bucket/k HTTP/1.1\r\n"));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let mut with_proxy = upstream(1).settings;
    with_proxy.endpoint = "http://store.invalid".parse().unwrap();
    with_proxy.proxy = Some(format!("http://127.0.0.1:{port}").parse().unwrap());
    let upstream = Upstream::new(with_proxy, Arc::new(SystemClock)).unwrap();
    upstream.send(get(b"k")).await.unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn a_program_that_takes_too_long_ends_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let noted = folder.path().join("pid");
    let script = format!("sleep 300 & echo $! >'{}'; wait", noted.display());
    let origin = identity::Origin::Process(vec!["/bin/sh".to_owned(), "-c".to_owned(), script]);
    assert!(timeout(Duration::from_millis(700), origin.ask()).await.is_err());
    let pid: u32 = std::fs::read_to_string(&noted).unwrap().trim().parse().unwrap();
    // gone, or nobody has asked yet how it ended
    let is_gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    for _ in 0..50 {
        if is_gone() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it lives on");
}

#[tokio::test]
async fn what_is_done_for_nobody_takes_nobodys_places() {
    let mut upstream = upstream(1);
    upstream.places = Places::new(4);
    upstream.settings.timeouts.first_byte = Duration::from_millis(50);
    let mut held = Vec::new();
    // the gateway's own records of an upload that is nobody's
    for identity in [Identity::Own, Identity::Nobody] {
        held.push(upstream.place(identity, false).await.ok().unwrap());
    }
    assert!(matches!(upstream.place(Identity::Own, false).await, Err(StoreError::Busy)));
    for _ in 0..2 {
        held.push(upstream.place(Identity::Own, true).await.ok().unwrap());
    }
    assert!(matches!(upstream.place(Identity::Own, true).await, Err(StoreError::Busy)));
}
