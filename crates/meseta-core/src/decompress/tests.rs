use std::io::Write;

use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compression, GzBuilder};
use http::HeaderValue;
use proptest::prelude::*;
use zstd_safe::{CCtx, CParameter};

use super::*;

const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];
const LIMIT: u64 = 64 * 1024 * 1024;

/// Encodes the pieces, flushed one by one; what ends the stream goes with the last of them.
fn encode(coding: Coding, pieces: &[Vec<u8>]) -> Vec<Vec<u8>> {
    match coding {
        Coding::Gzip => written(
            GzEncoder::new(Vec::new(), Compression::default()),
            pieces,
            GzEncoder::get_mut,
            |encoder| encoder.finish().unwrap(),
        ),
        Coding::Deflate => written(
            ZlibEncoder::new(Vec::new(), Compression::default()),
            pieces,
            ZlibEncoder::get_mut,
            |encoder| encoder.finish().unwrap(),
        ),
        Coding::Brotli => written(
            brotli::CompressorWriter::new(Vec::new(), 4096, 4, 20),
            pieces,
            brotli::CompressorWriter::get_mut,
            brotli::CompressorWriter::into_inner,
        ),
        Coding::Zstd => encode_zstd(pieces, 20),
    }
}

fn written<E: Write>(
    mut encoder: E,
    pieces: &[Vec<u8>],
    made: impl Fn(&mut E) -> &mut Vec<u8>,
    finish: impl FnOnce(E) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let mut encoded = Vec::new();
    for piece in pieces {
        encoder.write_all(piece).unwrap();
        encoder.flush().unwrap();
        encoded.push(std::mem::take(made(&mut encoder)));
    }
    end(encoded, &finish(encoder))
}

fn end(mut encoded: Vec<Vec<u8>>, last: &[u8]) -> Vec<Vec<u8>> {
    match encoded.last_mut() {
        Some(piece) => piece.extend_from_slice(last),
        None => encoded.push(last.to_vec()),
    }
    encoded
}

fn encode_zstd(pieces: &[Vec<u8>], window_log: u32) -> Vec<Vec<u8>> {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::WindowLog(window_log)).unwrap();
    context.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
    let mut encoded = Vec::new();
    for piece in pieces {
        let mut made = vec![0; zstd_safe::compress_bound(piece.len()) + 1024];
        let mut target = OutBuffer::around(&mut made[..]);
        let mut source = InBuffer::around(piece);
        while source.pos() < piece.len() {
            context.compress_stream(&mut target, &mut source).unwrap();
        }
        while context.flush_stream(&mut target).unwrap() > 0 {}
        let length = target.pos();
        made.truncate(length);
        encoded.push(made);
    }
    let mut made = vec![0; 1024];
    let mut target = OutBuffer::around(&mut made[..]);
    assert_eq!(context.end_stream(&mut target), Ok(0));
    let length = target.pos();
    end(encoded, &made[..length])
}

fn encode_all(codings: &[Coding], pieces: &[Vec<u8>]) -> Vec<Vec<u8>> {
    codings.iter().fold(pieces.to_vec(), |pieces, coding| encode(*coding, &pieces))
}

fn decode(codings: &[Coding], body: &[u8]) -> Result<Bytes, Undecodable> {
    whole(codings, Bytes::copy_from_slice(body), LIMIT)
}

fn read(values: &[&'static str]) -> Result<Vec<Coding>, Undecodable> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
    }
    codings(&headers)
}

#[test]
fn the_header_is_read_in_every_form() {
    assert_eq!(read(&[]), Ok(vec![]));
    assert_eq!(read(&["identity"]), Ok(vec![]));
    assert_eq!(read(&["GZip"]), Ok(vec![Coding::Gzip]));
    assert_eq!(read(&["x-gzip ,, deflate", "br"]), Ok(vec![Coding::Gzip, Coding::Deflate, Coding::Brotli]));
    assert_eq!(read(&["zstd", "identity"]), Ok(vec![Coding::Zstd]));
    assert_eq!(read(&["gzip, compress"]), Err(Undecodable::Unknown("compress".to_owned())));
    assert_eq!(read(&["gzip, gzip, gzip, gzip"]), Err(Undecodable::TooMany));
    for coding in ALL {
        assert!(ACCEPTED.split(", ").any(|name| name == coding.as_str()));
        assert_eq!(read(&[coding.as_str()]), Ok(vec![coding]));
    }
}

#[test]
fn what_is_not_compressed_is_the_same_body() {
    let body = Bytes::from_static(b"{}");
    assert_eq!(whole(&[], body.clone(), 2), Ok(body.clone()));
    assert_eq!(whole(&[], body, 1), Err(Undecodable::TooLarge(1)));
}

#[test]
fn the_last_coding_of_the_list_is_the_outer_one() {
    let pieces = [b"inside".to_vec()];
    let body = encode_all(&[Coding::Gzip, Coding::Brotli], &pieces).concat();
    assert_eq!(decode(&[Coding::Gzip, Coding::Brotli], &body).unwrap(), "inside");
    assert_eq!(decode(&[Coding::Brotli, Coding::Gzip], &body), Err(Undecodable::Broken(Coding::Gzip)));
}

#[test]
fn a_flushed_event_comes_out_at_once() {
    let events: Vec<Vec<u8>> =
        (0..200).map(|number| format!("data: {{\"delta\":\"word {number}\"}}\n\n").into_bytes()).collect();
    let stacks = ALL.map(|coding| vec![coding]).into_iter().chain([vec![Coding::Gzip, Coding::Zstd]]);
    for codings in stacks {
        let mut decoder = Decoder::new(&codings);
        for (event, encoded) in events.iter().zip(encode_all(&codings, &events)) {
            let mut out = BytesMut::new();
            decoder.push(&encoded, &mut out, 1024).unwrap();
            assert_eq!(out, event[..], "{codings:?}");
        }
        assert_eq!(decoder.finish(), Ok(()));
    }
}

#[test]
fn a_body_that_ends_too_early_is_an_error() {
    let pieces = [b"one two three one two three".repeat(5), vec![7; 50]];
    for coding in ALL {
        let body = encode(coding, &pieces).concat();
        for length in 1..body.len() {
            assert_eq!(decode(&[coding], &body[..length]), Err(Undecodable::Truncated(coding)), "{length}");
        }
        assert_eq!(decode(&[coding], &body).unwrap(), pieces.concat());
        assert_eq!(decode(&[coding], b"").unwrap(), "");
    }
    // The outer coding is complete and what it holds is not.
    let inner = encode(Coding::Gzip, &pieces).concat();
    let body = encode(Coding::Zstd, &[inner[..inner.len() - 1].to_vec()]).concat();
    assert_eq!(decode(&[Coding::Gzip, Coding::Zstd], &body), Err(Undecodable::Truncated(Coding::Gzip)));
}

#[test]
fn bytes_after_the_end_are_an_error() {
    for coding in ALL {
        let mut body = encode(coding, &[b"text".to_vec()]).concat();
        body.extend_from_slice(b"more");
        assert_eq!(decode(&[coding], &body), Err(Undecodable::Broken(coding)));
    }
}

#[test]
fn members_and_frames_one_after_another_are_one_body() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let body = [b"first ".to_vec(), vec![], vec![b'x'; 100_000], b" last".to_vec()]
            .map(|text| encode(coding, &[text]).concat())
            .concat();
        let text = decode(&[coding], &body).unwrap();
        assert_eq!(text.len(), 100_011);
        assert!(text.starts_with(b"first x") && text.ends_with(b"x last"), "{coding:?}");
    }
}

/// A full piece, or a full window of deflate, must not hide that the data ends there.
#[test]
fn an_end_behind_a_full_piece_is_found() {
    for coding in ALL {
        for length in [PIECE_BYTES, 2 * PIECE_BYTES, 4 * PIECE_BYTES] {
            for letters in 1..40_u8 {
                let text: Vec<u8> = (0..=letters).cycle().take(length).collect();
                let body = encode(coding, std::slice::from_ref(&text)).concat();
                assert_eq!(decode(&[coding], &body).unwrap(), text);
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(&text).unwrap();
                assert_eq!(decode(&[Coding::Gzip], &encoder.finish().unwrap()).unwrap(), text);
            }
        }
    }
}

#[test]
fn a_gzip_header_may_have_every_field() {
    let mut encoder = GzBuilder::new()
        .extra(vec![0, 1, 2])
        .filename("name")
        .comment("comment")
        .write(Vec::new(), Compression::fast());
    encoder.write_all(b"text").unwrap();
    let mut body = encoder.finish().unwrap();
    assert_eq!(decode(&[Coding::Gzip], &body).unwrap(), "text");
    // Ten bytes, the extra field, two texts with their zeros; the header's checksum comes next.
    let fields = 10 + 2 + 3 + 5 + 8;
    body[3] |= 2;
    body.splice(fields..fields, [0xaa, 0xbb]);
    assert_eq!(decode(&[Coding::Gzip], &body).unwrap(), "text");
    body[3] |= 0x20;
    assert_eq!(decode(&[Coding::Gzip], &body), Err(Undecodable::Broken(Coding::Gzip)));
}

#[test]
fn a_wrong_checksum_is_an_error() {
    let text = b"some text".to_vec();
    for (coding, length) in [(Coding::Gzip, 8), (Coding::Deflate, 4), (Coding::Zstd, 4)] {
        let body = encode(coding, std::slice::from_ref(&text)).concat();
        for at in body.len() - length..body.len() {
            let mut damaged = body.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&[coding], &damaged), Err(Undecodable::Broken(coding)), "{at}");
        }
    }
}

#[test]
fn a_bomb_ends_at_the_limit() {
    const LIMIT: u64 = 100_000;
    let zeros = vec![0; 16 * 1024 * 1024];
    let stacks = ALL.map(|coding| vec![coding]).into_iter().chain([vec![Coding::Gzip, Coding::Gzip]]);
    for codings in stacks {
        let bomb = encode_all(&codings, std::slice::from_ref(&zeros)).concat();
        assert!(bomb.len() < 50_000);
        let mut out = BytesMut::new();
        let result = Decoder::new(&codings).push(&bomb, &mut out, LIMIT);
        assert_eq!(result, Err(Undecodable::TooLarge(LIMIT)), "{codings:?}");
        assert!(out.len() as u64 <= LIMIT);
    }
}

#[test]
fn a_bomb_between_two_codings_ends_at_the_limit() {
    // Members without a byte of text: only the outer coding grows.
    let inner = encode(Coding::Gzip, &[]).concat().repeat(10_000);
    let body = encode(Coding::Gzip, std::slice::from_ref(&inner)).concat();
    let codings = [Coding::Gzip, Coding::Gzip];
    let size = inner.len() as u64;
    assert_eq!(whole(&codings, body.clone().into(), size - 1), Err(Undecodable::TooLarge(size - 1)));
    assert_eq!(whole(&codings, body.into(), size).unwrap(), "");
}

#[test]
fn the_limit_itself_is_allowed() {
    for coding in ALL {
        let body = Bytes::from(encode(coding, &[vec![b'a'; 40_000]]).concat());
        assert_eq!(whole(&[coding], body.clone(), 40_000).unwrap().len(), 40_000);
        assert_eq!(whole(&[coding], body, 39_999), Err(Undecodable::TooLarge(39_999)));
    }
}

#[test]
fn no_stream_gets_a_window_beyond_the_standard() {
    let frame = |window_log| encode_zstd(&[b"text".to_vec()], window_log).concat();
    assert_eq!(decode(&[Coding::Zstd], &frame(23)).unwrap(), "text");
    assert_eq!(decode(&[Coding::Zstd], &frame(24)), Err(Undecodable::Broken(Coding::Zstd)));
    // The first bytes of brotli's extension for large windows, which asks for 2^30 bytes.
    let mut out = BytesMut::new();
    let result = Decoder::new(&[Coding::Brotli]).push(&[0x11, 0x1e, 0, 0], &mut out, LIMIT);
    assert_eq!(result, Err(Undecodable::Broken(Coding::Brotli)));
}

fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..600),
        (any::<u8>(), 0..40_000_usize).prop_map(|(byte, length)| vec![byte; length]),
        // Around the size of what is decoded at a time.
        (any::<u8>(), PIECE_BYTES - 2..PIECE_BYTES + 3).prop_map(|(byte, length)| vec![byte; length]),
        "[a-d ]{0,500}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_split_gives_the_same(
        pieces in pieces(),
        codings in proptest::collection::vec(proptest::sample::select(&ALL), 1..4),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
        single in any::<bool>(),
    ) {
        let body = encode_all(&codings, &pieces).concat();
        let mut cuts: Vec<usize> = if single && body.len() < 4096 {
            (0..=body.len()).collect()
        } else {
            cuts.iter().map(|cut| cut.index(body.len() + 1)).collect()
        };
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let mut decoder = Decoder::new(&codings);
        let mut out = BytesMut::new();
        for cut in cuts.windows(2) {
            decoder.push(&body[cut[0]..cut[1]], &mut out, LIMIT).unwrap();
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
        prop_assert_eq!(&out, &pieces.concat());
        prop_assert_eq!(decode(&codings, &body).unwrap(), out);
    }

    #[test]
    fn damage_and_noise_never_panic_or_pass_the_limit(
        pieces in pieces(),
        coding in proptest::sample::select(&ALL),
        at in any::<proptest::sample::Index>(),
        change in 1..=255_u8,
        noise in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut body = encode(coding, &pieces).concat();
        let at = at.index(body.len());
        body[at] ^= change;
        for body in [body, noise] {
            let mut out = BytesMut::new();
            let mut decoder = Decoder::new(&[coding]);
            for part in body.chunks(100) {
                // An error is final for the caller, but going on must not do harm either.
                let _ = decoder.push(part, &mut out, 50_000);
            }
            let _ = decoder.finish();
            prop_assert!(out.len() <= 50_000);
        }
    }
}
