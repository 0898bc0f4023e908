//! How long a recording is, from its first bytes and its size: exactly where a header says it, else at most and probably.

/// Bytes that are read of a recording: a header, and whatever stands before the sound in it.
pub const HEAD_BYTES_MAX: usize = 65_536;

/// What a recording is packed in, as its first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    Wav,
    Mp3,
    Flac,
    /// Opus, Vorbis or Speex.
    Ogg,
    /// WebM and Matroska.
    WebM,
    /// MP4 and M4A.
    Mp4,
    Unknown,
}

impl Container {
    fn of(head: &[u8]) -> Self {
        let tag = |at: usize| head.get(at..at.saturating_add(4)).unwrap_or_default();
        match (tag(0), tag(8), tag(4)) {
            (b"RIFF", b"WAVE", _) => Self::Wav,
            (b"fLaC", ..) => Self::Flac,
            (b"OggS", ..) => Self::Ogg,
            ([0x1a, 0x45, 0xdf, 0xa3], ..) => Self::WebM,
            (_, _, b"ftyp") => Self::Mp4,
            ([b'I', b'D', b'3', _], ..) => Self::Mp3,
            // A frame of MPEG audio: eleven bits that are set, and a layer that is none of the reserved.
            ([0xff, second, ..], ..) if second & 0xe0 == 0xe0 && second & 0x06 != 0 => Self::Mp3,
            _ => Self::Unknown,
        }
    }

    /// Bits a second that sound in it has at least, so that its length has an end: MP3 begins at 8,000, AAC for speech
    /// is not made below that, Opus goes down to 6,000, FLAC of a telephone's sound needs 16,000 and more, and of all
    /// codecs that servers read AMR is the lowest with 4,750.
    const fn bits_per_second_min(self) -> u64 {
        match self {
            Self::Flac => 16_000,
            Self::Mp3 | Self::Mp4 => 8_000,
            Self::Ogg | Self::WebM => 6_000,
            Self::Wav | Self::Unknown => 4_750,
        }
    }

    /// What recordings of speech in it usually have: 64,000 of MP3 and AAC, 32,000 of Opus, half of 16,000 samples of 16
    /// bits in FLAC, all of them in a WAV whose header cannot be read.
    const fn bits_per_second_usual(self) -> u64 {
        match self {
            Self::Wav => 256_000,
            Self::Flac => 128_000,
            Self::Mp3 | Self::Mp4 => 64_000,
            Self::Ogg | Self::WebM | Self::Unknown => 32_000,
        }
    }

    /// The ending of a file's name that tells a server what it is.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
            Self::Flac => "flac",
            Self::Ogg => "ogg",
            Self::WebM => "webm",
            Self::Mp4 => "m4a",
            Self::Unknown => "bin",
        }
    }
}

/// A recording's length, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoundLength {
    pub container: Container,
    /// As a WAV header says it.
    pub exact_ms: Option<u64>,
    /// It cannot be longer.
    pub most_ms: u64,
    /// What it probably is; never more than `most_ms`.
    pub likely_ms: u64,
}

impl SoundLength {
    /// Of a recording of `bytes` that begins with `head`, where none is read that is longer than `cap_ms`.
    pub fn of(head: &[u8], bytes: u64, cap_ms: u64) -> Self {
        let container = Container::of(head);
        if let Some(wav) = (container == Container::Wav).then(|| wav(head, bytes)).flatten() {
            let (exact, rest) = (ms_of(wav.sound_bytes, wav.bytes_per_second), wav.rest_bytes);
            // Some readers go on to the end of the file, whatever its header says.
            let most_ms = ms_of(rest, wav.bytes_per_second).min(cap_ms).max(exact);
            return Self { container, exact_ms: Some(exact), most_ms, likely_ms: exact };
        }
        let ms_at = |bits_per_second: u64| ms_of(bytes, bits_per_second / 8);
        let most_ms = ms_at(container.bits_per_second_min()).min(cap_ms);
        let likely_ms = ms_at(container.bits_per_second_usual()).min(most_ms);
        Self { container, exact_ms: None, most_ms, likely_ms }
    }
}

impl SoundLength {
    /// Whether the first bytes say that it is sound.
    pub fn is_of_sound(self) -> bool {
        self.container != Container::Unknown
    }
}

fn ms_of(bytes: u64, bytes_per_second: u64) -> u64 {
    bytes.saturating_mul(1_000).checked_div(bytes_per_second).unwrap_or(0)
}

struct Wav {
    bytes_per_second: u64,
    /// What the header says there is of sound, as far as the file goes.
    sound_bytes: u64,
    /// From the first of it to the end of the file.
    rest_bytes: u64,
}

/// Chunks that are looked through for the sound: a handful stand before it.
const CHUNKS_MAX: usize = 64;
/// Whole numbers, floats, and the two telephone laws: of these the bytes of a second follow from what a decoder goes by.
/// Of others, only a header's own word says it.
const PCM: u16 = 1;
const FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
/// Says which of all kinds it is in another place, and its bytes there after the kind.
const EXTENSIBLE: u16 = 0xfffe;
const EXTENSIBLE_TAIL: [u8; 14] = *b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71";
/// Bytes of a format, without and with what the extensible one adds.
const FORMAT_BYTES_MIN: u64 = 16;
const EXTENSIBLE_BYTES_MIN: u64 = 40;
/// The highest rate of samples that there are converters for.
const SAMPLES_PER_SECOND_MAX: u64 = 768_000;

/// Reads a WAV header; `None` where it says too little, or something that no decoder would go by.
fn wav(head: &[u8], bytes: u64) -> Option<Wav> {
    let (mut at, mut bytes_per_second) = (12_usize, None);
    for _ in 0..CHUNKS_MAX {
        let name = head.get(at..at.checked_add(4)?)?;
        let size = u64::from(u32_at(head, at.checked_add(4)?)?);
        let body = at.checked_add(8)?;
        match name {
            // Of two, decoders take the first, or the last: neither is believed.
            b"fmt " if bytes_per_second.is_some() => return None,
            b"fmt " => bytes_per_second = Some(format(head, body, size)?),
            b"data" => {
                let rest_bytes = bytes.saturating_sub(u64::try_from(body).ok()?);
                // One that is written while it is recorded says nothing, or the most there is.
                let told = if size == 0 { rest_bytes } else { size };
                return Some(Wav {
                    bytes_per_second: bytes_per_second?,
                    sound_bytes: told.min(rest_bytes),
                    rest_bytes,
                });
            }
            _ => {}
        }
        // Chunks begin at even bytes.
        let length = usize::try_from(size.checked_add(size % 2)?).ok()?;
        at = body.checked_add(length)?;
    }
    None
}

/// Whether a decoder takes as many bits of each sample as the header says.
const fn takes(tag: u16, bits: u16) -> bool {
    match tag {
        PCM => matches!(bits, 8..=32 | 64),
        FLOAT => matches!(bits, 32 | 64),
        // A byte each, whatever is said of it.
        A_LAW | MU_LAW => bits == 8,
        _ => false,
    }
}

/// The kind of sound in a format of `size` bytes, where it is one whose bytes are known.
fn kind(head: &[u8], at: usize, size: u64) -> Option<u16> {
    let tag = u16_at(head, at)?;
    if tag != EXTENSIBLE {
        return Some(tag);
    }
    let kind_at = at.checked_add(24)?;
    let tail = head.get(kind_at.checked_add(2)?..kind_at.checked_add(16)?)?;
    let told = u16_at(head, at.checked_add(16)?)? >= 22;
    (size >= EXTENSIBLE_BYTES_MIN && told && tail == EXTENSIBLE_TAIL).then(|| u16_at(head, kind_at))?
}

/// Bytes of a second of sound.
fn format(head: &[u8], at: usize, size: u64) -> Option<u64> {
    if size < FORMAT_BYTES_MIN {
        return None;
    }
    let field = |offset: usize| u16_at(head, at.checked_add(offset)?);
    let (tag, channels, bits) = (kind(head, at, size)?, field(2)?, field(14)?);
    let samples = u64::from(u32_at(head, at.checked_add(4)?)?);
    let frame = u64::from(channels).checked_mul(u64::from(bits).div_ceil(8))?;
    let sound = takes(tag, bits)
        && (1..=32).contains(&channels)
        && (1..=SAMPLES_PER_SECOND_MAX).contains(&samples)
        && u64::from(field(12)?) == frame;
    sound.then(|| samples.saturating_mul(frame))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(two.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAP_MS: u64 = 7_200_000;

    /// A header of 44 bytes for `told` bytes of sound.
    fn header(samples: u32, channels: u16, bits: u16, told: u32) -> Vec<u8> {
        let frame = channels * (bits / 8);
        let mut head = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0".to_vec();
        head.extend(channels.to_le_bytes());
        head.extend(samples.to_le_bytes());
        head.extend((samples * u32::from(frame)).to_le_bytes());
        head.extend(frame.to_le_bytes());
        head.extend(bits.to_le_bytes());
        head.extend(b"data");
        head.extend(told.to_le_bytes());
        head
    }

    fn of(head: &[u8], bytes: u64) -> SoundLength {
        SoundLength::of(head, bytes, CAP_MS)
    }

    #[test]
    fn a_wav_header_says_how_long_it_is() {
        let head = header(16_000, 1, 16, 48_000);
        let second = of(&head, 44 + 48_000);
        assert_eq!((second.exact_ms, second.most_ms, second.likely_ms), (Some(1_500), 1_500, 1_500));
        // It says less than there is: who reads on is believed so far.
        let less = of(&header(16_000, 1, 16, 32_000), 44 + 48_000);
        assert_eq!((less.exact_ms, less.most_ms), (Some(1_000), 1_500));
        // It says more than there is, or nothing.
        for told in [0, u32::MAX, 96_000] {
            assert_eq!(of(&header(16_000, 1, 16, told), 44 + 48_000).exact_ms, Some(1_500), "{told}");
        }
        assert_eq!(of(&header(44_100, 2, 24, 0), 44 + 264_600).exact_ms, Some(1_000));
        // Chunks of other kinds come before, and end at an even byte.
        let mut listed = header(8_000, 1, 8, 8_000);
        listed.splice(12..12, *b"LIST\x03\0\0\0abc\0");
        assert_eq!(of(&listed, 44 + 12 + 8_000).exact_ms, Some(1_000));
    }

    #[test]
    fn a_header_that_no_decoder_goes_by_is_no_word_of_the_length() {
        let good = header(16_000, 1, 16, 48_000);
        // The tag of MP3 in a WAV, no channels, no samples, bits that do not make the frame, no sound at all.
        for (at, bytes) in [(20, 0x55), (22, 0), (24, 0), (32, 9), (34, 0), (36, b'x')] {
            let mut head = good.clone();
            head[at] = bytes;
            if at == 24 {
                head[25] = 0;
            }
            let read = of(&head, 48_044);
            assert_eq!((read.exact_ms, read.container), (None, Container::Wav), "{at}");
            assert_eq!(
                (read.most_ms, read.likely_ms),
                (48_044 * 1_000 / 593, 48_044 * 1_000 / 32_000),
                "{at}"
            );
        }
    }

    /// A header of the extensible form, of the kind `kind`.
    fn extensible(samples: u32, bits: u16, kind: u16) -> Vec<u8> {
        let mut head = header(samples, 1, bits, 48_000);
        head[16] = 40;
        head[20..22].copy_from_slice(&EXTENSIBLE.to_le_bytes());
        let mut more = 22_u16.to_le_bytes().to_vec();
        more.extend(bits.to_le_bytes());
        more.extend(4_u32.to_le_bytes());
        more.extend(kind.to_le_bytes());
        more.extend(EXTENSIBLE_TAIL);
        head.splice(36..36, more);
        head
    }

    #[test]
    fn no_header_makes_a_long_recording_short() {
        let exact = |head: &[u8]| of(head, 48_100).exact_ms;
        // What decoders take as bytes, though the header says eight of each sample.
        for law in [A_LAW, MU_LAW] {
            let mut head = header(8_000, 1, 64, 48_000);
            head[20..22].copy_from_slice(&law.to_le_bytes());
            assert_eq!(exact(&head), None, "{law}");
            assert_eq!(exact(&extensible(8_000, 64, law)), None, "{law}");
            assert_eq!(exact(&extensible(8_000, 8, law)), Some(6_000), "{law}");
        }
        // MP3 behind the extensible form, whose frames alone say how long it is.
        assert_eq!(exact(&extensible(768_000, 64, 0x55)), None);
        assert_eq!(exact(&extensible(16_000, 16, PCM)), Some(1_500));
        // A second format, which no decoder needs to go by.
        let mut twice = header(8_000, 1, 8, 48_000);
        let second = header(768_000, 32, 64, 0)[12..36].to_vec();
        twice.splice(36..36, second);
        assert_eq!(exact(&twice), None);
        // A short format, of whose bits decoders think what they like.
        let mut short = header(8_000, 1, 64, 48_000);
        short[16] = 14;
        assert_eq!(exact(&short), None);
    }

    #[test]
    fn containers_are_known_by_their_first_bytes() {
        for (head, container) in [
            (&b"ID3\x04"[..], Container::Mp3),
            (&[0xff, 0xfb, 0x90, 0x64], Container::Mp3),
            (&[0xff, 0xf1, 0x50, 0x80], Container::Unknown),
            (b"fLaC\0", Container::Flac),
            (b"OggS\0", Container::Ogg),
            (&[0x1a, 0x45, 0xdf, 0xa3], Container::WebM),
            (b"\0\0\0\x20ftypM4A ", Container::Mp4),
            (b"RIFF\0\0\0\0WAVE", Container::Wav),
            (b"RIFF\0\0\0\0AVI ", Container::Unknown),
            (b"", Container::Unknown),
        ] {
            assert_eq!(Container::of(head), container, "{head:?}");
        }
        let minute = of(b"ID3\x04", 480_000);
        assert_eq!((minute.exact_ms, minute.likely_ms, minute.most_ms), (None, 60_000, 480_000));
        assert_eq!(of(b"ID3\x04", 25_000_000).most_ms, CAP_MS);
    }

    proptest! {
        #[test]
        fn anything_at_all_has_a_length_with_an_end(
            mut head in proptest::collection::vec(any::<u8>(), 0..200),
            wav in any::<bool>(),
            at in 12_usize..80,
            bytes in 0_u64..30_000_000,
        ) {
            if wav {
                let good = header(16_000, 2, 16, 1);
                let cut = at.min(good.len());
                head.splice(0..0, good[..cut].iter().copied());
            }
            let read = of(&head, bytes);
            prop_assert!(read.likely_ms <= read.most_ms);
            prop_assert!(read.exact_ms.is_none_or(|exact| exact <= read.most_ms));
            // A byte a second is the least that a header can say.
            prop_assert!(read.most_ms <= bytes * 1_000);
        }
    }
}
