//! Bytes for people.

use std::fmt::Write as _;

/// The first `limit` bytes, sixteen in a line: offset, hexadecimal, and what is printable.
#[must_use]
pub(super) fn hexdump(bytes: &[u8], limit: usize) -> String {
    let mut out = String::new();
    for (index, line) in bytes.chunks(16).take(limit.div_ceil(16)).enumerate() {
        let mut hex = String::new();
        for byte in line {
            // writing to a String cannot fail
            let _ = write!(hex, "{byte:02x} ");
        }
        let text: String =
            line.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '.' }).collect();
        let _ = writeln!(out, "{:08x}  {hex:<48} |{text}|", index * 16);
    }
    if bytes.len() > limit {
        let _ = writeln!(out, "… {} bytes in all", bytes.len());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bytes_are_a_line() {
        let dump = hexdump(b"0123456789abcdef\x00\xff", 100);
        assert_eq!(
            dump,
            "00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|\n\
             00000010  00 ff                                            |..|\n"
        );
        assert!(hexdump(&[0; 40], 16).ends_with("… 40 bytes in all\n"));
    }
}
