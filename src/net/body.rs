//! One type for every body that passes: [`Body`], a stream of byte pieces that may fail.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use thiserror::Error;

/// Why a body ended before its end.
#[derive(Debug, Error)]
pub enum BodyError {
    /// The other side sent, or took, nothing for too long.
    #[error("the peer was idle for too long")]
    TimedOut,
    /// The connection was closed or broken, or the framing was wrong.
    #[error("the connection was closed in the middle of a body")]
    Disconnected(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// Whoever makes the body gave up; the reason is known there.
    #[error("the body was given up")]
    Aborted,
    /// A form does not end behind its file.
    #[error("the form does not end behind its file")]
    FormGoesOn,
}

impl From<hyper::Error> for BodyError {
    fn from(error: hyper::Error) -> Self {
        Self::Disconnected(Some(Box::new(error)))
    }
}

impl From<Infallible> for BodyError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A body of a request or an answer, in either direction.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body that is there whole.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    held(bytes, ())
}

/// A body that is there whole, and what must not be given back before it went. It goes in pieces: a connection may take one
/// of any length into a buffer of its own, long before the other side does.
#[must_use]
pub fn held(bytes: impl Into<Bytes>, what: impl Send + Unpin + 'static) -> Body {
    Held { rest: bytes.into(), _what: what }.boxed_unsync()
}

const PIECE_LEN: usize = 64 << 10;

struct Held<T> {
    rest: Bytes,
    _what: T,
}

impl<T: Unpin> HttpBody for Held<T> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let len = self.rest.len().min(PIECE_LEN);
        let piece = self.rest.split_to(len);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// No body.
#[must_use]
pub fn empty() -> Body {
    Empty::new().map_err(BodyError::from).boxed_unsync()
}

/// Why a body could not be collected.
#[derive(Debug, Error)]
pub enum CollectError {
    /// It is longer than the limit.
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
    /// It failed.
    #[error(transparent)]
    Body(#[from] BodyError),
}

/// Reads a body of at most `limit` bytes to its end.
pub async fn collect(mut body: Body, limit: usize) -> Result<Bytes, CollectError> {
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    let mut len = 0usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        len = len.saturating_add(data.remaining());
        if len > limit {
            return Err(CollectError::TooLong(limit));
        }
        if all.is_empty() && first.as_ref().is_none_or(Bytes::is_empty) {
            first = Some(data);
            continue;
        }
        if let Some(first) = first.take() {
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&data);
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;

    fn pieces(pieces: &[&'static [u8]]) -> Body {
        struct Pieces(std::vec::IntoIter<Bytes>);
        impl http_body::Body for Pieces {
            type Data = Bytes;
            type Error = BodyError;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
                Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece))))
            }
        }
        Pieces(pieces.iter().map(|p| Bytes::from_static(p)).collect::<Vec<_>>().into_iter()).boxed_unsync()
    }

    #[tokio::test]
    async fn a_collected_body_is_its_pieces_in_order() {
        assert_eq!(collect(pieces(&[b"", b"ab", b"", b"cd"]), 4).await.unwrap(), "abcd");
        assert_eq!(collect(empty(), 0).await.unwrap(), "");
        assert_eq!(collect(full("x"), 1).await.unwrap(), "x");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        assert!(matches!(collect(pieces(&[b"ab", b"cd"]), 3).await, Err(CollectError::TooLong(3))));
    }
}
