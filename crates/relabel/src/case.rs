//! Upper and lower case letter by letter: Unicode's simple mappings (`UnicodeData.txt`), which never change the number
//! of letters, as opposed to the full ones of the standard library.

/// Every letter in lower case.
pub(crate) fn lower(text: &str) -> String {
    // The only letter whose full mapping is longer: İ, an i and a dot above.
    text.chars().map(|letter| letter.to_lowercase().next().unwrap_or(letter)).collect()
}

/// Every letter in upper case.
pub(crate) fn upper(text: &str) -> String {
    text.chars().map(upper_letter).collect()
}

fn upper_letter(letter: char) -> char {
    let mut full = letter.to_uppercase();
    match (full.next(), full.next()) {
        (Some(only), None) => only,
        _ => single(letter),
    }
}

/// Simple mappings of letters whose full mapping is longer: Greek ones with iota subscript have a title case of one
/// letter; all others (ß, ŉ, ligatures) stay as they are.
fn single(letter: char) -> char {
    let offset = match letter {
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => 8,
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => 9,
        _ => 0,
    };
    char::from_u32(u32::from(letter) + offset).unwrap_or(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_change_one_by_one() {
        assert_eq!((lower("ÀB-1Ω"), upper("àb-1ω")), ("àb-1ω".to_owned(), "ÀB-1Ω".to_owned()));
        assert_eq!(upper("straße ŉ ﬁ"), "STRAßE ŉ ﬁ", "no letter becomes two");
        assert_eq!(lower("İΣ"), "iσ", "the final sigma is no matter of single letters");
        assert_eq!((upper("ᾀᾳῳ"), upper("ǆ")), ("ᾈᾼῼ".to_owned(), "Ǆ".to_owned()));
    }
}
