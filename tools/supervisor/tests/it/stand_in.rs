//! What plays a service: this test program itself, started with the name of one ignored test.

use std::io::{Read, Write};
use std::net::TcpListener;

/// The shell script that stands where the program of a service would.
pub fn script() -> String {
    let program = std::env::current_exe().unwrap();
    format!("#!/bin/sh\nexec '{}' --exact stand_in::a_service --ignored --nocapture\n", program.display())
}

#[test]
#[ignore = "not a test: it plays a service, and runs until it is stopped"]
fn a_service() {
    let Ok(address) = std::env::var("HTTP_ADDR") else { return };
    let listener = TcpListener::bind(&address).unwrap();
    println!("{} listens on {address}", std::env::var("INSTANCE").unwrap());
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let _ = connection.read(&mut [0; 1024]);
        let body = format!("{:?}", std::env::vars().collect::<std::collections::BTreeMap<_, _>>());
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = connection.write_all(format!("{head}{body}").as_bytes());
    }
}
