//! AWS's file of profiles: `[name]` sections with `aws_access_key_id`, `aws_secret_access_key`, `aws_session_token`.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::keys::file::{FileError, read_private, read_secret_line};
use crate::secret::Secret;
use crate::store::settings::Credentials;

const MAX_FILE_LEN: u64 = 64 << 10;

/// A section of such a file. The secret is drawn by us: letters and digits.
#[must_use]
pub fn section(name: &str, access_key_id: &str, secret: &str, region: &str) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "[{name}]\naws_access_key_id = {access_key_id}\naws_secret_access_key = {secret}\nregion = {region}\n"
    ))
}

/// Reads a profile; an error says what is wrong with the file, never what is in it.
pub fn read(path: &Path, name: &str) -> Result<Credentials, String> {
    let bytes = read_private(path, MAX_FILE_LEN).map_err(|error: FileError| error.to_string())?;
    let text = str::from_utf8(&bytes).map_err(|_| format!("{} is not UTF-8", path.display()))?;
    let mut is_ours = false;
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let section = section.trim();
            is_ours = section.strip_prefix("profile ").map_or(section, str::trim) == name;
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| is_ours && !line.starts_with('#')) else { continue };
        let value = Zeroizing::new(value.trim().to_owned());
        match key.trim() {
            "aws_access_key_id" => id = Some(value.to_string()),
            "aws_secret_access_key" if !value.is_empty() => secret = Some(Arc::new(Secret::from_text(&value))),
            "aws_session_token" if !value.is_empty() => token = Some(Arc::new(Secret::from_text(&value))),
            _ => {}
        }
    }
    let missing = |what: &str| format!("{} has no {what} in [{name}]", path.display());
    Ok(Credentials {
        access_key_id: id.filter(|id| !id.is_empty()).ok_or_else(|| missing("aws_access_key_id"))?,
        secret: secret.ok_or_else(|| missing("aws_secret_access_key"))?,
        session_token: token,
    })
}

/// Reads a file that holds one secret and nothing else; the line's end does not count.
pub(super) fn read_secret(path: &Path) -> Result<Secret<str>, String> {
    let bytes = read_secret_line(path, MAX_FILE_LEN).map_err(|error: FileError| error.to_string())?;
    let text = str::from_utf8(&bytes).map_err(|_| format!("{} is not UTF-8", path.display()))?;
    if text.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    Ok(Secret::from_text(&Zeroizing::new(text.to_owned())))
}
