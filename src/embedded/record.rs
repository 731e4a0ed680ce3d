//! How rows are written: a version byte, big-endian integers, length-prefixed bytes. A later version of a row gets a
//! new byte and a second branch here; rows need not be rewritten for it.

use super::error::StoreError;
use super::object::{ETag, ObjectInfo, ObjectMeta};
use crate::clock::Timestamp;

const VERSION: u8 = 1;
const DAMAGED: StoreError = StoreError::Corrupt("a row of the index is malformed");

/// A run of bytes in a body file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// Where an object's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyRef {
    Empty,
    One(Segment),
    /// A row of the table of layouts, owned by this object alone.
    Layout(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectRow {
    pub(super) size: u64,
    pub(super) md5: [u8; 16],
    pub(super) parts: u32,
    pub(super) modified: Timestamp,
    pub(super) sequence: u64,
    pub(super) body: BodyRef,
    pub(super) meta: ObjectMeta,
}

/// What a listing needs of an object: the row's head, without its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectHead {
    pub(super) size: u64,
    pub(super) etag: ETag,
    pub(super) modified: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LayoutPart {
    pub(super) number: u32,
    pub(super) size: u64,
    pub(super) segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartRow {
    pub(super) size: u64,
    pub(super) md5: [u8; 16],
    pub(super) modified: Timestamp,
    pub(super) segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UploadRow {
    /// Names the upload's parts in their table.
    pub(super) serial: u64,
    pub(super) initiated: Timestamp,
    pub(super) meta: ObjectMeta,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BucketRow {
    pub(super) id: u64,
    pub(super) created: Timestamp,
}

/// A body file that is named by `refs` segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileRow {
    pub(super) refs: u32,
    pub(super) len: u64,
}

struct Writer(Vec<u8>);

impl Writer {
    fn new() -> Self {
        Self(vec![VERSION])
    }

    fn u32(mut self, n: u32) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    fn u64(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A count or length; what is stored is bounded far below 2^32, so that the bound is never reached.
    fn len(self, len: usize) -> Self {
        self.u32(u32::try_from(len).unwrap_or(u32::MAX))
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        self.len(bytes.len()).raw(bytes)
    }

    fn segment(self, s: Segment) -> Self {
        self.u64(s.number).u64(s.offset).u64(s.len)
    }

    fn segments(self, segments: &[Segment]) -> Self {
        segments.iter().fold(self.len(segments.len()), |w, s| w.segment(*s))
    }

    fn pairs(self, pairs: &[(String, String)]) -> Self {
        pairs.iter().fold(self.len(pairs.len()), |w, (n, v)| w.bytes(n.as_bytes()).bytes(v.as_bytes()))
    }

    fn meta(self, meta: &ObjectMeta) -> Self {
        self.pairs(&meta.headers).pairs(&meta.user).bytes(&meta.opaque)
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(row: &'a [u8]) -> Result<Self, StoreError> {
        match row.split_first() {
            Some((&VERSION, rest)) => Ok(Self(rest)),
            _ => Err(StoreError::Corrupt("a row of the index is of an unknown version")),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], StoreError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(DAMAGED)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(DAMAGED)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, StoreError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, StoreError> {
        self.array().map(u64::from_be_bytes)
    }

    fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.u64().map(Timestamp::from_unix_millis)
    }

    /// A count of items of at least `each` bytes: never more than the row has room for.
    fn count(&mut self, each: usize) -> Result<usize, StoreError> {
        let n = usize::try_from(self.u32()?).map_err(|_| DAMAGED)?;
        if n <= self.0.len() / each { Ok(n) } else { Err(DAMAGED) }
    }

    fn bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let len = self.count(1)?;
        self.take(len)
    }

    fn segment(&mut self) -> Result<Segment, StoreError> {
        Ok(Segment { number: self.u64()?, offset: self.u64()?, len: self.u64()? })
    }

    fn segments(&mut self) -> Result<Vec<Segment>, StoreError> {
        let n = self.count(24)?;
        (0..n).map(|_| self.segment()).collect()
    }

    fn text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| DAMAGED)
    }

    fn pairs(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        let n = self.count(8)?;
        (0..n).map(|_| Ok((self.text()?, self.text()?))).collect()
    }

    fn meta(&mut self) -> Result<ObjectMeta, StoreError> {
        Ok(ObjectMeta { headers: self.pairs()?, user: self.pairs()?, opaque: self.bytes()?.to_vec() })
    }

    fn end<T>(&self, row: T) -> Result<T, StoreError> {
        if self.0.is_empty() { Ok(row) } else { Err(DAMAGED) }
    }
}

impl ObjectRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let head = Writer::new()
            .u64(self.size)
            .raw(&self.md5)
            .u32(self.parts)
            .u64(self.modified.unix_millis())
            .u64(self.sequence);
        let body = match self.body {
            BodyRef::Empty => head.raw(&[0]),
            BodyRef::One(segment) => head.raw(&[1]).segment(segment),
            BodyRef::Layout(id) => head.raw(&[2]).u64(id),
        };
        body.meta(&self.meta).0
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut r = Reader::new(row)?;
        let (size, md5, parts) = (r.u64()?, r.array()?, r.u32()?);
        let (modified, sequence) = (r.time()?, r.u64()?);
        let body = match r.array()? {
            [0] => BodyRef::Empty,
            [1] => BodyRef::One(r.segment()?),
            [2] => BodyRef::Layout(r.u64()?),
            _ => return Err(DAMAGED),
        };
        let meta = r.meta()?;
        r.end(Self { size, md5, parts, modified, sequence, body, meta })
    }

    pub(super) fn etag(&self) -> ETag {
        ETag::of(self.md5, self.parts)
    }

    pub(super) fn info(self) -> ObjectInfo {
        ObjectInfo {
            size: self.size,
            etag: self.etag(),
            modified: self.modified,
            parts: (self.parts > 0).then_some(self.parts),
            sequence: self.sequence,
            meta: self.meta,
        }
    }
}

impl ObjectHead {
    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut r = Reader::new(row)?;
        let (size, md5, parts) = (r.u64()?, r.array()?, r.u32()?);
        Ok(Self { size, etag: ETag::of(md5, parts), modified: r.time()? })
    }
}

pub(super) fn encode_layout(parts: &[LayoutPart]) -> Vec<u8> {
    let head = Writer::new().len(parts.len());
    parts.iter().fold(head, |w, p| w.u32(p.number).u64(p.size).segments(&p.segments)).0
}

pub(super) fn decode_layout(row: &[u8]) -> Result<Vec<LayoutPart>, StoreError> {
    let mut r = Reader::new(row)?;
    let n = r.count(16)?;
    let part = |r: &mut Reader| Ok(LayoutPart { number: r.u32()?, size: r.u64()?, segments: r.segments()? });
    let parts = (0..n).map(|_| part(&mut r)).collect::<Result<_, StoreError>>()?;
    r.end(parts)
}

impl PartRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        Writer::new().u64(self.size).raw(&self.md5).u64(self.modified.unix_millis()).segments(&self.segments).0
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut r = Reader::new(row)?;
        let row = Self { size: r.u64()?, md5: r.array()?, modified: r.time()?, segments: r.segments()? };
        r.end(row)
    }
}

impl UploadRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        Writer::new().u64(self.serial).u64(self.initiated.unix_millis()).meta(&self.meta).0
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut r = Reader::new(row)?;
        let row = Self { serial: r.u64()?, initiated: r.time()?, meta: r.meta()? };
        r.end(row)
    }
}

impl BucketRow {
    pub(super) fn encode(self) -> Vec<u8> {
        Writer::new().u64(self.id).u64(self.created.unix_millis()).0
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut r = Reader::new(row)?;
        let row = Self { id: r.u64()?, created: r.time()? };
        r.end(row)
    }
}

impl FileRow {
    pub(super) fn encode(self) -> Vec<u8> {
        Writer::new().u32(self.refs).u64(self.len).0
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut r = Reader::new(row)?;
        let row = Self { refs: r.u32()?, len: r.u64()? };
        r.end(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_a_round_trip_and_no_truncation_of_one_is_read() {
        let segment = |n| Segment { number: n, offset: 7, len: n * 3 };
        let meta = ObjectMeta {
            headers: vec![("content-type".into(), "text/plain".into()), (String::new(), "ü".into())],
            user: vec![("a".into(), String::new())],
            opaque: vec![0, 255],
        };
        let at = Timestamp::from_unix_millis(1_700_000_000_123);
        for body in [BodyRef::Empty, BodyRef::One(segment(3)), BodyRef::Layout(9)] {
            let row =
                ObjectRow { size: 9, md5: [7; 16], parts: 2, modified: at, sequence: 5, body, meta: meta.clone() };
            let bytes = row.encode();
            assert_eq!(ObjectRow::decode(&bytes).unwrap(), row);
            assert_eq!(ObjectHead::decode(&bytes).unwrap().etag, row.etag());
            assert!((0..bytes.len()).all(|n| ObjectRow::decode(&bytes[..n]).is_err()));
            assert!(ObjectRow::decode(&[&bytes[..], b"x"].concat()).is_err());
            let mut other = bytes.clone();
            other[0] = 2;
            assert!(ObjectRow::decode(&other).is_err());
        }
        let part = PartRow { size: 1, md5: [1; 16], modified: at, segments: vec![segment(1), segment(2)] };
        assert_eq!(PartRow::decode(&part.encode()).unwrap(), part);
        let upload = UploadRow { serial: 4, initiated: at, meta };
        assert_eq!(UploadRow::decode(&upload.encode()).unwrap(), upload);
        let layout = vec![
            LayoutPart { number: 3, size: 0, segments: vec![] },
            LayoutPart { number: 9, size: 4, segments: vec![segment(1)] },
        ];
        let bytes = encode_layout(&layout);
        assert_eq!(decode_layout(&bytes).unwrap(), layout);
        assert!((0..bytes.len()).all(|n| decode_layout(&bytes[..n]).is_err()));
        let bucket = BucketRow { id: 3, created: at };
        assert_eq!(BucketRow::decode(&bucket.encode()).unwrap(), bucket);
        let file = FileRow { refs: 3, len: 9 };
        assert_eq!(FileRow::decode(&file.encode()).unwrap(), file);
    }

    #[test]
    fn a_row_that_promises_more_than_it_has_reserves_nothing() {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&u32::MAX.to_be_bytes());
        assert!(decode_layout(&bytes).is_err());
    }
}
