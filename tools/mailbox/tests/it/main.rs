//! The mailbox as its senders meet it: a process that speaks SMTP on a port, and a folder of mails.
#![allow(clippy::unwrap_used)]

mod mailbox;
mod mails;
mod program;
mod words;
