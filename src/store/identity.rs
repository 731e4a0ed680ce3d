//! The gateway's identity at a store: credentials that are written down, or that are asked for and asked for again before they
//! end.
//!
//! ```text
//! Upstream ── Issuer::fresh ──▶ credentials that hold        one asks, all others wait or go on with what still holds
//! ```
//!
//! Sources: "Process credential provider", `AssumeRoleWithWebIdentity`, "Container credential provider", "Use `IMDSv2`".

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use thiserror::Error;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::settings::Credentials;
use crate::clock::{Clock, Timestamp};
use crate::net::body::{self, collect};
use crate::net::client::{Client, ClientSettings};
use crate::s3::xml::{AssumedRole, parse_time};
use crate::secret::Secret;
use crate::sigv4::uri::{Slash, encode};

/// The longest answer of whoever issues credentials.
const MAX_ANSWER_LEN: usize = 64 << 10;
/// How long one may take.
const ISSUE_TIME: Duration = Duration::from_secs(30);
/// New credentials are asked for so long before the old ones end, or in the last third of their time if that is shorter.
const AHEAD: Duration = Duration::from_mins(15);
/// Credentials that end sooner are not used: the store's clock may be ahead.
const SPARE: Duration = Duration::from_secs(1);
/// What a program that has ended may still have in its pipe is waited for so long.
const REST_TIME: Duration = Duration::from_secs(1);
/// After a failure nobody asks for so long.
const PAUSE: Duration = Duration::from_secs(2);
/// Credentials that the store refuses are replaced, but not more often than this.
const MIN_AGE: Duration = Duration::from_secs(10);
/// Who has such credentials waits so long for better ones, and goes on with them if there are none: the store may be wrong.
const BETTER_TIME: Duration = Duration::from_secs(5);

/// Where credentials come from.
#[derive(Clone)]
pub enum Source {
    /// They are written down.
    Fixed(Credentials),
    /// They are asked for.
    Asked(Origin),
}

/// Who issues credentials for a while.
#[derive(Clone, PartialEq, Eq)]
pub enum Origin {
    /// A program prints them.
    Process(Vec<String>),
    /// A token service gives them to whoever shows a token of an identity provider.
    WebIdentity {
        /// The token service.
        endpoint: Uri,
        /// The role that is assumed.
        role_arn: String,
        /// The file of the token; it is read for every request, for orchestrators replace it.
        token_file: PathBuf,
        /// How the session is called.
        session_name: String,
    },
    /// The container's agent has them.
    Container {
        /// Where.
        endpoint: Uri,
        /// What shows that it is this container that asks.
        token_file: Option<PathBuf>,
    },
    /// The machine's metadata service has them.
    Instance {
        /// Where.
        endpoint: Uri,
        /// Whose; the machine's only role, if there is none.
        role: Option<String>,
    },
}

/// Why there are no credentials. It says nothing of what was answered.
#[derive(Clone, Debug, Error)]
pub enum IssueError {
    /// The program failed.
    #[error("the program that prints credentials {0}")]
    Process(&'static str),
    /// The file of the token cannot be read.
    #[error("the token file cannot be read: {0}")]
    TokenFile(std::io::ErrorKind),
    /// Whoever issues them is not there, or refuses.
    #[error("whoever issues credentials {0}")]
    Service(String),
    /// What was answered is no credentials, or such as have ended.
    #[error("the answer has no credentials that hold")]
    Answer,
    /// It took too long.
    #[error("no credentials were issued in time")]
    TimedOut,
}

/// Credentials, and until when.
#[derive(Clone)]
struct Issued {
    credentials: Arc<Credentials>,
    since: Timestamp,
    until: Option<Timestamp>,
    /// The store has refused them.
    is_suspect: bool,
}

impl Issued {
    fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now.unix_millis().saturating_add(millis(SPARE)) < until.unix_millis())
    }

    /// Whether new ones should be asked for while these still hold.
    fn is_old(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| {
            let life = until.unix_millis().saturating_sub(self.since.unix_millis());
            let ahead = millis(AHEAD).min(life / 3);
            now.unix_millis().saturating_add(ahead) >= until.unix_millis()
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Default)]
struct Known {
    issued: Option<Issued>,
    /// When asking failed last, and why.
    failed: Option<(Instant, IssueError)>,
}

/// Issues credentials for a store.
pub struct Issuer {
    source: Source,
    known: RwLock<Known>,
    /// Held by the one who asks.
    asking: Arc<tokio::sync::Mutex<()>>,
}

impl From<Credentials> for Arc<Issuer> {
    fn from(credentials: Credentials) -> Self {
        Issuer::new(Source::Fixed(credentials))
    }
}

impl Issuer {
    /// An issuer. Nobody is asked before credentials are needed.
    #[must_use]
    pub fn new(source: Source) -> Arc<Self> {
        let mut known = Known::default();
        if let Source::Fixed(credentials) = &source {
            let credentials = Arc::new(credentials.clone());
            let since = Timestamp::from_unix_millis(0);
            known.issued = Some(Issued { credentials, since, until: None, is_suspect: false });
        }
        Arc::new(Self { source, known: RwLock::new(known), asking: Arc::default() })
    }

    /// Where they come from.
    #[must_use]
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// The one of the two that is to be asked from now on: `former` if it asks the same, for it has what was issued.
    #[must_use]
    pub fn after(self: Arc<Self>, former: &Arc<Self>) -> Arc<Self> {
        match (&self.source, &former.source) {
            (Source::Asked(new), Source::Asked(old)) if new == old => Arc::clone(former),
            _ => self,
        }
    }

    /// Credentials that hold, and that the store has not refused if there are such. Who asks for them should hold nothing that
    /// others wait for.
    pub async fn fresh(self: &Arc<Self>, clock: &Arc<dyn Clock>) -> Result<Arc<Credentials>, IssueError> {
        let is_suspect = self.issued().is_some_and(|issued| issued.is_suspect && issued.holds(clock.now()));
        if is_suspect
            && !self.pauses()
            && let Ok(Ok(better)) = timeout(BETTER_TIME, self.replaced(clock)).await
        {
            return Ok(better);
        }
        self.current(clock).await
    }

    /// Credentials that hold. Those that end soon are replaced beside the request; only one that finds none waits.
    pub async fn current(self: &Arc<Self>, clock: &Arc<dyn Clock>) -> Result<Arc<Credentials>, IssueError> {
        let now = clock.now();
        let Some(issued) = self.issued().filter(|issued| issued.holds(now)) else {
            return self.replaced(clock).await;
        };
        if issued.is_old(now)
            && !self.pauses()
            && let Ok(asking) = Arc::clone(&self.asking).try_lock_owned()
        {
            let asked = self.ask(asking, now);
            tokio::spawn(async move {
                if let Ok(Err(error)) = asked.await {
                    tracing::warn!(target: "sealgate::store", %error, "credentials for a store end soon");
                }
            });
        }
        Ok(issued.credentials)
    }

    /// What is there once whoever asks has been answered.
    async fn replaced(self: &Arc<Self>, clock: &Arc<dyn Clock>) -> Result<Arc<Credentials>, IssueError> {
        let asking = Arc::clone(&self.asking).lock_owned().await;
        // somebody else has asked meanwhile
        let now = clock.now();
        if let Some(issued) = self.issued().filter(|issued| issued.holds(now) && !issued.is_suspect) {
            return Ok(issued.credentials);
        }
        if self.pauses()
            && let Some((_, error)) = self.known().failed.clone()
        {
            return Err(error);
        }
        self.ask(asking, now).await.unwrap_or(Err(IssueError::TimedOut))
    }

    /// The store has refused `credentials`: others are asked for, unless these are written down or new.
    pub fn refused(&self, credentials: &Arc<Credentials>, now: Timestamp) {
        if matches!(self.source, Source::Fixed(_)) {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(issued) = &mut known.issued
            && Arc::ptr_eq(&issued.credentials, credentials)
            && now.unix_millis().saturating_sub(issued.since.unix_millis()) >= millis(MIN_AGE)
        {
            issued.is_suspect = true;
        }
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn issued(&self) -> Option<Issued> {
        self.known().issued.clone()
    }

    fn pauses(&self) -> bool {
        self.known().failed.as_ref().is_some_and(|(at, _)| at.elapsed() < PAUSE)
    }

    /// Asks, in a task of its own: whoever waits may go, and what is answered is of use to the next.
    fn ask(
        self: &Arc<Self>,
        asking: OwnedMutexGuard<()>,
        now: Timestamp,
    ) -> JoinHandle<Result<Arc<Credentials>, IssueError>> {
        let issuer = Arc::clone(self);
        tokio::spawn(async move {
            let answer = match &issuer.source {
                Source::Fixed(credentials) => Ok((credentials.clone(), None)),
                Source::Asked(origin) => timeout(ISSUE_TIME, origin.ask()).await.unwrap_or(Err(IssueError::TimedOut)),
            };
            let done = issuer.learn(answer, now);
            drop(asking);
            done
        })
    }

    fn learn(&self, answer: Result<Given, IssueError>, now: Timestamp) -> Result<Arc<Credentials>, IssueError> {
        let answer = answer.and_then(|(credentials, until)| {
            let issued = Issued { credentials: Arc::new(credentials), since: now, until, is_suspect: false };
            if issued.holds(now) { Ok(issued) } else { Err(IssueError::Answer) }
        });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(issued) => {
                let credentials = Arc::clone(&issued.credentials);
                *known = Known { issued: Some(issued), failed: None };
                Ok(credentials)
            }
            Err(error) => {
                known.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

/// What a program or a metadata service answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answered {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    #[serde(alias = "Token")]
    session_token: Option<Zeroizing<String>>,
    expiration: Option<String>,
    version: Option<u32>,
    code: Option<String>,
}

type Given = (Credentials, Option<Timestamp>);

/// Credentials as they are to be used; an end that cannot be read is none that could be trusted.
fn given(
    access_key_id: String,
    secret: &Zeroizing<String>,
    token: Option<&Zeroizing<String>>,
    until: Option<&str>,
) -> Result<Given, IssueError> {
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !is_plain(&access_key_id) || !is_plain(secret) || token.is_some_and(|token| !is_plain(token)) {
        return Err(IssueError::Answer);
    }
    let until = until.map(|text| parse_time(text).ok_or(IssueError::Answer)).transpose()?;
    let session_token = token.map(|token| Arc::new(Secret::from_text(token)));
    Ok((Credentials { access_key_id, secret: Arc::new(Secret::from_text(secret)), session_token }, until))
}

fn given_json(bytes: &[u8], version: Option<u32>) -> Result<Given, IssueError> {
    let answered: Answered = serde_json::from_slice(bytes).map_err(|_| IssueError::Answer)?;
    if answered.version != version || answered.code.is_some_and(|code| code != "Success") {
        return Err(IssueError::Answer);
    }
    let token = answered.session_token.as_ref();
    given(answered.access_key_id, &answered.secret_access_key, token, answered.expiration.as_deref())
}

/// What a file of a token holds, without its last line's end.
async fn token(file: &Path) -> Result<Zeroizing<String>, IssueError> {
    let read = async {
        let mut text = Zeroizing::new(String::new());
        tokio::fs::File::open(file).await?.take(MAX_ANSWER_LEN as u64).read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    let text = read.await.map_err(|error| IssueError::TokenFile(error.kind()))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

impl Origin {
    pub(super) async fn ask(&self) -> Result<Given, IssueError> {
        match self {
            Self::Process(command) => run(command).await,
            Self::WebIdentity { endpoint, role_arn, token_file, session_name } => {
                let token = token(token_file).await?;
                let mut form = Zeroizing::new(String::from("Action=AssumeRoleWithWebIdentity&Version=2011-06-15"));
                for (name, value) in
                    [("RoleArn", role_arn), ("RoleSessionName", session_name), ("WebIdentityToken", &token)]
                {
                    for piece in ["&", name, "=", &encode(value.as_bytes(), Slash::Encode)] {
                        form.push_str(piece);
                    }
                }
                let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
                let form = Bytes::copy_from_slice(form.as_bytes());
                let document = Service::of(endpoint)?.ask(Method::POST, path_of(endpoint), headers, form).await?;
                let role = AssumedRole::parse(&document).map_err(|_| IssueError::Answer)?;
                given(role.access_key_id, &role.secret_access_key, Some(&role.session_token), Some(&role.expiration))
            }
            Self::Container { endpoint, token_file } => {
                let mut headers = HeaderMap::new();
                if let Some(file) = token_file {
                    headers.insert(header::AUTHORIZATION, sensitive(&token(file).await?)?);
                }
                let service = Service::of(endpoint)?;
                given_json(&service.ask(Method::GET, path_of(endpoint), headers, Bytes::new()).await?, None)
            }
            Self::Instance { endpoint, role } => {
                let service = Service::of(endpoint)?;
                let ttl = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
                let headers = HeaderMap::from_iter([(ttl, HeaderValue::from_static("60"))]);
                let token = service.ask(Method::PUT, "/latest/api/token", headers, Bytes::new()).await?;
                let token = str::from_utf8(&token).map_err(|_| IssueError::Answer)?;
                let name = HeaderName::from_static("x-aws-ec2-metadata-token");
                let headers = HeaderMap::from_iter([(name, sensitive(token)?)]);
                let folder = "/latest/meta-data/iam/security-credentials/";
                let role = if let Some(role) = role {
                    role.clone()
                } else {
                    let names = service.ask(Method::GET, folder, headers.clone(), Bytes::new()).await?;
                    let first = str::from_utf8(&names).ok().and_then(|names| names.lines().next());
                    first.map(str::trim).filter(|name| !name.is_empty()).ok_or(IssueError::Answer)?.to_owned()
                };
                let path = format!("{folder}{}", encode(role.as_bytes(), Slash::Encode));
                given_json(&service.ask(Method::GET, &path, headers, Bytes::new()).await?, None)
            }
        }
    }
}

fn path_of(endpoint: &Uri) -> &str {
    endpoint.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
}

fn no_address() -> IssueError {
    IssueError::Service("has no address that can be used".to_owned())
}

fn sensitive(text: &str) -> Result<HeaderValue, IssueError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| IssueError::Answer)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A program and whatever it has started: gone, if they are not done.
struct Processes(Option<Pid>);

impl Drop for Processes {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // it may be gone
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs the program, without a shell. Its standard output alone counts, up to its end.
async fn run(command: &[String]) -> Result<Given, IssueError> {
    let (program, arguments) = command.split_first().ok_or(IssueError::Process("has no name"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|_| IssueError::Process("cannot be started"))?;
    let mut running = Processes(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let mut answer = Zeroizing::new(Vec::with_capacity(MAX_ANSWER_LEN));
    let mut out = child.stdout.take().ok_or(IssueError::Process("has no output"))?;
    let mut status = None;
    {
        let reading = async {
            while answer.len() < MAX_ANSWER_LEN {
                let room = MAX_ANSWER_LEN - answer.len();
                if (&mut out).take(room as u64).read_buf(&mut *answer).await? == 0 {
                    break;
                }
            }
            Ok::<_, std::io::Error>(())
        };
        tokio::pin!(reading);
        let read = tokio::select! {
            read = &mut reading => read,
            ended = child.wait() => {
                (status, running.0) = (Some(ended), None);
                // what it has started may have inherited the output, and keep it open
                timeout(REST_TIME, &mut reading).await.unwrap_or(Ok(()))
            }
        };
        read.map_err(|_| IssueError::Process("has no output"))?;
    }
    let status = match status {
        Some(status) => status,
        None => child.wait().await,
    };
    running.0 = None;
    if !status.map_err(|_| IssueError::Process("does not end"))?.success() {
        return Err(IssueError::Process("failed"));
    }
    given_json(&answer, Some(1))
}

/// A service that issues credentials. A connection for each question: they are asked minutes apart.
struct Service {
    client: Client,
    host: HeaderValue,
}

impl Service {
    fn of(endpoint: &Uri) -> Result<Self, IssueError> {
        let authority = endpoint.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let client = Client::new(ClientSettings {
            endpoint: endpoint.clone(),
            ca: None,
            proxy: None,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
            max_idle: 1,
            max_buf: MAX_ANSWER_LEN,
        });
        let host = HeaderValue::from_str(authority).map_err(|_| no_address())?;
        Ok(Self { client: client.map_err(|_| no_address())?, host })
    }

    async fn ask(&self, method: Method, path: &str, headers: HeaderMap, form: Bytes) -> Result<Bytes, IssueError> {
        let len = form.len();
        let body = if form.is_empty() { body::empty() } else { body::full(form) };
        let mut request = Request::builder().method(&method).uri(path).body(body).map_err(|_| no_address())?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::HOST, self.host.clone());
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        if method != Method::GET {
            request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(len));
        }
        let response = self.client.send(request, Duration::from_secs(1)).await;
        let response = response.map_err(|_| IssueError::Service("is not there".to_owned()))?;
        let status = response.status();
        if !status.is_success() {
            return Err(IssueError::Service(format!("answers {}", status.as_u16())));
        }
        collect(response.into_body(), MAX_ANSWER_LEN).await.map_err(|_| IssueError::Answer)
    }
}
