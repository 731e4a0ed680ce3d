//! The manual. Each page is a file beside this one, written to be read there as well as here.
//!
//! | page | for |
//! |---|---|
//! | [threat model](threat_model) | what is promised, what is not, and what a loss or theft means |
//! | [architecture] | the modules, and the way of a request through them |
//! | [S3 semantics](s3) | what is done, what is verified, what differs, what is refused |
//! | [configuration] | every table and key |
//! | [operations] | signals, probes, metrics, logs, limits, `check`, `gc` |
//! | [deployment] | systemd, containers, Kubernetes, alerts; upgrade and rollback |
//! | [key custody](keys) | the keyring file, the life of a key, the recovery kit |
//! | [offline work](offline) | `seal`, `open`, `inspect`, and leaving a provider |
//! | [object format](object_format) | every byte that is stored |
//! | [performance] | what is measured, and how to measure it |
//! | [embedded store](embedded_store) | the store on a local folder, for trials and tests |
//! | [testing] | what is tested, by what, and how to run it |
//! | [glossary] | the project's words |

#![allow(clippy::doc_markdown, reason = "the pages are prose: names of products and formats are words there")]

/// One module per page. In a page's file a link to another page is `[name]`, defined at the file's end as the file
/// beside it; here the definition in front of the file, which comes first and so wins, leads to the module.
macro_rules! pages {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// [architecture]: crate::manual::architecture
        /// [configuration]: crate::manual::configuration
        /// [operations]: crate::manual::operations
        /// [deployment]: crate::manual::deployment
        /// [S3 semantics]: crate::manual::s3
        /// [embedded store]: crate::manual::embedded_store
        /// [glossary]: crate::manual::glossary
        /// [key custody]: crate::manual::keys
        /// [object format]: crate::manual::object_format
        /// [offline work]: crate::manual::offline
        /// [performance]: crate::manual::performance
        /// [testing]: crate::manual::testing
        /// [threat model]: crate::manual::threat_model
        /// [`KeyProvider`]: crate::keys::KeyProvider
        ///
        #[doc = include_str!($file)]
        pub mod $name {}
    )*};
}

pages! {
    /// The modules, and the way of a PUT and of a GET through them.
    architecture = "architecture.md";
    /// Every table and key of the configuration.
    configuration = "configuration.md";
    /// The embedded store: objects in a local folder.
    embedded_store = "embedded-store.md";
    /// The project's words.
    glossary = "glossary.md";
    /// Key custody: the keyring file, the life of a key, the recovery kit.
    keys = "keys.md";
    /// The object format, version 1: every byte that is stored.
    object_format = "object-format.md";
    /// Sealing and opening files without a gateway, and leaving a provider.
    offline = "offline.md";
    /// Running the gateway: signals, probes, metrics, logs, limits.
    operations = "operations.md";
    /// Deployment.
    deployment = "deployment.md";
    /// What is measured, and how to measure it.
    performance = "performance.md";
    /// What S3 is here: what is done, what differs, what is refused.
    s3 = "s3.md";
    /// What is tested, by what, and how to run it.
    testing = "testing.md";
    /// What is promised, what is not, and what a loss or theft means.
    threat_model = "threat-model.md";
}
