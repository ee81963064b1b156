//! One supervisor per shop: the lock on `.run/supervisor.lock`, which the system releases whatever way the
//! supervisor ends, with its pid inside. The file itself stays: a lock on a deleted file would keep nobody out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::place::Place;

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or returns nothing if another supervisor has it.
    pub fn take(place: &Place) -> Result<Option<Self>> {
        let path = place.lock();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        // Whoever asks who the holder is has the lock for a moment, so one refusal says nothing.
        for last in (0..10).map(|attempt| attempt == 9) {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if last => return Ok(None),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Some(Self { _file: file }))
    }

    /// The supervisor that has the lock now.
    pub fn holder(place: &Place) -> Option<u32> {
        let mut file = OpenOptions::new().read(true).write(true).open(place.lock()).ok()?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).ok()?;
                pid.trim().parse().ok()
            }
            _ => None,
        }
    }
}
