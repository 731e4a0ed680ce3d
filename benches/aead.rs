//! The primitives side by side, 1 KiB to 1 MiB: `cargo bench --bench aead`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sealgate::crypto::aead::{Aead, ErasingAes256Gcm, RingAes128Gcm, RingAes256Gcm};
use sealgate::crypto::kdf::Prk;
use sealgate::digest::{HmacSha512, sha256};
use std::hint::black_box;

const SIZES: [usize; 6] = [1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];

fn one<A: Aead>(c: &mut Criterion, name: &str) {
    let cipher = A::new(&[7; 32][..A::KEY_LEN]).ok().unwrap();
    let mut group = c.benchmark_group(name);
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let mut text = vec![1; size];
        group.bench_function(BenchmarkId::new("seal", size), |b| {
            b.iter(|| cipher.seal_in_place(&[1; 12], &[], black_box(&mut text)).unwrap());
        });
        let mut sealed = vec![1; size];
        let tag = cipher.seal_in_place(&[1; 12], &[], &mut sealed).unwrap();
        sealed.extend_from_slice(&tag);
        let mut buffer = sealed.clone();
        group.bench_function(BenchmarkId::new("open, with one copy", size), |b| {
            b.iter(|| {
                buffer.copy_from_slice(&sealed);
                cipher.open_in_place(&[1; 12], &[], black_box(&mut buffer)).unwrap().len()
            });
        });
    }
    group.finish();
}

fn aead(c: &mut Criterion) {
    one::<RingAes256Gcm>(c, "AES-256-GCM, ring");
    one::<ErasingAes256Gcm>(c, "AES-256-GCM, aes-gcm");
    one::<RingAes128Gcm>(c, "AES-128-GCM, ring");
    let mut group = c.benchmark_group("derivation");
    let prk = Prk::new(&[7; 32]);
    group.bench_function("HKDF-Expand-SHA-512, 76 bytes", |b| {
        b.iter(|| prk.expand::<76>(&[b"sealgate/v1/bench\0", black_box(&[1; 34])]));
    });
    group.bench_function("HMAC-SHA-512 keyed, 200 bytes", |b| {
        let mac = HmacSha512::new(&[7; 32]);
        b.iter(|| mac.mac([&black_box([1u8; 200])[..]]));
    });
    group.bench_function("SHA-256, 100 bytes", |b| b.iter(|| sha256(&[&black_box([1u8; 100])])));
    group.finish();
}

criterion_group!(benches, aead);
criterion_main!(benches);
