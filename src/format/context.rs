//! The context that a header is bound to.
//!
//! ```text
//! ctx            = lp(tenant id) ‖ lp(bucket id) ‖ lp(object key)         lp(x) = u32 length ‖ x
//! upload context = ctx ‖ lp(upload id)
//! state name     = base64url(SHA-256("sealgate/v1/upload\0" ‖ ctx ‖ lp(upload id)))
//! ```

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::digest::sha256;
use crate::object::Address;

const UPLOAD_LABEL: &[u8] = b"sealgate/v1/upload\0";

/// An encoded context. It contains the object's name: it does not belong in logs, and so has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Context(Vec<u8>);

fn push_lp(out: &mut Vec<u8>, bytes: &[u8]) {
    // Tenant and bucket ids have at most 63 bytes, keys 1024, upload ids what a header holds: u32 cannot overflow.
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

impl Context {
    /// The context of an object's header.
    #[must_use]
    pub fn object(address: &Address) -> Self {
        let (tenant, bucket, key) = (address.tenant.as_str(), address.bucket.as_str(), address.key.as_bytes());
        let mut out = Vec::with_capacity(12 + tenant.len() + bucket.len() + key.len());
        push_lp(&mut out, tenant.as_bytes());
        push_lp(&mut out, bucket.as_bytes());
        push_lp(&mut out, key);
        Self(out)
    }

    /// The context of the state record of an unfinished upload to `address`.
    #[must_use]
    pub fn upload(address: &Address, upload_id: &str) -> Self {
        let mut context = Self::object(address);
        push_lp(&mut context.0, upload_id.as_bytes());
        context
    }

    /// The encoded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The name, below the reserved prefix, of an unfinished upload's state record: 43 characters.
#[must_use]
pub fn upload_state_name(address: &Address, upload_id: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(&[UPLOAD_LABEL, Context::upload(address, upload_id).as_bytes()]))
}
