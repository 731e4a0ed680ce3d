//! The hot core: our segment code against bare `ring` on the same buffer, and what a small object costs whole.
//!
//! `cargo bench --bench seal_open`. Speed is told as ratios of runs that take turns, because only those hold on a
//! machine whose speed drifts. `SEALGATE_BENCH_STRICT=1` makes a missed bar (0.97) an error.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::indexing_slicing
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sealgate::crypto::random::Fresh;
use sealgate::crypto::wrap::{DataKey, Kek, KekId, WrapAlg};
use sealgate::format::context::Context;
use sealgate::format::envelope::{Draft, HeaderBody, Unverified};
use sealgate::format::metadata::{ContentField, Metadata};
use sealgate::format::open::{BodyReader, Opened};
use sealgate::format::seal::ObjectSealer;
use sealgate::format::segment::{SegmentId, SegmentOpener, SegmentSealer};
use sealgate::format::suite::{CHUNK_LEN, Kind};
use sealgate::format::trailer::{Digests, record_nonce};
use sealgate::object::{Address, ObjectKey};
use sealgate::secret::Secret;

/// Counts allocations, so that the cost of a small object is told in them too.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[expect(unsafe_code, reason = "a global allocator can only be written so; it adds a counter to the system's own")]
// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(run: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    run();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

const BAR: f64 = 0.97;
const CHUNKS_PER_RUN: usize = 64;

fn dek() -> DataKey {
    DataKey::new(Secret::from_bytes([5; 32]))
}

fn segment(chunks: usize) -> SegmentId {
    SegmentId { kind: Kind::Simple, part_no: 0, p: (chunks * CHUNK_LEN) as u64, salt: [6; 24] }
}

fn bare() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[9; 32]).unwrap())
}

fn nonce(index: u64) -> Nonce {
    let mut bytes = [3; 12];
    bytes[4..].copy_from_slice(&index.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// Speed of `ours` relative to `theirs`: the median over runs that take turns.
fn ratio(rounds: usize, mut ours: impl FnMut() -> Duration, mut theirs: impl FnMut() -> Duration) -> f64 {
    let mut ratios: Vec<f64> = (0..rounds)
        .map(|round| {
            let (a, b) = if round % 2 == 0 {
                let a = ours();
                (a, theirs())
            } else {
                let b = theirs();
                (ours(), b)
            };
            b.as_secs_f64() / a.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Seals and opens the same 64 KiB buffer again and again, by our segment code and by bare ring.
fn segment_against_ring(rounds: usize) -> [(&'static str, f64); 2] {
    let dek = dek();
    let mut buffer = vec![1u8; CHUNK_LEN + 16];
    let mut other = buffer.clone();
    let key = bare();
    let seal = ratio(
        rounds,
        || {
            let mut sealer = SegmentSealer::danger_new(&dek, &segment(CHUNKS_PER_RUN)).unwrap();
            time(|| {
                for _ in 0..CHUNKS_PER_RUN {
                    let (text, tag_at) = buffer.split_at_mut(CHUNK_LEN);
                    tag_at.copy_from_slice(&sealer.seal_chunk(black_box(text)).unwrap());
                }
            })
        },
        || {
            time(|| {
                for index in 0..CHUNKS_PER_RUN as u64 {
                    let (text, tag_at) = other.split_at_mut(CHUNK_LEN);
                    let tag = key.seal_in_place_separate_tag(nonce(index), Aad::empty(), black_box(text)).unwrap();
                    tag_at.copy_from_slice(tag.as_ref());
                }
            })
        },
    );
    let sealed = sealed_chunks(&dek);
    let mut bare_sealed = vec![vec![1u8; CHUNK_LEN]; CHUNKS_PER_RUN];
    for (index, chunk) in bare_sealed.iter_mut().enumerate() {
        key.seal_in_place_append_tag(nonce(index as u64), Aad::empty(), chunk).unwrap();
    }
    let open = ratio(
        rounds,
        || {
            let opener = SegmentOpener::new(&dek, &segment(CHUNKS_PER_RUN), 0).unwrap();
            let mut chunks = sealed.clone();
            time(|| {
                for (index, chunk) in chunks.iter_mut().enumerate() {
                    black_box(opener.open(index as u64, chunk).unwrap());
                }
            })
        },
        || {
            let mut chunks = bare_sealed.clone();
            time(|| {
                for (index, chunk) in chunks.iter_mut().enumerate() {
                    black_box(key.open_in_place(nonce(index as u64), Aad::empty(), chunk).unwrap());
                }
            })
        },
    );
    [("seal", seal), ("open", open)]
}

fn sealed_chunks(dek: &DataKey) -> Vec<Vec<u8>> {
    let mut sealer = SegmentSealer::danger_new(dek, &segment(CHUNKS_PER_RUN)).unwrap();
    (0..CHUNKS_PER_RUN)
        .map(|_| {
            let mut chunk = vec![1u8; CHUNK_LEN];
            let tag = sealer.seal_chunk(&mut chunk).unwrap();
            chunk.extend_from_slice(&tag);
            chunk
        })
        .collect()
}

struct Small {
    kek: Kek,
    context: Context,
    metadata: Metadata,
}

impl Small {
    fn new() -> Self {
        let address = Address {
            tenant: "tenant-a".parse().unwrap(),
            bucket: "bucket-1".parse().unwrap(),
            key: ObjectKey::new(*b"some/ordinary/object-key.json").unwrap(),
        };
        let mut metadata = Metadata::default();
        metadata.set_content(ContentField::Type, b"application/json").unwrap();
        let kek = Kek::new(KekId::from_bytes([4; 16]), WrapAlg::Local, Secret::from_bytes([1; 32])).unwrap();
        Self { kek, context: Context::object(&address), metadata }
    }

    /// All that a PUT of a small object seals: header, chunk, record, tail. `body` is its buffer.
    fn seal(&self, body: &mut Vec<u8>, p: usize) -> String {
        let dek = dek();
        let draft = Draft {
            body: HeaderBody::Simple { salt: [6; 24], p: p as u64 },
            hdr_nonce: Fresh::danger_from_bytes([8; 24]),
            metadata: &self.metadata,
            context: &self.context,
        };
        let wrapped = self.kek.wrap(&draft.binding(), &dek).unwrap();
        let header = draft.seal(&wrapped, &dek).unwrap().to_text();
        let sealer = ObjectSealer::new(&dek, Fresh::danger_from_bytes([6; 24]), p as u64).unwrap();
        let (tag, finisher) = sealer.seal_last(&mut body[..p]).unwrap();
        body.extend_from_slice(&tag);
        let record = self.kek.seal_record(1, "tenant-a", &record_nonce(&dek), &dek).unwrap();
        let tail = finisher.finish(&dek, Digests::default(), Some(&record)).unwrap();
        body.resize(body.len() + usize::try_from(tail.padding).unwrap(), 0);
        body.extend_from_slice(&tail.bytes);
        header
    }

    /// All that a GET of it opens: header, chunk, padding and tail.
    fn open(&self, header: &str, body: &mut [u8]) -> usize {
        let unverified = Unverified::parse_text(header).ok().unwrap();
        let dek = self.kek.unwrap(&unverified.binding(&self.context), unverified.wrapped()).ok().unwrap();
        let envelope = unverified.verify_object(dek, &self.context).ok().unwrap();
        let mut reader = BodyReader::simple(envelope.into(), body.len() as u64).ok().unwrap();
        let mut len = 0;
        let mut rest = body;
        let mut held = None;
        while let Some(want) = reader.wants() {
            // a small object's pieces follow each other
            let (piece, behind) = std::mem::take(&mut rest).split_at_mut(want.len);
            rest = behind;
            match reader.accept(piece).unwrap() {
                Opened::Nothing => {}
                Opened::Plaintext(text) => len += text.len(),
                Opened::Held(text) => held = Some(text),
            }
        }
        let verified = reader.finish().unwrap();
        len + held.map_or(0, |held| held.release(&verified).len())
    }
}

fn small_object(c: &mut Criterion) {
    let small = Small::new();
    let mut group = c.benchmark_group("object of 4 KiB, header and tail included");
    group.throughput(Throughput::Bytes(4096));
    let mut body = Vec::with_capacity(8192);
    group.bench_function("seal", |b| {
        b.iter(|| {
            body.clear();
            body.resize(4096, 1);
            small.seal(&mut body, 4096)
        });
    });
    let header = small.seal(&mut body_of(4096), 4096);
    let mut sealed = body_of(4096);
    small.seal(&mut sealed, 4096);
    let mut buffer = sealed.clone();
    group.bench_function("open", |b| {
        b.iter(|| {
            buffer.copy_from_slice(&sealed);
            small.open(&header, &mut buffer)
        });
    });
    group.finish();
    let mut body = body_of(4096);
    let mut header = String::new();
    let sealing = allocations(|| header = small.seal(&mut body, 4096));
    let opening = allocations(|| {
        black_box(small.open(&header, &mut body));
    });
    println!("object of 4 KiB: {sealing} allocations to seal, {opening} to open");
}

fn body_of(p: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(2 * p);
    body.resize(p, 1);
    body
}

fn chunks(c: &mut Criterion) {
    let dek = dek();
    let mut group = c.benchmark_group("chunk of 64 KiB");
    group.throughput(Throughput::Bytes(CHUNK_LEN as u64));
    let mut buffer = vec![1u8; CHUNK_LEN];
    group.bench_function("seal", |b| {
        let mut sealer = SegmentSealer::danger_new(&dek, &segment(1 << 24)).unwrap();
        b.iter(|| sealer.seal_chunk(black_box(&mut buffer)).unwrap());
    });
    let sealed = sealed_chunks(&dek).swap_remove(0);
    let opener = SegmentOpener::new(&dek, &segment(CHUNKS_PER_RUN), 0).unwrap();
    let mut buffer = sealed.clone();
    group.bench_function("open, with one copy", |b| {
        b.iter(|| {
            buffer.copy_from_slice(&sealed);
            opener.open(0, black_box(&mut buffer)).unwrap().len()
        });
    });
    group.finish();
}

fn main() {
    let smoke = std::env::args().any(|arg| arg == "--test");
    let mut missed = false;
    for (what, ratio) in segment_against_ring(if smoke { 9 } else { 401 }) {
        let verdict = if ratio >= BAR { "met" } else { "missed" };
        missed |= ratio < BAR;
        println!("segment {what}, 64 KiB: {ratio:.3} of bare ring (bar {BAR}: {verdict})");
    }
    let mut criterion = Criterion::default().configure_from_args();
    chunks(&mut criterion);
    small_object(&mut criterion);
    criterion.final_summary();
    if missed && std::env::var_os("SEALGATE_BENCH_STRICT").is_some() {
        std::process::exit(1);
    }
}
