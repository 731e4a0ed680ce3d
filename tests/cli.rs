//! The real program: every command, its exit code, and what it leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]
#![allow(unreachable_pub)]

#[path = "cli/crash.rs"]
mod crash;
#[path = "cli/custody.rs"]
mod custody;
#[path = "cli/durability.rs"]
mod durability;
#[path = "cli/init.rs"]
mod init;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/offline.rs"]
mod offline;
#[path = "support/python.rs"]
mod python;
#[path = "cli/recovery.rs"]
mod recovery;
#[path = "cli/support.rs"]
mod support;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/usage.rs"]
mod usage;
