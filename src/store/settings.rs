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
    /// Cloudflare R2.
    R2,
    /// Google Cloud Storage, by its XML API with HMAC keys.
    Gcs,
    /// Backblaze B2, by its S3-compatible API.
    B2,
    /// Any other: only what every store can do is relied on.
    #[default]
    Generic,
}

/// What the gateway relies on a store for, or must do in another way. `check --online` tries it; no request guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a table of what can and cannot be done")]
pub struct Capabilities {
    /// CopyObject honours `x-amz-copy-source-if-match`; without it a self-copy could put a header on another body.
    pub copy_source_if_match: bool,
    /// PutObject takes `If-None-Match: *`, which the gateway sends with its own records. Elsewhere a client's conditions of
    /// writes go to the store all the same: it answers as it does without the gateway.
    pub if_none_match: bool,
    /// All parts of an upload but the last must have one length, and the last none that is greater.
    pub equal_parts: bool,
    /// The smallest part that is not the last, in bytes.
    pub min_part_len: u64,
    /// PutObject with a lock is taken only with a checksum of what is stored.
    pub locks_by_checksum: bool,
    /// User metadata that is not ASCII is answered byte for byte, not as a word of RFC 2047 as by Amazon S3. The gateway seals it,
    /// and answers as applications hear it there.
    pub raw_metadata: bool,
}

impl Capabilities {
    /// What every store can do.
    const LEAST: Self = Self {
        copy_source_if_match: false,
        if_none_match: true,
        equal_parts: false,
        min_part_len: 5 << 20,
        locks_by_checksum: false,
        raw_metadata: false,
    };
}

impl Profile {
    /// The names in the configuration.
    pub const ALL: [(&'static str, Self); 8] = [
        ("aws", Self::Aws),
        ("ceph", Self::Ceph),
        ("minio", Self::Minio),
        ("garage", Self::Garage),
        ("r2", Self::R2),
        ("gcs", Self::Gcs),
        ("b2", Self::B2),
        ("generic", Self::Generic),
    ];

    /// What such a store can do. Sources: "Conditional operations" and "Multipart upload" of the documentation of Cloudflare
    /// R2, "Request preconditions" of that of Google Cloud Storage, "S3-compatible API" of that of Backblaze B2.
    #[must_use]
    pub const fn capabilities(self) -> Capabilities {
        let least = Capabilities::LEAST;
        match self {
            Self::Aws => Capabilities { copy_source_if_match: true, locks_by_checksum: true, ..least },
            Self::Ceph => Capabilities { copy_source_if_match: true, raw_metadata: true, ..least },
            Self::Minio => Capabilities { copy_source_if_match: true, ..least },
            Self::R2 => Capabilities { equal_parts: true, ..least },
            Self::Gcs => Capabilities { if_none_match: false, ..least },
            Self::B2 => Capabilities { if_none_match: false, min_part_len: 5_000_000, ..least },
            Self::Garage | Self::Generic => least,
        }
    }

    /// `If-Match` of a write. Ceph compares the header as it stands with an ETag that has no quotes.
    #[must_use]
    pub fn if_match_of_write(self, etag: &str) -> String {
        if self == Self::Ceph { etag.to_owned() } else { format!("\"{etag}\"") }
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
    /// Whether every PutObject comes with a checksum of the ciphertext.
    pub checksums: bool,
}
