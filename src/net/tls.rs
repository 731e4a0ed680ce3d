//! TLS on both sides: rustls with ring, TLS 1.2 and 1.3.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use thiserror::Error;

/// Why a TLS configuration cannot be made. It names files, never what is in them.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM of what is expected.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and key do not fit, or are not supported.
    #[error("certificate and key: {0}")]
    Pair(rustls::Error),
    /// The authorities for clients cannot be used.
    #[error("client authorities: {0}")]
    ClientAuthorities(String),
    /// The system has no authorities that could be trusted.
    #[error("the system has no trusted certificate authorities; name a file in `ca`")]
    NoRoots,
}

fn file(path: &Path) -> impl Fn(&dyn std::fmt::Display) -> TlsError + '_ {
    move |reason| TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = file(path);
    let pem = fs::read(path).map_err(|e| wrong(&e))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|e| wrong(&e))?;
    if found.is_empty() { Err(wrong(&"no certificate in it")) } else { Ok(found) }
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|e| file(path)(&e))?;
    }
    Ok(store)
}

/// What a listener speaks TLS with: a chain and its key, and, if `client_ca` is given, only to clients with a certificate of
/// these authorities. HTTP/2 and HTTP/1.1 are offered.
pub fn server_config(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(cert)?;
    let pem = zeroize::Zeroizing::new(fs::read(key).map_err(|e| file(key)(&e))?);
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| file(key)(&"no private key in it"))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider)
                .build()
                .map_err(|e| TlsError::ClientAuthorities(e.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, private).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// What a listener speaks TLS with, which can be exchanged: connections that stand keep what they began with.
pub struct ServerTls(RwLock<Arc<ServerConfig>>);

impl ServerTls {
    /// TLS with this configuration.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self(RwLock::new(Arc::new(config)))
    }

    /// What new connections get.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives new connections another one.
    pub fn exchange(&self, config: ServerConfig) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}

/// What a client trusts: the authorities of `ca`, or the system's. HTTP/1.1 is offered.
pub fn client_config(ca: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let store = if let Some(path) = ca {
        roots(path)?
    } else {
        let mut store = RootCertStore::empty();
        for certificate in rustls_native_certs::load_native_certs().certs {
            // one that cannot be read vouches for nobody
            let _ = store.add(certificate);
        }
        if store.is_empty() {
            return Err(TlsError::NoRoots);
        }
        store
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
