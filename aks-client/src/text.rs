//! Text that came from a server, made fit to be shown.

/// The longest server message kept, in characters. A failed drain lists every blocked pod and its budget in one
/// message; 4,000 characters hold about forty of them. Longer and one error would fill a CI log page.
const LONGEST: usize = 4_000;

/// Control characters removed (a line break becomes a space), runs of blanks joined, and the text cut at
/// [`LONGEST`] characters with an ellipsis.
pub(crate) fn clean(text: &str) -> String {
    shorten(text, LONGEST)
}

/// As [`clean`], cut after `longest` characters.
pub(crate) fn shorten(text: &str, longest: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(longest));
    let mut kept = 0;
    let mut blank = true;
    for character in text.chars() {
        // Escape sequences lose their introducer, so a terminal shows them as harmless text.
        let character = if character.is_whitespace() { ' ' } else { character };
        if is_unshowable(character) || (character == ' ' && blank) {
            continue;
        }
        if kept == longest {
            clean.push('…');
            return clean;
        }
        blank = character == ' ';
        clean.push(character);
        kept += 1;
    }
    clean.truncate(clean.trim_end().len());
    clean
}

/// Control characters, and the format characters that turn the reading direction of a line.
fn is_unshowable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text between the first two `'` after `marker`, compared without case, with the rest that follows it.
pub(crate) fn quoted_after<'t>(text: &'t str, marker: &str) -> Option<(&'t str, &'t str)> {
    let start = find_ignoring_case(text, marker)? + marker.len();
    let (_, after) = text[start..].split_once('\'')?;
    after.split_once('\'')
}

/// Where `needle` (ASCII) begins in `text`, compared without ASCII case.
pub(crate) fn find_ignoring_case(text: &str, needle: &str) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    text.as_bytes().windows(needle.len()).position(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
}

/// Whether `text` contains `needle` (ASCII), compared without ASCII case.
pub(crate) fn contains_ignoring_case(text: &str, needle: &str) -> bool {
    find_ignoring_case(text, needle).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_loses_control_characters_and_keeps_its_words() {
        assert_eq!(clean("drain\r\n\tfailed \u{1b}[31mred\u{7}\u{202e} end "), "drain failed [31mred end");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(shorten("äöüß", 2), "äö…");
        assert_eq!(shorten("äö", 2), "äö");
    }

    #[test]
    fn a_marker_is_found_in_any_case_and_a_missing_quote_is_no_match() {
        assert_eq!(quoted_after("over SCOPE '/a' rest", "scope"), Some(("/a", " rest")));
        assert_eq!(quoted_after("scope 'open", "scope"), None);
    }
}
