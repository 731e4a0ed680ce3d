//! One error type per direction.

use thiserror::Error;

/// Why something was not sealed. Nothing that was written so far is an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// The plaintext is longer than the format takes.
    #[error("the plaintext is longer than the format allows")]
    TooLong,
    /// The metadata does not fit into the header.
    #[error("the metadata is too large: at most 1344 bytes fit into the header with a local key")]
    MetadataTooLarge,
    /// A metadata field that a reader would refuse.
    #[error("invalid metadata: {0}")]
    Metadata(&'static str),
    /// The wrapped key does not have the length of its algorithm.
    #[error("the wrapped key has the wrong length for its algorithm")]
    WrappedKey,
    /// The caller's chunk is not the one that comes next: its length is wrong, or all chunks are sealed.
    #[error("misuse: {0}")]
    Misuse(&'static str),
    /// The list of parts is not one that a reader would accept.
    #[error("invalid parts: {0}")]
    Parts(&'static str),
    /// A checksum that a reader would refuse.
    #[error("invalid checksum: {0}")]
    Checksum(&'static str),
}

/// Why something was not opened.
///
/// To whoever asked, all but [`OpenError::Misuse`] are one: the object is not what was sealed. The reason is for the
/// customer's own eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The header cannot be read at all: text, length or a field of the fixed part.
    #[error("malformed header: {0}")]
    Header(&'static str),
    /// The header's version, suite, kind, flags or wrap algorithm is not one that this reader allows.
    #[error("unsupported header: {0}")]
    Unsupported(&'static str),
    /// The header does not authenticate for this object: altered, of another object, or of another key.
    #[error("the header does not authenticate for this tenant, bucket and key")]
    HeaderTag,
    /// The sealed metadata is not well-formed.
    #[error("malformed metadata: {0}")]
    Metadata(&'static str),
    /// The body has a size that no such object has.
    #[error("the body's size is not that of this object")]
    Size,
    /// A chunk does not authenticate at its place.
    #[error("chunk {index} of segment {segment} does not authenticate")]
    Chunk {
        /// The segment's position in the body, from 0.
        segment: u32,
        /// The chunk's index within the segment, from 0.
        index: u64,
    },
    /// The head of a part is not the one that the trailer lists.
    #[error("the head of a part is not the one listed: {0}")]
    PartHead(&'static str),
    /// The padding is not all zeros.
    #[error("the padding is not zero")]
    Padding,
    /// The footer, recovery record or trailer is malformed or does not authenticate.
    #[error("invalid trailer: {0}")]
    Trailer(&'static str),
    /// The ETag of a part was not issued for that part.
    #[error("the part's ETag was not issued for it")]
    PartTag,
    /// The caller did not hand over what was asked for.
    #[error("misuse: {0}")]
    Misuse(&'static str),
}
