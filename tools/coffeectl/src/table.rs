//! Plain aligned text: readable in any terminal, in a log, and by `awk`.

use std::fmt;

pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(headings: [&str; N]) -> Table {
        Table { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    fn width(&self, column: usize) -> usize {
        self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    }

    /// Columns of numbers are easier to compare when their ends meet.
    fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().skip(1).filter_map(|row| row.get(column)).peekable();
        cells.peek().is_some()
            && cells.all(|cell| cell == "–" || cell.chars().all(|c| c.is_ascii_digit() || c == ','))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows[0].len();
        let layout: Vec<(usize, bool)> = (0..columns).map(|n| (self.width(n), self.is_numeric(n))).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, (width, numeric)) in row.iter().zip(&layout) {
                if *numeric {
                    line.push_str(&format!("{cell:>width$}  "));
                } else {
                    line.push_str(&format!("{cell:<width$}  "));
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// At most `max` characters on one line.
pub fn shortened(text: &str, max: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= max {
        return line;
    }
    line.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// A length of time as a person says it: `4s`, `3m 20s`, `2days 4h`.
pub fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let coarse = if seconds > 86_400 { seconds / 3600 * 3600 } else { seconds };
    let coarse = if coarse > 3600 { coarse / 60 * 60 } else { coarse };
    humantime::format_duration(std::time::Duration::from_secs(coarse)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_and_words_begin_together() {
        let mut table = Table::new(["consumer", "lag"]);
        table.row(["payment".into(), "7".into()]);
        table.row(["email".into(), "1200".into()]);
        table.row(["loyalty".into(), "–".into()]);
        assert_eq!(table.to_string(), "consumer   lag\npayment      7\nemail     1200\nloyalty      –\n");
    }

    #[test]
    fn a_long_or_broken_text_stays_on_its_line() {
        assert_eq!(shortened("one\ntwo three", 8), "one two…");
        assert_eq!(shortened("short", 8), "short");
    }

    #[test]
    fn old_things_are_told_coarsely() {
        assert_eq!(age(200.7), "3m 20s");
        assert_eq!(age(3.0 * 86_400.0 + 3723.0), "3days 1h");
    }
}
