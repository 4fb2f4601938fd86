//! Bounds on rules and on what they make.

/// Rules of one list.
pub const MAX_RULES: usize = 1_000;

/// Source labels of one rule.
pub const MAX_SOURCE_LABELS: usize = 1_000;

/// Bytes of a pattern, a replacement or a separator as they are written.
pub const MAX_TEXT_BYTES: usize = 64 << 10;

/// Bytes of a compiled pattern.
pub const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Bytes of a label's name or value that a rule makes. A rule that would make a longer one does nothing, so that rules
/// which repeat what they read cannot double it for ever.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// Labels that a list may grow to. Further ones are not added.
pub const MAX_LABELS: usize = 2_000;
