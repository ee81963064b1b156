//! What is done with a mail while mailin speaks SMTP with its sender: its lines are collected, and at its end it is kept
//! or refused.

use std::io;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use mailin::{Handler, Response, response};

use crate::maildir::Maildir;

/// Of one mail, in bytes.
pub const LARGEST_MAIL: usize = 10_000_000;
/// Of one mail; every server takes as many (RFC 5321, section 4.5.3.1.8).
pub const RECIPIENTS: usize = 100;

pub struct Clerk {
    maildir: Arc<Maildir>,
    recipients: usize,
    /// So far, or why it will be refused.
    mail: Result<Vec<u8>, Response>,
}

impl Clerk {
    pub fn new(maildir: Arc<Maildir>) -> Self {
        Self { maildir, recipients: 0, mail: Ok(Vec::new()) }
    }

    fn keep(&self, mail: &[u8]) -> Result<(), Response> {
        self.maildir.keep(mail).map_err(|error| {
            eprintln!("a mail could not be kept: {error}");
            refusal(451, "The mail could not be kept, try again later")
        })
    }
}

impl Handler for Clerk {
    fn mail(&mut self, _: IpAddr, _: &str, _: &str) -> Response {
        self.recipients = 0;
        response::OK
    }

    fn rcpt(&mut self, _: &str) -> Response {
        if self.recipients == RECIPIENTS {
            return Response::custom(452, "Too many recipients".to_owned());
        }
        self.recipients += 1;
        response::OK
    }

    fn data_start(&mut self, _: &str, _: &str, _: bool, _: &[String]) -> Response {
        self.mail = Ok(Vec::new());
        response::OK
    }

    /// Gets one line, without the dot that was put before its own. It never fails, for mailin would answer in the middle
    /// of the mail.
    fn data(&mut self, line: &[u8]) -> io::Result<()> {
        if let Ok(mail) = &mut self.mail {
            match line.strip_suffix(b"\r\n") {
                // See `Lines`.
                None => self.mail = Err(refusal(500, "A line of the mail is too long")),
                Some(text) if mail.len() + text.len() >= LARGEST_MAIL => {
                    self.mail = Err(refusal(552, "The mail is too large"));
                }
                // Files have the line ends of this system.
                Some(text) => {
                    mail.extend_from_slice(text);
                    mail.push(b'\n');
                }
            }
        }
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        let mail = mem::replace(&mut self.mail, Ok(Vec::new()));
        mail.and_then(|mail| self.keep(&mail)).err().unwrap_or(response::OK)
    }
}

/// The answer to a whole mail. Whatever it is, the mail is over (RFC 5321, section 4.1.1.4); after one that is an error
/// to mailin it would take the next commands for lines of the same mail.
fn refusal(code: u16, why: &str) -> Response {
    let mut answer = Response::custom(code, why.to_owned());
    answer.is_error = false;
    answer
}
