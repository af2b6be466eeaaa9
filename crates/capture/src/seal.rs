//! Compresses a file that is whole: independent zstd frames of about a mebibyte, each of whole entries, and a standard
//! seek table behind them, so that `zstd -d` unpacks it and a reader can begin in the middle. The plain file goes only
//! when the compressed one was read back and is equal.

use crate::{
    CaptureError,
    format::Kind,
    index::{FileInfo, sync_folder},
    names::packed,
    reader::{Damage, FileReader, Found},
    source::{TABLE_BEGIN, TABLE_END},
};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};
use zstd::{bulk::Compressor, zstd_safe::CParameter};

/// Content of one zstd frame, before the entry that would go beyond it.
const FRAME_BYTES: u64 = 1 << 20;
/// How the file that is not finished ends.
pub(crate) const UNFINISHED: &str = ".tmp";

/// Counts what a file holds while it is read.
pub(crate) struct Census {
    pub info: FileInfo,
    next_number: Option<u32>,
}

impl Census {
    pub fn new(path: &Path, file: &FileReader) -> Census {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let run = file.head().run;
        Census { info: FileInfo { name, run, ..FileInfo::default() }, next_number: Some(0) }
    }

    /// Takes in what the file's reader just came to.
    pub fn take(&mut self, found: &Found, body: &[u8]) {
        let info = &mut self.info;
        let head = match found {
            Found::Entry(head, _) => head,
            Found::Damaged(Damage { from, to, cut: true, .. }) => return info.torn_bytes = to - from,
            Found::Damaged(_) => {
                self.next_number = None;
                return info.damaged += 1;
            }
        };
        if info.entries == 0 {
            info.first = head.time.0;
        }
        info.last = info.last.max(head.time.0);
        info.entries += 1;
        if self.next_number.is_some_and(|next| next != head.number) {
            info.misnumbered += 1;
        }
        self.next_number = Some(head.number.wrapping_add(1));
        match (head.kind, head.direction) {
            (Kind::Frame, crate::Direction::In) => info.frames_in += 1,
            (Kind::Frame, _) => info.frames_out += 1,
            (Kind::Answer, _) => info.answers += 1,
            (Kind::Lost, _) => info.lost += crate::Lost::read(body).map_or(0, |lost| lost.entries),
            _ => {}
        }
    }
}

/// Compresses a plain file beside itself and removes it. Nobody may write it any more.
pub(crate) fn seal(plain: &Path, level: i32) -> Result<FileInfo, CaptureError> {
    let target = packed(plain);
    let mut unfinished = target.clone().into_os_string();
    unfinished.push(UNFINISHED);
    let unfinished = Path::new(&unfinished);
    let (info, torn_at) = compress(plain, &target, unfinished, level)?;
    let (sha256, content_sha256) = (digest(File::open(unfinished), unfinished)?, unpacked_digest(unfinished)?);
    if content_sha256 != info.content_sha256 {
        return Err(CaptureError::Differs { path: unfinished.to_owned() });
    }
    if info.torn_bytes > 0 {
        keep_torn(plain, torn_at)?;
    }
    fs::rename(unfinished, &target).map_err(CaptureError::io(&target))?;
    sync_folder(&target)?;
    fs::remove_file(plain).map_err(CaptureError::io(plain))?;
    Ok(FileInfo { sha256, ..info })
}

fn compress(plain: &Path, target: &Path, unfinished: &Path, level: i32) -> Result<(FileInfo, u64), CaptureError> {
    let failed = || CaptureError::io(unfinished);
    let mut reader = FileReader::open(plain)?;
    let mut census = Census::new(target, &reader);
    let source = File::open(plain).map_err(CaptureError::io(plain))?;
    let mut packer = Packer::new(source, File::create(unfinished).map_err(failed())?, level).map_err(failed())?;
    let mut torn_at = None;
    while let Some(found) = reader.advance()? {
        if let Found::Entry(head, offset) = &found {
            packer.entry(head.time.0, *offset, offset + head.size() as u64).map_err(failed())?;
        } else if let Found::Damaged(Damage { from, cut: true, .. }) = &found {
            torn_at = Some(*from);
        }
        census.take(&found, reader.body());
    }
    let end = torn_at.unwrap_or(reader.offset());
    let mut info = census.info;
    (info.stored_bytes, info.content_sha256, info.seek) = packer.finish(end).map_err(failed())?;
    info.bytes = end;
    Ok((info, end))
}

/// What a killed writer left half is kept beside the file, for whoever wants to look.
fn keep_torn(plain: &Path, from: u64) -> Result<(), CaptureError> {
    let mut name = plain.as_os_str().to_owned();
    name.push(".torn");
    let source = File::open(plain).map_err(CaptureError::io(plain))?;
    let length = source.metadata().map_err(CaptureError::io(plain))?.len();
    let mut bytes = vec![0; (length - from) as usize];
    source.read_exact_at(&mut bytes, from).map_err(CaptureError::io(plain))?;
    fs::write(&name, &bytes).map_err(CaptureError::io(Path::new(&name)))
}

/// Makes the compressed file.
struct Packer {
    source: File,
    target: File,
    compressor: Compressor<'static>,
    content: Sha256,
    /// Where the frame being filled begins, and the time of its first entry.
    begin: u64,
    first: Option<u64>,
    /// Packed and unpacked bytes of each frame.
    rows: Vec<(u32, u32)>,
    seek: Vec<(u64, u64)>,
    stored: u64,
    buffer: Vec<u8>,
}

impl Packer {
    fn new(source: File, target: File, level: i32) -> io::Result<Packer> {
        let mut compressor = Compressor::new(level)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Packer {
            source,
            target,
            compressor,
            content: Sha256::new(),
            begin: 0,
            first: None,
            rows: vec![],
            seek: vec![],
            stored: 0,
            buffer: vec![],
        })
    }

    /// Takes in where the next entry is.
    fn entry(&mut self, time: u64, begins: u64, ends: u64) -> io::Result<()> {
        if ends - self.begin > FRAME_BYTES && begins > self.begin {
            self.frame(begins)?;
        }
        self.first.get_or_insert(time);
        Ok(())
    }

    /// Writes the content up to here as a frame.
    fn frame(&mut self, end: u64) -> io::Result<()> {
        if end == self.begin {
            return Ok(());
        }
        self.buffer.resize((end - self.begin) as usize, 0);
        self.source.read_exact_at(&mut self.buffer, self.begin)?;
        self.content.update(&self.buffer);
        let packed = self.compressor.compress(&self.buffer)?;
        self.target.write_all(&packed)?;
        self.rows.push((packed.len() as u32, self.buffer.len() as u32));
        self.stored += packed.len() as u64;
        self.seek.push((self.first.take().unwrap_or(0), self.begin));
        self.begin = end;
        Ok(())
    }

    fn finish(mut self, end: u64) -> io::Result<(u64, String, Vec<(u64, u64)>)> {
        self.frame(end)?;
        let mut table = vec![];
        let size = self.rows.len() * 8 + crate::source::TABLE_FOOT;
        table.extend_from_slice(&TABLE_BEGIN.to_le_bytes());
        table.extend_from_slice(&(size as u32).to_le_bytes());
        for (packed, unpacked) in &self.rows {
            table.extend_from_slice(&packed.to_le_bytes());
            table.extend_from_slice(&unpacked.to_le_bytes());
        }
        table.extend_from_slice(&(self.rows.len() as u32).to_le_bytes());
        table.push(0);
        table.extend_from_slice(&TABLE_END.to_le_bytes());
        self.target.write_all(&table)?;
        self.target.sync_all()?;
        Ok((self.stored + table.len() as u64, hex(&self.content.finalize()), self.seek))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn digest(from: io::Result<impl Read>, path: &Path) -> Result<String, CaptureError> {
    let mut from = from.map_err(CaptureError::io(path))?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = from.read(&mut buffer).map_err(CaptureError::io(path))?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// SHA-256 of a file as it is stored.
pub(crate) fn stored_digest(path: &Path) -> Result<String, CaptureError> {
    digest(File::open(path), path)
}

/// SHA-256 of a compressed file's content.
pub(crate) fn unpacked_digest(path: &Path) -> Result<String, CaptureError> {
    let file = File::open(path).map_err(CaptureError::io(path))?;
    digest(zstd::stream::read::Decoder::new(file), path)
}
