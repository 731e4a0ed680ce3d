//! The side that does: a socket of the file system that only the gateway's own user and root reach.
//!
//! `POST /reload` is SIGHUP with an answer: 200, or 409 with what is wrong.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::json;
use crate::net::body::Body;

/// How long a question and its answer may take; a reload opens the keyring, which takes a moment by design.
const TIME: Duration = Duration::from_mins(1);
/// How many ask at once.
const MAX_QUESTIONS: usize = 4;
/// The longest answer.
const MAX_ANSWER_LEN: u64 = 64 << 10;

/// A reload that is asked for, and where its outcome is awaited: why it was refused, if it was.
pub type Asked = oneshot::Sender<Result<(), String>>;

/// The socket's file; it goes with the one who listens.
struct Bound {
    path: PathBuf,
    /// Of the file that was made, not of one that took its place.
    inode: u64,
}

impl Drop for Bound {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A socket that is listened on.
pub struct Actions {
    listener: UnixListener,
    bound: Bound,
}

impl Actions {
    /// Listens at `path`, within a runtime. A socket that nobody listens to any more is replaced; anything else that is there
    /// stays, and is an error.
    pub fn listen(path: &Path) -> io::Result<Self> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(ErrorKind::AlreadyExists, "something that is no socket is there"));
            }
            Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => return Err(io::Error::new(ErrorKind::AddrInUse, "another process listens there")),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
                Err(error) => return Err(error),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        let bound = Bound { path: path.to_owned(), inode: std::fs::symlink_metadata(path)?.ino() };
        // whoever came before this holds is asked who he is all the same
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, bound })
    }

    /// Answers until `shutdown`; each reload goes to `reloads`.
    pub async fn serve(self, reloads: mpsc::Sender<Asked>, shutdown: impl Future<Output = ()>) {
        let Self { listener, bound } = self;
        let places = Arc::new(Semaphore::new(MAX_QUESTIONS));
        let answering = async {
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let reloads = reloads.clone();
                tokio::spawn(async move {
                    if is_ours(&stream) {
                        let _ = timeout(TIME, answer(stream, reloads)).await;
                    }
                    drop(place);
                });
            }
        };
        tokio::select! {
            () = answering => {}
            () = shutdown => {}
        }
        drop(bound);
    }
}

/// Whether the other side is root or the gateway's own user, whatever the file's permissions were made.
fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == rustix::process::geteuid().as_raw())
}

async fn answer(stream: UnixStream, reloads: mpsc::Sender<Asked>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let reloads = reloads.clone();
        async move { Ok::<Response<Body>, std::convert::Infallible>(act(&request, &reloads).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(5))
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn act<B>(request: &Request<B>, reloads: &mpsc::Sender<Asked>) -> Response<Body> {
    if request.uri().path() != "/reload" {
        return json(StatusCode::NOT_FOUND, &serde_json::json!({ "error": "/reload" }));
    }
    if request.method() != Method::POST {
        return json(StatusCode::METHOD_NOT_ALLOWED, &serde_json::json!({ "error": "only POST" }));
    }
    let (sender, outcome) = oneshot::channel();
    let asked = reloads.send(sender).await.is_ok();
    match (asked, outcome.await) {
        (true, Ok(Ok(()))) => json(StatusCode::OK, &serde_json::json!({ "reloaded": true })),
        (true, Ok(Err(error))) => json(StatusCode::CONFLICT, &serde_json::json!({ "reloaded": false, "error": error })),
        _ => json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "reloaded": false, "error": "draining" })),
    }
}

/// Asks the gateway that listens at `path` to reload: why it did not, if it did not.
pub fn ask_to_reload(path: &Path) -> io::Result<Result<(), String>> {
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(TIME))?;
    stream.set_write_timeout(Some(TIME))?;
    stream.write_all(b"POST /reload HTTP/1.1\r\nHost: sealgate\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(MAX_ANSWER_LEN).read_to_string(&mut text)?;
    let no_answer = || io::Error::new(ErrorKind::InvalidData, "what listens there is no gateway");
    let (head, document) = text.split_once("\r\n\r\n").ok_or_else(no_answer)?;
    let document: serde_json::Value = serde_json::from_str(document).map_err(|_| no_answer())?;
    if head.starts_with("HTTP/1.1 200 ") && document.get("reloaded") == Some(&true.into()) {
        return Ok(Ok(()));
    }
    let error = document.get("error").and_then(serde_json::Value::as_str).ok_or_else(no_answer)?;
    Ok(Err(error.to_owned()))
}
