//! Time-outs by progress: what still moves is never cut, what stands still is.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
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

/// How the streams of a connection of HTTP/2 move. Its socket says nothing of them: it may be idle because the other side
/// opens no window, and busy with frames that carry nothing.
pub(super) struct Progress {
    since: Instant,
    /// When anything moved last, in milliseconds since the beginning.
    moved: AtomicU64,
    begun: AtomicU64,
    /// The open streams: since when the other side has let an answer lie, or `None` where it waits for us.
    open: Mutex<HashMap<u64, Option<u64>>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { since: Instant::now(), moved: AtomicU64::new(0), begun: AtomicU64::new(0), open: Mutex::default() }
    }
}

/// One stream that a request came on, until its answer has gone.
pub(super) struct Open {
    number: u64,
    progress: Arc<Progress>,
}

/// A stream whose answer is not taken ends its connection after as many times the limit of a connection on which nothing
/// moves at all: others on it may be served meanwhile.
const PATIENCE: u32 = 4;

impl Progress {
    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Option<u64>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Open {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let now = self.now();
        self.moved.store(now, Ordering::Relaxed);
        self.open().insert(number, None);
        Open { number, progress: Arc::clone(self) }
    }

    /// Whether the connection has had its time: no request within `header`, none under way for `keep_alive`, nothing that
    /// moves for `idle`, or a stream that does not for several times as long.
    fn is_over(&self, header: Duration, keep_alive: Duration, idle: Duration) -> bool {
        let now = self.now();
        let longer = |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) > limit.as_millis();
        let moved = self.moved.load(Ordering::Relaxed);
        let open = self.open();
        if open.is_empty() {
            let limit = if self.begun.load(Ordering::Relaxed) == 0 { header } else { keep_alive };
            return longer(moved, limit);
        }
        let is_theirs = open.values().all(Option::is_some);
        (is_theirs && longer(moved, idle)) || open.values().flatten().any(|since| longer(*since, idle * PATIENCE))
    }

    /// Ready once the connection has had its time.
    pub(super) fn over(
        self: &Arc<Self>,
        header: Duration,
        keep_alive: Duration,
        idle: Duration,
    ) -> impl Future<Output = ()> + use<> {
        let progress = Arc::clone(self);
        let step = (header.min(keep_alive).min(idle) / 4).clamp(Duration::from_millis(20), Duration::from_secs(5));
        async move {
            while !progress.is_over(header, keep_alive, idle) {
                sleep(step).await;
            }
        }
    }
}

impl Open {
    /// It moves; from now on it waits for us, or for the other side.
    fn moved(&self, waits_for_us: bool) {
        let now = self.progress.now();
        self.progress.moved.store(now, Ordering::Relaxed);
        if let Some(since) = self.progress.open().get_mut(&self.number) {
            *since = (!waits_for_us).then_some(now);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.progress.moved.store(self.progress.now(), Ordering::Relaxed);
        self.progress.open().remove(&self.number);
    }
}

/// An answer's body, which moves its stream where it is taken.
pub(super) struct Taken {
    body: Body,
    stream: Open,
}

impl Taken {
    pub(super) fn new(body: Body, stream: Open) -> Self {
        stream.moved(false);
        Self { body, stream }
    }
}

impl HttpBody for Taken {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // asked for more, so what was there is taken; a body that has nothing is the store's to time
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.stream.moved(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How much is read at once of who is not known: less than the smallest buffer, which grows when it is filled.
const UNKNOWN_READ: usize = 4 << 10;

/// The requests of a server's connection, as the service says.
#[derive(Default)]
pub(super) struct Requests {
    under_way: AtomicBool,
    begun: AtomicU64,
    /// Whether it is known who is at the other end.
    is_known: AtomicBool,
    /// Whether a request was answered above a body that nobody read to its end.
    leaves_body: AtomicBool,
    /// Whether the server stops.
    stops: AtomicBool,
}

impl Requests {
    /// `always`: as if one were under way at any time.
    pub(super) fn new(always: bool) -> Self {
        Self { under_way: AtomicBool::new(always), ..Self::default() }
    }

    /// The server stops: who lingers ends, when the connection is polled next.
    pub(super) fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
    }

    fn lingers(&self) -> bool {
        self.leaves_body.load(Ordering::Relaxed) && !self.stops.load(Ordering::Relaxed)
    }

    /// A request was answered above a body that nobody read to its end: the connection ends.
    pub(super) fn leave_body(&self) {
        self.leaves_body.store(true, Ordering::Relaxed);
    }

    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.under_way.store(true, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.under_way.store(false, Ordering::Relaxed);
    }

    pub(super) fn know(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed)
    }
}

/// How long without a byte, how long in all, and how much is read of a body that nobody wants, once the answer has gone: a socket
/// that is closed above unread bytes is reset, and the other side might not read the answer.
const LINGER_IDLE: Duration = Duration::from_secs(2);
const LINGER_TIME: Duration = Duration::from_secs(30);
const MAX_LINGERED: usize = 16 << 20;

/// A connection whose side is shut.
struct Lingering {
    since: Instant,
    idle: Stall,
    read: usize,
}

/// A server's connection: a head that has begun must come whole within `header`, be no longer than `max_head`, and what is
/// written must be taken within `idle`.
pub(super) struct TimedIo<T> {
    io: T,
    header: Duration,
    max_head: usize,
    /// Bytes of a head that is not whole.
    of_head: usize,
    idle: Duration,
    requests: Arc<Requests>,
    /// How many had begun when a byte was last read.
    seen: u64,
    head_began: bool,
    reading: Stall,
    writing: Stall,
    lingering: Option<Lingering>,
}

impl<T> TimedIo<T> {
    pub(super) fn new(io: T, (header, max_head): (Duration, usize), idle: Duration, requests: Arc<Requests>) -> Self {
        let (reading, writing) = (Stall::default(), Stall::default());
        let (of_head, seen, head_began, lingering) = (0, 0, false, None);
        Self { io, header, max_head, of_head, idle, requests, seen, head_began, reading, writing, lingering }
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
        let is_busy = this.requests.is_under_way();
        let begun = this.requests.begun.load(Ordering::Relaxed);
        // what was read before belongs to a head that is whole
        if std::mem::replace(&mut this.seen, begun) != begun {
            (this.head_began, this.of_head) = (false, 0);
        }
        // asked for more of a head that is too long already
        if !is_busy && this.of_head > this.max_head {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        let polled = if this.requests.is_known.load(Ordering::Relaxed) {
            Pin::new(&mut this.io).poll_read(cx, buffer)
        } else {
            // who is not known yet makes no buffer grow, whatever comes how fast
            let len = buffer.remaining().min(UNKNOWN_READ);
            let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(len));
            let polled = Pin::new(&mut this.io).poll_read(cx, &mut piece);
            let read = piece.filled().len();
            buffer.advance(read);
            polled
        };
        if is_busy {
            this.reading.moved();
            return polled;
        }
        if polled.is_ready() {
            this.of_head = this.of_head.saturating_add(buffer.filled().len().saturating_sub(before));
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

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TimedIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.written(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.written(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            let polled = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.written(polled, cx))?;
        }
        let lingering =
            this.lingering.get_or_insert_with(|| Lingering { since: Instant::now(), idle: Stall::default(), read: 0 });
        if !this.requests.lingers() || lingering.since.elapsed() > LINGER_TIME {
            return Poll::Ready(Ok(()));
        }
        let mut piece = [0; 8 << 10];
        loop {
            let mut piece = ReadBuf::new(&mut piece);
            if Pin::new(&mut this.io).poll_read(cx, &mut piece)?.is_pending() {
                return lingering.idle.poll_over(LINGER_IDLE, cx).map(Ok);
            }
            lingering.idle.moved();
            lingering.read += piece.filled().len();
            if piece.filled().is_empty() || lingering.read > MAX_LINGERED {
                return Poll::Ready(Ok(()));
            }
        }
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn who_is_not_known_is_read_in_small_pieces() {
        let requests = Arc::new(Requests::new(false));
        let (limit, sent) = (Duration::from_secs(9), vec![7; 100_000]);
        let mut io = TimedIo::new(&sent[..], (limit, usize::MAX), limit, Arc::clone(&requests));
        let mut buffer = vec![0; 64 << 10];
        assert_eq!(io.read(&mut buffer).await.unwrap(), UNKNOWN_READ);
        assert_eq!(buffer.iter().position(|byte| *byte == 0), Some(UNKNOWN_READ));
        requests.know();
        assert_eq!(io.read(&mut buffer).await.unwrap(), 64 << 10);
        assert_eq!(io.read(&mut buffer).await.unwrap(), 100_000 - UNKNOWN_READ - (64 << 10));
        assert_eq!(io.read(&mut buffer).await.unwrap(), 0);
    }
}
