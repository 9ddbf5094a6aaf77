//! Bodies of webhooks, read before a webhook has a place: who sends slowly keeps nobody out. What all of them hold together
//! has one bound, whether it came whole or not.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where bodies are read to.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    bytes_max: usize,
    /// A permit for each byte.
    room: Arc<Semaphore>,
}

/// A body that came whole. Its room is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is larger than one may be.
    TooLarge,
    /// It ended before it was whole, or is none.
    Broken(String),
    /// All bodies together are as large as they may be.
    NoRoom,
}

impl Bodies {
    /// Room for so many of the largest.
    pub(crate) fn new(bytes_max: usize, count: usize) -> Self {
        let room = bytes_max.saturating_mul(count).clamp(1, Semaphore::MAX_PERMITS);
        Self { bytes_max, room: Arc::new(Semaphore::new(room)) }
    }

    /// Reads one. It takes room as it comes: what is only announced takes none.
    pub(crate) async fn read(&self, body: Body) -> Result<Whole, Unread> {
        if body.size_hint().lower() > self.bytes_max as u64 {
            return Err(Unread::TooLarge);
        }
        let (mut bytes, mut room) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
        let mut parts = body.into_data_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| Unread::Broken(error.to_string()))?;
            if bytes.len().saturating_add(part.len()) > self.bytes_max {
                return Err(Unread::TooLarge);
            }
            let count = u32::try_from(part.len()).map_err(|_| Unread::TooLarge)?;
            let more = Arc::clone(&self.room).try_acquire_many_owned(count).map_err(|_| Unread::NoRoom)?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            bytes.extend_from_slice(&part);
        }
        Ok(Whole { bytes: bytes.freeze(), _room: room })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    /// A body that comes in such parts, and is not known to be of any size.
    fn parts(sizes: &[usize]) -> Body {
        let parts: Vec<Result<Bytes, std::io::Error>> =
            sizes.iter().map(|size| Ok(Bytes::from(vec![b'x'; *size]))).collect();
        Body::from_stream(stream::iter(parts))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound() {
        let bodies = Bodies::new(10, 2);
        for sizes in [&[][..], &[10], &[3, 0, 7]] {
            let whole = bodies.read(parts(sizes)).await.unwrap();
            assert_eq!(whole.bytes.len(), sizes.iter().sum::<usize>());
        }
        assert_eq!(bodies.read(parts(&[4, 7])).await.unwrap_err(), Unread::TooLarge);
        assert_eq!(bodies.read(Body::from(vec![0; 11])).await.unwrap_err(), Unread::TooLarge, "as announced");
        let broken = stream::iter([Ok(Bytes::from_static(b"x")), Err(std::io::Error::other("cut off"))]);
        let unread = bodies.read(Body::from_stream(broken)).await.unwrap_err();
        assert!(matches!(&unread, Unread::Broken(why) if why.contains("cut off")), "{unread:?}");
        assert_eq!(bodies.room.available_permits(), 20, "all room is free again");
    }

    #[tokio::test]
    async fn all_bodies_together_have_one_bound_as_long_as_they_are_held() {
        let bodies = Bodies::new(10, 2);
        let (first, second) = (bodies.read(parts(&[5, 5])).await.unwrap(), bodies.read(parts(&[6])).await);
        assert_eq!(bodies.read(parts(&[5])).await.unwrap_err(), Unread::NoRoom);
        let third = bodies.read(parts(&[4])).await.unwrap();
        assert_eq!(bodies.room.available_permits(), 0);
        drop(first);
        assert_eq!(bodies.read(parts(&[5])).await.unwrap().bytes.len(), 5);
        drop((second, third));
        assert_eq!(bodies.room.available_permits(), 20);
    }
}
