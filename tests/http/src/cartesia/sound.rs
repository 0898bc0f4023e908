//! Sound that can be read again: each character is a beep of its own with its code in front, so the same text is the same
//! sound, the sound of two texts one after the other is that of both, and what was lost or doubled on the way is heard.

/// How long a character sounds.
pub const CHARACTER_MS: u32 = 40;
/// What stands before the code of a character. No beep is so loud.
const MARK: i16 = 0x5a5a;
const LOUDEST: i32 = 8_000;

fn cell(hz: u32) -> usize {
    (hz * CHARACTER_MS / 1_000) as usize
}

/// Samples of 16 bits, little-endian, that say `text`.
pub fn sound_of(text: &str, hz: u32) -> Vec<u8> {
    text.chars().flat_map(|character| beep(character, hz)).flat_map(i16::to_le_bytes).collect()
}

fn beep(character: char, hz: u32) -> Vec<i16> {
    let code = u32::from(character);
    let half_wave = 20 + i32::try_from(code % 61).expect("small");
    let mut samples =
        vec![MARK, i16::try_from(code >> 12).expect("small"), i16::try_from(code & 0xfff).expect("small")];
    let tone = (0..).map(|at: i32| {
        let (place, wave) = (at % half_wave, at / half_wave % 2);
        let height = LOUDEST * place.min(half_wave - place) * 2 / half_wave;
        i16::try_from(if wave == 0 { height } else { -height }).expect("not so loud")
    });
    samples.extend(tone.take(cell(hz) - samples.len()));
    samples
}

/// What such samples say. Silence says nothing, and neither does what is no sound of ours.
pub fn text_in(pcm: &[u8], hz: u32) -> String {
    let samples: Vec<i16> = pcm.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    let (mut at, mut text) = (0, String::new());
    while let Some(&sample) = samples.get(at) {
        let code = samples.get(at + 1..at + 3).map(|pair| (i32::from(pair[0]) << 12) + i32::from(pair[1]));
        match code.and_then(|code| char::from_u32(u32::try_from(code).ok()?)) {
            Some(character) if sample == MARK => {
                text.push(character);
                at += cell(hz);
            }
            _ => at += 1,
        }
    }
    text
}

pub fn milliseconds(bytes: usize, hz: u32) -> u64 {
    bytes as u64 / 2 * 1_000 / u64::from(hz)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        for hz in [8_000, 16_000, 22_050, 24_000, 44_100, 48_000] {
            let text = "Grüße, 世界! 👋🏽";
            let mut sound = vec![0; 314];
            sound.extend(sound_of(text, hz));
            sound.extend([0; 500]);
            assert_eq!(text_in(&sound, hz), text, "{hz}");
            assert_eq!([sound_of("a b", hz), sound_of(" c", hz)].concat(), sound_of("a b c", hz));
        }
        assert_eq!(milliseconds(sound_of("12345", 16_000).len(), 16_000), 200);
    }

    #[test]
    fn what_is_missing_is_heard_too() {
        let mut sound = sound_of("abcd", 16_000);
        sound.drain(1_280..2_560);
        assert_eq!(text_in(&sound, 16_000), "acd");
    }
}
