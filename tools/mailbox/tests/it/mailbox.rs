//! A mailbox on a free port, with a folder of its own, that ends with the test.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub struct Mailbox {
    pub process: Child,
    pub address: SocketAddr,
    folder: tempfile::TempDir,
}

pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mailbox"))
}

impl Mailbox {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = program()
            .args([&folder.path().join("mail"), &PathBuf::from("127.0.0.1:0")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.split(' ').find_map(|word| word.parse().ok()).expect("it says where it listens");
        Self { process, address, folder }
    }

    pub fn path(&self, part: &str) -> PathBuf {
        self.folder.path().join("mail").join(part)
    }

    /// The mails it has kept, in the order in which they came.
    pub fn mails(&self) -> Vec<Vec<u8>> {
        assert_eq!(fs::read_dir(self.path("tmp")).unwrap().count(), 0, "nothing is left behind");
        let mut files: Vec<_> =
            fs::read_dir(self.path("new")).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort_by_key(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let (_, number) = name.strip_suffix(".mailbox").unwrap().rsplit_once('Q').unwrap();
            number.parse::<u64>().unwrap()
        });
        files.into_iter().map(|path| fs::read(path).unwrap()).collect()
    }

    pub fn call(&self) -> Sender {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Sender { stream: BufReader::new(stream) }
    }

    /// A sender that was greeted and has said EHLO.
    pub fn greeted(&self) -> Sender {
        let mut sender = self.call();
        assert_eq!(sender.hear(), 220);
        assert_eq!(sender.ask("EHLO shop\r\n"), 250);
        sender
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One that speaks SMTP word for word.
pub struct Sender {
    pub stream: BufReader<TcpStream>,
}

impl Sender {
    pub fn say(&mut self, words: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(words.as_ref()).unwrap();
    }

    /// The lines of the next answer.
    pub fn hear_all(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            assert!(line.ends_with("\r\n"), "{line:?} is no answer");
            let is_last = line.as_bytes()[3] != b'-';
            lines.push(line);
            if is_last {
                return lines;
            }
        }
    }

    /// Its code.
    pub fn hear(&mut self) -> u16 {
        self.hear_all()[0][..3].parse().unwrap()
    }

    pub fn ask(&mut self, words: impl AsRef<[u8]>) -> u16 {
        self.say(words);
        self.hear()
    }

    /// Says the lines of a mail, stuffed with dots where they have to be, and returns the answer to it.
    pub fn send(&mut self, lines: impl AsRef<[u8]>) -> u16 {
        for words in ["MAIL FROM:<shop@example.com>\r\n", "RCPT TO:<ann@example.com>\r\n"] {
            assert_eq!(self.ask(words), 250);
        }
        assert_eq!(self.ask("DATA\r\n"), 354);
        self.ask([lines.as_ref(), b".\r\n"].concat())
    }

    /// Whether the other side has hung up.
    pub fn is_left(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}
