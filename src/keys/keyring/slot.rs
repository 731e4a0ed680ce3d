//! The root and the two slots that wrap it: one for the passphrase, one for the recovery kit.

use argon2::{Algorithm, Argon2, Block, Params};
use zeroize::Zeroize;

use super::KeyringError;
use super::codec::{KEYRING_ID_LEN, MAGIC, VERSION};
use crate::clock::Timestamp;
use crate::crypto::aead::{Aead, AeadError, ErasingAes256Gcm, NONCE_LEN, TAG_LEN};
use crate::crypto::kdf::Prk;
use crate::crypto::random::{RandomError, RandomSource};
use crate::crypto::wrap::KEY_LEN;
use crate::keys::recovery::{KitDescription, RecoverySecret};
use crate::secret::Secret;

pub(super) const ROOT_LEN: usize = 32;
pub(super) const WRAPPED_ROOT_LEN: usize = ROOT_LEN + TAG_LEN;
pub(super) const PASSPHRASE_SALT_LEN: usize = 16;
pub(super) const RECOVERY_SALT_LEN: usize = 24;
pub(super) const PARAMS_LEN: usize = 12;

const PASSPHRASE_LABEL: &[u8] = b"sealgate/v1/keyring-passphrase\0";
const RECOVERY_LABEL: &[u8] = b"sealgate/v1/keyring-recovery\0";

/// What Argon2id (RFC 9106, version 0x13) costs per guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Params {
    /// Memory in KiB: 19 MiB to 1 GiB.
    pub memory_kib: u32,
    /// Passes over the memory: 2 to 64.
    pub passes: u32,
    /// Lanes: 1 to 16.
    pub lanes: u32,
}

impl Argon2Params {
    /// What a new keyring takes: 64 MiB, three passes, one lane.
    pub const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    /// The least that is accepted, in a file too: less would be a downgrade.
    pub const FLOOR: Self = Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
    /// The most that is accepted: a file must not be able to exhaust the machine.
    pub const CEILING: Self = Self { memory_kib: 1024 * 1024, passes: 64, lanes: 16 };

    /// Refuses what lies outside floor and ceiling, before any memory is taken.
    pub fn check(self) -> Result<(), KeyringError> {
        let (floor, ceiling) = (Self::FLOOR, Self::CEILING);
        for (what, found, min, max) in [
            ("memory in KiB", self.memory_kib, floor.memory_kib, ceiling.memory_kib),
            ("number of passes", self.passes, floor.passes, ceiling.passes),
            ("number of lanes", self.lanes, floor.lanes, ceiling.lanes),
        ] {
            if !(min..=max).contains(&found) {
                return Err(KeyringError::Parameters { what, found, min, max });
            }
        }
        Ok(())
    }

    pub(super) fn to_bytes(self) -> [u8; PARAMS_LEN] {
        let mut bytes = [0; PARAMS_LEN];
        let fields = [self.memory_kib, self.passes, self.lanes].into_iter().flat_map(u32::to_be_bytes);
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        bytes
    }
}

/// Argon2's memory, erased and given back on drop.
struct Memory(Vec<Block>);

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(Zeroize::zeroize);
    }
}

/// Argon2id(passphrase, salt, params), 32 bytes.
fn stretch(
    passphrase: &Secret<[u8]>,
    salt: &[u8; PASSPHRASE_SALT_LEN],
    params: Argon2Params,
) -> Result<Secret<[u8; 32]>, KeyringError> {
    params.check()?;
    let argon2_params = Params::new(params.memory_kib, params.passes, params.lanes, Some(32))
        .map_err(|_| KeyringError::Malformed("passphrase parameters"))?;
    let count = argon2_params.block_count();
    let mut memory = Memory(Vec::new());
    // Asked for, not assumed: too little memory is an error with a name, not an aborted process.
    memory.0.try_reserve_exact(count).map_err(|_| KeyringError::OutOfMemory { kib: params.memory_kib })?;
    memory.0.resize(count, Block::new());
    let mut out = Secret::<[u8; 32]>::zeroed();
    Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, argon2_params)
        .hash_password_into_with_memory(
            passphrase.expose_secret(),
            salt,
            out.expose_secret_mut(),
            memory.0.as_mut_slice(),
        )
        .map_err(|_| KeyringError::Malformed("passphrase"))?;
    Ok(out)
}

/// (key ‖ nonce) = X(prk, info, 44), ready to seal or open one text.
pub(super) fn derived_cipher(prk: &Prk, info: &[&[u8]]) -> Result<(ErasingAes256Gcm, [u8; NONCE_LEN]), AeadError> {
    let mut key = Secret::<[u8; KEY_LEN]>::zeroed();
    let mut nonce = [0; NONCE_LEN];
    prk.expand_into(info, &mut [key.expose_secret_mut(), &mut nonce]);
    Ok((ErasingAes256Gcm::new(key.expose_secret())?, nonce))
}

/// 32 secret bytes sealed under (key ‖ nonce) = X(prk, info, 44), which must never have sealed another text.
pub(super) fn wrap_32(
    prk: &Prk,
    info: &[&[u8]],
    aad: &[u8],
    secret: &[u8; 32],
) -> Result<[u8; WRAPPED_ROOT_LEN], AeadError> {
    let (cipher, nonce) = derived_cipher(prk, info)?;
    let mut out = [0; WRAPPED_ROOT_LEN];
    let (text, tag) = out.split_at_mut(ROOT_LEN);
    text.copy_from_slice(secret);
    match cipher.seal_in_place(&nonce, aad, text) {
        Ok(sealed_tag) => {
            tag.copy_from_slice(&sealed_tag);
            Ok(out)
        }
        Err(error) => {
            out.zeroize();
            Err(error)
        }
    }
}

/// The inverse of [`wrap_32`].
pub(super) fn unwrap_32(
    prk: &Prk,
    info: &[&[u8]],
    aad: &[u8],
    wrapped: &[u8; WRAPPED_ROOT_LEN],
) -> Result<Secret<[u8; 32]>, AeadError> {
    let (cipher, nonce) = derived_cipher(prk, info)?;
    let mut buffer = Secret::<[u8; WRAPPED_ROOT_LEN]>::zeroed();
    buffer.expose_secret_mut().copy_from_slice(wrapped);
    let text = cipher.open_in_place(&nonce, aad, buffer.expose_secret_mut())?;
    Secret::from_slice(text).ok_or(AeadError::Unauthentic)
}

/// R: 32 random bytes that everything in the content is sealed under.
pub(super) struct Root {
    secret: Secret<[u8; ROOT_LEN]>,
    prk: Prk,
}

impl Root {
    fn new(secret: Secret<[u8; ROOT_LEN]>) -> Self {
        let prk = Prk::new(secret.expose_secret());
        Self { secret, prk }
    }

    pub(super) fn draw(now: Timestamp, random: &RandomSource) -> Result<Self, RandomError> {
        random.draw(now, b"keyring root").map(Self::new)
    }

    pub(super) const fn prk(&self) -> &Prk {
        &self.prk
    }
}

/// R under a passphrase.
///
/// ```text
/// pk(32)        = Argon2id(passphrase, salt, params)
/// wrapped R(48) = GCM under X(pk, "sealgate/v1/keyring-passphrase\0" ‖ keyring id ‖ params ‖ salt, 44),
///                 aad = magic ‖ version ‖ keyring id ‖ params ‖ salt
/// ```
#[derive(Clone)]
pub(super) struct PassphraseSlot {
    pub(super) params: Argon2Params,
    pub(super) salt: [u8; PASSPHRASE_SALT_LEN],
    pub(super) wrapped: [u8; WRAPPED_ROOT_LEN],
}

impl PassphraseSlot {
    /// A slot with a salt of its own.
    pub(super) fn seal(
        root: &Root,
        keyring: &[u8; KEYRING_ID_LEN],
        passphrase: &Secret<[u8]>,
        params: Argon2Params,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<Self, KeyringError> {
        let salt = random.draw_public(now, b"keyring passphrase salt")?;
        let prk = Prk::new(stretch(passphrase, &salt, params)?.expose_secret());
        let encoded = params.to_bytes();
        let info: [&[u8]; 4] = [PASSPHRASE_LABEL, keyring, &encoded, &salt];
        let aad = Self::aad(keyring, params, &salt);
        let wrapped = wrap_32(&prk, &info, &aad, root.secret.expose_secret())?;
        Ok(Self { params, salt, wrapped })
    }

    /// Whether it is the very same sealing of the root.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.salt == other.salt && self.wrapped == other.wrapped && self.params == other.params
    }

    pub(super) fn open(&self, keyring: &[u8; KEYRING_ID_LEN], passphrase: &Secret<[u8]>) -> Result<Root, KeyringError> {
        let prk = Prk::new(stretch(passphrase, &self.salt, self.params)?.expose_secret());
        let encoded = self.params.to_bytes();
        let info: [&[u8]; 4] = [PASSPHRASE_LABEL, keyring, &encoded, &self.salt];
        let aad = Self::aad(keyring, self.params, &self.salt);
        unwrap_32(&prk, &info, &aad, &self.wrapped).map(Root::new).map_err(|_| KeyringError::WrongPassphrase)
    }

    fn aad(keyring: &[u8; KEYRING_ID_LEN], params: Argon2Params, salt: &[u8; PASSPHRASE_SALT_LEN]) -> Vec<u8> {
        let parts: [&[u8]; 5] = [MAGIC, &VERSION.to_be_bytes(), keyring, &params.to_bytes(), salt];
        parts.concat()
    }
}

/// R under a recovery kit's secret S.
///
/// ```text
/// wrapped R(48) = GCM under X(S, "sealgate/v1/keyring-recovery\0" ‖ keyring id ‖ salt, 44),
///                 aad = magic ‖ version ‖ keyring id ‖ kit id ‖ salt
/// ```
///
/// The salt is fresh with every slot, so no (key, nonce) seals two roots even if one kit is ever given two.
#[derive(Clone)]
pub(super) struct RecoverySlot {
    pub(super) kit: KitDescription,
    pub(super) salt: [u8; RECOVERY_SALT_LEN],
    pub(super) wrapped: [u8; WRAPPED_ROOT_LEN],
}

impl RecoverySlot {
    pub(super) fn seal(
        root: &Root,
        keyring: &[u8; KEYRING_ID_LEN],
        secret: &RecoverySecret,
        kit: KitDescription,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<Self, KeyringError> {
        let salt = random.draw_public(now, b"keyring recovery salt")?;
        let mut slot = Self { kit, salt, wrapped: [0; WRAPPED_ROOT_LEN] };
        let info: [&[u8]; 3] = [RECOVERY_LABEL, keyring, &salt];
        slot.wrapped = wrap_32(secret.prk(), &info, &slot.aad(keyring), root.secret.expose_secret())?;
        Ok(slot)
    }

    pub(super) fn open(&self, keyring: &[u8; KEYRING_ID_LEN], secret: &RecoverySecret) -> Result<Root, KeyringError> {
        let given = secret.kit_id();
        if given != self.kit.id {
            return Err(KeyringError::OtherKit { expected: self.kit.id, given });
        }
        let info: [&[u8]; 3] = [RECOVERY_LABEL, keyring, &self.salt];
        unwrap_32(secret.prk(), &info, &self.aad(keyring), &self.wrapped)
            .map(Root::new)
            .map_err(|_| KeyringError::Tampered)
    }

    fn aad(&self, keyring: &[u8; KEYRING_ID_LEN]) -> Vec<u8> {
        let parts: [&[u8]; 5] = [MAGIC, &VERSION.to_be_bytes(), keyring, self.kit.id.as_bytes(), &self.salt];
        parts.concat()
    }
}
