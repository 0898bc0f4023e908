//! Binary frames: `type u8 | flags u8 | stream u16 | seq u32 | media_offset u32 | PCM16`, all of it little-endian, as the
//! samples are.
//!
//! `stream` is the number of the turn, modulo 65,536, and not looked at upwards. `media_offset` counts the samples of the
//! turn before this frame.

/// All that is before the sound.
pub const HEADER_BYTES: usize = 12;
/// The one type there is.
pub const AUDIO: u8 = 1;
/// The sound of this frame was dropped, because its turn was interrupted: only its number is left.
pub const DROPPED: u8 = 0b01;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub flags: u8,
    pub stream: u16,
    pub seq: u32,
    pub media_offset: u32,
    /// Whole samples of 16 bits, one channel.
    pub pcm: Vec<u8>,
}

/// What is wrong with a binary frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFrame {
    Short,
    UnknownType,
    HalfSample,
}

impl Frame {
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFrame> {
        let (header, pcm) = bytes.split_at_checked(HEADER_BYTES).ok_or(BadFrame::Short)?;
        let &[kind, flags, s0, s1, q0, q1, q2, q3, m0, m1, m2, m3] = header else {
            return Err(BadFrame::Short);
        };
        if kind != AUDIO {
            return Err(BadFrame::UnknownType);
        }
        if !pcm.len().is_multiple_of(2) {
            return Err(BadFrame::HalfSample);
        }
        Ok(Self {
            flags,
            stream: u16::from_le_bytes([s0, s1]),
            seq: u32::from_le_bytes([q0, q1, q2, q3]),
            media_offset: u32::from_le_bytes([m0, m1, m2, m3]),
            pcm: pcm.to_vec(),
        })
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES.saturating_add(self.pcm.len()));
        bytes.extend([AUDIO, self.flags]);
        bytes.extend(self.stream.to_le_bytes());
        bytes.extend(self.seq.to_le_bytes());
        bytes.extend(self.media_offset.to_le_bytes());
        bytes.extend(&self.pcm);
        bytes
    }
}

/// Samples in so many bytes of sound.
#[must_use]
pub fn samples_in(pcm: &[u8]) -> u32 {
    u32::try_from(pcm.len() / 2).unwrap_or(u32::MAX)
}
