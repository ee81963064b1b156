//! The independent check of the client's notes against every database.
