//! Callbacks: verified, decrypted, read. Pure.
//!
//! The order is: bounds, envelope, signature, and only then anything of what is encrypted. Source: "加解密方案说明" in
//! <https://developer.work.weixin.qq.com/document/path/90968>.

mod cipher;
mod envelope;
mod event;
mod query;
mod receiver;
mod refusal;
mod signature;
mod xml;

pub use cipher::RANDOM_BYTES;
pub use envelope::{BODY_BYTES_MAX, Format};
pub use event::{BatchResult, DepartmentChange, Event, MemberChange, Message, TagChange};
pub use query::{QUERY_BYTES_MAX, Query};
pub use receiver::{Opened, Receiver, Sealed};
pub use refusal::Refusal;
