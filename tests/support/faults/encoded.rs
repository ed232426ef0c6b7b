//! Routes whose bodies are encoded, wrongly encoded, or bombs. Nothing is decoded here.

use std::io::{self, Read, Write};

use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compress, Compression, Crc, FlushCompress};

use super::super::responder::Responder;
use super::{Call, Route, route};

const MIB: usize = 1024 * 1024;

pub(super) const ROUTES: &[Route] = &[
    route("/gzip", |call, r| send(call, r, "gzip", gzip(&plain()))),
    route("/deflate", |call, r| {
        send(call, r, "deflate", read_all(ZlibEncoder::new(&plain()[..], Compression::best())))
    }),
    route("/raw-deflate", |call, r| {
        send(call, r, "deflate", read_all(DeflateEncoder::new(&plain()[..], Compression::best())))
    }),
    route("/br", |call, r| send(call, r, "br", brotli(&plain()))),
    route("/zstd", |call, r| send(call, r, "zstd", zstd(&plain()))),
    route("/gzip-multi", |call, r| {
        let text = plain();
        let (first, second) = text.split_at(text.len() / 3);
        send(call, r, "gzip", [gzip(first), gzip(second)].concat())
    }),
    route("/gzip-br", |call, r| send(call, r, "gzip, br", brotli(&gzip(&plain())))),
    route("/gzip-truncated", |call, r| {
        let mut body = gzip(&plain());
        body.truncate(body.len() / 2);
        send(call, r, "gzip", body)
    }),
    route("/gzip-corrupt", |call, r| {
        let mut body = gzip(&plain());
        // The last eight bytes are the CRC and the length (RFC 1952, 2.3).
        let crc = body.len() - 8;
        body[crc] ^= 0xff;
        send(call, r, "gzip", body)
    }),
    route("/gzip-trailing", |call, r| send(call, r, "gzip", [gzip(&plain()), b"and more".to_vec()].concat())),
    route("/gzip-bomb/{mib}", |call, r| send(call, r, "gzip", gzip_zeros(call.number(0)?))),
    route("/br-bomb/{mib}", |call, r| send(call, r, "br", brotli_zeros(call.number(0)?))),
    route("/zstd-bomb/{mib}", |call, r| send(call, r, "zstd", zstd_zeros(call.number(0)?))),
    route("/encoding/unknown", |call, r| send(call, r, "rot13", b"Zhezrygvre\n".to_vec())),
];

/// The JSON text that all of these routes encode: about 20 KB.
pub fn plain() -> Vec<u8> {
    let items: Vec<_> = (0..500_u32)
        .map(|index| format!(r#"{{"n":{index},"hash":"{:08x}"}}"#, index.wrapping_mul(2_654_435_761)))
        .collect();
    format!(r#"{{"text":"Murmeltier","items":[{}]}}"#, items.join(",")).into_bytes()
}

fn send(call: &Call<'_>, r: &mut Responder<'_>, coding: &str, mut body: Vec<u8>) -> io::Result<()> {
    body.truncate(body.len().saturating_sub(call.option("cut", 0)?));
    r.send(200, &[("Content-Type", "application/json"), ("Content-Encoding", coding)], &body)
}

fn gzip(data: &[u8]) -> Vec<u8> {
    read_all(GzEncoder::new(data, Compression::best()))
}

fn brotli(data: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 64 * 1024, 5, 22);
    encoder.write_all(data).expect("a vector takes all");
    encoder.into_inner()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 3).expect("a vector takes all")
}

fn read_all(mut encoder: impl Read) -> Vec<u8> {
    let mut encoded = Vec::new();
    encoder.read_to_end(&mut encoded).expect("encoding memory does not fail");
    encoded
}

/// One MiB of zeros is compressed once, up to a full flush, and repeated: the size of the bomb costs no time.
fn gzip_zeros(mib: usize) -> Vec<u8> {
    let zeros = vec![0; MIB];
    let mut block = Vec::with_capacity(64 * 1024);
    Compress::new(Compression::best(), false)
        .compress_vec(&zeros, &mut block, FlushCompress::Full)
        .expect("encoding memory does not fail");
    let mut one = Crc::new();
    one.update(&zeros);
    let mut crc = Crc::new();
    (0..mib).for_each(|_| crc.combine(&one));

    // RFC 1952: magic, deflate, no flags, no time, no extra flags, unknown system.
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    body.extend(block.repeat(mib));
    // RFC 1951: a last block of the fixed codes that holds its end mark alone.
    body.extend([0x03, 0x00]);
    body.extend(crc.sum().to_le_bytes());
    body.extend(((mib * MIB) as u32).to_le_bytes());
    body
}

/// The same for brotli: after the first MiB each flushed block of zeros looks like the one before.
fn brotli_zeros(mib: usize) -> Vec<u8> {
    let zeros = vec![0; MIB];
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 64 * 1024, 5, 22);
    let flushed = |encoder: &mut brotli::CompressorWriter<Vec<u8>>| {
        let before = encoder.get_ref().len();
        encoder.write_all(&zeros).expect("a vector takes all");
        encoder.flush().expect("a vector takes all");
        encoder.get_ref()[before..].to_vec()
    };
    let (first, second, third) = (flushed(&mut encoder), flushed(&mut encoder), flushed(&mut encoder));
    assert_eq!(second, third, "brotli blocks repeat");
    let mut body = first;
    body.extend(second.repeat(mib.saturating_sub(1)));
    // RFC 7932, 9.2: a last, empty meta-block.
    body.push(0x03);
    body
}

/// Written by hand (RFC 8878, 3.1.1): one frame of run-length blocks of 128 KiB, the largest that the format has.
fn zstd_zeros(mib: usize) -> Vec<u8> {
    const RUN: u32 = 128 * 1024;
    // Magic; a descriptor without content size or checksum; a window of 2^(10 + 7) bytes.
    let mut body = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
    // From the lowest bit: not the last block, type 1 (run length), its length; then the byte that repeats.
    let [first, second, third, _] = ((1 << 1) | (RUN << 3)).to_le_bytes();
    body.extend([first, second, third, 0].repeat(mib * (MIB / RUN as usize)));
    // A last, raw, empty block.
    body.extend([1, 0, 0]);
    body
}
