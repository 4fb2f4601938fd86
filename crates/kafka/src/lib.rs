//! Kafka: the event bus, and the log that carries batches to the writers.
//!
//! The bus is one topic, one record an event, key `source_id`, value the documented JSON or protobuf. The sample log is one
//! topic, one record a batch, key the target (or the source, where there is none), value `proto/batch.proto`.
//!
//! In reading order: [`KafkaOptions`] says what can be set, `sender` sends records, [`KafkaBus`] publishes, `reader` follows
//! the topic, `topic` makes it, `wire` is what a record holds; [`KafkaLog`] is the sink that writes the sample log,
//! [`LogWriter`] brings it to the stores. librdkafka does the talking; its threads never run our code.

mod bus;
mod context;
mod error;
mod log;
mod options;
mod parting;
mod reader;
mod sender;
mod topic;
mod wire;
mod writer;

pub use bus::KafkaBus;
pub use log::KafkaLog;
pub use options::KafkaOptions;
pub use wire::EventFormat;
pub use writer::{LogStatus, LogWriter, Stored, StoredRoute};
