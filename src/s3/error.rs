//! One table: error code → HTTP status → default message; and S3's XML.
//!
//! A 5xx is never the answer to a refusal by policy: SDKs would retry it.

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

use super::xml::XmlWriter;
use crate::sigv4::AuthError;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal, $message:literal;)*) => {
        /// An error code of S3, or one of ours where S3 has none; its name is the code's text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The text in `<Code>`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                }
            }

            /// The message where the refusal has no better one.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$variant => $message,)*
                }
            }
        }
    };
}

codes! {
    /// The bucket takes no ACLs.
    AccessControlListNotSupported = 400, "The bucket does not allow ACLs.";
    /// Not allowed.
    AccessDenied = 403, "Access Denied";
    /// A page of another origin may not.
    AccessForbidden = 403, "CORSResponse: This CORS request is not allowed.";
    /// The `Authorization` header cannot be read, or names another region.
    AuthorizationHeaderMalformed = 400, "The authorization header that you provided is not valid.";
    /// The parameters of a presigned URL cannot be read.
    AuthorizationQueryParametersError = 400, "The authorization query parameters that you provided are not valid.";
    /// The body is not what its digest says.
    BadDigest = 400, "The Content-MD5 or checksum value that you specified did not match what the server received.";
    /// The bucket exists and is someone else's.
    BucketAlreadyExists = 409, "The requested bucket name is not available.";
    /// The bucket exists and is the caller's.
    BucketAlreadyOwnedByYou = 409, "The bucket you tried to create already exists, and you own it.";
    /// The bucket holds objects.
    BucketNotEmpty = 409, "The bucket you tried to delete is not empty.";
    /// Another conditional request won.
    ConditionalRequestConflict = 409, "A conflicting operation occurred during the request.";
    /// Longer than S3 takes.
    EntityTooLarge = 400, "Your proposed upload exceeds the maximum allowed object size.";
    /// A part that is not the last is too short.
    EntityTooSmall = 400, "Your proposed upload is smaller than the minimum allowed object size.";
    /// The scope's or configuration's location is another one.
    IllegalLocationConstraintException = 400, "The specified location-constraint is not valid.";
    /// The document of versioning says nothing.
    IllegalVersioningConfigurationException = 400, "The versioning configuration specified in the request is not valid.";
    /// The body ended early.
    IncompleteBody = 400, "You did not provide the number of bytes specified by the Content-Length HTTP header.";
    /// Stored data is not what was sealed. Ours.
    IntegrityError = 502, "The stored object is not what was written and is withheld.";
    /// Our own fault.
    InternalError = 500, "We encountered an internal error. Please try again.";
    /// Nobody has this access key id.
    InvalidAccessKeyId = 403, "The AWS access key ID that you provided does not exist in our records.";
    /// A value that cannot be used.
    InvalidArgument = 400, "Invalid Argument";
    /// ACLs and the bucket's ownership exclude each other.
    InvalidBucketAclWithObjectOwnership = 400, "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting.";
    /// The bucket's name breaks the rules.
    InvalidBucketName = 400, "The specified bucket is not valid.";
    /// The bucket is in a state that does not allow it: versions, or a lock.
    InvalidBucketState = 409, "The request is not valid with the current state of the bucket.";
    /// Content-MD5 is no MD5.
    InvalidDigest = 400, "The Content-MD5 you specified is not valid.";
    /// The location constraint is unknown.
    InvalidLocationConstraint = 400, "The specified location constraint is not valid.";
    /// The object is archived: it must be restored before it is read.
    InvalidObjectState = 403, "The operation is not valid for the object's storage class.";
    /// A part is missing, or its ETag is another one.
    InvalidPart = 400, "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not match the part's entity tag.";
    /// No part of that number.
    InvalidPartNumber = 416, "The requested partnumber is not satisfiable.";
    /// Parts out of order.
    InvalidPartOrder = 400, "The list of parts was not in ascending order. Parts list must be specified in order by part number.";
    /// The policy of a POST form cannot be read.
    InvalidPolicyDocument = 400, "The content of the form does not meet the conditions specified in the policy document.";
    /// No byte of the range exists.
    InvalidRange = 416, "The requested range is not satisfiable.";
    /// Anything else that is wrong with a request.
    InvalidRequest = 400, "Invalid Request";
    /// A retention period that cannot be.
    InvalidRetentionPeriod = 400, "The retention period specified is not valid.";
    /// The store has no such storage class.
    InvalidStorageClass = 400, "The storage class you specified is not valid.";
    /// A tag that cannot be.
    InvalidTag = 400, "The tag provided was not a valid tag.";
    /// A bucket that takes no logs.
    InvalidTargetBucketForLogging = 400, "The target bucket for logging does not exist, is not owned by you, or does not have the appropriate grants.";
    /// A session token, which is not supported.
    InvalidToken = 400, "The provided token is malformed or otherwise not valid.";
    /// Path or query cannot be parsed.
    InvalidURI = 400, "Couldn't parse the specified URI.";
    /// The bucket does not allow this key-encryption key. Ours.
    KeyNotAllowed = 403, "The object's key is not one that this bucket allows.";
    /// The key-encryption key is suspended or destroyed, or consent was withdrawn. Ours.
    KeyRevoked = 403, "The object's key has been revoked.";
    /// The object key is longer than 1024 bytes.
    KeyTooLongError = 400, "Your key is too long.";
    /// The ACL cannot be read.
    MalformedACLError = 400, "The ACL that you provided was not well formed or did not validate against our published schema.";
    /// The body of a POST is not a form.
    MalformedPOSTRequest = 400, "The body of your POST request is not well-formed multipart/form-data.";
    /// The bucket policy cannot be read.
    MalformedPolicy = 400, "Policies must be valid JSON and the first byte must be an opening brace.";
    /// The trailer of an aws-chunked body cannot be read.
    MalformedTrailerError = 400, "The request contained trailing data that was not well-formed or did not conform to our published schema.";
    /// The XML body cannot be read.
    MalformedXML = 400, "The XML you provided was not well-formed or did not validate against our published schema.";
    /// The request is too large.
    MaxMessageLengthExceeded = 400, "Your request was too large.";
    /// User metadata does not fit. Ours replaces S3's limit of 2 KB.
    MetadataTooLarge = 400, "Your metadata headers exceed the maximum allowed metadata size.";
    /// This method does not work here.
    MethodNotAllowed = 405, "The specified method is not allowed against this resource.";
    /// No length was declared.
    MissingContentLength = 411, "You must provide the Content-Length HTTP header.";
    /// A body is required.
    MissingRequestBodyError = 400, "Request body is empty.";
    /// A header is required.
    MissingSecurityHeader = 400, "Your request is missing a required header.";
    /// No such bucket.
    NoSuchBucket = 404, "The specified bucket does not exist.";
    /// The bucket has no policy.
    NoSuchBucketPolicy = 404, "The bucket policy does not exist.";
    /// The bucket has no CORS configuration.
    NoSuchCORSConfiguration = 404, "The CORS configuration does not exist.";
    /// No such object.
    NoSuchKey = 404, "The specified key does not exist.";
    /// The bucket has no lifecycle configuration.
    NoSuchLifecycleConfiguration = 404, "The lifecycle configuration does not exist.";
    /// The object is not locked.
    NoSuchObjectLockConfiguration = 404, "The specified object does not have an ObjectLock configuration.";
    /// The bucket has no public access block.
    NoSuchPublicAccessBlockConfiguration = 404, "The public access block configuration was not found.";
    /// The bucket has no tags.
    NoSuchTagSet = 404, "The TagSet does not exist.";
    /// No such upload.
    NoSuchUpload = 404, "The specified multipart upload does not exist. The upload ID might not be valid, or the multipart upload might have been aborted or completed.";
    /// No such version.
    NoSuchVersion = 404, "The version ID specified in the request does not match an existing version.";
    /// Not what this gateway does; nothing was forwarded.
    NotImplemented = 501, "A header or operation you provided implies functionality that is not implemented.";
    /// Unchanged; has no body.
    NotModified = 304, "Not Modified";
    /// The bucket has no object lock.
    ObjectLockConfigurationNotFoundError = 404, "Object Lock configuration does not exist for this bucket.";
    /// The object has no valid seal, in a strict bucket. Ours.
    ObjectNotSealed = 403, "The object is not sealed and this bucket is strict.";
    /// Another operation goes on.
    OperationAborted = 409, "A conflicting conditional operation is currently in progress against this resource. Try again.";
    /// The bucket has no ownership controls.
    OwnershipControlsNotFoundError = 404, "The bucket ownership controls were not found.";
    /// A condition does not hold.
    PreconditionFailed = 412, "At least one of the preconditions that you specified did not hold.";
    /// The bucket has no replication configuration.
    ReplicationConfigurationNotFoundError = 404, "The replication configuration was not found.";
    /// The header fields are too large.
    RequestHeaderSectionTooLarge = 400, "Your request header section exceeds the maximum allowed request header section size.";
    /// The client's clock is off.
    RequestTimeTooSkewed = 403, "The difference between the request time and the server's time is too large.";
    /// The client did not send in time.
    RequestTimeout = 400, "Your socket connection to the server was not read from or written to within the timeout period.";
    /// The object is being restored already.
    RestoreAlreadyInProgress = 409, "Object restore is already in progress.";
    /// The bucket has no encryption configuration.
    ServerSideEncryptionConfigurationNotFoundError = 404, "The server side encryption configuration was not found.";
    /// A part of ours, or the store, is not available.
    ServiceUnavailable = 503, "Service is unable to handle request. Reduce your request rate.";
    /// The signature does not hold.
    SignatureDoesNotMatch = 403, "The request signature that the server calculated does not match the signature that you provided. Check your key and signing method.";
    /// Over a limit; `Retry-After` says when to come again.
    SlowDown = 503, "Please reduce your request rate.";
    /// The account has as many buckets as it may.
    TooManyBuckets = 400, "You have attempted to create more buckets than allowed.";
    /// A grant to nobody.
    UnresolvableGrantByEmailAddress = 400, "The email address that you provided does not match any account on record.";
    /// The store has refused the gateway's own credentials. Ours.
    UpstreamCredentials = 503, "The storage service refuses the gateway's credentials.";
    /// The body is not what `x-amz-content-sha256` says.
    XAmzContentSHA256Mismatch = 400, "The provided 'x-amz-content-sha256' header does not match what was computed.";
}

impl ErrorCode {
    /// The code of a text, for answers of a store.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// Whether S3 has no such code: what this gateway says of keys, seals and its own credentials. A store that says so
    /// would pass its word for our verdict.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(
            self,
            Self::IntegrityError
                | Self::KeyNotAllowed
                | Self::KeyRevoked
                | Self::ObjectNotSealed
                | Self::UpstreamCredentials
        )
    }
}

/// A refusal as the client sees it. Its texts never hold object names, secrets or what a store said.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct S3Error {
    code: ErrorCode,
    message: Cow<'static, str>,
    fields: Vec<(&'static str, String)>,
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl From<ErrorCode> for S3Error {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: Cow::Borrowed(code.message()), fields: Vec::new() }
    }
}

impl S3Error {
    /// A refusal with a better message than the table's.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), fields: Vec::new() }
    }

    /// `InvalidArgument` with the argument's name.
    #[must_use]
    pub fn argument(name: &'static str, message: &'static str) -> Self {
        Self::new(ErrorCode::InvalidArgument, message).with("ArgumentName", name)
    }

    /// `NotImplemented`, naming what is not.
    #[must_use]
    pub fn not_implemented(what: &str) -> Self {
        let message = format!("{what} is not implemented by this gateway; nothing was forwarded.");
        Self::new(ErrorCode::NotImplemented, message)
    }

    /// Adds an element of S3's: `Region`, `ArgumentName`, `ArgumentValue`, `Resource`, … The value must be safe to show to
    /// whoever sent the request.
    #[must_use]
    pub fn with(mut self, element: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((element, value.into()));
        self
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.code.status()
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The additional elements.
    #[must_use]
    pub fn fields(&self) -> &[(&'static str, String)] {
        &self.fields
    }

    /// The body: S3's `<Error>`. An answer to HEAD, and 304, has none.
    #[must_use]
    pub fn to_xml(&self, request_id: &str, host_id: &str) -> String {
        let mut xml = XmlWriter::new();
        xml.open("Error");
        xml.text("Code", self.code.name());
        xml.text("Message", &self.message);
        for (element, value) in &self.fields {
            xml.text(element, value);
        }
        xml.text("RequestId", request_id);
        xml.text("HostId", host_id);
        xml.close("Error");
        xml.finish()
    }
}

impl From<AuthError> for S3Error {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        let (code, region) = match error {
            AuthError::Malformed(_) => (ErrorCode::AuthorizationHeaderMalformed, None),
            AuthError::Region { expected } => (ErrorCode::AuthorizationHeaderMalformed, Some(expected)),
            AuthError::Query(_) => (ErrorCode::AuthorizationQueryParametersError, None),
            AuthError::QueryRegion { expected } => (ErrorCode::AuthorizationQueryParametersError, Some(expected)),
            AuthError::SignatureMismatch | AuthError::ChunkSignatureMismatch => {
                (ErrorCode::SignatureDoesNotMatch, None)
            }
            AuthError::TimeTooSkewed => (ErrorCode::RequestTimeTooSkewed, None),
            AuthError::Expired
            | AuthError::NotYetValid
            | AuthError::MissingDate
            | AuthError::UnsignedHeader
            | AuthError::UnsignedParameter => (ErrorCode::AccessDenied, None),
            AuthError::SecurityToken => (ErrorCode::InvalidToken, None),
            AuthError::RepeatedHeader
            | AuthError::SignatureV2
            | AuthError::SignatureV4a
            | AuthError::MissingContentSha256 => (ErrorCode::InvalidRequest, None),
            AuthError::TwoMechanisms | AuthError::UnsupportedScheme | AuthError::InvalidContentSha256 => {
                (ErrorCode::InvalidArgument, None)
            }
            AuthError::Uri => (ErrorCode::InvalidURI, None),
            _ => return ErrorCode::InternalError.into(),
        };
        let error = Self::new(code, message);
        match region {
            Some(region) => error.with("Region", region),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_found_by_their_names() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.name()), Some(*code));
            assert!((300..600).contains(&code.status()) && !code.message().is_empty());
        }
        assert_eq!(ErrorCode::from_name("Nonsense"), None);
    }

    #[test]
    fn a_refusal_by_policy_is_never_a_5xx() {
        for code in
            [ErrorCode::AccessDenied, ErrorCode::KeyNotAllowed, ErrorCode::KeyRevoked, ErrorCode::ObjectNotSealed]
        {
            assert_eq!(code.status(), 403);
        }
        assert_eq!(ErrorCode::IntegrityError.status(), 502);
    }

    #[test]
    fn errors_render_as_s3_does() {
        let error = S3Error::from(AuthError::Region { expected: "eu-1".into() });
        assert_eq!(
            error.to_xml("R1", "H<1>"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AuthorizationHeaderMalformed</Code><Message>The \
             authorization header is malformed; the region is wrong; expecting 'eu-1'.</Message><Region>eu-1</Region>\
             <RequestId>R1</RequestId><HostId>H&lt;1&gt;</HostId></Error>"
        );
        assert_eq!(S3Error::from(AuthError::Misuse).status(), 500);
        assert_eq!(S3Error::from(AuthError::Expired).code(), ErrorCode::AccessDenied);
        assert_eq!(S3Error::not_implemented("SelectObjectContent").status(), 501);
    }
}
