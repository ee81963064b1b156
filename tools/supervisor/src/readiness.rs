//! How the supervisor knows that a process is ready to be used, not merely running.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::databases;
use crate::secrets::Secrets;

/// Short, because the wait for the last part is what a person waits for.
const ASK_AGAIN: Duration = Duration::from_millis(50);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What a ready process answers.
pub enum Probe<'a> {
    /// 200 on this URL.
    Http { client: &'a reqwest::Client, url: String },
    /// A first line that starts so: `INFO ` of a broker, `220 ` of a mail server.
    Greeting { port: u16, starts_with: &'static str },
    /// A session of the superuser.
    Postgres { port: u16, secrets: &'a Secrets },
}

impl Probe<'_> {
    /// Returns when the process is ready, however long that takes.
    pub async fn ready(&self) {
        while !timeout(ANSWER_WITHIN, self.answers()).await.unwrap_or(false) {
            sleep(ASK_AGAIN).await;
        }
    }

    async fn answers(&self) -> bool {
        match self {
            Self::Http { client, url } => client
                .get(url)
                .send()
                .await
                .is_ok_and(|response| response.status() == reqwest::StatusCode::OK),
            Self::Greeting { port, starts_with } => {
                greeting(*port, starts_with.len()).await.is_ok_and(|g| g == starts_with.as_bytes())
            }
            Self::Postgres { port, secrets } => databases::connect(*port, secrets).await.is_ok(),
        }
    }
}

async fn greeting(port: u16, length: usize) -> std::io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer).await?;
    Ok(answer)
}
