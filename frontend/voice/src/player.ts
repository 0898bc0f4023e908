/** Plays the sound of turns as it comes, and knows how much of each was heard. */

import type { AudioFrame } from './wire.ts';

/** How far ahead the first frame is set, in seconds, so that the next ones come in time. */
const LEAD_S = 0.08;
const FULL_SCALE = 32_768;

interface Scheduled {
  readonly source: AudioBufferSourceNode;
  readonly turn: string;
  readonly startS: number;
  readonly endS: number;
  readonly samples: number;
}

export class Player {
  readonly #context: AudioContext;
  readonly #sampleRateHz: number;
  #scheduled: Scheduled[] = [];
  #endS = 0;
  /** Samples of each turn that were played whole. */
  readonly #played = new Map<string, number>();

  /** `context` may be of any rate; the page has to have been touched before it makes a sound. */
  constructor(context: AudioContext, sampleRateHz: number) {
    this.#context = context;
    this.#sampleRateHz = sampleRateHz;
  }

  /** Plays a frame after those before it. */
  play(turn: string, frame: AudioFrame): void {
    if (frame.samples.length === 0) return;
    const buffer = this.#context.createBuffer(1, frame.samples.length, this.#sampleRateHz);
    buffer.getChannelData(0).set(Float32Array.from(frame.samples, (sample) => sample / FULL_SCALE));
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#context.destination);
    const startS = Math.max(this.#endS, this.#context.currentTime + LEAD_S);
    const scheduled: Scheduled = {
      source,
      turn,
      startS,
      endS: startS + buffer.duration,
      samples: frame.samples.length,
    };
    this.#endS = scheduled.endS;
    this.#scheduled.push(scheduled);
    source.addEventListener('ended', () => this.#over(scheduled));
    source.start(startS);
  }

  #over(scheduled: Scheduled): void {
    const at = this.#scheduled.indexOf(scheduled);
    if (at < 0) return;
    this.#scheduled.splice(at, 1);
    this.#played.set(scheduled.turn, (this.#played.get(scheduled.turn) ?? 0) + scheduled.samples);
  }

  /** The turn that sounds now, if one does. */
  get sounding(): string | undefined {
    return this.#scheduled[0]?.turn;
  }

  /** Samples of a turn that were heard by now. */
  played(turn: string): number {
    const whole = this.#played.get(turn) ?? 0;
    const now = this.#context.currentTime;
    const parts = this.#scheduled.filter((scheduled) => scheduled.turn === turn && scheduled.startS < now);
    const seconds = parts.reduce((sum, { startS, endS }) => sum + Math.min(now, endS) - startS, 0);
    return whole + Math.floor(seconds * this.#sampleRateHz);
  }

  /** Falls silent: nothing more of this turn is heard. Gives what was, in samples. */
  stop(turn: string): number {
    const heard = this.played(turn);
    const [gone, left] = [true, false].map((is) => this.#scheduled.filter((one) => (one.turn === turn) === is));
    this.#scheduled = left ?? [];
    for (const { source } of gone ?? []) source.stop();
    this.#endS = Math.max(0, ...this.#scheduled.map(({ endS }) => endS));
    this.#played.set(turn, heard);
    return heard;
  }
}
