//! The gzip format around deflate (RFC 1952): members one after another, each with a header and a checked trailer.

use flate2::{Crc, Decompress};

use crate::decompress::{Step, inflated};

const HEADER_CHECKSUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

pub(super) struct Gzip {
    part: Part,
    /// The header's fields that have not come yet.
    flags: u8,
    inflate: Decompress,
    checksum: Crc,
}

/// Where in a member the next byte lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Fixed(u8),
    ExtraLengthLow,
    ExtraLengthHigh(u8),
    Skip(u16),
    /// A name or a comment.
    Text,
    Body,
    Trailer(u8),
}

impl Default for Gzip {
    fn default() -> Gzip {
        Gzip { part: Part::Fixed(0), flags: 0, inflate: Decompress::new(false), checksum: Crc::new() }
    }
}

impl Gzip {
    pub fn complete(&self) -> bool {
        self.part == Part::Fixed(0)
    }

    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        let mut read = 0;
        for byte in input {
            if self.part == Part::Body {
                break;
            }
            self.frame(*byte)?;
            read += 1;
        }
        if self.part != Part::Body {
            return Some(Step { read, written: 0 });
        }
        let (step, ended) = inflated(&mut self.inflate, input.get(read..)?, output)?;
        self.checksum.update(output.get(..step.written)?);
        if ended {
            self.part = Part::Trailer(0);
        }
        Some(Step { read: read + step.read, written: step.written })
    }

    /// Takes one byte of a header or a trailer.
    fn frame(&mut self, byte: u8) -> Option<()> {
        let valid = match self.part {
            Part::Fixed(0) => byte == 0x1f,
            Part::Fixed(1) => byte == 0x8b,
            Part::Fixed(2) => byte == 8,
            Part::Fixed(3) => {
                self.flags = byte;
                byte & RESERVED == 0
            }
            Part::Trailer(at) => self.trailer(at) == byte,
            _ => true,
        };
        match self.part {
            Part::Fixed(9) => self.next_field(),
            Part::Fixed(at) => self.part = Part::Fixed(at + 1),
            Part::ExtraLengthLow => self.part = Part::ExtraLengthHigh(byte),
            Part::ExtraLengthHigh(low) => self.skip(u16::from_le_bytes([low, byte])),
            Part::Skip(left) => self.skip(left.saturating_sub(1)),
            Part::Text if byte == 0 => self.next_field(),
            Part::Trailer(7) => self.part = Part::Fixed(0),
            Part::Trailer(at) => self.part = Part::Trailer(at + 1),
            Part::Text | Part::Body => {}
        }
        valid.then_some(())
    }

    fn skip(&mut self, bytes: u16) {
        if bytes == 0 { self.next_field() } else { self.part = Part::Skip(bytes) }
    }

    fn next_field(&mut self) {
        let flags = &mut self.flags;
        let mut take = |flag: u8| {
            let there = *flags & flag != 0;
            *flags &= !flag;
            there
        };
        self.part = if take(EXTRA) {
            Part::ExtraLengthLow
        } else if take(NAME) || take(COMMENT) {
            Part::Text
        } else if take(HEADER_CHECKSUM) {
            Part::Skip(2)
        } else {
            self.inflate.reset(false);
            self.checksum.reset();
            Part::Body
        };
    }

    /// What the trailer must hold: the checksum of what was decoded, then its length.
    fn trailer(&self, at: u8) -> u8 {
        let number = if at < 4 { self.checksum.sum() } else { self.checksum.amount() };
        (number >> (8 * u32::from(at % 4))).to_le_bytes()[0]
    }
}
