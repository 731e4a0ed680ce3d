//! A body that ends with its own checksum, for stores that take some objects only so: one chunk of `aws-chunked`, and a trailer.
//!
//! ```text
//! LEN in hexadecimal \r\n  body  \r\n 0\r\n x-amz-checksum-crc64nvme:BASE64 \r\n\r\n
//! ```
//!
//! It is a checksum of the ciphertext. Source: "Signature calculations for the Authorization header: including trailing headers"
//! of the Amazon S3 API Reference.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::digest::{ChecksumAlgorithm, ChecksumHasher, checksum};
use crate::net::body::{Body, BodyError};
use crate::s3::checksum::{checksum_header, format_checksum};

const ALGORITHM: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;
/// A checksum of eight bytes in base64.
const VALUE_LEN: u64 = 12;

/// The body, its length, and the headers that say so.
pub(super) fn trailed(body: Body, len: u64, headers: &mut HeaderMap) -> (Body, u64) {
    let (begin, name) = (format!("{len:x}\r\n"), checksum_header(ALGORITHM));
    let before = format!("\r\n0\r\n{name}:");
    let all = begin.len() as u64 + len + before.len() as u64 + VALUE_LEN + 4;
    for (header, value) in [
        (header::CONTENT_ENCODING, "aws-chunked"),
        (HeaderName::from_static("x-amz-sdk-checksum-algorithm"), ALGORITHM.name()),
        (HeaderName::from_static("x-amz-trailer"), "x-amz-checksum-crc64nvme"),
    ] {
        headers.insert(header, HeaderValue::from_static(value));
    }
    headers.insert(HeaderName::from_static("x-amz-decoded-content-length"), HeaderValue::from(len));
    let begin = Some(Bytes::from(begin));
    let trailed = Trailed { begin, body, left: len, hasher: Some(ChecksumHasher::new(ALGORITHM)), before };
    (trailed.boxed_unsync(), all)
}

/// Adds the checksum of a body that is known whole.
pub(super) fn announced(bytes: &[u8], headers: &mut HeaderMap) {
    let value = HeaderValue::from_str(&format_checksum(&checksum(ALGORITHM, bytes)));
    if let Ok(value) = value {
        headers.insert(HeaderName::from_static("x-amz-checksum-crc64nvme"), value);
    }
}

struct Trailed {
    begin: Option<Bytes>,
    body: Body,
    left: u64,
    /// Until the end.
    hasher: Option<ChecksumHasher>,
    before: String,
}

impl HttpBody for Trailed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(begin) = self.begin.take() {
            return Poll::Ready(Some(Ok(Frame::data(begin))));
        }
        loop {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    self.hasher = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => break,
            };
            let Ok(data) = frame.into_data() else { continue };
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&data);
            }
            // longer than it was said to be, it breaks off as one that is shorter does
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                self.hasher = None;
                return Poll::Ready(Some(Err(BodyError::Aborted)));
            };
            self.left = left;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let Some(hasher) = self.hasher.take() else { return Poll::Ready(None) };
        if self.left > 0 {
            return Poll::Ready(Some(Err(BodyError::Aborted)));
        }
        let end = format!("{}{}\r\n\r\n", self.before, format_checksum(&hasher.finish()));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(end)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::body::{self, collect};

    /// From the last one on.
    struct Pieces(Vec<Bytes>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop().map(|piece| Ok(Frame::data(piece))))
        }
    }

    #[tokio::test]
    async fn a_body_ends_with_its_checksum_and_has_the_length_that_is_announced() {
        let mut headers = HeaderMap::new();
        let (body, len) = trailed(body::full(Bytes::from_static(b"123456789")), 9, &mut headers);
        let bytes = collect(body, 1000).await.unwrap();
        assert_eq!(len, bytes.len() as u64);
        let value = format_checksum(&checksum(ALGORITHM, b"123456789"));
        let expected = format!("9\r\n123456789\r\n0\r\nx-amz-checksum-crc64nvme:{value}\r\n\r\n");
        assert_eq!(bytes, expected.as_bytes());
        assert_eq!(headers["x-amz-decoded-content-length"], "9");
        // shorter or longer than was said, it breaks off
        for said in [10, 8] {
            let (body, _) = trailed(body::full(Bytes::from_static(b"123456789")), said, &mut headers);
            assert!(collect(body, 1000).await.is_err(), "{said}");
        }
        let pieces = Pieces(vec![Bytes::from_static(b"9"), Bytes::from_static(b"12345678")]).boxed_unsync();
        assert!(collect(trailed(pieces, 8, &mut headers).0, 1000).await.is_err());
        announced(b"123456789", &mut headers);
        assert_eq!(headers["x-amz-checksum-crc64nvme"], value.as_str());
    }
}
