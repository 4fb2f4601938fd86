//! The event bus in Kafka: one topic, one record an event, key `source_id`, value the documented JSON or protobuf.
//!
//! In reading order: [`KafkaOptions`] says what can be set, [`KafkaBus`] publishes, `reader` follows the topic,
//! `topic` makes it, `wire` is what a record holds. librdkafka does the talking; its threads never run our code.

mod bus;
mod context;
mod error;
mod options;
mod parting;
mod reader;
mod topic;
mod wire;

pub use bus::KafkaBus;
pub use options::KafkaOptions;
pub use wire::EventFormat;
