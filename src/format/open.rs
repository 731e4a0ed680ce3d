//! Opening a body, piece by piece, in the caller's buffer.
//!
//! [`BodyReader`] does no I/O. It says which bytes of the body it wants next ([`BodyReader::wants`]), the caller brings
//! exactly those, and it verifies and decrypts them in place ([`BodyReader::accept`]). Wanted pieces ascend, and
//! neighbours touch wherever the body is read through, so a caller may stream one response into it.
//!
//! No plaintext leaves before its chunk is authenticated at its place. Of a whole read the last chunk is [`Held`]: its
//! text comes out only against a [`Verified`], which [`BodyReader::finish`] gives when everything was read and padding
//! and trailer hold. A reader that is left early, or that failed, finishes with an error.

use std::sync::Arc;

use super::envelope::{Envelope, HeaderBody};
use super::error::OpenError;
use super::geometry;
use super::layout::{Layout, Placed};
use super::parts::{HEAD_LEN, PartHead};
use super::segment::{SegmentId, SegmentOpener};
use super::suite::{CHUNK_LEN, SEALED_CHUNK_LEN};
use super::trailer::{FOOTER_LEN, Footer, Trailer};
use crate::crypto::aead::TAG_LEN;
use crate::crypto::wrap::{DataKey, RECORD_LEN};
use crate::object::PlaintextRange;

/// The longest piece that a [`BodyReader`] wants: the tail of a simple object whose trailer has a large extension.
pub const MAX_PIECE_LEN: usize = RECORD_LEN + 112 + 2 * 65_535 + TAG_LEN + FOOTER_LEN;

/// A piece of the body that is wanted next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Offset in the stored body.
    pub offset: u64,
    /// Length, at most [`MAX_PIECE_LEN`].
    pub len: usize,
}

/// What a piece gave.
#[must_use]
pub enum Opened<'a> {
    /// Nothing to pass on: a part's head, padding, or the tail.
    Nothing,
    /// Verified plaintext, in order.
    Plaintext(&'a mut [u8]),
    /// The end of a whole read's plaintext.
    Held(Held<'a>),
}

/// The last chunk of a whole read: authentic, but not to be passed on before the rest of the body is verified.
///
/// It borrows the caller's buffer, so what follows is read into another one.
#[must_use]
pub struct Held<'a>(&'a mut [u8]);

impl<'a> Held<'a> {
    /// The text, now that the body is verified whole.
    #[must_use]
    pub fn release(self, _: &Verified) -> &'a mut [u8] {
        self.0
    }
}

/// A body that was read to its end and verified. Only [`BodyReader::finish`] makes one.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    trailer: Option<Trailer>,
}

impl Verified {
    /// The trailer that a whole read of a simple object ended with.
    #[must_use]
    pub const fn trailer(&self) -> Option<&Trailer> {
        self.trailer.as_ref()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The head of segment `at`.
    Head,
    /// Chunk `index` of segment `at`.
    Chunk {
        index: u64,
    },
    /// Zeros from this offset on.
    Padding {
        offset: u64,
    },
    /// A simple object's tail from this offset on, behind zeros.
    Tail {
        offset: u64,
    },
    Done,
    Failed,
}

/// Why the body is read, and so how far.
enum Goal {
    /// The whole object, with all that stands behind its chunks.
    Whole(WholeTail),
    /// Some of its bytes.
    Range(PlaintextRange),
}

enum WholeTail {
    /// The trailer was opened before: only the padding, up to this offset, is left to check.
    Opened { tail_start: u64 },
    /// The trailer is read with the body and must be that of this envelope.
    Unread(Arc<Envelope>),
}

/// Reads a body from its layout.
pub struct BodyReader {
    dek: Arc<DataKey>,
    layout: Layout,
    goal: Goal,
    /// Index of the segment that is read.
    at: usize,
    step: Step,
    /// The piece that the step needs; `None` once there is none to come.
    want: Option<Want>,
    opener: Option<SegmentOpener>,
    trailer: Option<Trailer>,
}

impl BodyReader {
    /// Reads a whole simple object, tail included, front to back: what a single request for it returns.
    pub fn simple(envelope: Arc<Envelope>, total: u64) -> Result<Self, OpenError> {
        let layout = Layout::simple(&envelope, total)?;
        Self::start(Arc::clone(envelope.dek()), layout, Goal::Whole(WholeTail::Unread(envelope)))
    }

    /// Reads a whole object whose tail was opened first.
    pub fn whole(dek: Arc<DataKey>, layout: Layout) -> Result<Self, OpenError> {
        let tail_start = layout.tail_start().ok_or(OpenError::Misuse("the tail was not opened"))?;
        Self::start(dek, layout, Goal::Whole(WholeTail::Opened { tail_start }))
    }

    /// Reads a range of an object. `range` must lie within the plaintext; what comes out is exactly it.
    pub fn range(dek: Arc<DataKey>, layout: Layout, range: PlaintextRange) -> Result<Self, OpenError> {
        if range.end() > layout.plaintext_len() {
            return Err(OpenError::Misuse("a range beyond the object"));
        }
        Self::start(dek, layout, Goal::Range(range))
    }

    fn start(dek: Arc<DataKey>, layout: Layout, goal: Goal) -> Result<Self, OpenError> {
        let mut reader = Self { dek, layout, goal, at: 0, step: Step::Done, want: None, opener: None, trailer: None };
        match reader.goal {
            Goal::Range(range) if range.is_empty() => {}
            Goal::Range(range) => {
                reader.at = reader.layout.segments().partition_point(|s| s.plain_end() <= range.start());
                reader.enter()?;
            }
            Goal::Whole(_) => reader.enter()?,
        }
        reader.want = reader.next_want()?;
        Ok(reader)
    }

    fn placed(&self) -> Result<Placed, OpenError> {
        self.layout.segments().get(self.at).copied().ok_or(OpenError::Misuse("behind the last segment"))
    }

    /// The first chunk of segment `placed` that is to be read.
    fn first_chunk(&self, placed: &Placed) -> u64 {
        match self.goal {
            Goal::Whole(_) => 0,
            Goal::Range(range) => range.start().saturating_sub(placed.plain_start) / CHUNK_LEN as u64,
        }
    }

    fn enter(&mut self) -> Result<(), OpenError> {
        let placed = self.placed()?;
        let first = self.first_chunk(&placed);
        if placed.head_len() > 0 && (first == 0 || placed.is_unpinned()) {
            self.step = Step::Head;
        } else {
            self.open_segment(&placed.id)?;
            self.step = Step::Chunk { index: first };
        }
        Ok(())
    }

    fn open_segment(&mut self, id: &SegmentId) -> Result<(), OpenError> {
        let number = u32::try_from(self.at).map_err(|_| OpenError::Size)?;
        let opener = SegmentOpener::new(&self.dek, id, number)?;
        self.opener = Some(opener);
        Ok(())
    }

    /// The piece of the body that [`BodyReader::accept`] must be given next. `None`: there is no more to read; whether
    /// all is verified is what [`BodyReader::finish`] says.
    #[must_use]
    pub const fn wants(&self) -> Option<Want> {
        self.want
    }

    fn next_want(&self) -> Result<Option<Want>, OpenError> {
        let want = match self.step {
            Step::Head => Some(Want { offset: self.placed()?.stored_start, len: HEAD_LEN }),
            Step::Chunk { index } => {
                let placed = self.placed()?;
                let offset = geometry::chunk_offset(index).and_then(|at| placed.chunks_start().checked_add(at));
                let len = geometry::chunk_len(placed.id.p, index).ok_or(OpenError::Size)?;
                Some(Want { offset: offset.ok_or(OpenError::Size)?, len: len + TAG_LEN })
            }
            Step::Padding { offset } => {
                let left = self.padding_end().saturating_sub(offset);
                Some(Want { offset, len: usize::try_from(left).unwrap_or(usize::MAX).min(SEALED_CHUNK_LEN) })
            }
            Step::Tail { offset } => {
                let left = self.layout.total().checked_sub(offset).ok_or(OpenError::Size)?;
                Some(Want { offset, len: usize::try_from(left).map_err(|_| OpenError::Size)? })
            }
            Step::Done | Step::Failed => None,
        };
        Ok(want)
    }

    /// Verifies `piece`, the bytes that [`BodyReader::wants`] named, and decrypts it in place.
    ///
    /// After an error nothing more is wanted, and what came out before is all that may be passed on.
    pub fn accept<'a>(&mut self, piece: &'a mut [u8]) -> Result<Opened<'a>, OpenError> {
        let opened = self.accept_step(piece);
        let next = if opened.is_ok() { self.next_want() } else { Ok(None) };
        match (opened, next) {
            (Ok(opened), Ok(want)) => {
                self.want = want;
                Ok(opened)
            }
            (Err(error), _) | (_, Err(error)) => {
                (self.step, self.want) = (Step::Failed, None);
                Err(error)
            }
        }
    }

    fn accept_step<'a>(&mut self, piece: &'a mut [u8]) -> Result<Opened<'a>, OpenError> {
        let want = self.want.ok_or(OpenError::Misuse("nothing is wanted"))?;
        if piece.len() != want.len {
            return Err(OpenError::Misuse("not the piece that is wanted"));
        }
        match self.step {
            Step::Head => self.accept_head(piece),
            Step::Chunk { index } => self.accept_chunk(index, piece),
            Step::Padding { offset } => {
                check_zero(piece)?;
                self.padding(offset + want.len as u64);
                Ok(Opened::Nothing)
            }
            Step::Tail { .. } => self.accept_tail(piece),
            Step::Done | Step::Failed => Err(OpenError::Misuse("nothing is wanted")),
        }
    }

    /// Ends the read. An error if it was left early or failed: then what is [`Held`] must not be passed on.
    pub fn finish(self) -> Result<Verified, OpenError> {
        match self.step {
            Step::Done => Ok(Verified { trailer: self.trailer }),
            _ => Err(OpenError::Misuse("the body was not read to its end")),
        }
    }

    fn accept_head<'a>(&mut self, piece: &[u8]) -> Result<Opened<'a>, OpenError> {
        let placed = self.placed()?;
        let bytes = piece.try_into().map_err(|_| OpenError::PartHead("cut short"))?;
        let head = PartHead::parse(bytes)?;
        if head.part_no != placed.id.part_no {
            return Err(OpenError::PartHead("another part's number"));
        }
        if head.p != placed.id.p {
            return Err(OpenError::PartHead("another length"));
        }
        let id = if placed.is_unpinned() { SegmentId { salt: head.salt, ..placed.id } } else { placed.id };
        if head.salt != id.salt {
            return Err(OpenError::PartHead("another attempt's salt"));
        }
        self.open_segment(&id)?;
        if !self.opener.as_ref().is_some_and(|opener| opener.commits_to(&head.commitment)) {
            return Err(OpenError::PartHead("another key's commitment"));
        }
        self.step = Step::Chunk { index: self.first_chunk(&placed) };
        Ok(Opened::Nothing)
    }

    fn accept_chunk<'a>(&mut self, index: u64, piece: &'a mut [u8]) -> Result<Opened<'a>, OpenError> {
        let placed = self.placed()?;
        let opener = self.opener.as_ref().ok_or(OpenError::Misuse("no segment is open"))?;
        let text = opener.open(index, piece)?;
        let start = placed.plain_start + index * CHUNK_LEN as u64;
        let end = start + text.len() as u64;
        let is_last_of_segment = index + 1 == geometry::chunk_count(placed.id.p);
        let is_last_segment = self.at + 1 == self.layout.segments().len();
        match self.goal {
            Goal::Whole(_) => {
                if !is_last_of_segment {
                    self.step = Step::Chunk { index: index + 1 };
                } else if is_last_segment {
                    self.padding(self.layout.segments_end());
                    return Ok(Opened::Held(Held(text)));
                } else {
                    self.at += 1;
                    self.enter()?;
                }
                Ok(Opened::Plaintext(text))
            }
            Goal::Range(range) => {
                if end >= range.end() {
                    self.step = Step::Done;
                } else if is_last_of_segment {
                    self.at += 1;
                    self.enter()?;
                } else {
                    self.step = Step::Chunk { index: index + 1 };
                }
                let from = range.start().saturating_sub(start).min(text.len() as u64);
                let to = range.end().saturating_sub(start).min(text.len() as u64);
                let within = usize::try_from(from).ok().zip(usize::try_from(to).ok());
                let slice = within.and_then(|(from, to)| text.get_mut(from..to));
                slice.map(Opened::Plaintext).ok_or(OpenError::Misuse("a range beyond the object"))
            }
        }
    }

    /// Where the zeros that can be told from the tail end.
    fn padding_end(&self) -> u64 {
        match &self.goal {
            Goal::Whole(WholeTail::Opened { tail_start }) => *tail_start,
            Goal::Whole(WholeTail::Unread(_)) => {
                self.layout.total().saturating_sub(MAX_PIECE_LEN as u64).max(self.layout.segments_end())
            }
            Goal::Range(_) => self.layout.segments_end(),
        }
    }

    fn padding(&mut self, offset: u64) {
        self.step = if offset < self.padding_end() {
            Step::Padding { offset }
        } else {
            match &self.goal {
                Goal::Whole(WholeTail::Unread(_)) => Step::Tail { offset },
                Goal::Whole(WholeTail::Opened { .. }) | Goal::Range(_) => Step::Done,
            }
        };
    }

    fn accept_tail<'a>(&mut self, piece: &mut [u8]) -> Result<Opened<'a>, OpenError> {
        let Goal::Whole(WholeTail::Unread(envelope)) = &self.goal else {
            return Err(OpenError::Misuse("the trailer was opened before"));
        };
        let footer = piece.last_chunk::<FOOTER_LEN>().ok_or(OpenError::Size)?;
        let footer = Footer::parse(footer, self.layout.total())?;
        let padding = usize::try_from(footer.tail_len())
            .ok()
            .and_then(|tail| piece.len().checked_sub(tail))
            .ok_or(OpenError::Trailer("the segments reach into the tail"))?;
        let (zeros, tail) = piece.split_at_mut_checked(padding).ok_or(OpenError::Size)?;
        check_zero(zeros)?;
        let trailer = footer.open(envelope.dek(), tail)?.into_trailer();
        trailer.check_header(envelope)?;
        self.trailer = Some(trailer);
        self.step = Step::Done;
        Ok(Opened::Nothing)
    }

    /// The layout that is read.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }
}

fn check_zero(bytes: &[u8]) -> Result<(), OpenError> {
    if bytes.iter().all(|&byte| byte == 0) { Ok(()) } else { Err(OpenError::Padding) }
}

/// Whether a header says that the layout of its body is in the trailer, which must then be read first.
#[must_use]
pub fn needs_trailer(envelope: &Envelope) -> bool {
    envelope.body() == HeaderBody::Multipart
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::Fresh;
    use crate::crypto::wrap::{Kek, KekId, WrapAlg};
    use crate::format::context::Context;
    use crate::format::envelope::{Draft, Unverified};
    use crate::format::metadata::Metadata;
    use crate::format::seal::ObjectSealer;
    use crate::format::trailer::Digests;
    use crate::object::{Address, ObjectKey};
    use crate::secret::Secret;

    const P: u64 = CHUNK_LEN as u64 + 3;

    fn object() -> (Arc<Envelope>, Vec<u8>) {
        object_of(HeaderBody::Simple { salt: [7; 24], p: P })
    }

    /// An envelope for `body`, and a body of P bytes.
    fn object_of(body: HeaderBody) -> (Arc<Envelope>, Vec<u8>) {
        let dek = || DataKey::new(Secret::from_bytes([2; 32]));
        let key = ObjectKey::new(*b"k").unwrap();
        let context = Context::object(&Address { tenant: "t".parse().unwrap(), bucket: "b".parse().unwrap(), key });
        let kek = Kek::new(KekId::from_bytes([4; 16]), WrapAlg::Local, Secret::from_bytes([1; 32])).unwrap();
        let draft = Draft {
            body,
            hdr_nonce: Fresh::danger_from_bytes([3; 24]),
            metadata: &Metadata::default(),
            context: &context,
        };
        let wrapped = kek.wrap(&draft.binding(), &dek()).unwrap();
        let header = draft.seal(&wrapped, &dek()).unwrap();
        let unverified = Unverified::parse(header.as_bytes()).ok().unwrap();
        let envelope = unverified.verify_object(dek(), &context).ok().unwrap();
        let mut sealer = ObjectSealer::new(&dek(), Fresh::danger_from_bytes([7; 24]), P).unwrap();
        let mut chunk = vec![1; CHUNK_LEN];
        let tag = sealer.seal_chunk(&mut chunk).unwrap();
        let mut out = [&chunk[..], &tag].concat();
        let mut last = [2; 3];
        let (tag, finisher) = sealer.seal_last(&mut last).unwrap();
        out.extend([&last[..], &tag].concat());
        let tail = finisher.finish(&dek(), Digests::default(), None).unwrap();
        out.resize(out.len() + tail.padding as usize, 0);
        out.extend(tail.bytes);
        (Arc::new(envelope), out)
    }

    fn piece(want: Want, body: &[u8]) -> Vec<u8> {
        body[want.offset as usize..want.offset as usize + want.len].to_vec()
    }

    fn text(opened: Result<Opened<'_>, OpenError>) -> &[u8] {
        match opened {
            Ok(Opened::Plaintext(text)) => text,
            _ => panic!("no plaintext"),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "what it holds must be gone afterwards")]
    fn is_misuse<T>(result: Result<T, OpenError>) -> bool {
        matches!(result, Err(OpenError::Misuse(_)))
    }

    #[test]
    fn the_end_of_a_whole_read_is_held_until_the_trailer_is_verified() {
        let (envelope, body) = object();
        let mut reader = BodyReader::simple(Arc::clone(&envelope), body.len() as u64).unwrap();
        assert_eq!(reader.layout().total(), body.len() as u64);
        assert_eq!(reader.layout().plaintext_len(), P);
        let want = reader.wants().unwrap();
        assert_eq!(want, Want { offset: 0, len: SEALED_CHUNK_LEN });
        assert_eq!(text(reader.accept(&mut piece(want, &body))).len(), CHUNK_LEN);
        let want = reader.wants().unwrap();
        let mut last = piece(want, &body);
        let Ok(Opened::Held(held)) = reader.accept(&mut last) else { panic!("not held") };
        let want = reader.wants().unwrap();
        assert_eq!(want.offset + want.len as u64, body.len() as u64);
        assert!(matches!(reader.accept(&mut piece(want, &body)), Ok(Opened::Nothing)));
        assert_eq!(reader.wants(), None);
        let verified = reader.finish().unwrap();
        assert_eq!(verified.trailer().map(Trailer::plaintext_len), Some(P));
        assert_eq!(held.release(&verified), [2; 3]);
    }

    #[test]
    fn a_read_that_was_left_early_or_failed_does_not_finish() {
        let (envelope, body) = object();
        let start = || BodyReader::simple(Arc::clone(&envelope), body.len() as u64).unwrap();
        assert!(is_misuse(start().finish()));
        for damaged in [body.len() - 1, body.len() - 100, SEALED_CHUNK_LEN + 3 + TAG_LEN, 0] {
            let mut body = body.clone();
            body[damaged] ^= 1;
            let mut reader = start();
            let mut failed = false;
            while let Some(want) = reader.wants() {
                failed |= reader.accept(&mut piece(want, &body)).is_err();
            }
            assert!(failed, "byte {damaged}");
            assert!(is_misuse(reader.accept(&mut [])), "nothing is wanted any more");
            assert!(is_misuse(reader.finish()), "byte {damaged}");
        }
    }

    #[test]
    fn pieces_that_were_not_asked_for_and_ranges_beyond_the_object_are_misuse() {
        let (envelope, body) = object();
        let mut reader = BodyReader::simple(Arc::clone(&envelope), body.len() as u64).unwrap();
        assert!(is_misuse(reader.accept(&mut [0; 5])));
        assert_eq!(reader.wants(), None, "a misuse ends the read too");
        let layout = Layout::simple(&envelope, body.len() as u64).unwrap();
        let dek = || Arc::clone(envelope.dek());
        let beyond = PlaintextRange::new(0, P + 1).unwrap();
        assert!(is_misuse(BodyReader::range(dek(), layout.clone(), beyond)));
        assert!(is_misuse(BodyReader::whole(dek(), layout.clone())), "its tail was not opened");
        let empty = PlaintextRange::new(P, P).unwrap();
        let reader = BodyReader::range(dek(), layout.clone(), empty).unwrap();
        assert_eq!(reader.wants(), None);
        assert!(reader.finish().is_ok_and(|verified| verified.trailer().is_none()));
        let last = PlaintextRange::new(P - 1, P).unwrap();
        let mut reader = BodyReader::range(dek(), layout, last).unwrap();
        let want = reader.wants().unwrap();
        assert_eq!(want, Want { offset: SEALED_CHUNK_LEN as u64, len: 3 + TAG_LEN });
        assert_eq!(text(reader.accept(&mut piece(want, &body))), [2]);
        assert_eq!(reader.wants(), None);
        assert!(reader.finish().is_ok());
        assert!(BodyReader::simple(envelope, body.len() as u64 - 1).is_err());
    }

    #[test]
    fn much_padding_is_read_in_pieces_and_the_longest_tail_is_left() {
        assert_eq!(MAX_PIECE_LEN, 131_318);
        // 3 GiB: 768 × 256 bytes are reserved. The chunks are passed over: what stands behind them is at stake here.
        let p = 3 << 30;
        let total = geometry::object_len(p).unwrap();
        let (envelope, _) = object_of(HeaderBody::Simple { salt: [7; 24], p });
        let segments_end = geometry::segment_len(p).unwrap();
        for (known, expected_end) in [(true, total - 300), (false, total - MAX_PIECE_LEN as u64)] {
            let mut reader = BodyReader::simple(Arc::clone(&envelope), total).unwrap();
            if known {
                reader.goal = Goal::Whole(WholeTail::Opened { tail_start: total - 300 });
            }
            reader.padding(segments_end);
            reader.want = reader.next_want().unwrap();
            let mut at = segments_end;
            let mut pieces = 0;
            while let (Some(want), Step::Padding { .. }) = (reader.wants(), reader.step) {
                assert_eq!(want.offset, at);
                assert!(want.len > 0 && want.len <= SEALED_CHUNK_LEN);
                at += want.len as u64;
                pieces += 1;
                let mut zeros = vec![0; want.len];
                assert!(matches!(reader.accept(&mut zeros), Ok(Opened::Nothing)));
            }
            assert_eq!(at, expected_end);
            assert!(pieces > 0);
            let tail = Want { offset: expected_end, len: MAX_PIECE_LEN };
            assert_eq!(reader.wants(), (!known).then_some(tail));
            assert_eq!(reader.finish().is_ok(), known);
        }
    }

    #[test]
    fn a_read_that_knows_its_trailer_ends_where_the_tail_begins() {
        let (envelope, body) = object();
        let footer = Footer::parse(body.last_chunk().unwrap(), body.len() as u64).unwrap();
        let tail_start = body.len() - footer.tail_len() as usize;
        let tail = footer.open(envelope.dek(), &mut body[tail_start..].to_vec()).unwrap();
        let layout = Layout::of_tail(&envelope, &tail).unwrap();
        assert_eq!(layout.tail_start(), Some(tail_start as u64));
        assert_eq!(layout.part(1), PlaintextRange::new(0, P));
        assert_eq!((layout.part(0), layout.part(2)), (None, None));
        let mut reader = BodyReader::whole(Arc::clone(envelope.dek()), layout).unwrap();
        let mut end = 0;
        while let Some(want) = reader.wants() {
            end = want.offset + want.len as u64;
            assert!(reader.accept(&mut piece(want, &body)).is_ok());
        }
        assert_eq!(end, tail_start as u64, "the padding is checked up to the tail");
        assert!(reader.finish().is_ok());
        assert!(!needs_trailer(&envelope));
    }
}
