//! What librdkafka tells us: logs and errors, to `tracing`.

use std::sync::Arc;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::KafkaOptions;

/// Hears one client's messages.
#[derive(Clone)]
pub(crate) struct Context {
    options: Arc<KafkaOptions>,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

/// The last that went wrong.
#[derive(Clone)]
pub(crate) struct Trouble {
    /// No broker can be reached, as opposed to one that is slow.
    pub(crate) away: bool,
    /// In librdkafka's words.
    pub(crate) text: String,
}

impl Context {
    pub(crate) fn new(options: &Arc<KafkaOptions>) -> Self {
        Self { options: Arc::clone(options), trouble: Arc::default() }
    }

    /// The last that went wrong since [`Self::all_is_well`].
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().clone()
    }

    /// Forgets what went wrong.
    pub(crate) fn all_is_well(&self) {
        *self.trouble.lock() = None;
    }
}

impl ClientContext for Context {
    /// One step quieter than librdkafka's own levels: it calls every lost connection an error, and then mends it.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
        let message = self.options.redact(message);
        match level {
            Emerg | Alert | Critical => tracing::error!(target: "librdkafka", facility, "{message}"),
            Error | Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
            Notice => tracing::info!(target: "librdkafka", facility, "{message}"),
            Info => tracing::debug!(target: "librdkafka", facility, "{message}"),
            Debug => tracing::trace!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let text = self.options.redact(reason);
        // The same trouble stands in the logs above already.
        tracing::debug!(target: "librdkafka", error = %text, "trouble with Kafka");
        let away = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::AllBrokersDown
                    | RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::Resolve
                    | RDKafkaErrorCode::Authentication
                    | RDKafkaErrorCode::SSL
            )
        );
        *self.trouble.lock() = Some(Trouble { away, text });
    }
}

impl ConsumerContext for Context {}
