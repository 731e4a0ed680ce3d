//! The body pump: socket → AEAD → socket, chunk by chunk, in place.
//!
//! Sealing: pieces of the request are gathered into a chunk, which is sealed where it lies and handed to the store. The last
//! chunk and all behind it are held back until everything that was declared of the body is verified: whatever fails before
//! leaves the store a body that is too short to be an object. Opening: the store's pieces are gathered into what the reader
//! wants, opened where they lie, and the plaintext is handed on as a slice of the same buffer.
//!
//! A transfer holds one chunk, and what the two connections buffer.

use std::sync::{Arc, OnceLock};

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::error::{Failure, FailureSlot};
use super::exchange::Exchange;
use super::generate::{Yielder, generate};
use super::upstream::Stored;
use crate::crypto::aead::TAG_LEN;
use crate::crypto::wrap::{DataKey, RECORD_LEN};
use crate::digest::{ChecksumAlgorithm, ChecksumHasher};
use crate::format::metadata::Checksum;
use crate::format::open::{BodyReader, Opened, Verified};
use crate::format::parts::{HEAD_LEN, PartSealer};
use crate::format::seal::ObjectSealer;
use crate::format::suite::CHUNK_LEN;
use crate::format::trailer::Digests;
use crate::ingress::IngressBody;
use crate::net::body::Body;
use crate::net::budget::Lease;
use crate::s3::checksum::VerifiedBody;
use crate::s3::error::{ErrorCode, S3Error};

static ZEROS: [u8; CHUNK_LEN] = [0; CHUNK_LEN];

/// Plaintext to be sealed: a request's body, or an object that is copied.
pub(super) enum Plaintext {
    /// Of a request.
    Ingress(Box<IngressBody>),
    /// Of a request, read and verified already.
    Held(Option<Bytes>, Option<VerifiedBody>),
    /// Of an opened object, which `failure` explains if it breaks off.
    Opened {
        /// Its plaintext.
        body: Body,
        /// Why it broke off.
        failure: FailureSlot,
        /// A checksum of it that is wanted.
        hasher: Option<Box<ChecksumHasher>>,
    },
}

impl Plaintext {
    async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Ingress(body) => Ok(body.piece().await?),
            Self::Held(bytes, _) => Ok(bytes.take().filter(|bytes| !bytes.is_empty())),
            Self::Opened { body, failure, hasher } => loop {
                return match body.frame().await {
                    None => Ok(None),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => {
                            if let Some(hasher) = hasher {
                                hasher.update(&data);
                            }
                            Ok(Some(data))
                        }
                        Err(_) => continue,
                    },
                    Some(Err(_)) => {
                        Err(failure.take().unwrap_or_else(|| Failure::upstream("a copy's source broke off")))
                    }
                };
            },
        }
    }

    /// What was verified of it, after its end.
    fn verified(&mut self) -> Result<VerifiedBody, Failure> {
        let unverified = || Failure::ours("a body ended without being verified");
        match self {
            Self::Ingress(body) => body.take_verified().ok_or_else(unverified),
            Self::Held(_, verified) => verified.take().ok_or_else(unverified),
            Self::Opened { hasher, .. } => {
                Ok(VerifiedBody { md5: None, checksum: None, extra: hasher.take().map(|hasher| hasher.finish()) })
            }
        }
    }
}

/// Gathers the plaintext into chunks.
struct Chunks {
    plaintext: Plaintext,
    piece: Bytes,
    exchange: Arc<Exchange>,
}

impl Chunks {
    fn new(plaintext: Plaintext, exchange: Arc<Exchange>) -> Self {
        Self { plaintext, piece: Bytes::new(), exchange }
    }

    async fn more(&mut self) -> Result<bool, Failure> {
        match self.plaintext.piece().await? {
            Some(piece) => {
                self.exchange.received(piece.len());
                self.piece = piece;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// The next `len` bytes, in a buffer with room for a tag.
    async fn chunk(&mut self, len: usize) -> Result<BytesMut, Failure> {
        let mut chunk = BytesMut::with_capacity(len + TAG_LEN);
        while chunk.len() < len {
            if self.piece.is_empty() {
                if !self.more().await? {
                    return Err(ErrorCode::IncompleteBody.into());
                }
                continue;
            }
            let take = (len - chunk.len()).min(self.piece.len());
            chunk.extend_from_slice(self.piece.get(..take).unwrap_or_default());
            self.piece.advance(take);
        }
        Ok(chunk)
    }

    /// The end: nothing more may come, and all must be verified.
    async fn end(&mut self) -> Result<VerifiedBody, Failure> {
        loop {
            if !self.piece.is_empty() {
                return Err(S3Error::new(ErrorCode::InvalidRequest, "The body is longer than declared.").into());
            }
            if !self.more().await? {
                return self.plaintext.verified();
            }
        }
    }
}

/// What a simple object's body is sealed with.
pub(super) struct ObjectKeys {
    pub(super) dek: Arc<DataKey>,
    pub(super) record: Option<[u8; RECORD_LEN]>,
    /// A checksum and an MD5 that are carried from a copy's source, where they were verified.
    pub(super) carried: Digests,
}

/// The sealed body of a simple object, of `stored_len` bytes. `verified` gets what was verified of the plaintext.
pub(super) fn seal_object(
    keys: ObjectKeys,
    mut sealer: ObjectSealer,
    plaintext: Plaintext,
    stored_len: u64,
    exchange: &Arc<Exchange>,
    verified: VerifiedSlot,
) -> Body {
    let mut chunks = Chunks::new(plaintext, Arc::clone(exchange));
    generate(stored_len, exchange.failure.clone(), move |out| async move {
        while !sealer.next_is_last() {
            let mut chunk = chunks.chunk(sealer.next_len()).await?;
            let tag = sealer.seal_chunk(&mut chunk)?;
            chunk.extend_from_slice(&tag);
            out.send(chunk.freeze()).await;
        }
        let mut last = chunks.chunk(sealer.next_len()).await?;
        let body = chunks.end().await?;
        let digests = digests(&body, keys.carried)?;
        verified.set(body);
        let (tag, finisher) = sealer.seal_last(&mut last)?;
        last.extend_from_slice(&tag);
        let tail = finisher.finish(&keys.dek, digests, keys.record.as_ref())?;
        let (first, rest) = join_padding(last, tail.padding);
        out.send(first).await;
        zeros(&out, rest).await;
        out.send(tail.bytes.into()).await;
        Ok(())
    })
}

/// Small padding goes out with the last chunk.
fn join_padding(mut last: BytesMut, padding: u64) -> (Bytes, u64) {
    match usize::try_from(padding) {
        Ok(len) if len <= 4096 => {
            last.extend_from_slice(ZEROS.get(..len).unwrap_or_default());
            (last.freeze(), 0)
        }
        _ => (last.freeze(), padding),
    }
}

/// Sends zeros.
pub(super) async fn zeros(out: &Yielder, mut len: u64) {
    while len > 0 {
        let take = usize::try_from(len).unwrap_or(usize::MAX).min(ZEROS.len());
        out.send(Bytes::from_static(ZEROS.get(..take).unwrap_or_default())).await;
        len -= take as u64;
    }
}

/// What is stored of a body's digests: only what was verified, or carried from where it was.
fn digests(body: &VerifiedBody, carried: Digests) -> Result<Digests, Failure> {
    use crate::digest::ChecksumType;
    let mut digests = carried;
    let extra = body.extra.as_ref().filter(|extra| extra.algorithm() == ChecksumAlgorithm::Md5);
    digests.md5 = body.md5.or(digests.md5).or_else(|| extra?.as_bytes().try_into().ok());
    if let Some(value) = &body.checksum {
        digests.checksum = Some((Checksum::new(value.algorithm(), ChecksumType::FullObject, value.as_bytes())?, 0));
    }
    Ok(digests)
}

/// The sealed body of a part: its head and its segment. The last chunk is held back until the body is verified.
pub(super) fn seal_part(
    mut sealer: PartSealer,
    plaintext: Plaintext,
    stored_len: u64,
    exchange: &Arc<Exchange>,
    verified: VerifiedSlot,
) -> Body {
    let mut chunks = Chunks::new(plaintext, Arc::clone(exchange));
    generate(stored_len, exchange.failure.clone(), move |out| async move {
        debug_assert_eq!(sealer.head().len(), HEAD_LEN);
        out.send(Bytes::copy_from_slice(sealer.head())).await;
        while !sealer.next_is_last() {
            let mut chunk = chunks.chunk(sealer.next_len()).await?;
            let tag = sealer.seal_chunk(&mut chunk)?;
            chunk.extend_from_slice(&tag);
            out.send(chunk.freeze()).await;
        }
        let mut last = chunks.chunk(sealer.next_len()).await?;
        verified.set(chunks.end().await?);
        let tag = sealer.seal_last(&mut last)?;
        last.extend_from_slice(&tag);
        out.send(last.freeze()).await;
        Ok(())
    })
}

/// Where a sealed body leaves what was verified of its plaintext.
#[derive(Clone, Default)]
pub(super) struct VerifiedSlot(Arc<std::sync::Mutex<Option<VerifiedBody>>>);

impl VerifiedSlot {
    fn set(&self, body: VerifiedBody) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(body);
    }

    /// What was verified; an object without it must not be acknowledged.
    pub(super) fn take(&self) -> Result<VerifiedBody, Failure> {
        let body = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        body.ok_or_else(|| Failure::upstream("the store acknowledged a body that it had not been sent whole"))
    }
}

/// Where the digests that an object's trailer holds are left, once its whole body was verified.
pub(super) type DigestsSlot = Arc<OnceLock<Digests>>;

/// The plaintext of `len` bytes that `reader` opens from what is stored. `lease` is the memory that the transfer takes.
pub(super) fn open(
    reader: BodyReader,
    stored: Stored,
    len: u64,
    failure: FailureSlot,
    (lease, digests): (Option<Lease>, DigestsSlot),
) -> Body {
    generate(len, failure, move |out| async move {
        let _held = lease;
        open_into(reader, stored, out, digests).await
    })
}

/// The last plaintext that there is goes on only once all that is read is verified: with it the receiver has as many bytes as
/// were announced, and takes the object for whole. It is the last chunk, or, where that is empty, the one before it.
async fn open_into(
    mut reader: BodyReader,
    mut stored: Stored,
    out: Yielder,
    digests: DigestsSlot,
) -> Result<(), Failure> {
    let leave = |verified: &Verified| {
        if let Some(trailer) = verified.trailer() {
            let _ = digests.set(trailer.digests().clone());
        }
    };
    let mut held_back = Bytes::new();
    while let Some(want) = reader.wants() {
        let mut piece = stored.piece(want).await?;
        let (from, len) = match reader.accept(&mut piece)? {
            Opened::Nothing => continue,
            Opened::Plaintext(text) => (text.as_ptr().addr(), text.len()),
            Opened::Held(held) => {
                while let Some(want) = reader.wants() {
                    let mut behind = stored.piece(want).await?;
                    match reader.accept(&mut behind)? {
                        Opened::Nothing => {}
                        Opened::Plaintext(_) | Opened::Held(_) => {
                            return Err(Failure::ours("plaintext behind the last chunk"));
                        }
                    }
                }
                let verified = reader.finish()?;
                leave(&verified);
                let text = held.release(&verified);
                let (from, len) = (text.as_ptr().addr(), text.len());
                stored.finish().await;
                out.send(held_back).await;
                out.send(slice(piece, from, len)?).await;
                return Ok(());
            }
        };
        let text = slice(piece, from, len)?;
        if !text.is_empty() {
            out.send(std::mem::replace(&mut held_back, text)).await;
        }
    }
    leave(&reader.finish()?);
    stored.finish().await;
    out.send(held_back).await;
    Ok(())
}

/// The part of `piece` at address `from`.
fn slice(piece: BytesMut, from: usize, len: usize) -> Result<Bytes, Failure> {
    let at = from.wrapping_sub(piece.as_ptr().addr());
    let end = at.checked_add(len).filter(|end| *end <= piece.len());
    let end = end.ok_or_else(|| Failure::ours("plaintext outside its buffer"))?;
    let mut piece = piece;
    piece.truncate(end);
    piece.advance(at);
    Ok(piece.freeze())
}
