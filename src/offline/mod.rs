//! Sealing and opening files without a gateway, a store or a network: so that a customer can leave with nothing but
//! keys, objects and a page.
//!
//! Memory is O(1) in the object's size. What is written appears under its name only when it is whole: every chunk,
//! the padding and the trailer verified, and the bytes on the device.

mod bulk;
mod inspect;
mod open;
mod output;
mod seal;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use bulk::{
    Account, Bulk, Item, ItemError, ItemHeader, ItemName, Outcome, folder_items, header_beside, is_same, manifest_items,
};
pub use inspect::{BodyFacts, PartFacts, TailFacts, inspect_body};
pub use open::{BeforeName, NewFile, OpenedObject, Opening, ScopeOf, Sink, Source, open_object, read_header};
pub use seal::{SealRequest, Sealed, seal_file};

use crate::crypto::random::RandomError;
use crate::crypto::wrap::KekId;
use crate::format::{OpenError, SealError};
use crate::keys::{KeyError, KeyErrorKind};

/// Why a file was not sealed or opened. It names the file by the path that the user gave.
#[derive(Debug, Error)]
pub enum OfflineError {
    /// The operating system refused.
    #[error("{}: {cause}", shown(path))]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A folder, a pipe or a device where a regular file is needed: the length is in the key.
    #[error("{} is not a regular file", shown(path))]
    NotAFile {
        /// Which file.
        path: PathBuf,
    },
    /// The file was written to while it was read.
    #[error("{} changed while it was read: nothing was written", shown(path))]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// The output exists.
    #[error("{} exists already and is not overwritten", shown(path))]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// The object is not what was sealed under this name and key.
    #[error("{}: {cause}", shown(path))]
    Refused {
        /// Which body or header.
        path: PathBuf,
        /// Why, for the customer's own eyes.
        cause: OpenError,
    },
    /// The body has no recovery record.
    #[error("{} has no recovery record: it opens only with its header", shown(path))]
    NoRecord {
        /// Which body.
        path: PathBuf,
    },
    /// There is no header for the body.
    #[error("{} has no header beside it or in the manifest; --recover opens it by its recovery record", shown(path))]
    NoHeader {
        /// Which body.
        path: PathBuf,
    },
    /// The object could not be sealed.
    #[error("{0}")]
    Seal(#[from] SealError),
    /// The key was not given.
    #[error("KEK {kek_id}: {cause}{}", hint(cause))]
    Key {
        /// Which.
        kek_id: KekId,
        /// Why.
        cause: KeyError,
    },
    /// No key to seal with.
    #[error("{0}")]
    SealingKey(KeyError),
    /// There is no randomness.
    #[error("{0}")]
    Random(#[from] RandomError),
}

impl OfflineError {
    /// Whether it must not be done (policy, verification), rather than could not be.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Random(_) => false,
            Self::Key { cause, .. } | Self::SealingKey(cause) => !matches!(cause.kind(), KeyErrorKind::Unavailable),
            Self::NotAFile { .. }
            | Self::Changed { .. }
            | Self::Exists { .. }
            | Self::Refused { .. }
            | Self::NoRecord { .. }
            | Self::NoHeader { .. }
            | Self::Seal(_) => true,
        }
    }
}

/// What a person can do about a wrapped key that does not authenticate.
const fn hint(cause: &KeyError) -> &'static str {
    match cause {
        KeyError::Tampered => ": the header was altered, or sealed under another tenant, bucket or key than given",
        KeyError::NotAllowed => ": no key of this tenant here has that id",
        _ => "",
    }
}

/// A path as it can be shown on a terminal: control characters, and what turns the direction of text, are escaped, so
/// that a name cannot forge a message.
#[must_use]
pub fn shown(path: &Path) -> String {
    shown_text(&path.to_string_lossy())
}

/// The same for any text that comes from outside.
#[must_use]
pub fn shown_text(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() || turns(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> OfflineError + '_ {
    |cause| OfflineError::Io { path: path.to_owned(), cause }
}

fn refused_at(path: &Path) -> impl FnOnce(OpenError) -> OfflineError + '_ {
    |cause| OfflineError::Refused { path: path.to_owned(), cause }
}

/// Opens a regular file and tells its length.
fn open_regular(path: &Path) -> Result<(File, u64), OfflineError> {
    // Asked before it is opened: opening a pipe would wait for its writer.
    let is_file = path.metadata().map_err(io_at(path))?.is_file();
    if !is_file {
        return Err(OfflineError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(io_at(path))?;
    let metadata = file.metadata().map_err(io_at(path))?;
    if !metadata.is_file() {
        return Err(OfflineError::NotAFile { path: path.to_owned() });
    }
    Ok((file, metadata.len()))
}

/// How far a long piece of work is. Called with the number of plaintext bytes done since the last call.
pub trait Progress {
    /// So many more bytes are done.
    fn advance(&mut self, bytes: u64);
}

/// Tells nobody.
impl Progress for () {
    fn advance(&mut self, _: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_forge_messages() {
        assert_eq!(shown_text("plain ü 日本"), "plain ü 日本");
        assert_eq!(shown_text("a\x1b[31m\nb\u{202e}c\u{7}"), "a\\u{1b}[31m\\nb\\u{202e}c\\u{7}");
        assert_eq!(shown(Path::new("a\tb")), "a\\tb");
    }
}
