//! Clients of librdkafka end by waiting: for their threads, for a last answer. That must not hold up our threads.

use std::ops::Deref;
use std::thread;

/// A client that is dropped on a thread of its own.
pub(crate) struct Parting<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Parting<T> {
    pub(crate) fn new(client: T) -> Self {
        Self(Some(client))
    }
}

impl<T: Send + 'static> Deref for Parting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // Emptied by `drop` alone.
        self.0.as_ref().unwrap_or_else(|| unreachable!("a client is used after it was dropped"))
    }
}

impl<T: Send + 'static> Drop for Parting<T> {
    fn drop(&mut self) {
        let client = self.0.take();
        // Where no thread can be had, the closure is dropped here, and the client with it.
        let _ = thread::Builder::new().name("kafka-parting".to_owned()).spawn(move || drop(client));
    }
}
