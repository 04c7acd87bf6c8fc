//! AWS's event stream: binary messages with headers, a payload and two checksums.

/// A message: its length, the headers' length and a checksum of the two; headers, payload, a checksum of all.
pub fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut named = Vec::new();
    for (name, value) in headers {
        named.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        named.extend_from_slice(name.as_bytes());
        // Seven is the type of a string.
        named.push(7);
        named.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        named.extend_from_slice(value.as_bytes());
    }
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = Vec::with_capacity(16 + named.len() + payload.len());
    out.extend_from_slice(&length(16 + named.len() + payload.len()));
    out.extend_from_slice(&length(named.len()));
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out.extend_from_slice(&named);
    out.extend_from_slice(payload);
    let checksum = crc32(&out);
    out.extend_from_slice(&checksum.to_be_bytes());
    out
}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        #[expect(clippy::cast_possible_truncation, reason = "an index of this table is below 256")]
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

/// The checksum of Ethernet, gzip and PNG.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |value: u32, byte: &u8| TABLE[((value ^ u32::from(*byte)) & 255) as usize] ^ (value >> 8);
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_everybody_knows() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_message_says_how_long_it_is() {
        let message = message(&[(":event-type", "x")], b"{}");
        assert_eq!(message.len(), 12 + 12 + 4 + 2 + 4);
        assert_eq!(message[..8], [0, 0, 0, 33 + 1, 0, 0, 0, 16]);
        assert_eq!(crc32(&message[..8]).to_be_bytes(), message[8..12]);
        assert_eq!(crc32(&message[..30]).to_be_bytes(), message[30..]);
    }
}
