//! Logs and numbers. What may be said of a request is the fields of [`RequestRecord`], and nothing else: there is no place in
//! it for an object's name, its content, a header or a secret.

mod lines;
mod metrics;
pub mod trace;

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use lines::Lines;
pub use metrics::Metrics;

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::s3::xml::format_time;

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

/// The access line as JSON. Its fields stand in the order, and under the names, of the other lines of the log.
#[derive(Serialize)]
struct AccessLine<'a> {
    timestamp: String,
    level: &'static str,
    message: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket_id: Option<&'a str>,
    operation: &'static str,
    method: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    blame: &'static str,
    bytes_in: u64,
    bytes_out: u64,
    ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    upstream_ms: f64,
    upstream_requests: u32,
    protocol: &'static str,
    tls: bool,
    completed: bool,
    target: &'static str,
}

fn json_line(record: &RequestRecord, now: Timestamp) -> Vec<u8> {
    let line = AccessLine {
        timestamp: format_time(now),
        level: "INFO",
        message: "request",
        request_id: &record.request_id,
        trace_id: record.trace_id.as_deref(),
        credential: record.credential.as_deref(),
        bucket_id: record.bucket_id.as_deref(),
        operation: record.operation,
        method: record.method,
        status: record.status,
        error: record.error,
        cause: record.cause.as_deref(),
        blame: record.blame.name(),
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        ms: milliseconds(record.duration),
        first_byte_ms: record.first_byte.map(milliseconds),
        upstream_ms: milliseconds(record.upstream_time),
        upstream_requests: record.upstream_requests,
        protocol: record.protocol,
        tls: record.tls,
        completed: record.completed,
        target: "sealgate::access",
    };
    let mut text = Vec::with_capacity(640);
    // texts and numbers cannot fail to be written to memory
    let _ = serde_json::to_writer(&mut text, &line);
    text.push(b'\n');
    text
}

/// Writes the access line of a request. JSON does not go the way of the other lines: there is one for
/// each request, and the general way costs twice as much.
pub fn access_line(record: &RequestRecord) {
    if !WRITES_ACCESS.load(Ordering::Relaxed) {
        return;
    }
    match LOG.get() {
        Some(Log { format: LogFormat::Json, lines, .. }) => lines.push(&json_line(record, SystemClock.now())),
        Some(Log { format: LogFormat::Text, .. }) => text_line(record),
        None => {}
    }
}

/// The process's log.
struct Log {
    format: LogFormat,
    /// Its way out.
    lines: Lines,
    /// Which lines are written.
    filter: reload::Handle<Targets, Registry>,
}

static LOG: OnceLock<Log> = OnceLock::new();
/// Whether access lines are written.
static WRITES_ACCESS: AtomicBool = AtomicBool::new(false);
/// How long the end of the process waits for its last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How many lines of the log were dropped, because nobody read it.
#[must_use]
pub fn lines_dropped() -> u64 {
    LOG.get().map_or(0, |log| log.lines.lost())
}

/// Waits a moment until the log's last lines are written.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.lines.flush(LAST_LINES);
    }
}

/// The line that says how many were dropped.
fn json_of_dropped(lines: u64) -> Vec<u8> {
    let timestamp = format_time(SystemClock.now());
    format!(
        "{{\"timestamp\":\"{timestamp}\",\"level\":\"WARN\",\"message\":\"lines of the log were dropped\",\
         \"lines\":{lines},\"target\":\"sealgate::log\"}}\n"
    )
    .into_bytes()
}

fn text_of_dropped(lines: u64) -> Vec<u8> {
    let timestamp = format_time(SystemClock.now());
    format!("{timestamp}  WARN sealgate::log: lines of the log were dropped lines={lines}\n").into_bytes()
}

fn text_line(record: &RequestRecord) {
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

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// It was set up before.
    #[error("the log is set up already")]
    AlreadySet,
    /// Its thread cannot be started.
    #[error("the log's thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// The program's own lines of a level, and whether access lines are among them. Libraries write nothing at whatever level:
/// they would log headers and names.
fn own_lines(level: LogLevel) -> (Targets, bool) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    (Targets::new().with_target("sealgate", level), level >= LevelFilter::INFO)
}

/// Writes lines of another level from now on.
pub fn set_level(level: LogLevel) {
    let (own, access) = own_lines(level);
    // without a log there is nothing to change
    if LOG.get().is_some_and(|log| log.filter.reload(own).is_ok()) {
        WRITES_ACCESS.store(access, Ordering::Relaxed);
    }
}

/// Sets up the process's log, to standard error; [`flush`] writes its last lines.
pub fn init(level: LogLevel, format: LogFormat) -> Result<(), LogError> {
    if LOG.get().is_some() {
        return Err(LogError::AlreadySet);
    }
    let (own, access) = own_lines(level);
    let (own, filter) = reload::Layer::new(own);
    let told = match format {
        LogFormat::Json => json_of_dropped,
        LogFormat::Text => text_of_dropped,
    };
    let lines = Lines::to(std::io::stderr(), told)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone()).with_target(true);
    let layer = match format {
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
        LogFormat::Text => layer.with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(own)).try_init().map_err(|_| LogError::AlreadySet)?;
    let _ = LOG.set(Log { format, lines, filter });
    WRITES_ACCESS.store(access, Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_line_is_one_line_of_json_whatever_is_in_it() {
        let record = RequestRecord {
            request_id: "ID".into(),
            trace_id: None,
            credential: Some("AK\"\n{".into()),
            bucket_id: Some("data".into()),
            operation: "GetObject",
            method: "GET",
            status: 502,
            error: Some("IntegrityError"),
            cause: Some("a cause\nof two lines".into()),
            blame: Blame::Integrity,
            bytes_in: 0,
            bytes_out: u64::MAX,
            duration: Duration::from_micros(1_234_567),
            first_byte: None,
            upstream_time: Duration::from_micros(250),
            upstream_requests: 2,
            protocol: "h2",
            tls: true,
            completed: false,
        };
        let line = String::from_utf8(json_line(&record, Timestamp::from_unix_millis(1_764_000_000_123))).unwrap();
        assert_eq!(
            line,
            "{\"timestamp\":\"2025-11-24T16:00:00.123Z\",\"level\":\"INFO\",\"message\":\"request\",\"request_id\":\"ID\",\
             \"credential\":\"AK\\\"\\n{\",\"bucket_id\":\"data\",\"operation\":\"GetObject\",\"method\":\"GET\",\"status\":502,\
             \"error\":\"IntegrityError\",\"cause\":\"a cause\\nof two lines\",\"blame\":\"integrity\",\"bytes_in\":0,\
             \"bytes_out\":18446744073709551615,\"ms\":1234.567,\"upstream_ms\":0.25,\"upstream_requests\":2,\
             \"protocol\":\"h2\",\"tls\":true,\"completed\":false,\"target\":\"sealgate::access\"}\n"
        );
    }
}
