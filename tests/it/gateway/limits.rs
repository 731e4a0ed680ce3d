//! Clients that are slow, vanish or want too much; and what comes back of what they took.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sealgate::gateway::settings::Limits;
use sealgate::net::server::ServerSettings;
use sealgate::store::settings::Profile;
use sealgate::store::{Identity, Payload, StoreRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::rig::{Plan, Rig, Server, gateway, noise};
use super::tls::signed;

fn short() -> ServerSettings {
    ServerSettings {
        header_timeout: Duration::from_millis(400),
        idle_timeout: Duration::from_millis(400),
        keep_alive: Duration::from_millis(400),
        ..ServerSettings::default()
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_vanishing_clients_are_let_go_and_others_are_served() {
    let rig = Rig::with(Plan { server: short(), ..Plan::default() }).await;
    let app = rig.app();
    app.put("data", "large", noise(8 << 20, 1)).await.unwrap();
    let before = descriptors();
    let mut slow = Vec::new();
    for i in 0..200 {
        let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
        // a head that never ends; a body that never comes; nothing at all; nobody who reads
        let text: &[u8] = match i % 4 {
            0 => b"GET /data/x HTTP/1.1\r\nhost: x\r\n",
            1 => b"PUT /data/x HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nabc",
            2 => b"",
            _ => b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        };
        stream.write_all(text).await.unwrap();
        slow.push(stream);
    }
    for _ in 0..200 {
        let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
        stream.write_all(b"PUT /data/x HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
        drop(stream);
    }
    assert!(app.get("data", "large").await.unwrap().body == noise(8 << 20, 1));
    until("connections are let go", || rig.gateway.stats.connections.load(Ordering::Relaxed) <= 4).await;
    drop(slow);
    until("descriptors come back", || descriptors() <= before + 8).await;
    app.put("data", "after", "x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_trickles_a_head_is_cut() {
    let rig = Rig::with(Plan { server: short(), ..Plan::default() }).await;
    let mut head = TcpStream::connect(rig.gateway.address).await.unwrap();
    let begun = std::time::Instant::now();
    let mut cut = false;
    for _ in 0..40 {
        let gone = head.write_all(b"x").await.is_err();
        let mut byte = [0];
        let closed = tokio::time::timeout(Duration::from_millis(100), head.read(&mut byte)).await;
        if gone || closed.is_ok() {
            cut = true;
            break;
        }
    }
    assert!(cut && begun.elapsed() < Duration::from_secs(3), "{cut} {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_broken_off_leaves_no_object() {
    let rig = Rig::with(Plan { server: short(), ..Plan::default() }).await;
    let app = super::rig::Client(Arc::clone(&rig.app().0));
    for wait in [1, 5, 20, 40] {
        let client = super::rig::Client(Arc::clone(&app.0));
        let sending = tokio::spawn(async move { client.put("data", "k", noise(64 << 20, 2)).await });
        tokio::time::sleep(Duration::from_millis(wait)).await;
        sending.abort();
        let _ = sending.await;
    }
    tokio::time::sleep(Duration::from_millis(800)).await;
    let stored = rig.stored("up-data").await;
    assert!(stored.is_empty() || app.get("data", "k").await.is_ok(), "whole or not at all");
    app.put("data", "k2", "x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_allowed_are_told_to_slow_down() {
    let mut limits = Plan::default().limits;
    limits.requests = 2;
    let rig = Rig::with(Plan { limits, ..Plan::default() }).await;
    let app = rig.app();
    app.put("data", "k", noise(1000, 1)).await.unwrap();
    let mut held = Vec::new();
    // who has no signature is refused, and holds nobody's place while the refusal is not taken or the body does not come
    for _ in 0..8 {
        let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
        stream.write_all(b"PUT /data/x HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n").await.unwrap();
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    app.get("data", "k").await.unwrap();
    drop(held);
    app.put("data", "large", noise(16 << 20, 2)).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..2 {
        // answers that are not read
        held.push(app.begin("data", "large").await);
    }
    let refused = app.get("data", "k").await.unwrap_err();
    assert_eq!(refused, (503, "SlowDown".to_owned()));
    drop(held);
    tokio::time::sleep(Duration::from_millis(300)).await;
    app.get("data", "k").await.unwrap();
}

/// A copy reads from the store while it writes to it: its read must not wait for a place that another copy's write has.
#[tokio::test(flavor = "multi_thread")]
async fn copies_do_not_wait_for_each_other_when_the_store_is_busy() {
    let plan = Plan { profile: Profile::Generic, upstream_requests: 2, ..Plan::default() };
    let rig = Rig::with(plan).await;
    rig.app().put("data", "k", noise(8 << 20, 1)).await.unwrap();
    let copies = (0..4).map(|i| {
        let app = rig.app();
        tokio::spawn(async move {
            let headers = [("x-amz-copy-source", "/data/k")];
            app.send(Method::PUT, "data", &format!("copy-{i}"), &[], &headers, None).await
        })
    });
    let copies: Vec<_> = copies.collect();
    let all = async {
        for copy in copies {
            copy.await.unwrap().unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("they wait for each other");
    for i in 0..4 {
        assert!(rig.app().get("data", &format!("copy-{i}")).await.unwrap().body == noise(8 << 20, 1));
    }
}

async fn closed_within(mut stream: TcpStream, limit: Duration) -> bool {
    let mut rest = [0; 1024];
    let read = async { while matches!(stream.read(&mut rest).await, Ok(len) if len > 0) {} };
    tokio::time::timeout(limit, read).await.is_ok()
}

/// The preface of HTTP/2 with empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_asks_for_nothing_is_closed_however_it_begins() {
    let rig = Rig::with(Plan { server: short(), ..Plan::default() }).await;
    for start in [&b""[..], b"P", &PREFACE[..16], PREFACE, b"GET / HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
        stream.write_all(start).await.unwrap();
        assert!(closed_within(stream, Duration::from_secs(3)).await, "{}", String::from_utf8_lossy(start));
    }
    // and one that asks for nothing more
    let stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    rig.app().put("data", "k", noise(10, 1)).await.unwrap();
    let authority = format!("localhost:{}", rig.gateway.address.port());
    let answer = sender.send_request(signed(&authority, "/data/k")).await.unwrap();
    assert!(answer.into_body().collect().await.unwrap().to_bytes() == noise(10, 1));
    assert!(tokio::time::timeout(Duration::from_secs(3), connection).await.is_ok(), "an idle connection is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_end_is_cut_before_its_time_is_over() {
    let rig = Rig::new().await;
    let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-long: ").await.unwrap();
    let feed = async {
        let piece = vec![b'a'; 16 << 10];
        // more than any buffer on the way holds
        for _ in 0..2000 {
            if stream.write_all(&piece).await.is_err() {
                return true;
            }
        }
        false
    };
    let cut = tokio::time::timeout(Duration::from_secs(4), Box::pin(feed)).await;
    assert!(cut.is_ok_and(|cut| cut), "the header's time is ten seconds");
}

/// The limit is one of a head, not of all that a connection brings.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_brings_any_number_of_heads() {
    let rig = Rig::new().await;
    let app = rig.app();
    app.put("data", "k", noise(10, 1)).await.unwrap();
    let before = rig.gateway.stats.accepted.load(Ordering::Relaxed);
    let long = "x".repeat(4000);
    for _ in 0..100 {
        app.get_with("data", "k", &[("x-long", &long)]).await.unwrap();
    }
    assert_eq!(rig.gateway.stats.accepted.load(Ordering::Relaxed), before, "no connection was cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_keeps_no_end_waiting() {
    let rig = Rig::new().await;
    let handler = Arc::new(gateway(&rig.plan, rig.provider.address, &rig.keyring, &rig.metrics));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stats = Arc::new(sealgate::net::server::ServerStats::default());
    let served = tokio::spawn(sealgate::net::server::serve(
        listener,
        ServerSettings::default(),
        handler,
        Arc::clone(&stats),
        async {
            let _ = stopped.await;
        },
    ));
    let _silent = TcpStream::connect(address).await.unwrap();
    until("it is accepted", || stats.connections.load(Ordering::Relaxed) == 1).await;
    drop(stop);
    let drained = tokio::time::timeout(Duration::from_secs(3), served).await.expect("it waits").unwrap();
    assert_eq!(drained.cut, 0);
}

/// A stream that is not read beside one that moves: neither is cut while its connection is patient.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_not_cut_for_an_answer_beside_it_that_nobody_reads() {
    let server = ServerSettings { idle_timeout: Duration::from_millis(500), ..ServerSettings::default() };
    let rig = Rig::with(Plan { server, ..Plan::default() }).await;
    rig.app().put("data", "k", noise(8 << 20, 1)).await.unwrap();
    let stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    let authority = format!("localhost:{}", rig.gateway.address.port());
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let unread = sender.send_request(signed(&authority, "/data/k")).await.unwrap();
    let begun = std::time::Instant::now();
    // small requests move for more than the limit
    while begun.elapsed() < Duration::from_millis(1200) {
        let answer = sender.send_request(signed(&authority, "/data/other")).await.unwrap();
        assert_eq!(answer.status().as_u16(), 404);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // but not for ever
    let until = begun + Duration::from_secs(5);
    while std::time::Instant::now() < until && !connection.is_finished() {
        let _ = sender.send_request(signed(&authority, "/data/other")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(connection.is_finished(), "a stream that is never read keeps what it holds");
    assert!(unread.into_body().collect().await.is_err());
}

/// HTTP/2 may end a request without a body by an empty frame.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_body_may_end_with_a_frame_of_its_own() {
    struct Nothing;
    impl http_body::Body for Nothing {
        type Data = bytes::Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>>> {
            std::task::Poll::Ready(None)
        }
    }
    let rig = Rig::new().await;
    rig.app().put("data", "k", noise(10, 1)).await.unwrap();
    let stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    let authority = format!("localhost:{}", rig.gateway.address.port());
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(signed(&authority, "/data/k").map(|_| Nothing)).await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

/// What was verified whole before the status line counts until it was taken.
#[tokio::test(flavor = "multi_thread")]
async fn small_answers_that_nobody_reads_stay_in_the_budget() {
    let mut limits = Plan::default().limits;
    limits.memory = 4 << 20;
    let rig = Rig::with(Plan { limits, ..Plan::default() }).await;
    rig.app().put("data", "k", noise(1 << 20, 1)).await.unwrap();
    let gateway = Arc::new(gateway(&rig.plan, rig.provider.address, &rig.keyring, &rig.metrics));
    let server = Server::start(Arc::clone(&gateway), ServerSettings::default()).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let authority = format!("localhost:{}", server.address.port());
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(sender.send_request(signed(&authority, "/data/k")).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(gateway.memory_used() >= 2 << 20, "{}", gateway.memory_used());
    drop((held, sender));
    until("the memory comes back", || gateway.memory_used() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_metadata_over_their_limits_are_refused() {
    let limits = Limits { header: 4096, metadata: 100, ..Plan::default().limits };
    let rig = Rig::with(Plan { limits, ..Plan::default() }).await;
    let app = rig.app();
    let long = "x".repeat(5000);
    let refused = app.get_with("data", "k", &[("x-amz-meta-long", &long)]).await.unwrap_err();
    assert_eq!(refused, (400, "RequestHeaderSectionTooLarge".to_owned()));
    let long = "x".repeat(200);
    let refused = app.put_with("data", "k", &[("x-amz-meta-long", &long)], "x").await.unwrap_err();
    assert_eq!(refused, (400, "MetadataTooLarge".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_within_the_budget_and_comes_back() {
    let mut limits = Plan::default().limits;
    limits.memory = 6 << 20;
    let rig = Rig::with(Plan { limits, ..Plan::default() }).await;
    let mut tasks = Vec::new();
    for i in 0..16u64 {
        let app = rig.app();
        tasks.push(tokio::spawn(async move {
            let key = format!("k{i}");
            app.put("data", &key, noise(16 << 20, i)).await.unwrap();
            assert!(app.get("data", &key).await.unwrap().body == noise(16 << 20, i));
        }));
    }
    // those that find no room wait for it
    for task in tasks {
        task.await.unwrap();
    }
    assert!(rig.metrics.encode().contains("sealgate_requests_total"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_expect_comes_only_to_a_signature_that_holds() {
    let rig = Rig::new().await;
    let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    let head = b"PUT /data/x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
}

/// A body that never comes.
struct Never;

impl http_body::Body for Never {
    type Data = bytes::Bytes;
    type Error = sealgate::net::body::BodyError;
    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[test]
fn slow_clients_of_the_embedded_store_leave_its_threads_to_others() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).max_blocking_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let rig = Rig::new().await;
        let provider = rig.provider_client();
        provider.put("up-data", "large", noise(8 << 20, 1)).await.unwrap();
        let mut slow = Vec::new();
        for i in 0..16 {
            // who takes nothing of an answer, and who sends nothing of a body
            slow.push(provider.begin("up-data", "large").await);
            let upstream = Arc::clone(&provider.0);
            tokio::spawn(async move {
                let key = format!("never-{i}");
                let silence = Never.boxed_unsync();
                let request = StoreRequest {
                    method: Method::PUT,
                    bucket: Some("up-data"),
                    key: Some(key.as_bytes()),
                    query: sealgate::sigv4::uri::Query::default(),
                    headers: http::HeaderMap::new(),
                    body: Payload::Stream { body: silence, len: 1000 },
                    identity: Identity::Own,
                    trace: None,
                };
                let _ = upstream.send(request).await;
            });
        }
        let others = async {
            for _ in 0..3 {
                provider.put("up-data", "small", "content").await.unwrap();
                assert_eq!(provider.get("up-data", "small").await.unwrap().body, "content");
            }
        };
        tokio::time::timeout(Duration::from_secs(10), others).await.expect("others are served");
        for answer in slow {
            assert!(answer.bytes(8 << 20).await.unwrap() == noise(8 << 20, 1));
        }
    });
}

/// Reads a refusal.
async fn refusal(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.windows(8).any(|end| end == b"</Error>") {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(answer).unwrap()
}

fn head_of(len: usize) -> String {
    format!("PUT /data/k HTTP/1.1\r\nhost: x\r\ncontent-length: {len}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_read_however_long_the_body_is_that_nobody_reads() {
    let rig = Rig::new().await;
    // one connection goes on above short bodies, and ends, saying so, above a long one
    let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    for (len, ends) in [(100_000, false), (1_000_000, false), (4 << 20, true)] {
        // sent whole before anything is read, as many clients do
        stream.write_all(head_of(len).as_bytes()).await.unwrap();
        stream.write_all(&vec![0; len]).await.unwrap();
        let answer = refusal(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert_eq!(answer.contains("\r\nconnection: close\r\n"), ends, "{len}: {answer}");
        if len == 100_000 {
            let chunked =
                "PUT /data/k HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
            stream.write_all(chunked.as_bytes()).await.unwrap();
            let answer = refusal(&mut stream).await;
            assert!(!answer.contains("connection: close"), "{answer}");
        }
    }
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    // a client that is slow and moves reads it too
    let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    stream.write_all(head_of(3 << 20).as_bytes()).await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        stream.write_all(&vec![0; 1 << 20]).await.unwrap();
    }
    assert!(refusal(&mut stream).await.contains("connection: close"));
    // nor is it kept for who sends without an end
    let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    stream.write_all(head_of(1_000_000_000).as_bytes()).await.unwrap();
    let sent = tokio::time::timeout(Duration::from_secs(20), stream.write_all(&vec![0; 900 << 20])).await;
    assert!(sent.unwrap().is_err());
    // nor for who sends nothing
    let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    stream.write_all(head_of(4 << 20).as_bytes()).await.unwrap();
    refusal(&mut stream).await;
    let begun = std::time::Instant::now();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    until("the connection is let go", || rig.gateway.stats.connections.load(Ordering::Relaxed) == 0).await;
    assert!(begun.elapsed() < Duration::from_secs(8));
    // and a server that stops waits for neither
    let mut rig = rig;
    let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    stream.write_all(head_of(4 << 20).as_bytes()).await.unwrap();
    refusal(&mut stream).await;
    tokio::time::timeout(Duration::from_millis(1500), rig.gateway.stopped()).await.unwrap();
}
