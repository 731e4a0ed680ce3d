//! The log's lines on their way out: gathered in memory and written by a thread of their own.
//!
//! Whoever reads standard error may stand still. No request waits for it: what does not fit any more is dropped and counted,
//! and a line says how much was, as soon as there is room.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How much waits to be written at most.
const MAX_WAITING: usize = 1 << 20;
/// How long lines are gathered before they are written with one call.
const GATHERING: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Lines dropped since one said so.
    dropped: u64,
    /// Lines dropped in all.
    lost: u64,
    /// The thread waits for a line.
    idle: bool,
    /// Somebody waits until all is written.
    hurry: bool,
    /// The thread writes what it took.
    writing: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes lines; a clone is the same way out.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

impl Lines {
    /// Lines that go to `out`; `told` makes the line that says how many were dropped.
    pub(super) fn to(mut out: impl Write + Send + 'static, told: fn(u64) -> Vec<u8>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&of_thread, &mut out, told))?;
        Ok(Self(shared))
    }

    /// Takes whole lines. Never waits for whoever reads them.
    pub(super) fn push(&self, lines: &[u8]) {
        let mut waiting = self.0.lock();
        if waiting.bytes.len().saturating_add(lines.len()) > MAX_WAITING {
            waiting.dropped += 1;
            waiting.lost += 1;
            return;
        }
        waiting.bytes.extend_from_slice(lines);
        if std::mem::take(&mut waiting.idle) {
            drop(waiting);
            self.0.changed.notify_all();
        }
    }

    /// How many lines were dropped.
    pub(super) fn lost(&self) -> u64 {
        self.0.lock().lost
    }

    /// Waits until all is written, but no longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let mut waiting = self.0.lock();
        waiting.hurry = true;
        self.0.changed.notify_all();
        let unwritten = |waiting: &mut Waiting| waiting.writing || waiting.dropped > 0 || !waiting.bytes.is_empty();
        let waited = self.0.changed.wait_timeout_while(waiting, limit, unwritten);
        waited.unwrap_or_else(PoisonError::into_inner).0.hurry = false;
    }
}

fn write_lines(shared: &Shared, out: &mut impl Write, told: fn(u64) -> Vec<u8>) {
    let mut batch = Vec::new();
    loop {
        let mut waiting = shared.lock();
        while waiting.bytes.is_empty() && waiting.dropped == 0 {
            waiting.idle = true;
            waiting = shared.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let gathered = shared.changed.wait_timeout_while(waiting, GATHERING, |waiting| !waiting.hurry);
        let mut waiting = gathered.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::swap(&mut batch, &mut waiting.bytes);
        let dropped = std::mem::take(&mut waiting.dropped);
        waiting.writing = true;
        drop(waiting);
        if dropped > 0 {
            batch.extend_from_slice(&told(dropped));
        }
        // a log that cannot be written stops nothing
        let _ = out.write_all(&batch).and_then(|()| out.flush());
        batch.clear();
        shared.lock().writing = false;
        shared.changed.notify_all();
    }
}

/// One event's lines, handed on as a whole.
pub(super) struct Event {
    lines: Lines,
    bytes: Vec<u8>,
}

impl Write for Event {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.lines.push(&self.bytes);
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Lines {
    type Writer = Event;

    fn make_writer(&self) -> Event {
        Event { lines: self.clone(), bytes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A reader that takes nothing until it is told to.
    struct Stuck {
        go_on: mpsc::Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go_on.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told(dropped: u64) -> Vec<u8> {
        format!("{dropped} dropped\n").into_bytes()
    }

    #[test]
    fn a_reader_that_stands_still_stops_nobody_and_is_told_what_it_missed() {
        let ((go, go_on), (written, seen)) = (mpsc::channel(), mpsc::channel());
        let lines = Lines::to(Stuck { go_on, written }, told).unwrap();
        let line = [b'x'; 1000];
        lines.push(b"first\n");
        // until the thread hangs on its first write
        while !lines.0.lock().writing {
            thread::yield_now();
        }
        for _ in 0..2000 {
            lines.push(&line);
        }
        let kept = (MAX_WAITING / 1000) as u64;
        assert_eq!(lines.lost(), 2000 - kept);
        lines.flush(Duration::from_millis(20));
        drop(go);
        lines.flush(Duration::from_secs(10));
        let all: Vec<u8> = seen.try_iter().flatten().collect();
        let missed = format!("{} dropped\n", 2000 - kept);
        assert!(all.starts_with(b"first\n") && all.ends_with(missed.as_bytes()));
        assert_eq!(all.len(), 6 + MAX_WAITING / 1000 * 1000 + missed.len());
        lines.push(b"again\n");
        lines.flush(Duration::from_secs(10));
        assert_eq!(seen.try_iter().flatten().collect::<Vec<u8>>(), b"again\n");
        assert_eq!(lines.lost(), 2000 - kept);
    }

    #[test]
    fn lines_of_many_threads_arrive_whole_and_all() {
        let (written, seen) = mpsc::channel();
        let (go, go_on) = mpsc::channel();
        drop(go);
        let lines = Lines::to(Stuck { go_on, written }, told).unwrap();
        let threads: Vec<_> = (0..8u8)
            .map(|i| {
                let lines = lines.clone();
                thread::spawn(move || (0..500).for_each(|_| lines.push(&[&[b'a' + i; 50][..], b"\n"].concat())))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        lines.flush(Duration::from_secs(10));
        let all: Vec<u8> = seen.try_iter().flatten().collect();
        let mut count = 0;
        for line in all.split_inclusive(|byte| *byte == b'\n') {
            assert!(line.len() == 51 && line[..50].iter().all(|byte| *byte == line[0]));
            count += 1;
        }
        assert_eq!(count, 4000);
    }
}
