//! Kubernetes as a source of targets: the API is listed and watched, and objects become targets.
//!
//! In the order of the flow: `connect` makes a client of the settings; `watch` lists and watches one kind of objects in one
//! namespace; `object` keeps of each what labels are made of; `world` holds all of them and knows which groups depend on
//! which; `roles` make groups of targets; `provider` tells what has changed.

mod connect;
mod object;
mod provider;
mod roles;
mod watch;
mod world;

pub use provider::KubernetesProvider;
