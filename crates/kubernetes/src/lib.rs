//! Kubernetes as a source of targets: the API is listed and watched, and objects become targets.
