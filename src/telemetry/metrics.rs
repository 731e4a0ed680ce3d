//! The numbers that Prometheus reads. Labels have few values each: no name of a client's choice becomes one.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::RequestRecord;

type Labels = Vec<(&'static str, &'static str)>;

/// For so long one object raises no second alert of a kind: applications ask again and again.
const ALERT_PAUSE: Duration = Duration::from_mins(1);
/// How many objects are remembered for that; all others raise an alert each time.
const MAX_ALERTS: usize = 4096;

/// All numbers of a process.
pub struct Metrics {
    registry: Registry,
    /// By digests of this process's own: what an alert was about, and when.
    alerted: Mutex<HashMap<u64, Instant>>,
    digests: RandomState,
    requests: Family<Labels, Counter>,
    errors: Family<Labels, Counter>,
    bytes_in: Counter,
    bytes_out: Counter,
    upstream_requests: Counter,
    upstream_seconds: Counter<f64, AtomicU64>,
    cut_short: Counter,
    alerts: Family<Labels, Counter>,
    duration: Family<Labels, Histogram>,
    reloads: Family<Labels, Counter>,
    config_reloads: Family<Labels, Counter>,
    log_dropped: Counter,
    /// Requests under way.
    pub in_flight: Gauge,
    /// Connections of clients.
    pub connections: Gauge,
    /// Bytes taken from the budget.
    pub memory_used: Gauge,
    /// The budget.
    pub memory_limit: Gauge,
}

/// From a millisecond to ten minutes.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sealgate");
        let requests = Family::<Labels, Counter>::default();
        registry.register("requests", "Requests, by operation and class of status", requests.clone());
        let errors = Family::<Labels, Counter>::default();
        registry.register("errors", "Failed requests, by code and blame", errors.clone());
        let (bytes_in, bytes_out) = (Counter::default(), Counter::default());
        registry.register_with_unit("received", "Plaintext received", Unit::Bytes, bytes_in.clone());
        registry.register_with_unit("sent", "Plaintext and documents sent", Unit::Bytes, bytes_out.clone());
        let upstream_requests = Counter::default();
        registry.register("upstream_requests", "Requests to the stores", upstream_requests.clone());
        let upstream_seconds = Counter::<f64, AtomicU64>::default();
        let help = "Time spent waiting for the heads of the stores' answers";
        registry.register_with_unit("upstream_wait", help, Unit::Seconds, upstream_seconds.clone());
        let cut_short = Counter::default();
        registry.register("cut_short", "Answers that did not go whole", cut_short.clone());
        let alerts = Family::<Labels, Counter>::default();
        registry.register("alerts", "Events that somebody must look at, by kind", alerts.clone());
        let duration = Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let help = "Time from a request's head to its last byte, by operation";
        registry.register_with_unit("request_duration", help, Unit::Seconds, duration.clone());
        let reloads = Family::<Labels, Counter>::default();
        let config_reloads = Family::<Labels, Counter>::default();
        registry.register("config_reloads", "Reloads of the configuration, by result", config_reloads.clone());
        registry.register("keyring_reloads", "Reloads of the keyring, by result", reloads.clone());
        let log_dropped = Counter::default();
        registry.register("log_lines_dropped", "Lines of the log that nobody took in time", log_dropped.clone());
        let (in_flight, connections) = (Gauge::default(), Gauge::default());
        registry.register("requests_in_flight", "Requests under way", in_flight.clone());
        registry.register("connections", "Connections of clients", connections.clone());
        let (memory_used, memory_limit) = (Gauge::default(), Gauge::default());
        registry.register_with_unit("memory_used", "Taken from the memory budget", Unit::Bytes, memory_used.clone());
        registry.register_with_unit("memory_limit", "The memory budget", Unit::Bytes, memory_limit.clone());
        Self {
            registry,
            alerted: Mutex::default(),
            digests: RandomState::new(),
            requests,
            errors,
            bytes_in,
            bytes_out,
            upstream_requests,
            upstream_seconds,
            cut_short,
            alerts,
            duration,
            reloads,
            config_reloads,
            log_dropped,
            in_flight,
            connections,
            memory_used,
            memory_limit,
        }
    }
}

const fn class(status: u16) -> &'static str {
    match status {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

impl Metrics {
    /// Counts a request that has ended.
    pub fn observe(&self, record: &RequestRecord) {
        let labels = vec![("operation", record.operation), ("status", class(record.status))];
        self.requests.get_or_create(&labels).inc();
        if let Some(error) = record.error {
            self.errors.get_or_create(&vec![("code", error), ("blame", record.blame.name())]).inc();
        }
        self.bytes_in.inc_by(record.bytes_in);
        self.bytes_out.inc_by(record.bytes_out);
        self.upstream_requests.inc_by(u64::from(record.upstream_requests));
        self.upstream_seconds.inc_by(record.upstream_time.as_secs_f64());
        if !record.completed {
            self.cut_short.inc();
        }
        let labels = vec![("operation", record.operation)];
        self.duration.get_or_create(&labels).observe(record.duration.as_secs_f64());
    }

    /// Counts an event that somebody must look at, and logs it.
    pub fn alert(&self, kind: &'static str) {
        self.alerts.get_or_create(&vec![("kind", kind)]).inc();
        tracing::error!(target: "sealgate::alert", kind, "alert");
    }

    /// A digest of what a request is about, for [`Metrics::alert_about`]. It is of this process alone.
    #[must_use]
    pub fn digest(&self, about: (&str, &str)) -> u64 {
        self.digests.hash_one(about)
    }

    /// As [`Metrics::alert`], once a minute for each object.
    pub fn alert_about(&self, kind: &'static str, about: u64) {
        let now = Instant::now();
        {
            let mut alerted = self.alerted.lock().unwrap_or_else(PoisonError::into_inner);
            let what = self.digests.hash_one((kind, about));
            if alerted.get(&what).is_some_and(|since| now.duration_since(*since) < ALERT_PAUSE) {
                return;
            }
            if alerted.len() >= MAX_ALERTS {
                alerted.retain(|_, since| now.duration_since(*since) < ALERT_PAUSE);
            }
            if alerted.len() < MAX_ALERTS {
                alerted.insert(what, now);
            }
        }
        self.alert(kind);
    }

    /// Counts a reload of the configuration.
    pub fn reconfigured(&self, succeeded: bool) {
        self.config_reloads.get_or_create(&vec![("result", if succeeded { "ok" } else { "failed" })]).inc();
    }

    /// Counts a reload of the keyring.
    pub fn reloaded(&self, succeeded: bool) {
        self.reloads.get_or_create(&vec![("result", if succeeded { "ok" } else { "failed" })]).inc();
    }

    /// The text that Prometheus reads.
    #[must_use]
    pub fn encode(&self) -> String {
        self.log_dropped.inner().store(super::lines_dropped(), Ordering::Relaxed);
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            let _ = writeln!(text, "# EOF");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Blame;
    use super::*;

    #[test]
    fn a_request_is_counted_once_in_each_family() {
        let metrics = Metrics::default();
        let record = RequestRecord {
            request_id: "1".into(),
            trace_id: None,
            credential: Some("AK".into()),
            bucket_id: Some("bucket-id".into()),
            operation: "GetObject",
            method: "GET",
            status: 502,
            error: Some("IntegrityError"),
            cause: None,
            blame: Blame::Integrity,
            bytes_in: 0,
            bytes_out: 7,
            duration: Duration::from_millis(20),
            first_byte: None,
            upstream_time: Duration::from_millis(5),
            upstream_requests: 2,
            protocol: "h2",
            tls: true,
            completed: true,
        };
        metrics.observe(&record);
        let about = metrics.digest(("host", "/bucket/key"));
        for _ in 0..3 {
            metrics.alert_about("integrity", about);
        }
        metrics.alert_about("integrity", metrics.digest(("host", "/bucket/other")));
        metrics.alert_about("not_sealed", about);
        let text = metrics.encode();
        for line in [
            "sealgate_requests_total{operation=\"GetObject\",status=\"5xx\"} 1",
            "sealgate_errors_total{code=\"IntegrityError\",blame=\"integrity\"} 1",
            "sealgate_sent_bytes_total 7",
            "sealgate_upstream_requests_total 2",
            "sealgate_alerts_total{kind=\"integrity\"} 2",
            "sealgate_alerts_total{kind=\"not_sealed\"} 1",
            "sealgate_request_duration_seconds_bucket{le=\"0.025\",operation=\"GetObject\"} 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("AK") && !text.contains("bucket-id"));
    }
}
