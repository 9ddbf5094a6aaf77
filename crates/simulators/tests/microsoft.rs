//! Microsoft: the identity platform and Graph, over HTTP, held against the vendor's recorded examples.

mod batch;
mod client;
mod delta;
mod events;
mod identity;
mod limits;
mod meetings;
mod notifications;
mod restart;
mod series;
mod shapes;
