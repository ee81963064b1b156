//! One connection: reads, has every line that came answered, and writes the answers together, so that a sender that says
//! many things at once gets few packets back.

use std::io;
use std::time::Duration;

use mailin::{Action, Session, response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::clerk::Clerk;
use crate::lines::Lines;

/// For the next that a sender says (RFC 5321, section 4.5.3.2.7), and for its taking our answers.
const PATIENCE: Duration = Duration::from_secs(300);

pub async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut session: Session<Clerk>,
) -> io::Result<()> {
    let mut lines = Lines::default();
    let mut answers = session.greeting().buffer()?;
    let mut is_over = false;
    while !is_over {
        timeout(PATIENCE, stream.write_all(&answers)).await??;
        answers.clear();
        let Ok(read) = timeout(PATIENCE, stream.read_buf(lines.room())).await else {
            return stream.write_all(&response::NO_SERVICE.buffer()?).await;
        };
        if read? == 0 {
            return Ok(());
        }
        while !is_over && let Some(line) = lines.next_line() {
            let answer = session.process(&line);
            let before = answers.len();
            answer.write_to(&mut answers)?;
            announce_pipelining(&mut answers, before);
            is_over = answer.action == Action::Close;
        }
    }
    timeout(PATIENCE, stream.write_all(&answers)).await?
}

/// mailin does not announce what is done here (RFC 2920). Of its answers only that to EHLO has more than one line.
fn announce_pipelining(answers: &mut Vec<u8>, from: usize) {
    if answers[from..].starts_with(b"250-")
        && let Some(end) = answers[from..].windows(2).position(|two| two == b"\r\n")
    {
        let second_line = from + end + 2;
        answers.splice(second_line..second_line, *b"250-PIPELINING\r\n");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use crate::maildir::Maildir;

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_told_so_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let clerk = Clerk::new(Arc::new(Maildir::open(folder.path()).unwrap()));
        let session = mailin::SessionBuilder::new("mailbox").build(Ipv4Addr::LOCALHOST.into(), clerk);
        let (mut sender, ours) = tokio::io::duplex(1024);
        let begun = tokio::time::Instant::now();
        let served = tokio::spawn(serve(ours, session));
        let mut said = String::new();
        sender.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("220 ") && said.contains("\r\n421 "), "{said}");
        assert!(begun.elapsed() >= PATIENCE);
        served.await.unwrap().unwrap();
    }
}
