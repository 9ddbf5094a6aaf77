//! The queue port over RabbitMQ 3.10 to 4.x.
//!
//! A flow's shards are quorum queues with a single active consumer; what waits for its time lies in delay
//! queues, one per tier; dead letters are a stream. See [`topology`] for the arguments and [`names`] for the
//! names.
//!
//! Connections are made when they are needed and made anew when they are lost, by this crate rather than by
//! the client library's recovery: a consumer that ended says so ([`shared::ports::queue::Consumer::next`]
//! errs) and its caller decides whether the shard is still its own before it builds a new one.
//!
//! A message that kills its worker again and again is dead-lettered by the broker (`x-delivery-limit`). Its
//! count rises with each loss of a consumer, also for messages that were only prefetched beside the poison: the
//! next in line can be taken for poison too, and is then replayed or superseded like any dead letter.
//!
//! What the broker cannot tell: how much other processes hold unsettled ([`RabbitmqQueue`]'s depth counts what
//! waits in the broker and what this process holds), and why it dead-lettered a message by itself.
//!
//! This crate knows no flow, no store and no upstream.

mod acks;
mod check;
mod connection;
mod consumer;
mod dead_letters;
pub mod delay;
mod error;
mod held;
mod leftover;
mod marks;
mod message;
pub mod names;
mod options;
mod presence;
mod publisher;
mod queue;
mod receipt;
mod record;
mod sender;
pub mod topology;
mod transfer;
mod unsettled;

pub use options::Options;
pub use queue::RabbitmqQueue;
