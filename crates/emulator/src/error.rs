//! Why a server cannot start: each names the thing and says what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use feed::transport::TlsError;

/// A capture cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A file or folder cannot be read.
    #[error("cannot read capture {}: {cause}; give a file or folder that exists", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A line is not what its file should hold.
    #[error("capture {} line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing in the paths can be served.
    #[error("no frames of {venue} in {}; give its *.jsonl captures", listed(paths))]
    Empty {
        /// The venue asked for.
        venue: &'static str,
        /// Where they were looked for.
        paths: Vec<PathBuf>,
    },
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A fault that the emulated venue cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{venue} cannot have the fault {fault}: {problem}")]
pub struct FaultError {
    /// The venue.
    pub venue: &'static str,
    /// The fault's name.
    pub fault: &'static str,
    /// Why not, and what is possible.
    pub problem: String,
}

/// A server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {cause}; free the port or choose another")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// The certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The certificate of one's own cannot be made or is not whole.
    #[error("cannot use the certificate in {}: {cause}; make the folder writable, or remove the folder for a new one", path.display())]
    Identity {
        /// Its folder.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The recording cannot be served.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The journal's folder cannot be written.
    #[error("cannot write the journal in {}: {cause}; make the folder writable or choose another", path.display())]
    Journal {
        /// The folder.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// An option has a value that cannot work.
    #[error("option {name}: {problem}")]
    Option {
        /// Its name.
        name: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The control socket cannot be made.
    #[error("cannot listen on the control socket {}: {cause}; choose another path of at most 107 bytes", path.display())]
    Control {
        /// Its path.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A fault of the script that the venue cannot have.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The system gave no thread or event descriptor.
    #[error("cannot start the server's threads: {0}")]
    Thread(io::Error),
}
