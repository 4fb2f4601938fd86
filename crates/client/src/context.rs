//! What a client needs beside its settings: where it may go, and what it may read.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use metricsd_model::SecretSource;

use crate::guard::AddressPolicy;
use crate::secrets::Files;
use crate::trace::Trace;

/// Which files and variables settings may name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretAccess {
    /// All of them: the operator wrote these settings.
    Operator {
        /// Relative paths start here.
        base_dir: PathBuf,
    },
    /// Settings that came over the API.
    Confined {
        /// The only folder whose files may be read, and where relative paths start; no file where absent.
        directory: Option<PathBuf>,
        /// The only variables that may be read begin so.
        env_prefix: String,
    },
}

impl SecretAccess {
    /// Whether a reference is allowed, as far as its text tells; a link that leads out of the folder is found when it is
    /// read.
    pub fn check(&self, source: &SecretSource) -> Result<(), String> {
        let Self::Confined { directory, env_prefix } = self else {
            return Ok(());
        };
        match source {
            SecretSource::Inline(_) | SecretSource::Sealed(_) => Ok(()),
            SecretSource::Env(name) if name.starts_with(env_prefix.as_str()) => Ok(()),
            SecretSource::Env(_) => {
                Err(format!("names a variable of the environment that does not begin with {env_prefix}"))
            }
            SecretSource::File(path) => {
                let directory = directory.as_deref().ok_or(
                    "names a file, but scrape.secrets_dir, the folder whose files may be named, is not set",
                )?;
                let whole = directory.join(path);
                let climbs = whole.components().any(|part| part == Component::ParentDir);
                if climbs || !whole.starts_with(directory) {
                    return Err("names a file outside scrape.secrets_dir".to_owned());
                }
                Ok(())
            }
        }
    }

    /// The whole path of a file that may be read.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        match self {
            Self::Operator { base_dir } => base_dir.join(path),
            Self::Confined { directory, .. } => directory.as_deref().unwrap_or(Path::new("")).join(path),
        }
    }

    /// The folder that a file must really be in.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Operator { .. } => None,
            Self::Confined { directory, .. } => directory.as_deref(),
        }
    }
}

/// Reads a variable of the environment; only the binary can.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a client needs beside its settings. Clones share what is known of files.
#[derive(Clone)]
pub struct Context {
    /// Where requests may go.
    pub guard: Arc<AddressPolicy>,
    /// What settings may name.
    pub access: SecretAccess,
    /// The environment.
    pub environment: Environment,
    /// Contents of files.
    pub files: Files,
    /// Notes what requests do; for one request at a time.
    pub trace: Option<Trace>,
}

impl Context {
    /// For the operator's own settings, whose relative paths start at `base_dir`.
    pub fn operator(
        base_dir: impl Into<PathBuf>,
        guard: Arc<AddressPolicy>,
        environment: Environment,
    ) -> Self {
        let access = SecretAccess::Operator { base_dir: base_dir.into() };
        Self { guard, access, environment, files: Files::default(), trace: None }
    }

    /// The same for settings that came over the API.
    #[must_use]
    pub fn confined(&self, directory: Option<PathBuf>, env_prefix: impl Into<String>) -> Self {
        let access = SecretAccess::Confined { directory, env_prefix: env_prefix.into() };
        Self { access, ..self.clone() }
    }

    /// The same, noting what happens.
    #[must_use]
    pub fn traced(&self, trace: Trace) -> Self {
        Self { trace: Some(trace), ..self.clone() }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("access", &self.access).field("guard", &self.guard).finish()
    }
}
