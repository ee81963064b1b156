//! What can be said to it, word for word.

use crate::mailbox::Mailbox;

const MAIL: &str =
    "MAIL FROM:<shop@example.com>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\nSubject: hi\r\n\r\nhi\r\n.\r\n";

#[test]
fn one_connection_carries_many_mails() {
    let mailbox = Mailbox::start();
    let mut sender = mailbox.greeted();
    assert_eq!(sender.send("one\r\n"), 250);
    assert_eq!(sender.ask("NOOP\r\n"), 250);
    assert_eq!(sender.ask("MAIL FROM:<shop@example.com>\r\n"), 250);
    assert_eq!(sender.ask("RSET\r\n"), 250);
    assert_eq!(sender.send("two\r\n"), 250);
    assert_eq!(sender.ask("QUIT\r\n"), 221);
    assert!(sender.is_left());
    assert_eq!(mailbox.mails(), [b"one\n", b"two\n"]);
}

#[test]
fn everything_can_be_said_at_once_or_letter_by_letter() {
    let mailbox = Mailbox::start();
    let mut sender = mailbox.greeted();
    sender.say("EHLO shop\r\n");
    let offers = sender.hear_all();
    assert!(offers.iter().any(|line| line.ends_with("PIPELINING\r\n")), "{offers:?}");
    let words = format!("EHLO shop\r\n{}QUIT\r\n", MAIL.repeat(3));
    for size in [words.len(), 1, 7] {
        let mut sender = mailbox.call();
        for letters in words.as_bytes().chunks(size) {
            sender.say(letters);
        }
        assert_eq!([sender.hear(), sender.hear()], [220, 250]);
        for _ in 0..3 {
            assert_eq!([(); 4].map(|()| sender.hear()), [250, 250, 354, 250]);
        }
        assert_eq!(sender.hear(), 221);
        assert!(sender.is_left());
    }
    assert_eq!(mailbox.mails(), vec![b"Subject: hi\n\nhi\n"; 9]);
}

#[test]
fn dots_are_taken_off_where_they_were_put_and_bytes_are_left_alone() {
    let mailbox = Mailbox::start();
    let mut sender = mailbox.greeted();
    assert_eq!(sender.send("..\r\n...two\r\na.b\r\n\r\n"), 250);
    // A bare LF or CR ends no line, so no mail ends here.
    assert_eq!(sender.send(b"a\n.\nb\n.c\r.\r\xff\x00\t \r\n"), 250);
    let expected: [&[u8]; 2] = [b".\n..two\na.b\n\n", b"a\n.\nb\n.c\r.\r\xff\x00\t \n"];
    assert_eq!(mailbox.mails(), expected);
}

#[test]
fn a_mail_that_is_too_large_is_refused_and_the_connection_goes_on() {
    let mailbox = Mailbox::start();
    let mut sender = mailbox.greeted();
    let line = [&[b'x'; 98], b"\r\n".as_slice()].concat();
    // With its line ends as they are kept, 99 bytes a line.
    let fits = 10_000_000 / 99;
    assert_eq!(sender.send(line.repeat(fits + 1)), 552);
    assert_eq!(sender.send("small\r\n"), 250);
    assert_eq!(sender.send(line.repeat(fits)), 250);
    let mails = mailbox.mails();
    assert_eq!(mails.iter().map(Vec::len).collect::<Vec<_>>(), [6, fits * 99]);
}

#[test]
fn a_line_that_is_too_long_spoils_its_mail_only() {
    let mailbox = Mailbox::start();
    let mut sender = mailbox.greeted();
    let long = "x".repeat(1_000_000);
    assert_eq!(sender.send(format!("hi\r\n{long}\r\nhi\r\n")), 500);
    assert_eq!(sender.ask(format!("NOOP {long}\r\n")), 500);
    assert_eq!(sender.send(format!("{}\r\n", &long[..7_000])), 250);
    assert_eq!(mailbox.mails().len(), 1);
}

#[test]
fn garbage_is_refused_and_ends_nothing() {
    let mailbox = Mailbox::start();
    let mut sender = mailbox.greeted();
    for garbage in
        ["\r\n", "GET / HTTP/1.1\r\n", "MAIL\r\n", "RCPT TO:ann\r\n", "\0\u{ff}\r\n", "NOOP\nNOOP\r\n"]
    {
        assert_eq!(sender.ask(garbage), 500, "{garbage:?}");
    }
    // Known words at the wrong time.
    for word in ["DATA\r\n", "RCPT TO:<ann@example.com>\r\n"] {
        assert_eq!(sender.ask(word), 503, "{word:?}");
    }
    assert_eq!(sender.send("hi\r\n"), 250);
    assert_eq!(mailbox.mails(), [b"hi\n"]);
}

#[test]
fn a_mail_has_a_hundred_recipients_at_most() {
    let mailbox = Mailbox::start();
    let mut sender = mailbox.greeted();
    for _ in 0..2 {
        assert_eq!(sender.ask("MAIL FROM:<shop@example.com>\r\n"), 250);
        for number in 0..100 {
            assert_eq!(sender.ask(format!("RCPT TO:<customer-{number}@example.com>\r\n")), 250);
        }
        assert_eq!(sender.ask("RCPT TO:<one-too-many@example.com>\r\n"), 452);
        assert_eq!(sender.ask("DATA\r\n"), 354);
        assert_eq!(sender.ask("hi\r\n.\r\n"), 250);
    }
    assert_eq!(mailbox.mails(), [b"hi\n", b"hi\n"]);
}

#[test]
fn half_a_mail_is_no_mail() {
    let mailbox = Mailbox::start();
    let mut sender = mailbox.greeted();
    sender.say(&MAIL[..MAIL.len() - 3]);
    drop(sender);
    assert_eq!(mailbox.greeted().send("whole\r\n"), 250);
    assert_eq!(mailbox.mails(), [b"whole\n"]);
}

#[test]
fn a_mail_that_cannot_be_kept_is_for_later() {
    let mailbox = Mailbox::start();
    let mut sender = mailbox.greeted();
    let (folder, aside) = (mailbox.path("tmp"), mailbox.path("aside"));
    std::fs::rename(&folder, &aside).unwrap();
    assert_eq!(sender.send("hi\r\n"), 451);
    std::fs::rename(&aside, &folder).unwrap();
    assert_eq!(sender.send("hi\r\n"), 250);
    assert_eq!(mailbox.mails(), [b"hi\n"]);
}
