//! Asks the service of the same container whether it is ready, for the container engine's health check.
//!
//! The images hold no shell and no curl, so the question needs a program. It is one of its own, on the standard
//! library alone, because it is started every few seconds beside each service and should cost next to nothing.

use std::env;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Enough for the status and the report that names what is missing.
const ANSWER_AT_MOST: u64 = 4096;
const QUESTION: &str = "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn main() -> ExitCode {
    match address().and_then(|address| ask(address).map_err(|error| format!("{address}: {error}"))) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => ExitCode::SUCCESS,
        Ok(answer) => fail(answer.trim_end()),
        Err(why) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("not ready: {why}");
    ExitCode::FAILURE
}

/// Where the service listens, seen from its own container: the same setting, and the loopback of the same kind.
fn address() -> Result<SocketAddr, String> {
    let setting = env::var("HTTP_ADDR").map_err(|_| "HTTP_ADDR is not set, as it is for the service")?;
    let mut address: SocketAddr =
        setting.parse().map_err(|_| format!("HTTP_ADDR={setting} is not of the form address:port"))?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Ok(address)
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    connection.set_read_timeout(Some(ANSWER_WITHIN))?;
    connection.set_write_timeout(Some(ANSWER_WITHIN))?;
    connection.write_all(QUESTION.as_bytes())?;
    let mut answer = Vec::new();
    connection.take(ANSWER_AT_MOST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn the_answer_of_the_service_comes_back_whole() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let service = thread::spawn(move || {
            let (mut caller, _) = listener.accept().unwrap();
            let mut question = vec![0; QUESTION.len()];
            caller.read_exact(&mut question).unwrap();
            caller.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n{\"nats\":\"down\"}").unwrap();
            String::from_utf8(question).unwrap()
        });
        let answer = ask(address).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("{\"nats\":\"down\"}"), "{answer}");
        assert_eq!(service.join().unwrap(), QUESTION);
    }

    #[test]
    fn nobody_listening_is_an_error() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        assert!(ask(free).is_err());
    }
}
