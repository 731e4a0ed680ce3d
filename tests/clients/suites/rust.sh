[ -x "$CLIENTS/rust/debug/rust-suite" ] || { echo 'no Rust clients (tests/clients/install)'; exit 77; }
set -e
lock=$(dirname "$0")/../rust/Cargo.lock
echo "VERSION: aws-sdk-s3 $(grep -A1 '^name = "aws-sdk-s3"' "$lock" | sed -n 's/^version = "\(.*\)"/\1/p'), object_store $(grep -A1 '^name = "object_store"' "$lock" | sed -n 's/^version = "\(.*\)"/\1/p')"
"$CLIENTS/rust/debug/rust-suite" sdk
"$CLIENTS/rust/debug/rust-suite" store
