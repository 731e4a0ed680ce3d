//! What is configured of one upstream.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::identity::Issuer;
use crate::secret::Secret;

/// Credentials for a store.
#[derive(Clone)]
pub struct Credentials {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret: Arc<Secret<str>>,
    /// The session token of temporary credentials.
    pub session_token: Option<Arc<Secret<str>>>,
}

/// How a bucket is named in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// `https://endpoint/bucket/key`.
    #[default]
    Path,
    /// `https://bucket.endpoint/key`.
    Virtual,
}

/// Which store it is: what it can do is looked up by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Amazon S3.
    Aws,
    /// Ceph RADOS Gateway.
    Ceph,
    /// MinIO.
    Minio,
    /// Garage.
    Garage,
    /// Any other: only what every store can do is relied on.
    #[default]
    Generic,
}

impl Profile {
    /// The names in the configuration.
    pub const ALL: [(&'static str, Self); 5] = [
        ("aws", Self::Aws),
        ("ceph", Self::Ceph),
        ("minio", Self::Minio),
        ("garage", Self::Garage),
        ("generic", Self::Generic),
    ];

    /// Whether CopyObject honours `x-amz-copy-source-if-match`; without it a self-copy could put a header on another body.
    #[must_use]
    pub const fn honours_copy_source_if_match(self) -> bool {
        matches!(self, Self::Aws | Self::Ceph | Self::Minio)
    }

    /// `If-Match` of a write. Ceph compares the header as it stands with an ETag that has no quotes.
    #[must_use]
    pub fn if_match_of_write(self, etag: &str) -> String {
        if self == Self::Ceph { etag.to_owned() } else { format!("\"{etag}\"") }
    }

    /// The smallest part that is not the last.
    #[must_use]
    pub const fn min_part_len(self) -> u64 {
        5 << 20
    }
}

/// Time-outs of the upstream side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// From the last byte of the request to the first of the answer.
    pub first_byte: Duration,
    /// Between two bytes that move in either direction.
    pub idle: Duration,
}

/// One store.
#[derive(Clone)]
pub struct UpstreamSettings {
    /// Its name in the configuration.
    pub name: String,
    /// `http` or `https`, host and port, no path.
    pub endpoint: http::Uri,
    /// The region of the signature.
    pub region: String,
    /// Which store it is.
    pub profile: Profile,
    /// How a bucket is named.
    pub addressing: Addressing,
    /// Our identity there.
    pub credentials: Arc<Issuer>,
    /// PEM file of the authorities that may certify it, in place of the system's.
    pub ca: Option<PathBuf>,
    /// `http://HOST:PORT` of a proxy that CONNECT is asked of.
    pub proxy: Option<http::Uri>,
    /// Time-outs.
    pub timeouts: UpstreamTimeouts,
    /// The greatest number of requests at once; more wait.
    pub max_requests: u32,
}
