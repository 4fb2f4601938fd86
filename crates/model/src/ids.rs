//! What targets and sources may be called: their ids stand in addresses, keys of caches and rows of databases.

/// Characters of an id, at most.
pub const MAX_ID: usize = 100;

/// What a target may be called.
///
/// # Errors
/// What is wrong, as the end of a sentence.
pub fn check_target_id(id: &str) -> Result<(), String> {
    check_id(id, "._:@-")
}

/// What a source may be called: as a target, and with slashes, as it becomes the `job` label.
///
/// # Errors
/// What is wrong, as the end of a sentence.
pub fn check_source_id(id: &str) -> Result<(), String> {
    check_id(id, "._:@/-")
}

fn check_id(id: &str, marks: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    if id.is_empty() {
        return Err("is empty".to_owned());
    }
    if id.len() > MAX_ID {
        return Err(format!("is longer than {MAX_ID} characters"));
    }
    if !id.starts_with(|c: char| c.is_ascii_alphanumeric()) || !id.chars().all(allowed) {
        return Err(format!("must begin with a letter or digit and hold only letters, digits and {marks}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_judged() {
        for good in ["a", "9.a_b:c@d-e", &"x".repeat(100)] {
            assert_eq!((check_source_id(good), check_target_id(good)), (Ok(()), Ok(())), "{good}");
        }
        assert!(check_source_id("a/b").is_ok() && check_target_id("a/b").is_err());
        for bad in ["", "-a", "a b", "\u{e9}", "a\n", &"x".repeat(101)] {
            assert!(check_source_id(bad).is_err() && check_target_id(bad).is_err(), "{bad}");
        }
    }
}
