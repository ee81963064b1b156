//! One direction of a connection. Reading and writing are apart, with a queue between them, so that a delay
//! adds to the latency and takes nothing from the bandwidth.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Mode, Settings};

const CHUNK: usize = 16 * 1024;
/// Chunks on their way.
const QUEUE: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

struct Chunk {
    arrived: Instant,
    bytes: Vec<u8>,
}

/// Ends well when the sender has said all it had to say.
pub async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    direction: Direction,
    settings: watch::Receiver<Settings>,
) -> io::Result<()> {
    let (queue, chunks) = mpsc::channel(QUEUE);
    tokio::try_join!(read(from, queue), write(chunks, to, direction, settings))?;
    Ok(())
}

async fn read(mut from: ReadHalf<'_>, queue: mpsc::Sender<Chunk>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = from.read(&mut buffer).await?;
        let chunk = Chunk { arrived: Instant::now(), bytes: buffer[..length].to_vec() };
        if length == 0 || queue.send(chunk).await.is_err() {
            return Ok(());
        }
    }
}

async fn write(
    mut chunks: mpsc::Receiver<Chunk>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mut settings: watch::Receiver<Settings>,
) -> io::Result<()> {
    let mut has_lost = false;
    loop {
        let chunk = tokio::select! {
            chunk = chunks.recv() => chunk,
            () = end_of_swallowing(settings.clone()), if has_lost => {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        };
        let mode = passable(&mut settings).await?;
        let Some(Chunk { arrived, bytes }) = chunk else { return to.shutdown().await };
        match mode {
            Mode::SwallowAnswers if direction == Direction::ToClient => has_lost = true,
            _ if has_lost => return Err(io::ErrorKind::ConnectionReset.into()),
            Mode::Delay(delay) => {
                tokio::time::sleep_until(arrived + delay).await;
                to.write_all(&bytes).await?;
            }
            _ => to.write_all(&bytes).await?,
        }
    }
}

/// The mode, once it lets anything through.
pub async fn passable(settings: &mut watch::Receiver<Settings>) -> io::Result<Mode> {
    let passable = settings.wait_for(|settings| settings.mode != Mode::BlackHole).await;
    Ok(passable.map_err(|_| io::ErrorKind::ConnectionAborted)?.mode)
}

async fn end_of_swallowing(mut settings: watch::Receiver<Settings>) {
    let _ = settings.wait_for(|settings| settings.mode != Mode::SwallowAnswers).await;
}
