//! Windows for tests.

use std::sync::Arc;

use metricsd_model::{Millis, NativeHistogram, ResetHint, Span};

use crate::annotation::Annotations;
use crate::ast::Boundaries;
use crate::functions::{RangeContext, RangeFn, Sample, Window};
use crate::value::PointValue;

/// What a range function is to be asked; times in seconds. The window reaches from 0 to 60 s.
#[derive(Debug, Clone)]
pub(in crate::functions) struct Case {
    pub(in crate::functions) name: &'static str,
    pub(in crate::functions) floats: Vec<(f64, f64)>,
    pub(in crate::functions) histograms: Vec<(f64, NativeHistogram)>,
    pub(in crate::functions) start: f64,
    pub(in crate::functions) end: f64,
    pub(in crate::functions) before: Option<(f64, f64)>,
    pub(in crate::functions) after: Option<(f64, f64)>,
    pub(in crate::functions) histogram_before: Option<(f64, NativeHistogram)>,
    pub(in crate::functions) histogram_after: Option<(f64, NativeHistogram)>,
    pub(in crate::functions) boundaries: Boundaries,
    pub(in crate::functions) args: Vec<f64>,
    pub(in crate::functions) at: f64,
}

/// Floats at times in seconds.
pub(in crate::functions) fn floats(floats: &[(f64, f64)]) -> Case {
    Case {
        name: "x_total",
        floats: floats.to_vec(),
        histograms: Vec::new(),
        start: 0.0,
        end: 60.0,
        before: None,
        after: None,
        histogram_before: None,
        histogram_after: None,
        boundaries: Boundaries::Inside,
        args: Vec::new(),
        at: 60.0,
    }
}

/// Floats at 10 s, 20 s and so on.
pub(in crate::functions) fn values(values: &[f64]) -> Case {
    floats(&(1..).zip(values).map(|(i, value)| (f64::from(i) * 10.0, *value)).collect::<Vec<_>>())
}

impl Case {
    pub(in crate::functions) fn with(mut self, histograms: &[(f64, NativeHistogram)]) -> Self {
        self.histograms = histograms.to_vec();
        self
    }

    /// The answer, and the text of every remark.
    pub(in crate::functions) fn ask(&self, function: RangeFn) -> (Option<PointValue>, Vec<String>) {
        let (timestamps, values) = columns(&self.floats);
        let (histogram_timestamps, histograms) = columns(&self.histograms);
        let histograms: Vec<_> = histograms.into_iter().map(Arc::new).collect();
        let millis_of = |sample: (f64, f64)| (millis(sample.0), Sample::Float(sample.1));
        let around = [&self.histogram_before, &self.histogram_after];
        let around = around.map(|end| end.clone().map(|(at, histogram)| (millis(at), Arc::new(histogram))));
        let has_floats = !self.floats.is_empty() || self.before.is_some() || self.after.is_some();
        let has_histograms = !histograms.is_empty() || around.iter().any(Option::is_some);
        let window = Window {
            timestamps: &timestamps,
            values: &values,
            histogram_timestamps: &histogram_timestamps,
            histograms: &histograms,
            falls: values.windows(2).any(|pair| pair[1] < pair[0]),
            start: millis(self.start),
            end: millis(self.end),
            before: self.before.map(millis_of).or(around[0].as_ref().map(timed)),
            after: self.after.map(millis_of).or(around[1].as_ref().map(timed)),
            mixed: has_floats && has_histograms,
        };
        let annotations = Annotations::default();
        let context = RangeContext {
            args: &self.args,
            at: millis(self.at),
            name: self.name,
            boundaries: self.boundaries,
            annotations: &annotations,
            remarked: &std::cell::RefCell::default(),
            place: &(5..6),
            arg_places: &[7..8, 9..10],
        };
        let value = function(&window, &context);
        let (mut remarks, infos) = annotations.finish("");
        remarks.extend(infos);
        (value, remarks)
    }

    /// The answer where it is a float and nothing is remarked.
    pub(in crate::functions) fn float(&self, function: RangeFn) -> Option<f64> {
        let (value, remarks) = self.ask(function);
        assert_eq!(remarks, Vec::<String>::new());
        value.map(|value| value.as_float().unwrap())
    }

    /// The histogram in the answer.
    pub(in crate::functions) fn histogram(&self, function: RangeFn) -> NativeHistogram {
        match self.ask(function).0 {
            Some(PointValue::Histogram(histogram)) => (*histogram).clone(),
            other => panic!("no histogram: {other:?}"),
        }
    }

    /// Nothing is answered, and one thing is remarked, which holds the words.
    pub(in crate::functions) fn refused(&self, function: RangeFn, words: &str) {
        let (value, remarks) = self.ask(function);
        assert_eq!(value, None);
        assert!(remarks.len() == 1 && remarks[0].contains(words), "{remarks:?}");
    }

    /// Something is answered, and one thing is remarked, which holds the words.
    pub(in crate::functions) fn remarked(&self, function: RangeFn, words: &str) -> PointValue {
        let (value, remarks) = self.ask(function);
        assert!(remarks.len() == 1 && remarks[0].contains(words), "{remarks:?}");
        value.unwrap()
    }
}

fn columns<T: Clone>(samples: &[(f64, T)]) -> (Vec<Millis>, Vec<T>) {
    samples.iter().map(|(at, value)| (millis(*at), value.clone())).unzip()
}

fn timed((at, histogram): &(Millis, Arc<NativeHistogram>)) -> (Millis, Sample<'_>) {
    (*at, Sample::Histogram(histogram))
}

fn millis(seconds: f64) -> Millis {
    (seconds * 1e3) as Millis
}

/// A histogram of schema 0 with these buckets from (0.5, 1] on, a sum of ten times its count.
pub(in crate::functions) fn exponential(buckets: &[f64]) -> NativeHistogram {
    let count = buckets.iter().sum();
    NativeHistogram {
        count,
        sum: count * 10.0,
        positive_spans: vec![Span { offset: 0, length: buckets.len() as u32 }],
        positive_buckets: buckets.to_vec(),
        ..NativeHistogram::default()
    }
}

/// A histogram of custom buckets with these upper bounds, and one more bucket above.
pub(in crate::functions) fn custom(bounds: &[f64], buckets: &[f64]) -> NativeHistogram {
    NativeHistogram { schema: -53, custom_values: bounds.to_vec(), ..exponential(buckets) }
}

pub(in crate::functions) fn hinted(histogram: NativeHistogram, reset_hint: ResetHint) -> NativeHistogram {
    NativeHistogram { reset_hint, ..histogram }
}

pub(in crate::functions) fn gauge(histogram: NativeHistogram) -> NativeHistogram {
    hinted(histogram, ResetHint::Gauge)
}
