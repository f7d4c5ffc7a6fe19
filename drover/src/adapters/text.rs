//! Text from services, fit for one line.

/// The longest message that is passed on.
const LONGEST: usize = 1000;

/// One line without control characters: what a service says may end up in a terminal and in a CI log.
pub(crate) fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let spaced: String = text.chars().map(plain).collect();
    let joined = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    match joined.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &joined[..end]),
        None => joined,
    }
}

/// An error with what lies under it, in one text. A cause that only repeats what was said is left out.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        below = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_move_a_cursor_or_begin_a_line_is_gone() {
        assert_eq!(one_line("a\r\n##vso[x]\t\u{1b}[2Jb"), "a ##vso[x] [2Jb");
        assert_eq!(one_line(&"ä".repeat(2000)).chars().count(), LONGEST + 3);
    }
}
