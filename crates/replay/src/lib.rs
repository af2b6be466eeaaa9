//! Replay: recorded sources merged in time order and played again at any speed into rings, files or a callback.

#![forbid(unsafe_code)]
