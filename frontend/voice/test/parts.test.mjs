// The parts that know no socket: frames, the buffer, the waits, the cutting of sound.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WAITS, waitMs } from '../src/backoff.ts';
import { Framing } from '../src/framing.ts';
import { BUFFER_MS_MAX, Upward } from '../src/upward.ts';
import { decodeAudio, decodeEvent, encodeAudio } from '../src/wire.ts';

test('a frame is little-endian in every field, and comes back as it was', () => {
  const bytes = encodeAudio(0x01020304, 0x0a0b0c0d, Int16Array.of(1, -2, 32_767, -32_768));
  assert.equal(Buffer.from(bytes).toString('hex'), '01000000' + '04030201' + '0d0c0b0a' + '0100feffff7f0080');
  const frame = decodeAudio(bytes);
  assert.deepEqual({ ...frame, samples: [...frame.samples] }, {
    dropped: false, stream: 0, seq: 0x01020304, mediaOffset: 0x0a0b0c0d, samples: [1, -2, 32_767, -32_768],
  });
});

test('what is no frame and no event is told from what is', () => {
  for (const bytes of [[], [1], Array(11).fill(1), [2, ...Array(13).fill(0)], [1, ...Array(12).fill(0)]]) {
    assert.equal(decodeAudio(Uint8Array.from(bytes).buffer), undefined);
  }
  for (const text of ['', 'pong', 'null', '7', '[]', '{}', '{"type":7}']) assert.equal(decodeEvent(text), undefined);
  assert.deepEqual(decodeEvent('{"type":"replayed"}'), { type: 'replayed' });
  const dropped = new Uint8Array(12);
  dropped.set([1, 1, 0x34, 0x12]);
  assert.equal(decodeAudio(dropped.buffer).dropped, true);
  assert.equal(decodeAudio(dropped.buffer).stream, 0x1234);
});

test('what is not acknowledged is kept, in order, up to ten seconds', () => {
  const upward = new Upward();
  for (let frame = 0; frame < BUFFER_MS_MAX / 100; frame += 1) {
    assert.equal(upward.hasRoom(100), true);
    upward.push((seq) => String(seq), 100);
  }
  assert.equal(upward.hasRoom(1), false);
  upward.acknowledge(40);
  assert.equal(upward.hasRoom(4_000), true);
  assert.equal(upward.hasRoom(4_001), false);
  assert.deepEqual(upward.again(), Array.from({ length: 60 }, (_, at) => String(at + 41)));
  upward.acknowledge(7);
  assert.equal(upward.waiting, 60, 'an older acknowledgement changes nothing');
  upward.acknowledge(100);
  assert.deepEqual([upward.waiting, upward.next], [0, 101]);
});

test('waits double, are never longer than the longest, and differ by chance', () => {
  assert.deepEqual([0, 1, 2, 5, 60].map((tries) => waitMs(WAITS, tries, 1)), [250, 500, 1_000, 8_000, 8_000]);
  assert.deepEqual([0, 5].map((tries) => waitMs(WAITS, tries, 0)), [125, 4_000]);
});

test('sound is cut into whole frames and clipped', () => {
  const frames = [];
  const framing = new Framing(4);
  framing.push(Float32Array.of(0, 1, -1, 2, -3), (frame) => frames.push([...frame]));
  framing.push(Float32Array.of(0.5, -0.5, 0), (frame) => frames.push([...frame]));
  assert.deepEqual(frames, [[0, 32_767, -32_768, 32_767], [-32_768, 16_384, -16_384, 0]]);
});
