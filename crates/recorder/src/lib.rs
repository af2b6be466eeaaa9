//! The recorder: reads the rings into the journal first, then into stores, each with its own durable cursor.

#![forbid(unsafe_code)]
