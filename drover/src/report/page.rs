//! Text for people, as lines of toned pieces.
//!
//! A page is the only way from data to a terminal: whatever is put on it is cleaned, so that no renderer can forget it. Tones
//! never carry meaning that the words do not.

use std::fmt::{self, Write as _};

use super::clean::{clean, clean_line};

/// How wide a page is, in characters: what a split terminal and a review in a browser still show without scrolling.
pub const WIDTH: usize = 100;

/// How a piece of text is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// A heading, a name that the eye looks for.
    Strong,
    /// All is well.
    Good,
    /// Look at this.
    Warn,
    /// This is wrong.
    Bad,
    /// Background.
    Faint,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Faint => "2",
        }
    }
}

/// One line: an indent and pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    indent: usize,
    pieces: Vec<(Tone, String)>,
}

impl Line {
    /// Adds a piece.
    pub fn put(&mut self, tone: Tone, text: impl fmt::Display) -> &mut Self {
        let text = text.to_string();
        self.pieces.push((tone, clean(&text).into_owned()));
        self
    }

    /// Adds a piece without a tone.
    pub fn plain(&mut self, text: impl fmt::Display) -> &mut Self {
        self.put(Tone::Plain, text)
    }

    fn write(&self, out: &mut String, coloured: bool) {
        let text: String = self.pieces.iter().map(|(_, text)| text.as_str()).collect();
        if text.trim().is_empty() {
            return;
        }
        out.extend(std::iter::repeat_n(' ', self.indent));
        if !coloured || clean_line(&text) != text {
            out.push_str(clean_line(&text).trim_end());
            return;
        }
        for (tone, text) in &self.pieces {
            match tone.code() {
                "" => out.push_str(text),
                code => {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\x1b[{code}m{text}\x1b[0m");
                }
            }
        }
    }
}

/// Lines of text. `Display` shows them without colours, each with its line break.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    lines: Vec<Line>,
}

impl Page {
    /// Begins a line.
    pub fn line(&mut self, indent: usize) -> &mut Line {
        self.lines.push(Line { indent, pieces: Vec::new() });
        self.lines.last_mut().expect("just pushed")
    }

    /// An empty line; none at the top of a page, and never two in a row.
    pub fn blank(&mut self) {
        if self.lines.last().is_some_and(|line| !line.pieces.is_empty()) {
            self.line(0);
        }
    }

    /// A heading, after an empty line.
    pub fn heading(&mut self, text: impl fmt::Display) {
        self.blank();
        self.line(0).put(Tone::Strong, text);
    }

    /// A paragraph, broken between words. The first line begins at `indent` after `lead`, the others hang below its text.
    pub fn paragraph(&mut self, indent: usize, lead: &str, tone: Tone, text: impl fmt::Display) {
        let text = text.to_string();
        let text = clean(&text);
        let hang = indent + lead.chars().count();
        let mut lead = Some(lead);
        for line in wrap(&text, WIDTH.saturating_sub(hang)) {
            let out = match lead.take() {
                Some(lead) => self.line(indent).plain(lead),
                None => self.line(hang),
            };
            out.put(tone, line);
        }
    }

    /// Columns side by side, two spaces apart. Numbers belong in right-aligned columns.
    pub fn table(&mut self, indent: usize, columns: &[Column], rows: &[Vec<(Tone, String)>]) {
        let rows: Vec<Vec<(Tone, String)>> = rows
            .iter()
            .map(|row| row.iter().map(|(tone, text)| (*tone, clean(text).into_owned())).collect())
            .collect();
        let widths: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let cells =
                    rows.iter().filter_map(|row| row.get(index)).map(|(_, text)| text.chars().count());
                cells.chain([column.title.chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let head: Vec<(Tone, String)> = columns.iter().map(|c| (Tone::Faint, c.title.to_owned())).collect();
        let titled = columns.iter().any(|column| !column.title.is_empty());
        for row in titled.then_some(&head).into_iter().chain(&rows) {
            let line = self.line(indent);
            let last = row.len().saturating_sub(1);
            for (index, ((tone, text), (column, width))) in
                row.iter().zip(columns.iter().zip(&widths)).enumerate()
            {
                let pad = " ".repeat(width - text.chars().count());
                match column.align {
                    Align::Left if index == last => line.put(*tone, text),
                    Align::Left => line.put(*tone, text).plain(format!("{pad}  ")),
                    Align::Right => {
                        line.plain(pad).put(*tone, text).plain(if index == last { "" } else { "  " })
                    }
                };
            }
        }
    }

    /// Puts another page below this one.
    pub fn append(&mut self, other: Page) {
        self.lines.extend(other.lines);
    }

    /// The text with ANSI colours.
    pub fn coloured(&self) -> String {
        self.render(true)
    }

    /// The text, with ANSI colours or without.
    pub fn render(&self, coloured: bool) -> String {
        let mut out = String::new();
        for line in &self.lines {
            line.write(&mut out, coloured);
            out.push('\n');
        }
        out
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    align: Align,
}

#[derive(Clone, Copy, Debug)]
enum Align {
    Left,
    Right,
}

impl Column {
    /// A column of words.
    pub const fn left(title: &'static str) -> Self {
        Self { title, align: Align::Left }
    }

    /// A column of numbers.
    pub const fn right(title: &'static str) -> Self {
        Self { title, align: Align::Right }
    }
}

/// Breaks text between words. A word longer than the width gets a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_aligned_wrapped_and_cleaned() {
        let mut page = Page::default();
        page.blank();
        page.line(0).put(Tone::Strong, "title").plain(" of \u{1b}[2Jit");
        page.blank();
        page.blank();
        let row = |a: &str, b: &str| vec![(Tone::Plain, a.to_owned()), (Tone::Bad, b.to_owned())];
        page.table(2, &[Column::left("name"), Column::right("n")], &[row("long name", "1"), row("x", "200")]);
        page.paragraph(2, "- ", Tone::Plain, "word ".repeat(30));
        page.line(4).plain("::error::from the cluster");
        let text = page.to_string();
        assert_eq!(
            text,
            format!(
                "title of [2Jit\n\n  name         n\n  long name    1\n  x          200\n  - {}\n    {}\n    : :error::from the cluster\n",
                ["word"; 19].join(" "),
                ["word"; 11].join(" "),
            )
        );
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(page.coloured().starts_with("\u{1b}[1mtitle\u{1b}[0m of [2Jit\n"));
    }
}
