//! Text that came from a server, made fit for a message: short, on one line, without control characters.

/// Longest server text kept in a message, in characters. Rancher's longest useful message (an impersonation
/// failure with its cause) is about 250; an HTML page must not become an error message.
const LONGEST: usize = 300;

/// One line of at most [`LONGEST`] characters. Control characters and the marks that reorder text on a terminal
/// are dropped, and line breaks become spaces, so that a hostile answer can neither move a cursor nor start a
/// line of its own in a log.
pub(crate) fn clean(text: &str) -> String {
    let mut line = String::new();
    let mut kept = 0;
    let mut space_due = false;
    for c in text.chars() {
        if c.is_whitespace() || matches!(c, '\u{2028}' | '\u{2029}') {
            space_due = kept > 0;
            continue;
        }
        if c.is_control() || is_reordering(c) {
            continue;
        }
        if kept >= LONGEST {
            line.push('…');
            return line;
        }
        if std::mem::take(&mut space_due) {
            line.push(' ');
            kept += 1;
        }
        line.push(c);
        kept += 1;
    }
    line
}

/// [`clean`] for bytes that may not be UTF-8.
pub(crate) fn clean_bytes(bytes: &[u8]) -> String {
    // Four bytes is the longest character, and white space may be dropped; more would be cut off anyway.
    let head = &bytes[..bytes.len().min(LONGEST * 16)];
    clean(&String::from_utf8_lossy(head))
}

fn is_reordering(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_text_cannot_start_a_line_or_move_the_cursor() {
        let hostile = "first\r\n##vso[task.setvariable]\u{1b}[2J\u{202e}evil\0 end\n";
        assert_eq!(clean(hostile), "first ##vso[task.setvariable][2Jevil end");
    }

    #[test]
    fn a_page_of_html_becomes_a_short_excerpt() {
        let page = "<html>".repeat(10_000);
        assert_eq!(clean(&page).chars().count(), LONGEST + 1);
        assert!(clean_bytes(page.as_bytes()).ends_with('…'));
        assert_eq!(clean_bytes(b"caf\xff"), "caf\u{fffd}");
    }
}
