//! Half-open byte ranges; those of the plaintext and those of the stored bytes are different types.

macro_rules! range {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name {
            start: u64,
            end: u64,
        }

        impl $name {
            /// The bytes `start..end`; `None` if `end` lies before `start`.
            #[must_use]
            pub const fn new(start: u64, end: u64) -> Option<Self> {
                if start <= end { Some(Self { start, end }) } else { None }
            }

            /// Offset of the first byte.
            #[must_use]
            pub const fn start(self) -> u64 {
                self.start
            }

            /// Offset behind the last byte.
            #[must_use]
            pub const fn end(self) -> u64 {
                self.end
            }

            /// Number of bytes.
            #[must_use]
            pub const fn len(self) -> u64 {
                self.end - self.start
            }

            /// Whether there is no byte in it.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.start == self.end
            }
        }
    };
}

range! {
    /// Bytes of the plaintext, half-open.
    PlaintextRange
}
range! {
    /// Bytes of the stored body, half-open.
    CiphertextRange
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_does_not_run_backwards() {
        assert!(PlaintextRange::new(2, 1).is_none());
        assert!(CiphertextRange::new(7, 7).is_some_and(CiphertextRange::is_empty));
        let range = PlaintextRange::new(3, 10);
        assert!(range.is_some_and(|r| (r.start(), r.end(), r.len(), r.is_empty()) == (3, 10, 7, false)));
    }
}
