//! Time-outs by progress: what still moves is never cut, what stands still is.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::body::{Body, BodyError};

/// A deadline that is armed when something stands still and disarmed when it moves.
#[derive(Default)]
pub(super) struct Stall {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Stall {
    /// Something moved.
    pub(super) const fn moved(&mut self) {
        self.armed = false;
    }

    /// Nothing moves: whether it has been so for `limit`.
    pub(super) fn poll_over(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.armed {
            sleep.as_mut().reset(Instant::now() + limit);
            self.armed = true;
        }
        sleep.as_mut().poll(cx)
    }
}

/// A body that fails if it brings nothing for `limit`.
pub(super) struct TimedBody<B> {
    body: B,
    limit: Duration,
    stall: Stall,
}

impl<B> TimedBody<B> {
    pub(super) fn new(body: B, limit: Duration) -> Self {
        Self { body, limit, stall: Stall::default() }
    }
}

impl<B> HttpBody for TimedBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    BodyError: From<B::Error>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.stall.moved();
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)));
        }
        this.stall.poll_over(this.limit, cx).map(|()| Some(Err(BodyError::TimedOut)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether the answers of a connection of HTTP/2 move: its socket may be idle because the other side opens no window.
#[derive(Default)]
pub(super) struct Progress {
    under_way: AtomicUsize,
    moves: AtomicU64,
}

impl Progress {
    /// Ready once answers were under way for `limit` and none of them moved.
    pub(super) fn stalled(self: &Arc<Self>, limit: Duration) -> impl Future<Output = ()> + use<> {
        let progress = Arc::clone(self);
        async move {
            loop {
                let before = progress.moves.load(Ordering::Relaxed);
                let began_busy = progress.under_way.load(Ordering::Relaxed) > 0;
                sleep(limit).await;
                let is_busy = progress.under_way.load(Ordering::Relaxed) > 0;
                if began_busy && is_busy && progress.moves.load(Ordering::Relaxed) == before {
                    return;
                }
            }
        }
    }
}

/// An answer's body, counted in its connection's [`Progress`].
pub(super) struct Taken {
    body: Body,
    progress: Arc<Progress>,
}

impl Taken {
    pub(super) fn new(body: Body, progress: Arc<Progress>) -> Self {
        progress.under_way.fetch_add(1, Ordering::Relaxed);
        progress.moves.fetch_add(1, Ordering::Relaxed);
        Self { body, progress }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.progress.under_way.fetch_sub(1, Ordering::Relaxed);
        self.progress.moves.fetch_add(1, Ordering::Relaxed);
    }
}

impl HttpBody for Taken {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // asked for more, so what was there is taken; a body that has nothing is the store's to time
        self.progress.moves.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A server's connection: a head that has begun must come whole within `header`, and what is written must be taken within
/// `idle`.
pub(super) struct TimedIo<T> {
    io: T,
    header: Duration,
    idle: Duration,
    /// Whether a request is under way, as the service says.
    busy: Arc<AtomicBool>,
    head_began: bool,
    reading: Stall,
    writing: Stall,
}

impl<T> TimedIo<T> {
    pub(super) fn new(io: T, header: Duration, idle: Duration, busy: Arc<AtomicBool>) -> Self {
        let (reading, writing) = (Stall::default(), Stall::default());
        Self { io, header, idle, busy, head_began: false, reading, writing }
    }

    fn written<R>(&mut self, polled: Poll<io::Result<R>>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        match polled {
            Poll::Ready(result) => {
                self.writing.moved();
                Poll::Ready(result)
            }
            Poll::Pending => self.writing.poll_over(self.idle, cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for TimedIo<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(cx, buffer);
        if this.busy.load(Ordering::Relaxed) {
            this.head_began = false;
            this.reading.moved();
            return polled;
        }
        if polled.is_ready() {
            if buffer.filled().len() > before && !this.head_began {
                // the time runs from the head's first byte: trickling does not extend it
                this.head_began = true;
                this.reading.moved();
            }
            return polled;
        }
        if this.head_began {
            return this.reading.poll_over(this.header, cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for TimedIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.written(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.written(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.written(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.written(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
