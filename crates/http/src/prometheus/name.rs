//! Names of labels in addresses: those that are not classic are escaped, `U__` before them.

/// Undoes the escaping of a name: behind `U__` two underscores stand for one, and `_1F600_` for the character of that
/// number. What is not well escaped is taken as it stands.
pub(super) fn unescape(name: &str) -> String {
    name.strip_prefix("U__").and_then(unescaped).unwrap_or_else(|| name.to_owned())
}

fn unescaped(escaped: &str) -> Option<String> {
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('_') {
            out.push('_');
            rest = tail;
            continue;
        }
        let (digits, tail) = rest.split_once('_')?;
        // No character has more than six digits.
        if digits.len() > 6 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        out.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest = tail;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unescaped() {
        let check = |name: &str, expected: &str| assert_eq!(unescape(name), expected);
        check("job", "job");
        check("U__", "");
        check("U__http_2e_status", "http.status");
        check("U__http_2e_status__code", "http.status_code");
        check("U___e4__1F600_", "ä😀");
        check("U__a_", "U__a_");
        check("U__a_xyz_", "U__a_xyz_");
        check("U__a_d800_", "U__a_d800_");
        check("U__a_110000_", "U__a_110000_");
        check("U__a_0000041_", "U__a_0000041_");
        check("U__a__b", "a_b");
    }
}
