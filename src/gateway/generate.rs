//! A body that is written by a future: pieces are yielded where they come up, in plain sequential code.
//!
//! There is no channel and no task: whoever polls the body runs the future, so nothing is read before it is wanted, and a
//! dropped body drops the future with all that it holds.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::error::{Failure, FailureSlot};
use crate::net::body::{Body, BodyError};

/// Where the future puts its next piece.
pub(super) struct Yielder(Arc<Mutex<Option<Bytes>>>);

impl Yielder {
    /// Hands `piece` on; goes on once it was taken.
    pub(super) async fn send(&self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(piece);
        let mut yielded = false;
        std::future::poll_fn(
            move |_| {
                if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
            },
        )
        .await;
    }
}

type Writing = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

struct Generated {
    slot: Arc<Mutex<Option<Bytes>>>,
    future: Option<Writing>,
    failure: FailureSlot,
    left: u64,
}

impl HttpBody for Generated {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(future) = &mut this.future else { return Poll::Ready(None) };
        let polled = future.as_mut().poll(cx);
        if let Some(piece) = this.slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // a future may not yield more than was promised: a longer body would be another body
            let Some(left) = this.left.checked_sub(piece.len() as u64) else {
                this.future = None;
                this.failure.set(Failure::ours("a body is longer than announced"));
                return Poll::Ready(Some(Err(BodyError::Aborted)));
            };
            this.left = left;
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if this.left == 0 => {
                this.future = None;
                Poll::Ready(None)
            }
            Poll::Ready(result) => {
                this.future = None;
                this.failure.set(result.err().unwrap_or_else(|| Failure::ours("a body is shorter than announced")));
                Poll::Ready(Some(Err(BodyError::Aborted)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.future.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The body of exactly `len` bytes that `write` yields. What it fails with is kept in `failure`; the body then ends with an
/// error, so that no peer takes it for whole.
pub(super) fn generate<F, W>(len: u64, failure: FailureSlot, write: W) -> Body
where
    W: FnOnce(Yielder) -> F,
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let slot = Arc::new(Mutex::new(None));
    let future = write(Yielder(Arc::clone(&slot)));
    Generated { slot, future: Some(Box::pin(future)), failure, left: len }.boxed_unsync()
}

/// A body whose first piece was made already.
struct Begun {
    first: Option<Bytes>,
    rest: Body,
}

impl HttpBody for Begun {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().map_or(0, Bytes::len) as u64;
        self.rest
            .size_hint()
            .exact()
            .map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest.saturating_add(first)))
    }
}

/// Makes the first piece of a body, so that what fails at once is answered with a status and not with a cut.
pub(super) async fn begun(mut body: Body) -> Result<Body, BodyError> {
    match body.frame().await {
        None => Ok(body),
        Some(frame) => {
            let first = frame?.into_data().ok();
            Ok(Begun { first, rest: body }.boxed_unsync())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::body::collect;

    #[tokio::test]
    async fn pieces_come_in_order_and_the_end_is_the_futures() {
        let failure = FailureSlot::default();
        let body = generate(6, failure.clone(), |out| async move {
            out.send(Bytes::from_static(b"abc")).await;
            out.send(Bytes::new()).await;
            tokio::task::yield_now().await;
            out.send(Bytes::from_static(b"def")).await;
            Ok(())
        });
        assert_eq!(collect(body, 10).await.unwrap(), "abcdef");
        assert!(failure.take().is_none());
    }

    #[tokio::test]
    async fn a_failed_short_or_long_body_never_ends_cleanly() {
        for (len, text) in [(5, "abcd"), (3, "abcd"), (4, "abcd")] {
            let failure = FailureSlot::default();
            let body = generate(len, failure.clone(), move |out| async move {
                out.send(Bytes::from_static(text.as_bytes())).await;
                if len == 4 { Err(Failure::ours("given up")) } else { Ok(()) }
            });
            assert!(collect(body, 10).await.is_err());
            assert!(failure.take().is_some());
        }
    }
}
