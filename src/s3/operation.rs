//! What a request asks: method, target, query and headers → a typed [`Operation`].
//!
//! Everything unknown is refused with 501 before anything is forwarded: an unknown operation, query parameter or
//! `x-amz-*` header could change what the known ones mean, and a provider's new API must not become a leak. All that is
//! allowed is listed on this page. Sources: "Actions" of the Amazon S3 API Reference; "Common Request Headers".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::error::{ErrorCode, S3Error};
use super::form::is_form;
use super::metadata::is_field_name;
use super::range::RangeSpec;
use super::target::{BucketName, Target, object_key};
use super::xml::{KeyEncoding, MAX_PAGE};
use crate::digest::{ChecksumAlgorithm, checksum};
use crate::object::{ObjectKey, PartNumber};
use crate::sigv4::uri::{self, Plus, Query};
use crate::sigv4::{HeaderField, Headers, PRESIGNED};

/// What is done with an `x-amz-*` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderUse {
    /// Understood here: signature, checksums, copies, metadata.
    Handled,
    /// Passed on to the store as it is: it means the same for ciphertext.
    Forwarded,
}

/// Every `x-amz-*` header that is allowed (besides `x-amz-meta-*` and `x-amz-checksum-ALGORITHM`, which are handled).
pub const AMZ_HEADERS: &[(&str, HeaderUse)] = &[
    ("x-amz-date", HeaderUse::Handled),
    ("x-amz-content-sha256", HeaderUse::Handled),
    ("x-amz-decoded-content-length", HeaderUse::Handled),
    ("x-amz-trailer", HeaderUse::Handled),
    ("x-amz-sdk-checksum-algorithm", HeaderUse::Handled),
    ("x-amz-checksum-algorithm", HeaderUse::Handled),
    ("x-amz-checksum-type", HeaderUse::Handled),
    ("x-amz-checksum-mode", HeaderUse::Handled),
    ("x-amz-checksum-crc32", HeaderUse::Handled),
    ("x-amz-checksum-crc32c", HeaderUse::Handled),
    ("x-amz-checksum-crc64nvme", HeaderUse::Handled),
    ("x-amz-checksum-sha1", HeaderUse::Handled),
    ("x-amz-checksum-sha256", HeaderUse::Handled),
    ("x-amz-checksum-sha512", HeaderUse::Handled),
    ("x-amz-checksum-md5", HeaderUse::Handled),
    ("x-amz-checksum-xxhash64", HeaderUse::Handled),
    ("x-amz-checksum-xxhash3", HeaderUse::Handled),
    ("x-amz-checksum-xxhash128", HeaderUse::Handled),
    ("x-amz-mp-object-size", HeaderUse::Handled),
    ("x-amz-object-attributes", HeaderUse::Handled),
    ("x-amz-max-parts", HeaderUse::Handled),
    ("x-amz-part-number-marker", HeaderUse::Handled),
    ("x-amz-copy-source", HeaderUse::Handled),
    ("x-amz-copy-source-range", HeaderUse::Handled),
    ("x-amz-copy-source-if-match", HeaderUse::Handled),
    ("x-amz-copy-source-if-none-match", HeaderUse::Handled),
    ("x-amz-copy-source-if-modified-since", HeaderUse::Handled),
    ("x-amz-copy-source-if-unmodified-since", HeaderUse::Handled),
    ("x-amz-metadata-directive", HeaderUse::Handled),
    ("x-amz-tagging-directive", HeaderUse::Forwarded),
    ("x-amz-user-agent", HeaderUse::Handled),
    // the SDK for C++ says so of every request
    ("x-amz-api-version", HeaderUse::Handled),
    // an offer to take an MD5 behind the body, which nobody need accept; SDKs for Java send it
    ("x-amz-te", HeaderUse::Handled),
    ("x-amz-acl", HeaderUse::Forwarded),
    ("x-amz-grant-full-control", HeaderUse::Forwarded),
    ("x-amz-grant-read", HeaderUse::Forwarded),
    ("x-amz-grant-read-acp", HeaderUse::Forwarded),
    ("x-amz-grant-write", HeaderUse::Forwarded),
    ("x-amz-grant-write-acp", HeaderUse::Forwarded),
    ("x-amz-storage-class", HeaderUse::Forwarded),
    ("x-amz-tagging", HeaderUse::Forwarded),
    ("x-amz-request-payer", HeaderUse::Forwarded),
    ("x-amz-expected-bucket-owner", HeaderUse::Forwarded),
    ("x-amz-source-expected-bucket-owner", HeaderUse::Forwarded),
    ("x-amz-server-side-encryption", HeaderUse::Forwarded),
    ("x-amz-server-side-encryption-aws-kms-key-id", HeaderUse::Forwarded),
    ("x-amz-server-side-encryption-bucket-key-enabled", HeaderUse::Forwarded),
    ("x-amz-bypass-governance-retention", HeaderUse::Forwarded),
    ("x-amz-bucket-object-lock-enabled", HeaderUse::Forwarded),
    ("x-amz-bucket-object-lock-token", HeaderUse::Forwarded),
    ("x-amz-object-lock-mode", HeaderUse::Forwarded),
    ("x-amz-object-lock-retain-until-date", HeaderUse::Forwarded),
    ("x-amz-object-lock-legal-hold", HeaderUse::Forwarded),
    ("x-amz-confirm-remove-self-bucket-access", HeaderUse::Forwarded),
    ("x-amz-transition-default-minimum-object-size", HeaderUse::Forwarded),
    ("x-amz-skip-destination-validation", HeaderUse::Forwarded),
    ("x-amz-object-ownership", HeaderUse::Forwarded),
    ("x-amz-mfa", HeaderUse::Forwarded),
];

/// The parameters that override headers of the answer; S3 takes them from signed requests only.
pub const RESPONSE_PARAMETERS: [(&str, &str); 6] = [
    ("response-content-type", "content-type"),
    ("response-content-language", "content-language"),
    ("response-expires", "expires"),
    ("response-cache-control", "cache-control"),
    ("response-content-disposition", "content-disposition"),
    ("response-content-encoding", "content-encoding"),
];

/// What S3 adds to the address that a form's `success_action_redirect` names. It means nothing to what is there, which may be
/// an object or a list.
const REDIRECT_PARAMETERS: [&str; 3] = ["bucket", "key", "etag"];

/// By which Ceph is asked for a list in no order.
pub const UNORDERED: &str = "allow-unordered";

/// What is done with a header of that name; `None`: it is refused.
#[must_use]
pub fn amz_header_use(name: &str) -> Option<HeaderUse> {
    let name = name.to_ascii_lowercase();
    if name.strip_prefix("x-amz-meta-").is_some_and(|rest| !rest.is_empty()) {
        return Some(HeaderUse::Handled);
    }
    AMZ_HEADERS.iter().find(|(allowed, _)| *allowed == name).map(|(_, header_use)| *header_use)
}

/// The end of the names of SSE-C's headers: which algorithm, which key, and its MD5.
const CUSTOMER_KEY: [&str; 3] = ["algorithm", "key", "key-md5"];
const CUSTOMER_KEYS: [&str; 2] =
    ["x-amz-server-side-encryption-customer-", "x-amz-copy-source-server-side-encryption-customer-"];

/// A key that the client hands to the provider. One that is not whole, or comes in the clear, is refused as the store would, any
/// other as what is not done here: the provider would have a key.
fn refuse_customer_key(headers: Headers<'_>, query: &Query, start: &str, is_tls: bool) -> S3Error {
    let wrong = |message| S3Error::new(ErrorCode::InvalidArgument, message);
    let [algorithm, key, md5] = CUSTOMER_KEY.map(|end| {
        let name = format!("{start}{end}");
        let mut in_query = query.parameters().iter().filter(|p| p.name.eq_ignore_ascii_case(name.as_bytes()));
        headers.one(&name).ok().flatten().or_else(|| in_query.next().map(|p| p.value.as_slice()))
    });
    if algorithm != Some(b"AES256") {
        return wrong("SSE-C needs a valid encryption algorithm.");
    }
    let key = key.and_then(|key| STANDARD.decode(key).ok()).map(Zeroizing::new).filter(|key| key.len() == 32);
    let Some(key) = key else { return wrong("SSE-C needs an appropriate secret key.") };
    let expected = checksum(ChecksumAlgorithm::Md5, &key);
    let is_its = md5.and_then(|md5| STANDARD.decode(md5).ok()).is_some_and(|md5| md5 == expected.as_bytes());
    if !is_its {
        return wrong("The MD5 that was given for SSE-C is not its key's.");
    }
    if !is_tls {
        let message =
            "Requests with keys for SSE-C must be made over a secure connection, and are not done here at all.";
        return S3Error::new(ErrorCode::InvalidRequest, message);
    }
    S3Error::not_implemented("SSE-C")
}

fn is_amz(name: &str) -> bool {
    name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

/// The headers that count: those of the request, and those that a presigned URL carries in its query (`x-amz-acl=…`), as
/// SDKs that presign put them there. One that stands in both is refused, as is any unknown `x-amz-*`.
///
/// Call it for a request whose signature holds: both places are signed. `is_tls`: nobody on its way could read it.
pub fn effective_headers<'a>(
    headers: Headers<'a>,
    query: &'a Query,
    is_tls: bool,
) -> Result<Vec<HeaderField<'a>>, S3Error> {
    let refusal = |name: &str| {
        let lower = name.to_ascii_lowercase();
        if let Some(start) = CUSTOMER_KEYS.into_iter().find(|start| lower.starts_with(start)) {
            return refuse_customer_key(headers, query, start, is_tls);
        }
        let shown: String = name.chars().take(64).filter(char::is_ascii_graphic).collect();
        S3Error::not_implemented(&format!("The header {shown}")).with("Header", shown)
    };
    if let Some((name, _)) = headers.iter().find(|(name, _)| is_amz(name) && amz_header_use(name).is_none()) {
        return Err(refusal(name));
    }
    let mut all: Vec<HeaderField<'a>> = headers.iter().collect();
    for parameter in query.parameters() {
        let Ok(name) = str::from_utf8(&parameter.name) else { continue };
        if !is_amz(name) || PRESIGNED.contains(&name) {
            continue;
        }
        if amz_header_use(name).is_none() {
            return Err(refusal(name));
        }
        if all.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "A header stands both in the query and in the request.",
            ));
        }
        // what came in a header cannot be so; what came in a query can
        if !is_field_name(name) {
            return Err(S3Error::new(ErrorCode::InvalidArgument, "A header in the query has no header's name."));
        }
        if parameter.value.iter().any(|b| *b < b' ' || *b == 0x7f) {
            return Err(S3Error::new(ErrorCode::InvalidArgument, "A header in the query holds a control character."));
        }
        all.push((name, &parameter.value));
    }
    Ok(all)
}

/// An object. It has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
}

/// An unfinished upload.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadRef {
    /// Of which object.
    pub object: ObjectRef,
    /// Its id, as the store gave it.
    pub upload_id: String,
}

/// GetObject and HeadObject.
#[derive(Clone, PartialEq, Eq)]
pub struct ReadObject {
    /// Which object.
    pub object: ObjectRef,
    /// Which version.
    pub version_id: Option<String>,
    /// Which part only.
    pub part_number: Option<PartNumber>,
    /// Headers of the answer: name in lower case and value.
    pub overrides: Vec<(&'static str, Vec<u8>)>,
}

/// `x-amz-copy-source`.
#[derive(Clone, PartialEq, Eq)]
pub struct CopySource {
    /// The object.
    pub object: ObjectRef,
    /// The version.
    pub version_id: Option<String>,
}

impl CopySource {
    /// Reads `[/]BUCKET/KEY[?versionId=ID]`, percent-encoded, decoded once; `+` is a space, as for S3.
    pub fn parse(header: &[u8]) -> Result<Self, S3Error> {
        let refusal = || S3Error::argument("x-amz-copy-source", "Invalid copy source object key");
        let text = str::from_utf8(header).map_err(|_| refusal())?;
        if text.starts_with("arn:") {
            return Err(S3Error::not_implemented("An access point as copy source"));
        }
        let (path, version_id) = match text.split_once('?') {
            None => (text, None),
            Some((path, query)) => {
                let id = query.strip_prefix("versionId=").filter(|id| !id.is_empty() && !id.contains('&'));
                let id = uri::decode(id.ok_or_else(refusal)?, Plus::Literal).map_err(|_| refusal())?;
                (path, Some(String::from_utf8(id).map_err(|_| refusal())?))
            }
        };
        let path = uri::decode(path, Plus::Space).map_err(|_| refusal())?;
        let path = path.strip_prefix(b"/").unwrap_or(&path);
        let at = path.iter().position(|b| *b == b'/').ok_or_else(refusal)?;
        let (bucket, key) = path.split_at(at);
        let bucket = BucketName::parse(str::from_utf8(bucket).map_err(|_| refusal())?)?;
        let key = key.get(1..).filter(|key| !key.is_empty()).ok_or_else(refusal)?;
        Ok(Self { object: ObjectRef { bucket, key: object_key(key.to_vec())? }, version_id })
    }
}

/// Where a copy's metadata comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataDirective {
    /// From the source.
    Copy,
    /// From the request.
    Replace,
}

/// What lists have in common.
#[derive(Clone, PartialEq, Eq)]
pub struct Listing {
    /// Keys begin with it.
    pub prefix: String,
    /// What ends a common prefix.
    pub delimiter: Option<String>,
    /// The greatest number of entries, at most 1000.
    pub max: u32,
    /// How names are written.
    pub encoding: KeyEncoding,
    /// Whether they may stand in any order: an extension of Ceph's.
    pub unordered: bool,
}

/// What is done with an object's tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagAction {
    /// They are read.
    Get,
    /// They are replaced.
    Put,
    /// They are removed.
    Delete,
}

/// What is done with a sub-resource whose document is the store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubResourceAction {
    /// It is read.
    Get,
    /// It is replaced.
    Put,
    /// It is removed.
    Delete,
    /// Something is asked for by it: RestoreObject.
    Post,
}

/// A request about a sub-resource that means the same for ciphertext: access, retention, life cycle and the like. Its
/// documents hold nothing of an object's content and pass as they are.
#[derive(Clone, PartialEq, Eq)]
pub struct SubResourceRequest {
    /// AWS's name of the operation.
    pub name: &'static str,
    /// The parameter that names the sub-resource.
    pub resource: &'static str,
    /// What is done with it.
    pub action: SubResourceAction,
    /// Of which bucket.
    pub bucket: BucketName,
    /// Of which object of it, if not of the bucket.
    pub key: Option<ObjectKey>,
    /// Of which version.
    pub version_id: Option<String>,
}

/// What GetObjectAttributes may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectAttribute {
    /// Its ETag.
    Etag,
    /// Its checksum.
    Checksum,
    /// Its parts.
    ObjectParts,
    /// Its storage class.
    StorageClass,
    /// Its size.
    ObjectSize,
}

impl ObjectAttribute {
    fn parse_list(headers: Headers<'_>) -> Result<Vec<Self>, S3Error> {
        let refusal = || S3Error::argument("x-amz-object-attributes", "Invalid attribute name specified.");
        let mut all = Vec::new();
        for (_, value) in headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-amz-object-attributes")) {
            for word in str::from_utf8(value).map_err(|_| refusal())?.split(',') {
                all.push(match word.trim_ascii() {
                    "ETag" => Self::Etag,
                    "Checksum" => Self::Checksum,
                    "ObjectParts" => Self::ObjectParts,
                    "StorageClass" => Self::StorageClass,
                    "ObjectSize" => Self::ObjectSize,
                    _ => return Err(refusal()),
                });
            }
        }
        if all.is_empty() { Err(refusal()) } else { Ok(all) }
    }
}

/// What a request asks. It has no `Debug`: it holds object keys.
#[derive(Clone, PartialEq, Eq)]
pub enum Operation {
    /// ListBuckets.
    ListBuckets {
        /// Names begin with it.
        prefix: Option<String>,
        /// Where the page begins.
        continuation_token: Option<String>,
        /// The greatest number of entries.
        max_buckets: Option<u32>,
    },
    /// CreateBucket.
    CreateBucket(BucketName),
    /// DeleteBucket.
    DeleteBucket(BucketName),
    /// HeadBucket.
    HeadBucket(BucketName),
    /// GetBucketLocation.
    GetBucketLocation(BucketName),
    /// ListObjects, the first version.
    ListObjects {
        /// Of which bucket.
        bucket: BucketName,
        /// Which keys.
        listing: Listing,
        /// Behind which key it begins.
        marker: String,
    },
    /// ListObjectsV2.
    ListObjectsV2 {
        /// Of which bucket.
        bucket: BucketName,
        /// Which keys.
        listing: Listing,
        /// Where the page begins.
        continuation_token: Option<String>,
        /// Behind which key it begins.
        start_after: Option<String>,
        /// Whether owners are wanted.
        fetch_owner: bool,
    },
    /// ListMultipartUploads.
    ListMultipartUploads {
        /// Of which bucket.
        bucket: BucketName,
        /// Which keys.
        listing: Listing,
        /// Where it begins.
        key_marker: String,
        /// Where it begins within that key.
        upload_id_marker: String,
    },
    /// ListObjectVersions.
    ListObjectVersions {
        /// Of which bucket.
        bucket: BucketName,
        /// Which keys.
        listing: Listing,
        /// Behind which key it begins.
        key_marker: String,
        /// Behind which version of that key.
        version_id_marker: String,
    },
    /// A request about a sub-resource that is the store's.
    SubResource(Box<SubResourceRequest>),
    /// GetObjectAttributes.
    GetObjectAttributes {
        /// Which object.
        object: ObjectRef,
        /// Which version.
        version_id: Option<String>,
        /// What is asked for.
        attributes: Vec<ObjectAttribute>,
        /// The greatest number of parts.
        max_parts: u32,
        /// Behind which part it begins.
        part_number_marker: u32,
    },
    /// DeleteObjects.
    DeleteObjects(BucketName),
    /// The upload of an HTML form.
    PostObject(BucketName),
    /// GetObject.
    GetObject(ReadObject),
    /// HeadObject.
    HeadObject(ReadObject),
    /// PutObject.
    PutObject(ObjectRef),
    /// CopyObject.
    CopyObject {
        /// The copy.
        object: ObjectRef,
        /// What is copied; authorised for the caller like a read.
        source: CopySource,
        /// Where the metadata comes from.
        directive: MetadataDirective,
    },
    /// DeleteObject.
    DeleteObject {
        /// Which object.
        object: ObjectRef,
        /// Which version.
        version_id: Option<String>,
    },
    /// CreateMultipartUpload.
    CreateMultipartUpload(ObjectRef),
    /// UploadPart.
    UploadPart {
        /// Of which upload.
        upload: UploadRef,
        /// Which part.
        part: PartNumber,
    },
    /// UploadPartCopy.
    UploadPartCopy {
        /// Of which upload.
        upload: UploadRef,
        /// Which part.
        part: PartNumber,
        /// What is copied; authorised for the caller like a read.
        source: CopySource,
        /// Which bytes of it.
        range: Option<RangeSpec>,
    },
    /// CompleteMultipartUpload.
    CompleteMultipartUpload(UploadRef),
    /// AbortMultipartUpload.
    AbortMultipartUpload(UploadRef),
    /// ListParts.
    ListParts {
        /// Of which upload.
        upload: UploadRef,
        /// Behind which number it begins.
        part_number_marker: u32,
        /// The greatest number of entries, at most 1000.
        max_parts: u32,
    },
    /// GetObjectTagging, PutObjectTagging, DeleteObjectTagging.
    ObjectTagging {
        /// Of which object.
        object: ObjectRef,
        /// Of which version.
        version_id: Option<String>,
        /// What is done with its tags.
        action: TagAction,
    },
    /// A browser's question what a page of another origin may do.
    Preflight {
        /// With which bucket.
        bucket: BucketName,
        /// With which object of it.
        key: Option<ObjectKey>,
    },
    /// A known operation of S3 that this gateway does not do: 501.
    NotImplemented {
        /// AWS's name of it.
        name: &'static str,
    },
}

/// Sub-resource; GET, PUT, DELETE, POST on it. Empty: no such method.
type SubResource = (&'static str, [&'static str; 4]);

const BUCKET_SUB_RESOURCES: &[SubResource] = &[
    ("abac", ["GetBucketAbac", "PutBucketAbac", "", ""]),
    ("accelerate", ["GetBucketAccelerateConfiguration", "PutBucketAccelerateConfiguration", "", ""]),
    ("acl", ["GetBucketAcl", "PutBucketAcl", "", ""]),
    (
        "analytics",
        [
            "GetBucketAnalyticsConfiguration",
            "PutBucketAnalyticsConfiguration",
            "DeleteBucketAnalyticsConfiguration",
            "",
        ],
    ),
    ("cors", ["GetBucketCors", "PutBucketCors", "DeleteBucketCors", ""]),
    ("encryption", ["GetBucketEncryption", "PutBucketEncryption", "DeleteBucketEncryption", ""]),
    (
        "intelligent-tiering",
        [
            "GetBucketIntelligentTieringConfiguration",
            "PutBucketIntelligentTieringConfiguration",
            "DeleteBucketIntelligentTieringConfiguration",
            "",
        ],
    ),
    (
        "inventory",
        [
            "GetBucketInventoryConfiguration",
            "PutBucketInventoryConfiguration",
            "DeleteBucketInventoryConfiguration",
            "",
        ],
    ),
    ("lifecycle", ["GetBucketLifecycleConfiguration", "PutBucketLifecycleConfiguration", "DeleteBucketLifecycle", ""]),
    ("logging", ["GetBucketLogging", "PutBucketLogging", "", ""]),
    (
        "metadataConfiguration",
        [
            "GetBucketMetadataConfiguration",
            "",
            "DeleteBucketMetadataConfiguration",
            "CreateBucketMetadataConfiguration",
        ],
    ),
    (
        "metadataTable",
        [
            "GetBucketMetadataTableConfiguration",
            "",
            "DeleteBucketMetadataTableConfiguration",
            "CreateBucketMetadataTableConfiguration",
        ],
    ),
    (
        "metrics",
        ["GetBucketMetricsConfiguration", "PutBucketMetricsConfiguration", "DeleteBucketMetricsConfiguration", ""],
    ),
    ("notification", ["GetBucketNotificationConfiguration", "PutBucketNotificationConfiguration", "", ""]),
    ("object-lock", ["GetObjectLockConfiguration", "PutObjectLockConfiguration", "", ""]),
    (
        "ownershipControls",
        ["GetBucketOwnershipControls", "PutBucketOwnershipControls", "DeleteBucketOwnershipControls", ""],
    ),
    ("policy", ["GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy", ""]),
    ("policyStatus", ["GetBucketPolicyStatus", "", "", ""]),
    ("publicAccessBlock", ["GetPublicAccessBlock", "PutPublicAccessBlock", "DeletePublicAccessBlock", ""]),
    ("replication", ["GetBucketReplication", "PutBucketReplication", "DeleteBucketReplication", ""]),
    ("requestPayment", ["GetBucketRequestPayment", "PutBucketRequestPayment", "", ""]),
    ("session", ["CreateSession", "", "", ""]),
    ("tagging", ["GetBucketTagging", "PutBucketTagging", "DeleteBucketTagging", ""]),
    ("versioning", ["GetBucketVersioning", "PutBucketVersioning", "", ""]),
    ("website", ["GetBucketWebsite", "PutBucketWebsite", "DeleteBucketWebsite", ""]),
];

const OBJECT_SUB_RESOURCES: &[SubResource] = &[
    ("acl", ["GetObjectAcl", "PutObjectAcl", "", ""]),
    ("annotation", ["GetObjectAnnotation", "PutObjectAnnotation", "DeleteObjectAnnotation", ""]),
    ("append", ["", "AppendObject", "", "AppendObject"]),
    ("encryption", ["", "UpdateObjectEncryption", "", ""]),
    ("legal-hold", ["GetObjectLegalHold", "PutObjectLegalHold", "", ""]),
    ("renameObject", ["", "RenameObject", "", ""]),
    ("restore", ["", "", "", "RestoreObject"]),
    ("retention", ["GetObjectRetention", "PutObjectRetention", "", ""]),
    ("select", ["", "", "", "SelectObjectContent"]),
    ("torrent", ["GetObjectTorrent", "", "", ""]),
];

/// The sub-resources of buckets and objects that are forwarded; all others of the tables above are refused. Not among them
/// is what would write or read plaintext that is not there: access logs, websites, inventories.
const FORWARDED_BUCKET: &[&str] = &[
    "acl",
    "cors",
    "encryption",
    "lifecycle",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "tagging",
    "versioning",
];
const FORWARDED_OBJECT: &[&str] = &["acl", "legal-hold", "restore", "retention"];

/// A number of digits only, as large as a signed one of 32 bits may be.
fn count(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && i32::try_from(*n).is_ok())
}

/// The parameters of one request, of which every one must be known.
struct Parameters<'a>(&'a Query);

impl Parameters<'_> {
    /// Refuses whatever is neither listed, nor the signature's, nor a header in the query, nor begins with `x-`: what does so
    /// is for the reader of a log, and ignored ("Customizing access log information by using custom query parameters").
    fn only(&self, allowed: &[&str]) -> Result<(), S3Error> {
        for (index, parameter) in self.0.parameters().iter().enumerate() {
            let name = str::from_utf8(&parameter.name).unwrap_or_default();
            if name.starts_with("x-") || is_amz(name) {
                continue;
            }
            if !allowed.contains(&name) {
                let shown: String = name.chars().take(64).filter(char::is_ascii_graphic).collect();
                return Err(S3Error::not_implemented(&format!("The query parameter {shown}")).with("Parameter", shown));
            }
            if self.0.parameters().iter().take(index).any(|other| other.name == parameter.name) {
                return Err(S3Error::new(ErrorCode::InvalidArgument, "A query parameter stands twice."));
            }
        }
        Ok(())
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, S3Error> {
        let text = |value: &[u8]| {
            String::from_utf8(value.to_vec()).map_err(|_| S3Error::argument(name, "The parameter must be UTF-8."))
        };
        self.0.first(name).map(text).transpose()
    }

    fn filled(&self, name: &'static str) -> Result<Option<String>, S3Error> {
        Ok(self.text(name)?.filter(|text| !text.is_empty()))
    }

    fn number(&self, name: &'static str) -> Result<Option<u32>, S3Error> {
        let Some(text) = self.filled(name)? else { return Ok(None) };
        count(&text)
            .map(Some)
            .ok_or(S3Error::argument(name, "Provided parameter is not an integer or not within its range"))
    }

    fn page(&self, name: &'static str) -> Result<u32, S3Error> {
        Ok(self.number(name)?.unwrap_or(MAX_PAGE).min(MAX_PAGE))
    }

    fn listing(&self, max: &'static str) -> Result<Listing, S3Error> {
        let encoding = match self.filled("encoding-type")?.as_deref() {
            None => KeyEncoding::Text,
            Some("url") => KeyEncoding::Url,
            Some(_) => return Err(S3Error::argument("encoding-type", "Invalid Encoding Method specified in Request")),
        };
        let (prefix, delimiter) = (self.text("prefix")?.unwrap_or_default(), self.filled("delimiter")?);
        let unordered = self.text(UNORDERED)?.as_deref() == Some("true");
        if unordered && delimiter.is_some() {
            return Err(S3Error::argument(UNORDERED, "What stands in no order has no common prefixes."));
        }
        Ok(Listing { prefix, delimiter, max: self.page(max)?, encoding, unordered })
    }

    fn upload_id(&self) -> Result<String, S3Error> {
        self.filled("uploadId")?
            .ok_or(S3Error::argument("uploadId", "This operation does not accept an empty upload id"))
    }

    fn part_number(&self) -> Result<Option<PartNumber>, S3Error> {
        const RULE: &str = "Part number must be an integer between 1 and 10000, inclusive";
        if self.0.has("partNumber") && self.filled("partNumber")?.is_none() {
            return Err(S3Error::argument("partNumber", RULE));
        }
        let number = |n| PartNumber::new(n).map_err(|_| S3Error::argument("partNumber", RULE));
        self.number("partNumber")?.map(number).transpose()
    }

    fn version_id(&self) -> Result<Option<String>, S3Error> {
        if self.0.has("versionId") && self.filled("versionId")?.is_none() {
            return Err(S3Error::argument("versionId", "Version id cannot be the empty string"));
        }
        self.text("versionId")
    }
}

fn sub_resource(
    (table, forwarded): (&[SubResource], &[&str]),
    method: &str,
    (bucket, key): (&BucketName, Option<&ObjectKey>),
    parameters: &Parameters<'_>,
) -> Result<Option<Operation>, S3Error> {
    let Some((resource, [get, put, delete, post])) = table.iter().find(|(name, _)| parameters.0.has(name)) else {
        return Ok(None);
    };
    let (name, action) = match method {
        "GET" => (*get, SubResourceAction::Get),
        "PUT" => (*put, SubResourceAction::Put),
        "DELETE" => (*delete, SubResourceAction::Delete),
        "POST" => (*post, SubResourceAction::Post),
        _ => return Err(ErrorCode::MethodNotAllowed.into()),
    };
    if name.is_empty() {
        return Err(ErrorCode::MethodNotAllowed.into());
    }
    if !forwarded.contains(resource) {
        return Ok(Some(Operation::NotImplemented { name }));
    }
    let version: &[&str] = if key.is_some() { &["versionId"] } else { &[] };
    parameters.only(&[&[*resource], version].concat())?;
    let version_id = parameters.version_id()?;
    let (bucket, key) = (bucket.clone(), key.cloned());
    let request = SubResourceRequest { name, resource, action, bucket, key, version_id };
    Ok(Some(Operation::SubResource(Box::new(request))))
}

impl Operation {
    /// Reads what is asked. `headers` are the effective ones ([`effective_headers`]); methods are upper-case.
    pub fn parse(method: &str, target: Target, query: &Query, headers: Headers<'_>) -> Result<Self, S3Error> {
        if let Some((name, _)) = headers.iter().find(|(name, _)| is_amz(name) && amz_header_use(name).is_none()) {
            let shown: String = name.chars().take(64).filter(char::is_ascii_graphic).collect();
            return Err(S3Error::not_implemented(&format!("The header {shown}")).with("Header", shown));
        }
        if headers.all("x-amz-api-version").any(|version| version != b"2006-03-01") {
            return Err(S3Error::not_implemented("Another version of the API"));
        }
        if !matches!(method, "GET" | "HEAD" | "PUT" | "POST" | "DELETE" | "OPTIONS") {
            return Err(ErrorCode::MethodNotAllowed.into());
        }
        if method == "OPTIONS" {
            // the query is that of the request which is to come, and no matter here
            return match target {
                Target::Service => Err(ErrorCode::MethodNotAllowed.into()),
                Target::Bucket(bucket) => Ok(Self::Preflight { bucket, key: None }),
                Target::Object(bucket, key) => Ok(Self::Preflight { bucket, key: Some(key) }),
            };
        }
        let parameters = Parameters(query);
        let operation = match target {
            Target::Service => Self::of_service(method, &parameters),
            Target::Bucket(bucket) => {
                let tables = (BUCKET_SUB_RESOURCES, FORWARDED_BUCKET);
                match sub_resource(tables, method, (&bucket, None), &parameters)? {
                    Some(operation) => Ok(operation),
                    None => Self::of_bucket(method, bucket, &parameters, headers),
                }
            }
            Target::Object(bucket, key) if query.has("tagging") => {
                Self::of_tagging(method, ObjectRef { bucket, key }, &parameters)
            }
            Target::Object(bucket, key) if query.has("attributes") => {
                Self::of_attributes(method, ObjectRef { bucket, key }, &parameters, headers)
            }
            Target::Object(bucket, key) => {
                let tables = (OBJECT_SUB_RESOURCES, FORWARDED_OBJECT);
                match sub_resource(tables, method, (&bucket, Some(&key)), &parameters)? {
                    Some(operation) => Ok(operation),
                    None => Self::of_object(method, ObjectRef { bucket, key }, &parameters, headers),
                }
            }
        }?;
        operation.takes_copy_headers(headers)?;
        Ok(operation)
    }

    /// Refuses a copy's headers on what is no copy: a range or a condition would be dropped.
    fn takes_copy_headers(&self, headers: Headers<'_>) -> Result<(), S3Error> {
        let is_of_copy =
            |name: &str| name.get(..17).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-copy-source"));
        let is_dropped = |name: &str| match self {
            Self::UploadPartCopy { .. } | Self::NotImplemented { .. } => false,
            Self::CopyObject { .. } => name.eq_ignore_ascii_case("x-amz-copy-source-range"),
            _ => is_of_copy(name),
        };
        match headers.iter().find(|(name, _)| is_dropped(name)) {
            None => Ok(()),
            Some((name, _)) => {
                Err(S3Error::not_implemented(&format!("The header {} of {}", name.to_ascii_lowercase(), self.name())))
            }
        }
    }

    fn of_tagging(method: &str, object: ObjectRef, parameters: &Parameters<'_>) -> Result<Self, S3Error> {
        let action = match method {
            "GET" => TagAction::Get,
            "PUT" => TagAction::Put,
            "DELETE" => TagAction::Delete,
            _ => return Err(ErrorCode::MethodNotAllowed.into()),
        };
        parameters.only(&["tagging", "versionId"])?;
        Ok(Self::ObjectTagging { object, version_id: parameters.version_id()?, action })
    }

    fn of_attributes(
        method: &str,
        object: ObjectRef,
        parameters: &Parameters<'_>,
        headers: Headers<'_>,
    ) -> Result<Self, S3Error> {
        if method != "GET" {
            return Err(ErrorCode::MethodNotAllowed.into());
        }
        parameters.only(&["attributes", "versionId"])?;
        let number = |name: &'static str| {
            let refusal = || S3Error::argument(name, "Provided header is not an integer or not within its range");
            let value = headers.one(name).map_err(|_| refusal())?;
            value.map(|value| str::from_utf8(value).ok().and_then(count).ok_or_else(refusal)).transpose()
        };
        Ok(Self::GetObjectAttributes {
            object,
            version_id: parameters.version_id()?,
            attributes: ObjectAttribute::parse_list(headers)?,
            max_parts: number("x-amz-max-parts")?.unwrap_or(MAX_PAGE).min(MAX_PAGE),
            part_number_marker: number("x-amz-part-number-marker")?.unwrap_or(0),
        })
    }

    fn of_service(method: &str, parameters: &Parameters<'_>) -> Result<Self, S3Error> {
        if method != "GET" {
            return Err(ErrorCode::MethodNotAllowed.into());
        }
        parameters.only(&["prefix", "continuation-token", "max-buckets"])?;
        Ok(Self::ListBuckets {
            prefix: parameters.filled("prefix")?,
            continuation_token: parameters.filled("continuation-token")?,
            max_buckets: parameters.number("max-buckets")?,
        })
    }

    fn of_bucket(
        method: &str,
        bucket: BucketName,
        parameters: &Parameters<'_>,
        headers: Headers<'_>,
    ) -> Result<Self, S3Error> {
        match method {
            "PUT" => parameters.only(&[]).map(|()| Self::CreateBucket(bucket)),
            "DELETE" => parameters.only(&[]).map(|()| Self::DeleteBucket(bucket)),
            "HEAD" => parameters.only(&[]).map(|()| Self::HeadBucket(bucket)),
            "POST" if parameters.0.has("delete") => parameters.only(&["delete"]).map(|()| Self::DeleteObjects(bucket)),
            "POST" => {
                parameters.only(&[])?;
                if is_form(headers) { Ok(Self::PostObject(bucket)) } else { Err(ErrorCode::MethodNotAllowed.into()) }
            }
            _ if parameters.0.has("location") => {
                parameters.only(&["location"])?;
                Ok(Self::GetBucketLocation(bucket))
            }
            _ if parameters.0.has("uploads") => {
                let names = [
                    "uploads",
                    "prefix",
                    "delimiter",
                    "encoding-type",
                    "max-uploads",
                    "key-marker",
                    "upload-id-marker",
                ];
                parameters.only(&names)?;
                Ok(Self::ListMultipartUploads {
                    bucket,
                    listing: parameters.listing("max-uploads")?,
                    key_marker: parameters.text("key-marker")?.unwrap_or_default(),
                    upload_id_marker: parameters.text("upload-id-marker")?.unwrap_or_default(),
                })
            }
            _ if parameters.0.has("versions") => {
                let names =
                    ["versions", "prefix", "delimiter", "encoding-type", "max-keys", "key-marker", "version-id-marker"];
                parameters.only(&names)?;
                let key_marker = parameters.text("key-marker")?.unwrap_or_default();
                let version_id_marker = parameters.text("version-id-marker")?.unwrap_or_default();
                if key_marker.is_empty() && !version_id_marker.is_empty() {
                    return Err(S3Error::argument(
                        "version-id-marker",
                        "A version-id marker cannot be specified without a key marker.",
                    ));
                }
                let listing = parameters.listing("max-keys")?;
                Ok(Self::ListObjectVersions { bucket, listing, key_marker, version_id_marker })
            }
            _ => match parameters.filled("list-type")?.as_deref() {
                None | Some("1") => {
                    let names = ["list-type", "prefix", "delimiter", "encoding-type", "max-keys", "marker", UNORDERED];
                    parameters.only(&[&names[..], &REDIRECT_PARAMETERS].concat())?;
                    let marker = parameters.text("marker")?.unwrap_or_default();
                    Ok(Self::ListObjects { bucket, listing: parameters.listing("max-keys")?, marker })
                }
                Some("2") => {
                    parameters.only(&[
                        "list-type",
                        "prefix",
                        "delimiter",
                        "encoding-type",
                        "max-keys",
                        "continuation-token",
                        "start-after",
                        "fetch-owner",
                        UNORDERED,
                    ])?;
                    Ok(Self::ListObjectsV2 {
                        bucket,
                        listing: parameters.listing("max-keys")?,
                        continuation_token: parameters.text("continuation-token")?,
                        start_after: parameters.filled("start-after")?,
                        fetch_owner: parameters.text("fetch-owner")?.as_deref() == Some("true"),
                    })
                }
                Some(_) => Err(S3Error::argument("list-type", "Invalid List Type specified in Request")),
            },
        }
    }

    fn of_object(
        method: &str,
        object: ObjectRef,
        parameters: &Parameters<'_>,
        headers: Headers<'_>,
    ) -> Result<Self, S3Error> {
        let uploads = parameters.0.has("uploadId");
        let one = |name: &'static str| headers.one(name).map_err(|_| S3Error::argument(name, "A header stands twice."));
        match method {
            "GET" | "HEAD" if !uploads => {
                let mut allowed = vec!["versionId", "partNumber"];
                allowed.extend(REDIRECT_PARAMETERS);
                allowed.extend(RESPONSE_PARAMETERS.iter().map(|(name, _)| *name));
                parameters.only(&allowed)?;
                let mut overrides = Vec::new();
                for (parameter, header) in RESPONSE_PARAMETERS {
                    let Some(value) = parameters.0.first(parameter) else { continue };
                    if value.iter().any(|b| *b < b' ' || *b == 0x7f) {
                        return Err(S3Error::argument(parameter, "The value holds a control character."));
                    }
                    overrides.push((header, value.to_vec()));
                }
                if headers.has("x-amz-server-side-encryption") {
                    let message = "The header is not supported for this operation.";
                    return Err(S3Error::argument("x-amz-server-side-encryption", message));
                }
                let part_number = parameters.part_number()?;
                if part_number.is_some() && headers.has("range") {
                    return Err(S3Error::new(
                        ErrorCode::InvalidRequest,
                        "Cannot specify both Range header and partNumber query parameter",
                    ));
                }
                let read = ReadObject { object, version_id: parameters.version_id()?, part_number, overrides };
                Ok(if method == "GET" { Self::GetObject(read) } else { Self::HeadObject(read) })
            }
            "GET" => {
                parameters.only(&["uploadId", "max-parts", "part-number-marker", "encoding-type"])?;
                Ok(Self::ListParts {
                    upload: UploadRef { object, upload_id: parameters.upload_id()? },
                    part_number_marker: parameters.number("part-number-marker")?.unwrap_or(0),
                    max_parts: parameters.page("max-parts")?,
                })
            }
            "PUT" if uploads || parameters.0.has("partNumber") => {
                parameters.only(&["uploadId", "partNumber"])?;
                let part = parameters.part_number()?.ok_or(S3Error::argument(
                    "partNumber",
                    "Part number must be an integer between 1 and 10000, inclusive",
                ))?;
                let upload = UploadRef { object, upload_id: parameters.upload_id()? };
                match one("x-amz-copy-source")? {
                    None => Ok(Self::UploadPart { upload, part }),
                    Some(source) => {
                        let range = one("x-amz-copy-source-range")?.map(RangeSpec::parse_copy_source).transpose()?;
                        Ok(Self::UploadPartCopy { upload, part, source: CopySource::parse(source)?, range })
                    }
                }
            }
            "PUT" => {
                parameters.only(&[])?;
                let Some(source) = one("x-amz-copy-source")? else { return Ok(Self::PutObject(object)) };
                let directive = match one("x-amz-metadata-directive")? {
                    None | Some(b"COPY") => MetadataDirective::Copy,
                    Some(b"REPLACE") => MetadataDirective::Replace,
                    Some(_) => {
                        return Err(S3Error::argument("x-amz-metadata-directive", "Unknown metadata directive."));
                    }
                };
                Ok(Self::CopyObject { object, source: CopySource::parse(source)?, directive })
            }
            "DELETE" if uploads => {
                parameters.only(&["uploadId"])?;
                Ok(Self::AbortMultipartUpload(UploadRef { object, upload_id: parameters.upload_id()? }))
            }
            "DELETE" => {
                parameters.only(&["versionId"])?;
                Ok(Self::DeleteObject { object, version_id: parameters.version_id()? })
            }
            "POST" if parameters.0.has("uploads") => {
                parameters.only(&["uploads"]).map(|()| Self::CreateMultipartUpload(object))
            }
            "POST" if uploads => {
                parameters.only(&["uploadId"])?;
                Ok(Self::CompleteMultipartUpload(UploadRef { object, upload_id: parameters.upload_id()? }))
            }
            _ => Err(ErrorCode::MethodNotAllowed.into()),
        }
    }

    /// AWS's name of it, for logs and policies.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ListBuckets { .. } => "ListBuckets",
            Self::CreateBucket(_) => "CreateBucket",
            Self::DeleteBucket(_) => "DeleteBucket",
            Self::HeadBucket(_) => "HeadBucket",
            Self::GetBucketLocation(_) => "GetBucketLocation",
            Self::ListObjects { .. } => "ListObjects",
            Self::ListObjectsV2 { .. } => "ListObjectsV2",
            Self::ListMultipartUploads { .. } => "ListMultipartUploads",
            Self::ListObjectVersions { .. } => "ListObjectVersions",
            Self::SubResource(request) => request.name,
            Self::Preflight { .. } => "OptionsObject",
            Self::GetObjectAttributes { .. } => "GetObjectAttributes",
            Self::DeleteObjects(_) => "DeleteObjects",
            Self::PostObject(_) => "PostObject",
            Self::GetObject(_) => "GetObject",
            Self::HeadObject(_) => "HeadObject",
            Self::PutObject(_) => "PutObject",
            Self::CopyObject { .. } => "CopyObject",
            Self::DeleteObject { .. } => "DeleteObject",
            Self::CreateMultipartUpload(_) => "CreateMultipartUpload",
            Self::UploadPart { .. } => "UploadPart",
            Self::UploadPartCopy { .. } => "UploadPartCopy",
            Self::CompleteMultipartUpload(_) => "CompleteMultipartUpload",
            Self::AbortMultipartUpload(_) => "AbortMultipartUpload",
            Self::ListParts { .. } => "ListParts",
            Self::ObjectTagging { action: TagAction::Get, .. } => "GetObjectTagging",
            Self::ObjectTagging { action: TagAction::Put, .. } => "PutObjectTagging",
            Self::ObjectTagging { action: TagAction::Delete, .. } => "DeleteObjectTagging",
            Self::NotImplemented { name } => name,
        }
    }

    /// The bucket that is asked about.
    #[must_use]
    pub const fn bucket(&self) -> Option<&BucketName> {
        match self {
            Self::ListBuckets { .. } | Self::NotImplemented { .. } => None,
            Self::CreateBucket(bucket)
            | Self::DeleteBucket(bucket)
            | Self::HeadBucket(bucket)
            | Self::GetBucketLocation(bucket)
            | Self::ListObjects { bucket, .. }
            | Self::ListObjectsV2 { bucket, .. }
            | Self::ListMultipartUploads { bucket, .. }
            | Self::ListObjectVersions { bucket, .. }
            | Self::Preflight { bucket, .. }
            | Self::DeleteObjects(bucket)
            | Self::PostObject(bucket) => Some(bucket),
            Self::GetObject(read) | Self::HeadObject(read) => Some(&read.object.bucket),
            Self::SubResource(request) => Some(&request.bucket),
            Self::PutObject(object)
            | Self::CopyObject { object, .. }
            | Self::DeleteObject { object, .. }
            | Self::ObjectTagging { object, .. }
            | Self::GetObjectAttributes { object, .. }
            | Self::CreateMultipartUpload(object) => Some(&object.bucket),
            Self::UploadPart { upload, .. }
            | Self::UploadPartCopy { upload, .. }
            | Self::CompleteMultipartUpload(upload)
            | Self::AbortMultipartUpload(upload)
            | Self::ListParts { upload, .. } => Some(&upload.object.bucket),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(method: &str, path: &str, query: &str, fields: &[HeaderField<'_>]) -> Result<Operation, (u16, ErrorCode)> {
        let go = || {
            let target = Target::parse("host", path, &["unused.example"])?;
            let query = Query::parse(query)?;
            let headers = effective_headers(Headers::new(fields), &query, true)?;
            Operation::parse(method, target, &query, Headers::new(&headers))
        };
        go().map_err(|e: S3Error| (e.status(), e.code()))
    }

    fn name(method: &str, path: &str, query: &str, fields: &[HeaderField<'_>]) -> &'static str {
        parse(method, path, query, fields).map_or("refused", |operation| operation.name())
    }

    const COPY: HeaderField<'_> = ("x-amz-copy-source", b"/src/a%20b?versionId=v1");

    #[test]
    fn every_operation_is_recognised() {
        for (method, path, query, expected) in [
            ("GET", "/", "", "ListBuckets"),
            ("GET", "/", "x-id=ListBuckets", "ListBuckets"),
            ("PUT", "/bkt", "", "CreateBucket"),
            ("DELETE", "/bkt/", "", "DeleteBucket"),
            ("HEAD", "/bkt", "", "HeadBucket"),
            ("GET", "/bkt", "location", "GetBucketLocation"),
            ("GET", "/bkt", "", "ListObjects"),
            ("GET", "/bkt", "prefix=a&delimiter=/&max-keys=2&marker=b&encoding-type=url", "ListObjects"),
            ("GET", "/bkt", "bucket=b&key=k&etag=%22e%22", "ListObjects"),
            ("GET", "/bkt/done.html", "bucket=b&key=k&etag=%22e%22", "GetObject"),
            ("GET", "/bkt", "list-type=2&start-after=a&continuation-token=t&fetch-owner=true", "ListObjectsV2"),
            ("GET", "/bkt", "uploads&key-marker=a&upload-id-marker=b&max-uploads=1", "ListMultipartUploads"),
            ("POST", "/bkt", "delete", "DeleteObjects"),
            ("GET", "/bkt/k", "", "GetObject"),
            ("GET", "/bkt/k", "versionId=v&response-content-type=a/b", "GetObject"),
            ("HEAD", "/bkt/k", "partNumber=3", "HeadObject"),
            ("PUT", "/bkt/k", "x-id=PutObject", "PutObject"),
            ("GET", "/bkt/k", "x-user=somebody&x-user=else", "GetObject"),
            ("DELETE", "/bkt/k", "versionId=null", "DeleteObject"),
            ("POST", "/bkt/k", "uploads=", "CreateMultipartUpload"),
            ("PUT", "/bkt/k", "partNumber=1&uploadId=u", "UploadPart"),
            ("POST", "/bkt/k", "uploadId=u", "CompleteMultipartUpload"),
            ("DELETE", "/bkt/k", "uploadId=u", "AbortMultipartUpload"),
            ("GET", "/bkt/k", "uploadId=u&max-parts=5&part-number-marker=2", "ListParts"),
            ("GET", "/bkt/k", "acl", "GetObjectAcl"),
            ("PUT", "/bkt", "versioning", "PutBucketVersioning"),
            ("GET", "/bkt", "versions&key-marker=a&version-id-marker=b&max-keys=3", "ListObjectVersions"),
            ("GET", "/bkt", "policy", "GetBucketPolicy"),
            ("PUT", "/bkt/k", "retention&versionId=v", "PutObjectRetention"),
            ("POST", "/bkt/k", "restore", "RestoreObject"),
            ("POST", "/bkt/k", "select&select-type=2", "SelectObjectContent"),
            ("PUT", "/bkt/k", "renameObject", "RenameObject"),
            ("GET", "/bkt", "versions", "ListObjectVersions"),
            ("OPTIONS", "/bkt/k", "", "OptionsObject"),
        ] {
            assert_eq!(name(method, path, query, &[]), expected, "{method} {path} {query}");
        }
        assert_eq!(name("PUT", "/bkt/k", "", &[COPY]), "CopyObject");
        assert_eq!(name("PUT", "/bkt/k", "partNumber=1&uploadId=u", &[COPY]), "UploadPartCopy");
        assert_eq!(name("POST", "/bkt", "", &[("content-type", b"multipart/form-data; boundary=x")]), "PostObject");
        let website = parse("PUT", "/bkt", "website", &[]);
        assert!(matches!(website, Ok(Operation::NotImplemented { name: "PutBucketWebsite" })));
        let Ok(Operation::SubResource(acl)) = parse("GET", "/bkt/k", "acl&versionId=v", &[]) else { panic!() };
        assert_eq!((acl.name, acl.resource, acl.action), ("GetObjectAcl", "acl", SubResourceAction::Get));
        assert_eq!((acl.key.is_some(), acl.version_id.as_deref()), (true, Some("v")));
        let asked = [("x-amz-object-attributes", &b"ETag, ObjectSize"[..]), ("x-amz-max-parts", b"2")];
        let Ok(Operation::GetObjectAttributes { attributes, max_parts: 2, .. }) =
            parse("GET", "/bkt/k", "attributes", &asked)
        else {
            panic!()
        };
        assert_eq!(attributes, [ObjectAttribute::Etag, ObjectAttribute::ObjectSize]);
        for asked in [&[][..], &[("x-amz-object-attributes", &b"Etag"[..])]] {
            let refused = parse("GET", "/bkt/k", "attributes", asked);
            assert_eq!(refused.err(), Some((400, ErrorCode::InvalidArgument)));
        }
    }

    #[test]
    fn what_is_unknown_is_not_implemented() {
        let refused = Some((501, ErrorCode::NotImplemented));
        for (method, path, query) in [
            ("GET", "/bkt/k", "newFeature"),
            ("PUT", "/bkt/k", "newFeature=1"),
            ("GET", "/bkt", "prefix=a&Prefix=b"),
            ("PUT", "/bkt/k", "versionId=v"),
            ("PUT", "/bkt/k", "bucket=b&key=k&etag=e"),
            ("GET", "/bkt", "acl&versionId=v"),
            ("GET", "/bkt/k", "acl&prefix=v"),
            ("DELETE", "/bkt", "x"),
            ("GET", "/", "y"),
            ("GET", "/bkt/k", "x-amz-new=1"),
            ("PUT", "/bkt/k", "X-Amz-Write-Offset-Bytes=1"),
        ] {
            assert_eq!(parse(method, path, query, &[]).err(), refused, "{method} {path} {query}");
        }
        for header in [
            "x-amz-write-offset-bytes",
            "x-amz-server-side-encryption-context",
            "x-amz-website-redirect-location",
            "x-amz-security-token",
            "x-amz-rename-source",
            "x-amz-anything-new",
            "x-amz-checksum-crc16",
            "x-amz-meta-",
            "x-amz-",
        ] {
            assert_eq!(
                parse("PUT", "/bkt/k", "", &[(header, b"1")]).err(),
                Some((501, ErrorCode::NotImplemented)),
                "{header}"
            );
        }
        let version = |version| parse("PUT", "/bkt/k", "", &[("X-Amz-Api-Version", version)]).err();
        assert_eq!(version(b"2006-03-01"), None);
        assert_eq!(version(b"2030-01-01"), refused);
        for (header, _) in AMZ_HEADERS {
            assert!(amz_header_use(&header.to_uppercase()).is_some());
        }
    }

    #[test]
    fn a_customer_key_is_not_handed_on() {
        let key = STANDARD.encode([7; 32]);
        let md5 = STANDARD.encode(checksum(ChecksumAlgorithm::Md5, &[7; 32]).as_bytes());
        let asked = |start: &str, fields: &[(&str, &str)]| {
            let named: Vec<_> = fields.iter().map(|(end, value)| (format!("{start}{end}"), *value)).collect();
            let fields: Vec<_> = named.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            parse("PUT", "/bkt/k", "", &fields).err()
        };
        let (algorithm, key, md5) = (("algorithm", "AES256"), ("key", key.as_str()), ("key-MD5", md5.as_str()));
        for start in ["X-Amz-Server-Side-Encryption-Customer-", CUSTOMER_KEYS[1]] {
            let whole = asked(start, &[algorithm, key, md5]);
            assert_eq!(whole, Some((501, ErrorCode::NotImplemented)), "what it asks for is not done");
            for partial in [
                &[key, md5][..],
                &[algorithm, md5],
                &[algorithm, key],
                &[("algorithm", "AES128"), key, md5],
                &[algorithm, ("key", "AAAA"), md5],
                &[algorithm, key, ("key-md5", "AAAAAAAAAAAAAAAAAAAAAA==")],
                &[algorithm, key, key, md5],
            ] {
                assert_eq!(asked(start, partial), Some((400, ErrorCode::InvalidArgument)), "{partial:?}");
            }
        }
        let encoded = |text: &str| uri::encode(text.as_bytes(), uri::Slash::Encode);
        let in_url = [algorithm, key, md5]
            .map(|(end, value)| format!("X-Amz-Server-Side-Encryption-Customer-{end}={}", encoded(value)))
            .join("&");
        assert_eq!(parse("PUT", "/bkt/k", &in_url, &[]).err(), Some((501, ErrorCode::NotImplemented)));
    }

    #[test]
    fn presigned_urls_may_carry_headers_in_their_query() {
        let query = Query::parse("X-Amz-Algorithm=a&X-Amz-Signature=s&x-amz-acl=private&X-Amz-Meta-A=b").unwrap();
        let headers = effective_headers(Headers::new(&[("host", b"h")]), &query, true).unwrap();
        assert_eq!(Headers::new(&headers).one("x-amz-acl"), Ok(Some(&b"private"[..])));
        assert_eq!(Headers::new(&headers).one("x-amz-meta-a"), Ok(Some(&b"b"[..])));
        assert!(!Headers::new(&headers).has("x-amz-signature"));
        let twice = effective_headers(Headers::new(&[("x-amz-acl", b"p")]), &query, true);
        assert_eq!(twice.err().map(|e| e.code()), Some(ErrorCode::InvalidRequest));
        let injected = Query::parse("x-amz-acl=private%0d%0ax-amz-meta-a:b").unwrap();
        let injected = effective_headers(Headers::new(&[]), &injected, true);
        assert_eq!(injected.err().map(|e| e.code()), Some(ErrorCode::InvalidArgument));
        for name in ["a%0d%0aset-cookie:b", "a%3A", "a+b", "a%2Fb", "%C3%BC", "a%00", "a%22"] {
            let injected = Query::parse(&format!("x-amz-meta-{name}=v")).unwrap();
            let injected = effective_headers(Headers::new(&[]), &injected, true);
            assert_eq!(injected.err().map(|e| e.code()), Some(ErrorCode::InvalidArgument), "{name}");
        }
    }

    #[test]
    fn bad_values_are_refused() {
        for (method, path, query, code) in [
            ("PUT", "/bkt/k", "partNumber=0&uploadId=u", ErrorCode::InvalidArgument),
            ("PUT", "/bkt/k", "partNumber=10001&uploadId=u", ErrorCode::InvalidArgument),
            ("PUT", "/bkt/k", "partNumber=x&uploadId=u", ErrorCode::InvalidArgument),
            ("PUT", "/bkt/k", "partNumber=1", ErrorCode::InvalidArgument),
            ("PUT", "/bkt/k", "uploadId=u", ErrorCode::InvalidArgument),
            ("PUT", "/bkt/k", "partNumber=1&uploadId=", ErrorCode::InvalidArgument),
            ("GET", "/bkt", "max-keys=-1", ErrorCode::InvalidArgument),
            ("GET", "/bkt", "max-keys=99999999999", ErrorCode::InvalidArgument),
            ("GET", "/bkt", "list-type=3", ErrorCode::InvalidArgument),
            ("GET", "/bkt", "encoding-type=utf", ErrorCode::InvalidArgument),
            ("GET", "/bkt", "allow-unordered=true&delimiter=/", ErrorCode::InvalidArgument),
            ("GET", "/bkt", "prefix=%ff", ErrorCode::InvalidArgument),
            ("GET", "/bkt", "prefix=a&prefix=b", ErrorCode::InvalidArgument),
            ("GET", "/bkt/k", "versionId=", ErrorCode::InvalidArgument),
            ("GET", "/bkt/k", "response-content-type=a%0d%0ab", ErrorCode::InvalidArgument),
            ("POST", "/bkt/k", "", ErrorCode::MethodNotAllowed),
            ("POST", "/bkt", "", ErrorCode::MethodNotAllowed),
            ("PATCH", "/bkt/k", "", ErrorCode::MethodNotAllowed),
            ("DELETE", "/bkt", "acl", ErrorCode::MethodNotAllowed),
            ("HEAD", "/bkt/k", "retention", ErrorCode::MethodNotAllowed),
            ("GET", "/bkt", "versions&version-id-marker=v", ErrorCode::InvalidArgument),
            ("get", "/bkt/k", "", ErrorCode::MethodNotAllowed),
            ("PUT", "/", "", ErrorCode::MethodNotAllowed),
        ] {
            assert_eq!(
                parse(method, path, query, &[]).map(|_| ()).map_err(|(_, code)| code),
                Err(code),
                "{method} {path} {query}"
            );
        }
        let both = parse("GET", "/bkt/k", "partNumber=1", &[("range", b"bytes=0-1")]);
        assert_eq!(both.err(), Some((400, ErrorCode::InvalidRequest)));
        let encrypted = parse("GET", "/bkt/k", "", &[("x-amz-server-side-encryption", b"aws:kms")]);
        assert_eq!(encrypted.err(), Some((400, ErrorCode::InvalidArgument)));
        assert!(matches!(
            parse("GET", "/bkt", "max-keys=5000", &[]),
            Ok(Operation::ListObjects { listing: Listing { max: 1000, .. }, .. })
        ));
    }

    #[test]
    fn copy_sources_are_decoded_once() {
        let source = CopySource::parse(COPY.1).map_err(|e| e.code()).ok().unwrap();
        assert_eq!(source.object.bucket.as_str(), "src");
        assert_eq!(source.object.key.as_bytes(), b"a b");
        assert_eq!(source.version_id.as_deref(), Some("v1"));
        let key = |text: &str| CopySource::parse(text.as_bytes()).ok().map(|s| s.object.key.as_bytes().to_vec());
        assert_eq!(key("src/a%252Fb"), Some(b"a%2Fb".to_vec()));
        assert_eq!(key("src/../other/x"), Some(b"../other/x".to_vec()));
        assert_eq!(key("src//x"), Some(b"/x".to_vec()));
        assert_eq!(key("src/a+b%2B"), Some(b"a b+".to_vec()));
        assert_eq!(key("src%2Fkey"), Some(b"key".to_vec()));
        for bad in [
            "",
            "src",
            "src/",
            "/",
            "//src/k",
            "../k",
            "src/%",
            "src/k?x=1",
            "src/k?versionId=",
            "src/k?versionId=a&b",
            "src/%ff",
            "arn:aws:s3:::src/k",
            "src/a b",
        ] {
            assert!(CopySource::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_of_a_copy_are_not_dropped() {
        let refused = Some((501, ErrorCode::NotImplemented));
        let range: HeaderField<'_> = ("x-amz-copy-source-range", b"bytes=0-1");
        let guard: HeaderField<'_> = ("X-Amz-Copy-Source-If-Match", b"e");
        assert_eq!(parse("PUT", "/bkt/k", "", &[COPY, range]).err(), refused);
        assert_eq!(parse("PUT", "/bkt/k", "", &[guard]).err(), refused);
        assert_eq!(parse("PUT", "/bkt/k", "partNumber=1&uploadId=u", &[range]).err(), refused);
        assert_eq!(parse("POST", "/bkt/k", "uploads", &[COPY]).err(), refused);
        assert_eq!(parse("PUT", "/bkt", "", &[COPY]).err(), refused);
        assert_eq!(name("PUT", "/bkt/k", "", &[COPY, guard]), "CopyObject");
        assert_eq!(name("PUT", "/bkt/k", "partNumber=1&uploadId=u", &[COPY, guard, range]), "UploadPartCopy");
    }

    #[test]
    fn an_operation_names_its_bucket() {
        let operation = parse("PUT", "/bkt/k", "partNumber=1&uploadId=u", &[COPY]).ok().unwrap();
        assert_eq!(operation.bucket().map(BucketName::as_str), Some("bkt"));
        assert!(parse("GET", "/", "", &[]).is_ok_and(|operation| operation.bucket().is_none()));
    }

    proptest! {
        #[test]
        fn hostile_requests_never_panic(
            method in "GET|HEAD|PUT|POST|DELETE|OPTIONS|X",
            path in "/.{0,40}",
            query in "(acl|uploads|uploadId|partNumber|list-type|x-amz-|&|=|%|[a-z0-9]){0,12}",
            value in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let _ = parse(&method, &path, &query, &[("x-amz-copy-source", &value), ("range", &value)]);
        }
    }
}
