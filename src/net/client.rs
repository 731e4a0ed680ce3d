//! Connections to one origin: opened, used again, and cut when they stand still.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use super::body::{Body, BodyError};
use super::timed::TimedBody;
use super::tls::{TlsError, client_config};

/// How long a connection may lie idle before it is not used again: less than servers let them.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// How long a connection may take to be ready for the next request.
const READY_LIMIT: Duration = Duration::from_millis(200);

/// How long a body waits for the 100 Continue that its request expects: not every origin sends one.
const CONTINUE_LIMIT: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No connection could be opened.
    #[error("connecting failed: {0}")]
    Connect(#[source] io::Error),
    /// The other side's certificate, or its TLS, is not acceptable.
    #[error("TLS failed: {0}")]
    Tls(#[source] io::Error),
    /// The proxy does not open a way.
    #[error("the proxy refuses: {0}")]
    Proxy(String),
    /// Nothing moved for too long.
    #[error("timed out: {0}")]
    TimedOut(&'static str),
    /// The connection was closed before an answer came.
    #[error("the connection was closed before an answer")]
    Closed {
        /// It had been used before: it may have been closed for its age.
        reused: bool,
    },
    /// The request's own body failed.
    #[error("the request's body was given up")]
    RequestBody,
    /// What came is no HTTP.
    #[error("the answer is no HTTP")]
    Protocol,
    /// The request cannot be sent to this origin.
    #[error("the request cannot be sent")]
    Request,
}

/// What is to be known of an origin.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `http` or `https`, host, port.
    pub endpoint: Uri,
    /// PEM file of the authorities that may certify it, in place of the system's.
    pub ca: Option<PathBuf>,
    /// `http://HOST:PORT` of a proxy that CONNECT is asked of.
    pub proxy: Option<Uri>,
    /// Until a connection stands, proxy and TLS included.
    pub connect_timeout: Duration,
    /// From the end of the request to the head of the answer.
    pub first_byte_timeout: Duration,
    /// For a byte to move in either direction.
    pub idle_timeout: Duration,
    /// How many idle connections are kept.
    pub max_idle: usize,
    /// The greatest read and write buffer of a connection; it bounds a head too.
    pub max_buf: usize,
}

/// A connection, cut when nobody holds it. It has no task of its own: whoever uses it drives it, so that no request waits for
/// another thread to be woken. One that lies idle stands still.
struct Connection {
    sender: SendRequest<Body>,
    /// What reads and writes; `None` once it has ended.
    driver: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    used_before: bool,
}

impl Connection {
    /// Reads and writes what can be.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            // its end is noticed by whoever waits for an answer
            self.driver = None;
        }
    }

    /// Waits until the connection can take a request; one that was closed, or still has bytes of the last answer, cannot.
    async fn is_ready(&mut self) -> bool {
        let ready = poll_fn(|cx| {
            self.drive(cx);
            self.sender.poll_ready(cx)
        });
        matches!(timeout(READY_LIMIT, ready).await, Ok(Ok(())))
    }
}

#[derive(Default)]
struct Idle {
    connections: VecDeque<(Connection, Instant)>,
    /// Whether somebody will close those that lie idle for too long.
    is_swept: bool,
}

struct Pool {
    idle: Mutex<Idle>,
    max_idle: usize,
    /// How long a connection may lie idle.
    limit: Duration,
}

impl Pool {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, idle_limit: Duration) -> Option<Connection> {
        let mut idle = self.idle();
        while let Some((connection, since)) = idle.connections.pop_back() {
            if since.elapsed() < idle_limit {
                return Some(connection);
            }
        }
        None
    }

    fn put(self: &Arc<Self>, mut connection: Connection) {
        connection.used_before = true;
        let mut idle = self.idle();
        if connection.driver.is_none() || idle.connections.len() >= self.max_idle {
            return;
        }
        idle.connections.push_back((connection, Instant::now()));
        if !std::mem::replace(&mut idle.is_swept, true) {
            tokio::spawn(Self::sweep(Arc::downgrade(self), self.limit));
        }
    }

    /// Closes what lies idle for too long, until nothing does.
    async fn sweep(pool: Weak<Self>, limit: Duration) {
        loop {
            sleep(limit / 4).await;
            let Some(pool) = pool.upgrade() else { return };
            let mut idle = pool.idle();
            while idle.connections.front().is_some_and(|(_, since)| since.elapsed() >= limit) {
                idle.connections.pop_front();
            }
            if idle.connections.is_empty() {
                idle.is_swept = false;
                return;
            }
        }
    }
}

/// A client of one origin, HTTP/1.1. Redirects are not followed: where data goes is said by the configuration alone.
pub struct Client {
    settings: ClientSettings,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    pool: Arc<Pool>,
}

impl Client {
    /// A client; the endpoint must be a URI of scheme and authority.
    pub fn new(settings: ClientSettings) -> Result<Self, TlsError> {
        let wrong = |reason: &str| TlsError::File { path: PathBuf::from("endpoint"), reason: reason.to_owned() };
        let host = settings.endpoint.host().ok_or_else(|| wrong("it has no host"))?.to_owned();
        let is_tls = settings.endpoint.scheme_str() == Some("https");
        let port = settings.endpoint.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tls = if is_tls {
            let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(bare).map_err(|_| wrong("its host is no name that TLS knows"))?;
            Some((TlsConnector::from(Arc::new(client_config(settings.ca.as_deref())?)), name))
        } else {
            None
        };
        let pool = Arc::new(Pool { idle: Mutex::default(), max_idle: settings.max_idle, limit: IDLE_LIMIT });
        Ok(Self { settings, host, port, tls, pool })
    }

    /// Whether the connection is TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Sends a request, whose URI is origin-form and whose `Host` is set, and gives the answer once its head is there. The
    /// answer may come before the request was sent whole. With `Expect: 100-continue` nothing is asked of its body before the
    /// origin asks for that.
    ///
    /// Dropping the future, or the answer's body before its end, cuts the connection: what the origin has by then is short.
    ///
    /// `idle_limit`: a connection that lay idle for longer is not used; short for what cannot be sent again.
    pub async fn send(&self, request: Request<Body>, idle_limit: Duration) -> Result<Response<Body>, ClientError> {
        let mut connection = self.connection(idle_limit).await?;
        let progress = Arc::new(Progress::new());
        let request = if request.headers().contains_key(header::EXPECT) { Expecting::of(request) } else { request };
        let request = {
            let progress = Arc::clone(&progress);
            request.map(|body| {
                let ended = body.is_end_stream();
                if ended {
                    progress.end();
                }
                Watched { body, progress }.boxed_unsync()
            })
        };
        let mut sent = pin!(connection.sender.send_request(request));
        let answered = poll_fn(|cx| {
            connection.drive(cx);
            sent.as_mut().poll(cx)
        });
        let response = tokio::select! {
            biased;
            response = answered => response,
            stalled = progress.stalled(self.settings.idle_timeout, self.settings.first_byte_timeout) => {
                return Err(ClientError::TimedOut(stalled));
            }
        };
        let response = response.map_err(|error| {
            if progress.failed.load(Ordering::Relaxed) {
                ClientError::RequestBody
            } else if error.is_parse() {
                ClientError::Protocol
            } else if error.is_user() {
                ClientError::Request
            } else {
                ClientError::Closed { reused: connection.used_before }
            }
        })?;
        let (idle, pool) = (self.settings.idle_timeout, Arc::clone(&self.pool));
        Ok(response.map(|body| {
            let mut body = Returning { body, connection: Some(connection), pool, progress };
            if body.body.is_end_stream() {
                body.give_back();
            }
            TimedBody::new(body, idle).boxed_unsync()
        }))
    }

    async fn connection(&self, idle_limit: Duration) -> Result<Connection, ClientError> {
        while let Some(mut connection) = self.pool.take(idle_limit.min(self.pool.limit)) {
            if connection.is_ready().await {
                return Ok(connection);
            }
        }
        self.connect().await
    }

    async fn connect(&self) -> Result<Connection, ClientError> {
        let opened = timeout(self.settings.connect_timeout, self.open()).await;
        opened.map_err(|_| ClientError::TimedOut("connecting"))?
    }

    async fn open(&self) -> Result<Connection, ClientError> {
        let stream = match &self.settings.proxy {
            None => tcp(&self.host, self.port).await.map_err(ClientError::Connect)?,
            Some(proxy) => {
                let host = proxy.host().unwrap_or_default();
                let stream = tcp(host, proxy.port_u16().unwrap_or(80)).await.map_err(ClientError::Connect)?;
                tunnel(stream, &self.host, self.port).await?
            }
        };
        match &self.tls {
            None => self.handshake(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(ClientError::Tls)?;
                self.handshake(stream).await
            }
        }
    }

    async fn handshake<T>(&self, io: T) -> Result<Connection, ClientError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(self.settings.max_buf.max(16 << 10))
            .max_headers(128)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|_| ClientError::Protocol)?;
        let driver = Box::pin(async move {
            let _ = connection.await;
        });
        Ok(Connection { sender, driver: Some(driver), used_before: false })
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks a proxy for a way to the origin.
async fn tunnel(mut stream: TcpStream, host: &str, port: u16) -> Result<TcpStream, ClientError> {
    let asked = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    stream.write_all(asked.as_bytes()).await.map_err(ClientError::Connect)?;
    let mut head = Vec::new();
    // byte by byte: what follows the head is the origin's
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 8192 {
            return Err(ClientError::Proxy("its answer is too long".to_owned()));
        }
        let byte = stream.read_u8().await.map_err(|_| ClientError::Proxy("it closed the connection".to_owned()))?;
        head.push(byte);
    }
    let status = head.split(|b| *b == b' ').nth(1).and_then(|status| str::from_utf8(status).ok()).unwrap_or_default();
    if head.starts_with(b"HTTP/1.") && status.len() == 3 && status.starts_with('2') {
        Ok(stream)
    } else {
        let shown: String = status.chars().filter(char::is_ascii_digit).take(3).collect();
        Err(ClientError::Proxy(format!("status {shown}")))
    }
}

/// How far the sending of a request is.
struct Progress {
    /// Since when the connection has not taken what the body has. `None`: it is the body that is waited for.
    since: Mutex<Option<Instant>>,
    ended: AtomicBool,
    failed: AtomicBool,
}

impl Progress {
    fn new() -> Self {
        Self { since: Mutex::new(Some(Instant::now())), ended: AtomicBool::new(false), failed: AtomicBool::new(false) }
    }

    fn set(&self, since: Option<Instant>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn end(&self) {
        self.set(Some(Instant::now()));
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Ready once the origin takes nothing, or answers nothing, for too long.
    async fn stalled(&self, idle: Duration, first_byte: Duration) -> &'static str {
        loop {
            let ended = self.ended.load(Ordering::Relaxed);
            let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
            let limit = if ended { first_byte } else { idle };
            let over = since.unwrap_or_else(Instant::now) + limit;
            if since.is_some() && over <= Instant::now() {
                return if ended { "waiting for the answer" } else { "sending the request" };
            }
            sleep_until(over.max(Instant::now() + Duration::from_millis(5))).await;
        }
    }
}

/// A request's body, watched for progress.
struct Watched {
    body: Body,
    progress: Arc<Progress>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Pending => this.progress.set(None),
            Poll::Ready(Some(Ok(_))) => {
                this.progress.set(Some(Instant::now()));
                if this.body.is_end_stream() || this.body.size_hint().exact() == Some(0) {
                    this.progress.end();
                }
            }
            Poll::Ready(Some(Err(_))) => this.progress.failed.store(true, Ordering::Relaxed),
            Poll::Ready(None) => this.progress.end(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that waits until it is asked for. Where the answer comes without that, it never is.
struct Expecting {
    body: Body,
    /// Who asks; `None` once somebody has, or nobody will.
    asked: Option<oneshot::Receiver<()>>,
    limit: Pin<Box<Sleep>>,
    is_wanted: bool,
}

impl Expecting {
    fn of(request: Request<Body>) -> Request<Body> {
        let (ask, asked) = oneshot::channel();
        let limit = Box::pin(sleep(CONTINUE_LIMIT));
        let mut request = request.map(|body| Self { body, asked: Some(asked), limit, is_wanted: false }.boxed_unsync());
        let ask = Mutex::new(Some(ask));
        // dropped with the head of the answer
        hyper::ext::on_informational(&mut request, move |said| {
            if said.status() == StatusCode::CONTINUE
                && let Some(ask) = ask.lock().unwrap_or_else(PoisonError::into_inner).take()
            {
                // whoever is asked may have gone
                let _ = ask.send(());
            }
        });
        request
    }

    fn poll_wanted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(asked) = &mut self.asked {
            self.is_wanted = match Pin::new(asked).poll(cx) {
                Poll::Ready(asked) => asked.is_ok(),
                Poll::Pending => {
                    ready!(self.limit.as_mut().poll(cx));
                    true
                }
            };
            self.asked = None;
        }
        if self.is_wanted { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl HttpBody for Expecting {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        ready!(self.poll_wanted(cx));
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body, which drives its connection. At its end the connection goes back to the pool, if the request was sent
/// whole; otherwise it is cut.
struct Returning {
    body: Incoming,
    connection: Option<Connection>,
    pool: Arc<Pool>,
    progress: Arc<Progress>,
}

impl Returning {
    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.progress.ended.load(Ordering::Relaxed)
        {
            self.pool.put(connection);
        }
    }
}

impl HttpBody for Returning {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let mut polled = Pin::new(&mut this.body).poll_frame(cx);
        if polled.is_pending()
            && let Some(connection) = &mut this.connection
        {
            connection.drive(cx);
            polled = Pin::new(&mut this.body).poll_frame(cx);
        }
        let frame = ready!(polled);
        match &frame {
            None => this.give_back(),
            Some(Ok(_)) if this.body.is_end_stream() => this.give_back(),
            Some(Ok(_)) => {}
            Some(Err(_)) => this.connection = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::body;
    use super::*;

    /// A server that answers each request with nothing and keeps the connection; it tells when one was opened (`true`) and
    /// closed by the other side (`false`).
    async fn server() -> (Uri, tokio::sync::mpsc::UnboundedReceiver<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move {
                    let _ = tell.send(true);
                    let mut buffer = [0; 4096];
                    while let Ok(1..) = stream.read(&mut buffer).await {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                    }
                    let _ = tell.send(false);
                });
            }
        });
        (endpoint, told)
    }

    fn client(endpoint: Uri, limit: Duration) -> Client {
        let wait = Duration::from_secs(5);
        let mut client = Client::new(ClientSettings {
            endpoint,
            ca: None,
            proxy: None,
            connect_timeout: wait,
            first_byte_timeout: wait,
            idle_timeout: wait,
            max_idle: 4,
            max_buf: 64 << 10,
        })
        .unwrap();
        client.pool = Arc::new(Pool { idle: Mutex::default(), max_idle: 4, limit });
        client
    }

    async fn ask(client: &Client) {
        let request = Request::builder().uri("/").header("host", "x").body(body::empty()).unwrap();
        let answer = client.send(request, Duration::MAX).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "");
    }

    #[tokio::test]
    async fn a_connection_is_used_again_and_closed_when_it_lies_idle_for_too_long() {
        let (endpoint, mut told) = server().await;
        let client = client(endpoint, Duration::from_millis(400));
        ask(&client).await;
        ask(&client).await;
        assert_eq!(told.recv().await, Some(true), "one connection for both");
        let closed = timeout(Duration::from_secs(5), told.recv()).await;
        assert_eq!(closed.unwrap(), Some(false), "closed while nobody asks anything");
        ask(&client).await;
        assert_eq!(told.recv().await, Some(true), "and another one is opened");
        assert_eq!(timeout(Duration::from_secs(5), told.recv()).await.unwrap(), Some(false), "and swept as the first");
    }

    /// A server that says `said` to a head, and then `answer` once a body of five bytes is there, or at once if `said` is empty;
    /// it tells what it had heard by then.
    async fn asking(said: &'static str, answer: &'static str) -> (Uri, oneshot::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            while !heard.ends_with(b"\r\n\r\n") {
                heard.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(said.as_bytes()).await.unwrap();
            while answer.starts_with("HTTP/1.1 2") && !heard.ends_with(b"\r\n\r\nhello") {
                heard.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = timeout(Duration::from_millis(1500), stream.read_to_end(&mut heard)).await;
            tell.send(String::from_utf8(heard).unwrap()).unwrap();
        });
        (endpoint, told)
    }

    /// A body of five bytes that notes whether it was asked for.
    struct Noted(Option<Bytes>, Arc<AtomicBool>);

    impl HttpBody for Noted {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            self.1.store(true, Ordering::Relaxed);
            Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    #[tokio::test]
    async fn a_body_waits_until_it_is_asked_for() {
        const DONE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        const NO: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
        for (said, answer, status, is_sent) in [
            ("HTTP/1.1 100 Continue\r\n\r\n", DONE, 200, true),
            ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", DONE, 200, true),
            // one that does not speak of it
            ("", DONE, 200, true),
            ("", NO, 403, false),
        ] {
            let (endpoint, told) = asking(said, answer).await;
            let client = client(endpoint, Duration::from_secs(5));
            let was_asked = Arc::new(AtomicBool::new(false));
            let body = Noted(Some(Bytes::from_static(b"hello")), Arc::clone(&was_asked)).boxed_unsync();
            let request = Request::put("/").header("host", "x").header("expect", "100-continue");
            let request = request.header("content-length", "5").body(body).unwrap();
            let begun = Instant::now();
            let answer = client.send(request, Duration::MAX).await.unwrap();
            let waited = begun.elapsed();
            assert_eq!((answer.status().as_u16(), was_asked.load(Ordering::Relaxed)), (status, is_sent), "{said}");
            assert_eq!(waited >= CONTINUE_LIMIT, said.is_empty() && is_sent, "{said}: {waited:?}");
            drop(answer);
            assert_eq!(told.await.unwrap().ends_with("hello"), is_sent, "{said}");
        }
    }

    #[tokio::test]
    async fn a_client_that_goes_takes_its_connections_with_it() {
        let (endpoint, mut told) = server().await;
        let client = client(endpoint, Duration::from_mins(1));
        ask(&client).await;
        assert_eq!(told.recv().await, Some(true));
        drop(client);
        assert_eq!(timeout(Duration::from_secs(5), told.recv()).await.unwrap(), Some(false));
    }
}
