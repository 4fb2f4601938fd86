//! Bytes to the model and back; no I/O, no clock, and no input on which it panics.
//!
//! In reading order: which format a target's page has ([`negotiation`]), what the page says ([`exposition`], [`metric_family`]), what a push of custom metrics says ([`custom`]),
//! what Prometheus writes and reads remotely ([`remote_write`], [`remote_read`]), what line protocols say ([`line_names`], [`influx`], [`graphite`], [`statsd`]), what is pushed to a Pushgateway ([`pushgateway`]), what OpenTelemetry pushes ([`otlp`]), how columns are kept as blobs ([`pack`]), how an event travels as protobuf ([`event`]),
//! how a whole batch does, to the spool and the sample log ([`batch`]).

pub mod negotiation;

pub mod exposition;

pub mod metric_family;

pub mod custom;

pub mod remote_write;

pub mod remote_write2;

pub mod remote_read;

pub mod line_names;

pub mod influx;

pub mod pushgateway;

pub mod graphite;

pub mod otlp;
pub mod statsd;

pub mod pack;

pub mod event;

pub mod batch;

mod buckets;
mod wire;
