//! The `sealgate` program: arguments in, exit code out.

fn main() {}
