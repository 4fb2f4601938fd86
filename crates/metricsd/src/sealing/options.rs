//! Secrets inside a target's settings for requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use metricsd_model::{HttpOptions, ScrapeOptions, Secret, SecretSource};
use metricsd_ports::PortError;

use super::Sealer;

impl Sealer {
    /// Seals every secret that stands in the settings themselves; references and what is sealed stay as they are.
    pub(crate) fn seal_options(
        &self,
        target_id: &str,
        options: &mut Arc<ScrapeOptions>,
    ) -> Result<(), PortError> {
        let mut failure = None;
        self.each(target_id, options, &mut |place, source| {
            let SecretSource::Inline(secret) = source else { return };
            // Whatever happens, what was clear does not stay so.
            match self.seal_text(place, secret.expose().to_owned()) {
                Ok(sealed) => *source = SecretSource::Sealed(sealed),
                Err(error) => failure = Some(error),
            }
        });
        failure.map_or(Ok(()), Err)
    }

    /// Unseals them, and answers whether there were any; what needs another key stays sealed, and fails the requests that
    /// need it.
    pub(crate) fn unseal_options(&self, target_id: &str, options: &mut Arc<ScrapeOptions>) -> bool {
        let mut any = false;
        self.each(target_id, options, &mut |place, source| {
            let SecretSource::Sealed(sealed) = source else { return };
            match self.unseal_text(place, sealed) {
                Some(text) => {
                    any = true;
                    *source = SecretSource::Inline(Secret::new(text));
                }
                None => tracing::debug!(target_id, "a secret of a target's settings cannot be unsealed"),
            }
        });
        any
    }

    /// Shows every secret with a name of its place: the target, the setting, and which of the setting's secrets it is.
    fn each(
        &self,
        target_id: &str,
        options: &mut Arc<ScrapeOptions>,
        each: &mut dyn FnMut(&str, &mut SecretSource),
    ) {
        // Most targets have no such settings, and those of one job share theirs.
        if options.http == HttpOptions::default() {
            return;
        }
        let mut secret = false;
        options.http.clone().visit_secrets(&mut |_, source| {
            secret |= matches!(source, SecretSource::Inline(_) | SecretSource::Sealed(_));
        });
        if !secret {
            return;
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        Arc::make_mut(options).http.visit_secrets(&mut |field, source| {
            let count = counts.entry(field.to_owned()).or_default();
            // An id holds no slash: no such place is a target's own.
            each(&format!("{target_id}/{field}/{count}"), source);
            *count += 1;
        });
    }
}
