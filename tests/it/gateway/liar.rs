//! A provider that lies: it stands before the honest one, passes everything on, and changes what it is told to. It also keeps
//! every byte that it saw.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use sealgate::net::body::{self, Body, collect};
use sealgate::net::client::{Client, ClientSettings};
use sealgate::net::server::{Handler, Peer};

/// What was asked.
#[derive(Clone)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
}

impl Asked {
    pub fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }
}

/// What is answered.
pub struct Told {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Keeps the length that the headers say, whatever the body has: the connection is then cut or stalls.
    pub keep_length: bool,
    /// Waits so long before the answer.
    pub delay: Duration,
}

impl Told {
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.headers.insert(name, value.parse().unwrap());
    }
}

type Lie = Arc<dyn Fn(&Asked, &mut Told) + Send + Sync>;
/// What it does to a request before it passes it on.
type Edit = Arc<dyn Fn(&mut Asked, &mut Vec<u8>) + Send + Sync>;

pub struct Liar {
    client: Client,
    lie: Mutex<Option<Lie>>,
    edit: Mutex<Option<Edit>>,
    /// All bytes of requests and answers, one after the other.
    pub seen: Mutex<Vec<u8>>,
    pub requests: Mutex<Vec<Asked>>,
}

impl Liar {
    pub fn before(provider: SocketAddr) -> Arc<Self> {
        let settings = ClientSettings {
            endpoint: format!("http://{provider}").parse().unwrap(),
            ca: None,
            proxy: None,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            max_idle: 16,
            max_buf: 1 << 20,
        };
        Arc::new(Self {
            client: Client::new(settings).unwrap(),
            lie: Mutex::default(),
            edit: Mutex::default(),
            seen: Mutex::default(),
            requests: Mutex::default(),
        })
    }

    pub fn lies(&self, lie: impl Fn(&Asked, &mut Told) + Send + Sync + 'static) {
        *self.lie.lock().unwrap() = Some(Arc::new(lie));
    }

    pub fn edits(&self, edit: impl Fn(&mut Asked, &mut Vec<u8>) + Send + Sync + 'static) {
        *self.edit.lock().unwrap() = Some(Arc::new(edit));
    }

    pub fn tells_the_truth(&self) {
        *self.lie.lock().unwrap() = None;
        *self.edit.lock().unwrap() = None;
    }

    fn see(&self, what: &[u8]) {
        let mut seen = self.seen.lock().unwrap();
        seen.extend_from_slice(what);
        seen.push(b'\n');
    }
}

/// A body of these bytes that then breaks off.
fn broken(bytes: Vec<u8>) -> Body {
    use http_body_util::BodyExt as _;
    struct Broken(Option<Bytes>);
    impl http_body::Body for Broken {
        type Data = Bytes;
        type Error = body::BodyError;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, body::BodyError>>> {
            std::task::Poll::Ready(Some(self.0.take().map(http_body::Frame::data).ok_or(body::BodyError::Aborted)))
        }
    }
    Broken(Some(bytes.into())).boxed_unsync()
}

impl Handler for Liar {
    async fn handle(&self, request: Request<Body>, _: Peer) -> Response<Body> {
        let (head, body) = request.into_parts();
        let mut asked = Asked {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers.clone(),
        };
        self.see(format!("{} {}", head.method, head.uri).as_bytes());
        for (name, value) in &head.headers {
            self.see(&[name.as_str().as_bytes(), b": ", value.as_bytes()].concat());
        }
        self.requests.lock().unwrap().push(asked.clone());
        let Ok(bytes) = collect(body, 1 << 30).await else {
            // a short body: what a store would drop
            return Response::builder().status(400).body(body::empty()).unwrap();
        };
        self.see(&bytes);
        let mut bytes = bytes.to_vec();
        let edit = self.edit.lock().unwrap().clone();
        if let Some(edit) = edit {
            edit(&mut asked, &mut bytes);
        }
        let target =
            if asked.query.is_empty() { asked.path.clone() } else { format!("{}?{}", asked.path, asked.query) };
        let mut forward = Request::builder().method(asked.method.clone()).uri(target);
        *forward.headers_mut().unwrap() = asked.headers.clone();
        if forward.headers_ref().unwrap().contains_key("content-length") {
            forward.headers_mut().unwrap().insert("content-length", bytes.len().to_string().parse().unwrap());
        }
        let answer = self.client.send(forward.body(body::full(bytes)).unwrap(), Duration::from_secs(1)).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = collect(body, 1 << 30).await.unwrap().to_vec();
        let mut told =
            Told { status: parts.status, headers: parts.headers, body, keep_length: false, delay: Duration::ZERO };
        let lie = self.lie.lock().unwrap().clone();
        if let Some(lie) = lie {
            lie(&asked, &mut told);
        }
        tokio::time::sleep(told.delay).await;
        for (name, value) in &told.headers {
            self.see(&[name.as_str().as_bytes(), b": ", value.as_bytes()].concat());
        }
        self.see(&told.body);
        let is_head = asked.method == Method::HEAD;
        if !told.keep_length && !is_head {
            told.headers.insert("content-length", told.body.len().to_string().parse().unwrap());
        }
        let body = if told.keep_length && !is_head { broken(told.body) } else { body::full(told.body) };
        let mut response = Response::new(if is_head { body::empty() } else { body });
        *response.status_mut() = told.status;
        *response.headers_mut() = told.headers;
        response
    }
}
