//! What a stored body says of itself without a key. Nothing of it is verified: it is what the provider can see too.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::open::{read_footer, read_tail};
use super::{OfflineError, io_at, open_regular};
use crate::crypto::wrap::KekId;
use crate::format::geometry;
use crate::format::parts::{HEAD_LEN, PartHead};
use crate::object::PartNumber;

/// A part by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartFacts {
    /// The number it claims.
    pub part_no: u32,
    /// The plaintext length it claims.
    pub plaintext_len: u64,
    /// Where its head stands.
    pub offset: u64,
}

/// The end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailFacts {
    /// Length of the sealed trailer.
    pub sealed_trailer_len: u64,
    /// The KEK of the recovery record, if there is one.
    pub record_kek_id: Option<KekId>,
}

/// What a body claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyFacts {
    /// Length of the body.
    pub total: u64,
    /// The plaintext length that this size means; `None`: no object has this size.
    pub plaintext_len: Option<u64>,
    /// The end of the body; or why it is not the end of one.
    pub tail: Result<TailFacts, String>,
    /// The parts, if it begins like a multipart object.
    pub parts: Vec<PartFacts>,
}

/// Looks at a body without any key.
pub fn inspect_body(path: &Path) -> Result<BodyFacts, OfflineError> {
    let (file, total) = open_regular(path)?;
    let plaintext_len = geometry::plaintext_len(total);
    let tail = match read_footer(&file, total, path) {
        Ok(footer) => {
            let tail = read_tail(&file, &footer, path)?;
            let record_kek_id = footer.record(&tail).map(|(id, _)| id);
            Ok(TailFacts { sealed_trailer_len: footer.sealed_trailer_len(), record_kek_id })
        }
        Err(OfflineError::Refused { cause, .. }) => Err(cause.to_string()),
        Err(other) => return Err(other),
    };
    let parts = parts(&file, total, path)?;
    Ok(BodyFacts { total, plaintext_len, tail, parts })
}

fn parts(file: &File, total: u64, path: &Path) -> Result<Vec<PartFacts>, OfflineError> {
    let mut parts: Vec<PartFacts> = Vec::new();
    let mut offset = 0u64;
    let most = usize::try_from(PartNumber::MAX).unwrap_or(usize::MAX);
    while parts.len() < most && total.saturating_sub(offset) >= HEAD_LEN as u64 {
        let mut head = [0; HEAD_LEN];
        file.read_exact_at(&mut head, offset).map_err(io_at(path))?;
        let Ok(head) = PartHead::parse(&head) else { break };
        parts.push(PartFacts { part_no: head.part_no, plaintext_len: head.p, offset });
        let next = geometry::segment_len(head.p).and_then(|len| offset.checked_add(HEAD_LEN as u64)?.checked_add(len));
        match next {
            Some(next) if next < total => offset = next,
            _ => break,
        }
    }
    Ok(parts)
}
