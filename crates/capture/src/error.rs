//! Why a capture cannot be read or kept.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A capture cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file system refuses.
    #[error("capture {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a capture, or one that cannot be made sense of.
    #[error("capture {path}, byte {offset}: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in its content, bytes.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// There is nothing to read.
    #[error("capture {path}: there is no .wslog or .wslog.zst in it; name a file or a venue's folder")]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// The session of a run cannot be made anew.
    #[error("capture {path}: its session cannot be made: {source}")]
    Machine {
        /// The file.
        path: PathBuf,
        /// Why.
        source: venues::MachineError,
    },
    /// The run was captured by lines that its settings do not make.
    #[error(
        "capture {path}: a line is of endpoint {endpoint}, and this build makes {made} endpoints of the captured settings"
    )]
    Lines {
        /// The file.
        path: PathBuf,
        /// The endpoint, counted from 1.
        endpoint: u32,
        /// How many there are.
        made: usize,
    },
    /// A compressed file does not hold what it was made of.
    #[error("capture {path}: what was compressed does not read back equal; the plain file is kept")]
    Differs {
        /// The compressed file.
        path: PathBuf,
    },
}

impl CaptureError {
    /// Names the file or folder an error of the file system is about.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> CaptureError + use<> {
        let path = path.to_owned();
        move |source| CaptureError::Io { path, source }
    }
}
