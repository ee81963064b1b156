//! Cuts what arrives into lines. A line ends with CRLF and with nothing else (RFC 5321, section 2.3.8): where a bare LF
//! is taken for an end, one mail can be smuggled within another.

use std::mem;

use bytes::BytesMut;

/// In bytes; the longest that a server has to take is 1,000 (RFC 5321, section 4.5.3.1.6).
pub const LONGEST_LINE: usize = 8_000;
const READ_AHEAD: usize = 16_384;
const END: &[u8] = b"\r\n";

#[derive(Default)]
pub struct Lines {
    buffer: BytesMut,
    /// So many bytes of it begin no end of a line.
    searched: usize,
    /// The beginning of this line was too long, and is gone.
    skipping: bool,
}

impl Lines {
    /// Where to put what arrives next.
    pub fn room(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ_AHEAD);
        &mut self.buffer
    }

    /// The next whole line with its end. Of a line that is too long only the beginning, which has no end and is
    /// therefore neither a command nor a line of a mail.
    pub fn next_line(&mut self) -> Option<BytesMut> {
        loop {
            let Some(end) = self.end() else { return self.beginning() };
            let mut line = self.buffer.split_to(end);
            self.searched = 0;
            if line.len() > LONGEST_LINE {
                line.truncate(LONGEST_LINE);
            }
            if !mem::take(&mut self.skipping) {
                return Some(line);
            }
        }
    }

    fn end(&mut self) -> Option<usize> {
        let found = self.buffer[self.searched..].windows(END.len()).position(|two| two == END);
        let end = found.map(|at| self.searched + at + END.len());
        self.searched = self.buffer.len().saturating_sub(1);
        end
    }

    /// Of a line without an end, if it is too long already.
    fn beginning(&mut self) -> Option<BytesMut> {
        if self.buffer.len() <= LONGEST_LINE {
            return None;
        }
        // The last byte may be half of the end.
        let mut beginning = self.buffer.split_to(self.buffer.len() - 1);
        self.searched = 0;
        beginning.truncate(LONGEST_LINE);
        (!mem::replace(&mut self.skipping, true)).then_some(beginning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of what arrives in these pieces.
    fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            lines.room().extend_from_slice(piece);
            while let Some(line) = lines.next_line() {
                found.push(line.to_vec());
            }
        }
        found
    }

    #[test]
    fn lines_are_the_same_wherever_what_arrives_is_cut() {
        let text = b"one\r\n\r\n.\r\ntwo\nthree\r\n\r\r\n";
        let expected: [&[u8]; 5] = [b"one\r\n", b"\r\n", b".\r\n", b"two\nthree\r\n", b"\r\r\n"];
        assert_eq!(lines(&[text]), expected);
        assert_eq!(lines(&text.chunks(1).collect::<Vec<_>>()), expected);
        for cut in 0..text.len() {
            assert_eq!(lines(&[&text[..cut], &text[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn of_a_line_that_is_too_long_only_the_beginning_is_left_and_the_next_is_whole() {
        for length in [LONGEST_LINE - 1, LONGEST_LINE, 5 * LONGEST_LINE] {
            let text = [&vec![b'x'; length], b"\r\nNOOP\r\n".as_slice()].concat();
            for size in [1, 999, LONGEST_LINE + 1, text.len()] {
                let found = lines(&text.chunks(size).collect::<Vec<_>>());
                assert_eq!(found.len(), 2, "{length} bytes in pieces of {size}");
                assert!(found[0].len() <= LONGEST_LINE && !found[0].ends_with(END));
                assert_eq!(found[1], b"NOOP\r\n");
            }
        }
        let longest = [&vec![b'x'; LONGEST_LINE - END.len()], END].concat();
        assert_eq!(lines(&[&longest]), [longest]);
    }
}
