//! Opening a stored object from its body's file and its header, or from the body's recovery record.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::output::{Mode, OutputFile};
use super::{OfflineError, Progress, io_at, open_regular, refused_at};
use crate::crypto::wrap::{DataKey, KekId};
use crate::digest::Sha256Stream;
use crate::format::OpenError;
use crate::format::context::Context;
use crate::format::envelope::{MAX_HEADER_LEN, MAX_TEXT_LEN, Unverified};
use crate::format::layout::Layout;
use crate::format::metadata::Metadata;
use crate::format::open::{BodyReader, Opened, Want, needs_trailer};
use crate::format::suite::{Kind, Suite, VERSION};
use crate::format::trailer::{FOOTER_LEN, Footer, OpenedTail, Trailer};
use crate::keys::{KeyError, KeyProvider, KeyScope, Purpose};
use crate::object::{Address, TenantId};

/// Reads a header from a file: its raw bytes, or its text with at most one line end behind it.
pub fn read_header(path: &Path) -> Result<Unverified, OfflineError> {
    let (file, len) = open_regular(path)?;
    if len > MAX_TEXT_LEN as u64 + 1 {
        return Err(refused_at(path)(OpenError::Header("longer than 2028 characters")));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    read_exact_at(&file, &mut bytes, 0, path)?;
    let unverified = if bytes.first() == Some(&VERSION) && bytes.len() <= MAX_HEADER_LEN {
        Unverified::parse(&bytes)
    } else {
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        str::from_utf8(text)
            .map_err(|_| OpenError::Header("neither raw nor base64url"))
            .and_then(Unverified::parse_text)
    };
    unverified.map_err(refused_at(path))
}

/// What an object is opened from.
pub enum Source<'a> {
    /// Its header, for the name it must have.
    Header {
        /// The header; boxed because it is large.
        header: Box<Unverified>,
        /// The name.
        address: &'a Address,
    },
    /// The recovery record in its body. The name is then not bound to the content.
    Record {
        /// Whose object it is.
        tenant: &'a TenantId,
    },
}

/// Where the plaintext goes.
pub enum Sink<'a> {
    /// Nowhere: the object is only verified.
    Verify,
    /// Into a writer that cannot take back what it was given. Everything is verified once before the first byte is
    /// passed on, and each chunk again as it is.
    Stream(&'a mut dyn Write),
    /// Into a new file of mode 0600, which appears only if it is whole.
    File(NewFile<'a>),
}

/// Called with the facts of a whole file just before it gets its name.
pub type BeforeName<'a> = dyn FnMut(&fs::Metadata) -> Result<(), OfflineError> + 'a;

/// A file to be made.
pub struct NewFile<'a> {
    /// Its path, which must be free.
    pub path: &'a Path,
    /// Tells its temporary name from others'.
    pub unique: u64,
    /// Hears of the file before it appears.
    pub before_name: Option<&'a mut BeforeName<'a>>,
}

/// An object that was opened and verified whole.
pub struct OpenedObject {
    /// Simple or multipart.
    pub kind: Kind,
    /// Plaintext length.
    pub plaintext_len: u64,
    /// Number of parts; 1 for a simple object.
    pub parts: usize,
    /// SHA-256 of the plaintext.
    pub sha256: [u8; 32],
    /// The object's metadata; `None` if it was recovered without its header.
    pub metadata: Option<Metadata>,
    /// The KEK that its data key was wrapped under.
    pub kek_id: KekId,
}

/// Says which of a tenant's keys may open an object of that KEK id.
pub type ScopeOf<'a> = dyn Fn(&TenantId, KekId, Purpose) -> Result<KeyScope, KeyError> + 'a;

/// One stored object, on its way to being opened.
pub struct Opening<'a> {
    /// Who unwraps.
    pub provider: &'a dyn KeyProvider,
    /// Which scope a KEK id belongs to.
    pub scope_of: &'a ScopeOf<'a>,
    /// The body's file.
    pub body: &'a Path,
    /// Header or record.
    pub source: Source<'a>,
}

struct Whole {
    dek: Arc<DataKey>,
    layout: Layout,
    kind: Kind,
    parts: usize,
}

/// Opens an object. The sink keeps nothing of an object that does not verify whole.
pub async fn open_object(
    opening: Opening<'_>,
    sink: Sink<'_>,
    progress: &mut dyn Progress,
) -> Result<OpenedObject, OfflineError> {
    let Opening { provider, scope_of, body: path, source } = opening;
    let (file, total) = open_regular(path)?;
    let (whole, metadata, kek_id) = match source {
        Source::Header { header, address } => {
            let kek_id = header.wrapped().kek_id;
            let key = |cause| OfflineError::Key { kek_id, cause };
            let scope = scope_of(&address.tenant, kek_id, Purpose::Export).map_err(key)?;
            let context = Context::object(address);
            let dek = provider.unwrap(&scope, &header.binding(&context), header.wrapped()).await.map_err(key)?;
            let envelope = header.verify_object(dek, &context).map_err(refused_at(path))?;
            if !needs_trailer(&envelope) {
                // by its header alone: the size is checked before anything else of the body is read
                Layout::simple(&envelope, total).map_err(refused_at(path))?;
            }
            let tail = open_tail(&file, total, envelope.dek(), path)?;
            let layout = Layout::of_tail(&envelope, &tail).map_err(refused_at(path))?;
            let whole = Whole::new(Arc::clone(envelope.dek()), layout, tail.trailer());
            (whole, Some(envelope.metadata().clone()), kek_id)
        }
        Source::Record { tenant } => {
            let footer = read_footer(&file, total, path)?;
            let tail = read_tail(&file, &footer, path)?;
            let Some((kek_id, record)) = footer.record(&tail) else {
                return Err(OfflineError::NoRecord { path: path.to_owned() });
            };
            let key = |cause| OfflineError::Key { kek_id, cause };
            let scope = scope_of(tenant, kek_id, Purpose::Recovery).map_err(key)?;
            let suite = Suite::Aes256GcmSha512.byte();
            let dek = Arc::new(provider.open_record(&scope, suite, &record).await.map_err(key)?);
            let tail = open_tail(&file, total, &dek, path)?;
            let layout = Layout::recovered(&tail).map_err(refused_at(path))?;
            (Whole::new(dek, layout, tail.trailer()), None, kek_id)
        }
    };
    let plaintext_len = whole.layout.plaintext_len();
    let (kind, parts) = (whole.kind, whole.parts);
    let sha256 = match sink {
        Sink::Verify => whole.read(&file, path, progress, &mut |_| Ok(()))?,
        Sink::Stream(out) => {
            whole.read(&file, path, &mut (), &mut |_| Ok(()))?;
            let written = |error| io_at(Path::new("standard output"))(error);
            let digest = whole.read(&file, path, progress, &mut |text| out.write_all(text).map_err(written))?;
            out.flush().map_err(written)?;
            digest
        }
        Sink::File(new) => {
            let mut out = OutputFile::create(new.path, new.unique, Mode::Private)?;
            let digest = whole.read(&file, path, progress, &mut |text| out.write(text))?;
            let facts = out.sync()?;
            if let Some(before_name) = new.before_name {
                before_name(&facts)?;
            }
            out.commit()?;
            digest
        }
    };
    Ok(OpenedObject { kind, plaintext_len, parts, sha256, metadata, kek_id })
}

impl Whole {
    fn new(dek: Arc<DataKey>, layout: Layout, trailer: &Trailer) -> Self {
        Self { dek, layout, kind: trailer.kind(), parts: trailer.entries().len() }
    }

    /// Reads and verifies the whole body, passing its plaintext on, the end of it only when all is verified.
    fn read(
        &self,
        file: &File,
        path: &Path,
        progress: &mut dyn Progress,
        pass_on: &mut dyn FnMut(&[u8]) -> Result<(), OfflineError>,
    ) -> Result<[u8; 32], OfflineError> {
        let reader = BodyReader::whole(Arc::clone(&self.dek), self.layout.clone());
        let mut reader = reader.map_err(refused_at(path))?;
        let mut digest = Sha256Stream::default();
        // what is held borrows its buffer until all behind it is verified
        let (mut buffer, mut behind) = (Vec::new(), Vec::new());
        let held = loop {
            let Some(want) = reader.wants() else { break None };
            read_piece(file, want, &mut buffer, path)?;
            match reader.accept(&mut buffer).map_err(refused_at(path))? {
                Opened::Nothing => {}
                Opened::Plaintext(text) => {
                    digest.update(text);
                    pass_on(text)?;
                    progress.advance(text.len() as u64);
                }
                Opened::Held(held) => break Some(held),
            }
        };
        while let Some(want) = reader.wants() {
            read_piece(file, want, &mut behind, path)?;
            let _ = reader.accept(&mut behind).map_err(refused_at(path))?;
        }
        let verified = reader.finish().map_err(refused_at(path))?;
        if let Some(held) = held {
            let text = held.release(&verified);
            digest.update(text);
            pass_on(text)?;
            progress.advance(text.len() as u64);
        }
        Ok(digest.finish())
    }
}

pub(super) fn read_footer(file: &File, total: u64, path: &Path) -> Result<Footer, OfflineError> {
    let at = total.checked_sub(FOOTER_LEN as u64).ok_or_else(|| refused_at(path)(OpenError::Size))?;
    let mut bytes = [0; FOOTER_LEN];
    read_exact_at(file, &mut bytes, at, path)?;
    Footer::parse(&bytes, total).map_err(refused_at(path))
}

pub(super) fn read_tail(file: &File, footer: &Footer, path: &Path) -> Result<Vec<u8>, OfflineError> {
    let size = || refused_at(path)(OpenError::Size);
    let mut tail = vec![0; usize::try_from(footer.tail_len()).map_err(|_| size())?];
    let at = footer.total().checked_sub(footer.tail_len()).ok_or_else(size)?;
    read_exact_at(file, &mut tail, at, path)?;
    Ok(tail)
}

fn open_tail(file: &File, total: u64, dek: &DataKey, path: &Path) -> Result<OpenedTail, OfflineError> {
    let footer = read_footer(file, total, path)?;
    let mut tail = read_tail(file, &footer, path)?;
    footer.open(dek, &mut tail).map_err(refused_at(path))
}

fn read_piece(file: &File, want: Want, buffer: &mut Vec<u8>, path: &Path) -> Result<(), OfflineError> {
    buffer.resize(want.len, 0);
    read_exact_at(file, buffer, want.offset, path)
}

/// A file that ends sooner than its length said was cut while it was read.
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64, path: &Path) -> Result<(), OfflineError> {
    file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => refused_at(path)(OpenError::Size),
        _ => io_at(path)(error),
    })
}
