//! The gateway in process: real HTTP on loopback, the embedded store as its provider.

mod anonymous;
mod drop_in;
mod etags;
mod forms;
mod gc;
mod hostile;
mod identity;
mod liar;
mod lies;
mod limits;
mod multipart;
mod operations;
mod presigned;
mod process;
mod profiles;
mod reads;
pub mod rig;
mod signature_v2;
mod sub_resources;
mod tls;
mod versions;
mod writes;
