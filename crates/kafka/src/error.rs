//! What Kafka's errors mean to a caller.

use metricsd_ports::{ErrorKind, PortError};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::KafkaOptions;

/// An error whose cause is Kafka's, without secrets.
pub(crate) fn port_error(
    options: &KafkaOptions,
    message: impl Into<String>,
    error: &KafkaError,
) -> PortError {
    let cause = match error {
        // Its text repeats the value of the setting.
        KafkaError::ClientConfig(_, description, name, _) => format!("{name}: {description}"),
        other => other.to_string(),
    };
    PortError::new(kind_of(error), message).caused_by(options.redact(&cause))
}

fn kind_of(error: &KafkaError) -> ErrorKind {
    match error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_) => {
            ErrorKind::Invalid
        }
        KafkaError::AdminOp(code) => kind_of_code(*code),
        KafkaError::Canceled => ErrorKind::Unavailable,
        other => other.rdkafka_error_code().map_or(ErrorKind::Internal, kind_of_code),
    }
}

pub(crate) fn kind_of_code(code: Code) -> ErrorKind {
    match code {
        Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut => ErrorKind::Timeout,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => ErrorKind::Limit,
        Code::InvalidTopic
        | Code::InvalidRecord
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor => ErrorKind::Invalid,
        // Of the hundred other codes nearly all say that a broker cannot now: leaders move, replicas are missing, rights
        // are not granted yet, a producer has lost its number (it is replaced after every error).
        _ => ErrorKind::Unavailable,
    }
}
