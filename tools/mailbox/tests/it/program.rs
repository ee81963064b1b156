//! How it starts, ends, and says that it cannot.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use crate::mailbox::{Mailbox, program};

#[test]
fn it_ends_at_once_when_told_to_whoever_is_connected() {
    for signal in ["TERM", "INT"] {
        let mut mailbox = Mailbox::start();
        let mut sender = mailbox.greeted();
        assert_eq!(sender.send("hi\r\n"), 250);
        sender.say("MAIL FROM:<shop@example.com>\r\n");
        let told = Command::new("kill").args(["-s", signal, &mailbox.process.id().to_string()]).status();
        assert!(told.unwrap().success());
        let status = mailbox.process.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{signal}");
        assert_eq!(mailbox.mails(), [b"hi\n"]);
    }
}

#[test]
fn what_keeps_it_from_starting_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (folder, file) = (folder.path().to_str().unwrap(), file.to_str().unwrap());
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    for (arguments, expected) in [
        ([folder, &taken], format!("cannot listen on {taken}: is it in use?")),
        ([file, "127.0.0.1:0"], format!("cannot keep mails in {file}: is it a folder of yours?")),
        ([folder, "nowhere"], "invalid value 'nowhere' for '<HOST:PORT>'".to_owned()),
        ([folder, "--quickly"], "unexpected argument '--quickly'".to_owned()),
    ] {
        let output = program().args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(&expected), "{said}");
    }
}

#[test]
fn more_senders_than_it_takes_wait_for_their_turn() {
    let mailbox = Mailbox::start();
    let mut senders: Vec<_> = (0..256).map(|_| mailbox.greeted()).collect();
    let mut waiting = mailbox.call();
    let patience = |time| waiting.stream.get_ref().set_read_timeout(Some(time)).unwrap();
    patience(Duration::from_millis(200));
    let silence = waiting.stream.get_ref().peek(&mut [0]).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);
    patience(Duration::from_secs(20));
    senders.pop();
    assert_eq!(waiting.hear(), 220);
}
