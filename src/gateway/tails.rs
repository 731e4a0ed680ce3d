//! The tails of multipart objects: where their parts lie. Read once, kept for a while.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;

use super::error::Failure;
use super::policy::Place;
use super::upstream::{Shape, Source, changed};
use crate::digest::sha256;
use crate::format::envelope::Envelope;
use crate::format::layout::Layout;
use crate::format::trailer::{FOOTER_LEN, Footer, OpenedTail};
use crate::net::body::collect;
use crate::object::{CiphertextRange, ObjectKey};

/// How much of an object's end is asked for first: the tails of all objects of up to 1300 parts fit.
const FIRST_LEN: u64 = 64 << 10;
/// A tail is never longer: 10 000 entries of 36 bytes, an extension, what surrounds them.
const MAX_TAIL_LEN: u64 = 1 << 20;
/// How many bytes of entries are kept.
const MAX_KEPT: usize = 8 << 20;

/// What a tail says.
pub(super) struct Tail {
    pub(super) layout: Layout,
    pub(super) opened: OpenedTail,
}

impl Tail {
    fn weight(&self) -> usize {
        512 + 160 * self.layout.segments().len()
    }
}

type Id = [u8; 32];

#[derive(Default)]
struct Kept {
    tails: HashMap<Id, Arc<Tail>>,
    order: VecDeque<Id>,
    weight: usize,
}

/// Tails that were opened. A tail is found only by whoever has the object's data key.
#[derive(Default)]
pub(super) struct Tails(Mutex<Kept>);

impl Tails {
    fn find(&self, id: &Id) -> Option<Arc<Tail>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tails.get(id).cloned()
    }

    fn keep(&self, id: Id, tail: &Arc<Tail>) {
        let weight = tail.weight();
        if weight > MAX_KEPT / 4 {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.tails.insert(id, Arc::clone(tail)).is_none() {
            kept.order.push_back(id);
            kept.weight += weight;
        }
        while kept.weight > MAX_KEPT {
            let Some(oldest) = kept.order.pop_front() else { break };
            if let Some(tail) = kept.tails.remove(&oldest) {
                kept.weight = kept.weight.saturating_sub(tail.weight());
            }
        }
    }

    /// The tail of a multipart object of `total` bytes whose header was believed; `source` is pinned to its ETag.
    pub(super) async fn of(&self, source: &Source, envelope: &Envelope, total: u64) -> Result<Arc<Tail>, Failure> {
        let id = id(&source.place, &source.key, source.etag.as_deref().unwrap_or_default(), envelope, total);
        if let Some(tail) = self.find(&id) {
            return Ok(tail);
        }
        let tail = Arc::new(read(source, envelope, total).await?);
        self.keep(id, &tail);
        Ok(tail)
    }
}

/// What a tail is kept by: place, key, ETag, size, and a digest of the data key, so that a tail is never found for an object
/// that another key opens.
fn id(place: &Place, key: &ObjectKey, etag: &str, envelope: &Envelope, total: u64) -> Id {
    let lp = |bytes: &[u8]| (bytes.len() as u64).to_be_bytes();
    let (tenant, upstream) = (place.rule.tenant.as_str().as_bytes(), place.rule.upstream.as_bytes());
    let (bucket, key) = (place.upstream_name.as_bytes(), key.as_bytes());
    sha256(&[
        &lp(tenant),
        tenant,
        &lp(upstream),
        upstream,
        &lp(bucket),
        bucket,
        &lp(key),
        key,
        &lp(etag.as_bytes()),
        etag.as_bytes(),
        &total.to_be_bytes(),
        &sha256(&[b"sealgate tail cache", envelope.dek().expose_secret()]),
    ])
}

/// Reads and opens the tail of any object: one request, a second for a long one. `source` is pinned to its ETag.
pub(super) async fn read(source: &Source, envelope: &Envelope, total: u64) -> Result<Tail, Failure> {
    let too_short = || Failure::integrity("the object is shorter than any tail");
    let first = FIRST_LEN.min(total);
    let answer = source.request(Method::GET, Some(&format!("bytes=-{first}")), None).await.map_err(changed)?;
    let shape = Shape::of(&answer)?;
    let wanted = total.checked_sub(first).ok_or_else(too_short)?;
    if (shape.start, shape.end, shape.total) != (wanted, total, total) {
        return Err(Failure::integrity("the store answers another range than was asked for"));
    }
    let mut bytes = whole(answer.body, first).await?;
    let footer = bytes.last_chunk::<FOOTER_LEN>().ok_or_else(too_short)?;
    let footer = Footer::parse(footer, total)?;
    let tail_len = footer.tail_len();
    if tail_len > MAX_TAIL_LEN || tail_len > total {
        return Err(Failure::integrity("the tail is longer than any"));
    }
    if tail_len > first {
        let start = total.checked_sub(tail_len).ok_or_else(too_short)?;
        let range = CiphertextRange::new(start, wanted).ok_or_else(too_short)?;
        let mut front = whole(source.range(range, total).await?, range.len()).await?;
        front.extend_from_slice(&bytes);
        bytes = front;
    }
    let at = bytes.len().checked_sub(usize::try_from(tail_len).map_err(|_| too_short())?).ok_or_else(too_short)?;
    let opened = footer.open(envelope.dek(), bytes.get_mut(at..).unwrap_or_default())?;
    let layout = Layout::of_tail(envelope, &opened)?;
    Ok(Tail { layout, opened })
}

/// A body of exactly `len` bytes.
async fn whole(body: crate::net::body::Body, len: u64) -> Result<Vec<u8>, Failure> {
    let limit = usize::try_from(len).map_err(|_| Failure::ours("a tail beyond memory"))?;
    let bytes = collect(body, limit).await.map_err(|_| Failure::upstream("the store's body broke off"))?;
    if bytes.len() as u64 != len {
        return Err(Failure::integrity("the store's body is shorter than it said"));
    }
    Ok(bytes.to_vec())
}
