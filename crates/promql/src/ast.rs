//! What a query says once it is read: a tree whose every node knows its place in the text.

use std::ops::Range;

use metricsd_model::{Matcher, Millis};

use crate::functions::Function;

/// Bytes of the query text, from first to one past the last.
pub type Place = Range<usize>;

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A number at each step.
    Scalar,
    /// Series with one value at each step.
    Vector,
    /// Series with a range of values at each step.
    Matrix,
    /// A text.
    String,
}

impl ValueType {
    /// As messages name it, which is how Prometheus does.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::String => "string",
        }
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub place: Place,
}

/// The kinds of nodes.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A number, or a duration as a number of seconds.
    Number {
        /// The value.
        value: f64,
        /// Written as a duration, such as `5m`.
        duration: bool,
    },
    /// A quoted text.
    String(String),
    /// `name{…} [@ …] [offset …]`
    Selector(VectorSelector),
    /// `selector[range]`
    Matrix(MatrixSelector),
    /// `expr[range:step]`
    Subquery(Box<Subquery>),
    /// `( … )`
    Paren(Box<Expr>),
    /// `- …`, `+ …`
    Unary {
        /// Minus rather than plus.
        negative: bool,
        /// The operand.
        expr: Box<Expr>,
    },
    /// `left op right`
    Binary(Box<Binary>),
    /// `sum by (…) (…)`
    Aggregation(Box<Aggregation>),
    /// `rate(…)`
    Call(Call),
}

/// A choice of series.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSelector {
    /// All must match. The metric name is an ordinary matcher on `__name__`; where it stands before the braces, or in
    /// quotes within, it is the first.
    pub matchers: Vec<Matcher>,
    /// The first matcher is a metric name that stands before the braces.
    pub named: bool,
    /// Shifts.
    pub time: TimeShift,
    /// How values at the ends of a range are found (extended ranges).
    pub boundaries: Boundaries,
}

/// `offset` and `@`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimeShift {
    /// Into the past where positive.
    pub offset: Option<DurationExpr>,
    /// At a fixed moment instead of the step's.
    pub at: Option<At>,
}

/// A fixed moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum At {
    /// `@ 1609746000`
    Time(Millis),
    /// `@ start()`
    Start,
    /// `@ end()`
    End,
}

/// Values at the ends of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Boundaries {
    /// Only the samples inside.
    #[default]
    Inside,
    /// `anchored`: the samples before each end count as standing on it.
    Anchored,
    /// `smoothed`: values at the ends are interpolated.
    Smoothed,
}

/// A duration that may be calculated when the query begins.
#[derive(Debug, Clone, PartialEq)]
pub struct DurationExpr {
    /// What it is.
    pub kind: DurationKind,
    /// Where it stands.
    pub place: Place,
}

/// The kinds of durations.
#[derive(Debug, Clone, PartialEq)]
pub enum DurationKind {
    /// In seconds: `5m` or `300`.
    Literal {
        /// The value.
        seconds: f64,
        /// Written as a duration, such as `5m`.
        duration: bool,
    },
    /// `step()`: of the query, 0 for an instant query.
    Step,
    /// `range()`: from the query's start to its end.
    Range,
    /// `( … )`
    Paren(Box<DurationExpr>),
    /// `- …`, `+ …`
    Unary {
        /// Minus rather than plus.
        negative: bool,
        /// The operand.
        expr: Box<DurationExpr>,
    },
    /// `+ - * / % ^`
    Binary {
        /// One of the six.
        op: BinaryOp,
        /// Left operand.
        left: Box<DurationExpr>,
        /// Right operand.
        right: Box<DurationExpr>,
    },
    /// `min_of(a, b)`, or `max_of(a, b)` where `max` is set
    Extreme {
        /// The greater rather than the smaller.
        max: bool,
        /// First.
        left: Box<DurationExpr>,
        /// Second.
        right: Box<DurationExpr>,
    },
}

/// A selector with a range.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixSelector {
    /// Which series; its place is that of the selector without the range.
    pub selector: VectorSelector,
    /// Place of the selector.
    pub selector_place: Place,
    /// How far back.
    pub range: DurationExpr,
}

/// An expression evaluated over a range of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Expr,
    /// How far back.
    pub range: DurationExpr,
    /// At which distance; absent: the default of the engine.
    pub step: Option<DurationExpr>,
    /// Shifts.
    pub time: TimeShift,
}

/// An operator between two expressions.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// Which.
    pub op: BinaryOp,
    /// Left operand.
    pub left: Expr,
    /// Right operand.
    pub right: Expr,
    /// `bool`: comparisons answer 0 and 1 instead of filtering.
    pub return_bool: bool,
    /// How series of two vectors find each other; absent where either side is a scalar.
    pub matching: Option<Matching>,
}

/// How series of two vectors find each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Matching {
    /// One or many on each side.
    pub cardinality: Cardinality,
    /// `on` rather than `ignoring`.
    pub on: bool,
    /// The labels of `on` or `ignoring`, as written.
    pub labels: Vec<String>,
    /// Labels that `group_left` or `group_right` take over from the "one" side.
    pub include: Vec<String>,
    /// `fill` or `fill_left`: what an absent series on the left counts as.
    pub fill_left: Option<f64>,
    /// `fill` or `fill_right`: what an absent series on the right counts as.
    pub fill_right: Option<f64>,
}

/// One or many on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    /// The default of arithmetic and comparisons.
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// `and`, `or`, `unless`
    ManyToMany,
}

/// Operators between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `>`
    Gt,
    /// `<`
    Lt,
    /// `>=`
    Ge,
    /// `<=`
    Le,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
    /// `</`: the part of a histogram below a bound
    TrimUpper,
    /// `>/`: the part of a histogram above a bound
    TrimLower,
}

impl BinaryOp {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Gt => ">",
            Self::Lt => "<",
            Self::Ge => ">=",
            Self::Le => "<=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
        }
    }

    /// `== != > < >= <=`
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Gt | Self::Lt | Self::Ge | Self::Le)
    }

    /// `and or unless`
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// Many series become few.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregation {
    /// Which.
    pub op: AggregationOp,
    /// The first argument of those that have two: `k`, φ, a label's name.
    pub param: Option<Expr>,
    /// What is aggregated.
    pub expr: Expr,
    /// `without` rather than `by`.
    pub without: bool,
    /// The labels of `by` or `without`, as written; neither written: `by ()`.
    pub grouping: Vec<String>,
}

/// Aggregations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // their names in the language say it all
pub enum AggregationOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

impl AggregationOp {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Sum,
        Self::Avg,
        Self::Count,
        Self::Min,
        Self::Max,
        Self::Group,
        Self::Stddev,
        Self::Stdvar,
        Self::Topk,
        Self::Bottomk,
        Self::CountValues,
        Self::Quantile,
        Self::Limitk,
        Self::LimitRatio,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// The type of its first argument, where it has two.
    pub fn param_type(self) -> Option<ValueType> {
        match self {
            Self::Topk | Self::Bottomk | Self::Quantile | Self::Limitk | Self::LimitRatio => {
                Some(ValueType::Scalar)
            }
            Self::CountValues => Some(ValueType::String),
            _ => None,
        }
    }

    /// Only where experimental functions are turned on.
    pub fn is_experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

/// A function with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Which.
    pub function: &'static Function,
    /// As many and of such types as the function takes.
    pub args: Vec<Expr>,
}

impl Expr {
    /// What it evaluates to.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number { .. } => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Selector(_) | ExprKind::Aggregation(_) => ValueType::Vector,
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Paren(expr) | ExprKind::Unary { expr, .. } => expr.value_type(),
            ExprKind::Call(call) => call.function.returns,
            ExprKind::Binary(binary) => {
                let scalar = |expr: &Expr| expr.value_type() == ValueType::Scalar;
                if scalar(&binary.left) && scalar(&binary.right) {
                    ValueType::Scalar
                } else {
                    ValueType::Vector
                }
            }
        }
    }

    /// The expression inside all its parentheses.
    pub fn inner(&self) -> &Self {
        match &self.kind {
            ExprKind::Paren(expr) => expr.inner(),
            _ => self,
        }
    }
}
