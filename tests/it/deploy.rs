//! What ships beside the program speaks of what the program has.

use std::collections::BTreeSet;
use std::time::Duration;

use sealgate::telemetry::{Blame, Metrics, RequestRecord};

const RULES: &str = include_str!("../../config/deploy/prometheus/rules.yaml");
const DASHBOARD: &str = include_str!("../../config/deploy/grafana/dashboard.json");

/// The names of metrics in a text, without what the format adds to them.
fn names(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with("sealgate_"));
    words.map(|word| word.trim_end_matches("_total").trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn rules_and_dashboard_name_metrics_that_there_are() {
    // a metric with labels is not there before it has counted something
    let metrics = Metrics::default();
    metrics.observe(&RequestRecord {
        request_id: "ID".into(),
        trace_id: None,
        credential: None,
        bucket_id: None,
        operation: "GetObject",
        method: "GET",
        status: 503,
        error: Some("ServiceUnavailable"),
        cause: None,
        blame: Blame::Upstream,
        bytes_in: 1,
        bytes_out: 1,
        duration: Duration::from_millis(1),
        first_byte: None,
        upstream_time: Duration::from_millis(1),
        upstream_requests: 1,
        protocol: "h2",
        tls: true,
        completed: false,
    });
    metrics.alert("integrity");
    metrics.reloaded(true);
    metrics.reconfigured(true);
    let encoded = metrics.encode();
    let has: BTreeSet<String> =
        encoded.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned).collect();
    assert!(has.len() > 10);
    for (text, least) in [(RULES, 7), (DASHBOARD, 9)] {
        let named = names(text);
        assert!(named.len() >= least, "{named:?}");
        let unknown: Vec<_> = named.difference(&has).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
    serde_json::from_str::<serde_json::Value>(DASHBOARD).unwrap();
}
