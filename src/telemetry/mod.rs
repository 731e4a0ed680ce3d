//! Logs and numbers. What may be said of a request is the fields of [`RequestRecord`], and nothing else: there is no place in
//! it for an object's name, its content, a header or a secret.

mod metrics;
pub mod trace;

use std::borrow::Cow;
use std::time::Duration;

use thiserror::Error;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use metrics::Metrics;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Nothing failed.
    #[default]
    None,
    /// The application.
    Downstream,
    /// The store, or the way to it.
    Upstream,
    /// The key provider.
    KeyProvider,
    /// Stored bytes are not what was sealed.
    Integrity,
    /// The gateway.
    Ourselves,
}

impl Blame {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
            Self::KeyProvider => "key_provider",
            Self::Integrity => "integrity",
            Self::Ourselves => "gateway",
        }
    }
}

/// What remains of a request.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Its id, which the client got too.
    pub request_id: String,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
    /// The access key id of who asked.
    pub credential: Option<String>,
    /// The id of the bucket; never its objects.
    pub bucket_id: Option<String>,
    /// AWS's name of what was asked.
    pub operation: &'static str,
    /// The method.
    pub method: &'static str,
    /// The status that was answered.
    pub status: u16,
    /// The error's code.
    pub error: Option<&'static str>,
    /// The error's cause, in our own words.
    pub cause: Option<Cow<'static, str>>,
    /// Whose fault it was.
    pub blame: Blame,
    /// Bytes of the decoded body that came.
    pub bytes_in: u64,
    /// Bytes of the body that went.
    pub bytes_out: u64,
    /// From the head to the last byte.
    pub duration: Duration,
    /// From the head to the first byte of the answer's body.
    pub first_byte: Option<Duration>,
    /// Spent waiting for the heads of the store's answers.
    pub upstream_time: Duration,
    /// Requests to the store.
    pub upstream_requests: u32,
    /// `http/1.1` or `h2`.
    pub protocol: &'static str,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Whether the answer went whole.
    pub completed: bool,
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Writes the access line of a request.
pub fn access_line(record: &RequestRecord) {
    tracing::info!(
        target: "sealgate::access",
        request_id = record.request_id.as_str(),
        trace_id = record.trace_id.as_deref(),
        credential = record.credential.as_deref(),
        bucket_id = record.bucket_id.as_deref(),
        operation = record.operation,
        method = record.method,
        status = record.status,
        error = record.error,
        cause = record.cause.as_deref(),
        blame = record.blame.name(),
        bytes_in = record.bytes_in,
        bytes_out = record.bytes_out,
        ms = milliseconds(record.duration),
        first_byte_ms = record.first_byte.map(milliseconds),
        upstream_ms = milliseconds(record.upstream_time),
        upstream_requests = record.upstream_requests,
        protocol = record.protocol,
        tls = record.tls,
        completed = record.completed,
        "request"
    );
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// What is written to the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// Warnings too.
    Warn,
    /// Access lines too.
    #[default]
    Info,
    /// More.
    Debug,
}

/// The log was set up before.
#[derive(Debug, Error)]
#[error("the log is set up already")]
pub struct AlreadySet;

/// Sets up the process's log, to standard error. Only the program's own lines are written, at whatever level: libraries would
/// log headers and names.
pub fn init(level: LogLevel, format: LogFormat) -> Result<(), AlreadySet> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let own = Targets::new().with_target("sealgate", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(true);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(own)).try_init().map_err(|_| AlreadySet)
}
