//! Content codings: a request's body that is compressed as a whole, and a provider's answer piece by piece as it comes.
//!
//! A few compressed bytes can stand for gigabytes, so the caller says how much it is ready to hold, and decoding ends
//! before there is more.

mod gzip;
#[cfg(test)]
mod tests;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::{Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use crate::decompress::gzip::Gzip;

/// The codings that are understood, as an Accept-Encoding header names them.
pub const ACCEPTED: &str = "gzip, deflate, br, zstd";

/// Nobody compresses more often than twice; every further coding costs memory and a bomb's exponent.
const MOST_CODINGS: usize = 3;

/// A window of 8 MiB, the most that a zstd content coding may ask for (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Decoded at a time.
const PIECE_BYTES: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    /// The zlib format, which is what HTTP calls deflate.
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    pub fn as_str(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }
}

/// Why a body cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// The header names something that is no coding of ours.
    Unknown(String),
    /// The header names more than three codings.
    TooMany,
    /// Decoded, it is larger than this.
    TooLarge(u64),
    /// The bytes are not what the coding says.
    Broken(Coding),
    /// The bytes end before the coding does.
    Truncated(Coding),
}

impl std::fmt::Display for Undecodable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Undecodable::Unknown(name) => {
                write!(formatter, "the content coding {name:?} is not known; {ACCEPTED} are")
            }
            Undecodable::TooMany => {
                write!(formatter, "more than {MOST_CODINGS} content codings lie one on another")
            }
            Undecodable::TooLarge(limit) => {
                write!(formatter, "the body is larger than {limit} bytes once it is decompressed")
            }
            Undecodable::Broken(coding) => write!(formatter, "the body is not valid {}", coding.as_str()),
            Undecodable::Truncated(coding) => {
                write!(formatter, "the body ends in the middle of its {} data", coding.as_str())
            }
        }
    }
}

impl std::error::Error for Undecodable {}

/// The codings of a message, in the order in which they were applied. Empty for one that is not compressed.
pub fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, Undecodable> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.as_bytes().split(|byte| *byte == b',') {
            let name = name.trim_ascii();
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let coding = if name.is_empty() || is("identity") {
                continue;
            } else if is("gzip") || is("x-gzip") {
                Coding::Gzip
            } else if is("deflate") {
                Coding::Deflate
            } else if is("br") {
                Coding::Brotli
            } else if is("zstd") {
                Coding::Zstd
            } else {
                let shown = name.get(..64).unwrap_or(name);
                return Err(Undecodable::Unknown(String::from_utf8_lossy(shown).into_owned()));
            };
            if codings.len() == MOST_CODINGS {
                return Err(Undecodable::TooMany);
            }
            codings.push(coding);
        }
    }
    Ok(codings)
}

/// Decodes a body that is there as a whole.
pub fn whole(codings: &[Coding], body: Bytes, limit: u64) -> Result<Bytes, Undecodable> {
    if codings.is_empty() {
        return if body.len() as u64 > limit { Err(Undecodable::TooLarge(limit)) } else { Ok(body) };
    }
    let mut decoder = Decoder::new(codings);
    let mut out = BytesMut::new();
    decoder.push(&body, &mut out, limit)?;
    decoder.finish()?;
    Ok(out.freeze())
}

/// Decodes a body as it comes. What the encoder has flushed comes out with the push of its last byte.
pub struct Decoder {
    /// The coding that was applied last is the first one here.
    stages: Vec<Stage>,
}

impl Decoder {
    pub fn new(codings: &[Coding]) -> Decoder {
        Decoder { stages: codings.iter().rev().map(|coding| Stage::new(*coding)).collect() }
    }

    /// Appends what `data` decodes to. It is an error when `out` would become longer than `limit`, or when that is true
    /// of what lies between two codings: it is never held, but it costs time. An error is final.
    pub fn push(&mut self, data: &[u8], out: &mut BytesMut, limit: u64) -> Result<(), Undecodable> {
        if data.is_empty() {
            // All that there was to say has been said, and zstd takes many calls without a byte for an endless loop.
            return Ok(());
        }
        for stage in &mut self.stages {
            stage.made = 0;
        }
        run(&mut self.stages, data, out, limit)
    }

    /// Says whether the body is complete. One of no bytes at all is: servers name a coding for bodies that are empty.
    pub fn finish(&self) -> Result<(), Undecodable> {
        match self.stages.iter().find(|stage| stage.begun && !stage.engine.complete()) {
            Some(stage) => Err(Undecodable::Truncated(stage.coding)),
            None => Ok(()),
        }
    }
}

fn run(stages: &mut [Stage], data: &[u8], out: &mut BytesMut, limit: u64) -> Result<(), Undecodable> {
    let Some((stage, inner)) = stages.split_first_mut() else {
        if (out.len() + data.len()) as u64 > limit {
            return Err(Undecodable::TooLarge(limit));
        }
        out.extend_from_slice(data);
        return Ok(());
    };
    let mut rest = data;
    stage.begun = true;
    // A stage that is complete has nothing left to say; asking it would begin a next member.
    while !rest.is_empty() || !stage.engine.complete() {
        let broken = || Undecodable::Broken(stage.coding);
        let step = stage.engine.step(rest, &mut stage.piece).ok_or_else(broken)?;
        let made = stage.piece.get(..step.written).ok_or_else(broken)?;
        let idle = step.read == 0 && made.is_empty();
        if idle && !rest.is_empty() {
            return Err(broken());
        }
        rest = rest.get(step.read..).ok_or_else(broken)?;
        stage.made += made.len() as u64;
        if stage.made > limit {
            return Err(Undecodable::TooLarge(limit));
        }
        if !made.is_empty() {
            run(inner, made, out, limit)?;
        }
        // A full piece may have more behind it even when all input has been taken.
        if rest.is_empty() && step.written < PIECE_BYTES {
            break;
        }
    }
    Ok(())
}

struct Stage {
    coding: Coding,
    engine: Engine,
    /// Whether it has seen a byte.
    begun: bool,
    /// Bytes that the present push has made of its input.
    made: u64,
    piece: Box<[u8]>,
}

impl Stage {
    fn new(coding: Coding) -> Stage {
        let engine = match coding {
            Coding::Gzip => Engine::Gzip(Box::default()),
            Coding::Deflate => Engine::Deflate { inflate: Decompress::new(true), complete: false },
            Coding::Brotli => {
                let allocator = StandardAlloc::default();
                // Strict: without the extension by which a stream may ask for a window of a gigabyte.
                let state = BrotliState::new_strict(allocator, allocator, allocator);
                Engine::Brotli { state: Box::new(state), complete: false }
            }
            Coding::Zstd => Engine::Zstd { context: zstd(), complete: false },
        };
        Stage { coding, engine, begun: false, made: 0, piece: vec![0; PIECE_BYTES].into() }
    }
}

/// `None` where the library has no memory for it, or does not know the parameter: nothing can be decoded then.
fn zstd() -> Option<DCtx<'static>> {
    let mut context = DCtx::try_create()?;
    context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
    Some(context)
}

enum Engine {
    Gzip(Box<Gzip>),
    Deflate { inflate: Decompress, complete: bool },
    Brotli { state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>, complete: bool },
    Zstd { context: Option<DCtx<'static>>, complete: bool },
}

/// How far one step has come.
#[derive(Default)]
struct Step {
    read: usize,
    written: usize,
}

impl Engine {
    /// Decodes until the input is used up or the output is full; `None` when the input is broken.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        match self {
            Engine::Gzip(gzip) => gzip.step(input, output),
            // Nothing may come after the end, and the caller takes a step of nothing for broken.
            Engine::Deflate { complete: true, .. } | Engine::Brotli { complete: true, .. } => {
                Some(Step::default())
            }
            Engine::Deflate { inflate, complete } => {
                let (step, ended) = inflated(inflate, input, output)?;
                *complete = ended;
                Some(step)
            }
            Engine::Brotli { state, complete } => {
                let (mut left, mut room) = (input.len(), output.len());
                let (mut read, mut written) = (0, 0);
                let result = BrotliDecompressStream(
                    &mut left,
                    &mut read,
                    input,
                    &mut room,
                    &mut written,
                    output,
                    &mut 0,
                    state,
                );
                *complete = match result {
                    BrotliResult::ResultSuccess => true,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => false,
                    BrotliResult::ResultFailure => return None,
                };
                Some(Step { read, written })
            }
            Engine::Zstd { context, complete } => {
                let mut source = InBuffer::around(input);
                let mut target = OutBuffer::around(output);
                let missing = context.as_mut()?.decompress_stream(&mut target, &mut source).ok()?;
                // Another frame may follow.
                *complete = missing == 0;
                Some(Step { read: source.pos(), written: target.pos() })
            }
        }
    }

    fn complete(&self) -> bool {
        match self {
            Engine::Gzip(gzip) => gzip.complete(),
            Engine::Deflate { complete, .. }
            | Engine::Brotli { complete, .. }
            | Engine::Zstd { complete, .. } => *complete,
        }
    }
}

/// One step of a deflate stream, and whether it was the last one.
fn inflated(inflate: &mut Decompress, input: &[u8], output: &mut [u8]) -> Option<(Step, bool)> {
    let (read, written) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, output, FlushDecompress::None).ok()?;
    let step = Step {
        read: usize::try_from(inflate.total_in() - read).ok()?,
        written: usize::try_from(inflate.total_out() - written).ok()?,
    };
    Some((step, status == Status::StreamEnd))
}
