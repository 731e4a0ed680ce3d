//! Where the segments of a body lie, in plaintext and in the stored bytes.

use std::sync::Arc;

use super::envelope::{Envelope, HeaderBody};
use super::error::OpenError;
use super::geometry;
use super::parts::HEAD_LEN;
use super::segment::SegmentId;
use super::suite::Kind;
use super::trailer::OpenedTail;
use crate::object::PlaintextRange;

/// One segment of a body and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What it is; of an unpinned part the salt is all zero here and stands in the part's head.
    pub id: SegmentId,
    /// Plaintext offset of its first byte.
    pub plain_start: u64,
    /// Stored offset of its part's head (multipart) or of its first chunk (simple).
    pub stored_start: u64,
}

impl Placed {
    /// Length of the head before the chunks: 72 in a multipart object, else 0.
    #[must_use]
    pub const fn head_len(&self) -> u64 {
        match self.id.kind {
            Kind::Multipart => HEAD_LEN as u64,
            Kind::Simple | Kind::UploadState => 0,
        }
    }

    /// Stored offset of its first chunk.
    #[must_use]
    pub const fn chunks_start(&self) -> u64 {
        self.stored_start + self.head_len()
    }

    /// Whether the trailer does not pin the attempt: the salt is in the part's own head.
    #[must_use]
    pub fn is_unpinned(&self) -> bool {
        self.id.kind == Kind::Multipart && self.id.salt == [0; 24]
    }

    /// Plaintext bytes of it.
    #[must_use]
    pub const fn plain_end(&self) -> u64 {
        self.plain_start + self.id.p
    }
}

/// The segments of a body, one behind the other, and the size of the whole.
///
/// A clone shares the segments: a range of an object with ten thousand parts copies none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    segments: Arc<[Placed]>,
    plaintext_len: u64,
    segments_end: u64,
    /// Where the tail begins, if it was opened.
    tail_start: Option<u64>,
    total: u64,
}

impl Layout {
    /// The layout of a simple object's body of `total` bytes, by its header alone.
    ///
    /// Refuses any `total` but F(P): truncation and extension end here, before a byte is read.
    pub fn simple(envelope: &Envelope, total: u64) -> Result<Self, OpenError> {
        let HeaderBody::Simple { salt, p } = envelope.body() else {
            return Err(OpenError::Misuse("the layout of a multipart object is in its trailer"));
        };
        let id = SegmentId { kind: Kind::Simple, part_no: 0, p, salt };
        Self::new([id], total, None)
    }

    /// The layout of an object's body by its tail, which must be that of `envelope`'s object.
    pub fn of_tail(envelope: &Envelope, tail: &OpenedTail) -> Result<Self, OpenError> {
        tail.trailer().check_header(envelope)?;
        Self::recovered(tail)
    }

    /// The layout of a body whose header was lost. The object's name is then not bound to its content.
    pub fn recovered(tail: &OpenedTail) -> Result<Self, OpenError> {
        let kind = tail.trailer().kind();
        let entries = tail.trailer().entries().iter();
        let ids = entries.map(|e| SegmentId { kind, part_no: e.part_no, p: e.p, salt: e.salt });
        Self::new(ids, tail.total(), Some(tail.tail_len()))
    }

    fn new(ids: impl IntoIterator<Item = SegmentId>, total: u64, tail_len: Option<u64>) -> Result<Self, OpenError> {
        let mut segments = Vec::new();
        let (mut plain, mut stored) = (0u64, 0u64);
        for id in ids {
            let placed = Placed { id, plain_start: plain, stored_start: stored };
            let len = geometry::segment_len(id.p).ok_or(OpenError::Size)?;
            stored = placed.chunks_start().checked_add(len).ok_or(OpenError::Size)?;
            plain = plain.checked_add(id.p).ok_or(OpenError::Size)?;
            segments.push(placed);
        }
        if geometry::object_len(plain) != Some(total) {
            return Err(OpenError::Size);
        }
        let tail_start = tail_len.map(|len| total.checked_sub(len).ok_or(OpenError::Size)).transpose()?;
        if tail_start.unwrap_or(total) < stored {
            return Err(OpenError::Trailer("the segments reach into the tail"));
        }
        Ok(Self { segments: segments.into(), plaintext_len: plain, segments_end: stored, tail_start, total })
    }

    /// The segments, in order.
    #[must_use]
    pub fn segments(&self) -> &[Placed] {
        &self.segments
    }

    /// Plaintext length of the object, P.
    #[must_use]
    pub const fn plaintext_len(&self) -> u64 {
        self.plaintext_len
    }

    /// Stored offset behind the last segment: here the padding begins.
    #[must_use]
    pub const fn segments_end(&self) -> u64 {
        self.segments_end
    }

    /// Stored offset of the tail, if it was opened before the layout was made.
    #[must_use]
    pub const fn tail_start(&self) -> Option<u64> {
        self.tail_start
    }

    /// Stored length of the body, F(P).
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The plaintext of the `position`-th part, from 1 on, whatever number it was uploaded under; the whole of a simple
    /// object is its part 1.
    #[must_use]
    pub fn part(&self, position: u32) -> Option<PlaintextRange> {
        let placed = self.segments.get(usize::try_from(position.checked_sub(1)?).ok()?)?;
        PlaintextRange::new(placed.plain_start, placed.plain_end())
    }
}
