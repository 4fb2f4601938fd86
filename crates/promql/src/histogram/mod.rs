//! Arithmetic of native histograms.
