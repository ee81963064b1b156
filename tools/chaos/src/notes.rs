//! What the client knows of each order it sent.
