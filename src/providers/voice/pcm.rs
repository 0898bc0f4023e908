//! Samples of 16 bits, one channel: taken out of what a server sends, brought to the rate that was asked for, and put into
//! a WAV for those who hear files.

use super::super::failure::Failure;

/// Bytes before the sound of a WAV that are read.
const HEAD_BYTES_MAX: usize = 4_096;

/// Reads the sound of one part as it comes.
pub struct Decoder {
    form: Form,
    /// Bytes of a header that is not complete, or half a sample.
    rest: Vec<u8>,
    wanted_hz: u32,
    rate: Option<Resampler>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Samples,
    /// A WAV whose sound was not reached yet.
    Wav,
}

impl Decoder {
    /// Nothing but samples, `hz` a second.
    pub fn samples(hz: u32, wanted_hz: u32) -> Self {
        Self { form: Form::Samples, rest: Vec::new(), wanted_hz, rate: Resampler::between(hz, wanted_hz) }
    }

    /// A WAV.
    pub fn wav(wanted_hz: u32) -> Self {
        Self { form: Form::Wav, rest: Vec::new(), wanted_hz, rate: None }
    }

    /// Whole samples at the rate that is wanted, of all that came so far.
    ///
    /// # Errors
    /// `ContentType` for a WAV of another kind than samples of 16 bits on one channel; `Malformed` for what is none.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        self.rest.extend_from_slice(bytes);
        if self.form == Form::Wav {
            let Some((at, hz)) = sound_in(&self.rest)? else { return Ok(Vec::new()) };
            self.rest.drain(..at);
            self.rate = Resampler::between(hz, self.wanted_hz);
            self.form = Form::Samples;
        }
        let whole = self.rest.len().saturating_sub(self.rest.len() % 2);
        let half = self.rest.split_off(whole);
        let samples = std::mem::replace(&mut self.rest, half);
        Ok(match &mut self.rate {
            Some(rate) => rate.push(&samples),
            None => samples,
        })
    }
}

/// Where the sound of a WAV begins, and its samples a second; `None` while that cannot be known.
fn sound_in(bytes: &[u8]) -> Result<Option<(usize, u32)>, Failure> {
    let too_little = if bytes.len() > HEAD_BYTES_MAX { Err(Failure::Malformed) } else { Ok(None) };
    let Some(head) = bytes.get(..12) else { return too_little };
    if !head.starts_with(b"RIFF") || !head.ends_with(b"WAVE") {
        return Err(Failure::Malformed);
    }
    let (mut at, mut hz) = (12_usize, None);
    loop {
        let Some(chunk) = bytes.get(at..at.saturating_add(8)) else { return too_little };
        let length = usize::try_from(u32_at(chunk, 4).unwrap_or(0)).unwrap_or(usize::MAX);
        let body = at.saturating_add(8);
        if chunk.starts_with(b"data") {
            return hz.map(|hz| Some((body, hz))).ok_or(Failure::Malformed);
        }
        if chunk.starts_with(b"fmt ") {
            let Some(format) = bytes.get(body..body.saturating_add(16)) else { return too_little };
            let (kind, channels, bits) = (u16_at(format, 0), u16_at(format, 2), u16_at(format, 14));
            // 0xfffe: the same kind, told at greater length.
            if !matches!(kind, Some(1 | 0xfffe)) || channels != Some(1) || bits != Some(16) {
                return Err(Failure::ContentType);
            }
            hz = u32_at(format, 4).filter(|hz| (1_000..=192_000).contains(hz));
        }
        // Chunks begin at even places.
        at = body.saturating_add(length).saturating_add(length % 2);
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.saturating_add(2))?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.saturating_add(4))?.try_into().ok()?))
}

/// Samples at another rate: on straight lines between those that came. For speech of a provider that knows one rate only;
/// what lies above half of the lower rate is not taken out.
struct Resampler {
    from_hz: u32,
    to_hz: u32,
    last: Option<i16>,
    /// Where the next sample lies after the last one that came, in `to_hz`-ths of the distance to the one after it.
    ahead: u32,
}

impl Resampler {
    /// `None` where there is nothing to do.
    fn between(from_hz: u32, to_hz: u32) -> Option<Self> {
        (from_hz != to_hz && from_hz > 0 && to_hz > 0).then_some(Self {
            from_hz,
            to_hz,
            last: None,
            ahead: 0,
        })
    }

    fn push(&mut self, samples: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        for pair in samples.chunks_exact(2) {
            let next = pair.try_into().map_or(0, i16::from_le_bytes);
            let Some(last) = self.last.replace(next) else { continue };
            while self.ahead < self.to_hz {
                let (last, step) = (i64::from(last), i64::from(next).saturating_sub(i64::from(last)));
                let part = step.saturating_mul(i64::from(self.ahead)).checked_div(i64::from(self.to_hz));
                let sample = last.saturating_add(part.unwrap_or(0));
                all.extend(i16::try_from(sample).unwrap_or(next).to_le_bytes());
                self.ahead = self.ahead.saturating_add(self.from_hz);
            }
            self.ahead = self.ahead.saturating_sub(self.to_hz);
        }
        all
    }
}

/// A WAV of samples.
pub fn wav_of(samples: &[u8], hz: u32) -> Vec<u8> {
    let bytes = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    let mut wav = Vec::with_capacity(samples.len().saturating_add(44));
    wav.extend(b"RIFF");
    wav.extend(bytes.saturating_add(36).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    for half in [1_u16, 1] {
        wav.extend(half.to_le_bytes());
    }
    wav.extend(hz.to_le_bytes());
    wav.extend(hz.saturating_mul(2).to_le_bytes());
    for half in [2_u16, 16] {
        wav.extend(half.to_le_bytes());
    }
    wav.extend(b"data");
    wav.extend(bytes.to_le_bytes());
    wav.extend(samples);
    wav
}

/// How long so many bytes of samples are, in whole milliseconds, a begun one counting.
pub fn milliseconds(bytes: usize, hz: u32) -> u64 {
    let samples = u64::try_from(bytes / 2).unwrap_or(u64::MAX);
    samples.saturating_mul(1_000).checked_div(u64::from(hz)).map_or(0, |whole| {
        let exact = whole.saturating_mul(u64::from(hz)) == samples.saturating_mul(1_000);
        whole.saturating_add(u64::from(!exact))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::{HEAD_BYTES_MAX as RECORDING_HEAD_BYTES_MAX, SoundLength};
    use super::*;

    fn decoded(mut decoder: Decoder, pieces: &[&[u8]]) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        for piece in pieces {
            all.extend(decoder.push(piece)?);
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn sound_is_the_same_however_it_is_cut(sound in prop::collection::vec(any::<u8>(), 0..400), cuts in prop::collection::vec(0_usize..460, 0..6), wav: bool, to in prop::sample::select(vec![8_000_u32, 16_000, 22_050, 24_000, 48_000])) {
            let bytes = if wav { wav_of(&sound, 24_000) } else { sound };
            let new = || if wav { Decoder::wav(to) } else { Decoder::samples(24_000, to) };
            let whole = decoded(new(), &[&bytes]).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(decoded(new(), &pieces).unwrap(), whole);
        }

        #[test]
        fn another_rate_is_as_long_and_no_louder(samples in prop::collection::vec(any::<i16>(), 2..600), to in prop::sample::select(vec![8_000_u32, 16_000, 22_050, 48_000])) {
            let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            let all = decoded(Decoder::samples(24_000, to), &[&bytes]).unwrap();
            let expected = (samples.len() as i64 - 1) * i64::from(to) / 24_000;
            prop_assert!(((all.len() / 2) as i64 - expected).abs() <= 1);
            let (least, most) = (samples.iter().min().unwrap(), samples.iter().max().unwrap());
            for pair in all.chunks(2) {
                let sample = i16::from_le_bytes(pair.try_into().unwrap());
                prop_assert!((least..=most).contains(&&sample));
            }
        }
    }

    #[test]
    fn the_same_rate_is_the_same_sound() {
        let wav = wav_of(&[1, 2, 3, 4, 5], 24_000);
        assert_eq!(decoded(Decoder::wav(24_000), &[&wav]), Ok(vec![1, 2, 3, 4]));
        assert_eq!(decoded(Decoder::samples(16_000, 16_000), &[&[1], &[2, 3], &[4]]), Ok(vec![1, 2, 3, 4]));
    }

    #[test]
    fn what_is_no_sound_of_ours_is_refused() {
        let stereo = {
            let mut wav = wav_of(&[0; 8], 24_000);
            wav[22] = 2;
            wav
        };
        let wide = {
            let mut wav = wav_of(&[0; 8], 24_000);
            wav[34] = 24;
            wav
        };
        let no_format = {
            let mut wav = wav_of(&[0; 8], 24_000);
            wav[12] = b'x';
            wav
        };
        let endless = {
            let mut wav = wav_of(&[0; 5_000], 24_000);
            wav[36] = b'x';
            wav
        };
        for (wav, failure) in [
            (stereo, Failure::ContentType),
            (wide, Failure::ContentType),
            (no_format, Failure::Malformed),
            (endless, Failure::Malformed),
            (b"<html><body>No".to_vec(), Failure::Malformed),
        ] {
            assert_eq!(decoded(Decoder::wav(24_000), &[&wav]), Err(failure));
        }
    }

    #[test]
    fn our_own_wav_says_how_long_it_is() {
        let wav = wav_of(&vec![0; 48_000], 16_000);
        let head = &wav[..wav.len().min(RECORDING_HEAD_BYTES_MAX)];
        let length = SoundLength::of(head, wav.len() as u64, 7_200_000);
        assert_eq!(length.exact_ms, Some(1_500));
    }

    #[test]
    fn a_begun_millisecond_counts() {
        for (bytes, ms) in [(0, 0), (2, 1), (32, 1), (34, 2), (48_000, 1_500)] {
            assert_eq!(milliseconds(bytes, 16_000), ms, "{bytes}");
        }
        assert_eq!(milliseconds(100, 0), 0);
    }
}
