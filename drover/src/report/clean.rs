//! Text from a cluster, made harmless.
//!
//! Pod names are tame, but messages, annotations and webhook answers are written by anybody who may write to the cluster. They
//! must neither steer a terminal nor a build agent: Azure Pipelines obeys `##vso[..]` and `##[..]` anywhere in a line, GitHub
//! obeys a line that begins with `::`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Does the character steer a terminal, or the direction in which text is read?
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The text as part of one line: control characters go (line breaks and tabs become a space), and no two `#` stand side by
/// side, so that no build agent finds a command of its own.
///
/// ```
/// assert_eq!(aks_drover::report::clean("fine"), "fine");
/// assert_eq!(aks_drover::report::clean("a\u{1b}[31mb\nc ##vso[task.setvariable]d"), "a[31mb c # #vso[task.setvariable]d");
/// ```
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) && !text.contains("##") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => out.push(' '),
            '#' if out.ends_with('#') => out.push_str(" #"),
            c if steers(c) => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A whole line of a log: cleaned, and never a command for GitHub's runner, which looks behind white space too.
pub fn clean_line(line: &str) -> Cow<'_, str> {
    let cleaned = clean(line);
    let text = cleaned.trim_start();
    if !text.starts_with("::") {
        return cleaned;
    }
    let indent = cleaned.len() - text.len();
    Cow::Owned(format!("{}: :{}", &cleaned[..indent], &text[2..]))
}

/// JSON text in which no build agent finds a command: the same data, with `##` and the characters that steer a terminal
/// written as escapes. Outside of strings JSON has none of them.
pub(crate) fn clean_json(json: String) -> String {
    let steering = |c: char| steers(c) && c != '\n';
    if !json.contains("##") && !json.contains(steering) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if steering(c) || (c == '#' && out.ends_with('#')) {
            // Every such character is in the basic plane: four digits are enough.
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_cluster_steers_a_terminal_or_a_build_agent() {
        for (text, want) in [
            ("plain, with umlauts: äöü", "plain, with umlauts: äöü"),
            ("\u{1b}]0;title\u{7}x", "]0;titlex"),
            ("one\r\ntwo\tthree", "one  two three"),
            ("user\u{202e}nimda", "usernimda"),
            ("c1 \u{9b}31m", "c1 31m"),
            ("##VSO[task.complete]", "# #VSO[task.complete]"),
            ("###[error]", "# # #[error]"),
        ] {
            assert_eq!(clean(text), want);
        }
    }

    #[test]
    fn github_finds_no_command_at_the_beginning_of_a_line() {
        assert_eq!(clean_line("  ::error::x"), "  : :error::x");
        assert_eq!(clean_line("address ::1 in the middle stays"), "address ::1 in the middle stays");
    }

    #[test]
    fn cleaned_json_is_the_same_data() {
        let data = serde_json::json!({ "message": "##vso[x] ###\u{9b}\u{1b}\n\u{202e}" });
        let text = clean_json(data.to_string());
        assert!(!text.contains("##") && !text.contains(steers), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), data);
    }
}
