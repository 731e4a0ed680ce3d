//! The pipeline: authenticate → parse → policy → seal or open → forward → render. The only place where protocol meets
//! crypto.

pub mod settings;
