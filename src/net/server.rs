//! The listener: connections, TLS, HTTP/1.1 and HTTP/2, limits, time-outs, and an orderly end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::body::{self, Body, BodyError};
use super::timed::{Progress, Requests, Taken, TimedBody, TimedIo};
use super::tls::ServerTls;

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whether the connection is TLS.
    pub tls: bool,
}

/// The connection of a request, among its extensions.
#[derive(Clone)]
pub struct Connection(Arc<Requests>);

impl Connection {
    /// It is known who is at the other end: from now on its buffers grow as fast as its bytes come.
    pub fn know(&self) {
        self.0.know();
    }
}

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one. Dropped when the client goes: everything that it holds must then be given back.
    fn handle(&self, request: Request<Body>, peer: Peer) -> impl Future<Output = Response<Body>> + Send;
}

/// Limits and time-outs of a listener.
#[derive(Clone)]
pub struct ServerSettings {
    /// TLS, if it is spoken.
    pub tls: Option<Arc<ServerTls>>,
    /// For a TLS handshake, and for a head once its first byte is there.
    pub header_timeout: Duration,
    /// For a byte to move in a request under way.
    pub idle_timeout: Duration,
    /// For the next request to begin.
    pub keep_alive: Duration,
    /// For requests under way once the end was asked for.
    pub drain: Duration,
    /// The greatest number of connections; more wait in the backlog.
    pub max_connections: usize,
    /// The greatest read and write buffer of a connection; until [`Connection::know`] it does not grow for what is read.
    pub max_buf: usize,
    /// How much of a head is read while it is not whole.
    pub max_head: usize,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            tls: None,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            drain: Duration::from_secs(30),
            max_connections: 4096,
            max_buf: 512 << 10,
            max_head: 128 << 10,
        }
    }
}

/// How a listener ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because their requests did not end in time.
    pub cut: usize,
}

/// Numbers of a listener, to be read at any time.
#[derive(Debug, Default)]
pub struct ServerStats {
    /// Connections that stand.
    pub connections: AtomicUsize,
    /// Connections that were accepted.
    pub accepted: AtomicU64,
}

struct Shared<H> {
    settings: ServerSettings,
    handler: Arc<H>,
    stats: Arc<ServerStats>,
    stop: watch::Receiver<bool>,
}

/// Counts a connection as long as it stands.
struct Counted(Arc<ServerStats>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves until `shutdown` is ready, then ends: no new connections, idle ones closed, requests under way finished within the
/// time for it.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    settings: ServerSettings,
    handler: Arc<H>,
    stats: Arc<ServerStats>,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let permits = Arc::new(Semaphore::new(settings.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let all = u32::try_from(permits.available_permits()).unwrap_or(u32::MAX);
    let (stop, stopped) = watch::channel(false);
    let drain = settings.drain;
    let shared = Arc::new(Shared { settings, handler, stats, stop: stopped });
    let mut tasks = tokio::task::JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        while tasks.try_join_next().is_some() {}
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let shared = Arc::clone(&shared);
                shared.stats.accepted.fetch_add(1, Ordering::Relaxed);
                shared.stats.connections.fetch_add(1, Ordering::Relaxed);
                let counted = Counted(Arc::clone(&shared.stats));
                tasks.spawn(async move {
                    let _held = (permit, counted);
                    // what goes wrong on one connection is its client's to notice
                    let _ = connection(stream, address, shared).await;
                });
            }
            // out of descriptors, or a connection that is gone already: others may be served
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
    drop(listener);
    let _ = stop.send(true);
    let deadline = Instant::now() + drain;
    let _ = timeout_at(deadline, permits.acquire_many(all)).await;
    while tasks.try_join_next().is_some() {}
    let cut = tasks.len();
    tasks.shutdown().await;
    Drained { cut }
}

async fn connection<H: Handler>(stream: TcpStream, address: SocketAddr, shared: Arc<Shared<H>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let limit = shared.settings.header_timeout;
    let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
    // a client that has asked for nothing keeps no end waiting
    let mut stop = shared.stop.clone();
    let stopped = async {
        let _ = stop.wait_for(|stop| *stop).await;
        io::Error::from(io::ErrorKind::ConnectionAborted)
    };
    if let Some(tls) = &shared.settings.tls {
        let acceptor = TlsAcceptor::from(tls.current());
        let accepted = tokio::select! {
            accepted = timeout(limit, acceptor.accept(stream)) => accepted,
            stopped = stopped => return Err(stopped),
        };
        let stream = accepted.map_err(timed_out)??;
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        speak(stream, is_h2, Peer { address, tls: true }, shared).await
    } else {
        // a client may keep a connection in reserve: its first byte has as long as the next request's
        let begins = async {
            timeout(shared.settings.keep_alive, stream.readable()).await.map_err(timed_out)??;
            timeout(limit, begins_http2(&stream)).await.map_err(timed_out)?
        };
        let is_h2 = tokio::select! {
            is_h2 = begins => is_h2?,
            stopped = stopped => return Err(stopped),
        };
        speak(stream, is_h2, Peer { address, tls: false }, shared).await
    }
}

/// Whether the connection begins with HTTP/2's preface. Only as much is looked at as tells it from every method.
async fn begins_http2(stream: &TcpStream) -> io::Result<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
    let mut start = [0; PREFACE.len()];
    let mut wait = Duration::from_millis(5);
    loop {
        let len = stream.peek(&mut start).await?;
        let seen = start.get(..len).unwrap_or_default();
        if len == 0 || !PREFACE.starts_with(seen) {
            return Ok(false);
        }
        if len == PREFACE.len() {
            return Ok(true);
        }
        // `peek` is ready at once while the bytes lie there
        sleep(wait).await;
        wait = (wait * 2).min(Duration::from_millis(200));
    }
}

async fn speak<H: Handler, T>(io: T, is_h2: bool, peer: Peer, shared: Arc<Shared<H>>) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let settings = &shared.settings;
    let (idle, mut stop) = (settings.idle_timeout, shared.stop.clone());
    let requests = Arc::new(Requests::new(is_h2));
    let io = TokioIo::new(TimedIo::new(io, (settings.header_timeout, settings.max_head), idle, Arc::clone(&requests)));
    let progress = Arc::new(Progress::default());
    let service = {
        let (shared, requests, progress) = (Arc::clone(&shared), Arc::clone(&requests), Arc::clone(&progress));
        service_fn(move |request: Request<Incoming>| {
            let (shared, requests) = (Arc::clone(&shared), Arc::clone(&requests));
            requests.begin();
            let stream = is_h2.then(|| progress.begin());
            async move {
                let (head, body) = request.into_parts();
                let waits = head.headers.contains_key(header::EXPECT);
                let is_read_only = matches!(head.method, Method::GET | Method::HEAD);
                let lent = (!body.is_end_stream()).then(|| Lent::new(TimedBody::new(body, idle)));
                let body = lent.clone().map_or_else(body::empty, Lent::boxed_unsync);
                let mut request = Request::from_parts(head, body);
                request.extensions_mut().insert(Connection(Arc::clone(&requests)));
                let mut response = shared.handler.handle(request, peer).await;
                let is_read = match lent {
                    Some(lent) => lent.ends(waits, is_read_only).await,
                    None => true,
                };
                let Some(stream) = stream else {
                    if !is_read {
                        // what is left of the body is no request
                        requests.leave_body();
                        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                    }
                    requests.end();
                    return Ok::<_, std::convert::Infallible>(response);
                };
                // the socket says nothing of a stream whose receiver takes nothing
                Ok(response.map(|body| Taken::new(body, stream).boxed_unsync()))
            }
        })
    };
    let stopping = async {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let ended = |error: hyper::Error| io::Error::other(error);
    if is_h2 {
        let stalled = progress.over(settings.header_timeout, settings.keep_alive, idle);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(100)
            .initial_stream_window_size(512 << 10)
            .initial_connection_window_size(2 << 20)
            .max_send_buf_size(256 << 10)
            .max_header_list_size(64 << 10)
            .keep_alive_interval(Some(settings.keep_alive))
            .keep_alive_timeout(idle);
        let mut connection = pin!(builder.serve_connection(io, service));
        let served = async {
            tokio::select! {
                done = connection.as_mut() => return done.map_err(ended),
                () = stopping => connection.as_mut().graceful_shutdown(),
            }
            connection.await.map_err(ended)
        };
        tokio::select! {
            done = served => done,
            () = stalled => Err(io::ErrorKind::TimedOut.into()),
        }
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(settings.keep_alive)
            .max_buf_size(settings.max_buf.max(16 << 10))
            .max_headers(128)
            .half_close(false);
        let mut connection = pin!(builder.serve_connection(io, service));
        tokio::select! {
            done = connection.as_mut() => return done.map_err(ended),
            () = stopping => connection.as_mut().graceful_shutdown(),
        }
        requests.stop();
        connection.await.map_err(ended)
    }
}

/// What is left of a body of up to this length is read once its request is answered, for up to this time: the connection is then
/// used again.
const MAX_REST: usize = 1 << 20;
const REST_TIME: Duration = Duration::from_secs(2);

/// A body, and what became of it.
struct Rest {
    body: TimedBody<Incoming>,
    /// Whether anything of it was asked for: a client that waits for that is told to send it.
    was_asked: bool,
    is_read: bool,
    has_failed: bool,
}

/// The body of a request: its handler reads what it wants of it, and the server the rest.
#[derive(Clone)]
struct Lent(Arc<Mutex<Rest>>);

impl Lent {
    fn new(body: TimedBody<Incoming>) -> Self {
        Self(Arc::new(Mutex::new(Rest { body, was_asked: false, is_read: false, has_failed: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Rest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was read to its end, or can be. Nobody who `waits` to be asked for it is, and nobody's read waits for it.
    async fn ends(mut self, waits: bool, is_read_only: bool) -> bool {
        let known = self.size_hint().upper();
        let (is_read, is_left) = {
            let rest = self.lock();
            (rest.is_read, rest.has_failed || waits && !rest.was_asked)
        };
        if is_read || is_left || is_read_only || known.is_some_and(|left| left > MAX_REST as u64) {
            return is_read;
        }
        let rest = async {
            let mut left = MAX_REST;
            while !self.lock().is_read {
                let Some(frame) = self.frame().await else { return self.lock().is_read.then_some(()) };
                left = left.checked_sub(frame.ok()?.data_ref().map_or(0, Bytes::len))?;
            }
            Some(())
        };
        matches!(timeout(REST_TIME, rest).await, Ok(Some(())))
    }
}

impl hyper::body::Body for Lent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut rest = self.lock();
        let polled = Pin::new(&mut rest.body).poll_frame(cx);
        let (ended, failed) = match &polled {
            Poll::Ready(None) => (true, false),
            Poll::Ready(Some(Err(_))) => (false, true),
            _ => (rest.body.is_end_stream(), false),
        };
        // hyper says that a body has ended once it has said that it failed
        (rest.was_asked, rest.has_failed) = (true, rest.has_failed || failed);
        rest.is_read |= ended && !rest.has_failed;
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}
