//! Recordings, and the forms they are sent in.

const SAMPLES_PER_SECOND: u32 = 16_000;

/// What a file is called, its type and its bytes.
pub type File<'a> = (&'a str, &'a str, &'a [u8]);

/// A multipart form with a boundary of its own, and its content type.
pub fn form(fields: &[(&str, &str)], files: &[(&str, File<'_>)]) -> (String, Vec<u8>) {
    let boundary = format!("----form-{}", uuid::Uuid::new_v4().simple());
    let mut body = Vec::new();
    for (name, text) in fields {
        let part =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    for (name, (file, kind, bytes)) in files {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\nContent-Type: {kind}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// A sine of 440 Hz: 16,000 samples a second, of 16 bits, one channel.
pub fn wav(ms: u32) -> Vec<u8> {
    let count = SAMPLES_PER_SECOND / 1_000 * ms;
    let bytes = count * 2;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(SAMPLES_PER_SECOND.to_le_bytes());
    file.extend((SAMPLES_PER_SECOND * 2).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(bytes.to_le_bytes());
    for at in 0..count {
        let turn = f64::from(at) * 440.0 / f64::from(SAMPLES_PER_SECOND) * std::f64::consts::TAU;
        #[allow(clippy::cast_possible_truncation)]
        let sample = (turn.sin() * 12_000.0) as i16;
        file.extend(sample.to_le_bytes());
    }
    file
}
