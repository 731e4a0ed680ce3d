//! The one place where a number on the command line becomes an open file.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

/// Another handle to the open file that descriptor `number` is. It shares the place in the file: two readers of one
/// descriptor read one after the other, and sockets and pipes are read like files. Opening `/dev/fd/N` instead would
/// begin again at the first byte, or fail.
pub(super) fn duplicate(number: u32) -> io::Result<File> {
    let number = RawFd::try_from(number).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `number` is not negative. The borrow ends with the next line, which asks the system for a duplicate and
    // fails if there is no such descriptor. Nobody in this process closes descriptors that it was started with.
    #[expect(unsafe_code, reason = "a descriptor that was inherited has no safe owner to borrow it from")]
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    inherited.try_clone_to_owned().map(File::from)
}
