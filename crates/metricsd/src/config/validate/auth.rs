//! Who may come in.

use metricsd_ingest::AccessOptions;
use metricsd_model::Secret;

use super::Check;
use crate::config::settings::Settings;

/// A configured token that is shorter can be guessed.
const MIN_TOKEN: usize = 16;

impl Check<'_> {
    pub(super) fn auth(&mut self, settings: &Settings) -> AccessOptions {
        let auth = &settings.auth;
        if auth.required && auth.open {
            self.refuse("auth.open", "expected at most one of auth.open and auth.required to be true");
        }
        let (token, file) = (auth.bootstrap_token.as_ref(), auth.bootstrap_token_file.as_ref());
        let bootstrap = match token.is_some() || file.is_some() {
            true => self.secret("auth.bootstrap_token", token, file),
            false => None,
        };
        let bootstrap = bootstrap.map(|token| token.trim().to_owned());
        let fits =
            |token: &String| token.len() >= MIN_TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !bootstrap.as_ref().is_none_or(fits) {
            let message = format!("expected at least {MIN_TOKEN} visible ASCII characters, without blanks");
            self.refuse("auth.bootstrap_token", message);
        }
        AccessOptions { required: auth.required, open: auth.open, bootstrap: bootstrap.map(Secret::new) }
    }
}
