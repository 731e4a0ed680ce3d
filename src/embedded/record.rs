//! How rows are written: a version byte, big-endian integers, length-prefixed bytes. A later version of a row gets a
//! new byte and a second branch here; rows need not be rewritten for it.

use super::error::StoreError;
use super::object::{ETag, ObjectInfo, ObjectMeta};
use super::version::{
    BucketLock, DefaultRetention, Extras, ObjectLock, Period, Retention, RetentionMode, Tags, VersionId, Versioning,
};
use crate::clock::Timestamp;

/// What all rows were once written as, and those without versions, tags and locks still are.
const PLAIN: u8 = 1;
/// Rows of objects, uploads and buckets that know of versions, tags and locks.
const VERSIONED: u8 = 2;
const DAMAGED: StoreError = StoreError::Corrupt("a row of the index is malformed");
const UNKNOWN: StoreError = StoreError::Corrupt("a row of the index is of an unknown version");

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
    /// Whether its version is `null`, not one of its own.
    pub(super) is_null: bool,
    pub(super) extras: Extras,
}

/// The mark that an object was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MarkerRow {
    pub(super) modified: Timestamp,
    pub(super) sequence: u64,
    pub(super) is_null: bool,
}

/// A version that is not the current object of its key: an older object, or a delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VersionRow {
    Object(ObjectRow),
    Marker(MarkerRow),
}

/// What a listing needs of an object: the row's head, without its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectHead {
    pub(super) size: u64,
    pub(super) etag: ETag,
    pub(super) modified: Timestamp,
    pub(super) version: VersionId,
    pub(super) sequence: u64,
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
    pub(super) extras: Extras,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BucketRow {
    pub(super) id: u64,
    pub(super) created: Timestamp,
    pub(super) versioning: Versioning,
    pub(super) lock: Option<BucketLock>,
    pub(super) tags: Tags,
}

/// A body file that is named by `refs` segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileRow {
    pub(super) refs: u32,
    pub(super) len: u64,
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(version: u8) -> Self {
        Self(vec![version])
    }

    fn u8(mut self, n: u8) -> Self {
        self.0.push(n);
        self
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

    fn extras(self, Extras { tags, lock }: &Extras) -> Self {
        let mode = lock.retention.map_or(0, |retention| mode_code(retention.mode));
        let until = lock.retention.map_or(0, |retention| retention.until.unix_millis());
        self.pairs(tags.pairs()).u8(lock.legal_hold.map_or(0, |on| 1 + u8::from(on))).u8(mode).u64(until)
    }
}

/// 0 is for none.
const fn mode_code(mode: RetentionMode) -> u8 {
    match mode {
        RetentionMode::Governance => 1,
        RetentionMode::Compliance => 2,
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads a row that has only ever been written as [`PLAIN`].
    fn new(row: &'a [u8]) -> Result<Self, StoreError> {
        match Self::versioned(row)? {
            (reader, false) => Ok(reader),
            _ => Err(UNKNOWN),
        }
    }

    /// Reads a row, and whether it is [`VERSIONED`].
    fn versioned(row: &'a [u8]) -> Result<(Self, bool), StoreError> {
        match row.split_first() {
            Some((&PLAIN, rest)) => Ok((Self(rest), false)),
            Some((&VERSIONED, rest)) => Ok((Self(rest), true)),
            _ => Err(UNKNOWN),
        }
    }

    fn flag(&mut self) -> Result<bool, StoreError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(DAMAGED),
        }
    }

    fn mode(&mut self) -> Result<Option<RetentionMode>, StoreError> {
        match self.array()? {
            [0] => Ok(None),
            [1] => Ok(Some(RetentionMode::Governance)),
            [2] => Ok(Some(RetentionMode::Compliance)),
            _ => Err(DAMAGED),
        }
    }

    fn extras(&mut self) -> Result<Extras, StoreError> {
        let tags = Tags::stored(self.pairs()?);
        let legal_hold = match self.array()? {
            [0] => None,
            [1] => Some(false),
            [2] => Some(true),
            _ => return Err(DAMAGED),
        };
        let (mode, until) = (self.mode()?, self.time()?);
        let retention = mode.map(|mode| Retention { mode, until });
        Ok(Extras { tags, lock: ObjectLock { retention, legal_hold } })
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
        let head = Writer::new(VERSIONED)
            .u64(self.size)
            .raw(&self.md5)
            .u32(self.parts)
            .u64(self.modified.unix_millis())
            .u64(self.sequence)
            .u8(u8::from(self.is_null));
        let body = match self.body {
            BodyRef::Empty => head.raw(&[0]),
            BodyRef::One(segment) => head.raw(&[1]).segment(segment),
            BodyRef::Layout(id) => head.raw(&[2]).u64(id),
        };
        body.meta(&self.meta).extras(&self.extras).0
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let (mut r, is_versioned) = Reader::versioned(row)?;
        let (size, md5, parts) = (r.u64()?, r.array()?, r.u32()?);
        let (modified, sequence) = (r.time()?, r.u64()?);
        // what is older than versions is the version null
        let is_null = if is_versioned { r.flag()? } else { true };
        let body = match r.array()? {
            [0] => BodyRef::Empty,
            [1] => BodyRef::One(r.segment()?),
            [2] => BodyRef::Layout(r.u64()?),
            _ => return Err(DAMAGED),
        };
        let meta = r.meta()?;
        let extras = if is_versioned { r.extras()? } else { Extras::default() };
        r.end(Self { size, md5, parts, modified, sequence, body, meta, is_null, extras })
    }

    pub(super) fn etag(&self) -> ETag {
        ETag::of(self.md5, self.parts)
    }

    pub(super) fn version(&self) -> VersionId {
        VersionId::of(self.sequence, self.is_null)
    }

    /// What is known of it in a bucket that keeps versions, or does not.
    pub(super) fn info(self, versioning: Versioning) -> ObjectInfo {
        ObjectInfo {
            version: (versioning != Versioning::Never).then_some(self.version()),
            size: self.size,
            etag: self.etag(),
            modified: self.modified,
            parts: (self.parts > 0).then_some(self.parts),
            sequence: self.sequence,
            meta: self.meta,
            extras: self.extras,
        }
    }
}

impl ObjectHead {
    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let (mut r, is_versioned) = Reader::versioned(row)?;
        let (size, md5, parts) = (r.u64()?, r.array()?, r.u32()?);
        let (modified, sequence) = (r.time()?, r.u64()?);
        let is_null = if is_versioned { r.flag()? } else { true };
        let (etag, version) = (ETag::of(md5, parts), VersionId::of(sequence, is_null));
        Ok(Self { size, etag, modified, version, sequence })
    }
}

impl MarkerRow {
    /// What a request for an object is told that meets it, by its id or as the newest version.
    pub(super) const fn refusal(self, by_id: bool) -> StoreError {
        let version = VersionId::of(self.sequence, self.is_null);
        StoreError::DeleteMarker { version, modified: self.modified, by_id }
    }
}

impl VersionRow {
    pub(super) const fn sequence(&self) -> u64 {
        match self {
            Self::Object(object) => object.sequence,
            Self::Marker(marker) => marker.sequence,
        }
    }

    pub(super) fn version(&self) -> VersionId {
        match self {
            Self::Object(object) => object.version(),
            Self::Marker(marker) => VersionId::of(marker.sequence, marker.is_null),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Object(object) => Writer::new(PLAIN).u8(0).raw(&object.encode()).0,
            Self::Marker(marker) => {
                let head = Writer::new(PLAIN).u8(1).u64(marker.modified.unix_millis()).u64(marker.sequence);
                head.u8(u8::from(marker.is_null)).0
            }
        }
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut r = Reader::new(row)?;
        if !r.flag()? {
            return Ok(Self::Object(ObjectRow::decode(r.0)?));
        }
        let marker = MarkerRow { modified: r.time()?, sequence: r.u64()?, is_null: r.flag()? };
        r.end(Self::Marker(marker))
    }
}

/// What a listing needs of a version.
pub(super) enum VersionHead {
    Object(ObjectHead),
    Marker(MarkerRow),
}

impl VersionHead {
    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut r = Reader::new(row)?;
        if !r.flag()? {
            return Ok(Self::Object(ObjectHead::decode(r.0)?));
        }
        match VersionRow::decode(row)? {
            VersionRow::Marker(marker) => Ok(Self::Marker(marker)),
            VersionRow::Object(_) => Err(DAMAGED),
        }
    }
}

pub(super) fn encode_layout(parts: &[LayoutPart]) -> Vec<u8> {
    let head = Writer::new(PLAIN).len(parts.len());
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
        Writer::new(PLAIN).u64(self.size).raw(&self.md5).u64(self.modified.unix_millis()).segments(&self.segments).0
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut r = Reader::new(row)?;
        let row = Self { size: r.u64()?, md5: r.array()?, modified: r.time()?, segments: r.segments()? };
        r.end(row)
    }
}

impl UploadRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let head = Writer::new(VERSIONED).u64(self.serial).u64(self.initiated.unix_millis());
        head.meta(&self.meta).extras(&self.extras).0
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let (mut r, is_versioned) = Reader::versioned(row)?;
        let (serial, initiated, meta) = (r.u64()?, r.time()?, r.meta()?);
        let extras = if is_versioned { r.extras()? } else { Extras::default() };
        r.end(Self { serial, initiated, meta, extras })
    }
}

impl BucketRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let versioning = match self.versioning {
            Versioning::Never => 0,
            Versioning::Enabled => 1,
            Versioning::Suspended => 2,
        };
        let default = self.lock.and_then(|lock| lock.default);
        let (unit, n) = match default.map(|default| default.period) {
            None => (0, 0),
            Some(Period::Days(n)) => (1, n),
            Some(Period::Years(n)) => (2, n),
        };
        Writer::new(VERSIONED)
            .u64(self.id)
            .u64(self.created.unix_millis())
            .u8(versioning)
            .u8(u8::from(self.lock.is_some()))
            .u8(default.map_or(0, |default| mode_code(default.mode)))
            .u8(unit)
            .u32(n)
            .pairs(self.tags.pairs())
            .0
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let (mut r, is_versioned) = Reader::versioned(row)?;
        let (id, created) = (r.u64()?, r.time()?);
        if !is_versioned {
            let (versioning, lock, tags) = (Versioning::Never, None, Tags::default());
            return r.end(Self { id, created, versioning, lock, tags });
        }
        let versioning = match r.array()? {
            [0] => Versioning::Never,
            [1] => Versioning::Enabled,
            [2] => Versioning::Suspended,
            _ => return Err(DAMAGED),
        };
        let (is_locked, mode) = (r.flag()?, r.mode()?);
        let period = match (r.array()?, r.u32()?) {
            ([0], _) => None,
            ([1], n) => Some(Period::Days(n)),
            ([2], n) => Some(Period::Years(n)),
            _ => return Err(DAMAGED),
        };
        let default = mode.zip(period).map(|(mode, period)| DefaultRetention { mode, period });
        let tags = Tags::stored(r.pairs()?);
        r.end(Self { id, created, versioning, lock: is_locked.then_some(BucketLock { default }), tags })
    }
}

impl FileRow {
    pub(super) fn encode(self) -> Vec<u8> {
        Writer::new(PLAIN).u32(self.refs).u64(self.len).0
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
        let extras = Extras {
            tags: Tags::of_object(vec![("k".into(), "v".into()), ("l".into(), String::new())]).unwrap(),
            lock: ObjectLock {
                retention: Some(Retention { mode: RetentionMode::Compliance, until: at }),
                legal_hold: Some(false),
            },
        };
        for body in [BodyRef::Empty, BodyRef::One(segment(3)), BodyRef::Layout(9)] {
            let row = ObjectRow {
                size: 9,
                md5: [7; 16],
                parts: 2,
                modified: at,
                sequence: 5,
                body,
                meta: meta.clone(),
                is_null: body == BodyRef::Empty,
                extras: extras.clone(),
            };
            let bytes = row.encode();
            assert_eq!(ObjectRow::decode(&bytes).unwrap(), row);
            assert_eq!(ObjectHead::decode(&bytes).unwrap().etag, row.etag());
            assert!((0..bytes.len()).all(|n| ObjectRow::decode(&bytes[..n]).is_err()));
            assert!(ObjectRow::decode(&[&bytes[..], b"x"].concat()).is_err());
            let mut other = bytes.clone();
            other[0] = 3;
            assert!(ObjectRow::decode(&other).is_err());
            let version = VersionRow::Object(row);
            assert_eq!(VersionRow::decode(&version.encode()).unwrap(), version);
        }
        let part = PartRow { size: 1, md5: [1; 16], modified: at, segments: vec![segment(1), segment(2)] };
        assert_eq!(PartRow::decode(&part.encode()).unwrap(), part);
        let upload = UploadRow { serial: 4, initiated: at, meta: meta.clone(), extras: extras.clone() };
        assert_eq!(UploadRow::decode(&upload.encode()).unwrap(), upload);
        let layout = vec![
            LayoutPart { number: 3, size: 0, segments: vec![] },
            LayoutPart { number: 9, size: 4, segments: vec![segment(1)] },
        ];
        let bytes = encode_layout(&layout);
        assert_eq!(decode_layout(&bytes).unwrap(), layout);
        assert!((0..bytes.len()).all(|n| decode_layout(&bytes[..n]).is_err()));
        let default = DefaultRetention { mode: RetentionMode::Governance, period: Period::Years(9) };
        for (versioning, lock) in [
            (Versioning::Never, None),
            (Versioning::Suspended, None),
            (Versioning::Enabled, Some(BucketLock { default: None })),
            (Versioning::Enabled, Some(BucketLock { default: Some(default) })),
        ] {
            let bucket = BucketRow { id: 3, created: at, versioning, lock, tags: extras.tags.clone() };
            let bytes = bucket.encode();
            assert_eq!(BucketRow::decode(&bytes).unwrap(), bucket);
            assert!((0..bytes.len()).all(|n| BucketRow::decode(&bytes[..n]).is_err()));
        }
        let marker = VersionRow::Marker(MarkerRow { modified: at, sequence: 7, is_null: true });
        assert_eq!(VersionRow::decode(&marker.encode()).unwrap(), marker);
        let file = FileRow { refs: 3, len: 9 };
        assert_eq!(FileRow::decode(&file.encode()).unwrap(), file);
    }

    #[test]
    fn rows_of_the_first_layout_are_read() {
        let at = Timestamp::from_unix_millis(9);
        let meta = ObjectMeta { opaque: vec![7], ..ObjectMeta::default() };
        let head = Writer::new(PLAIN).u64(5).raw(&[1; 16]).u32(0).u64(9).u64(3).raw(&[0]);
        let bytes = head.meta(&meta).0;
        let row = ObjectRow::decode(&bytes).unwrap();
        assert_eq!((row.size, row.sequence, row.version(), &row.meta), (5, 3, VersionId::NULL, &meta));
        assert_eq!(ObjectHead::decode(&bytes).unwrap().version, VersionId::NULL);
        assert_eq!(row.extras, Extras::default());
        let upload = UploadRow::decode(&Writer::new(PLAIN).u64(5).u64(9).meta(&meta).0).unwrap();
        assert_eq!(upload, UploadRow { serial: 5, initiated: at, meta, extras: Extras::default() });
        let bucket = BucketRow::decode(&Writer::new(PLAIN).u64(5).u64(9).0).unwrap();
        let (versioning, lock, tags) = (Versioning::Never, None, Tags::default());
        assert_eq!(bucket, BucketRow { id: 5, created: at, versioning, lock, tags });
    }

    #[test]
    fn a_row_that_promises_more_than_it_has_reserves_nothing() {
        let mut bytes = vec![PLAIN];
        bytes.extend_from_slice(&u32::MAX.to_be_bytes());
        assert!(decode_layout(&bytes).is_err());
    }
}
