//! Sealing a file: one regular file in, a body and a header out.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::output::{Mode, OutputFile};
use super::{OfflineError, Progress, io_at, open_regular};
use crate::clock::Clock;
use crate::crypto::aead::TAG_LEN;
use crate::crypto::random::RandomSource;
use crate::crypto::wrap::{DataKey, KekId};
use crate::format::context::Context;
use crate::format::envelope::{Draft, Header, HeaderBody};
use crate::format::metadata::Metadata;
use crate::format::seal::ObjectSealer;
use crate::format::suite::{FreshSalt, SEALED_CHUNK_LEN, Suite};
use crate::format::trailer::{Digests, record_nonce};
use crate::keys::{KeyProvider, KeyScope};
use crate::object::Address;

/// What to seal, and where to.
pub struct SealRequest<'a> {
    /// A regular file.
    pub input: &'a Path,
    /// The new file for the body.
    pub body: &'a Path,
    /// The new file for the header's text; `None` where the caller passes on [`Sealed::header`] itself.
    pub header: Option<&'a Path>,
    /// The name that the object will have.
    pub address: &'a Address,
    /// The key to seal under.
    pub scope: &'a KeyScope,
    /// Its metadata; the time of writing is added.
    pub metadata: Metadata,
    /// Whether the body gets a recovery record, if the key allows one.
    pub recovery: bool,
}

/// An object that was sealed.
pub struct Sealed {
    /// The header's text: the value of the metadata key `sealgate`.
    pub header: String,
    /// Plaintext length.
    pub plaintext_len: u64,
    /// Length of the body.
    pub body_len: u64,
    /// The KEK it was sealed under.
    pub kek_id: KekId,
    /// Whether the body has a recovery record.
    pub has_record: bool,
}

struct Keys {
    dek: DataKey,
    header: Header,
    kek_id: KekId,
    salt: FreshSalt,
    record: Option<[u8; 88]>,
}

/// Seals a file. Nothing appears under the names of the request unless all of it is written; the header comes last.
pub async fn seal_file(
    provider: &dyn KeyProvider,
    random: &RandomSource,
    clock: &dyn Clock,
    request: SealRequest<'_>,
    progress: &mut dyn Progress,
) -> Result<Sealed, OfflineError> {
    if request.header == Some(request.body) {
        return Err(OfflineError::Exists { path: request.body.to_owned() });
    }
    let (mut input, p) = open_regular(request.input)?;
    let before = Stamp::of(&input).map_err(io_at(request.input))?;
    let keys = seal_header(provider, random, clock, &request, p).await?;
    let now = clock.now();
    let unique = || random.draw_public(now, b"temporary name").map(u64::from_be_bytes);
    let mut body = OutputFile::create(request.body, unique()?, Mode::Ordinary)?;
    let mut header_file = match request.header {
        Some(path) => Some(OutputFile::create(path, unique()?, Mode::Ordinary)?),
        None => None,
    };
    let changed = || OfflineError::Changed { path: request.input.to_owned() };
    let read_error = |error: std::io::Error| match error.kind() {
        ErrorKind::UnexpectedEof => changed(),
        _ => io_at(request.input)(error),
    };
    let mut sealer = ObjectSealer::new(&keys.dek, keys.salt, p)?;
    let mut buffer = vec![0u8; SEALED_CHUNK_LEN];
    let mut body_len = 0u64;
    let mut put = |body: &mut OutputFile, bytes: &[u8]| {
        body_len += bytes.len() as u64;
        body.write(bytes)
    };
    while !sealer.next_is_last() {
        let (chunk, tag) = slot(&mut buffer, sealer.next_len())?;
        input.read_exact(chunk).map_err(read_error)?;
        tag.copy_from_slice(&sealer.seal_chunk(chunk)?);
        progress.advance(chunk.len() as u64);
        put(&mut body, &buffer)?;
    }
    let len = sealer.next_len();
    let (chunk, tag) = slot(&mut buffer, len)?;
    input.read_exact(chunk).map_err(read_error)?;
    if input.read(&mut [0]).map_err(read_error)? != 0 || Stamp::of(&input).map_err(read_error)? != before {
        return Err(changed());
    }
    let (sealed_tag, finisher) = sealer.seal_last(chunk)?;
    tag.copy_from_slice(&sealed_tag);
    progress.advance(len as u64);
    put(&mut body, buffer.get(..len + TAG_LEN).unwrap_or_default())?;
    let tail = finisher.finish(&keys.dek, Digests::default(), keys.record.as_ref())?;
    buffer.fill(0);
    let mut padding =
        usize::try_from(tail.padding).map_err(|_| OfflineError::Seal(crate::format::SealError::TooLong))?;
    while padding > 0 {
        let zeros = buffer.get(..padding.min(buffer.len())).unwrap_or_default();
        padding -= zeros.len();
        put(&mut body, zeros)?;
    }
    put(&mut body, &tail.bytes)?;
    let header = keys.header.to_text();
    if let Some(file) = &mut header_file {
        file.write(format!("{header}\n").as_bytes())?;
    }
    body.commit()?;
    if let Some(Err(error)) = header_file.map(OutputFile::commit) {
        // A body without its header is not what was asked for; it was not there before.
        let _ = fs::remove_file(request.body);
        return Err(error);
    }
    let (kek_id, has_record) = (keys.kek_id, keys.record.is_some());
    Ok(Sealed { header, plaintext_len: p, body_len, kek_id, has_record })
}

async fn seal_header(
    provider: &dyn KeyProvider,
    random: &RandomSource,
    clock: &dyn Clock,
    request: &SealRequest<'_>,
    p: u64,
) -> Result<Keys, OfflineError> {
    let now = clock.now();
    let context = Context::object(request.address);
    let dek = DataKey::new(random.draw(now, context.as_bytes())?);
    let hdr_nonce = random.draw_fresh(now, b"hdr_nonce")?;
    let salt: FreshSalt = random.draw_fresh(now, b"seg_salt")?;
    let mut metadata = request.metadata.clone();
    metadata.set_written_at(now)?;
    let draft = Draft {
        body: HeaderBody::Simple { salt: *salt.as_bytes(), p },
        hdr_nonce,
        metadata: &metadata,
        context: &context,
    };
    let binding = draft.binding();
    let wrapped = provider.wrap(request.scope, &binding, &dek).await.map_err(OfflineError::SealingKey)?;
    let header = draft.seal(&wrapped, &dek)?;
    let record = if request.recovery {
        let (suite, rnonce) = (Suite::Aes256GcmSha512.byte(), record_nonce(&dek));
        let record = provider.seal_record(request.scope, wrapped.kek_id, suite, &rnonce, &dek).await;
        record.map_err(OfflineError::SealingKey)?
    } else {
        None
    };
    Ok(Keys { dek, header, kek_id: wrapped.kek_id, salt, record })
}

/// The place of a chunk of `len` bytes in the buffer, and that of its tag behind it.
fn slot(buffer: &mut [u8], len: usize) -> Result<(&mut [u8], &mut [u8]), OfflineError> {
    let misuse = || OfflineError::Seal(crate::format::SealError::Misuse("a chunk longer than a chunk"));
    let (chunk, rest) = buffer.split_at_mut_checked(len).ok_or_else(misuse)?;
    let tag = rest.get_mut(..TAG_LEN).ok_or_else(misuse)?;
    Ok((chunk, tag))
}

/// What changes when a file is written to.
#[derive(PartialEq, Eq)]
struct Stamp {
    len: u64,
    file: (u64, u64),
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> std::io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            len: metadata.len(),
            file: (metadata.dev(), metadata.ino()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}
