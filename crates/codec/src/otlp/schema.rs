//! The messages of a request as tables: what JSON calls a field, its number, and how its value is written.

/// How a field is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Text,
    /// Base64 in JSON.
    Bytes,
    /// Two digits a byte in JSON: ids of traces and spans.
    Hex,
    Bool,
    Double,
    Fixed64,
    SFixed64,
    Int64,
    UInt64,
    SInt32,
    /// Enumerations too, of which JSON has the numbers.
    UInt32,
    Message(&'static Schema),
}

/// One field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) form: Form,
    pub(super) repeated: bool,
}

/// One message.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
}

const fn one(number: u32, name: &'static str, form: Form) -> Field {
    Field { name, number, form, repeated: false }
}

const fn many(number: u32, name: &'static str, form: Form) -> Field {
    Field { name, number, form, repeated: true }
}

pub(super) static REQUEST: Schema = Schema {
    name: "ExportMetricsServiceRequest",
    fields: &[many(1, "resourceMetrics", Form::Message(&RESOURCE_METRICS))],
};

static RESOURCE_METRICS: Schema = Schema {
    name: "ResourceMetrics",
    fields: &[
        one(1, "resource", Form::Message(&RESOURCE)),
        many(2, "scopeMetrics", Form::Message(&SCOPE_METRICS)),
        one(3, "schemaUrl", Form::Text),
    ],
};

static RESOURCE: Schema =
    Schema { name: "Resource", fields: &[many(1, "attributes", Form::Message(&KEY_VALUE))] };

static SCOPE_METRICS: Schema = Schema {
    name: "ScopeMetrics",
    fields: &[
        one(1, "scope", Form::Message(&SCOPE)),
        many(2, "metrics", Form::Message(&METRIC)),
        one(3, "schemaUrl", Form::Text),
    ],
};

static SCOPE: Schema = Schema {
    name: "InstrumentationScope",
    fields: &[
        one(1, "name", Form::Text),
        one(2, "version", Form::Text),
        many(3, "attributes", Form::Message(&KEY_VALUE)),
    ],
};

static METRIC: Schema = Schema {
    name: "Metric",
    fields: &[
        one(1, "name", Form::Text),
        one(2, "description", Form::Text),
        one(3, "unit", Form::Text),
        one(5, "gauge", Form::Message(&GAUGE)),
        one(7, "sum", Form::Message(&SUM)),
        one(9, "histogram", Form::Message(&HISTOGRAM)),
        one(10, "exponentialHistogram", Form::Message(&EXPONENTIAL)),
        one(11, "summary", Form::Message(&SUMMARY)),
    ],
};

static GAUGE: Schema =
    Schema { name: "Gauge", fields: &[many(1, "dataPoints", Form::Message(&NUMBER_POINT))] };

static SUM: Schema = Schema {
    name: "Sum",
    fields: &[
        many(1, "dataPoints", Form::Message(&NUMBER_POINT)),
        one(2, "aggregationTemporality", Form::UInt32),
        one(3, "isMonotonic", Form::Bool),
    ],
};

static HISTOGRAM: Schema = Schema {
    name: "Histogram",
    fields: &[
        many(1, "dataPoints", Form::Message(&HISTOGRAM_POINT)),
        one(2, "aggregationTemporality", Form::UInt32),
    ],
};

static EXPONENTIAL: Schema = Schema {
    name: "ExponentialHistogram",
    fields: &[
        many(1, "dataPoints", Form::Message(&EXPONENTIAL_POINT)),
        one(2, "aggregationTemporality", Form::UInt32),
    ],
};

static SUMMARY: Schema =
    Schema { name: "Summary", fields: &[many(1, "dataPoints", Form::Message(&SUMMARY_POINT))] };

static NUMBER_POINT: Schema = Schema {
    name: "NumberDataPoint",
    fields: &[
        many(7, "attributes", Form::Message(&KEY_VALUE)),
        one(2, "startTimeUnixNano", Form::Fixed64),
        one(3, "timeUnixNano", Form::Fixed64),
        one(4, "asDouble", Form::Double),
        one(6, "asInt", Form::SFixed64),
        many(5, "exemplars", Form::Message(&EXEMPLAR)),
        one(8, "flags", Form::UInt32),
    ],
};

static HISTOGRAM_POINT: Schema = Schema {
    name: "HistogramDataPoint",
    fields: &[
        many(9, "attributes", Form::Message(&KEY_VALUE)),
        one(2, "startTimeUnixNano", Form::Fixed64),
        one(3, "timeUnixNano", Form::Fixed64),
        one(4, "count", Form::Fixed64),
        one(5, "sum", Form::Double),
        many(6, "bucketCounts", Form::Fixed64),
        many(7, "explicitBounds", Form::Double),
        many(8, "exemplars", Form::Message(&EXEMPLAR)),
        one(10, "flags", Form::UInt32),
    ],
};

static EXPONENTIAL_POINT: Schema = Schema {
    name: "ExponentialHistogramDataPoint",
    fields: &[
        many(1, "attributes", Form::Message(&KEY_VALUE)),
        one(2, "startTimeUnixNano", Form::Fixed64),
        one(3, "timeUnixNano", Form::Fixed64),
        one(4, "count", Form::Fixed64),
        one(5, "sum", Form::Double),
        one(6, "scale", Form::SInt32),
        one(7, "zeroCount", Form::Fixed64),
        one(8, "positive", Form::Message(&BUCKETS)),
        one(9, "negative", Form::Message(&BUCKETS)),
        one(10, "flags", Form::UInt32),
        many(11, "exemplars", Form::Message(&EXEMPLAR)),
        one(14, "zeroThreshold", Form::Double),
    ],
};

static BUCKETS: Schema = Schema {
    name: "Buckets",
    fields: &[one(1, "offset", Form::SInt32), many(2, "bucketCounts", Form::UInt64)],
};

static SUMMARY_POINT: Schema = Schema {
    name: "SummaryDataPoint",
    fields: &[
        many(7, "attributes", Form::Message(&KEY_VALUE)),
        one(2, "startTimeUnixNano", Form::Fixed64),
        one(3, "timeUnixNano", Form::Fixed64),
        one(4, "count", Form::Fixed64),
        one(5, "sum", Form::Double),
        many(6, "quantileValues", Form::Message(&QUANTILE)),
        one(8, "flags", Form::UInt32),
    ],
};

static QUANTILE: Schema = Schema {
    name: "ValueAtQuantile",
    fields: &[one(1, "quantile", Form::Double), one(2, "value", Form::Double)],
};

static EXEMPLAR: Schema = Schema {
    name: "Exemplar",
    fields: &[
        many(7, "filteredAttributes", Form::Message(&KEY_VALUE)),
        one(2, "timeUnixNano", Form::Fixed64),
        one(3, "asDouble", Form::Double),
        one(6, "asInt", Form::SFixed64),
        one(4, "spanId", Form::Hex),
        one(5, "traceId", Form::Hex),
    ],
};

static KEY_VALUE: Schema = Schema {
    name: "KeyValue",
    fields: &[one(1, "key", Form::Text), one(2, "value", Form::Message(&ANY_VALUE))],
};

static ANY_VALUE: Schema = Schema {
    name: "AnyValue",
    fields: &[
        one(1, "stringValue", Form::Text),
        one(2, "boolValue", Form::Bool),
        one(3, "intValue", Form::Int64),
        one(4, "doubleValue", Form::Double),
        one(5, "arrayValue", Form::Message(&ARRAY)),
        one(6, "kvlistValue", Form::Message(&KEY_VALUES)),
        one(7, "bytesValue", Form::Bytes),
    ],
};

static ARRAY: Schema = Schema { name: "ArrayValue", fields: &[many(1, "values", Form::Message(&ANY_VALUE))] };

static KEY_VALUES: Schema =
    Schema { name: "KeyValueList", fields: &[many(1, "values", Form::Message(&KEY_VALUE))] };
